//! The agent's runner: dials, is registered, answers, and dials again.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::machine::{AgentStats, AnswerError, Backoff, CloseReason, ConnectionState};
use crate::session::{AgentSession, AgentSettings};
use crate::wire::{ConfigUpdateRequest, EncodeError, HealthState, HealthStatus, LoadMetrics, MetricsReport};

use super::clock::Clock;
use super::crew::Crew;
use super::driver::Stream;
use super::handler::Handler;
use super::line::{Keeper, Line, LinkState};
use super::reporting::{MetricsExport, report};
use super::shared::Shared;
use super::signal::run_until;
use super::sync::Arc;

/// How an agent runs.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentConfig {
    /// How each connection behaves, and what the agent says of itself.
    pub agent: AgentSettings,
    /// The pace of reconnecting.
    pub reconnect: Backoff,
    /// How long after a refusal to try again, if the proxy did not say; a draw of the backoff comes
    /// on top. `None`: give up then, and end with [`AgentError::Refused`]. Default 30 s.
    ///
    /// A proxy of this crate names a time where waiting helps (a limit, a shutdown) and none where
    /// only a change helps: a token, an id, a version, the list of those allowed. Deployed proxies
    /// never name one, so from them the two can't be told apart. And what only a change can heal is
    /// changed, too: tokens are rotated, lists reloaded, proxies upgraded, and an agent that had
    /// given up by then would stay away. So the default is to go on, slowly, while each such
    /// refusal is logged as a warning and told to [`Handler::on_refused`]. Set `None` where
    /// something stands ready to act on the runner's end.
    pub retry_refusals: Option<Duration>,
    /// How often each proxy is told how the agent is and how busy, on every connection, if the
    /// registration states the feature `health_reporting`. Less than 10 ms is taken for 10 ms;
    /// `None`: only when it changes, see [`AgentController::set_health`]. Default 30 s.
    pub health: Option<Duration>,
    /// What metrics each proxy is told, on one of its connections. Default: none.
    pub metrics: Option<MetricsExport>,
    /// How long a handler may go on after nobody waits for its answer any more. Default 1 s.
    pub cancel_grace: Duration,
    /// How long a shutdown waits for answers that are owed. Default 30 s.
    pub drain_timeout: Duration,
    /// How long the last bytes of a connection that has ended may take. Default 1 s.
    pub linger: Duration,
}

impl AgentConfig {
    /// The defaults, for an agent with these settings.
    pub fn new(agent: AgentSettings) -> Self {
        Self {
            agent,
            reconnect: Backoff::default(),
            retry_refusals: Some(Duration::from_secs(30)),
            health: Some(Duration::from_secs(30)),
            metrics: None,
            cancel_grace: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(30),
            linger: Duration::from_secs(1),
        }
    }
}

/// An agent: a handler, and how it is run.
///
/// Each `run_*` method makes an [`AgentRunner`], a future that does the work. A runner that is
/// dropped drops its connection.
#[derive(Debug)]
pub struct Agent<H> {
    config: AgentConfig,
    handler: Arc<H>,
}

impl<H: Handler> Agent<H> {
    /// An agent that answers with `handler`.
    pub fn new(config: AgentConfig, handler: H) -> Self {
        Self { config, handler: Arc::new(handler) }
    }

    /// Dials the proxy on a Unix socket, again and again, until it is shut down or refused for good.
    #[cfg(unix)]
    pub fn run_unix(self, path: impl Into<PathBuf>) -> AgentRunner {
        let path = path.into();
        self.run_with(move || tokio::net::UnixStream::connect(path.clone()))
    }

    /// Dials the proxy over TCP, again and again, until it is shut down or refused for good.
    pub fn run_tcp(self, addr: SocketAddr) -> AgentRunner {
        self.run_with(move || super::sockets::dial(addr))
    }

    /// Dials the proxy over TLS, again and again, until it is shut down or refused for good. Its
    /// certificate must be valid for `server_name`, a DNS name or an IP address.
    ///
    /// A certificate that one side does not accept is not for good: it may be renewed.
    ///
    /// # Errors
    /// What in `tls` or the name makes no sense.
    #[cfg(feature = "tls")]
    pub fn run_tls(
        self,
        addr: SocketAddr,
        server_name: &str,
        tls: &super::tls::TlsAgentConfig,
    ) -> Result<AgentRunner, super::ConfigError> {
        let dialler = super::tls::Dialler::new(server_name, tls)?;
        Ok(self.run_with(move || dialler.clone().dial(addr)))
    }

    /// Dials the proxy by `connect`, again and again, until it is shut down or refused for good.
    /// For streams of other kinds: TLS, names that must be looked up.
    pub fn run_with<C, F, IO>(self, connect: C) -> AgentRunner
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<IO>> + Send,
        IO: Stream,
    {
        self.run(|keeper| async move { keeper.keep(connect).await })
    }

    /// One connection over a stream that has been opened to the proxy. Ends with it.
    pub fn serve_stream<IO: Stream>(self, io: IO) -> AgentRunner {
        self.run(|keeper| async move {
            let clock = Clock::start();
            let session = AgentSession::dial(keeper.config.agent.clone(), clock.now())?;
            keeper.serve(session, clock, io).await
        })
    }

    /// One connection that a proxy has dialled, over the stream that was accepted from it, if
    /// [`Handler::on_forward_handshake`] agrees. Ends with the connection.
    pub fn accept_forward<IO: Stream>(self, io: IO) -> AgentRunner {
        self.run(|keeper| async move {
            let clock = Clock::start();
            let session = AgentSession::accept(keeper.config.agent.clone(), clock.now());
            keeper.serve(session, clock, io).await
        })
    }

    fn run<F>(self, work: impl FnOnce(Keeper<H>) -> F) -> AgentRunner
    where
        F: Future<Output = Result<(), AgentError>> + Send + 'static,
    {
        let line = Line::new(0);
        let crew = Arc::new(Crew::new(&self.config, vec![Arc::clone(&line)]));
        let reporting = report(Arc::clone(&crew), self.config.clone());
        let work = work(Keeper {
            config: self.config,
            handler: self.handler,
            crew: Arc::clone(&crew),
            line: Arc::clone(&line),
            to: "".into(),
        });
        let work = async move {
            tokio::select! {
                result = work => result,
                never = reporting => match never {},
            }
        };
        AgentRunner { work: Box::pin(work), controller: AgentController { crew, line } }
    }
}

/// A running agent, as a future: await it, or [`AgentRunner::spawn`] it.
#[must_use = "an agent does nothing unless its runner is awaited or spawned"]
pub struct AgentRunner {
    work: Pin<Box<dyn Future<Output = Result<(), AgentError>> + Send>>,
    controller: AgentController,
}

impl AgentRunner {
    /// What stops and questions the agent while it runs.
    pub fn controller(&self) -> AgentController {
        self.controller.clone()
    }

    /// Runs the agent in a task of its own. Must be called within a runtime.
    pub fn spawn(self) -> (AgentController, JoinHandle<Result<(), AgentError>>) {
        let controller = self.controller();
        (controller, tokio::spawn(self))
    }

    /// Runs the agent until `signal` resolves, and then as after [`AgentController::shutdown`]:
    /// announces that it goes, answers what it owes, closes. With [`shutdown_signal`], until the
    /// process is asked to end.
    ///
    /// # Errors
    /// As the runner itself, if it ends before the signal.
    ///
    /// [`shutdown_signal`]: super::shutdown_signal
    pub async fn run_until(self, signal: impl Future<Output = ()>) -> Result<(), AgentError> {
        let controller = self.controller();
        run_until(self, || controller.shutdown(), signal).await
    }
}

impl Future for AgentRunner {
    type Output = Result<(), AgentError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.work.as_mut().poll(cx)
    }
}

impl fmt::Debug for AgentRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentRunner").field("controller", &self.controller).finish_non_exhaustive()
    }
}

/// Stops and questions a running agent. Cheap to clone.
///
/// ```no_run
/// use dialback::net::Handlers;
/// use dialback::wire::HealthState;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let (controller, running) = Handlers::new().agent("waf").run_unix("/run/proxy/agents.sock").spawn();
/// controller.set_health(HealthState::Healthy, Some("rules loaded".into()));
/// controller.shutdown();
/// running.await??;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AgentController {
    crew: Arc<Crew>,
    line: Arc<Line>,
}

impl AgentController {
    /// Tells the proxy that this agent goes, answers what it owes, closes, and dials no more. The
    /// runner resolves when that is done, at the latest after the drain timeout.
    pub fn shutdown(&self) {
        self.crew.shutdown();
    }

    /// Where the present connection stands, or the last; `None` before the first.
    pub fn state(&self) -> Option<ConnectionState> {
        self.connection().map(|shared| shared.look(|core| core.session.state()))
    }

    /// Where the agent stands between and during connections.
    pub fn link(&self) -> LinkState {
        self.line.state()
    }

    /// Counters of the present connection, or the last.
    pub fn stats(&self) -> AgentStats {
        self.connection().map(|shared| shared.look(|core| core.session.stats())).unwrap_or_default()
    }

    /// Counters of all connections so far.
    pub fn totals(&self) -> AgentStats {
        self.line.tally().stats
    }

    /// How busy the agent is, as it goes into health reports: what is under way now, and over all
    /// connections so far how many events were answered and how long that took.
    pub fn load(&self) -> LoadMetrics {
        self.crew.load()
    }

    /// Events of the present connection that are not answered.
    pub fn unanswered(&self) -> usize {
        self.connection().map_or(0, |shared| shared.look(|core| core.session.unanswered()))
    }

    /// Sets how the agent is, and tells the proxy now, with the load, and on every schedule and
    /// connection from now on. Without a `message` the detail of `state`, which is not on the wire,
    /// takes its place. Returns whether a connection was open to take it.
    ///
    /// To announce that the agent goes, use [`Self::shutdown`].
    pub fn set_health(&self, state: HealthState, message: Option<String>) -> bool {
        self.crew.set_health(state, message) > 0
    }

    /// Reports health to the proxy, once.
    ///
    /// # Errors
    /// [`AnswerError::NotOpen`] unless there is an open connection.
    pub fn report_health(&self, health: &HealthStatus) -> Result<(), AnswerError> {
        self.report(|session| session.report_health(health))
    }

    /// Reports metrics to the proxy.
    ///
    /// # Errors
    /// [`AnswerError::NotOpen`] unless there is an open connection.
    pub fn report_metrics(&self, report: &MetricsReport) -> Result<(), AnswerError> {
        self.report(|session| session.report_metrics(report))
    }

    /// Asks the proxy for configuration.
    ///
    /// # Errors
    /// [`AnswerError::NotOpen`] unless there is an open connection.
    pub fn request_config(&self, request: &ConfigUpdateRequest) -> Result<(), AnswerError> {
        self.report(|session| session.request_config(request))
    }

    fn report(
        &self,
        report: impl FnOnce(&mut AgentSession) -> Result<(), AnswerError>,
    ) -> Result<(), AnswerError> {
        let shared = self.connection().ok_or(AnswerError::NotOpen)?;
        shared.command(|core, _| report(&mut core.session))
    }

    fn connection(&self) -> Option<Arc<Shared<AgentSession>>> {
        self.line.connection()
    }
}

impl fmt::Debug for AgentController {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentController").field("state", &self.state()).finish_non_exhaustive()
    }
}

/// Why an agent stopped without being told to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentError {
    /// The proxy refused the registration, in these words, and another try would not help.
    Refused(String),
    /// The connection ended, and there was no other to be had.
    Lost(CloseReason),
    /// The registration can't be encoded.
    Encode(EncodeError),
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(words) => write!(f, "the proxy refused this agent: {words}"),
            Self::Lost(reason) => write!(f, "the connection ended: {reason}"),
            Self::Encode(error) => write!(f, "the registration can't be encoded: {error}"),
        }
    }
}

impl std::error::Error for AgentError {}

impl From<EncodeError> for AgentError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

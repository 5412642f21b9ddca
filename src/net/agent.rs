//! The agent's runner: dials, is registered, answers, and dials again.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::Instrument;

use crate::machine::{AgentStats, AnswerError, Blame, CloseReason, ConnectionState};
use crate::session::{AgentSession, AgentSettings};
use crate::wire::{ConfigUpdateRequest, EncodeError, HealthStatus, MetricsReport};

use super::backoff::{Backoff, Pace};
use super::clock::Clock;
use super::driver::{Driver, Stream};
use super::handler::Handler;
use super::shared::Shared;
use super::sync::{Arc, Mutex, lock};
use super::worker::{AgentRole, AgentSide};

/// How an agent runs.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentConfig {
    /// How each connection behaves, and what the agent says of itself.
    pub agent: AgentSettings,
    /// The pace of reconnecting.
    pub reconnect: Backoff,
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
        AgentRunner::new(
            self.config.drain_timeout,
            |control| async move { run(self, &control, connect).await },
        )
    }

    /// One connection over a stream that has been opened to the proxy. Ends with it.
    pub fn serve_stream<IO: Stream>(self, io: IO) -> AgentRunner {
        AgentRunner::new(self.config.drain_timeout, |control| async move {
            let clock = Clock::start();
            let session = AgentSession::dial(self.config.agent.clone(), clock.now())?;
            self.drive(&control, session, clock, io).await.result()
        })
    }

    /// One connection that a proxy has dialled, over the stream that was accepted from it. Its
    /// handshake is accepted whatever it says. Ends with the connection.
    pub fn accept_forward<IO: Stream>(self, io: IO) -> AgentRunner {
        AgentRunner::new(self.config.drain_timeout, |control| async move {
            let clock = Clock::start();
            let session = AgentSession::accept(self.config.agent.clone(), clock.now());
            self.drive(&control, session, clock, io).await.result()
        })
    }

    /// Drives one connection to its end.
    async fn drive<IO: Stream>(&self, control: &Control, session: AgentSession, clock: Clock, io: IO) -> End {
        let shared = Arc::new(Shared::new(session, AgentSide::default(), clock));
        control.attach(&shared);
        let role = AgentRole::new(Arc::clone(&self.handler), self.config.cancel_grace);
        let span = tracing::info_span!(
            "proxy",
            agent_id = self.config.agent.registration.agent_id.as_str(),
            connection_id = tracing::field::Empty
        );
        Driver::new(Arc::clone(&shared), role, io, self.config.linger).instrument(span).await;
        shared.look(|core| End {
            reason: core.session.close_reason().cloned().unwrap_or(CloseReason::TransportLost),
            retry_after: core.session.retry_after_ms().map(Duration::from_millis),
            opened: core.side.opened,
        })
    }
}

/// How a connection ended, as far as dialling again is concerned.
struct End {
    reason: CloseReason,
    retry_after: Option<Duration>,
    opened: bool,
}

impl End {
    fn result(self) -> Result<(), AgentError> {
        if let CloseReason::Refused(words) = self.reason {
            return Err(AgentError::Refused(words));
        }
        match self.reason.blame() {
            Blame::Local => Ok(()),
            Blame::Peer | Blame::Transport => Err(AgentError::Lost(self.reason)),
        }
    }
}

/// Dials until it is told not to.
async fn run<H, C, F, IO>(agent: Agent<H>, control: &Control, connect: C) -> Result<(), AgentError>
where
    H: Handler,
    C: Fn() -> F + Send + Sync,
    F: Future<Output = io::Result<IO>> + Send,
    IO: Stream,
{
    let mut pace = Pace::new(agent.config.reconnect);
    let limit = agent.config.agent.limits.handshake_timeout;
    while !control.is_stopping() {
        let dialled = tokio::select! {
            biased;
            () = control.stopping() => return Ok(()),
            dialled = tokio::time::timeout(limit, connect()) => dialled,
        };
        let wait = match dialled.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(io) => {
                let clock = Clock::start();
                let started = Instant::now();
                let session = AgentSession::dial(agent.config.agent.clone(), clock.now())?;
                let end = agent.drive(control, session, clock, io).await;
                if end.opened {
                    pace.handle_lasted(started.elapsed());
                }
                match (&end.reason, end.retry_after) {
                    (CloseReason::Refused(words), Some(wait)) => {
                        tracing::info!(reason = %words, ?wait, "refused for now");
                        wait
                    }
                    (CloseReason::Refused(_), None) => return end.result(),
                    (_, _) => pace.next(),
                }
            }
            Err(error) => {
                let wait = pace.next();
                tracing::info!(%error, ?wait, "can't reach the proxy");
                wait
            }
        };
        tokio::select! {
            biased;
            () = control.stopping() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    Ok(())
}

/// A running agent, as a future: await it, or [`AgentRunner::spawn`] it.
#[must_use = "an agent does nothing unless its runner is awaited or spawned"]
pub struct AgentRunner {
    work: Pin<Box<dyn Future<Output = Result<(), AgentError>> + Send>>,
    controller: AgentController,
}

impl AgentRunner {
    fn new<F>(drain_timeout: Duration, work: impl FnOnce(Arc<Control>) -> F) -> Self
    where
        F: Future<Output = Result<(), AgentError>> + Send + 'static,
    {
        let control = Arc::new(Control {
            stop: watch::Sender::new(false),
            connection: Mutex::new(None),
            drain_timeout,
        });
        Self { work: Box::pin(work(Arc::clone(&control))), controller: AgentController { control } }
    }

    /// What stops and questions the agent while it runs.
    pub fn controller(&self) -> AgentController {
        self.controller.clone()
    }

    /// Runs the agent in a task of its own. Must be called within a runtime.
    pub fn spawn(self) -> (AgentController, JoinHandle<Result<(), AgentError>>) {
        let controller = self.controller();
        (controller, tokio::spawn(self))
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

struct Control {
    stop: watch::Sender<bool>,
    connection: Mutex<Option<Arc<Shared<AgentSession>>>>,
    drain_timeout: Duration,
}

impl Control {
    fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    async fn stopping(&self) {
        // The sender lives as long as `self`.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    fn attach(&self, shared: &Arc<Shared<AgentSession>>) {
        *lock(&self.connection) = Some(Arc::clone(shared));
        // A stop that came between the dialling and this line found no connection to drain.
        if self.is_stopping() {
            self.drain(shared);
        }
    }

    fn drain(&self, shared: &Shared<AgentSession>) {
        shared.command(|core, now| core.session.drain(now.after(self.drain_timeout), now));
    }
}

/// Stops and questions a running agent. Cheap to clone.
#[derive(Clone)]
pub struct AgentController {
    control: Arc<Control>,
}

impl AgentController {
    /// Tells the proxy that this agent goes, answers what it owes, closes, and dials no more. The
    /// runner resolves when that is done, at the latest after the drain timeout.
    pub fn shutdown(&self) {
        self.control.stop.send_replace(true);
        if let Some(shared) = self.connection() {
            self.control.drain(&shared);
        }
    }

    /// Where the present connection stands, or the last; `None` before the first.
    pub fn state(&self) -> Option<ConnectionState> {
        self.connection().map(|shared| shared.look(|core| core.session.state()))
    }

    /// Counters of the present connection, or the last.
    pub fn stats(&self) -> AgentStats {
        self.connection().map(|shared| shared.look(|core| core.session.stats())).unwrap_or_default()
    }

    /// Events of the present connection that are not answered.
    pub fn unanswered(&self) -> usize {
        self.connection().map_or(0, |shared| shared.look(|core| core.session.unanswered()))
    }

    /// Reports health to the proxy.
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
        lock(&self.control.connection).clone()
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

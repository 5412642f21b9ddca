//! A bridge that is kept up: for an agent that listens, connections to a proxy that is dialled.

mod pair;
mod pipe;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::machine::{Attempt, Backoff, CloseReason, Next, Pace};
use crate::session::bridge::{BridgeEnd, BridgeSettings, BridgeStats, Side};
use crate::wire::EncodeError;

use super::line::random;
use super::signal::run_until;
use super::sync::{Arc, Mutex, lock};
use super::target::Target;
use pair::{End, Outcome, Surroundings, bridge};

/// How a bridge is kept up.
#[derive(Clone, Debug, PartialEq)]
pub struct BridgeConfig {
    /// How each pair of connections behaves.
    pub session: BridgeSettings,
    /// The pace of reconnecting.
    pub reconnect: Backoff,
    /// How long after a refusal to try again, if the proxy did not say; as
    /// [`AgentConfig::retry_refusals`](super::AgentConfig::retry_refusals). Default 30 s.
    pub retry_refusals: Option<Duration>,
    /// How long a shutdown waits for answers that the agent owes. Default 30 s.
    pub drain_timeout: Duration,
    /// How long the last bytes of a connection that has ended may take. Default 1 s.
    pub linger: Duration,
}

impl Default for BridgeConfig {
    fn default() -> Self {
        Self {
            session: BridgeSettings::default(),
            reconnect: Backoff::default(),
            retry_refusals: Some(Duration::from_secs(30)),
            drain_timeout: Duration::from_secs(30),
            linger: Duration::from_secs(1),
        }
    }
}

/// Registers an agent that listens with a proxy that is dialled, and carries everything between them.
///
/// See [`crate::session::bridge`] for what passes. When either side is lost, both are dialled anew:
/// the proxy sees the agent go and come as the agent does.
///
/// ```no_run
/// use dialback::net::{Bridge, BridgeConfig, Target, shutdown_signal};
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let signal = shutdown_signal()?;
/// let agent = Target::unix("/run/agent.sock");
/// let proxy = Target::tcp("192.0.2.1:9000".parse()?);
/// Bridge::new(BridgeConfig::default(), agent, proxy).run().run_until(signal).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Bridge {
    config: BridgeConfig,
    agent: Target,
    proxy: Target,
}

impl Bridge {
    /// A bridge between an agent that listens at `agent` and a proxy that listens at `proxy`.
    pub fn new(config: BridgeConfig, agent: Target, proxy: Target) -> Self {
        Self { config, agent, proxy }
    }

    /// Makes the future that does the work, until it is shut down, or refused for good. A runner
    /// that is dropped drops its connections.
    pub fn run(self) -> BridgeRunner {
        let desk = Arc::new(Desk::default());
        let stop = watch::Sender::new(false);
        let controller = BridgeController { desk: Arc::clone(&desk), stop: Arc::new(stop) };
        let stopping = controller.stop.subscribe();
        BridgeRunner { work: Box::pin(keep(self, desk, stopping)), controller }
    }
}

/// Where a bridge that is kept up stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BridgeState {
    /// The two sides are being connected.
    #[default]
    Connecting,
    /// Everything is carried through.
    Open,
    /// There is no connection, for this reason, and after a while there is another try.
    Waiting(String),
}

#[derive(Default)]
struct Desk {
    state: Mutex<BridgeState>,
    stats: Mutex<BridgeStats>,
}

impl Desk {
    fn set(&self, state: BridgeState) {
        *lock(&self.state) = state;
    }

    fn add(&self, stats: BridgeStats) {
        let mut total = lock(&self.stats);
        *total = total.plus(stats);
    }
}

async fn keep(bridge_: Bridge, desk: Arc<Desk>, stop: watch::Receiver<bool>) -> Result<(), BridgeError> {
    let Bridge { mut config, agent, proxy } = bridge_;
    let mut pace = Pace::new(config.reconnect, config.retry_refusals);
    while !*stop.borrow() {
        desk.set(BridgeState::Connecting);
        let surroundings = Surroundings {
            agent: &agent,
            proxy: &proxy,
            stop: stop.clone(),
            drain_timeout: config.drain_timeout,
            linger: config.linger,
            opened: &|| desk.set(BridgeState::Open),
            lost: &|reason| desk.set(BridgeState::Waiting(format!("the agent is lost: {reason}"))),
        };
        let outcome = bridge(config.session.clone(), surroundings).await;
        desk.add(outcome.stats);
        if *stop.borrow() {
            break;
        }
        let words = outcome.end.words(&agent, &proxy);
        match &outcome.end {
            End::Encode(error) => return Err(BridgeError::Encode(error.clone())),
            // The proxy speaks JSON only, and every agent can.
            End::Session(BridgeEnd::Encoding(_)) => {
                tracing::info!("{words}; going on with JSON");
                config.session.encodings.clear();
                continue;
            }
            End::Unreached(..) => tracing::info!("{words}"),
            End::Session(_) => tracing::warn!("{words}"),
        }
        let wait = match pace.next(outcome.attempt(), random()) {
            Next::Wait(wait) => wait,
            Next::GiveUp => return Err(BridgeError::Refused(words)),
        };
        tracing::debug!(?wait, "connecting again after a while");
        desk.set(BridgeState::Waiting(words));
        let mut stopped = stop.clone();
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    Ok(())
}

impl End {
    fn words(&self, agent: &Target, proxy: &Target) -> String {
        match self {
            Self::Unreached(side, error) => {
                let name = match side {
                    Side::Agent => agent.name(),
                    Side::Proxy => proxy.name(),
                };
                format!("can't reach the {side} at {name}: {error}")
            }
            Self::Session(end) => format!("the bridge has ended: {end}"),
            Self::Encode(error) => error.to_string(),
        }
    }
}

impl Outcome {
    fn attempt(&self) -> Attempt {
        let refused = matches!(self.end, End::Session(BridgeEnd::Peer(_, CloseReason::Refused(_))));
        match (refused, self.retry_after, self.lived) {
            (true, Some(asked), _) => Attempt::RefusedFor(asked),
            (true, None, _) => Attempt::Refused,
            (false, _, Some(lived)) => Attempt::Ended { lived },
            (false, _, None) => Attempt::Failed,
        }
    }
}

/// A running bridge, as a future: await it, or [`BridgeRunner::spawn`] it.
#[must_use = "a bridge does nothing unless its runner is awaited or spawned"]
pub struct BridgeRunner {
    work: Pin<Box<dyn Future<Output = Result<(), BridgeError>> + Send>>,
    controller: BridgeController,
}

impl BridgeRunner {
    /// What stops and questions the bridge while it runs.
    pub fn controller(&self) -> BridgeController {
        self.controller.clone()
    }

    /// Runs the bridge in a task of its own. Must be called within a runtime.
    pub fn spawn(self) -> (BridgeController, JoinHandle<Result<(), BridgeError>>) {
        let controller = self.controller();
        (controller, tokio::spawn(self))
    }

    /// Runs the bridge until `signal` resolves, and then as after [`BridgeController::shutdown`].
    ///
    /// # Errors
    /// As the runner itself, if it ends before the signal.
    pub async fn run_until(self, signal: impl Future<Output = ()>) -> Result<(), BridgeError> {
        let controller = self.controller();
        run_until(self, || controller.shutdown(), signal).await
    }
}

impl Future for BridgeRunner {
    type Output = Result<(), BridgeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.work.as_mut().poll(cx)
    }
}

impl fmt::Debug for BridgeRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BridgeRunner").field("controller", &self.controller).finish_non_exhaustive()
    }
}

/// Stops and questions a running bridge. Cheap to clone.
#[derive(Clone)]
pub struct BridgeController {
    desk: Arc<Desk>,
    stop: Arc<watch::Sender<bool>>,
}

impl BridgeController {
    /// Tells the proxy that the agent goes, carries what is under way to its end, closes both
    /// connections, and makes no more. The runner resolves when that is done, at the latest after
    /// the drain timeout and the linger time.
    pub fn shutdown(&self) {
        self.stop.send_replace(true);
    }

    /// Where the bridge stands.
    pub fn state(&self) -> BridgeState {
        lock(&self.desk.state).clone()
    }

    /// Counters of all pairs of connections that have ended.
    pub fn stats(&self) -> BridgeStats {
        *lock(&self.desk.stats)
    }
}

impl fmt::Debug for BridgeController {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BridgeController").field("state", &self.state()).finish_non_exhaustive()
    }
}

/// Why a bridge stopped without being told to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeError {
    /// One of the two refused it, in these words, and another try would not help.
    Refused(String),
    /// What the agent is told, or what it says of itself, does not fit an opening frame.
    Encode(EncodeError),
}

impl fmt::Display for BridgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(words) => f.write_str(words),
            Self::Encode(error) => write!(f, "a handshake can't be encoded: {error}"),
        }
    }
}

impl std::error::Error for BridgeError {}

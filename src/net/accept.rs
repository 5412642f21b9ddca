//! Accepting agents over streams: the door that a registration passes, whoever brings the stream.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument;

use crate::machine::admission::{RegistrationRefusal, Throttle, check_agent_id};
use crate::machine::{CloseReason, Timestamp};
use crate::session::{ProxySession, ProxySettings};
use crate::wire::{EncodeError, Registration};

use super::admission::{Seat, Seats};
use super::clock::Clock;
use super::config::{ConfigError, ListenerConfig, validate_proxy};
use super::denied::{BUSY, Denied, TOO_FAST, refuse};
use super::driver::{Driver, Stream};
use super::handle::AgentHandle;
use super::hook::{Peer, Question};
use super::proxy::{Delivery, ProxyRole};
use super::refusals::Refusals;
use super::shared::Shared;
use super::side::ProxySide;
use super::sync::{Arc, Mutex, Weak, lock, oneshot, spawn, watch};

/// Accepts agents over streams that the user brings: TLS, in-memory pipes, anything that reads
/// and writes. Cheap to clone; the clones share their limits.
///
/// Must be used within a tokio runtime.
///
/// ```
/// use dialback::net::{Acceptor, Handlers, ListenerConfig};
/// use dialback::wire::RequestHeaders;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (near, far) = tokio::io::duplex(4_096);
/// let _agent = Handlers::new().agent("in-memory").serve_stream(far).spawn();
///
/// let agent = Acceptor::new(ListenerConfig::default())?.accept(near).await?;
/// assert_eq!(agent.agent_id(), "in-memory");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Acceptor {
    inner: Arc<Inner>,
}

struct Inner {
    config: ListenerConfig,
    clock: Clock,
    seats: Seats,
    opening: Arc<Semaphore>,
    refusing: Arc<Semaphore>,
    /// The accept rate, if there is one.
    throttle: Option<Mutex<Throttle>>,
    roster: Mutex<Roster>,
    /// Whether the roster is closing, to be waited on.
    closing: watch::Sender<bool>,
    refusals: Refusals,
    /// That a connection has left the roster, to be waited on. It says no number: one that was
    /// counted with the roster locked could be told after a later one.
    left: watch::Sender<()>,
}

/// Every connection that has not ended.
#[derive(Default)]
struct Roster {
    closing: bool,
    last: u64,
    members: BTreeMap<u64, Weak<Shared<ProxySession>>>,
}

/// A connection's entry with its acceptor, from its first byte to its last.
pub(crate) struct Entry {
    acceptor: Arc<Inner>,
    number: u64,
    opening: Option<OwnedSemaphorePermit>,
    began: Timestamp,
    peer: Peer,
}

impl Entry {
    /// Judges a registration and takes a seat for it.
    pub(crate) fn judge(&self, registration: &Registration) -> Result<Seat, RegistrationRefusal> {
        let policy = &self.acceptor.config.policy;
        // Who someone is comes before whether he is on the list.
        check_agent_id(&registration.agent_id)?;
        #[cfg(feature = "tls")]
        super::tls::check_certificate(&self.peer, &registration.agent_id)?;
        policy.judge(registration)?;
        if lock(&self.acceptor.roster).closing {
            return Err(RegistrationRefusal::ShuttingDown);
        }
        self.acceptor.seats.reserve(policy, &registration.agent_id)
    }

    /// What to ask the hook about a registration that the policy admits, if there is a hook.
    pub(crate) fn question(&self, registration: &Registration) -> Option<Question> {
        let config = &self.acceptor.config;
        let hook = config.hook.as_ref()?;
        Some(Question::new(Arc::clone(hook), registration, self.peer.clone(), config.hook_timeout))
    }

    /// Where the connection comes from.
    pub(crate) const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Counts a refusal.
    pub(crate) fn count(&self, refusal: &RegistrationRefusal) {
        self.acceptor.refusals.count(refusal);
    }

    /// The handshake has succeeded. One that has not counts until the connection is gone.
    pub(crate) fn leave_opening(&mut self) {
        self.opening = None;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.acceptor.roster).members.remove(&self.number);
        self.acceptor.left.send_replace(());
    }
}

impl Acceptor {
    /// An acceptor with limits and policy of its own. What `config` says of sockets is not used.
    ///
    /// # Errors
    /// What in `config` makes no sense.
    pub fn new(config: ListenerConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let clock = Clock::start();
        let inner = Inner {
            clock,
            seats: Seats::default(),
            opening: Arc::new(Semaphore::new(config.max_opening.min(Semaphore::MAX_PERMITS))),
            refusing: Arc::new(Semaphore::new(config.max_opening.min(Semaphore::MAX_PERMITS))),
            throttle: config.accept_rate.map(|rate| Mutex::new(Throttle::new(rate, clock.now()))),
            roster: Mutex::default(),
            closing: watch::Sender::new(false),
            refusals: Refusals::default(),
            left: watch::Sender::new(()),
            config,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Accepts the agent at the other end of `io`, which has dialled. Resolves when it has
    /// registered, or failed to. If the future is dropped, the connection is closed.
    ///
    /// # Errors
    /// Why there is no connection. The agent was told, if it could be.
    pub async fn accept<IO: Stream>(&self, io: IO) -> Result<AgentHandle, AcceptError> {
        self.accept_from(io, Peer::Other).await
    }

    /// As [`Acceptor::accept`], from a peer that the caller knows something about. The hook is
    /// told; and a certificate in it must be valid for the agent's id.
    ///
    /// # Errors
    /// Why there is no connection. The agent was told, if it could be.
    pub async fn accept_from<IO: Stream>(&self, io: IO, peer: Peer) -> Result<AgentHandle, AcceptError> {
        let (sender, receiver) = oneshot::channel();
        match self.enter(peer) {
            Ok(entry) => self.start(io, entry, Delivery::Caller(sender)),
            Err(denied) => {
                refuse(io, &self.inner.config, denied).await;
                return Err(denied.into());
            }
        }
        receiver.await.unwrap_or(Err(AcceptError::Closed(CloseReason::TransportLost)))
    }

    /// Starts a connection whose handle goes to a queue; for the listener.
    pub(super) fn accept_later<IO: Stream>(&self, io: IO, peer: Peer, delivery: Delivery) {
        let denied = match self.enter(peer) {
            Ok(entry) => return self.start(io, entry, delivery),
            Err(denied) => denied,
        };
        tracing::info!(reason = denied.words(), "connection refused");
        // Beyond this many refusals at once a peer is dropped without a word.
        let Ok(permit) = Arc::clone(&self.inner.refusing).try_acquire_owned() else { return };
        let inner = Arc::clone(&self.inner);
        drop(spawn(async move {
            refuse(io, &inner.config, denied).await;
            drop(permit);
        }));
    }

    /// As [`Acceptor::accept_later`], for a stream that `opening` has to make first. That counts as
    /// a part of the handshake: against the number of those under way, and against its deadline.
    ///
    /// Where there is no room, `opening` is dropped, and the peer told nothing: it would cost what
    /// the limit is there to save.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "only TLS has a handshake of its own"))]
    pub(super) fn accept_opening<IO, F>(&self, opening: F, delivery: Delivery)
    where
        IO: Stream,
        F: Future<Output = io::Result<(IO, Peer)>> + Send + 'static,
    {
        let mut entry = match self.enter(Peer::Other) {
            Ok(entry) => entry,
            Err(denied) => return tracing::info!(reason = denied.words(), "connection dropped"),
        };
        let this = self.clone();
        drop(spawn(async move {
            let limit = this.inner.config.proxy.limits.handshake_timeout;
            let mut closing = this.inner.closing.subscribe();
            let opened = tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => return,
                opened = tokio::time::timeout(limit, opening) => opened,
            };
            match opened {
                Ok(Ok((io, peer))) => {
                    entry.peer = peer;
                    this.start(io, entry, delivery);
                }
                Ok(Err(error)) => {
                    this.inner.refusals.count_cause("tls_handshake");
                    tracing::info!(%error, "connection dropped");
                }
                Err(_) => {
                    this.inner.refusals.count_cause("tls_handshake");
                    tracing::info!(?limit, "connection dropped: its handshake took too long");
                }
            }
        }));
    }

    /// How often registrations were refused, by cause.
    pub fn refusals(&self) -> Refusals {
        self.inner.refusals.clone()
    }

    /// Connections that have registered and not ended.
    pub fn connections(&self) -> usize {
        self.inner.seats.taken()
    }

    /// Registers no more agents, drains every connection for at most `within`, closes what is
    /// left, and waits until all have ended.
    pub async fn shutdown(&self, within: Duration) {
        let deadline = self.inner.clock.now().after(within);
        for connection in self.close_roster() {
            connection.command(|core, now| core.session.drain(deadline, now));
        }
        // The drains end by themselves; the margin is for their last bytes.
        let margin = self.inner.config.linger.saturating_mul(2);
        if tokio::time::timeout(within.saturating_add(margin), self.emptied()).await.is_ok() {
            return;
        }
        for connection in self.close_roster() {
            connection.command(|core, _| core.session.close());
        }
        let _ = tokio::time::timeout(margin, self.emptied()).await;
    }

    async fn emptied(&self) {
        // Subscribed before the first look, so that no leaving is missed.
        let mut left = self.inner.left.subscribe();
        while !lock(&self.inner.roster).members.is_empty() {
            // The sender lives as long as `self`.
            let _ = left.changed().await;
        }
    }

    /// Admits nobody from now on, and returns who is there.
    fn close_roster(&self) -> Vec<Arc<Shared<ProxySession>>> {
        let mut roster = lock(&self.inner.roster);
        roster.closing = true;
        let members = roster.members.values().filter_map(Weak::upgrade).collect();
        drop(roster);
        self.inner.closing.send_replace(true);
        members
    }

    pub(super) fn enter(&self, peer: Peer) -> Result<Entry, Denied> {
        self.try_enter(peer).inspect_err(|denied| self.inner.refusals.count_cause(denied.cause()))
    }

    fn try_enter(&self, peer: Peer) -> Result<Entry, Denied> {
        let began = self.inner.clock.now();
        if let Some(throttle) = &self.inner.throttle {
            lock(throttle).take(began).map_err(Denied::TooFast)?;
        }
        let permit = Arc::clone(&self.inner.opening).try_acquire_owned().map_err(|_| Denied::Busy)?;
        let mut roster = lock(&self.inner.roster);
        if roster.closing {
            return Err(Denied::ShuttingDown);
        }
        roster.last = roster.last.saturating_add(1);
        let number = roster.last;
        roster.members.insert(number, Weak::new());
        drop(roster);
        Ok(Entry { acceptor: Arc::clone(&self.inner), number, opening: Some(permit), began, peer })
    }

    fn start<IO: Stream>(&self, io: IO, entry: Entry, delivery: Delivery) {
        let config = &self.inner.config;
        let clock = self.inner.clock;
        let session = ProxySession::accept(config.proxy.clone(), entry.began);
        let shared = Arc::new(Shared::new(session, ProxySide::default(), clock));
        let mut roster = lock(&self.inner.roster);
        roster.members.insert(entry.number, Arc::downgrade(&shared));
        let closing = roster.closing;
        drop(roster);
        if closing {
            shared.command(|core, now| core.session.drain(now, now));
        }
        let role = ProxyRole::new(Some(entry), delivery, config.request_timeout);
        launch(Driver::new(shared, role, io, config.linger));
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("connections", &self.connections()).finish_non_exhaustive()
    }
}

/// Connects to an agent that listens, over a stream that has been opened to it: the forward
/// handshake, in which the proxy speaks first. `config` is handed to the agent in it. A stream
/// should come from the proxy's own configuration, never from a name that an agent chose.
///
/// If the future is dropped, the connection is closed.
///
/// # Errors
/// Why there is no connection.
///
/// ```no_run
/// use std::time::Duration;
/// use dialback::net::dial_forward;
/// use dialback::session::ProxySettings;
/// use tokio::net::UnixStream;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let stream = UnixStream::connect("/run/waf/agent.sock").await?;
/// let agent = dial_forward(stream, ProxySettings::default(), None, Duration::from_secs(5)).await?;
/// println!("{} listens", agent.agent_id());
/// # Ok(())
/// # }
/// ```
pub async fn dial_forward<IO: Stream>(
    io: IO,
    settings: ProxySettings,
    config: Option<Value>,
    request_timeout: Duration,
) -> Result<AgentHandle, AcceptError> {
    validate_proxy(&settings)?;
    let clock = Clock::start();
    let session = ProxySession::dial(settings, config, clock.now())?;
    let shared = Arc::new(Shared::new(session, ProxySide::default(), clock));
    let (sender, receiver) = oneshot::channel();
    let role = ProxyRole::new(None, Delivery::Caller(sender), request_timeout);
    launch(Driver::new(shared, role, io, ListenerConfig::default().linger));
    receiver.await.unwrap_or(Err(AcceptError::Closed(CloseReason::TransportLost)))
}

fn launch<IO: Stream>(driver: Driver<ProxyRole, IO>) {
    let span =
        tracing::info_span!("agent", agent_id = tracing::field::Empty, connection_id = tracing::field::Empty);
    drop(spawn(driver.instrument(span)));
}

impl From<Denied> for AcceptError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Busy => Self::Busy,
            Denied::TooFast(_) => Self::TooFast { retry_after: denied.retry_after() },
            Denied::ShuttingDown => Self::Refused(RegistrationRefusal::ShuttingDown),
        }
    }
}

/// Why a stream became no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcceptError {
    /// The registration was refused.
    Refused(RegistrationRefusal),
    /// Too many handshakes are under way.
    Busy,
    /// Connections come faster than the accept rate.
    TooFast {
        /// When the peer was told to retry.
        retry_after: Duration,
    },
    /// The connection ended before the handshake was done.
    Closed(CloseReason),
    /// The forward handshake can't be encoded.
    Encode(EncodeError),
    /// The settings make no sense.
    Config(ConfigError),
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "the registration was refused: {refusal}"),
            Self::Busy => f.write_str(BUSY),
            Self::TooFast { .. } => f.write_str(TOO_FAST),
            Self::Closed(reason) => write!(f, "the connection ended in the handshake: {reason}"),
            Self::Encode(error) => write!(f, "the handshake can't be encoded: {error}"),
            Self::Config(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AcceptError {}

impl From<EncodeError> for AcceptError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl From<ConfigError> for AcceptError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

//! Accepting agents over streams: the door that a registration passes, whoever brings the stream.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tracing::Instrument;

use crate::machine::CloseReason;
use crate::machine::admission::RegistrationRefusal;
use crate::session::{ProxySession, ProxySettings};
use crate::wire::{EncodeError, Encoding, FrameType, Registration, RegistrationResponse, encode_message};

use super::admission::{Seat, Seats};
use super::clock::Clock;
use super::config::{ConfigError, ListenerConfig, validate_proxy};
use super::driver::{Driver, Stream};
use super::handle::AgentHandle;
use super::proxy::{Delivery, ProxyRole, ProxySide};
use super::refusals::Refusals;
use super::shared::Shared;
use super::sync::{Arc, Mutex, Weak, lock};

/// What a peer is told that comes while too many handshakes are under way.
const BUSY: &str = "too many connections here have not registered yet; retry later";
/// When it should, in milliseconds.
const BUSY_RETRY_MS: u64 = 1_000;

/// Accepts agents over streams that the user brings: TLS, in-memory pipes, anything that reads
/// and writes. Cheap to clone; the clones share their limits.
///
/// Must be used within a tokio runtime.
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
    roster: Mutex<Roster>,
    refusals: Refusals,
    /// How many connections there are, to be waited on.
    count: watch::Sender<usize>,
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
}

impl Entry {
    /// Judges a registration and takes a seat for it.
    pub(crate) fn judge(&self, registration: &Registration) -> Result<Seat, RegistrationRefusal> {
        let policy = &self.acceptor.config.policy;
        policy.judge(registration)?;
        if lock(&self.acceptor.roster).closing {
            return Err(RegistrationRefusal::ShuttingDown);
        }
        self.acceptor.seats.reserve(policy, &registration.agent_id)
    }

    /// The handshake has succeeded. One that has not counts until the connection is gone.
    pub(crate) fn count(&self, refusal: &RegistrationRefusal) {
        self.acceptor.refusals.count(refusal);
    }

    pub(crate) fn leave_opening(&mut self) {
        self.opening = None;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut roster = lock(&self.acceptor.roster);
        roster.members.remove(&self.number);
        let count = roster.members.len();
        drop(roster);
        self.acceptor.count.send_replace(count);
    }
}

impl Acceptor {
    /// An acceptor with limits and policy of its own. What `config` says of sockets is not used.
    ///
    /// # Errors
    /// What in `config` makes no sense.
    pub fn new(config: ListenerConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let inner = Inner {
            clock: Clock::start(),
            seats: Seats::default(),
            opening: Arc::new(Semaphore::new(config.max_opening.min(Semaphore::MAX_PERMITS))),
            refusing: Arc::new(Semaphore::new(config.max_opening.min(Semaphore::MAX_PERMITS))),
            roster: Mutex::default(),
            refusals: Refusals::default(),
            count: watch::Sender::new(0),
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
        let (sender, receiver) = oneshot::channel();
        match self.enter() {
            Ok(entry) => self.start(io, entry, Delivery::Caller(sender)),
            Err(denied) => {
                refuse(io, &self.inner.config, denied.words()).await;
                return Err(denied.into());
            }
        }
        receiver.await.unwrap_or(Err(AcceptError::Closed(CloseReason::TransportLost)))
    }

    /// Starts a connection whose handle goes to a queue; for the listener.
    pub(super) fn accept_later<IO: Stream>(&self, io: IO, delivery: Delivery) {
        let denied = match self.enter() {
            Ok(entry) => return self.start(io, entry, delivery),
            Err(denied) => denied,
        };
        tracing::info!(reason = denied.words(), "connection refused");
        // Beyond this many refusals at once a peer is dropped without a word.
        let Ok(permit) = Arc::clone(&self.inner.refusing).try_acquire_owned() else { return };
        let inner = Arc::clone(&self.inner);
        drop(tokio::spawn(async move {
            refuse(io, &inner.config, denied.words()).await;
            drop(permit);
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
        let mut count = self.inner.count.subscribe();
        // The sender lives as long as `self`.
        let _ = count.wait_for(|count| *count == 0).await;
    }

    /// Admits nobody from now on, and returns who is there.
    fn close_roster(&self) -> Vec<Arc<Shared<ProxySession>>> {
        let mut roster = lock(&self.inner.roster);
        roster.closing = true;
        roster.members.values().filter_map(Weak::upgrade).collect()
    }

    fn enter(&self) -> Result<Entry, Denied> {
        self.try_enter().inspect_err(|denied| self.inner.refusals.count_cause(denied.cause()))
    }

    fn try_enter(&self) -> Result<Entry, Denied> {
        let permit = Arc::clone(&self.inner.opening).try_acquire_owned().map_err(|_| Denied::Busy)?;
        let mut roster = lock(&self.inner.roster);
        if roster.closing {
            return Err(Denied::ShuttingDown);
        }
        roster.last = roster.last.saturating_add(1);
        let number = roster.last;
        roster.members.insert(number, Weak::new());
        let count = roster.members.len();
        drop(roster);
        self.inner.count.send_replace(count);
        Ok(Entry { acceptor: Arc::clone(&self.inner), number, opening: Some(permit) })
    }

    fn start<IO: Stream>(&self, io: IO, entry: Entry, delivery: Delivery) {
        let config = &self.inner.config;
        let clock = self.inner.clock;
        let session = ProxySession::accept(config.proxy.clone(), clock.now());
        let shared = Arc::new(Shared::new(session, ProxySide::default(), clock));
        let mut roster = lock(&self.inner.roster);
        roster.members.insert(entry.number, Arc::downgrade(&shared));
        let closing = roster.closing;
        drop(roster);
        if closing {
            shared.command(|core, now| core.session.drain(now, now));
        }
        let role = ProxyRole::new(Some(entry), delivery, config.request_timeout);
        spawn(Driver::new(shared, role, io, config.linger));
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
    spawn(Driver::new(shared, role, io, ListenerConfig::default().linger));
    receiver.await.unwrap_or(Err(AcceptError::Closed(CloseReason::TransportLost)))
}

fn spawn<IO: Stream>(driver: Driver<ProxyRole, IO>) {
    let span =
        tracing::info_span!("agent", agent_id = tracing::field::Empty, connection_id = tracing::field::Empty);
    drop(tokio::spawn(driver.instrument(span)));
}

/// Why a connection does not even begin.
#[derive(Clone, Copy, Debug)]
enum Denied {
    Busy,
    ShuttingDown,
}

impl Denied {
    const fn cause(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::ShuttingDown => "shutting_down",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Busy => BUSY,
            Self::ShuttingDown => "the proxy is shutting down; retry later",
        }
    }
}

impl From<Denied> for AcceptError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Busy => Self::Busy,
            Denied::ShuttingDown => Self::Refused(RegistrationRefusal::ShuttingDown),
        }
    }
}

/// Tells a peer why it is not even heard, and waits for it to go.
async fn refuse<IO: Stream>(mut io: IO, config: &ListenerConfig, words: &str) {
    let response = RegistrationResponse {
        success: false,
        error: Some(words.into()),
        proxy_id: config.proxy.proxy_id.clone(),
        proxy_version: config.proxy.proxy_version.clone(),
        connection_id: String::new(),
        retry_after_ms: Some(BUSY_RETRY_MS),
        encoding: None,
    };
    let mut frame = Vec::new();
    let limit = config.proxy.max_opening_frame;
    if encode_message(FrameType::HandshakeResponse, Encoding::Json, &response, limit, &mut frame).is_err() {
        return;
    }
    let say = async {
        io.write_all(&frame).await?;
        io.shutdown().await?;
        let mut rest = [0; 1_024];
        while io.read(&mut rest).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    // Whether it is heard is not ours to know.
    let _ = tokio::time::timeout(config.linger, say).await;
}

/// Why a stream became no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcceptError {
    /// The registration was refused.
    Refused(RegistrationRefusal),
    /// Too many handshakes are under way.
    Busy,
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

//! The proxy's handle to a connected agent.

use std::borrow::Borrow;
use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::machine::{CloseReason, ConnectionState, ProxyLatency, ProxyStats, Shut};
use crate::session::ProxySession;
use crate::wire::{
    AnyEvent, CancelReason, Capabilities, Configure, CorrelationId, Encoding, GuardrailInspect, HealthStatus,
    RequestBodyChunk, RequestComplete, RequestHeaders, ResponseBodyChunk, ResponseHeaders, WebSocketFrame,
};

use super::ask::Ask;
use super::gate::Gate;
use super::hook::Peer;
use super::shared::{Drive, Load, Shared, Traffic};
use super::side::{ProxySide, Report, Reports};
use super::sync::{Arc, watch};

impl Drive for ProxySession {
    type Side = ProxySide;

    fn load(&self) -> Load {
        let events = self.in_flight().saturating_add(self.waiting());
        Load {
            serving: self.state() == ConnectionState::Open,
            paused: self.shut() == Some(Shut::Paused),
            events: u32::try_from(events).unwrap_or(u32::MAX),
        }
    }
}

/// Counters of a connection, and what is under way on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// What the connection has seen so far.
    pub totals: ProxyStats,
    /// Unanswered events on the wire, abandoned ones included.
    pub in_flight: usize,
    /// Events that wait to be written.
    pub waiting: usize,
    /// Late answers that the agent owes.
    pub owed: usize,
    /// Bytes that went over the connection.
    pub traffic: Traffic,
}

/// A connected agent, to be asked about requests.
///
/// Cheap to clone. The connection lives as long as a handle or a [`PendingAnswer`] of it: dropping
/// the last one closes it. Every method but the `async` ones returns at once.
///
/// [`PendingAnswer`]: super::PendingAnswer
///
/// ```
/// use std::time::Duration;
/// # use dialback::net::{AgentHandle, AskError};
/// use dialback::wire::{CancelReason, RequestBodyChunk, RequestHeaders};
///
/// # async fn ask(agent: &AgentHandle) -> Result<(), AskError> {
/// // Several events of one request: the agent handles them in this order.
/// let headers = agent.request_headers(RequestHeaders::new("request-1", "POST", "/upload")).send()?;
/// let chunk = agent.request_body_chunk(RequestBodyChunk::new("request-1", "a=b"));
/// let chunk = chunk.timeout(Duration::from_millis(500)).send()?;
/// if headers.await?.is_allow() {
///     println!("{:?}", chunk.await?.decision);
/// } else {
///     chunk.cancel(CancelReason::BlockedByAgent);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AgentHandle {
    pub(super) connection: Arc<Connection>,
}

/// Who is at the other end.
pub(super) struct Identity {
    pub(super) agent_id: String,
    pub(super) connection_id: String,
    pub(super) capabilities: Capabilities,
    pub(super) metadata: Option<Value>,
    pub(super) peer: Peer,
}

/// What all handles of a connection share.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared<ProxySession>>,
    pub(super) identity: Identity,
    pub(super) encoding: Encoding,
    pub(super) request_timeout: Duration,
    pub(super) closed: Closed,
}

/// Tells why a connection ended, once it has.
pub(super) type Closed = watch::Receiver<Option<CloseReason>>;

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.command(|core, _| core.session.close());
    }
}

impl AgentHandle {
    // ---- questions ----

    /// What the agent calls itself.
    pub fn agent_id(&self) -> &str {
        &self.connection.identity.agent_id
    }

    /// The connection's name, unlike that of any other connection.
    pub fn connection_id(&self) -> &str {
        &self.connection.identity.connection_id
    }

    /// What the agent said it can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.connection.identity.capabilities
    }

    /// What the agent said of itself besides, in a form of its own.
    pub fn metadata(&self) -> Option<&Value> {
        self.connection.identity.metadata.as_ref()
    }

    /// Where the connection comes from; [`Peer::Other`] if we dialled it.
    pub fn peer(&self) -> &Peer {
        &self.connection.identity.peer
    }

    /// How payloads are encoded on this connection.
    pub fn encoding(&self) -> Encoding {
        self.connection.encoding
    }

    /// Where the connection stands.
    pub fn state(&self) -> ConnectionState {
        self.connection.shared.look(|core| core.session.state())
    }

    /// Counters, and what is under way.
    pub fn stats(&self) -> Stats {
        self.connection.shared.look(|core| Stats {
            totals: core.session.stats(),
            in_flight: core.session.in_flight(),
            waiting: core.session.waiting(),
            owed: core.session.machine().owed(),
            traffic: core.traffic,
        })
    }

    /// The load, as it was at the last change, without taking a lock.
    pub(super) fn load(&self) -> Load {
        self.connection.shared.load()
    }

    /// How long events waited, and how long their answers took.
    pub fn latency(&self) -> ProxyLatency {
        self.connection.shared.look(|core| *core.session.latency())
    }

    /// The connection's state on one line, for a log or a console. Holds no secret and no payload.
    pub fn dump(&self) -> String {
        let (session, traffic) = self.connection.shared.look(|core| (core.session.dump(), core.traffic));
        format!(
            "agent={} connection={} {session} received={} sent={}",
            self.agent_id(),
            self.connection_id(),
            traffic.received,
            traffic.sent
        )
    }

    /// Unanswered events on the wire, abandoned ones included.
    pub fn in_flight(&self) -> usize {
        self.connection.shared.look(|core| core.session.in_flight())
    }

    /// Why no event could be written now; `None` if one could, or if the connection has ended.
    pub fn shut(&self) -> Option<Shut> {
        self.connection.shared.look(|core| core.session.shut())
    }

    /// Whether the agent has paused the connection.
    pub fn is_paused(&self) -> bool {
        self.shut() == Some(Shut::Paused)
    }

    /// Whether an event of a new request could be written now.
    pub fn can_accept(&self) -> bool {
        self.connection
            .shared
            .look(|core| core.session.state() == ConnectionState::Open && core.session.shut().is_none())
    }

    /// To wait until an event of a new request could be written.
    pub fn gate(&self) -> Gate {
        Gate::new(Arc::clone(&self.connection))
    }

    /// The health that the agent reported last.
    pub fn health(&self) -> Option<HealthStatus> {
        self.connection.shared.look(|core| core.side.health.as_deref().cloned())
    }

    // ---- asking ----

    /// Prepares to ask the agent about an event, given or lent. It is encoded here, and nothing is
    /// asked until the [`Ask`] is awaited or sent.
    pub fn ask(&self, event: impl AnyEvent) -> Ask {
        Ask::new(Arc::clone(&self.connection), &event)
    }

    /// Asks about a request's headers.
    pub fn request_headers(&self, event: impl Borrow<RequestHeaders>) -> Ask {
        self.ask(event.borrow())
    }

    /// Asks about a piece of a request's body.
    pub fn request_body_chunk(&self, event: impl Borrow<RequestBodyChunk>) -> Ask {
        self.ask(event.borrow())
    }

    /// Asks about a response's headers.
    pub fn response_headers(&self, event: impl Borrow<ResponseHeaders>) -> Ask {
        self.ask(event.borrow())
    }

    /// Asks about a piece of a response's body.
    pub fn response_body_chunk(&self, event: impl Borrow<ResponseBodyChunk>) -> Ask {
        self.ask(event.borrow())
    }

    /// Tells the agent that a request is over.
    pub fn request_complete(&self, event: impl Borrow<RequestComplete>) -> Ask {
        self.ask(event.borrow())
    }

    /// Asks about a WebSocket frame.
    pub fn websocket_frame(&self, event: impl Borrow<WebSocketFrame>) -> Ask {
        self.ask(event.borrow())
    }

    /// Asks for content to be inspected.
    pub fn guardrail_inspect(&self, event: impl Borrow<GuardrailInspect>) -> Ask {
        self.ask(event.borrow())
    }

    /// Gives the agent its configuration.
    pub fn configure(&self, event: impl Borrow<Configure>) -> Ask {
        self.ask(event.borrow())
    }

    // ---- commands ----

    /// Gives up everything that is under way about one request. Returns how many events that were.
    pub fn cancel_request(&self, correlation_id: &str, reason: CancelReason) -> usize {
        let id = CorrelationId::from(correlation_id);
        self.connection.shared.command(|core, now| core.session.cancel_request(&id, reason, now))
    }

    /// Gives up everything that is under way. Returns how many events that were.
    pub fn cancel_all(&self, reason: CancelReason) -> usize {
        self.connection.shared.command(|core, now| core.session.cancel_all(reason, now))
    }

    /// Takes no new event, waits for the answers that are owed, at most for `within`, and closes.
    /// Returns why the connection ended in the end. The drain goes on if the future is dropped.
    pub async fn drain(&self, within: Duration) -> CloseReason {
        self.connection.shared.command(|core, now| core.session.drain(now.after(within), now));
        self.closed().await
    }

    /// Closes now. What is unanswered ends as lost.
    pub fn close(&self) {
        self.connection.shared.command(|core, _| core.session.close());
    }

    /// Waits for the end of the connection and returns its reason. Does not keep the connection
    /// from ending.
    pub async fn closed(&self) -> CloseReason {
        let mut closed = self.connection.closed.clone();
        match closed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or(CloseReason::TransportLost),
            Err(_) => CloseReason::TransportLost,
        }
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.state() == ConnectionState::Closed
    }

    /// What the agent reports of its own accord: health, metrics, requests for configuration.
    ///
    /// Up to 64 reports wait for a reader; the oldest are dropped first, and counted. The first
    /// call also gets what came before it.
    pub fn reports(&self) -> Reports {
        self.connection.shared.command(|core, _| core.side.subscribe())
    }
}

impl fmt::Debug for AgentHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentHandle")
            .field("agent_id", &self.agent_id())
            .field("connection_id", &self.connection_id())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

const _: () = {
    const fn is_send_and_sync<T: Send + Sync + Clone>() {}
    is_send_and_sync::<AgentHandle>();
    is_send_and_sync::<Report>();
};

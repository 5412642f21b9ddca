//! The three agents: one blocks, one rewrites, one is slow.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dialback::net::{AgentConfig, Backoff, Context, Handler};
use dialback::session::AgentSettings;
use dialback::wire::{
    Answer, BodyMutation, CancelReason, Capabilities, Encoding, EventKind, HeaderOp, Registration,
    RequestBodyChunk, RequestHeaders,
};
use tokio::sync::watch;

/// What the guard does not let through, in a target and in a body.
pub const BAD_TARGET: &str = "../";
pub const BAD_BODY: &[u8] = b"' OR 1=1 --";

/// What the editor replaces in bodies, and by what. The lengths differ on purpose.
pub const CARD: &[u8] = b"4111 1111 1111 1111";
const MASK: &[u8] = b"[card]";

/// How long the slow agent thinks.
pub const THINKS: Duration = Duration::from_millis(20);

/// Unanswered events at which the slow agent pauses, and at which it resumes.
pub const HIGH_MARK: usize = 32;
pub const LOW_MARK: usize = 8;

/// Targets at which the slow agent waits: until nobody waits for it, or for the valve.
pub const UNTIL_CANCELLED: &str = "/until-cancelled";
pub const AT_THE_VALVE: &str = "/at-the-valve";

/// Blocks bad requests. Speaks JSON, one event of a request at a time, as any deployed agent does.
pub struct Guard;

impl Handler for Guard {
    async fn on_request_headers(&self, event: RequestHeaders, _: Context) -> Answer {
        if event.uri.contains(BAD_TARGET) {
            return Answer::block(403).with_body("no such path").with_reason_code("path_traversal");
        }
        Answer::allow()
    }

    async fn on_request_body_chunk(&self, event: RequestBodyChunk, _: Context) -> Answer {
        if find(&event.data, BAD_BODY).is_some() {
            return Answer::block(400).with_reason_code("sql_injection");
        }
        Answer::allow()
    }
}

/// Rewrites headers and bodies. Speaks MessagePack and echoes exchange ids, so that the pieces of
/// a body need not wait for each other.
pub struct Editor;

impl Handler for Editor {
    async fn on_request_headers(&self, _: RequestHeaders, cx: Context) -> Answer {
        Answer::allow()
            .with_request_header(HeaderOp::set("x-request-id", cx.correlation_id().as_str()))
            .with_request_header(HeaderOp::remove("cookie"))
    }

    async fn on_request_body_chunk(&self, event: RequestBodyChunk, _: Context) -> Answer {
        match masked(&event.data) {
            Some(bytes) => Answer::allow().with_request_body(BodyMutation::replace(event.chunk_index, bytes)),
            None => Answer::allow(),
        }
    }
}

/// Takes its time, and remembers what became of it.
#[derive(Clone)]
pub struct Slow {
    memory: Arc<Memory>,
}

struct Memory {
    valve: watch::Sender<bool>,
    cancelled: Mutex<Vec<(String, CancelReason)>>,
}

impl Default for Slow {
    fn default() -> Self {
        Self { memory: Arc::new(Memory { valve: watch::Sender::new(false), cancelled: Mutex::default() }) }
    }
}

impl Slow {
    /// Holds what waits at the valve, or lets it go.
    pub fn set_valve(&self, open: bool) {
        self.memory.valve.send_replace(open);
    }

    /// The cancellations seen so far: which request, and why.
    pub fn cancelled(&self) -> Vec<(String, CancelReason)> {
        self.memory.cancelled.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Handler for Slow {
    async fn on_request_headers(&self, event: RequestHeaders, cx: Context) -> Answer {
        match event.uri.as_str() {
            UNTIL_CANCELLED => {
                let reason = cx.cancelled().await;
                let seen = (cx.correlation_id().as_str().to_owned(), reason);
                self.memory.cancelled.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
            }
            AT_THE_VALVE => {
                // The sender lives as long as this handler.
                let _ = self.memory.valve.subscribe().wait_for(|open| *open).await;
            }
            _ => tokio::time::sleep(THINKS).await,
        }
        Answer::allow().with_tag("slow")
    }
}

/// How the guard runs.
pub fn guard() -> AgentConfig {
    config("guard", &[EventKind::RequestHeaders, EventKind::RequestBodyChunk])
}

/// How the editor runs.
pub fn editor() -> AgentConfig {
    let mut config = config("editor", &[EventKind::RequestHeaders, EventKind::RequestBodyChunk]);
    config.agent.registration.capabilities.features.exchange_ids = true;
    config.agent.encodings = vec![Encoding::MessagePack];
    config
}

/// How the slow agent runs.
pub fn slow() -> AgentConfig {
    let mut config = config("slow", &[EventKind::RequestHeaders]);
    config.agent.limits.inbox.high_mark = HIGH_MARK;
    config.agent.limits.inbox.low_mark = LOW_MARK;
    config
}

fn config(id: &str, events: &[EventKind]) -> AgentConfig {
    let mut capabilities = Capabilities::new(id, events.iter().copied());
    capabilities.features.cancellation = true;
    capabilities.features.flow_control = true;
    let mut config = AgentConfig::new(AgentSettings::new(Registration::new(capabilities)));
    config.reconnect =
        Backoff { min: Duration::from_millis(20), max: Duration::from_millis(200), ..Backoff::default() };
    config
}

/// `bytes` with every card number masked; `None` if there is none.
fn masked(bytes: &[u8]) -> Option<Vec<u8>> {
    find(bytes, CARD)?;
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = find(rest, CARD) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(MASK);
        rest = &rest[at + CARD.len()..];
    }
    out.extend_from_slice(rest);
    Some(out)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

//! The events that the agent owes answers to.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::wire::{
    Answer, AnswerIds, CorrelationId, EncodeError, Encoding, EventIds, EventKind, FrameType,
    WebSocketDecision, encode_message,
};

/// The status of a block where the agent can't answer any more.
const UNAVAILABLE: u16 = 503;
/// The close code of a WebSocket there: internal error, RFC 6455 section 7.4.1.
const INTERNAL_ERROR: u16 = 1011;

/// Events in flight, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    owed: VecDeque<Owed>,
}

/// An event that is owed an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owed {
    kind: EventKind,
    id: CorrelationId,
    exchange: Option<u64>,
}

impl Owed {
    pub(super) fn new(kind: EventKind, ids: EventIds) -> Self {
        Self { kind, id: ids.correlation_id, exchange: ids.exchange_id }
    }

    /// Appends the answer of a bridge whose agent can't give one: never an allow.
    // Rule: X-BRIDGE-2.
    pub(super) fn block(
        self,
        code: &str,
        encoding: Encoding,
        limit: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let mut answer = Answer::block(UNAVAILABLE).with_reason_code(code);
        answer.audit.set_ids(&self.id, self.exchange);
        if self.kind == EventKind::WebSocketFrame {
            // Without a word about the frame it would be passed on.
            let reason = "the agent can't answer".into();
            answer = answer.with_websocket(WebSocketDecision::Close { code: INTERNAL_ERROR, reason });
        }
        encode_message(FrameType::AgentResponse, encoding, &answer, limit, out)
    }
}

impl Ledger {
    pub(super) fn len(&self) -> usize {
        self.owed.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    pub(super) fn enter(&mut self, owed: Owed) {
        self.owed.push_back(owed);
    }

    /// Takes out the event that an answer with these ids belongs to. Whether there was one.
    pub(super) fn settle(&mut self, ids: &AnswerIds) -> bool {
        let found = match (ids.exchange_id, ids.correlation_id.as_deref()) {
            (Some(exchange), _) if self.owed.iter().any(|owed| owed.exchange.is_some()) => {
                self.owed.iter().position(|owed| owed.exchange == Some(exchange))
            }
            (_, Some(id)) => self.owed.iter().position(|owed| owed.id.as_str() == id),
            // An answer that names nothing can only be to the one event there is.
            (_, None) => (self.owed.len() == 1).then_some(0),
        };
        found.and_then(|at| self.owed.remove(at)).is_some()
    }

    /// Appends a block for every event, and forgets them. Returns how many those were.
    pub(super) fn block_all(&mut self, encoding: Encoding, limit: u32, out: &mut Vec<u8>) -> u64 {
        let blocks = |owed: Owed| owed.block("agent_lost", encoding, limit, out).is_ok();
        self.owed.drain(..).map(blocks).map(u64::from).sum()
    }

    pub(super) fn clear(&mut self) {
        self.owed.clear();
    }
}

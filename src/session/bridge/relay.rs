//! What becomes of each frame on an open bridge: passed on, answered here, or a violation.

use alloc::string::ToString;
use alloc::vec::Vec;

use crate::machine::{ControlLimits, Tally, Violation};
use crate::wire::{
    DecodeError, EncodeError, Encoding, EventKind, FlowAction, FlowControl, Frame, FrameType, Kind,
    RequestBodyChunk, ResponseBodyChunk, WebSocketFrame, answer_ids, append_exchange_id, event_ids,
};

use super::event::BridgeStats;
use super::ledger::{Ledger, Owed};
use super::outgoing::Outgoing;

/// Where frames go, and what is known of those that passed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Relay {
    pub(super) to_agent: Outgoing,
    pub(super) to_proxy: Outgoing,
    pub(super) ledger: Ledger,
    pub(super) encoding: Encoding,
    pub(super) stats: Tally<BridgeStats>,
    pub(super) limit: u32,
    control: ControlLimits,
    /// Whether the agent has paused the connection.
    agent_paused: bool,
    /// Whether we have, because the agent does not take its events.
    paused: bool,
}

/// What a frame was, as far as the keepalive is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    Pong,
    Other,
}

impl Relay {
    pub(super) fn new(control: ControlLimits, limit: u32) -> Self {
        Self {
            to_agent: Outgoing::default(),
            to_proxy: Outgoing::default(),
            ledger: Ledger::default(),
            encoding: Encoding::Json,
            stats: Tally::default(),
            limit,
            control,
            agent_paused: false,
            paused: false,
        }
    }

    /// A frame of the proxy's.
    // Rule: X-BRIDGE-1, C-BRIDGE-1.
    pub(super) fn handle_proxy_frame(&mut self, frame: Frame<'_>) -> Result<Passed, Violation> {
        let Kind::Known(kind) = frame.kind else { return Ok(self.skip()) };
        match kind {
            FrameType::RequestHeaders
            | FrameType::RequestBodyChunk
            | FrameType::ResponseHeaders
            | FrameType::ResponseBodyChunk
            | FrameType::RequestComplete
            | FrameType::WebSocketFrame
            | FrameType::GuardrailInspect
            | FrameType::Configure => self.event(kind, frame.payload)?,
            FrameType::Cancel => drop(self.to_agent.pass(kind, frame.payload, self.limit)),
            FrameType::Ping => self.to_proxy.pong(frame.payload, self.control, self.limit)?,
            FrameType::Pong => return Ok(Passed::Pong),
            FrameType::HandshakeResponse => return Err(Violation::RepeatedHandshake),
            FrameType::HandshakeRequest
            | FrameType::AgentResponse
            | FrameType::HealthStatus
            | FrameType::MetricsReport
            | FrameType::ConfigUpdateRequest
            | FrameType::FlowControl => return Err(Violation::WrongDirection(kind)),
        }
        Ok(Passed::Other)
    }

    /// A frame of the agent's.
    // Rule: X-BRIDGE-1, C-BRIDGE-1.
    pub(super) fn handle_agent_frame(&mut self, frame: Frame<'_>) -> Result<Passed, Violation> {
        let Kind::Known(kind) = frame.kind else { return Ok(self.skip()) };
        match kind {
            FrameType::AgentResponse => self.answer(frame.payload),
            FrameType::FlowControl => self.flow(frame.payload),
            FrameType::HealthStatus | FrameType::MetricsReport | FrameType::ConfigUpdateRequest => {
                self.to_proxy.pass(kind, frame.payload, self.limit);
            }
            FrameType::Ping => self.to_agent.pong(frame.payload, self.control, self.limit)?,
            FrameType::Pong => return Ok(Passed::Pong),
            FrameType::HandshakeResponse => return Err(Violation::RepeatedHandshake),
            FrameType::HandshakeRequest
            | FrameType::RequestHeaders
            | FrameType::RequestBodyChunk
            | FrameType::ResponseHeaders
            | FrameType::ResponseBodyChunk
            | FrameType::RequestComplete
            | FrameType::WebSocketFrame
            | FrameType::GuardrailInspect
            | FrameType::Configure
            | FrameType::Cancel => return Err(Violation::WrongDirection(kind)),
        }
        Ok(Passed::Other)
    }

    /// A frame that the proxy sends when the agent is lost.
    // Rule: X-BRIDGE-2.
    pub(super) fn handle_orphan_frame(&mut self, frame: Frame<'_>) -> Result<(), Violation> {
        let carried = self.stats.events;
        self.handle_proxy_frame(frame)?;
        self.to_agent.clear();
        self.stats.events = carried;
        let blocked = self.ledger.block_all(self.encoding, self.limit, self.to_proxy.bytes());
        self.stats.blocked = self.stats.blocked.saturating_add(blocked);
        Ok(())
    }

    /// Deployed peers end the connection on a type that they do not know.
    // Rule: W-TYPE-2.
    fn skip(&mut self) -> Passed {
        self.stats.unknown_frames = self.stats.unknown_frames.saturating_add(1);
        Passed::Other
    }

    fn event(&mut self, frame: FrameType, payload: &[u8]) -> Result<(), Violation> {
        let Some(kind) = EventKind::from_frame_type(frame) else { return Ok(()) };
        let unreadable = |detail| Violation::UnreadableEvent { frame, detail };
        let ids = event_ids(self.encoding, payload).map_err(|error| unreadable(error.to_string()))?;
        let (length, most) = (ids.correlation_id.as_str().len(), self.control.correlation_id);
        if length > most {
            return Err(Violation::LongCorrelationId { length, limit: most });
        }
        let text = text_body(kind, self.encoding, payload, ids.exchange_id).map_err(unreadable)?;
        let owed = Owed::new(kind, ids);
        // Only as text can it be too long; the proxy has measured it as it came.
        if self.to_agent.pass(frame, text.as_deref().unwrap_or(payload), self.limit) {
            self.stats.events = self.stats.events.saturating_add(1);
            self.ledger.enter(owed);
        } else {
            self.stats.blocked = self.stats.blocked.saturating_add(1);
            owed.block("too_large", self.encoding, self.limit, self.to_proxy.bytes())
                .map_err(|error| unreadable(error.to_string()))?;
        }
        Ok(())
    }

    fn answer(&mut self, payload: &[u8]) {
        // What to do with an answer that can't be read is for the proxy to decide.
        if let Ok(ids) = answer_ids(self.encoding, payload) {
            self.ledger.settle(&ids);
        }
        self.stats.answers = self.stats.answers.saturating_add(1);
        self.to_proxy.pass(FrameType::AgentResponse, payload, self.limit);
    }

    /// Both may have paused the connection; the agent's resume must not lift our pause.
    fn flow(&mut self, payload: &[u8]) {
        if let Ok(flow) = self.encoding.decode::<FlowControl>(payload)
            && flow.correlation_id.is_none()
        {
            match flow.action {
                FlowAction::Pause => self.agent_paused = true,
                FlowAction::Resume => {
                    self.agent_paused = false;
                    if self.paused {
                        return;
                    }
                }
                FlowAction::UpdateCapacity { .. } => {}
            }
        }
        self.to_proxy.pass(FrameType::FlowControl, payload, self.limit);
    }

    /// Pauses the proxy while the agent does not take its events, and lets it go on when it has.
    // Rule: F-BRIDGE-1.
    pub(super) fn balance(&mut self, mark: usize, timestamp_ms: u64) -> Result<(), EncodeError> {
        let waiting = self.to_agent.len();
        let action = match self.paused {
            false if waiting >= mark => FlowAction::Pause,
            true if waiting < mark / 2 => FlowAction::Resume,
            true | false => return Ok(()),
        };
        self.paused = action == FlowAction::Pause;
        if self.paused {
            self.stats.pauses = self.stats.pauses.saturating_add(1);
        } else if self.agent_paused {
            return Ok(());
        }
        let flow = FlowControl { correlation_id: None, action, timestamp_ms };
        self.to_proxy.push(FrameType::FlowControl, self.encoding, &flow, self.limit)
    }
}

/// The payload of an event whose body deployed agents could not read as it came: in MessagePack
/// they read text only, and a proxy that negotiated it in the registration writes raw bytes.
/// `None` where it can be passed on unchanged.
// Rule: X-BRIDGE-3.
fn text_body(
    kind: EventKind,
    encoding: Encoding,
    payload: &[u8],
    exchange: Option<u64>,
) -> Result<Option<Vec<u8>>, alloc::string::String> {
    match encoding {
        Encoding::Json => return Ok(None),
        Encoding::MessagePack | Encoding::MessagePackText => {}
    }
    let read = |error: DecodeError| error.to_string();
    let write = |error: EncodeError| error.to_string();
    let (text, mut out) = (Encoding::MessagePackText, Vec::new());
    match kind {
        EventKind::RequestBodyChunk => {
            let event: RequestBodyChunk = encoding.decode(payload).map_err(read)?;
            text.encode(&event, &mut out).map_err(write)?;
        }
        EventKind::ResponseBodyChunk => {
            let event: ResponseBodyChunk = encoding.decode(payload).map_err(read)?;
            text.encode(&event, &mut out).map_err(write)?;
        }
        EventKind::WebSocketFrame => {
            let event: WebSocketFrame = encoding.decode(payload).map_err(read)?;
            text.encode(&event, &mut out).map_err(write)?;
        }
        EventKind::RequestHeaders
        | EventKind::ResponseHeaders
        | EventKind::RequestComplete
        | EventKind::GuardrailInspect
        | EventKind::Configure => return Ok(None),
    }
    if let Some(id) = exchange {
        append_exchange_id(text, 0, &mut out, id).map_err(write)?;
    }
    Ok(Some(out))
}

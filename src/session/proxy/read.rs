//! Frames of the peer, as the proxy's machine takes them.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::machine::handshake::Stage;
use crate::machine::{ExchangeId, FromAgent, Refusal, Violation};
use crate::session::{misplaced, read_handshake};
use crate::wire::{
    ConfigUpdateRequest, CorrelationId, Dialect, Encoding, FlowControl, ForwardResponse, Frame, FrameType,
    HealthState, HealthStatus, Kind, MetricsReport, answer_ids,
};

use super::Peer;

/// What an opening frame holds for the machine.
pub(super) enum Opening {
    Frame(FromAgent<Vec<u8>>),
    Answer(Box<ForwardResponse>),
}

/// Reads a frame that comes during the handshake.
pub(super) fn read_opening(stage: Stage, frame: Frame<'_>, peer: &mut Peer) -> Result<Opening, Violation> {
    match (stage, frame.kind, peer) {
        (Stage::AwaitingOffer, Kind::Known(FrameType::HandshakeRequest), Peer::Dialled(slot)) => {
            // A foreign registration may well parse, and would then be an agent without events.
            if let Some(dialect) = Dialect::of_frame(&frame) {
                return Err(Violation::Foreign(dialect));
            }
            *slot = Some(Box::new(read_handshake(FrameType::HandshakeRequest, frame.payload)?));
            Ok(Opening::Frame(FromAgent::Offer(Vec::new())))
        }
        (Stage::AwaitingAnswer, Kind::Known(FrameType::HandshakeResponse), _) => {
            Ok(Opening::Answer(Box::new(read_handshake(FrameType::HandshakeResponse, frame.payload)?)))
        }
        _ => Err(misplaced(&frame)),
    }
}

/// Reads a frame on an open connection.
// Rule: X-READ-2.
pub(super) fn read_frame(encoding: Encoding, frame: Frame<'_>) -> Opening {
    let payload = frame.payload;
    let known = match frame.kind {
        Kind::Known(known) => known,
        Kind::Unknown(byte) => return Opening::Frame(FromAgent::Unknown(byte)),
    };
    let read = match known {
        FrameType::AgentResponse => answer_ids(encoding, payload).ok().map(|ids| FromAgent::Answer {
            id: ids.correlation_id.map(CorrelationId::from),
            exchange: ids.exchange_id.map(ExchangeId),
            payload: payload.to_vec(),
        }),
        FrameType::FlowControl => encoding
            .decode::<FlowControl>(payload)
            .ok()
            .map(|flow| FromAgent::Flow { id: flow.correlation_id, action: flow.action }),
        FrameType::HealthStatus => encoding.decode::<HealthStatus>(payload).ok().map(|health| {
            let draining = matches!(health.state, HealthState::Draining { .. });
            FromAgent::Health { draining, payload: payload.to_vec() }
        }),
        FrameType::MetricsReport => encoding
            .decode::<MetricsReport>(payload)
            .ok()
            .map(|_| FromAgent::Report { frame: known, payload: payload.to_vec() }),
        FrameType::ConfigUpdateRequest => encoding
            .decode::<ConfigUpdateRequest>(payload)
            .ok()
            .map(|_| FromAgent::Report { frame: known, payload: payload.to_vec() }),
        FrameType::Ping => Some(FromAgent::Ping(payload.to_vec())),
        FrameType::Pong => Some(FromAgent::Pong),
        FrameType::HandshakeRequest => Some(FromAgent::Offer(Vec::new())),
        FrameType::HandshakeResponse => Some(FromAgent::HandshakeAnswer(Err(Refusal(String::new())))),
        FrameType::RequestHeaders
        | FrameType::RequestBodyChunk
        | FrameType::ResponseHeaders
        | FrameType::ResponseBodyChunk
        | FrameType::RequestComplete
        | FrameType::WebSocketFrame
        | FrameType::GuardrailInspect
        | FrameType::Configure
        | FrameType::Cancel => Some(FromAgent::WrongDirection(known)),
    };
    Opening::Frame(read.unwrap_or(FromAgent::Unreadable(known)))
}

//! Frames of the peer, as the proxy's machine takes them.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::machine::handshake::Stage;
use crate::machine::{FromAgent, Refusal, Violation};
use crate::session::{misplaced, read_handshake};
use crate::wire::ids::Ids;
use crate::wire::recurring::IdFinder;
use crate::wire::{
    ConfigUpdateRequest, Dialect, Encoding, FlowControl, ForwardResponse, Frame, FrameType, HealthState,
    HealthStatus, Kind, MetricsReport,
};

use super::Peer;

/// What a frame holds for the machine.
pub(super) enum Incoming<'a> {
    Frame(FromAgent<Vec<u8>>),
    /// The agent's answer to our forward handshake.
    Response(Box<ForwardResponse>),
    /// A verdict on an event, still in the buffer that it came in.
    Answer {
        ids: Ids<'a>,
        payload: &'a [u8],
    },
}

/// Reads a frame that comes during the handshake.
pub(super) fn read_opening<'a>(
    stage: Stage,
    frame: Frame<'a>,
    peer: &mut Peer,
) -> Result<Incoming<'a>, Violation> {
    match (stage, frame.kind, peer) {
        (Stage::AwaitingOffer, Kind::Known(FrameType::HandshakeRequest), Peer::Dialled(slot)) => {
            // A foreign registration may well parse, and would then be an agent without events.
            if let Some(dialect) = Dialect::of_frame(&frame) {
                return Err(Violation::Foreign(dialect));
            }
            *slot = Some(Box::new(read_handshake(FrameType::HandshakeRequest, frame.payload)?));
            Ok(Incoming::Frame(FromAgent::Offer(Vec::new())))
        }
        (Stage::AwaitingAnswer, Kind::Known(FrameType::HandshakeResponse), _) => {
            Ok(Incoming::Response(Box::new(read_handshake(FrameType::HandshakeResponse, frame.payload)?)))
        }
        _ => Err(misplaced(&frame)),
    }
}

/// Reads a frame on an open connection.
// Rule: X-READ-2.
pub(super) fn read_frame<'a>(encoding: Encoding, frame: Frame<'a>, finder: &mut IdFinder) -> Incoming<'a> {
    let payload = frame.payload;
    let known = match frame.kind {
        Kind::Known(known) => known,
        Kind::Unknown(byte) => return Incoming::Frame(FromAgent::Unknown(byte)),
    };
    let read = match known {
        FrameType::AgentResponse => match finder.find(encoding, payload) {
            Ok(ids) => return Incoming::Answer { ids, payload },
            Err(_) => None,
        },
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
    Incoming::Frame(read.unwrap_or(FromAgent::Unreadable(known)))
}

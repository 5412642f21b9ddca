//! Frames of the peer, as the agent's machine takes them.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::machine::handshake::Stage;
use crate::machine::{ExchangeId, FromProxy, Refusal, Violation};
use crate::session::spent::Spent;
use crate::session::{misplaced, read_handshake};
use crate::wire::{
    Cancel, DecodeError, Encoding, EventKind, Frame, FrameType, Kind, RegistrationResponse, event_ids,
};

use super::Peer;

/// Reads a frame that comes during the handshake.
pub(super) fn read_opening(
    stage: Stage,
    frame: Frame<'_>,
    offered: &[Encoding],
    peer: &mut Peer,
) -> Result<FromProxy<Vec<u8>>, Violation> {
    match (stage, frame.kind, peer) {
        (Stage::AwaitingOffer, Kind::Known(FrameType::HandshakeRequest), Peer::Dialled(slot)) => {
            *slot = Some(Box::new(read_handshake(FrameType::HandshakeRequest, frame.payload)?));
            Ok(FromProxy::Offer(Vec::new()))
        }
        (Stage::AwaitingAnswer, Kind::Known(FrameType::HandshakeResponse), Peer::Registered(slot)) => {
            let response: RegistrationResponse = read_handshake(FrameType::HandshakeResponse, frame.payload)?;
            let verdict = judge_response(&response, offered).map_err(Refusal);
            *slot = Some(Box::new(response));
            Ok(FromProxy::HandshakeAnswer(verdict))
        }
        _ => Err(misplaced(&frame)),
    }
}

/// Whether the proxy's response opens the connection, and if not, in whose words.
fn judge_response(response: &RegistrationResponse, offered: &[Encoding]) -> Result<(), String> {
    if !response.success {
        return Err(response.error.clone().unwrap_or_else(|| "no reason given".into()));
    }
    let chosen = response.encoding.unwrap_or_default();
    let known = |offer: &Encoding| offer.name() == chosen.name() && offer.is_supported();
    match chosen == Encoding::Json || offered.iter().any(known) {
        true => Ok(()),
        false => Err(alloc::format!("it chose the encoding {chosen:?}, which was not offered")),
    }
}

/// Reads a frame on an open connection. An event whose ids can't be read can't be answered either,
/// and an event that stays unanswered shuts its id for ever: that is worth the connection.
// Rule: X-READ-1.
pub(super) fn read_frame(
    encoding: Encoding,
    frame: Frame<'_>,
    last_exchange: &mut u64,
    spent: &mut Spent,
) -> Result<FromProxy<Vec<u8>>, Violation> {
    let payload = frame.payload;
    let known = match frame.kind {
        Kind::Known(known) => known,
        Kind::Unknown(byte) => return Ok(FromProxy::Unknown(byte)),
    };
    if let Some(kind) = EventKind::from_frame_type(known) {
        let ids = event_ids(encoding, payload)
            .map_err(|error| Violation::UnreadableEvent { frame: known, detail: error.to_string() })?;
        *last_exchange = last_exchange.saturating_add(1);
        return Ok(FromProxy::Event {
            exchange: ExchangeId(*last_exchange),
            kind,
            id: ids.correlation_id,
            echo: ids.exchange_id.map(ExchangeId),
            payload: spent.fill(payload),
        });
    }
    Ok(match known {
        FrameType::Cancel => match read_cancel(encoding, payload) {
            Ok(cancel) => FromProxy::Cancel {
                id: cancel.correlation_id,
                echo: cancel.exchange_id.map(ExchangeId),
                reason: cancel.reason,
            },
            Err(_) => FromProxy::Unreadable(known),
        },
        FrameType::Ping => FromProxy::Ping(payload.to_vec()),
        FrameType::Pong => FromProxy::Pong,
        FrameType::HandshakeRequest => FromProxy::Offer(Vec::new()),
        FrameType::HandshakeResponse => FromProxy::HandshakeAnswer(Err(Refusal(String::new()))),
        FrameType::AgentResponse
        | FrameType::HealthStatus
        | FrameType::MetricsReport
        | FrameType::ConfigUpdateRequest
        | FrameType::FlowControl
        | FrameType::RequestHeaders
        | FrameType::RequestBodyChunk
        | FrameType::ResponseHeaders
        | FrameType::ResponseBodyChunk
        | FrameType::RequestComplete
        | FrameType::WebSocketFrame
        | FrameType::GuardrailInspect
        | FrameType::Configure => FromProxy::WrongDirection(known),
    })
}

/// Reads a Cancel. Deployed proxies write it as JSON whatever was negotiated; the two can't be
/// confused, since no MessagePack map begins with a brace.
fn read_cancel(encoding: Encoding, payload: &[u8]) -> Result<Cancel, DecodeError> {
    match payload.first() {
        Some(b'{') => Encoding::Json.decode(payload),
        Some(_) | None => encoding.decode(payload),
    }
}

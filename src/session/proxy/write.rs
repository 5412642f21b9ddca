//! Frames of the proxy's machine, as bytes.

use alloc::string::ToString;
use alloc::vec::Vec;

use crate::machine::{CloseReason, ToAgent};
use crate::wire::{
    Cancel, EncodeError, Encoding, FrameType, Ping, RegistrationResponse, append_exchange_id, encode_frame,
    encode_message,
};

use super::ProxySession;

/// When a peer should retry that is sent away for no fault that would stay, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// Whether the same registration may succeed another time. A refusal without a time to retry is
/// one for good, which a slow handshake or a proxy that goes is not.
const fn heals(reason: &CloseReason) -> bool {
    matches!(reason, CloseReason::Closed | CloseReason::Drained | CloseReason::HandshakeDeadline(_))
}

impl ProxySession {
    pub(super) fn encode(&self, frame: ToAgent<Vec<u8>>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let (encoding, limit, timestamp_ms) =
            (self.encoding, self.settings.max_frame, self.clock.as_millis());
        match frame {
            ToAgent::Offer(payload) => encode_frame(FrameType::HandshakeRequest, &payload, limit, out)?,
            ToAgent::HandshakeAnswer(payload) => {
                encode_frame(FrameType::HandshakeResponse, &payload, limit, out)?
            }
            ToAgent::Refuse(reason) => {
                let response = RegistrationResponse {
                    error: Some(reason.to_string()),
                    retry_after_ms: heals(&reason).then_some(RETRY_MS),
                    ..self.response()
                };
                encode_message(FrameType::HandshakeResponse, Encoding::Json, &response, limit, out)?;
            }
            ToAgent::Event { kind, exchange, mut payload, .. } => {
                if let Some(exchange) = exchange {
                    append_exchange_id(encoding, 0, &mut payload, exchange.0)?;
                }
                encode_frame(kind.frame_type(), &payload, limit, out)?;
            }
            ToAgent::Cancel { id, exchange, reason } => {
                let exchange_id = exchange.map(|exchange| exchange.0);
                let cancel = Cancel { correlation_id: id, reason, timestamp_ms, exchange_id };
                encode_message(FrameType::Cancel, encoding, &cancel, limit, out)?;
            }
            ToAgent::Ping { sequence } => {
                encode_message(FrameType::Ping, encoding, &Ping { sequence, timestamp_ms }, limit, out)?;
            }
            ToAgent::Pong(payload) => encode_frame(FrameType::Pong, &payload, limit, out)?,
        }
        Ok(())
    }
}

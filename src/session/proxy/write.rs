//! Frames of the proxy's machine, as bytes.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::machine::admission::RegistrationRefusal;
use crate::machine::{CloseReason, ToAgent};
use crate::wire::{
    Cancel, EncodeError, Encoding, FrameType, Ping, RegistrationResponse, append_exchange_id, encode_frame,
    encode_frame_with, encode_message,
};

use super::ProxySession;

impl ProxySession {
    pub(super) fn encode(&mut self, frame: ToAgent<Vec<u8>>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let (encoding, limit, timestamp_ms) =
            (self.encoding, self.settings.max_frame, self.clock.as_millis());
        match frame {
            ToAgent::Offer(payload) => encode_frame(FrameType::HandshakeRequest, &payload, limit, out)?,
            ToAgent::HandshakeAnswer(payload) => {
                encode_frame(FrameType::HandshakeResponse, &payload, limit, out)?
            }
            ToAgent::Refuse(reason) => {
                let (words, retry_after_ms) = refusal(&reason);
                let response = RegistrationResponse { error: Some(words), retry_after_ms, ..self.response() };
                encode_message(FrameType::HandshakeResponse, Encoding::Json, &response, limit, out)?;
            }
            ToAgent::Event { kind, exchange, payload, .. } => {
                encode_frame_with(kind.frame_type(), limit, out, |out| {
                    let start = out.len();
                    out.extend_from_slice(&payload);
                    match exchange {
                        Some(exchange) => append_exchange_id(encoding, start, out, exchange.0),
                        None => Ok(()),
                    }
                })?;
                self.spent.put(payload, self.machine.in_flight());
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

/// What a peer is told whose connection ends before it has registered, and when it should come
/// again, in milliseconds. Where no time is told, an agent gives up for good.
fn refusal(reason: &CloseReason) -> (String, Option<u64>) {
    let shutting_down = RegistrationRefusal::ShuttingDown;
    let retry = shutting_down.retry_after().and_then(|span| u64::try_from(span.as_millis()).ok());
    match reason {
        CloseReason::Drained | CloseReason::DrainDeadline => (shutting_down.to_string(), retry),
        CloseReason::Closed | CloseReason::HandshakeDeadline(_) => (reason.to_string(), retry),
        CloseReason::Rejected
        | CloseReason::PeerDrained
        | CloseReason::PeerDrainDeadline
        | CloseReason::PeerClosed
        | CloseReason::Refused(_)
        | CloseReason::Silent(_)
        | CloseReason::Unresponsive { .. }
        | CloseReason::Violation(_)
        | CloseReason::TransportLost => (reason.to_string(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Violation;
    use core::time::Duration;

    #[test]
    // Rule: H-REFUSE-2.
    fn who_is_refused_for_now_is_told_to_come_again() {
        let (words, retry) = refusal(&CloseReason::Drained);
        assert_eq!((words.as_str(), retry), ("the proxy is shutting down; retry later", Some(5_000)));
        assert_eq!(refusal(&CloseReason::HandshakeDeadline(Duration::from_secs(1))).1, Some(5_000));
        assert_eq!(refusal(&CloseReason::Violation(Violation::NotAHandshake(0x41))).1, None);
    }
}

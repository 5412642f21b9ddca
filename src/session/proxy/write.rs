//! Frames of the proxy's machine, as bytes.

use alloc::string::ToString;
use alloc::vec::Vec;

use crate::machine::ToAgent;
use crate::wire::{
    Cancel, EncodeError, Encoding, FrameType, Ping, RegistrationResponse, append_exchange_id, encode_frame,
    encode_message,
};

use super::ProxySession;

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
                let response = RegistrationResponse { error: Some(reason.to_string()), ..self.response() };
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

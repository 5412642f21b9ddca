//! Frames of the agent's machine, as bytes.

use alloc::string::ToString;
use alloc::vec::Vec;

use crate::machine::ToProxy;
use crate::wire::{
    Answer, EncodeError, Encoding, FlowControl, ForwardResponse, FrameType, HealthState, HealthStatus, Ping,
    encode_frame, encode_message,
};

use super::{AgentSession, SPENT};

impl AgentSession {
    pub(super) fn encode(&mut self, frame: ToProxy<Vec<u8>>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let (encoding, limit, timestamp_ms) =
            (self.encoding, self.settings.max_frame, self.clock.as_millis());
        match frame {
            ToProxy::Offer(payload) => encode_frame(FrameType::HandshakeRequest, &payload, limit, out)?,
            ToProxy::HandshakeAnswer(payload) => {
                encode_frame(FrameType::HandshakeResponse, &payload, limit, out)?
            }
            ToProxy::Refuse(reason) => {
                let response = ForwardResponse { error: Some(reason.to_string()), ..self.forward_response() };
                encode_message(FrameType::HandshakeResponse, Encoding::Json, &response, limit, out)?;
            }
            ToProxy::Answer { payload, .. } => {
                encode_frame(FrameType::AgentResponse, &payload, limit, out)?;
                self.spent.put(payload, SPENT);
            }
            ToProxy::AnswerUnseen { id, echo } => {
                let mut answer = Answer::allow().with_reason_code("cancelled");
                answer.audit.set_ids(&id, echo.map(|echo| echo.0));
                encode_message(FrameType::AgentResponse, encoding, &answer, limit, out)?;
            }
            ToProxy::Flow(action) => {
                let flow = FlowControl { correlation_id: None, action, timestamp_ms };
                encode_message(FrameType::FlowControl, encoding, &flow, limit, out)?;
            }
            ToProxy::Draining => {
                let health = HealthStatus {
                    agent_id: self.settings.registration.agent_id.clone(),
                    state: HealthState::Draining { eta_ms: None },
                    timestamp_ms,
                    ..HealthStatus::default()
                };
                encode_message(FrameType::HealthStatus, encoding, &health, limit, out)?;
            }
            ToProxy::Report { frame, payload } => encode_frame(frame, &payload, limit, out)?,
            ToProxy::Ping { sequence } => {
                encode_message(FrameType::Ping, encoding, &Ping { sequence, timestamp_ms }, limit, out)?;
            }
            ToProxy::Pong(payload) => encode_frame(FrameType::Pong, &payload, limit, out)?,
        }
        Ok(())
    }
}

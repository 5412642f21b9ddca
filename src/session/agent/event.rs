//! What an agent's session tells the application, and what it asks.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use crate::machine::{CloseReason, ExchangeId, Pending};
use crate::session::message::{EncodedAnswer, encode_payload};
use crate::session::spent::LARGEST;
use crate::wire::{
    Answer, CancelReason, CorrelationId, DecodeError, EncodeError, Encoding, Event, EventKind,
    ForwardRequest, RegistrationResponse,
};

/// A proxy's forward handshake that awaits the agent's decision, and the right to take it, once.
#[derive(Debug)]
#[must_use = "a handshake that is neither accepted nor rejected holds the connection until its deadline"]
pub struct PendingForward {
    /// What the proxy says of itself.
    pub request: ForwardRequest,
    pub(super) pending: Pending<Vec<u8>>,
}

/// An event that awaits its answer: what it is, and what its answer must carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Names the event towards [`crate::session::AgentSession::answer`].
    pub exchange: ExchangeId,
    /// What kind of event.
    pub kind: EventKind,
    /// The request it belongs to.
    pub id: CorrelationId,
    pub(super) echo: Option<ExchangeId>,
    pub(super) encoding: Encoding,
    pub(super) max_frame: u32,
    pub(super) payload: Vec<u8>,
}

impl Receipt {
    /// Reads the event.
    ///
    /// # Errors
    /// If it can't be read. It must be answered all the same.
    pub fn event(&self) -> Result<Event, DecodeError> {
        Event::decode(self.kind, self.encoding, &self.payload)
    }

    /// Encodes the event's answer, its ids written into it.
    ///
    /// # Errors
    /// If the answer fits no frame, or its encoding was not compiled in.
    pub fn encode(&self, answer: Answer) -> Result<EncodedAnswer, EncodeError> {
        self.encode_into(Vec::new(), answer)
    }

    /// Does the same in the room that the event takes. The event can't be read any more, even if this
    /// fails.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_over(&mut self, answer: Answer) -> Result<EncodedAnswer, EncodeError> {
        let mut room = mem::take(&mut self.payload);
        if room.capacity() > LARGEST {
            room = Vec::new();
        }
        self.encode_into(room, answer)
    }

    fn encode_into(&self, mut payload: Vec<u8>, mut answer: Answer) -> Result<EncodedAnswer, EncodeError> {
        answer.audit.set_ids(&self.id, self.echo.map(|echo| echo.0));
        encode_payload(&answer, self.encoding, self.max_frame, &mut payload)?;
        Ok(EncodedAnswer { exchange: self.exchange, payload })
    }
}

/// What happened, for the application.
#[derive(Debug)]
pub enum AgentSessionEvent {
    /// A proxy that dialled us offers its handshake: decide.
    Handshake(Box<PendingForward>),
    /// The handshake is done; events will come.
    Opened {
        /// What the proxy answered to the registration; `None` after a forward handshake.
        response: Option<Box<RegistrationResponse>>,
    },
    /// An event to be answered, once.
    Event(Box<Receipt>),
    /// Nobody waits for the answer to this event any more. It is still to be answered.
    Cancelled {
        /// Which event.
        exchange: ExchangeId,
        /// Why.
        reason: CancelReason,
    },
    /// The connection has ended. Always the last event.
    Closed(CloseReason),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(payload: Vec<u8>) -> Receipt {
        Receipt {
            exchange: ExchangeId(7),
            kind: EventKind::RequestComplete,
            id: "c".into(),
            echo: Some(ExchangeId(9)),
            encoding: Encoding::Json,
            max_frame: 1_000,
            payload,
        }
    }

    #[test]
    fn an_answer_over_its_event_is_the_same_answer() {
        let event = br#"{"correlation_id":"c","status":204}"#.to_vec();
        let (mut first, answer) = (receipt(event), Answer::block(403).with_tag("t"));
        assert!(first.event().is_ok());
        let encoded = first.encode(answer.clone()).unwrap();
        assert_eq!(first.encode_over(answer.clone()), Ok(encoded.clone()));
        assert!(first.event().is_err());
        assert_eq!(first.encode_over(answer), Ok(encoded));
    }

    #[test]
    fn the_room_of_a_large_event_is_not_held() {
        let held = |event: usize| {
            let mut receipt = receipt(Vec::with_capacity(event));
            receipt.encode_over(Answer::allow()).unwrap().payload.capacity()
        };
        assert_eq!(held(LARGEST), LARGEST);
        assert!(held(LARGEST + 1) < LARGEST);
    }

    #[test]
    fn an_answer_that_fits_no_frame_is_an_error() {
        let long = || Answer::allow().with_tag("t".repeat(1_000));
        let mut receipt = receipt(b"{}".to_vec());
        assert!(matches!(receipt.encode(long()), Err(EncodeError::Frame(_))));
        assert!(matches!(receipt.encode_over(long()), Err(EncodeError::Frame(_))));
        assert!(receipt.encode_over(Answer::allow()).is_ok());
    }
}

//! What an agent's session tells the application, and what it asks.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::machine::{CloseReason, ExchangeId, Pending};
use crate::session::message::EncodedAnswer;
use crate::wire::{
    Answer, CancelReason, CorrelationId, DecodeError, EncodeError, Encoding, Event, EventKind,
    ForwardRequest, FrameType, RegistrationResponse, encode_message,
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
    pub fn encode(&self, mut answer: Answer) -> Result<EncodedAnswer, EncodeError> {
        answer.audit.set_ids(&self.id, self.echo.map(|echo| echo.0));
        let mut framed = Vec::new();
        encode_message(FrameType::AgentResponse, self.encoding, &answer, self.max_frame, &mut framed)?;
        let payload = framed.split_off(crate::wire::HEADER_LEN);
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

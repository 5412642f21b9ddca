//! Messages encoded outside a session, so that the work is done in the task it belongs to.

use alloc::vec::Vec;
use core::fmt;

use crate::machine::{ExchangeId, SubmitError};
use crate::wire::encoder::header_length;
use crate::wire::{AnyEvent, CorrelationId, EncodeError, Encoding, EventKind};

/// An event in the encoding of the connection it is meant for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EncodedEvent {
    pub(super) kind: EventKind,
    pub(super) id: CorrelationId,
    pub(super) encoding: Encoding,
    pub(super) payload: Vec<u8>,
}

impl EncodedEvent {
    /// Encodes `event`, one of a kind or an [`Event`](crate::wire::Event) of any.
    ///
    /// # Errors
    /// What the encoder says, for instance that an encoding was not compiled in.
    pub fn new<E: AnyEvent + ?Sized>(event: &E, encoding: Encoding) -> Result<Self, EncodeError> {
        let mut payload = Vec::with_capacity(event.room());
        encoding.encode(event, &mut payload)?;
        Ok(Self { kind: event.kind(), id: event.correlation_id().clone(), encoding, payload })
    }

    /// What kind of event it is.
    pub const fn kind(&self) -> EventKind {
        self.kind
    }

    /// The request it belongs to.
    pub const fn correlation_id(&self) -> &CorrelationId {
        &self.id
    }

    /// Bytes of the encoded event.
    pub fn len(&self) -> usize {
        self.payload.len()
    }

    /// Whether there are none, which no encoder makes.
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }
}

/// An answer in the encoding of its connection, with the ids of its event written into it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EncodedAnswer {
    pub(super) exchange: ExchangeId,
    pub(super) payload: Vec<u8>,
}

impl EncodedAnswer {
    /// The event that it answers.
    pub const fn exchange(&self) -> ExchangeId {
        self.exchange
    }
}

/// Why an event was not taken. The session is as it was, and nothing was written (P15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SendError {
    /// The machine has a reason.
    Refused(SubmitError),
    /// The frame would be longer than a frame may be.
    TooLarge {
        /// Bytes the frame would have, the type byte included.
        length: usize,
        /// Bytes it may have.
        limit: u32,
    },
    /// It was encoded for another connection.
    WrongEncoding {
        /// How it is encoded.
        given: Encoding,
        /// What this connection speaks.
        wanted: Encoding,
    },
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::TooLarge { length, limit } => {
                write!(
                    f,
                    "the event needs a frame of {length} bytes; at most {limit} are allowed: send smaller chunks"
                )
            }
            Self::WrongEncoding { given, wanted } => {
                write!(f, "the event is encoded as {given:?}, this connection speaks {wanted:?}")
            }
        }
    }
}

impl core::error::Error for SendError {}

impl From<SubmitError> for SendError {
    fn from(error: SubmitError) -> Self {
        Self::Refused(error)
    }
}

/// A message's JSON, if it fits a frame of `limit` bytes.
pub(super) fn bounded<T: serde::Serialize>(message: &T, limit: u32) -> Result<Vec<u8>, EncodeError> {
    let mut payload = Vec::new();
    encode_payload(message, Encoding::Json, limit, &mut payload)?;
    Ok(payload)
}

/// Encodes a message that is to fit a frame of `limit` bytes, in place of what is in `payload`.
pub(super) fn encode_payload<T: serde::Serialize>(
    message: &T,
    encoding: Encoding,
    limit: u32,
    payload: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    payload.clear();
    encoding.encode(message, payload)?;
    header_length(payload.len(), limit)?;
    Ok(())
}

/// A handshake answer's JSON. It holds nothing that JSON could refuse.
pub(super) fn json<T: serde::Serialize>(answer: &T) -> Vec<u8> {
    let mut out = Vec::new();
    match Encoding::Json.encode(answer, &mut out) {
        Ok(()) => out,
        Err(_) => Vec::new(),
    }
}

/// Those of `encodings` that were compiled in.
pub(super) fn supported(encodings: &[Encoding]) -> Vec<Encoding> {
    encodings.iter().copied().filter(|encoding| encoding.is_supported()).collect()
}

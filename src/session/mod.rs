//! Bytes in, bytes out, typed events: the wire and the machines joined, still without I/O.
//!
//! This is the floor to build on in a runtime of one's own. [`ProxySession`] is the proxy's end
//! of a connection, [`AgentSession`] the agent's. Both are driven alike:
//!
//! 1. Feed what the socket gave to `handle_bytes`, its end to `handle_eof`, its failure to
//!    `handle_transport_lost`. Read only while `wants_bytes` says so.
//! 2. Call `poll_event` until it returns `None`, and act on each event.
//! 3. Call `poll_transmit` with the buffer of bytes that the socket has not taken yet; write it.
//! 4. Wait for the socket, for a command, or for the time that `poll_timeout` names; when it has
//!    come, call `handle_timeout`. Go to 1.
//! 5. After `Closed`, the last event, write what is left in the buffer and drop the socket.
//!
//! No step must come before another; a call that is not needed does nothing. A [`bridge`] stands
//! between two connections and has both ends in one.
//!
//! [`Endpoint`] adds to a session what drivers have in common beside their sockets: the bytes that
//! the socket has not taken yet, and the orderly end of the stream. The guide `docs/embedding.md`
//! builds a driver with it, step by step.

mod agent;
pub mod bridge;
#[cfg(feature = "std")]
mod clock;
mod either;
mod endpoint;
mod message;
mod outgoing;
mod proxy;
#[cfg(feature = "std")]
mod sockets;
mod spent;

pub use agent::{AgentSession, AgentSessionEvent, AgentSettings, PendingForward, Receipt};
#[cfg(feature = "std")]
pub use clock::Clock;
pub use either::Session;
pub use endpoint::Endpoint;
pub use message::{EncodedAnswer, EncodedEvent, SendError};
pub use proxy::{Grant, PendingRegistration, ProxySession, ProxySessionEvent, ProxySettings};

use alloc::string::ToString;
use alloc::vec::Vec;

use crate::machine::Violation;
use crate::wire::{Decoder, Dialect, Encoding, Frame, FrameType, Kind};

/// Bytes waiting for the socket at which no more events are written. Default of both roles.
pub const WRITE_MARK: usize = 256 << 10;

/// The byte under which a frame came.
const fn type_byte(kind: Kind) -> u8 {
    match kind {
        Kind::Known(frame) => frame.to_byte(),
        Kind::Unknown(byte) => byte,
    }
}

/// The rule that a first frame breaks which is not the handshake awaited.
fn misplaced(frame: &Frame<'_>) -> Violation {
    match Dialect::of_frame(frame) {
        Some(dialect) => Violation::Foreign(dialect),
        None => Violation::NotAHandshake(type_byte(frame.kind)),
    }
}

/// Reads a handshake's payload, which is always JSON.
fn read_handshake<T: serde::de::DeserializeOwned>(frame: FrameType, payload: &[u8]) -> Result<T, Violation> {
    // A list of the fields in their order would parse as well, and is nobody's handshake.
    if payload.trim_ascii_start().first() == Some(&b'[') {
        return Err(Violation::Unreadable { frame, detail: "it must be a JSON object, not an array".into() });
    }
    Encoding::Json.decode(payload).map_err(|error| Violation::Unreadable { frame, detail: error.to_string() })
}

/// What has come from the peer: the decoder, and bytes that must wait for a decision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Intake {
    decoder: Decoder,
    /// Bytes that came behind an offer which is being decided.
    held: Vec<u8>,
}

impl Intake {
    const fn new(decoder: Decoder) -> Self {
        Self { decoder, held: Vec::new() }
    }

    /// Keeps bytes for after the decision. `false` if they are more than an opening frame may have.
    // Rule: H-ORDER-3.
    fn hold(&mut self, bytes: &[u8]) -> bool {
        if self.held.len().saturating_add(bytes.len()) > self.decoder.limit() as usize {
            return false;
        }
        self.held.extend_from_slice(bytes);
        true
    }

    /// Bytes allocated for what has come and was not acted on yet.
    const fn capacity(&self) -> usize {
        self.decoder.buffered_capacity().saturating_add(self.held.capacity())
    }
}

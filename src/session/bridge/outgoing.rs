//! Frames on their way to one side, as bytes.

use core::mem;

use alloc::vec::Vec;

use serde::Serialize;

use crate::machine::{ControlLimits, Violation};
use crate::wire::{EncodeError, Encoding, FrameType, encode_frame, encode_message};

/// Frames on their way to one side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    /// Pongs among them.
    pongs: usize,
}

impl Outgoing {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Appends a frame. Whether it fits, as one always does that is passed on as it came: it was
    /// held against the same limit when it was read.
    pub(super) fn pass(&mut self, kind: FrameType, payload: &[u8], limit: u32) -> bool {
        encode_frame(kind, payload, limit, &mut self.bytes).is_ok()
    }

    pub(super) fn push<T: Serialize>(
        &mut self,
        kind: FrameType,
        encoding: Encoding,
        message: &T,
        limit: u32,
    ) -> Result<(), EncodeError> {
        encode_message(kind, encoding, message, limit, &mut self.bytes)
    }

    /// The pong to a ping, unless the peer asks for more than we hold.
    // Rule: C-PING-2.
    pub(super) fn pong(
        &mut self,
        payload: &[u8],
        limits: ControlLimits,
        limit: u32,
    ) -> Result<(), Violation> {
        let length = payload.len();
        if length > limits.ping_payload {
            return Err(Violation::OversizePing { length, limit: limits.ping_payload });
        }
        if self.pongs >= limits.pongs {
            return Err(Violation::PingFlood { limit: limits.pongs });
        }
        self.pongs = self.pongs.saturating_add(1);
        self.pass(FrameType::Pong, payload, limit);
        Ok(())
    }

    /// What is appended to directly.
    pub(super) const fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Moves all to `out`, if less than `mark` bytes wait there. Whether there was anything to move.
    pub(super) fn transmit(&mut self, mark: usize, out: &mut Vec<u8>) -> bool {
        if self.bytes.is_empty() || out.len() >= mark {
            return false;
        }
        self.pongs = 0;
        if out.is_empty() {
            mem::swap(out, &mut self.bytes);
        } else {
            out.append(&mut self.bytes);
        }
        self.bytes = Vec::new();
        true
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

//! Bytes on their way to a session, cut where frames end.

use alloc::vec::Vec;

use crate::testing::oracle::{Seen, Tap};

/// A frame of any type byte and payload.
pub(super) fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len().saturating_add(1)).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &[kind], payload].concat()
}

/// Cuts what is fed so that no piece goes on behind the end of a frame, and says which frame a piece
/// completes. So the books are kept frame by frame, as a session acts.
#[derive(Clone, Debug, Default)]
pub(super) struct Feed {
    partial: Vec<u8>,
}

impl Feed {
    /// Takes the next piece off the front of `bytes`.
    pub(super) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> (&'a [u8], Option<Seen>) {
        let goal = match self.partial.first_chunk::<4>() {
            // A length of zero is no frame; going on by a byte keeps this total.
            Some(field) => (u32::from_be_bytes(*field) as usize).saturating_add(4).max(5),
            None => 4,
        };
        let missing = goal.saturating_sub(self.partial.len());
        let (piece, rest) = bytes.split_at(missing.min(bytes.len()));
        *bytes = rest;
        self.partial.extend_from_slice(piece);
        if self.partial.len() < goal.max(5) {
            return (piece, None);
        }
        let mut tap = Tap::default();
        let seen = tap.push(&core::mem::take(&mut self.partial)).pop();
        (piece, seen)
    }

    pub(super) fn is_at_edge(&self) -> bool {
        self.partial.is_empty()
    }
}

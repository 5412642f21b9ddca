//! Bytes on their way to a socket that takes them in pieces.

use alloc::vec::Vec;

/// Capacity that is kept when nothing waits.
const IDLE_CAPACITY: usize = 4 << 10;

/// Bytes that the socket has not taken yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    /// How many of them the socket has taken.
    taken: usize,
}

impl Outgoing {
    /// What the socket has not taken yet.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    /// Counts bytes that the socket has taken, no more than there are.
    pub(super) fn take(&mut self, count: usize) {
        self.taken = self.taken.saturating_add(count).min(self.bytes.len());
    }

    /// The buffer, to be appended to. Bytes that were taken are dropped from it, in amortised
    /// constant time per byte.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        if self.taken == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(IDLE_CAPACITY);
            self.taken = 0;
        } else if self.taken >= self.bytes.len() / 2 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        &mut self.bytes
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_out_in_order_and_once() {
        let (mut outgoing, mut seen) = (Outgoing::default(), Vec::new());
        for round in 0..50_u8 {
            outgoing.buffer().extend([round; 7]);
            let piece = outgoing.rest().get(..5).unwrap().to_vec();
            outgoing.take(piece.len());
            seen.extend(piece);
        }
        seen.extend(outgoing.rest());
        let whole: Vec<u8> = (0..50).flat_map(|round| [round; 7]).collect();
        assert_eq!(seen, whole);
        assert!(outgoing.bytes.len() <= 2 * outgoing.rest().len() + 7, "taken bytes are dropped");
    }

    #[test]
    fn a_large_buffer_is_given_back_once_it_was_taken() {
        let mut outgoing = Outgoing::default();
        outgoing.buffer().resize(1 << 20, 0);
        outgoing.take(usize::MAX);
        assert!(outgoing.rest().is_empty());
        assert!(outgoing.buffer().capacity() <= IDLE_CAPACITY);
    }
}

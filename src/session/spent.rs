//! Room that a message has left behind when it was written, for the next that comes.
//!
//! What one task encodes is written by the driver, and what the driver reads is freed by such a
//! task. Where these are different threads, an allocator must take every such piece from one to the
//! other, and they wait for each other in it. So the buffer stays: that of an event takes an answer
//! to a caller, that of an answer takes an event to a handler.

use alloc::vec::Vec;

/// Bytes of the largest buffer that is kept: what is short may be held for long.
pub(super) const LARGEST: usize = 4 << 10;

/// Buffers whose content was written, for what comes in.
#[derive(Clone, Debug, Default)]
pub(super) struct Spent(Vec<Vec<u8>>);

impl Spent {
    /// Keeps a buffer, if that makes no more than `most` of them.
    pub(super) fn put(&mut self, buffer: Vec<u8>, most: usize) {
        if self.0.len() < most && buffer.capacity() <= LARGEST {
            self.0.push(buffer);
        }
    }

    /// Lets go of all.
    pub(super) fn clear(&mut self) {
        self.0 = Vec::new();
    }

    /// `bytes` in a buffer that was kept, or in a new one.
    pub(super) fn fill(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut buffer = self.0.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(bytes);
        buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again() {
        let mut spent = Spent::default();
        let event = b"a long event".to_vec();
        let room = event.as_ptr();
        spent.put(event, 1);
        let answer = spent.fill(b"yes");
        assert_eq!((answer.as_slice(), answer.as_ptr()), (&b"yes"[..], room));
        assert_eq!(spent.fill(b"new"), b"new");
    }

    #[test]
    fn only_so_many_are_kept_and_no_large_ones() {
        let mut spent = Spent::default();
        spent.put(Vec::with_capacity(LARGEST + 1), 9);
        assert!(spent.0.is_empty());
        for _ in 0..9 {
            spent.put(Vec::with_capacity(LARGEST), 2);
        }
        assert_eq!(spent.0.len(), 2);
        spent.clear();
        assert!(spent.0.is_empty());
    }
}

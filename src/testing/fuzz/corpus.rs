//! Many inputs in one file.
//!
//! A corpus has a thousand inputs of some dozen bytes. As files of their own they would be slow to
//! check out and would fill a page of every listing; so they stand one behind the other, each behind
//! its length as a big-endian `u32`.

use alloc::vec::Vec;

/// The inputs of a corpus, in order. See [`inputs`].
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a>(&'a [u8]);

/// Reads a corpus. What follows the last whole input is left out.
#[must_use]
pub const fn inputs(corpus: &[u8]) -> Inputs<'_> {
    Inputs(corpus)
}

impl<'a> Iterator for Inputs<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (input, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(input)
    }
}

/// Writes a corpus. An input that is longer than a length can say is left out.
#[must_use]
pub fn pack<T: AsRef<[u8]>>(inputs: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut corpus = Vec::new();
    for input in inputs {
        let input = input.as_ref();
        if let Ok(length) = u32::try_from(input.len()) {
            corpus.extend_from_slice(&length.to_be_bytes());
            corpus.extend_from_slice(input);
        }
    }
    corpus
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out() {
        let packed = pack([&b"one"[..], b"", b"three"]);
        assert!(inputs(&packed).eq([&b"one"[..], b"", b"three"]));
        let cut = packed.len() - 1;
        assert_eq!(inputs(&packed[..cut]).count(), 2);
    }
}

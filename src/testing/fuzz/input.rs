//! Choices out of any bytes.

/// Reads choices off the front of any bytes. Past their end every choice is zero, so that every byte
/// string is some input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    pub(super) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    /// A number below `bound`; zero if `bound` is zero.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()).checked_rem(bound).unwrap_or(0)
    }

    pub(super) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Eight bytes as a number.
    pub(super) fn number(&mut self) -> u64 {
        (0..8).fold(0_u64, |number, _| (number << 8) | u64::from(self.byte()))
    }

    /// A span of microseconds: from none to some minutes, the short ones more often.
    pub(super) fn micros(&mut self) -> u64 {
        let (mantissa, shift) = (u64::from(self.byte()), self.below(22));
        mantissa << shift
    }

    /// The next `length` bytes, or what is left.
    pub(super) fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Up to 255 bytes, by a length in front of them.
    pub(super) fn piece(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte());
        self.bytes(length)
    }

    pub(super) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// One of `choices`.
    pub(super) fn one_of<T: Copy + Default>(&mut self, choices: &[T]) -> T {
        let index = self.below(choices.len());
        choices.get(index).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_the_end_every_choice_is_zero() {
        let mut input = Input::new(&[7, 1]);
        assert_eq!((input.below(5), input.flag()), (2, true));
        assert!(input.is_empty());
        assert_eq!((input.byte(), input.number(), input.micros(), input.below(0)), (0, 0, 0, 0));
        assert_eq!((input.piece(), input.one_of(&[9, 8])), (&[][..], 9));
    }

    #[test]
    fn a_piece_is_as_long_as_it_says_or_as_what_is_left() {
        let mut input = Input::new(&[2, 10, 11, 200, 12]);
        assert_eq!(input.piece(), [10, 11]);
        assert_eq!(input.piece(), [12]);
        assert!(input.rest().is_empty());
    }
}

//! Values that ride along with a state and are no part of it.

use core::hash::{Hash, Hasher};
use core::ops::{Deref, DerefMut};

/// A value that equality and hashing pass over.
///
/// Counters only grow. Were they compared, no two moments of a connection would ever be equal,
/// and a model checker would walk for ever through states that behave the same.
///
/// ```
/// use dialback::machine::Tally;
///
/// let mut frames = Tally::new(0_u64);
/// *frames += 1;
/// assert_eq!(frames, Tally::new(99));
/// assert_eq!(*frames, 1);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally<T>(T);

impl<T> Tally<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T> PartialEq for Tally<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Tally<T> {}

impl<T> Hash for Tally<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl<T> Deref for Tally<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Tally<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Keeps what it is given to hash.
    #[derive(Default)]
    struct Seen(Vec<u8>);

    impl Hasher for Seen {
        fn finish(&self) -> u64 {
            0
        }

        fn write(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
    }

    #[test]
    fn it_is_no_part_of_what_is_compared_or_hashed() {
        let mut tally = Tally::new(1_u64);
        *tally += 1;
        assert_eq!((*tally, tally), (2, Tally::new(7)));
        let mut seen = Seen::default();
        tally.hash(&mut seen);
        assert!(seen.0.is_empty());
    }
}

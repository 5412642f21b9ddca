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

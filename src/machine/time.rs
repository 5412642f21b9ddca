//! Time as an argument: a point in time that any caller, test or simulator can build.

use core::fmt;
use core::time::Duration;

/// A point in time: microseconds since an epoch of the caller's choice.
///
/// The machines never read a clock. They compare and shift the timestamps they are handed, so
/// the one thing a caller owes them is that all come from the same epoch. Arithmetic saturates:
/// a deadline too far away to be told is [`Timestamp::NEVER`], and a span that would be negative
/// is zero. The adapter uses the Unix epoch, which is also what goes into a frame's
/// `timestamp_ms`.
///
/// ```
/// use core::time::Duration;
/// use dialback::machine::Timestamp;
///
/// let start = Timestamp::from_micros(1_000);
/// assert_eq!(start.after(Duration::from_millis(2)).as_micros(), 3_000);
/// assert_eq!(start.since(Timestamp::NEVER), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The epoch itself.
    pub const ZERO: Self = Self(0);
    /// Later than every event: a deadline that does not come.
    pub const NEVER: Self = Self(u64::MAX);

    /// The point `micros` microseconds after the epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the epoch, as frames carry it.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// The point `span` later, or [`Timestamp::NEVER`].
    pub const fn after(self, span: Duration) -> Self {
        let micros = span.as_micros();
        if micros >= u64::MAX as u128 {
            return Self::NEVER;
        }
        Self(self.0.saturating_add(micros as u64))
    }

    /// How long after `earlier` this point lies; zero if it lies before.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}us", self.0)
    }
}

/// The earlier of two optional points, where `None` means "nothing is waiting for time".
pub(crate) fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Timestamp::NEVER.after(Duration::from_secs(1)), Timestamp::NEVER);
        assert_eq!(Timestamp::ZERO.after(Duration::MAX), Timestamp::NEVER);
        assert_eq!(Timestamp::ZERO.since(Timestamp::NEVER), Duration::ZERO);
    }

    #[test]
    fn earliest_prefers_a_time_over_none() {
        let (a, b) = (Timestamp::from_micros(1), Timestamp::from_micros(2));
        assert_eq!(earliest(Some(b), Some(a)), Some(a));
        assert_eq!(earliest(None, Some(a)), Some(a));
        assert_eq!(earliest(None, None), None);
    }

    #[test]
    fn frames_carry_whole_milliseconds() {
        assert_eq!(Timestamp::from_micros(2_999).as_millis(), 2);
        assert_eq!(Timestamp::from_micros(2_999).to_string(), "2999us");
    }
}

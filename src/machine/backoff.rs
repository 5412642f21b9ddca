//! When to dial again: full jitter under a doubling ceiling, obedience to what the proxy asked for.
//!
//! ```text
//! wait = what the proxy asked for, or zero  +  an even draw from 0 to the ceiling
//! ceiling = min, 2 min, 4 min ... max; min again once a connection has lived for `stable_after`
//! ```
//!
//! The draw goes down to zero at every ceiling, the last one too: agents that lost the same proxy
//! are spread over the whole of it, however long the proxy is away. No randomness is made here; the
//! caller brings the number.

use core::time::Duration;

/// The pace of reconnecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Backoff {
    /// The first ceiling. Default 100 ms.
    pub min: Duration,
    /// The last ceiling. Default 30 s.
    pub max: Duration,
    /// How long a connection must have been open to bring the ceiling back to `min`. A proxy that
    /// accepts and drops at once must not be dialled at the first pace for ever. Default 10 s.
    pub stable_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            min: Duration::from_millis(100),
            max: Duration::from_secs(30),
            stable_after: Duration::from_secs(10),
        }
    }
}

/// How an attempt to be connected came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attempt {
    /// The proxy was not reached, or the handshake did not come to an end.
    Failed,
    /// There was a connection, and it has ended.
    Ended {
        /// How long it was open.
        lived: Duration,
    },
    /// The proxy refused, and asked for another try after this time.
    RefusedFor(Duration),
    /// The proxy refused, and did not ask for another try.
    Refused,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Next {
    /// Dial again after this time.
    Wait(Duration),
    /// Dial no more.
    GiveUp,
}

/// Where a backoff stands. One per connection that is kept up.
///
/// ```
/// use std::time::Duration;
/// use dialback::machine::{Attempt, Backoff, Next, Pace};
///
/// let mut pace = Pace::new(Backoff::default(), Some(Duration::from_secs(30)));
/// let draw = 0x9e37_79b9_7f4a_7c15; // from a source of random numbers
/// match pace.next(Attempt::Failed, draw) {
///     Next::Wait(time) => assert!(time <= Backoff::default().max),
///     Next::GiveUp => unreachable!("only a refusal is a reason to give up"),
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pace {
    backoff: Backoff,
    retry_refusals: Option<Duration>,
    /// Attempts since a connection was stable; stops where the ceiling does.
    failures: u32,
}

impl Pace {
    /// A pace at its beginning. `retry_refusals`: how long after a refusal for which the proxy has
    /// named no time to try again; `None` gives up then.
    pub const fn new(backoff: Backoff, retry_refusals: Option<Duration>) -> Self {
        Self { backoff, retry_refusals, failures: 0 }
    }

    /// What the next draw stays below, or equals.
    pub fn ceiling(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.backoff.min.saturating_mul(factor).min(self.backoff.max)
    }

    /// Decides what follows an attempt. `random` is an even draw from all of `u64`.
    ///
    /// A time that the proxy named is never cut short; the draw comes on top, so that those who
    /// were refused together don't come back together.
    pub fn next(&mut self, attempt: Attempt, random: u64) -> Next {
        let least = match attempt {
            Attempt::Failed => Duration::ZERO,
            Attempt::Ended { lived } => {
                if lived >= self.backoff.stable_after {
                    self.failures = 0;
                }
                Duration::ZERO
            }
            Attempt::RefusedFor(asked) => asked,
            Attempt::Refused => match self.retry_refusals {
                Some(after) => after,
                None => return Next::GiveUp,
            },
        };
        let ceiling = self.ceiling();
        if ceiling < self.backoff.max {
            self.failures = self.failures.saturating_add(1);
        }
        Next::Wait(least.saturating_add(share(ceiling, random)))
    }
}

/// `random / u64::MAX` of a span.
fn share(span: Duration, random: u64) -> Duration {
    // Half the bits keep the product of two within 128; they are more than a timer can tell apart.
    let draw = u128::from(random >> 32);
    let part = span.as_nanos().saturating_mul(draw).checked_div(u128::from(u32::MAX)).unwrap_or(0);
    u64::try_from(part).map_or(span, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: Backoff = Backoff {
        min: Duration::from_millis(100),
        max: Duration::from_secs(1),
        stable_after: Duration::from_secs(10),
    };
    const LEAST: u64 = 0;
    const MOST: u64 = u64::MAX;

    fn millis(millis: u64) -> Next {
        Next::Wait(Duration::from_millis(millis))
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_last() {
        let mut pace = Pace::new(TEST, None);
        for ceiling in [100, 200, 400, 800, 1_000, 1_000, 1_000] {
            assert_eq!(pace.next(Attempt::Failed, MOST), millis(ceiling));
        }
    }

    #[test]
    fn the_draw_is_over_the_whole_of_every_ceiling() {
        let mut pace = Pace::new(TEST, None);
        for ceiling in [100, 200, 400, 800, 1_000, 1_000] {
            let mut other = pace;
            assert_eq!(other.next(Attempt::Failed, LEAST), millis(0));
            let mut other = pace;
            let Next::Wait(half) = other.next(Attempt::Failed, MOST / 2) else { panic!("gave up") };
            let error = half.abs_diff(Duration::from_millis(ceiling / 2));
            assert!(error < Duration::from_micros(1), "{half:?} of {ceiling} ms");
            pace.next(Attempt::Failed, LEAST);
        }
    }

    #[test]
    fn only_a_connection_that_has_lived_resets() {
        let mut pace = Pace::new(TEST, None);
        for _ in 0..20 {
            pace.next(Attempt::Failed, MOST);
        }
        let short = Attempt::Ended { lived: Duration::from_millis(9_999) };
        assert_eq!(pace.next(short, MOST), millis(1_000));
        assert_eq!(pace.next(Attempt::RefusedFor(Duration::ZERO), MOST), millis(1_000));
        let long = Attempt::Ended { lived: Duration::from_secs(10) };
        assert_eq!(pace.next(long, MOST), millis(100));
        assert_eq!(pace.next(short, MOST), millis(200));
    }

    #[test]
    fn a_named_time_is_never_cut_short() {
        for asked in [0, 5, 1_000, 60_000] {
            let asked = Duration::from_millis(asked);
            let mut pace = Pace::new(TEST, None);
            for random in [LEAST, 1, 1 << 31, 1 << 32, MOST / 3, MOST] {
                let ceiling = pace.ceiling();
                let Next::Wait(wait) = pace.next(Attempt::RefusedFor(asked), random) else {
                    panic!("gave up")
                };
                assert!(wait >= asked && wait <= asked + ceiling, "{wait:?} for {asked:?}");
            }
        }
        let mut pace = Pace::new(TEST, None);
        assert_eq!(pace.next(Attempt::RefusedFor(Duration::MAX), MOST), Next::Wait(Duration::MAX));
    }

    #[test]
    fn a_refusal_without_a_time_is_for_good_or_as_was_set() {
        assert_eq!(Pace::new(TEST, None).next(Attempt::Refused, MOST), Next::GiveUp);
        let mut pace = Pace::new(TEST, Some(Duration::from_secs(30)));
        assert_eq!(pace.next(Attempt::Refused, LEAST), millis(30_000));
        assert_eq!(pace.next(Attempt::Refused, MOST), millis(30_200));
        // A time that was named goes before one that was set.
        assert_eq!(pace.next(Attempt::RefusedFor(Duration::from_secs(1)), LEAST), millis(1_000));
    }

    #[test]
    fn no_setting_overflows() {
        let forever = Backoff { min: Duration::MAX, max: Duration::MAX, stable_after: Duration::ZERO };
        let mut pace = Pace::new(forever, None);
        for _ in 0..100 {
            pace.next(Attempt::Failed, MOST);
        }
        let instant = Backoff { min: Duration::ZERO, max: Duration::ZERO, stable_after: Duration::MAX };
        let mut pace = Pace::new(instant, None);
        for _ in 0..100 {
            assert_eq!(pace.next(Attempt::Failed, MOST), millis(0));
        }
        let long = Backoff { min: Duration::MAX / 3 * 2, ..forever };
        let mut pace = Pace::new(long, None);
        pace.next(Attempt::Failed, MOST);
        assert_eq!(pace.ceiling(), Duration::MAX);
        // A last ceiling below the first is the ceiling.
        let narrow = Backoff { min: Duration::from_secs(2), ..TEST };
        assert_eq!(Pace::new(narrow, None).next(Attempt::Failed, MOST), millis(1_000));
    }

    #[test]
    fn failures_saturate_with_a_tiny_first_ceiling() {
        let tiny = Backoff { min: Duration::from_nanos(1), max: Duration::from_secs(3_600), ..TEST };
        let mut pace = Pace::new(tiny, None);
        for _ in 0..200 {
            pace.next(Attempt::Failed, MOST);
        }
        assert!(pace.ceiling() >= Duration::from_secs(4));
    }

    #[test]
    fn a_pace_at_its_last_ceiling_stays_the_same_value() {
        let mut pace = Pace::new(TEST, None);
        for _ in 0..4 {
            pace.next(Attempt::Failed, MOST);
        }
        let before = pace;
        pace.next(Attempt::Failed, MOST);
        assert_eq!(pace, before);
    }

    #[test]
    fn the_defaults_are_those_that_are_documented() {
        let Backoff { min, max, stable_after } = Backoff::default();
        assert_eq!((min, max), (Duration::from_millis(100), Duration::from_secs(30)));
        assert_eq!(stable_after, Duration::from_secs(10));
    }
}

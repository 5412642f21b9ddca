//! The sessions' time for drivers that wait with the standard library's clock.

use core::time::Duration;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::machine::Timestamp;

/// Reads the system's time once and counts on from there with the monotonic clock, so that
/// timestamps never go back. Needs `std`.
///
/// ```
/// use std::time::Duration;
/// use dialback::session::Clock;
///
/// let clock = Clock::start();
/// let deadline = clock.now().after(Duration::from_secs(5));
/// assert!(clock.until(deadline) <= Duration::from_secs(5));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    epoch: Timestamp,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { origin: Instant::now(), epoch: Timestamp::ZERO.after(unix) }
    }

    /// The present time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.epoch.after(self.origin.elapsed())
    }

    /// How long to wait until `due`; zero if it has come.
    #[must_use]
    pub fn until(&self, due: Timestamp) -> Duration {
        due.since(self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_from_the_unix_epoch_and_never_back() {
        let clock = Clock::start();
        let thirty_years = 30 * 365 * 24 * 3_600 * 1_000_000;
        let (first, second) = (clock.now(), clock.now());
        assert!(first.as_micros() > thirty_years && second >= first);
        assert_eq!(clock.until(first), Duration::ZERO);
        assert!(clock.until(Timestamp::NEVER) > Duration::from_secs(3_600));
    }
}

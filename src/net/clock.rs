//! The time that the sessions are told: Unix time, advanced by the runtime's clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::machine::Timestamp;

/// Reads the system's time once and counts on from there with the runtime's monotonic clock.
///
/// Timestamps then never go back, and a test that pauses the runtime's time pauses these too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    epoch: Timestamp,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { origin: Instant::now(), epoch: Timestamp::ZERO.after(unix) }
    }

    /// The present time.
    pub(crate) fn now(&self) -> Timestamp {
        self.epoch.after(Instant::now().saturating_duration_since(self.origin))
    }

    /// When `at` will be on the runtime's clock. `None` if that is too far away to be told.
    pub(crate) fn instant_of(&self, at: Timestamp) -> Option<Instant> {
        if at == Timestamp::NEVER {
            return None;
        }
        self.origin.checked_add(at.since(self.epoch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_follows_the_paused_clock() {
        let clock = Clock::start();
        let start = clock.now();
        tokio::time::advance(Duration::from_millis(1_500)).await;
        assert_eq!(clock.now().since(start), Duration::from_millis(1_500));
    }

    #[tokio::test(start_paused = true)]
    async fn timestamps_and_instants_agree() {
        let clock = Clock::start();
        let later = clock.now().after(Duration::from_secs(3));
        assert_eq!(clock.instant_of(later), Some(Instant::now() + Duration::from_secs(3)));
        assert_eq!(clock.instant_of(Timestamp::NEVER), None);
        assert!(clock.instant_of(Timestamp::ZERO).is_some());
    }

    #[test]
    fn it_starts_at_the_unix_time() {
        let thirty_years = 30 * 365 * 24 * 3_600 * 1_000_000;
        assert!(Clock::start().now().as_micros() > thirty_years);
    }
}

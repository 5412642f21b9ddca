//! How long to wait before dialling again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The pace of reconnecting: the ceiling doubles with every failure, and the wait is drawn evenly
/// from zero to it, so that agents that lost the same proxy don't come back all at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first ceiling. Default 100 ms.
    pub min: Duration,
    /// The last ceiling. Also how long a connection must last to be counted as a success.
    /// Default 30 s.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { min: Duration::from_millis(100), max: Duration::from_secs(30) }
    }
}

/// The state of a backoff.
#[derive(Debug)]
pub(super) struct Pace {
    backoff: Backoff,
    ceiling: Duration,
    random: u64,
}

impl Pace {
    pub(super) fn new(backoff: Backoff) -> Self {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |unix| unix.subsec_nanos());
        let seed = (u64::from(nanos) << 32) | u64::from(std::process::id());
        Self { backoff, ceiling: backoff.min, random: seed | 1 }
    }

    /// A connection lasted this long.
    pub(super) fn handle_lasted(&mut self, lasted: Duration) {
        if lasted >= self.backoff.max {
            self.ceiling = self.backoff.min;
        }
    }

    /// The next wait.
    pub(super) fn next(&mut self) -> Duration {
        let ceiling = self.ceiling.min(self.backoff.max);
        self.ceiling = ceiling.saturating_mul(2);
        ceiling.mul_f64(self.draw())
    }

    /// A number from 0 to 1, by an xorshift. Nothing secret hangs on it.
    fn draw(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        f64::from((self.random >> 32) as u32) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_below_a_doubling_ceiling() {
        let backoff = Backoff { min: Duration::from_millis(100), max: Duration::from_secs(1) };
        let mut pace = Pace::new(backoff);
        for ceiling in [100, 200, 400, 800, 1_000, 1_000] {
            assert!(pace.next() <= Duration::from_millis(ceiling));
        }
        pace.handle_lasted(Duration::from_millis(999));
        assert_eq!(pace.ceiling, Duration::from_secs(2));
        pace.handle_lasted(Duration::from_secs(1));
        assert_eq!(pace.ceiling, backoff.min);
    }

    #[test]
    fn waits_differ() {
        let mut pace = Pace::new(Backoff { min: Duration::from_secs(1), max: Duration::from_secs(1) });
        let waits: std::collections::BTreeSet<_> = (0..50).map(|_| pace.next()).collect();
        assert!(waits.len() > 40);
        assert!(waits.iter().any(|wait| *wait > Duration::from_millis(500)));
    }
}

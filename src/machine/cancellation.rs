//! Giving up: what a cancelled exchange leaves behind, and how long an agent may owe its answer.

use alloc::collections::BTreeSet;
use core::time::Duration;

use super::exchange::ExchangeId;
use super::time::Timestamp;

/// How much an agent may owe before it counts as unresponsive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwedLimits {
    /// Answers owed at once. Default 64. Past this the connection is closed.
    pub count: usize,
    /// How long one answer may be owed, from the moment its exchange was given up. Default 30 s.
    pub age: Duration,
}

impl Default for OwedLimits {
    fn default() -> Self {
        Self { count: 64, age: Duration::from_secs(30) }
    }
}

/// The answers that are owed to exchanges nobody waits for any more.
///
/// An abandoned exchange keeps its slot in the window and keeps its id shut until the answer
/// comes (P2, P4). An agent that never pays would hold them for ever, so debts have a limit in
/// number and in age.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owed(BTreeSet<(Timestamp, ExchangeId)>);

impl Owed {
    pub(crate) const fn new() -> Self {
        Self(BTreeSet::new())
    }

    pub(crate) fn add(&mut self, since: Timestamp, exchange: ExchangeId) {
        self.0.insert((since, exchange));
    }

    pub(crate) fn remove(&mut self, since: Timestamp, exchange: ExchangeId) {
        self.0.remove(&(since, exchange));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn poll_timeout(&self, limits: OwedLimits) -> Option<Timestamp> {
        self.0.first().map(|(since, _)| since.after(limits.age))
    }

    /// How long the oldest answer has been owed, if a limit is broken.
    // Rule: X-OWED-1.
    pub(crate) fn overdue(&self, limits: OwedLimits, now: Timestamp) -> Option<Duration> {
        let (oldest, _) = self.0.first()?;
        let too_old = oldest.after(limits.age) <= now;
        (too_old || self.0.len() > limits.count).then(|| now.since(*oldest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    // Rule: X-OWED-1.
    fn debts_are_limited_in_number_and_age() {
        let limits = OwedLimits { count: 1, age: Duration::from_micros(10) };
        let mut owed = Owed::new();
        assert_eq!(owed.overdue(limits, Timestamp::NEVER), None);
        owed.add(Timestamp::from_micros(5), ExchangeId(1));
        assert_eq!(owed.overdue(limits, Timestamp::from_micros(14)), None);
        assert_eq!(owed.overdue(limits, Timestamp::from_micros(15)), Some(limits.age));
        owed.add(Timestamp::from_micros(6), ExchangeId(2));
        assert!(owed.overdue(limits, Timestamp::from_micros(6)).is_some());
        owed.remove(Timestamp::from_micros(5), ExchangeId(1));
        assert_eq!(owed.poll_timeout(limits), Some(Timestamp::from_micros(16)));
    }

    #[test]
    fn as_many_debts_as_allowed_are_allowed() {
        let limits = OwedLimits { count: 2, age: Duration::from_secs(1) };
        let mut owed = Owed::new();
        for exchange in 0..3 {
            assert_eq!(owed.len(), exchange);
            assert_eq!(owed.overdue(limits, Timestamp::ZERO), None);
            owed.add(Timestamp::ZERO, ExchangeId(exchange as u64));
        }
        assert_eq!(owed.overdue(limits, Timestamp::ZERO), Some(Duration::ZERO));
    }
}

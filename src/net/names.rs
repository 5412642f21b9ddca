//! Names of connections.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::machine::Timestamp;

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A connection's name: unique in the process by its counter, and across restarts by its time.
// Rule: H-REG-5.
pub(super) fn connection_id(agent_id: &str, now: Timestamp) -> String {
    let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{agent_id}-{:x}-{counter:x}", now.as_micros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    // Rule: H-REG-5.
    fn names_differ_even_at_the_same_time() {
        let at = Timestamp::from_micros(0xabc);
        let names: BTreeSet<_> = (0..100).map(|_| connection_id("a", at)).collect();
        assert_eq!(names.len(), 100);
        assert!(names.iter().all(|name| name.starts_with("a-abc-")));
    }
}

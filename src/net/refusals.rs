//! How often registrations were refused, by cause.

use std::collections::BTreeMap;

use crate::machine::admission::RegistrationRefusal;

use super::sync::{Arc, Mutex, lock};

/// Counts refusals. Cheap to clone; the clones count together.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    counts: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

impl Refusals {
    /// How often each cause came up, in order of name.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.counts).clone()
    }

    /// All of them together.
    pub fn total(&self) -> u64 {
        lock(&self.counts).values().sum()
    }

    pub(super) fn count(&self, refusal: &RegistrationRefusal) {
        self.count_cause(refusal.cause());
    }

    pub(super) fn count_cause(&self, cause: &'static str) {
        let mut counts = lock(&self.counts);
        let count = counts.entry(cause).or_insert(0);
        *count = count.saturating_add(1);
    }
}

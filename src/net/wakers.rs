//! Those who wait for one thing, each under an entry of its own.

use std::collections::BTreeMap;
use std::task::Waker;

/// Wakers by entry. One that is handed back is to be dropped with no lock held: nobody knows what hangs on it.
#[derive(Debug, Default)]
pub(super) struct Wakers {
    waiting: BTreeMap<u64, Waker>,
    last: u64,
}

impl Wakers {
    /// Remembers whom to wake, under `entry` if there is one. Returns the waker that was there.
    pub(super) fn put(&mut self, entry: &mut Option<u64>, waker: &Waker) -> Option<Waker> {
        let entry = entry.get_or_insert_with(|| {
            self.last = self.last.wrapping_add(1);
            self.last
        });
        match self.waiting.get(entry) {
            Some(known) if known.will_wake(waker) => None,
            Some(_) | None => self.waiting.insert(*entry, waker.clone()),
        }
    }

    /// Forgets who waits under this entry.
    pub(super) fn remove(&mut self, entry: u64) -> Option<Waker> {
        self.waiting.remove(&entry)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Everybody, who then waits no more.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Waker> + use<> {
        std::mem::take(&mut self.waiting).into_values()
    }
}

//! Virtual time, and what the applications have set themselves for later.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::machine::Timestamp;
use crate::session::{PendingRegistration, Receipt};
use crate::wire::{Answer, CorrelationId};

use super::connection::Serial;
use super::hooks::Verdict;

/// What an application does at its time.
#[derive(Debug)]
pub(super) enum Action {
    /// The next request begins.
    Begin,
    /// A line's connection is made.
    Dial(usize),
    /// A registration is decided.
    Decide { serial: Serial, pending: PendingRegistration, verdict: Verdict },
    /// A handler is done.
    Answer { serial: Serial, tag: Option<u32>, receipt: Receipt, answer: Answer },
    /// The agent resumes the connection, or a request.
    Resume { serial: Serial, id: Option<CorrelationId> },
    /// The agent announces a large capacity.
    Widen(Serial),
    /// Readers are fast and handlers quick again.
    Relieve(Serial),
    /// The agent reports that it is well.
    Recover(Serial),
    /// One more byte of a frame that is never finished.
    Trickle { serial: Serial, left: u32 },
}

/// What is to be done, in order of time, and of having been set.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) now: Timestamp,
    actions: BTreeMap<(Timestamp, u64), Action>,
    set: u64,
}

impl Schedule {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self { now, actions: BTreeMap::new(), set: 0 }
    }

    pub(super) fn set(&mut self, after: Duration, action: Action) {
        self.set = self.set.saturating_add(1);
        self.actions.insert((self.now.after(after), self.set), action);
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.actions.first_key_value().map(|((at, _), _)| *at)
    }

    /// What is due now, one at a time.
    pub(super) fn due(&mut self) -> Option<Action> {
        let (key, _) = self.actions.first_key_value()?;
        let key = *key;
        (key.0 <= self.now).then(|| self.actions.remove(&key)).flatten()
    }

    /// Moves everything that was set for later to now, in its order.
    pub(super) fn hurry(&mut self) {
        let later = core::mem::take(&mut self.actions);
        self.actions = later.into_iter().map(|((_, set), action)| ((self.now, set), action)).collect();
    }
}

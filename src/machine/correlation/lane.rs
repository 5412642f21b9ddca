//! The exchanges of one request, in two rows: those on the wire and those that wait.

use alloc::collections::BTreeSet;

use super::super::exchange::ExchangeId;
use super::super::flow::Gate;
use super::super::handshake::Matching;
use super::super::rows::{Queue, Sorted};
use super::lane_gate;

/// The exchanges of one correlation id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
// Rule: X-ORDER-1.
pub(super) struct Lane {
    pub(super) on_wire: Sorted,
    /// In the order given (P3).
    pub(super) waiting: Queue,
}

impl Lane {
    pub(super) const fn is_empty(&self) -> bool {
        self.on_wire.is_empty() && self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.iter().count().saturating_add(self.on_wire.iter().count())
    }

    /// The event that may be written next, as far as this lane is concerned.
    pub(super) fn ready(&self, matching: Matching, paused: bool) -> Option<ExchangeId> {
        match lane_gate(matching, !self.on_wire.is_empty(), paused) {
            Gate::Open => self.waiting.first(),
            Gate::Shut(_) => None,
        }
    }

    /// Puts the head among the ready ones, or takes it away, as the lane's gate says.
    pub(super) fn settle(&self, matching: Matching, paused: bool, ready: &mut BTreeSet<ExchangeId>) {
        let Some(head) = self.waiting.first() else { return };
        match self.ready(matching, paused) {
            Some(_) => ready.insert(head),
            None => ready.remove(&head),
        };
    }
}

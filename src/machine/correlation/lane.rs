//! The exchanges of one request, in two rows: those on the wire and those that wait.
//!
//! Most requests have one event under way at a time, so the first of each row lies in the lane
//! itself, and only the second costs an allocation.

use alloc::collections::{BTreeSet, VecDeque};

use super::super::exchange::ExchangeId;
use super::super::flow::Gate;
use super::super::handshake::Matching;
use super::lane_gate;

/// The exchanges of one correlation id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
// Rule: X-ORDER-1.
pub(super) struct Lane {
    pub(super) on_wire: Unanswered,
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

/// A lane's events on the wire, by id. Nothing is among the rest unless there is a least.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Unanswered {
    least: Option<ExchangeId>,
    rest: BTreeSet<ExchangeId>,
}

impl Unanswered {
    pub(super) const fn is_empty(&self) -> bool {
        self.least.is_none()
    }

    pub(super) const fn first(&self) -> Option<ExchangeId> {
        self.least
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = ExchangeId> + '_ {
        self.least.iter().chain(&self.rest).copied()
    }

    pub(super) fn insert(&mut self, exchange: ExchangeId) {
        match self.least {
            None => self.least = Some(exchange),
            Some(least) if least == exchange => {}
            Some(least) => {
                self.least = Some(least.min(exchange));
                self.rest.insert(least.max(exchange));
            }
        }
    }

    pub(super) fn remove(&mut self, exchange: ExchangeId) {
        if self.least == Some(exchange) {
            self.least = self.rest.pop_first();
        } else {
            self.rest.remove(&exchange);
        }
    }
}

/// A lane's waiting events, in the order given. Nothing is among the rest unless there is a head.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Queue {
    head: Option<ExchangeId>,
    rest: VecDeque<ExchangeId>,
}

impl Queue {
    pub(super) const fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    pub(super) const fn first(&self) -> Option<ExchangeId> {
        self.head
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = ExchangeId> + '_ {
        self.head.iter().chain(&self.rest).copied()
    }

    pub(super) fn push(&mut self, exchange: ExchangeId) {
        match self.head {
            None => self.head = Some(exchange),
            Some(_) => self.rest.push_back(exchange),
        }
    }

    pub(super) fn remove(&mut self, exchange: ExchangeId) {
        if self.head == Some(exchange) {
            self.head = self.rest.pop_front();
        } else {
            self.rest.retain(|other| *other != exchange);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn ids(ids: impl Iterator<Item = ExchangeId>) -> Vec<u64> {
        ids.map(|id| id.0).collect()
    }

    #[test]
    fn those_on_the_wire_are_a_set_in_order_of_id() {
        let mut row = Unanswered::default();
        for exchange in [5, 2, 9, 2] {
            row.insert(ExchangeId(exchange));
        }
        assert_eq!((ids(row.iter()), row.first()), (alloc::vec![2, 5, 9], Some(ExchangeId(2))));
        for (gone, left) in [(9, &[2, 5][..]), (7, &[2, 5]), (2, &[5]), (5, &[])] {
            row.remove(ExchangeId(gone));
            assert_eq!((ids(row.iter()), row.is_empty()), (left.to_vec(), left.is_empty()));
        }
        assert_eq!(row, Unanswered::default());
    }

    #[test]
    fn those_that_wait_stand_in_the_order_given() {
        let mut row = Queue::default();
        for exchange in [5, 2, 9] {
            row.push(ExchangeId(exchange));
        }
        assert_eq!((ids(row.iter()), row.first()), (alloc::vec![5, 2, 9], Some(ExchangeId(5))));
        for (gone, left) in [(2, &[5, 9][..]), (7, &[5, 9]), (5, &[9]), (9, &[])] {
            row.remove(ExchangeId(gone));
            assert_eq!((ids(row.iter()), row.is_empty()), (left.to_vec(), left.is_empty()));
        }
        assert_eq!(row, Queue::default());
    }

    #[test]
    fn two_rows_with_the_same_in_them_are_equal_whatever_came_before() {
        let (mut long, mut short) = (Queue::default(), Queue::default());
        for exchange in 1..20 {
            long.push(ExchangeId(exchange));
        }
        for exchange in 1..19 {
            long.remove(ExchangeId(exchange));
        }
        short.push(ExchangeId(19));
        assert_eq!(long, short);
    }
}

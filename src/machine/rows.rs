//! Rows of exchange ids that mostly hold one: the exchanges of a request.
//!
//! The first of a row lies in the row itself, so that only the second costs an allocation.

use alloc::collections::{BTreeSet, VecDeque};

use super::exchange::ExchangeId;

/// A row in order of id. Nothing is among the rest unless there is a least.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Sorted {
    least: Option<ExchangeId>,
    rest: BTreeSet<ExchangeId>,
}

impl Sorted {
    pub(crate) const fn is_empty(&self) -> bool {
        self.least.is_none()
    }

    pub(crate) const fn first(&self) -> Option<ExchangeId> {
        self.least
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = ExchangeId> + '_ {
        self.least.iter().chain(&self.rest).copied()
    }

    pub(crate) fn insert(&mut self, exchange: ExchangeId) {
        match self.least {
            None => self.least = Some(exchange),
            Some(least) if least == exchange => {}
            Some(least) => {
                self.least = Some(least.min(exchange));
                self.rest.insert(least.max(exchange));
            }
        }
    }

    pub(crate) fn remove(&mut self, exchange: ExchangeId) {
        if self.least == Some(exchange) {
            self.least = self.rest.pop_first();
        } else {
            self.rest.remove(&exchange);
        }
    }
}

/// A row in the order given. Nothing is among the rest unless there is a head.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Queue {
    head: Option<ExchangeId>,
    rest: VecDeque<ExchangeId>,
}

impl Queue {
    pub(crate) const fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    pub(crate) const fn first(&self) -> Option<ExchangeId> {
        self.head
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = ExchangeId> + '_ {
        self.head.iter().chain(&self.rest).copied()
    }

    pub(crate) fn push(&mut self, exchange: ExchangeId) {
        match self.head {
            None => self.head = Some(exchange),
            Some(_) => self.rest.push_back(exchange),
        }
    }

    pub(crate) fn remove(&mut self, exchange: ExchangeId) {
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
    fn a_sorted_row_is_a_set() {
        let mut row = Sorted::default();
        for exchange in [5, 2, 9, 2] {
            row.insert(ExchangeId(exchange));
        }
        assert_eq!((ids(row.iter()), row.first()), (alloc::vec![2, 5, 9], Some(ExchangeId(2))));
        for (gone, left) in [(9, &[2, 5][..]), (7, &[2, 5]), (2, &[5]), (5, &[])] {
            row.remove(ExchangeId(gone));
            assert_eq!((ids(row.iter()), row.is_empty()), (left.to_vec(), left.is_empty()));
        }
        assert_eq!(row, Sorted::default());
    }

    #[test]
    fn a_queue_keeps_the_order_given() {
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

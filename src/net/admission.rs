//! Seats: how many connections there are, in all and of each agent.

use std::collections::BTreeMap;

use crate::machine::admission::{AdmissionPolicy, Occupancy, RegistrationRefusal};

use super::sync::{Arc, Mutex, lock};

/// Counts the connections that have been told "success", or are about to be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seats {
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    of_agent: BTreeMap<Arc<str>, usize>,
}

impl Seats {
    /// Takes a seat, which is then counted until it is dropped. One critical section judges and
    /// counts, so that any number of registrations at once can't exceed a limit.
    ///
    /// # Errors
    /// Which limit is reached.
    // Rule: H-REG-4.
    pub(crate) fn reserve(
        &self,
        policy: &AdmissionPolicy,
        agent_id: &str,
    ) -> Result<Seat, RegistrationRefusal> {
        let mut taken = lock(&self.taken);
        let of_agent = taken.of_agent.get(agent_id).copied().unwrap_or(0);
        policy.room(Occupancy { of_agent, total: taken.total })?;
        let agent_id: Arc<str> = agent_id.into();
        taken.of_agent.insert(Arc::clone(&agent_id), of_agent.saturating_add(1));
        taken.total = taken.total.saturating_add(1);
        Ok(Seat { seats: self.clone(), agent_id })
    }

    fn release(&self, agent_id: &str) {
        let mut taken = lock(&self.taken);
        taken.total = taken.total.saturating_sub(1);
        match taken.of_agent.get_mut(agent_id) {
            Some(count) if *count > 1 => *count = count.saturating_sub(1),
            Some(_) | None => {
                taken.of_agent.remove(agent_id);
            }
        }
    }

    /// Seats taken, in all.
    pub(crate) fn taken(&self) -> usize {
        lock(&self.taken).total
    }
}

/// One connection's seat. Dropping it frees it.
#[derive(Debug)]
#[must_use = "a seat that is dropped is free again"]
pub(crate) struct Seat {
    seats: Seats,
    agent_id: Arc<str>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.release(&self.agent_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> AdmissionPolicy {
        AdmissionPolicy { max_connections_per_agent: 2, max_connections: 3, ..AdmissionPolicy::default() }
    }

    #[test]
    fn seats_are_counted_and_released() {
        let seats = Seats::default();
        let first = seats.reserve(&policy(), "a").unwrap();
        let second = seats.reserve(&policy(), "a").unwrap();
        assert_eq!(seats.reserve(&policy(), "a").unwrap_err(), RegistrationRefusal::AgentFull { limit: 2 });
        let third = seats.reserve(&policy(), "b").unwrap();
        assert_eq!(seats.reserve(&policy(), "c").unwrap_err(), RegistrationRefusal::Full);
        drop(first);
        let fourth = seats.reserve(&policy(), "a").unwrap();
        drop((second, third, fourth));
        assert_eq!(seats.taken(), 0);
        assert!(lock(&seats.taken).of_agent.is_empty());
    }

    #[test]
    fn many_at_once_never_exceed_the_limit() {
        let seats = Seats::default();
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let seats = seats.clone();
                std::thread::spawn(move || seats.reserve(&policy(), "a").ok())
            })
            .collect();
        let got: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
        assert_eq!((got.len(), seats.taken()), (2, 2));
    }
}

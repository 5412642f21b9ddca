//! What the callers did and were told, and the books in which everything is entered.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::machine::{Ending, ExchangeId};
use crate::wire::EventKind;

use super::{Property, Violated, answer_tag, demand};

/// What two ends have settled, as far as the books must know it.
#[derive(Clone, Copy, Debug)]
pub(in crate::testing) struct Ground {
    /// Whether exchange ids are used.
    pub(in crate::testing) by_exchange_id: bool,
    /// Whether the agent wants Cancels.
    pub(in crate::testing) cancellation: bool,
    /// The smaller of our limit and the agent's stated concurrency.
    pub(in crate::testing) limit: u64,
}

/// One submission and all that is known of it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) exchange: ExchangeId,
    pub(super) kind: EventKind,
    /// The event, as its caller encoded it.
    pub(super) payload: Vec<u8>,
    pub(super) written: bool,
    /// The answer that has reached the proxy.
    pub(super) answer: Option<Vec<u8>>,
    /// The caller has been told the end; `true` if it was given up while on the wire.
    pub(super) ended: Option<bool>,
    pub(super) cancels: u32,
    /// Given to the agent's application.
    pub(super) handled: bool,
    /// Answered by the agent's application.
    pub(super) answered: bool,
    pub(super) answers_written: u32,
}

impl Entry {
    /// On the wire, and its answer has not reached the proxy.
    pub(super) const fn is_unresolved(&self) -> bool {
        self.written && self.answer.is_none()
    }
}

/// What the agent has said about flow, as far as it has reached the proxy.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    pub(super) paused: bool,
    pub(super) paused_ids: BTreeSet<String>,
    pub(super) capacity: Option<u64>,
}

/// The books of one connection.
#[derive(Clone, Debug)]
pub(in crate::testing) struct Oracle {
    pub(super) ground: Ground,
    /// Whether what reaches the proxy comes from an agent that keeps to the protocol.
    pub(super) agent_is_honest: bool,
    /// By tag: the number that the answer to an event repeats.
    pub(super) entries: BTreeMap<u32, Entry>,
    /// Tags in the order in which their events were written.
    pub(super) wire_order: Vec<u32>,
    pub(super) said: Said,
    pub(in crate::testing) opened: bool,
    pub(in crate::testing) draining: bool,
    pub(in crate::testing) closed: u32,
    pub(super) handshakes_written: u32,
    /// Somebody was told that the connection had taken an exchange with it.
    lost: bool,
    pub(super) pings: Vec<Vec<u8>>,
    pub(super) pongs: usize,
}

impl Oracle {
    pub(in crate::testing) const fn new(ground: Ground) -> Self {
        Self {
            ground,
            agent_is_honest: true,
            entries: BTreeMap::new(),
            wire_order: Vec::new(),
            said: Said { paused: false, paused_ids: BTreeSet::new(), capacity: None },
            opened: false,
            draining: false,
            closed: 0,
            handshakes_written: 0,
            lost: false,
            pings: Vec::new(),
            pongs: 0,
        }
    }

    /// From here on the agent's frames may be anything; what the proxy makes of them is still judged.
    pub(in crate::testing) const fn distrust_agent(&mut self) {
        self.agent_is_honest = false;
    }

    pub(in crate::testing) fn next_tag(&self) -> u32 {
        self.entries.last_key_value().map_or(1, |(tag, _)| tag.saturating_add(1))
    }

    /// An event was taken. `payload` is the event as it was encoded.
    pub(in crate::testing) fn admitted(
        &mut self,
        tag: u32,
        (kind, id): (EventKind, &str),
        payload: Vec<u8>,
        exchange: ExchangeId,
    ) -> Result<(), Violated> {
        demand(self.opened && self.closed == 0, Property::P7, || "admitted while not open".to_string())?;
        demand(!self.draining, Property::P9, || format!("event {tag} admitted while draining"))?;
        let entry = Entry {
            id: id.to_string(),
            exchange,
            kind,
            payload,
            written: false,
            answer: None,
            ended: None,
            cancels: 0,
            handled: false,
            answered: false,
            answers_written: 0,
        };
        self.entries.insert(tag, entry);
        Ok(())
    }

    /// The proxy's side told how an exchange ended.
    pub(in crate::testing) fn ended(
        &mut self,
        exchange: ExchangeId,
        ending: &Ending<Vec<u8>>,
    ) -> Result<(), Violated> {
        demand(self.closed == 0, Property::P8, || format!("{exchange} ended after the close"))?;
        let honest = self.agent_is_honest;
        let found = self.entries.iter_mut().find(|(_, entry)| entry.exchange == exchange);
        let Some((tag, entry)) = found else {
            return Err(Violated {
                property: Property::P1,
                detail: format!("{exchange} was never admitted"),
            });
        };
        demand(entry.ended.is_none(), Property::P1, || format!("{exchange} ended twice"))?;
        let (given_up, wants_written) = match ending {
            Ending::Answered(payload) => {
                demand(entry.answer.as_ref() == Some(payload), Property::P2, || {
                    format!("event {tag} was given an answer that did not come for it")
                })?;
                let repeats = tag_in(payload);
                demand(!honest || repeats == Some(*tag), Property::P2, || {
                    format!("event {tag} was given the answer to {repeats:?}")
                })?;
                (false, true)
            }
            Ending::Expired | Ending::Refused => (false, false),
            Ending::TimedOut => (true, true),
            Ending::Cancelled { written, .. } => (*written, *written),
            Ending::Lost { written } => (false, *written),
        };
        demand(entry.written == wants_written, Property::P1, || {
            format!("event {tag} ended as {ending:?}, but written was {}", entry.written)
        })?;
        entry.ended = Some(given_up);
        self.lost |= matches!(ending, Ending::Lost { .. });
        // What was said of a request is forgotten with the end of its last exchange.
        if entry.kind == EventKind::RequestComplete && !(given_up && entry.is_unresolved()) {
            self.said.paused_ids.remove(&entry.id);
        }
        Ok(())
    }

    pub(in crate::testing) fn closed(&mut self) -> Result<(), Violated> {
        self.closed = self.closed.saturating_add(1);
        demand(self.closed == 1, Property::P8, || "closed twice".to_string())?;
        let left = self.entries.iter().find(|(_, entry)| entry.ended.is_none()).map(|(tag, _)| *tag);
        demand(left.is_none(), Property::P1, || format!("event {left:?} has no end at the close"))
    }

    /// What must hold on an open connection on which nothing is under way any more.
    pub(in crate::testing) fn at_rest(&self) -> Result<(), Violated> {
        let left: Vec<u32> = self.left().map(|(tag, _)| tag).collect();
        demand(left.is_empty(), Property::P1, || format!("events {left:?} have no end at rest"))?;
        demand(!self.lost, Property::P8, || "an exchange was lost without a close".to_string())?;
        demand(self.unresolved() == 0, Property::P4, || format!("{} in flight at rest", self.unresolved()))?;
        demand(self.pings.len() == self.pongs, Property::P12, || "a ping without a pong".to_string())?;
        let owes =
            |entry: &Entry| self.ground.cancellation && entry.ended == Some(true) && entry.cancels == 0;
        let silent = self.entries.iter().find(|(_, entry)| owes(entry)).map(|(tag, _)| *tag);
        demand(silent.is_none(), Property::P6, || {
            format!("no Cancel for event {silent:?}, which was given up")
        })
    }

    fn left(&self) -> impl Iterator<Item = (u32, ExchangeId)> + '_ {
        let left = self.entries.iter().filter(|(_, entry)| entry.ended.is_none());
        left.map(|(tag, entry)| (*tag, entry.exchange))
    }

    /// The correlation ids of everything that was ever submitted.
    pub(in crate::testing) fn ids(&self) -> Vec<&str> {
        self.entries.values().map(|entry| entry.id.as_str()).collect()
    }

    /// What is on the wire, and its answer has not reached the proxy.
    pub(in crate::testing) fn on_wire(&self) -> Vec<ExchangeId> {
        self.entries.values().filter(|entry| entry.is_unresolved()).map(|entry| entry.exchange).collect()
    }

    /// Submissions that have reached no end.
    pub(in crate::testing) fn open_exchanges(&self) -> Vec<ExchangeId> {
        self.left().map(|(_, exchange)| exchange).collect()
    }

    /// Events on the wire whose answer has not reached the proxy.
    pub(in crate::testing) fn unresolved(&self) -> usize {
        self.entries.values().filter(|entry| entry.is_unresolved()).count()
    }
}

/// The number that an encoded answer repeats.
fn tag_in(payload: &[u8]) -> Option<u32> {
    answer_tag(&serde_json::from_slice(payload).ok()?)
}

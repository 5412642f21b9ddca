//! The books kept beside a pair: what the properties demand, checked against what was seen.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde_json::Value;

use crate::machine::{Ending, ExchangeId};

/// The properties, by the ids under which the ledger lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    /// Exactly once: every admitted exchange reaches exactly one end.
    P1,
    /// No misattribution: an answer ends only the exchange whose event it answers.
    P2,
    /// Order: events of one id are written, handled and answered in order, each once.
    P3,
    /// Window: in flight never exceeds the limit and equals the unresolved.
    P4,
    /// Pause: nothing is written between a pause and its resume; then it flows.
    P5,
    /// Cancel: at most one per exchange, never before its event, never for a queued one.
    P6,
    /// Handshake: nothing before registration, one decision.
    P7,
    /// Close: exactly one closed event, last, and everything pending ends with it.
    P8,
    /// Drain: nothing new is admitted; it closes when the last exchange ends or at its deadline.
    P9,
    /// Codec: what is written can be read, however it is cut.
    P10,
    /// Unknown frames change nothing.
    P11,
    /// Keepalive: a ping is answered with its payload; silence closes.
    P12,
    /// Time: acting when asked makes progress, acting early changes nothing.
    P13,
    /// Polls commute.
    P14,
    /// Refusals are pure.
    P15,
}

/// A property that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violated {
    /// Which.
    pub property: Property,
    /// What was seen.
    pub detail: String,
}

impl fmt::Display for Violated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.property, self.detail)
    }
}

impl core::error::Error for Violated {}

/// Fails with `property` unless `holds`.
pub(super) fn demand(
    holds: bool,
    property: Property,
    detail: impl FnOnce() -> String,
) -> Result<(), Violated> {
    if holds { Ok(()) } else { Err(Violated { property, detail: detail() }) }
}

/// A frame as the oracle sees it: the naive way, whole and by the book.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) kind: u8,
    pub(super) payload: Vec<u8>,
}

impl Seen {
    fn json(&self) -> Result<Value, Violated> {
        serde_json::from_slice(&self.payload).map_err(|error| Violated {
            property: Property::P10,
            detail: format!("a frame of type 0x{:02x} is no JSON: {error}", self.kind),
        })
    }
}

/// Splits one place's bytes into frames.
#[derive(Clone, Debug, Default)]
pub(super) struct Tap(Vec<u8>);

impl Tap {
    /// Whether the bytes so far end where a frame ends.
    pub(super) const fn is_at_edge(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Seen> {
        self.0.extend_from_slice(bytes);
        let mut seen = Vec::new();
        while let Some(header) = self.0.first_chunk::<4>() {
            let length = u32::from_be_bytes(*header) as usize;
            if length == 0 || self.0.len() < length.saturating_add(4) {
                break;
            }
            let rest = self.0.split_off(length.saturating_add(4));
            let frame = core::mem::replace(&mut self.0, rest);
            seen.push(Seen {
                kind: frame.get(4).copied().unwrap_or(0),
                payload: frame.get(5..).unwrap_or_default().to_vec(),
            });
        }
        seen
    }
}

/// One submission and all that is known of it.
#[derive(Clone, Debug)]
struct Entry {
    id: String,
    exchange: ExchangeId,
    written: bool,
    /// The answer has reached the proxy.
    answer_arrived: bool,
    /// The caller has been told the end; `true` if it was given up while on the wire.
    ended: Option<bool>,
    cancels: u32,
    /// Given to the agent's application.
    handled: bool,
    /// Answered by the agent's application.
    answered: bool,
    answers_written: u32,
}

/// What the agent has said about flow, as far as it has reached the proxy.
#[derive(Clone, Debug, Default)]
struct Said {
    paused: bool,
    paused_ids: BTreeSet<String>,
    capacity: Option<u64>,
}

/// The books of one pair.
#[derive(Clone, Debug)]
pub(super) struct Oracle {
    /// Whether this pair uses exchange ids.
    by_exchange_id: bool,
    /// The smaller of our limit and the agent's stated concurrency.
    limit: u64,
    /// By tag: the number that an event carries and its answer repeats.
    entries: BTreeMap<u32, Entry>,
    said: Said,
    pub(super) opened: bool,
    pub(super) draining: bool,
    pub(super) closed: u32,
    handshakes_written: u32,
    pings: Vec<Vec<u8>>,
    pongs: usize,
}

impl Oracle {
    pub(super) const fn new(by_exchange_id: bool, limit: u64) -> Self {
        Self {
            by_exchange_id,
            limit,
            entries: BTreeMap::new(),
            said: Said { paused: false, paused_ids: BTreeSet::new(), capacity: None },
            opened: false,
            draining: false,
            closed: 0,
            handshakes_written: 0,
            pings: Vec::new(),
            pongs: 0,
        }
    }

    pub(super) fn next_tag(&self) -> u32 {
        self.entries.last_key_value().map_or(1, |(tag, _)| tag.saturating_add(1))
    }

    // ---- what the callers did and were told ----

    pub(super) fn admitted(&mut self, tag: u32, id: &str, exchange: ExchangeId) -> Result<(), Violated> {
        demand(self.opened && self.closed == 0, Property::P7, || "admitted while not open".to_string())?;
        demand(!self.draining, Property::P9, || format!("event {tag} admitted while draining"))?;
        let entry = Entry {
            id: id.to_string(),
            exchange,
            written: false,
            answer_arrived: false,
            ended: None,
            cancels: 0,
            handled: false,
            answered: false,
            answers_written: 0,
        };
        self.entries.insert(tag, entry);
        Ok(())
    }

    /// The proxy's side told how an exchange ended. `answered_tag` is what the answer repeats.
    pub(super) fn ended(
        &mut self,
        exchange: ExchangeId,
        ending: &Ending<Vec<u8>>,
        answered_tag: Option<u32>,
    ) -> Result<(), Violated> {
        demand(self.closed == 0, Property::P8, || format!("{exchange} ended after the close"))?;
        let found = self.entries.iter_mut().find(|(_, entry)| entry.exchange == exchange);
        let Some((tag, entry)) = found else {
            return Err(Violated {
                property: Property::P1,
                detail: format!("{exchange} was never admitted"),
            });
        };
        demand(entry.ended.is_none(), Property::P1, || format!("{exchange} ended twice"))?;
        let (given_up, wants_written) = match ending {
            Ending::Answered(_) => {
                demand(answered_tag == Some(*tag), Property::P2, || {
                    format!("event {tag} was given the answer to {answered_tag:?}")
                })?;
                demand(entry.answer_arrived, Property::P2, || {
                    format!("event {tag} answered out of thin air")
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
        Ok(())
    }

    pub(super) fn closed(&mut self) -> Result<(), Violated> {
        self.closed = self.closed.saturating_add(1);
        demand(self.closed == 1, Property::P8, || "closed twice".to_string())?;
        let left = self.entries.iter().find(|(_, entry)| entry.ended.is_none()).map(|(tag, _)| *tag);
        demand(left.is_none(), Property::P1, || format!("event {left:?} has no end at the close"))
    }

    /// Whether every ping that reached the proxy has been answered.
    pub(super) fn all_pings_answered(&self) -> bool {
        self.pings.len() == self.pongs
    }

    /// Submissions that have reached no end.
    pub(super) fn open_exchanges(&self) -> Vec<ExchangeId> {
        self.entries.values().filter(|entry| entry.ended.is_none()).map(|entry| entry.exchange).collect()
    }

    /// Events on the wire whose answer has not reached the proxy.
    pub(super) fn unresolved(&self) -> usize {
        self.entries.values().filter(|entry| entry.written && !entry.answer_arrived).count()
    }

    // ---- what the proxy wrote ----

    pub(super) fn proxy_wrote(&mut self, frame: &Seen) -> Result<(), Violated> {
        demand(self.opened || frame.kind < 0x10, Property::P7, || {
            format!("type 0x{:02x} written before registration", frame.kind)
        })?;
        match frame.kind {
            0x01 | 0x02 => {
                self.handshakes_written = self.handshakes_written.saturating_add(1);
                demand(self.handshakes_written == 1, Property::P7, || "two handshakes written".to_string())
            }
            0x11 => self.event_written(frame),
            0x40 => self.cancel_written(frame),
            0x41 => Ok(()),
            0x42 => {
                let ping = self.pings.get(self.pongs).cloned();
                self.pongs = self.pongs.saturating_add(1);
                demand(ping.as_ref() == Some(&frame.payload), Property::P12, || {
                    format!("a pong of {:?} for {ping:?}", frame.payload)
                })
            }
            other => Err(Violated {
                property: Property::P10,
                detail: format!("the proxy wrote type 0x{other:02x}"),
            }),
        }
    }

    fn event_written(&mut self, frame: &Seen) -> Result<(), Violated> {
        let json = frame.json()?;
        let tag = tag_of(&json);
        demand(!self.draining, Property::P9, || format!("event {tag} written while draining"))?;
        let in_flight = self.unresolved() as u64;
        let window = self.limit.min(self.said.capacity.unwrap_or(u64::MAX));
        demand(in_flight < window, Property::P4, || {
            format!("event {tag} written with {in_flight} in flight of {window}")
        })?;
        let id = json.get("correlation_id").and_then(Value::as_str).unwrap_or_default().to_string();
        let paused = self.said.paused || self.said.paused_ids.contains(&id);
        demand(!paused, Property::P5, || format!("event {tag} written while paused"))?;
        let exchange_id = json.get("exchange_id").and_then(Value::as_u64);
        demand(exchange_id.is_some() == self.by_exchange_id, Property::P2, || {
            format!("event {tag} has the exchange id {exchange_id:?}")
        })?;
        for (other, entry) in self.entries.iter().filter(|(_, entry)| entry.id == id) {
            let overtakes = *other < tag && !entry.written && entry.ended.is_none();
            demand(!overtakes, Property::P3, || format!("event {tag} overtook {other}"))?;
            let shut = !self.by_exchange_id && entry.written && !entry.answer_arrived;
            demand(!shut, Property::P2, || {
                format!("event {tag} written while {other} of its id is unanswered")
            })?;
        }
        let Some(entry) = self.entries.get_mut(&tag) else {
            return Err(Violated {
                property: Property::P1,
                detail: format!("event {tag} was never admitted"),
            });
        };
        demand(entry.ended.is_none(), Property::P1, || format!("event {tag} written after its end"))?;
        demand(!entry.written, Property::P1, || format!("event {tag} written twice"))?;
        entry.written = true;
        Ok(())
    }

    fn cancel_written(&mut self, frame: &Seen) -> Result<(), Violated> {
        let json = frame.json()?;
        let id = json.get("correlation_id").and_then(Value::as_str).unwrap_or_default();
        let exchange = json.get("exchange_id").and_then(Value::as_u64);
        let closed = self.closed > 0;
        let entry = self.entries.values_mut().find(|entry| match exchange {
            Some(exchange) => entry.exchange.0 == exchange && entry.cancels == 0,
            None => {
                let given_up = entry.ended != Some(false) || (closed && !entry.answer_arrived);
                entry.id == id && entry.written && entry.cancels == 0 && given_up
            }
        });
        let Some(entry) = entry else {
            return Err(Violated {
                property: Property::P6,
                detail: format!("a Cancel too many for {id:?} {exchange:?}"),
            });
        };
        demand(entry.written, Property::P6, || format!("a Cancel before its event, {id:?}"))?;
        let abandoned =
            entry.ended == Some(true) || (self.draining && entry.ended.is_none()) || self.closed > 0;
        demand(abandoned, Property::P6, || format!("a Cancel for {id:?}, which nobody gave up"))?;
        entry.cancels = entry.cancels.saturating_add(1);
        Ok(())
    }

    // ---- what reached the proxy ----

    pub(super) fn proxy_received(&mut self, frame: &Seen) -> Result<(), Violated> {
        match frame.kind {
            // Forward: the agent's yes opens the connection for all that comes behind it.
            0x02 => {
                self.opened |= frame.json()?.get("success").and_then(Value::as_bool) == Some(true);
                Ok(())
            }
            0x20 => self.answer_arrived(frame),
            0x33 => {
                self.flow_arrived(&frame.json()?);
                Ok(())
            }
            0x30 => {
                let draining = frame.json()?.get("state").and_then(Value::as_u64) == Some(3);
                self.draining |= draining && self.opened;
                Ok(())
            }
            0x41 if self.opened => {
                self.pings.push(frame.payload.clone());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn answer_arrived(&mut self, frame: &Seen) -> Result<(), Violated> {
        let json = frame.json()?;
        let custom = json.get("audit").and_then(|audit| audit.get("custom"));
        let id = custom.and_then(|custom| custom.get("correlation_id")).and_then(Value::as_str);
        let exchange = custom.and_then(|custom| custom.get("exchange_id")).and_then(Value::as_u64);
        let by_exchange_id = self.by_exchange_id;
        let entry = self.entries.values_mut().find(|entry| {
            let named = if by_exchange_id {
                Some(entry.exchange.0) == exchange
            } else {
                Some(entry.id.as_str()) == id
            };
            named && entry.written && !entry.answer_arrived
        });
        if let Some(entry) = entry {
            entry.answer_arrived = true;
        }
        Ok(())
    }

    fn flow_arrived(&mut self, json: &Value) {
        let id = json.get("correlation_id").and_then(Value::as_str);
        match (json.get("action").and_then(Value::as_u64), id) {
            (Some(1), None) => self.said.paused = true,
            (Some(2), None) => self.said.paused = false,
            (Some(3), None) => self.said.capacity = json.get("buffer_available").and_then(Value::as_u64),
            (Some(1), Some(id)) => drop(self.said.paused_ids.insert(id.to_string())),
            (Some(2), Some(id)) => drop(self.said.paused_ids.remove(id)),
            _ => {}
        }
    }

    // ---- what the agent's side did ----

    pub(super) fn agent_given(&mut self, tag: u32) -> Result<(), Violated> {
        let Some(id) = self.entries.get(&tag).map(|entry| entry.id.clone()) else {
            return Err(Violated {
                property: Property::P1,
                detail: format!("the agent was given {tag}, which was never sent"),
            });
        };
        for (other, entry) in self.entries.iter().filter(|(_, entry)| entry.id == id) {
            let out_of_turn = *other < tag && entry.handled && !entry.answered;
            demand(!out_of_turn, Property::P3, || {
                format!("the agent was given {tag} before {other} was answered")
            })?;
            let backwards = *other > tag && entry.handled;
            demand(!backwards, Property::P3, || format!("the agent was given {other} before {tag}"))?;
        }
        if let Some(entry) = self.entries.get_mut(&tag) {
            demand(!entry.handled, Property::P3, || format!("the agent was given {tag} twice"))?;
            demand(entry.written, Property::P1, || {
                format!("the agent was given {tag}, which was not written")
            })?;
            entry.handled = true;
        }
        Ok(())
    }

    /// The agent's application answered.
    pub(super) fn agent_answered(&mut self, tag: u32) {
        if let Some(entry) = self.entries.get_mut(&tag) {
            entry.answered = true;
        }
    }

    pub(super) fn agent_wrote(&mut self, frame: &Seen) -> Result<(), Violated> {
        if frame.kind != 0x20 {
            return Ok(());
        }
        let json = frame.json()?;
        let custom = json.get("audit").and_then(|audit| audit.get("custom"));
        let id = custom.and_then(|custom| custom.get("correlation_id")).and_then(Value::as_str);
        let exchange = custom.and_then(|custom| custom.get("exchange_id")).and_then(Value::as_u64);
        let tag = answer_tag(&json);
        let entry = self.entries.iter_mut().find(|(other, entry)| match (tag, exchange) {
            (Some(tag), _) => **other == tag,
            (None, Some(exchange)) => entry.exchange.0 == exchange,
            (None, None) => Some(entry.id.as_str()) == id && entry.written && entry.answers_written == 0,
        });
        let Some((tag, entry)) = entry else {
            return Err(Violated {
                property: Property::P3,
                detail: format!("an answer too many for {id:?}"),
            });
        };
        entry.answers_written = entry.answers_written.saturating_add(1);
        demand(entry.answers_written == 1, Property::P3, || format!("event {tag} answered twice"))
    }
}

/// The number that an event of the simulation carries.
pub(super) fn tag_of(event: &Value) -> u32 {
    event.get("chunk_index").and_then(Value::as_u64).and_then(|tag| u32::try_from(tag).ok()).unwrap_or(0)
}

/// The number that an answer of the simulation repeats; none if nobody looked at the event.
pub(super) fn answer_tag(answer: &Value) -> Option<u32> {
    let codes = answer.get("audit")?.get("reason_codes")?.as_array()?;
    codes.iter().filter_map(Value::as_str).find_map(|code| code.strip_prefix("tag-")?.parse().ok())
}

//! What the proxy wrote, and what had reached it by then.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use serde_json::Value;

use crate::machine::ExchangeId;
use crate::wire::EventKind;

use super::books::{Entry, Oracle};
use super::frame::{Named, Seen};
use super::{Property, Violated, demand};

impl Oracle {
    pub(in crate::testing) fn proxy_wrote(&mut self, frame: &Seen) -> Result<(), Violated> {
        demand(self.opened || frame.kind < 0x10, Property::P7, || {
            format!("type 0x{:02x} written before registration", frame.kind)
        })?;
        match frame.kind {
            0x01 | 0x02 => {
                self.handshakes_written = self.handshakes_written.saturating_add(1);
                demand(self.handshakes_written == 1, Property::P7, || "two handshakes written".to_string())
            }
            0x10..=0x17 => self.event_written(frame),
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
        let tag = self.event_in(frame)?;
        demand(!self.draining, Property::P9, || format!("event {tag} written while draining"))?;
        let in_flight = self.unresolved() as u64;
        let window = self.ground.limit.min(self.said.capacity.unwrap_or(u64::MAX));
        demand(in_flight < window, Property::P4, || {
            format!("event {tag} written with {in_flight} in flight of {window}")
        })?;
        let id = self.entries.get(&tag).map(|entry| entry.id.clone()).unwrap_or_default();
        let paused = self.said.paused || self.said.paused_ids.contains(&id);
        demand(!paused, Property::P5, || format!("event {tag} written while paused"))?;
        for (other, entry) in self.entries.iter().filter(|(_, entry)| entry.id == id) {
            let overtakes = *other < tag && !entry.written && entry.ended.is_none();
            demand(!overtakes, Property::P3, || format!("event {tag} overtook {other}"))?;
            let shut = !self.ground.by_exchange_id && entry.is_unresolved() && *other != tag;
            demand(!shut, Property::P2, || {
                format!("event {tag} written while {other} of its id is unanswered")
            })?;
        }
        if let Some(entry) = self.entries.get_mut(&tag) {
            demand(entry.ended.is_none(), Property::P1, || format!("event {tag} written after its end"))?;
            demand(!entry.written, Property::P1, || format!("event {tag} written twice"))?;
            entry.written = true;
        }
        self.wire_order.push(tag);
        Ok(())
    }

    /// The submission whose event this frame holds, byte for byte. Of several alike, the first that
    /// may be written.
    fn event_in(&self, frame: &Seen) -> Result<u32, Violated> {
        let echoes = self.ground.by_exchange_id;
        let same =
            |entry: &Entry| entry.kind.frame_type().to_byte() == frame.kind && entry.is_in(frame, echoes);
        let all: Vec<(&u32, &Entry)> = self.entries.iter().filter(|(_, entry)| same(entry)).collect();
        let due = all.iter().find(|(_, entry)| !entry.written && entry.ended.is_none());
        due.or_else(|| all.first()).map(|(tag, _)| **tag).ok_or_else(|| Violated {
            property: Property::P1,
            detail: format!("a frame of type 0x{:02x} holds no event that was admitted", frame.kind),
        })
    }

    fn cancel_written(&mut self, frame: &Seen) -> Result<(), Violated> {
        demand(self.ground.cancellation, Property::P6, || {
            "a Cancel to an agent that takes none".to_string()
        })?;
        let json = frame.json()?;
        let id = json.get("correlation_id").and_then(Value::as_str).unwrap_or_default();
        let exchange = json.get("exchange_id").and_then(Value::as_u64);
        let closed = self.closed > 0;
        let entry = self.entries.values_mut().find(|entry| match exchange {
            Some(exchange) => entry.exchange.0 == exchange && entry.cancels == 0,
            None => {
                let given_up = entry.ended != Some(false) || (closed && entry.answer.is_none());
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

    /// A frame reached the proxy. From an agent that is not honest it may hold anything.
    pub(in crate::testing) fn proxy_received(&mut self, frame: &Seen) -> Result<(), Violated> {
        let judged = self.agent_is_honest;
        let tolerate = |outcome: Result<Value, Violated>| match outcome {
            Err(_) if !judged => Ok(Value::Null),
            outcome => outcome,
        };
        match frame.kind {
            // Forward: the agent's yes opens the connection for all that comes behind it.
            0x02 => {
                self.opened |= tolerate(frame.json())?.get("success").and_then(Value::as_bool) == Some(true);
            }
            0x20 => self.answer_arrived(frame, &tolerate(frame.json())?),
            0x33 => self.flow_arrived(&tolerate(frame.json())?),
            0x30 => {
                let draining = tolerate(frame.json())?.get("state").and_then(Value::as_u64) == Some(3);
                self.draining |= draining && self.opened;
            }
            0x41 => self.pings.push(frame.payload.clone()),
            _ => {}
        }
        Ok(())
    }

    fn answer_arrived(&mut self, frame: &Seen, json: &Value) {
        let named = Named::of(json);
        let echoes = self.ground.by_exchange_id;
        let entry =
            self.entries.values_mut().find(|entry| entry.is_unresolved() && entry.is_named(&named, echoes));
        let Some(entry) = entry else { return };
        entry.answer = Some(frame.payload.clone());
        if entry.kind == EventKind::RequestComplete {
            self.said.paused_ids.remove(&entry.id);
        }
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
}

impl Entry {
    /// Whether the frame holds exactly this event, with its exchange id where ids are echoed.
    fn is_in(&self, frame: &Seen, echoes: bool) -> bool {
        if !echoes {
            return self.payload == frame.payload;
        }
        let Some(body) = self.payload.strip_suffix(b"}") else { return false };
        let Some(rest) = frame.payload.strip_prefix(body) else { return false };
        rest == format!(",\"exchange_id\":{}}}", self.exchange.0).as_bytes()
    }

    /// Whether an answer that names these ids is this event's.
    fn is_named(&self, named: &Named, echoes: bool) -> bool {
        let same_id = named.id.as_ref().map(|id| *id == self.id);
        match echoes {
            true => named.exchange.map(ExchangeId) == Some(self.exchange) && same_id != Some(false),
            false => same_id == Some(true),
        }
    }
}

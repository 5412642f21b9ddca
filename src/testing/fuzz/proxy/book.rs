//! What a proxy's session owes its callers, by the frames that went to and fro.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::Value;

use crate::machine::{Ending, ExchangeId};
use crate::testing::oracle::Seen;
use crate::wire::{Cancel, Encoding, Event, EventKind, FlowAction, FlowControl, answer_ids, event_ids};

use super::super::{Failure, Outcome, ensure};

#[derive(Clone, Debug)]
struct Entry {
    number: ExchangeId,
    id: String,
    /// Whether it is the last event of its request.
    last: bool,
    written: bool,
    resolved: bool,
    ended: bool,
    cancels: u32,
}

/// Everything submitted and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Book {
    encoding: Encoding,
    by_number: bool,
    cancellation: bool,
    window: usize,
    entries: Vec<Entry>,
    /// Answers that must be told, and are not yet.
    owed: VecDeque<(ExchangeId, Vec<u8>)>,
    paused: bool,
    paused_ids: BTreeSet<String>,
    pings: VecDeque<Vec<u8>>,
    pub(super) closed: bool,
    /// A frame came that these books can't read and a session perhaps can; what it did is unknown.
    pub(super) blurred: bool,
}

impl Book {
    pub(super) const fn new(encoding: Encoding, by_number: bool, cancellation: bool, window: usize) -> Self {
        Self {
            encoding,
            by_number,
            cancellation,
            window,
            entries: Vec::new(),
            owed: VecDeque::new(),
            paused: false,
            paused_ids: BTreeSet::new(),
            pings: VecDeque::new(),
            closed: false,
            blurred: false,
        }
    }

    pub(super) fn admitted(&mut self, number: ExchangeId, id: &str, last: bool) -> Outcome {
        ensure(!self.closed, || format!("{number} admitted after the close"))?;
        ensure(self.entries.iter().all(|entry| entry.number < number), || format!("{number} is used again"))?;
        self.entries.push(Entry {
            number,
            id: id.to_string(),
            last,
            written: false,
            resolved: false,
            ended: false,
            cancels: 0,
        });
        Ok(())
    }

    /// Events on the wire without an answer, with what an answer must name.
    pub(super) fn unresolved(&self) -> Vec<(ExchangeId, String)> {
        let open = self.entries.iter().filter(|entry| entry.written && !entry.resolved);
        open.map(|entry| (entry.number, entry.id.clone())).collect()
    }

    /// Exchanges whose caller still waits.
    pub(super) fn open(&self) -> Vec<ExchangeId> {
        self.entries.iter().filter(|entry| !entry.ended).map(|entry| entry.number).collect()
    }

    pub(super) fn waiting(&self) -> usize {
        self.entries.iter().filter(|entry| !entry.ended && !entry.written).count()
    }

    // ---- what comes in ----

    /// A whole frame is about to reach an open session.
    pub(super) fn arrives(&mut self, frame: &Seen) {
        match frame.kind {
            0x20 => self.answer_arrives(&frame.payload),
            0x33 => {
                if let Ok(flow) = self.encoding.decode::<FlowControl>(&frame.payload) {
                    self.flow_arrives(&flow);
                }
            }
            0x41 => self.pings.push_back(frame.payload.clone()),
            _ => {}
        }
    }

    fn answer_arrives(&mut self, payload: &[u8]) {
        let Ok(json) = self.encoding.decode::<Value>(payload) else {
            // What a full parse refuses may still have ids.
            self.blurred |= answer_ids(self.encoding, payload).is_ok();
            return;
        };
        let custom = json.get("audit").and_then(|audit| audit.get("custom"));
        let id = custom.and_then(|custom| custom.get("correlation_id")).and_then(Value::as_str);
        let number = custom.and_then(|custom| custom.get("exchange_id")).and_then(Value::as_u64);
        let by_number = self.by_number;
        let named = |entry: &Entry| match (by_number, number, id) {
            (true, Some(number), id) => entry.number.0 == number && id.is_none_or(|id| id == entry.id),
            (true, None, _) | (false, _, None) => false,
            (false, _, Some(id)) => entry.id == id,
        };
        let found = self.entries.iter_mut().find(|entry| entry.written && !entry.resolved && named(entry));
        let Some(entry) = found else { return };
        entry.resolved = true;
        if !entry.ended {
            self.owed.push_back((entry.number, payload.to_vec()));
        } else if entry.last {
            self.paused_ids.remove(&entry.id.clone());
        }
    }

    fn flow_arrives(&mut self, flow: &FlowControl) {
        let id = flow.correlation_id.as_ref().map(|id| id.as_str().to_string());
        match (id, flow.action) {
            (None, FlowAction::Pause) => self.paused = true,
            (None, FlowAction::Resume) => self.paused = false,
            (Some(id), FlowAction::Pause) => drop(self.paused_ids.insert(id)),
            (Some(id), FlowAction::Resume) => drop(self.paused_ids.remove(&id)),
            (None | Some(_), FlowAction::UpdateCapacity { .. }) => {}
        }
    }

    // ---- what the callers are told ----

    pub(super) fn ended(&mut self, number: ExchangeId, ending: &Ending<Vec<u8>>) -> Outcome {
        ensure(!self.closed, || format!("{number} ended after the close"))?;
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.number == number) else {
            return Err(Failure(format!("{number} ended, and was never admitted")));
        };
        ensure(!entry.ended, || format!("{number} ended twice"))?;
        entry.ended = true;
        let written = match ending {
            Ending::Answered(_) | Ending::TimedOut => true,
            Ending::Expired | Ending::Refused => false,
            Ending::Cancelled { written, .. } | Ending::Lost { written } => *written,
        };
        ensure(entry.written == written, || format!("{number}: {ending:?}, written: {}", entry.written))?;
        if entry.last && (!entry.written || entry.resolved) {
            self.paused_ids.remove(&entry.id.clone());
        }
        if self.blurred {
            return Ok(());
        }
        let owed = self.owed.iter().position(|(owed, _)| *owed == number).and_then(|at| self.owed.remove(at));
        match (ending, owed) {
            (Ending::Answered(payload), Some((_, owed))) => {
                ensure(*payload == owed, || format!("{number} got another answer than its own"))
            }
            (Ending::Answered(_), None) => {
                Err(Failure(format!("{number} got an answer that is not its own")))
            }
            (_, Some(_)) => Err(Failure(format!("{number} was answered, and ended as {ending:?}"))),
            (_, None) => Ok(()),
        }
    }

    /// All events have been fetched: every answer that came has been told.
    pub(super) fn settled(&self) -> Outcome {
        let owed = self.owed.front().map(|(number, _)| *number);
        ensure(self.blurred || owed.is_none(), || format!("{owed:?} was answered and not told"))
    }

    pub(super) fn closes(&mut self) -> Outcome {
        ensure(!self.closed, || "closed twice".to_string())?;
        self.closed = true;
        let open = self.open();
        ensure(open.is_empty(), || format!("{open:?} have no end at the close"))
    }

    // ---- what is written ----

    pub(super) fn written(&mut self, frame: &Seen) -> Outcome {
        match frame.kind {
            0x02 | 0x41 => Ok(()),
            0x10..=0x17 => self.event_written(frame),
            0x40 => self.cancel_written(&frame.payload),
            0x42 => {
                let ping = self.pings.pop_front();
                ensure(ping.as_ref() == Some(&frame.payload), || "a pong that is no ping's".to_string())
            }
            other => Err(Failure(format!("a proxy wrote a frame of type 0x{other:02x}"))),
        }
    }

    fn event_written(&mut self, frame: &Seen) -> Outcome {
        let kind = if frame.kind == 0x14 { EventKind::RequestComplete } else { EventKind::RequestBodyChunk };
        let event = Event::decode(kind, self.encoding, &frame.payload)
            .map_err(|error| Failure(format!("an event that can't be read: {error}")))?;
        let number = number_of(&event).ok_or_else(|| Failure(format!("{event:?} was never submitted")))?;
        let id = event.correlation_id().as_str();
        let on_wire = self.unresolved();
        let paused = self.paused || self.paused_ids.contains(id);
        if !self.blurred {
            ensure(on_wire.len() < self.window, || format!("#{number} written beyond the window"))?;
            ensure(!paused, || format!("#{number} written while paused"))?;
            let behind = on_wire.iter().any(|(_, other)| other == id);
            ensure(self.by_number || !behind, || format!("#{number} written behind an unanswered one"))?;
        }
        let echoed = event_ids(self.encoding, &frame.payload).ok().and_then(|ids| ids.exchange_id);
        let wanted = self.by_number.then_some(number);
        ensure(echoed == wanted, || format!("#{number} has the exchange id {echoed:?}"))?;
        let overtaken = self
            .entries
            .iter()
            .any(|entry| entry.id == id && entry.number.0 < number && !entry.written && !entry.ended);
        ensure(!overtaken, || format!("#{number} overtook another of its request"))?;
        match self.entries.iter_mut().find(|entry| entry.number.0 == number) {
            Some(entry) if entry.id == id && !entry.written && !entry.ended => {
                entry.written = true;
                Ok(())
            }
            other => Err(Failure(format!("#{number} written, and its entry is {other:?}"))),
        }
    }

    fn cancel_written(&mut self, payload: &[u8]) -> Outcome {
        ensure(self.cancellation, || "a Cancel for an agent that knows none".to_string())?;
        let cancel: Cancel = self
            .encoding
            .decode(payload)
            .map_err(|error| Failure(format!("a Cancel that can't be read: {error}")))?;
        let id = cancel.correlation_id.as_str();
        let found = self.entries.iter_mut().find(|entry| {
            let named = cancel.exchange_id.is_none_or(|number| entry.number.0 == number);
            named && entry.id == id && entry.written && entry.ended && entry.cancels == 0
        });
        let Some(entry) = found else {
            return Err(Failure(format!("a Cancel too many for {id:?} {:?}", cancel.exchange_id)));
        };
        entry.cancels = entry.cancels.saturating_add(1);
        Ok(())
    }
}

/// The number of a submission, which its event carries.
const fn number_of(event: &Event) -> Option<u64> {
    match event {
        Event::RequestBodyChunk(chunk) => Some(chunk.chunk_index as u64),
        Event::RequestComplete(complete) => Some(complete.duration_ms),
        Event::RequestHeaders(_)
        | Event::ResponseHeaders(_)
        | Event::ResponseBodyChunk(_)
        | Event::WebSocketFrame(_)
        | Event::GuardrailInspect(_)
        | Event::Configure(_) => None,
    }
}

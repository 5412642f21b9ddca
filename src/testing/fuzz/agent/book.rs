//! What an agent's session owes its proxy, by the frames that went to and fro.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::Value;

use crate::machine::ExchangeId;
use crate::session::Receipt;
use crate::testing::oracle::Seen;
use crate::wire::{Cancel, Encoding, EventKind, FlowAction, FlowControl, FrameType, answer_ids, event_ids};

use super::super::{Failure, Outcome, ensure};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Waiting,
    Given(ExchangeId),
    Answered,
    Written,
}

#[derive(Clone, Debug)]
struct Entry {
    id: String,
    echo: Option<u64>,
    stage: Stage,
    cancelled: bool,
}

/// Every event that came and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Book {
    pub(super) encoding: Encoding,
    running: usize,
    entries: Vec<Entry>,
    pausing: bool,
    pub(super) opened: bool,
    pub(super) closed: bool,
}

impl Book {
    pub(super) const fn new(running: usize) -> Self {
        Self {
            encoding: Encoding::Json,
            running,
            entries: Vec::new(),
            pausing: false,
            opened: false,
            closed: false,
        }
    }

    /// Events without an answer of the application's, or of the session's where nobody saw them.
    pub(super) fn unanswered(&self) -> usize {
        self.entries.iter().filter(|entry| matches!(entry.stage, Stage::Waiting | Stage::Given(_))).count()
    }

    // ---- what comes in ----

    /// A whole frame has reached an open session, and it is still open.
    pub(super) fn arrived(&mut self, frame: &Seen) -> Outcome {
        let kind = FrameType::from_byte(frame.kind);
        if kind.and_then(EventKind::from_frame_type).is_some() {
            return self.event_arrived(&frame.payload);
        }
        if kind != Some(FrameType::Cancel) {
            return Ok(());
        }
        // Deployed proxies write a Cancel as JSON on every connection.
        let json = frame.payload.first() == Some(&b'{');
        let encoding = if json { Encoding::Json } else { self.encoding };
        if let Ok(cancel) = encoding.decode::<Cancel>(&frame.payload) {
            for entry in self.entries.iter_mut().filter(|entry| entry.id == cancel.correlation_id.as_str()) {
                entry.cancelled |= cancel.exchange_id.is_none() || cancel.exchange_id == entry.echo;
            }
        }
        Ok(())
    }

    fn event_arrived(&mut self, payload: &[u8]) -> Outcome {
        let (id, echo) = match self.encoding.decode::<Value>(payload) {
            Ok(json) => {
                let text = |value: Option<&Value>| value.and_then(Value::as_str).map(ToString::to_string);
                let top = text(json.get("correlation_id")).filter(|id| !id.is_empty());
                let beneath = text(json.get("metadata").and_then(|metadata| metadata.get("correlation_id")));
                let echo = json.get("exchange_id").and_then(Value::as_u64);
                (top.or(beneath).unwrap_or_default(), echo)
            }
            // What a full parse refuses may still have ids.
            Err(_) => match event_ids(self.encoding, payload) {
                Ok(ids) => (ids.correlation_id.as_str().to_string(), ids.exchange_id),
                Err(error) => return Err(Failure(format!("open after an event without ids: {error}"))),
            },
        };
        self.entries.push(Entry { id, echo, stage: Stage::Waiting, cancelled: false });
        Ok(())
    }

    // ---- what the application is given, and what it answers ----

    pub(super) fn given(&mut self, receipt: &Receipt) -> Outcome {
        ensure(!self.closed, || "an event after the close".to_string())?;
        let id = receipt.id.as_str();
        let given = self.entries.iter().filter(|entry| matches!(entry.stage, Stage::Given(_))).count();
        ensure(given < self.running, || format!("{given} events given out, and another"))?;
        // Those that were cancelled before their turn are passed over, and shown to nobody.
        let turn = self.entries.iter_mut().find(|entry| {
            let passed = entry.stage == Stage::Waiting && entry.cancelled;
            let done = matches!(entry.stage, Stage::Answered | Stage::Written);
            entry.id == id && !passed && !done
        });
        match turn {
            Some(entry) if entry.stage == Stage::Waiting => {
                entry.stage = Stage::Given(receipt.exchange);
                Ok(())
            }
            other => Err(Failure(format!("an event of {id:?} given out of turn: {other:?}"))),
        }
    }

    pub(super) fn answered(&mut self, exchange: ExchangeId) -> Outcome {
        match self.entries.iter_mut().find(|entry| entry.stage == Stage::Given(exchange)) {
            Some(entry) => {
                entry.stage = Stage::Answered;
                Ok(())
            }
            None => Err(Failure(format!("{exchange} was answered, and was not given out"))),
        }
    }

    pub(super) fn told(&self, exchange: ExchangeId) -> Outcome {
        let entry = self.entries.iter().find(|entry| entry.stage == Stage::Given(exchange));
        let known = self.closed || entry.is_none_or(|entry| entry.cancelled);
        ensure(known, || format!("{exchange} told cancelled, and nobody did"))
    }

    pub(super) fn closes(&mut self) -> Outcome {
        ensure(!self.closed, || "closed twice".to_string())?;
        self.closed = true;
        Ok(())
    }

    /// Whether every event that came has had its answer written.
    pub(super) fn all_written(&self) -> bool {
        self.entries.iter().all(|entry| entry.stage == Stage::Written)
    }

    // ---- what is written ----

    pub(super) fn written(&mut self, frame: &Seen) -> Outcome {
        match FrameType::from_byte(frame.kind) {
            Some(FrameType::AgentResponse) => self.answer_written(&frame.payload),
            Some(FrameType::FlowControl) => {
                let flow: FlowControl = self
                    .encoding
                    .decode(&frame.payload)
                    .map_err(|error| Failure(format!("flow: {error}")))?;
                let pause = flow.action == FlowAction::Pause;
                ensure(pause != self.pausing, || format!("{:?} said twice", flow.action))?;
                self.pausing = pause;
                Ok(())
            }
            Some(
                FrameType::HandshakeRequest
                | FrameType::HandshakeResponse
                | FrameType::HealthStatus
                | FrameType::Ping
                | FrameType::Pong,
            ) => Ok(()),
            other => Err(Failure(format!("an agent wrote {other:?}"))),
        }
    }

    fn answer_written(&mut self, payload: &[u8]) -> Outcome {
        let ids = answer_ids(self.encoding, payload)
            .map_err(|error| Failure(format!("an answer that can't be read: {error}")))?;
        let id = ids.correlation_id.ok_or_else(|| Failure("an answer without an id".into()))?;
        // Answers of one request come in the order of its events.
        let turn = self.entries.iter_mut().find(|entry| entry.id == id && entry.stage != Stage::Written);
        let Some(entry) = turn else { return Err(Failure(format!("an answer too many for {id:?}"))) };
        ensure(entry.echo == ids.exchange_id, || {
            format!("{:?} answered as {:?}", entry.echo, ids.exchange_id)
        })?;
        let unseen = entry.stage == Stage::Waiting && entry.cancelled;
        ensure(unseen || entry.stage == Stage::Answered, || format!("answered out of thin air: {entry:?}"))?;
        entry.stage = Stage::Written;
        Ok(())
    }
}

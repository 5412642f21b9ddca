//! A proxy's session between callers and an agent that may send anything.

mod book;

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use crate::machine::{
    ConnectionState, ControlLimits, ExchangeId, OwedLimits, Patience, ProxyLimits, QueueLimits, Timestamp,
};
use crate::session::{EncodedEvent, Grant, ProxySession, ProxySessionEvent, ProxySettings};
use crate::testing::oracle::Tap;
use crate::wire::{
    Answer, CancelReason, CorrelationId, Encoding, Event, FlowAction, FlowControl, FrameType,
    RequestBodyChunk, RequestComplete,
};

use super::feed::{Feed, frame};
use super::input::Input;
use super::payload::payload;
use super::{Failure, Outcome, ensure, ensure_bounded, ensure_caught_up};
use book::Book;

/// As many operations as a run has at most.
const MOST_OPS: usize = 100;

/// The requests that callers know.
pub(super) const REQUESTS: [&str; 4] = ["r-0", "r-1", "r-2", "a longer name, with \"quotes\""];

struct Harness {
    session: ProxySession,
    limits: ProxyLimits,
    write_mark: usize,
    max_frame: usize,
    now: Timestamp,
    feed: Feed,
    book: Book,
    /// What the socket has not taken yet.
    out: Vec<u8>,
    tap: Tap,
    received: usize,
    /// Whether the driver is too busy to write.
    holding: bool,
    last_answer: Vec<u8>,
}

/// A session, callers that use it, and an agent that keeps to no rule; in the end it answers.
///
/// # Errors
/// When a caller is told wrong, memory is not in its bounds, or something is left at the end.
pub fn proxy(data: &[u8]) -> Outcome {
    let mut input = Input::new(data);
    let mut harness = Harness::open(&mut input)?;
    for _ in 0..MOST_OPS {
        if input.is_empty() {
            break;
        }
        harness.apply(&mut input)?;
        harness.look()?;
    }
    harness.finish()
}

impl Harness {
    fn open(input: &mut Input<'_>) -> Result<Self, Failure> {
        let flags = input.byte();
        let (window, stated) = (input.below(4).saturating_add(1), input.below(4));
        let limits = ProxyLimits {
            window: u32::try_from(window).unwrap_or(1),
            queue: QueueLimits { count: input.below(9), bytes: input.one_of(&[0, 100, 1_000, 100_000]) },
            owed: OwedLimits { count: input.below(5), ..OwedLimits::default() },
            control: ControlLimits {
                pongs: 3,
                ping_payload: 8,
                paused_requests: 2,
                ..ControlLimits::default()
            },
            ..ProxyLimits::default()
        };
        let packed = flags & 1 == 1 && Encoding::MessagePack.is_supported();
        let (echo, cancellation) = (flags & 2 == 2, flags & 4 == 4);
        let settings = ProxySettings {
            limits,
            max_frame: input.one_of(&[65_536, 400, 1_000, 1_000_000]),
            write_mark: input.one_of(&[4_096, 1, 64, 400]),
            encodings: if packed { Vec::from([Encoding::MessagePack]) } else { Vec::from([Encoding::Json]) },
            exchange_ids: flags & 8 == 0,
            ..ProxySettings::default()
        };
        let by_number = settings.exchange_ids && echo;
        let encoding = if packed { Encoding::MessagePack } else { Encoding::Json };
        let stated_window = if stated == 0 { window } else { window.min(stated) };
        let now = Timestamp::from_micros(1_000_000);
        let mut harness = Self {
            write_mark: settings.write_mark,
            max_frame: settings.max_frame as usize,
            session: ProxySession::accept(settings, now),
            limits,
            now,
            feed: Feed::default(),
            book: Book::new(encoding, by_number, cancellation, stated_window),
            out: Vec::new(),
            tap: Tap::default(),
            received: 0,
            holding: false,
            last_answer: Vec::new(),
        };
        let encodings = if packed { r#","supported_encodings":["msgpack"]"# } else { "" };
        let registration = format!(
            r#"{{"protocol_version":2,"agent_id":"a","capabilities":{{"supported_events":[2,5],"features":{{"exchange_ids":{echo},"cancellation":{cancellation}}},"limits":{{"max_concurrency":{stated}}}}}{encodings}}}"#
        );
        let bytes = frame(0x01, registration.as_bytes());
        harness.received = bytes.len();
        harness.session.handle_bytes(&bytes, now);
        match harness.session.poll_event() {
            Some(ProxySessionEvent::Registration(pending)) => {
                let grant = Grant { connection_id: "c".into() };
                let accepted = harness.session.accept_registration(*pending, grant, now);
                ensure(accepted.is_ok(), || "the registration was not accepted".to_string())?;
            }
            other => return Err(Failure(format!("{other:?} instead of the registration"))),
        }
        harness.look()?;
        Ok(harness)
    }

    fn apply(&mut self, input: &mut Input<'_>) -> Outcome {
        match input.byte() % 26 {
            0..=5 => self.submit(input)?,
            6..=10 => self.answer(input)?,
            11 => {
                let kind = input
                    .one_of(&[0x20, 0x30, 0x31, 0x32, 0x33, 0x41, 0x42, 0x99, 0x01, 0x02, 0x10, 0x40, 0x00]);
                let mut own = Input::new(input.piece());
                let bytes = frame(kind, &payload(&mut own, self.session.encoding()));
                self.receive(&bytes, input.byte())?;
            }
            12 => self.signal(input)?,
            13 => {
                let ping = frame(
                    0x41,
                    input.bytes(usize::from(input.rest().first() == Some(&0xff)).saturating_mul(9)),
                );
                self.receive(&ping, 0)?;
            }
            14 => {
                let state = input.one_of(&["1", "3", r#"{"status":"draining"}"#, "4"]);
                let health = format!(r#"{{"state":{state}}}"#);
                self.receive(&frame(0x30, health.as_bytes()), 0)?;
            }
            15 => {
                let bytes = input.piece();
                self.receive(bytes, input.byte())?;
            }
            16 => self.cancel(input)?,
            17 => {
                let id = CorrelationId::from(input.one_of(&REQUESTS));
                self.session.cancel_request(&id, CancelReason::ClientDisconnect, self.now);
            }
            18 | 19 => self.advance(input.micros())?,
            20 | 21 => {
                let taken = input.below(256).saturating_mul(8).min(self.out.len());
                self.out.drain(..taken);
            }
            22 => self.holding = !self.holding,
            23 => self.session.drain(self.now.after(Duration::from_micros(input.micros())), self.now),
            24 => {
                self.session.cancel_all(CancelReason::UpstreamError, self.now);
            }
            _ => match input.byte() {
                0..=0x0f => self.session.close(),
                0x10..=0x1f => self.session.handle_eof(),
                0x20..=0x2f => self.session.handle_transport_lost(),
                _ => {}
            },
        }
        Ok(())
    }

    // ---- callers ----

    fn submit(&mut self, input: &mut Input<'_>) -> Outcome {
        let flags = input.byte();
        let id = input.one_of(&REQUESTS);
        let last = flags & 0x70 == 0x70;
        let next = self.session.stats().admitted.saturating_add(1);
        let event = if last {
            Event::from(RequestComplete { duration_ms: next, ..RequestComplete::new(id, 200) })
        } else {
            let data = alloc::vec![b'x'; input.one_of(&[1_usize, 0, 20, 300, 900])];
            let chunk_index = u32::try_from(next).unwrap_or(0);
            Event::from(RequestBodyChunk { chunk_index, ..RequestBodyChunk::new(id, data) })
        };
        let encoding = self.session.encoding();
        let Ok(event) = EncodedEvent::new(&event, encoding) else { return Ok(()) };
        let deadline = match input.micros() {
            0 => Timestamp::NEVER,
            micros => self.now.after(Duration::from_micros(micros)),
        };
        let patience = if flags & 7 == 7 { Patience::Now } else { Patience::Wait };
        let before = self.session.clone();
        match self.session.submit(event, deadline, patience, self.now) {
            Ok(number) => {
                ensure(number.0 == next, || format!("{number} given to submission {next}"))?;
                self.book.admitted(number, id, last)
            }
            Err(error) => ensure(self.session == before, || format!("a refusal left a trace: {error}")),
        }
    }

    fn cancel(&mut self, input: &mut Input<'_>) -> Outcome {
        let open = self.book.open();
        let number = open.get(input.below(open.len())).copied().unwrap_or(ExchangeId(u64::MAX));
        let before = self.session.clone();
        let cancelled = self.session.cancel(number, CancelReason::Timeout, self.now);
        ensure(cancelled.is_ok() == open.contains(&number), || format!("cancel of {number}: {cancelled:?}"))?;
        ensure(cancelled.is_ok() || self.session == before, || "a refused cancel left a trace".to_string())
    }

    // ---- the agent ----

    /// An answer: to an event that is there, to another, with half the ids, twice.
    fn answer(&mut self, input: &mut Input<'_>) -> Outcome {
        let unresolved = self.book.unresolved();
        let index = input.below(unresolved.len());
        let style = input.byte();
        let Some((number, id)) = unresolved.get(index).cloned() else {
            return self.receive(&self.last_answer.clone(), style);
        };
        let mut answer = Answer::allow();
        let number = match style & 0x0f {
            0x0e => Some(number.0.saturating_add(1)),
            0x0f => None,
            _ => Some(number.0),
        };
        let id = if style & 0xf0 == 0xf0 { "r-1" } else { id.as_str() };
        answer.audit.set_ids(&CorrelationId::from(id), number);
        let mut bytes = Vec::new();
        if self.session.encoding().encode(&answer, &mut bytes).is_ok() {
            self.last_answer = frame(0x20, &bytes);
            self.receive(&self.last_answer.clone(), 0)?;
        }
        Ok(())
    }

    fn signal(&mut self, input: &mut Input<'_>) -> Outcome {
        let id = input.one_of(&["", "r-0", "r-1", "r-2", "", "another"]);
        let action = match input.below(8) {
            0 | 1 => FlowAction::Pause,
            2 => FlowAction::UpdateCapacity { buffer_available: u64::from(input.byte() & 7) },
            _ => FlowAction::Resume,
        };
        self.send_signal(id, action)
    }

    fn send_signal(&mut self, id: &str, action: FlowAction) -> Outcome {
        let id = (!id.is_empty()).then(|| CorrelationId::from(id));
        let flow = FlowControl { correlation_id: id, action, timestamp_ms: 0 };
        let mut bytes = Vec::new();
        match self.session.encoding().encode(&flow, &mut bytes) {
            Ok(()) => self.receive(&frame(FrameType::FlowControl.to_byte(), &bytes), 0),
            Err(_) => Ok(()),
        }
    }

    /// The session gets bytes: frame by frame, and a copy of it gets them in another cut.
    fn receive(&mut self, bytes: &[u8], cut: u8) -> Outcome {
        let mut copy = (cut & 7 == 7).then(|| self.session.clone());
        self.received = self.received.saturating_add(bytes.len());
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, seen) = self.feed.next(&mut rest);
            if let Some(seen) = &seen
                && self.session.state() != ConnectionState::Closed
            {
                self.book.arrives(seen);
            }
            self.session.handle_bytes(piece, self.now);
        }
        if let Some(copy) = &mut copy {
            for piece in bytes.chunks(usize::from(cut >> 3).saturating_add(1)) {
                copy.handle_bytes(piece, self.now);
            }
            ensure(*copy == self.session, || "another cut of the bytes made another session".to_string())?;
        }
        ensure_bounded(self.session.buffered_capacity(), self.received)
    }

    // ---- time, and what the driver does ----

    fn advance(&mut self, micros: u64) -> Outcome {
        let until = self.now.after(Duration::from_micros(micros));
        for _ in 0..2_000 {
            let Some(due) = self.session.poll_timeout().filter(|due| *due <= until) else { break };
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now);
            self.look()?;
        }
        ensure_caught_up(self.session.poll_timeout(), until)?;
        self.now = until;
        Ok(())
    }

    /// Fetches what happened, writes what may be written, and compares.
    fn look(&mut self) -> Outcome {
        self.fetch()?;
        if !self.holding {
            self.transmit()?;
            self.fetch()?;
        }
        let wrong = self.session.machine().inconsistency();
        ensure(wrong.is_none(), || format!("tables disagree: {wrong:?}"))?;
        if self.book.closed || self.book.blurred {
            return Ok(());
        }
        let (said, seen) = (self.session.in_flight(), self.book.unresolved().len());
        ensure(said == seen, || format!("{said} in flight by its own account, {seen} in truth"))?;
        let (waiting, seen) = (self.session.waiting(), self.book.waiting());
        ensure(waiting == seen, || format!("{waiting} wait by its own account, {seen} in truth"))?;
        // What goes out at once does not wait, so there is always room for one.
        let most = self.limits.queue.count.max(1).saturating_add(self.limits.window as usize);
        ensure(waiting <= most, || format!("{waiting} wait, at most {most} may"))
    }

    fn fetch(&mut self) -> Outcome {
        while let Some(event) = self.session.poll_event() {
            match event {
                ProxySessionEvent::Registration(_) => return Err(Failure("a second registration".into())),
                ProxySessionEvent::Ended { exchange, ending } => self.book.ended(exchange, &ending)?,
                ProxySessionEvent::Closed(reason) => {
                    self.book.closes()?;
                    let after = self.session.poll_event();
                    ensure(after.is_none(), || format!("{after:?} after {reason:?}"))?;
                }
                ProxySessionEvent::Opened
                | ProxySessionEvent::Health(_)
                | ProxySessionEvent::Metrics(_)
                | ProxySessionEvent::ConfigUpdate(_)
                | ProxySessionEvent::Draining => {
                    ensure(!self.book.closed, || format!("{event:?} after the close"))?;
                }
            }
        }
        self.book.settled()
    }

    fn transmit(&mut self) -> Outcome {
        let before = self.out.len();
        let moved = self.session.poll_transmit(&mut self.out);
        let after = self.out.len();
        ensure(moved == (after > before), || format!("moved: {moved}, {before} to {after} bytes"))?;
        let most = self.write_mark.saturating_add(self.max_frame).saturating_add(4).max(before);
        ensure(after <= most, || format!("{after} bytes wait for the socket, at most {most} may"))?;
        for seen in self.tap.push(self.out.get(before..).unwrap_or_default()) {
            self.book.written(&seen)?;
        }
        Ok(())
    }

    /// The agent comes to its senses: it resumes, answers everything, and nothing is left.
    fn finish(&mut self) -> Outcome {
        self.holding = false;
        if self.feed.is_at_edge() {
            for id in ["", "r-0", "r-1", "r-2", "another", REQUESTS.last().copied().unwrap_or_default()] {
                self.send_signal(id, FlowAction::Resume)?;
            }
            self.send_signal("", FlowAction::UpdateCapacity { buffer_available: 1_000 })?;
            for _ in 0..MOST_OPS.saturating_mul(2) {
                self.out.clear();
                self.look()?;
                if self.book.open().is_empty() && self.book.unresolved().is_empty() {
                    break;
                }
                self.answer(&mut Input::new(&[]))?;
                self.look()?;
            }
            let open = self.book.open();
            let done = self.book.blurred || (open.is_empty() && self.session.in_flight() == 0);
            ensure(done, || format!("{open:?} never ended: {}", self.session.dump()))?;
        } else {
            // Nothing can be said behind half a frame, and half a frame has its deadline.
            self.advance(100_000_000)?;
            ensure(self.book.closed, || "open with half a frame".to_string())?;
        }
        self.session.close();
        self.out.clear();
        self.look()?;
        ensure(self.book.closed, || "no closed event".to_string())?;
        self.advance(100_000_000)
    }
}

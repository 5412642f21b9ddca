//! An agent's session between its application and a proxy that may send anything.

mod book;

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use crate::machine::{AgentLimits, ConnectionState, ControlLimits, InboxLimits, Timestamp};
use crate::session::{AgentSession, AgentSessionEvent, AgentSettings, Receipt};
use crate::testing::oracle::Tap;
use crate::wire::{
    Answer, Cancel, CancelReason, Capabilities, CorrelationId, Encoding, Event, EventKind, ForwardRequest,
    HealthState, HealthStatus, Registration, RegistrationResponse, RequestBodyChunk, append_exchange_id,
};

use super::feed::{Feed, frame};
use super::input::Input;
use super::payload::payload;
use super::proxy::REQUESTS;
use super::{Failure, Outcome, ensure, ensure_bounded, ensure_caught_up};
use book::Book;

/// As many operations as a run has at most.
const MOST_OPS: usize = 100;

/// What an answer's frame may have, so that any id fits it.
const MAX_FRAME: u32 = 65_536;

struct Harness {
    session: AgentSession,
    now: Timestamp,
    feed: Feed,
    book: Book,
    receipts: Vec<Receipt>,
    last_answered: Option<Receipt>,
    out: Vec<u8>,
    tap: Tap,
    received: usize,
    /// Whether the driver is too busy to write.
    holding: bool,
}

/// A session, an application that answers, and a proxy that keeps to no rule; in the end all is
/// answered.
///
/// # Errors
/// When an event is not answered once and in its turn, or memory is not in its bounds.
pub fn agent(data: &[u8]) -> Outcome {
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
        let running = input.below(4);
        let saturated = input.below(12).saturating_add(1);
        let limits = AgentLimits {
            inbox: InboxLimits {
                running,
                high_mark: input.below(8),
                low_mark: input.below(4),
                saturated,
                saturated_bytes: input.one_of(&[10_000, 100, 1]),
            },
            control: ControlLimits { pongs: 3, ping_payload: 8, ..ControlLimits::default() },
            ..AgentLimits::default()
        };
        let packed = flags & 1 == 1 && Encoding::MessagePack.is_supported();
        let mut capabilities = Capabilities::new("a", EventKind::ALL);
        capabilities.features.exchange_ids = flags & 2 == 2;
        let settings = AgentSettings {
            limits,
            max_frame: MAX_FRAME,
            write_mark: input.one_of(&[4_096, 1, 64, 400]),
            encodings: if packed { Vec::from([Encoding::MessagePack]) } else { Vec::new() },
            ..AgentSettings::new(Registration::new(capabilities))
        };
        let now = Timestamp::from_micros(1_000_000);
        let forward = flags & 4 == 4;
        let session = if forward {
            AgentSession::accept(settings, now)
        } else {
            AgentSession::dial(settings, now).map_err(|error| Failure(error.to_string()))?
        };
        let mut harness = Self {
            session,
            now,
            feed: Feed::default(),
            book: Book::new(running.max(1)),
            receipts: Vec::new(),
            last_answered: None,
            out: Vec::new(),
            tap: Tap::default(),
            received: 0,
            holding: false,
        };
        harness.shake_hands(forward, packed)?;
        Ok(harness)
    }

    fn shake_hands(&mut self, forward: bool, packed: bool) -> Outcome {
        let encoding = if packed { Encoding::MessagePack } else { Encoding::Json };
        let (kind, message) = if forward {
            let request =
                ForwardRequest { supported_encodings: [encoding].into(), ..ForwardRequest::new("p", "1") };
            (0x01, serde_json::to_vec(&request))
        } else {
            let encoding = packed.then_some(encoding);
            let response =
                RegistrationResponse { success: true, encoding, ..RegistrationResponse::default() };
            (0x02, serde_json::to_vec(&response))
        };
        let bytes = frame(kind, &message.map_err(|error| Failure(error.to_string()))?);
        self.received = bytes.len();
        self.session.handle_bytes(&bytes, self.now);
        self.look()?;
        self.book.encoding = if forward { encoding.with_text_bodies() } else { encoding };
        ensure(self.book.opened, || "the handshake did not open the connection".to_string())
    }

    fn apply(&mut self, input: &mut Input<'_>) -> Outcome {
        match input.byte() % 24 {
            0..=6 => self.send_event(input)?,
            7..=11 => self.answer(input.byte())?,
            12 => self.send_cancel(input)?,
            13 => {
                let kinds = [
                    0x11, 0x10, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x40, 0x41, 0x42, 0x99, 0x01, 0x02, 0x20,
                ];
                let kind = input.one_of(&kinds);
                let mut own = Input::new(input.piece());
                let bytes = frame(kind, &payload(&mut own, self.book.encoding));
                self.receive(&bytes, input.byte())?;
            }
            14 => {
                let bytes = input.piece();
                self.receive(bytes, input.byte())?;
            }
            15 => self.receive(&frame(0x41, b"ping"), 0)?,
            16 => self.answer_again()?,
            17 => self.advance(input.micros())?,
            18 | 19 => {
                let taken = input.below(256).saturating_mul(8).min(self.out.len());
                self.out.drain(..taken);
            }
            20 => self.holding = !self.holding,
            21 => self.session.drain(self.now.after(Duration::from_micros(input.micros())), self.now),
            22 => {
                let before = self.session.clone();
                let health = HealthStatus::new("a", HealthState::Healthy, 1);
                let told = self.session.report_health(&health);
                ensure(told.is_ok() || before == self.session, || {
                    "a refused report left a trace".to_string()
                })?;
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

    // ---- the proxy ----

    fn send_event(&mut self, input: &mut Input<'_>) -> Outcome {
        let (id, echo) = (input.one_of(&REQUESTS), input.byte());
        let event = Event::from(RequestBodyChunk::new(id, "x"));
        let mut bytes = Vec::new();
        if event.encode(self.book.encoding, &mut bytes).is_err() {
            return Ok(());
        }
        // Echoed ids need not be told apart by a hostile proxy.
        if echo & 1 == 1
            && append_exchange_id(self.book.encoding, 0, &mut bytes, u64::from(echo >> 4)).is_err()
        {
            return Err(Failure("an exchange id could not be added".into()));
        }
        self.receive(&frame(0x11, &bytes), echo >> 1)
    }

    fn send_cancel(&mut self, input: &mut Input<'_>) -> Outcome {
        let (id, echo) = (input.one_of(&REQUESTS), input.byte());
        let exchange_id = (echo & 1 == 1).then_some(u64::from(echo >> 4));
        let cancel = Cancel { exchange_id, ..Cancel::new(id, CancelReason::Timeout, 0) };
        let encoding = if echo & 2 == 2 { Encoding::Json } else { self.book.encoding };
        let mut bytes = Vec::new();
        match encoding.encode(&cancel, &mut bytes) {
            Ok(()) => self.receive(&frame(0x40, &bytes), 0),
            Err(_) => Ok(()),
        }
    }

    /// The session gets bytes, as long as it wants any: frame by frame, and a copy of it gets the same
    /// in another cut.
    fn receive(&mut self, bytes: &[u8], cut: u8) -> Outcome {
        let mut copy = (cut & 7 == 7).then(|| self.session.clone());
        let mut rest = bytes;
        while !rest.is_empty() && self.session.wants_bytes() {
            let (piece, seen) = self.feed.next(&mut rest);
            self.received = self.received.saturating_add(piece.len());
            self.session.handle_bytes(piece, self.now);
            if let Some(seen) = &seen
                && self.session.state() != ConnectionState::Closed
            {
                self.book.arrived(seen)?;
            }
        }
        if let Some(copy) = &mut copy {
            let taken = bytes.len().saturating_sub(rest.len());
            let bytes = bytes.get(..taken).unwrap_or_default();
            for piece in bytes.chunks(usize::from(cut >> 3).saturating_add(1)) {
                copy.handle_bytes(piece, self.now);
            }
            ensure(*copy == self.session, || "another cut of the bytes made another session".to_string())?;
        }
        ensure_bounded(self.session.buffered_capacity(), self.received)
    }

    // ---- the application ----

    fn answer(&mut self, which: u8) -> Outcome {
        let Some(index) = usize::from(which).checked_rem(self.receipts.len()) else { return Ok(()) };
        let receipt = self.receipts.remove(index);
        // A handler may look at any event, whatever came in it.
        let answer = if receipt.event().is_ok() { Answer::allow() } else { Answer::block(400) };
        let encoded = receipt.encode(answer).map_err(|error| Failure(format!("an answer: {error}")))?;
        let before = self.session.clone();
        match self.session.answer(encoded, self.now) {
            Ok(()) => self.book.answered(receipt.exchange)?,
            Err(error) => {
                let closed = self.session.state() == ConnectionState::Closed;
                ensure(closed && before == self.session, || format!("not to be answered: {error:?}"))?;
            }
        }
        self.last_answered = Some(receipt);
        Ok(())
    }

    fn answer_again(&mut self) -> Outcome {
        let Some(receipt) = &self.last_answered else { return Ok(()) };
        let encoded = receipt.encode(Answer::block(403)).map_err(|error| Failure(error.to_string()))?;
        let before = self.session.clone();
        let again = self.session.answer(encoded, self.now);
        ensure(again.is_err(), || "an event could be answered twice".to_string())?;
        ensure(before == self.session, || "a refused answer left a trace".to_string())
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

    fn look(&mut self) -> Outcome {
        self.fetch()?;
        if !self.holding {
            let before = self.out.len();
            let moved = self.session.poll_transmit(&mut self.out);
            ensure(moved == (self.out.len() > before), || format!("moved: {moved}"))?;
            for seen in self.tap.push(self.out.get(before..).unwrap_or_default()) {
                self.book.written(&seen)?;
            }
            self.fetch()?;
        }
        let wrong = self.session.machine().inconsistency();
        ensure(wrong.is_none(), || format!("tables disagree: {wrong:?}"))?;
        ensure(self.session.machine().running() >= self.receipts.len(), || {
            "more given than running".to_string()
        })?;
        let (said, seen) = (self.session.unanswered(), self.unanswered());
        ensure(self.book.closed || said == seen, || {
            format!("{said} unanswered by its own account, {seen} in truth")
        })
    }

    /// Events without an answer. What the session answers by itself counts until it is written, and
    /// then only the session knows.
    fn unanswered(&self) -> usize {
        if self.holding || !self.out.is_empty() { self.session.unanswered() } else { self.book.unanswered() }
    }

    fn fetch(&mut self) -> Outcome {
        while let Some(event) = self.session.poll_event() {
            ensure(!self.book.closed, || format!("{event:?} after the close"))?;
            match event {
                AgentSessionEvent::Handshake(pending) => {
                    let accepted = self.session.accept_handshake(*pending, self.now);
                    ensure(accepted.is_ok(), || "the handshake was not accepted".to_string())?;
                }
                AgentSessionEvent::Opened { .. } => {
                    ensure(!self.book.opened, || "opened twice".to_string())?;
                    self.book.opened = true;
                }
                AgentSessionEvent::Event(receipt) => {
                    self.book.given(&receipt)?;
                    self.receipts.push(*receipt);
                }
                AgentSessionEvent::Cancelled { exchange, .. } => self.book.told(exchange)?,
                AgentSessionEvent::Closed(_) => {
                    self.book.closes()?;
                    self.receipts.clear();
                }
            }
        }
        Ok(())
    }

    /// The socket takes everything and the application answers everything: nothing is left.
    fn finish(&mut self) -> Outcome {
        self.holding = false;
        for _ in 0..MOST_OPS.saturating_mul(40) {
            self.out.clear();
            self.look()?;
            if self.receipts.is_empty() && self.out.is_empty() {
                break;
            }
            self.answer(0)?;
        }
        let left = self.session.unanswered();
        ensure(left == 0, || format!("{left} events have no answer"))?;
        ensure(self.book.closed || self.book.all_written(), || "an event has no answer".to_string())?;
        ensure(self.book.closed || self.session.wants_bytes(), || "at rest, and reads nothing".to_string())?;
        self.session.close();
        self.look()?;
        ensure(self.book.closed, || "no closed event".to_string())?;
        let id = CorrelationId::from("r-0");
        let after = frame(0x11, &serde_json::to_vec(&RequestBodyChunk::new(id, "x")).unwrap_or_default());
        self.receive(&after, 0)?;
        self.out.clear();
        self.look()?;
        ensure(self.out.is_empty(), || "a closed session wrote".to_string())
    }
}

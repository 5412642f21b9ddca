//! One session under bad input, its driver, and the books on what it did.

use std::collections::BTreeMap;
use std::time::Duration;

use dialback::machine::admission::{AdmissionPolicy, RegistrationRefusal};
use dialback::machine::*;
use dialback::session::*;
use dialback::wire::*;
use serde_json::Value;

use super::row::*;

/// More turns than this in one step is a hang.
const MAX_TURNS: usize = 20_000;

/// A frame as it went over the wire: type byte and payload.
pub type Written = (u8, Vec<u8>);

#[derive(Clone, Debug)]
pub enum End {
    Proxy(Box<ProxySession>),
    Agent(Box<AgentSession>),
}

/// A session, driven as an adapter would.
#[derive(Clone, Debug)]
pub struct Subject {
    pub end: End,
    pub now: Timestamp,
    pub policy: AdmissionPolicy,
    /// The peer reads nothing, so nothing is written.
    pub deaf: bool,
    /// Every byte written.
    pub out: Vec<u8>,
    pub received: usize,
    /// Every exchange submitted, and its ends.
    pub exchanges: BTreeMap<ExchangeId, Vec<Ending<Vec<u8>>>>,
    /// Events handed out and not answered.
    pub receipts: Vec<Receipt>,
    pub opened: usize,
    pub closed: Vec<CloseReason>,
}

impl Subject {
    /// A session in the state that `to` names, with what is pending there.
    pub fn new(to: Receiver, rules: Rules) -> Self {
        let now = Timestamp::from_micros(1_000_000);
        let proxy = || End::Proxy(Box::new(ProxySession::accept(ProxySettings::default(), now)));
        let events = EventKind::ALL;
        let settings = || AgentSettings::new(Registration::new(Capabilities::new("raw-1", events)));
        let end = match to {
            Receiver::ProxyUnregistered | Receiver::ProxyOpen | Receiver::ProxyExact => proxy(),
            Receiver::ProxyDialling => {
                End::Proxy(Box::new(ProxySession::dial(ProxySettings::default(), None, now).unwrap()))
            }
            Receiver::AgentUnanswered | Receiver::AgentOpen => {
                End::Agent(Box::new(AgentSession::dial(settings(), now).unwrap()))
            }
            Receiver::AgentDialled => End::Agent(Box::new(AgentSession::accept(settings(), now))),
        };
        let mut this = Self {
            end,
            now,
            policy: rules.policy(),
            deaf: false,
            out: Vec::new(),
            received: 0,
            exchanges: BTreeMap::new(),
            receipts: Vec::new(),
            opened: 0,
            closed: Vec::new(),
        };
        this.step();
        match to {
            Receiver::ProxyOpen => this.open_proxy(&registration()),
            Receiver::ProxyExact => {
                this.open_proxy(&registration().replace("{\"can", "{\"exchange_ids\":true,\"can"))
            }
            Receiver::AgentOpen => this.open_agent(),
            Receiver::ProxyUnregistered
            | Receiver::ProxyDialling
            | Receiver::AgentUnanswered
            | Receiver::AgentDialled => {}
        }
        this
    }

    /// `one` and `two` have an event on the wire, `two` has another behind it, `held` is paused.
    fn open_proxy(&mut self, registration: &str) {
        self.feed(&frame(1, registration));
        self.feed(&frame(0x33, r#"{"correlation_id":"held","action":1}"#));
        self.submit(RequestHeaders::new("one", "GET", "/"));
        self.submit(RequestHeaders::new("two", "POST", "/"));
        self.submit(RequestBodyChunk::new("two", "abc"));
        self.submit(RequestHeaders::new("held", "GET", "/"));
        assert_eq!(self.exchanges.len(), 4);
    }

    /// `one` and `two` have an event handed out, `two` has another behind it.
    fn open_agent(&mut self) {
        self.feed(&frame(2, r#"{"success":true}"#));
        self.feed(&frame(0x10, headers_event("one")));
        self.feed(&frame(0x10, headers_event("two")));
        self.feed(&frame(0x11, chunk_event("two", "YWJj")));
        assert_eq!((self.receipts.len(), self.unanswered()), (2, 3));
    }

    // ---- what the peer does ----

    pub fn act(&mut self, act: &Act) {
        match act {
            Act::Send(bytes) => self.feed(bytes),
            Act::End => {
                match &mut self.end {
                    End::Proxy(session) => session.handle_eof(),
                    End::Agent(session) => session.handle_eof(),
                }
                self.step();
            }
            Act::Silence => self.wait(Duration::from_secs(120)),
            Act::Breath => self.wait(Duration::from_secs(4)),
        }
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        let now = self.now;
        match &mut self.end {
            End::Proxy(session) => session.handle_bytes(bytes, now),
            End::Agent(session) => session.handle_bytes(bytes, now),
        }
        self.received += bytes.len();
        self.step();
    }

    /// Lets time pass, and acts at every time that the session asks for.
    pub fn wait(&mut self, span: Duration) {
        let until = self.now.after(span);
        for _ in 0..MAX_TURNS {
            let due = match &self.end {
                End::Proxy(session) => session.poll_timeout(),
                End::Agent(session) => session.poll_timeout(),
            };
            self.now = due.unwrap_or(until).min(until).max(self.now);
            let now = self.now;
            match &mut self.end {
                End::Proxy(session) => session.handle_timeout(now),
                End::Agent(session) => session.handle_timeout(now),
            }
            self.step();
            if self.now == until {
                return;
            }
        }
        panic!("a deadline that comes again and again");
    }

    // ---- the driver ----

    fn step(&mut self) {
        let mut turns = 0;
        loop {
            let told = self.take_event();
            let wrote = !self.deaf && self.transmit();
            if !told && !wrote {
                break;
            }
            turns += 1;
            assert!(turns < MAX_TURNS, "a session that never comes to rest");
        }
        self.check_bounds();
    }

    fn transmit(&mut self) -> bool {
        let mut fresh = Vec::new();
        let wrote = match &mut self.end {
            End::Proxy(session) => session.poll_transmit(&mut fresh),
            End::Agent(session) => session.poll_transmit(&mut fresh),
        };
        self.out.extend(fresh);
        wrote
    }

    fn take_event(&mut self) -> bool {
        let now = self.now;
        let closed_before = !self.closed.is_empty();
        let told = match &mut self.end {
            End::Proxy(session) => match session.poll_event() {
                None => false,
                Some(event) => {
                    match event {
                        ProxySessionEvent::Registration(pending) => {
                            match self.policy.judge(&pending.registration) {
                                Ok(()) => {
                                    let grant = Grant { connection_id: "c-1".into() };
                                    session.accept_registration(*pending, grant, now).unwrap();
                                }
                                Err(refusal) => reject(session, *pending, &refusal),
                            }
                        }
                        ProxySessionEvent::Opened => self.opened += 1,
                        ProxySessionEvent::Ended { exchange, ending } => {
                            self.exchanges.entry(exchange).or_default().push(ending);
                        }
                        ProxySessionEvent::Health(_)
                        | ProxySessionEvent::Metrics(_)
                        | ProxySessionEvent::ConfigUpdate(_)
                        | ProxySessionEvent::Draining => {}
                        ProxySessionEvent::Closed(reason) => self.closed.push(reason),
                    }
                    true
                }
            },
            End::Agent(session) => match session.poll_event() {
                None => false,
                Some(event) => {
                    match event {
                        AgentSessionEvent::Handshake(pending) => {
                            session.accept_handshake(*pending, now).unwrap()
                        }
                        AgentSessionEvent::Opened { .. } => self.opened += 1,
                        AgentSessionEvent::Event(receipt) => self.receipts.push(*receipt),
                        AgentSessionEvent::Cancelled { .. } => {}
                        AgentSessionEvent::Closed(reason) => self.closed.push(reason),
                    }
                    true
                }
            },
        };
        assert!(!(told && closed_before), "an event after the last one");
        told
    }

    /// Memory follows what was received, and the tables agree with each other.
    fn check_bounds(&self) {
        let (buffered, inconsistency) = match &self.end {
            End::Proxy(session) => (session.buffered_capacity(), session.machine().inconsistency()),
            End::Agent(session) => (session.buffered_capacity(), session.machine().inconsistency()),
        };
        assert!(buffered <= 2 * self.received + 2_048, "{buffered} bytes held of {} received", self.received);
        if self.opened == 0 {
            assert!(buffered <= 4 * 65_536, "{buffered} bytes held before registration");
        }
        assert_eq!(inconsistency, None);
    }

    // ---- questions ----

    pub fn state(&self) -> ConnectionState {
        match &self.end {
            End::Proxy(session) => session.state(),
            End::Agent(session) => session.state(),
        }
    }

    pub fn unanswered(&self) -> usize {
        match &self.end {
            End::Proxy(session) => session.in_flight() + session.waiting(),
            End::Agent(session) => session.unanswered(),
        }
    }

    /// The counters of what was dropped: unknown, unreadable, stray, late.
    pub fn dropped(&self) -> [u64; 4] {
        match &self.end {
            End::Proxy(session) => {
                let stats = session.stats();
                [stats.unknown_frames, stats.unreadable_frames, stats.stray_answers, stats.late_answers]
            }
            End::Agent(session) => {
                let stats = session.stats();
                [stats.unknown_frames, stats.unreadable_frames, 0, 0]
            }
        }
    }

    /// The frames written, cut apart by hand.
    pub fn written(&self) -> Vec<Written> {
        let mut rest = self.out.as_slice();
        let mut frames = Vec::new();
        while let Some((field, more)) = rest.split_first_chunk::<4>() {
            let (whole, more) = more.split_at(u32::from_be_bytes(*field) as usize);
            frames.push((whole[0], whole[1..].to_vec()));
            rest = more;
        }
        assert!(rest.is_empty(), "half a frame was written");
        frames
    }

    /// The handshake responses written.
    pub fn responses(&self) -> Vec<Value> {
        let written = self.written();
        let responses = written.iter().filter(|(kind, _)| *kind == 2);
        responses.map(|(_, json)| serde_json::from_slice(json).unwrap()).collect()
    }

    // ---- work, to show that the connection still does any ----

    pub fn submit(&mut self, event: impl Into<Event>) {
        let before = self.exchanges.len();
        self.try_submit(event);
        assert_eq!(self.exchanges.len(), before + 1, "the event was not admitted");
    }

    /// Submits an event, if the session takes it.
    pub fn try_submit(&mut self, event: impl Into<Event>) {
        let now = self.now;
        let End::Proxy(session) = &mut self.end else { panic!("agents submit nothing") };
        let event = EncodedEvent::new(&event.into(), session.encoding()).unwrap();
        if let Ok(exchange) = session.submit(event, Timestamp::NEVER, Patience::Wait, now) {
            assert_eq!(self.exchanges.insert(exchange, Vec::new()), None);
        }
        self.step();
    }

    /// Ends everything that is pending, and serves one event more from end to end.
    pub fn serve(&mut self) {
        self.deaf = false;
        match self.end {
            End::Proxy(_) => self.serve_as_proxy(),
            End::Agent(_) => self.serve_as_agent(),
        }
        assert_eq!(self.state(), ConnectionState::Open);
        assert_eq!(self.unanswered(), 0, "something is left unanswered");
    }

    fn serve_as_proxy(&mut self) {
        self.feed(&frame(0x33, r#"{"correlation_id":"held","action":2}"#));
        self.submit(RequestHeaders::new("fresh", "GET", "/"));
        let fresh = *self.exchanges.keys().next_back().unwrap();
        let ids: BTreeMap<u64, &str> = BTreeMap::from([(1, "one"), (2, "two"), (3, "two"), (4, "held")]);
        let open: Vec<ExchangeId> = self.exchanges.keys().copied().collect();
        for exchange in open {
            if !self.exchanges[&exchange].is_empty() {
                continue;
            }
            let id = if exchange == fresh { "fresh" } else { ids[&exchange.0] };
            assert!(self.written().iter().any(|(_, json)| String::from_utf8_lossy(json).contains(id)));
            let custom = format!(r#""correlation_id":"{id}","exchange_id":{}"#, exchange.0);
            self.feed(&frame(0x20, answer_with(&custom)));
            assert_eq!(self.exchanges[&exchange].len(), 1, "the answer to {id} ended nothing");
        }
        let Ending::Answered(payload) = &self.exchanges[&fresh][0] else { panic!("not answered") };
        let answer: Answer = Encoding::Json.decode(payload).unwrap();
        assert!(answer.is_allow());
        for (exchange, endings) in &self.exchanges {
            assert!(matches!(endings[..], [Ending::Answered(_)]), "{exchange:?} ended as {endings:?}");
        }
    }

    fn serve_as_agent(&mut self) {
        self.feed(&frame(0x10, headers_event("fresh")));
        let mut answered = 0;
        while let Some(receipt) = self.receipts.pop() {
            let answer = if receipt.event().is_ok() { Answer::allow() } else { Answer::block(500) };
            self.answer(&receipt, answer).unwrap();
            answered += 1;
            assert!(answered < 100, "events that nobody sent");
        }
        let named = |json: &[u8]| serde_json::from_slice::<Value>(json).unwrap()["audit"]["custom"].clone();
        let fresh = self
            .written()
            .iter()
            .filter(|(kind, json)| *kind == 0x20 && named(json)["correlation_id"] == "fresh")
            .count();
        assert_eq!(fresh, 1, "the event was not answered on the wire");
    }

    pub fn answer(&mut self, receipt: &Receipt, answer: Answer) -> Result<(), AnswerError> {
        let now = self.now;
        let End::Agent(session) = &mut self.end else { panic!("proxies answer nothing") };
        let outcome = session.answer(receipt.encode(answer).unwrap(), now);
        self.step();
        outcome
    }

    /// Asserts that it is over: told once and last, nothing pending, and nothing moves it any more.
    pub fn check_over(&mut self) {
        assert_eq!(self.state(), ConnectionState::Closed);
        assert_eq!(self.closed.len(), 1, "closed {} times", self.closed.len());
        let reason = match &self.end {
            End::Proxy(session) => session.close_reason().cloned(),
            End::Agent(session) => session.close_reason().cloned(),
        };
        assert_eq!(reason.as_ref(), self.closed.first());
        assert_eq!(self.unanswered(), 0);
        for (exchange, endings) in &self.exchanges {
            assert_eq!(endings.len(), 1, "{exchange:?} ended as {endings:?}");
        }
        for receipt in std::mem::take(&mut self.receipts) {
            assert_eq!(self.answer(&receipt, Answer::allow()), Err(AnswerError::NotOpen));
        }
        self.deaf = false;
        self.step();
        let (out, dropped) = (self.out.len(), self.dropped());
        self.feed(&frame(0x41, "{}"));
        self.feed(&frame(0xff, "?"));
        self.act(&Act::End);
        self.act(&Act::Silence);
        assert_eq!((self.out.len(), self.dropped()), (out, dropped), "it moves after its end");
    }
}

fn reject(session: &mut ProxySession, pending: PendingRegistration, refusal: &RegistrationRefusal) {
    let retry = refusal.retry_after().map(|span| u64::try_from(span.as_millis()).unwrap());
    session.reject_registration(pending, &refusal.to_string(), retry).unwrap();
}

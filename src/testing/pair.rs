//! Two real sessions, the faulty link between them, and the interpreter of operations.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use crate::machine::{
    AgentLimits, CloseReason, ConnectionState, Ending, ExchangeId, InboxLimits, KeepaliveLimits, OwedLimits,
    Patience, ProxyLimits, QueueLimits, Timestamp,
};
use crate::session::{
    AgentSession, AgentSessionEvent, AgentSettings, EncodedEvent, Grant, ProxySession, ProxySessionEvent,
    ProxySettings, Receipt,
};
use crate::wire::{
    Answer, CancelReason, Capabilities, CorrelationId, Encoding, Event, EventKind, FlowAction, FlowControl,
    FrameType, Ping, Registration, RequestBodyChunk, encode_message,
};

use super::link::Link;
use super::oracle::{Oracle, Property, Tap, Violated, answer_tag, demand, tag_of};
use super::rng::Rng;

/// How a pair is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairConfig {
    /// Seeds the link.
    pub seed: u64,
    /// The proxy's window.
    pub window: u32,
    /// The concurrency that the agent states; 0 for none.
    pub stated: u32,
    /// Whether the agent echoes exchange ids.
    pub exchange_ids: bool,
    /// Whether the proxy dials, rather than the agent.
    pub forward: bool,
    /// Whether the proxy turns the registration down.
    pub reject: bool,
    /// Events that may wait at the proxy.
    pub queue: usize,
    /// Late answers that may be owed.
    pub owed: usize,
    /// Events that the agent handles at once.
    pub running: usize,
    /// Longest delay of a segment, in microseconds.
    pub max_delay: u64,
    /// Longest segment, in bytes.
    pub max_segment: usize,
}

impl Default for PairConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            window: 2,
            stated: 0,
            exchange_ids: false,
            forward: false,
            reject: false,
            queue: 8,
            owed: 4,
            running: 2,
            max_delay: 1_000,
            max_segment: 64,
        }
    }
}

/// One thing that happens to a pair. Numbers are taken modulo what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// A caller submits an event of a request, with this many microseconds of patience; 0 for no limit.
    Submit {
        /// Which request.
        id: u8,
        /// Whether the event may wait.
        wait: bool,
        /// Microseconds until the caller gives up.
        deadline: u32,
    },
    /// A caller gives one of the open exchanges up.
    Cancel(u8),
    /// A caller gives up an exchange that never was, or has ended.
    CancelUnknown,
    /// A caller gives one request up.
    CancelRequest(u8),
    /// A caller gives everything up.
    CancelAll,
    /// The agent answers one of the events that it has.
    Answer(u8),
    /// The agent answers an event a second time.
    AnswerAgain,
    /// The agent pauses the connection, or one request.
    Pause(Option<u8>),
    /// The agent resumes the connection, or one request.
    Resume(Option<u8>),
    /// The agent announces a capacity.
    Capacity(u8),
    /// The agent pings.
    Ping(u8),
    /// Both sides get a frame of a type they don't know.
    Unknown(u8),
    /// The agent answers an event that never was.
    Stray,
    /// Time passes, in microseconds.
    Advance(u32),
    /// The agent stops or goes on reading.
    StallAgent(bool),
    /// The proxy stops or goes on reading.
    StallProxy(bool),
    /// The proxy drains, with this many microseconds to go.
    DrainProxy(u32),
    /// The agent drains, with this many microseconds to go.
    DrainAgent(u32),
    /// The proxy closes.
    CloseProxy,
    /// The agent closes.
    CloseAgent,
    /// The link breaks, and loses what is under way.
    Disconnect,
    /// The agent ends its half of the stream.
    HalfCloseAgent,
    /// The proxy ends its half of the stream.
    HalfCloseProxy,
}

/// A proxy's and an agent's session, joined.
#[derive(Clone, Debug)]
pub struct Pair {
    proxy: ProxySession,
    agent: AgentSession,
    reject: bool,
    now: Timestamp,
    rng: Rng,
    to_agent: Link,
    to_proxy: Link,
    proxy_out: Vec<u8>,
    agent_out: Vec<u8>,
    proxy_stalled: bool,
    agent_stalled: bool,
    receipts: Vec<Receipt>,
    last_answered: Option<Receipt>,
    oracle: Oracle,
    proxy_tap: Tap,
    agent_tap: Tap,
    arrivals_tap: Tap,
    agent_closed: u32,
    /// When the proxy last got a byte.
    heard: Timestamp,
    drain_deadline: Option<Timestamp>,
}

/// Longest silence that a proxy of a pair puts up with.
const SILENCE: Duration = Duration::from_secs(30);

impl Pair {
    /// Sets both sides up; not a byte has moved.
    ///
    /// # Errors
    /// If a handshake could not be encoded.
    pub fn new(config: &PairConfig) -> Result<Self, Violated> {
        let now = Timestamp::from_micros(1_000_000);
        let (proxy_settings, agent_settings) = settings(config);
        let broken =
            |error: crate::wire::EncodeError| Violated { property: Property::P7, detail: error.to_string() };
        let (proxy, agent) = if config.forward {
            let proxy = ProxySession::dial(proxy_settings, None, now).map_err(broken)?;
            (proxy, AgentSession::accept(agent_settings, now))
        } else {
            let agent = AgentSession::dial(agent_settings, now).map_err(broken)?;
            (ProxySession::accept(proxy_settings, now), agent)
        };
        let limit = if config.stated == 0 { config.window } else { config.window.min(config.stated) };
        Ok(Self {
            proxy,
            agent,
            reject: config.reject,
            now,
            rng: Rng::new(config.seed),
            to_agent: Link::new(config.max_delay, config.max_segment),
            to_proxy: Link::new(config.max_delay, config.max_segment),
            proxy_out: Vec::new(),
            agent_out: Vec::new(),
            proxy_stalled: false,
            agent_stalled: false,
            receipts: Vec::new(),
            last_answered: None,
            oracle: Oracle::new(config.exchange_ids, u64::from(limit)),
            proxy_tap: Tap::default(),
            agent_tap: Tap::default(),
            arrivals_tap: Tap::default(),
            agent_closed: 0,
            heard: now,
            drain_deadline: None,
        })
    }

    /// Sets a pair up, applies `ops`, and ends with a fair drain.
    ///
    /// # Errors
    /// The first property that did not hold.
    pub fn run(config: &PairConfig, ops: &[Op]) -> Result<Self, Violated> {
        let mut pair = Self::new(config)?;
        pair.advance(5_000)?;
        for op in ops {
            pair.apply(*op)?;
        }
        pair.finish()?;
        Ok(pair)
    }

    /// The proxy's session.
    pub const fn proxy(&self) -> &ProxySession {
        &self.proxy
    }

    /// The agent's session.
    pub const fn agent(&self) -> &AgentSession {
        &self.agent
    }

    /// Applies one operation, lets what follows from it happen, and checks the properties.
    ///
    /// # Errors
    /// The first property that did not hold.
    pub fn apply(&mut self, op: Op) -> Result<(), Violated> {
        match op {
            Op::Submit { id, wait, deadline } => self.submit(id, wait, deadline)?,
            Op::Cancel(n) => self.cancel(n)?,
            Op::CancelUnknown => self.cancel_unknown()?,
            Op::CancelRequest(id) => {
                self.proxy.cancel_request(&request(id), CancelReason::Manual, self.now);
            }
            Op::CancelAll => {
                self.proxy.cancel_all(CancelReason::ProxyShutdown, self.now);
            }
            Op::Answer(n) => self.answer(n)?,
            Op::AnswerAgain => self.answer_again()?,
            Op::Pause(id) => self.signal(id, FlowAction::Pause),
            Op::Resume(id) => self.signal(id, FlowAction::Resume),
            Op::Capacity(n) => {
                self.signal(None, FlowAction::UpdateCapacity { buffer_available: u64::from(n) })
            }
            Op::Ping(n) => {
                let ping = Ping { sequence: u64::from(n), timestamp_ms: self.now.as_millis() };
                self.inject(FrameType::Ping, &ping);
            }
            Op::Unknown(n) => self.unknown(n)?,
            Op::Stray => {
                let mut answer = Answer::allow();
                answer.audit.set_ids(&CorrelationId::from("never-was"), Some(u64::MAX));
                self.inject(FrameType::AgentResponse, &answer);
            }
            Op::Advance(micros) => self.advance(u64::from(micros))?,
            Op::StallAgent(stalled) => self.agent_stalled = stalled,
            Op::StallProxy(stalled) => self.proxy_stalled = stalled,
            Op::DrainProxy(micros) => self.drain_proxy(micros),
            Op::DrainAgent(micros) => {
                let deadline = self.now.after(Duration::from_micros(u64::from(micros)));
                self.agent.drain(deadline, self.now);
            }
            Op::CloseProxy => self.proxy.close(),
            Op::CloseAgent => self.agent.close(),
            Op::Disconnect => {
                self.to_agent.sever();
                self.to_proxy.sever();
            }
            Op::HalfCloseAgent => self.to_proxy.end(),
            Op::HalfCloseProxy => self.to_agent.end(),
        }
        self.pump()?;
        self.check()
    }

    // ---- operations ----

    fn submit(&mut self, id: u8, wait: bool, deadline: u32) -> Result<(), Violated> {
        let tag = self.oracle.next_tag();
        let id = request(id);
        let chunk = RequestBodyChunk { chunk_index: tag, ..RequestBodyChunk::new(id.clone(), "x") };
        let Ok(event) = EncodedEvent::new(&Event::from(chunk), Encoding::Json) else { return Ok(()) };
        let deadline = match deadline {
            0 => Timestamp::NEVER,
            micros => self.now.after(Duration::from_micros(u64::from(micros))),
        };
        let patience = if wait { Patience::Wait } else { Patience::Now };
        let before = self.proxy.clone();
        match self.proxy.submit(event, deadline, patience, self.now) {
            Ok(exchange) => self.oracle.admitted(tag, id.as_str(), exchange),
            Err(error) => demand(self.proxy == before, Property::P15, || format!("submit: {error}")),
        }
    }

    fn cancel(&mut self, n: u8) -> Result<(), Violated> {
        let open = self.oracle.open_exchanges();
        let index = usize::from(n).checked_rem(open.len()).unwrap_or(0);
        let Some(exchange) = open.get(index) else { return Ok(()) };
        let outcome = self.proxy.cancel(*exchange, CancelReason::ClientDisconnect, self.now);
        demand(outcome.is_ok(), Property::P1, || format!("{exchange} has no end, yet can't be cancelled"))
    }

    fn cancel_unknown(&mut self) -> Result<(), Violated> {
        let before = self.proxy.clone();
        let outcome = self.proxy.cancel(ExchangeId(u64::MAX), CancelReason::Manual, self.now);
        demand(outcome.is_err() && self.proxy == before, Property::P15, || {
            "cancel of the unknown".to_string()
        })
    }

    fn answer(&mut self, n: u8) -> Result<(), Violated> {
        let Some(index) = usize::from(n).checked_rem(self.receipts.len()) else { return Ok(()) };
        let receipt = self.receipts.remove(index);
        let tag = receipt_tag(&receipt);
        let answer = Answer::allow().with_reason_code(format!("tag-{tag}"));
        let Ok(encoded) = receipt.encode(answer) else { return Ok(()) };
        let before = self.agent.clone();
        let outcome = self.agent.answer(encoded, self.now);
        let closed = self.agent_closed > 0 || self.agent.state() == ConnectionState::Closed;
        demand(outcome.is_ok() || closed, Property::P3, || format!("event {tag} can't be answered"))?;
        demand(outcome.is_ok() || self.agent == before, Property::P15, || "answer".to_string())?;
        self.oracle.agent_answered(tag);
        self.last_answered = Some(receipt);
        Ok(())
    }

    fn answer_again(&mut self) -> Result<(), Violated> {
        let Some(receipt) = &self.last_answered else { return Ok(()) };
        let Ok(encoded) = receipt.encode(Answer::block(403)) else { return Ok(()) };
        let before = self.agent.clone();
        let outcome = self.agent.answer(encoded, self.now);
        demand(outcome.is_err(), Property::P3, || "an event could be answered twice".to_string())?;
        demand(self.agent == before, Property::P15, || "second answer".to_string())
    }

    fn signal(&mut self, id: Option<u8>, action: FlowAction) {
        let signal =
            FlowControl { correlation_id: id.map(request), action, timestamp_ms: self.now.as_millis() };
        self.inject(FrameType::FlowControl, &signal);
    }

    /// Puts a frame of the agent's into the stream, at a frame's edge.
    fn inject<T: serde::Serialize>(&mut self, frame: FrameType, message: &T) {
        if self.agent.state() == ConnectionState::Open {
            let mut bytes = Vec::new();
            if encode_message(frame, Encoding::Json, message, u32::MAX, &mut bytes).is_ok() {
                self.agent_out.extend_from_slice(&bytes);
            }
        }
    }

    /// An unknown frame must do to a session no more than a pong does: show that somebody is there.
    fn unknown(&mut self, n: u8) -> Result<(), Violated> {
        let unknown = [0, 0, 0, 3, 0x80 | n, n, 0xff];
        let pong = [0, 0, 0, 3, FrameType::Pong.to_byte(), b'{', b'}'];
        if self.proxy.state() == ConnectionState::Open && self.proxy.machine().handshake().is_none() {
            let (mut a, mut b) = (self.proxy.clone(), self.proxy.clone());
            a.handle_bytes(&unknown, self.now);
            b.handle_bytes(&pong, self.now);
            // Behind half a frame both are that frame's content, which need not be alike.
            demand(a == b || self.to_proxy_is_mid_frame(), Property::P11, || "the proxy minds".to_string())?;
        }
        if self.agent.state() == ConnectionState::Open {
            self.agent_out.extend_from_slice(&unknown);
        }
        if self.proxy.state() == ConnectionState::Open {
            self.proxy_out.extend_from_slice(&unknown);
        }
        Ok(())
    }

    const fn to_proxy_is_mid_frame(&self) -> bool {
        !self.arrivals_tap.is_at_edge()
    }

    fn drain_proxy(&mut self, micros: u32) {
        let deadline = self.now.after(Duration::from_micros(u64::from(micros)));
        if self.proxy.state() != ConnectionState::Closed {
            self.drain_deadline = Some(self.drain_deadline.map_or(deadline, |earlier| earlier.min(deadline)));
            self.oracle.draining = true;
        }
        self.proxy.drain(deadline, self.now);
    }

    // ---- time and bytes ----

    /// Lets time pass, stopping wherever something is due.
    fn advance(&mut self, micros: u64) -> Result<(), Violated> {
        let until = self.now.after(Duration::from_micros(micros));
        // Bounded, so that a session which never stops asking for time is seen.
        for _ in 0..10_000 {
            let arrivals = [
                self.to_agent.next_arrival().filter(|_| !self.agent_stalled),
                self.to_proxy.next_arrival().filter(|_| !self.proxy_stalled),
                self.proxy.poll_timeout(),
                self.agent.poll_timeout(),
            ];
            let next = arrivals.into_iter().flatten().min().filter(|at| *at <= until);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            self.deliver()?;
            self.time_out()?;
            self.pump()?;
        }
        let stuck = [self.proxy.poll_timeout(), self.agent.poll_timeout()].into_iter().flatten().min();
        demand(stuck.is_none_or(|at| at > until), Property::P13, || {
            format!("still due at {stuck:?} after acting, now {until}")
        })?;
        self.now = until;
        self.deliver()?;
        self.pump()?;
        self.check_silence()
    }

    fn time_out(&mut self) -> Result<(), Violated> {
        let now = self.now;
        let before = self.proxy.clone();
        self.proxy.handle_timeout(now);
        let due = before.poll_timeout().is_some_and(|at| at <= now);
        demand(!due || self.proxy != before, Property::P13, || {
            "the proxy asked for time and did nothing".to_string()
        })?;
        let before = self.agent.clone();
        self.agent.handle_timeout(now);
        let due = before.poll_timeout().is_some_and(|at| at <= now);
        demand(!due || self.agent != before, Property::P13, || {
            "the agent asked for time and did nothing".to_string()
        })
    }

    fn deliver(&mut self) -> Result<(), Violated> {
        if !self.proxy_stalled && self.proxy.wants_bytes() {
            while let Some(bytes) = self.to_proxy.receive(self.now) {
                self.proxy_receives(&bytes)?;
            }
            if self.to_proxy.receive_end() {
                self.proxy.handle_eof();
            }
        }
        if !self.agent_stalled && self.agent.wants_bytes() {
            while let Some(bytes) = self.to_agent.receive(self.now) {
                self.agent.handle_bytes(&bytes, self.now);
            }
            if self.to_agent.receive_end() {
                self.agent.handle_eof();
            }
        }
        Ok(())
    }

    fn proxy_receives(&mut self, bytes: &[u8]) -> Result<(), Violated> {
        if self.proxy.state() != ConnectionState::Closed {
            self.heard = self.now;
            for frame in self.arrivals_tap.push(bytes) {
                self.oracle.proxy_received(&frame)?;
            }
        }
        self.proxy.handle_bytes(bytes, self.now);
        self.check_polls()?;
        self.proxy_events()
    }

    /// Fetches events and moves bytes until neither side has more.
    fn pump(&mut self) -> Result<(), Violated> {
        loop {
            self.check_polls()?;
            self.proxy_events()?;
            self.agent_events()?;
            let mut moved = self.proxy_transmits()?;
            moved |= self.agent_transmits()?;
            if !moved {
                return self.hang_up();
            }
        }
    }

    fn proxy_events(&mut self) -> Result<(), Violated> {
        while let Some(event) = self.proxy.poll_event() {
            match event {
                ProxySessionEvent::Registration(pending) => {
                    demand(!self.oracle.opened, Property::P7, || "a second registration".to_string())?;
                    let decided = if self.reject {
                        self.proxy.reject_registration(*pending, "not today", Some(5))
                    } else {
                        let grant = Grant { connection_id: "c-1".into() };
                        // What the agent sent behind its registration is read within this call.
                        self.oracle.opened = true;
                        self.proxy.accept_registration(*pending, grant, self.now)
                    };
                    demand(decided.is_ok(), Property::P7, || "the decision was not taken".to_string())?;
                }
                ProxySessionEvent::Opened => {
                    demand(!self.reject, Property::P7, || "opened after a rejection".to_string())?;
                    self.oracle.opened = true;
                }
                ProxySessionEvent::Ended { exchange, ending } => {
                    let tag = ended_tag(&ending);
                    self.oracle.ended(exchange, &ending, tag)?;
                }
                ProxySessionEvent::Closed(_) => {
                    self.oracle.closed()?;
                    let another = self.proxy.poll_event();
                    demand(another.is_none(), Property::P8, || format!("{another:?} after the close"))?;
                }
                ProxySessionEvent::Draining => self.oracle.draining = true,
                ProxySessionEvent::Health(_)
                | ProxySessionEvent::Metrics(_)
                | ProxySessionEvent::ConfigUpdate(_) => {}
            }
        }
        Ok(())
    }

    fn agent_events(&mut self) -> Result<(), Violated> {
        while let Some(event) = self.agent.poll_event() {
            demand(self.agent_closed == 0, Property::P8, || format!("{event:?} after the agent's close"))?;
            match event {
                AgentSessionEvent::Handshake(pending) => {
                    let decided = if self.reject {
                        self.agent.reject_handshake(*pending, "not today")
                    } else {
                        self.agent.accept_handshake(*pending, self.now)
                    };
                    demand(decided.is_ok(), Property::P7, || "the decision was not taken".to_string())?;
                }
                AgentSessionEvent::Event(receipt) => {
                    self.oracle.agent_given(receipt_tag(&receipt))?;
                    self.receipts.push(*receipt);
                }
                AgentSessionEvent::Closed(_) => {
                    self.agent_closed = self.agent_closed.saturating_add(1);
                    self.receipts.clear();
                }
                AgentSessionEvent::Opened { .. } | AgentSessionEvent::Cancelled { .. } => {}
            }
        }
        Ok(())
    }

    fn proxy_transmits(&mut self) -> Result<bool, Violated> {
        let before = self.proxy_out.len();
        let moved = self.proxy.poll_transmit(&mut self.proxy_out);
        for frame in self.proxy_tap.push(self.proxy_out.get(before..).unwrap_or_default()) {
            self.oracle.proxy_wrote(&frame)?;
        }
        if !self.agent_stalled {
            self.to_agent.send(&mut self.proxy_out, self.now, &mut self.rng);
        }
        Ok(moved)
    }

    fn agent_transmits(&mut self) -> Result<bool, Violated> {
        let before = self.agent_out.len();
        let moved = self.agent.poll_transmit(&mut self.agent_out);
        for frame in self.agent_tap.push(self.agent_out.get(before..).unwrap_or_default()) {
            self.oracle.agent_wrote(&frame)?;
        }
        if !self.proxy_stalled {
            self.to_proxy.send(&mut self.agent_out, self.now, &mut self.rng);
        }
        Ok(moved)
    }

    /// A side that has closed and written everything drops its socket.
    fn hang_up(&mut self) -> Result<(), Violated> {
        if self.oracle.closed > 0 && self.proxy_out.is_empty() {
            self.to_agent.end();
            self.to_proxy.sever();
        }
        if self.agent_closed > 0 && self.agent_out.is_empty() {
            self.to_proxy.end();
            self.to_agent.sever();
        }
        Ok(())
    }

    // ---- checks ----

    fn check(&mut self) -> Result<(), Violated> {
        let wrong = self.proxy.machine().inconsistency().or_else(|| self.agent.machine().inconsistency());
        demand(wrong.is_none(), Property::P1, || format!("tables disagree: {wrong:?}"))?;
        if self.oracle.closed == 0 {
            let (said, seen) = (self.proxy.in_flight(), self.oracle.unresolved());
            demand(said == seen, Property::P4, || {
                format!("{said} in flight by its own account, {seen} in truth")
            })?;
        }
        self.check_drain()?;
        self.check_early()
    }

    fn check_drain(&self) -> Result<(), Violated> {
        let open = self.oracle.closed == 0;
        if open && self.oracle.draining {
            let left = self.oracle.unresolved();
            demand(left > 0, Property::P9, || "drained, and still open".to_string())?;
            let over = self.drain_deadline.is_some_and(|at| at < self.now);
            demand(!over, Property::P9, || "open past the drain's deadline".to_string())?;
        }
        Ok(())
    }

    /// Acting before the time changes nothing.
    fn check_early(&mut self) -> Result<(), Violated> {
        if let Some(early) = self.before(self.proxy.poll_timeout()) {
            let mut proxy = self.proxy.clone();
            proxy.handle_timeout(early);
            demand(proxy == self.proxy, Property::P13, || format!("the proxy acted early, at {early}"))?;
        }
        if let Some(early) = self.before(self.agent.poll_timeout()) {
            let mut agent = self.agent.clone();
            agent.handle_timeout(early);
            demand(agent == self.agent, Property::P13, || format!("the agent acted early, at {early}"))?;
        }
        Ok(())
    }

    /// A time from now on that is earlier than `due`.
    fn before(&mut self, due: Option<Timestamp>) -> Option<Timestamp> {
        let span = u64::try_from(due?.since(self.now).as_micros()).ok()?;
        let early = self.now.after(Duration::from_micros(self.rng.below(span)));
        (early < due?).then_some(early)
    }

    /// Events before frames or frames before events: it is all the same.
    fn check_polls(&self) -> Result<(), Violated> {
        let (mut a, mut b) = (self.proxy.clone(), self.proxy.clone());
        let (mut a_out, mut b_out) = (self.proxy_out.clone(), self.proxy_out.clone());
        let mut a_events = VecDeque::new();
        let mut b_events = VecDeque::new();
        while a.poll_transmit(&mut a_out) {}
        while let Some(event) = a.poll_event() {
            a_events.push_back(format!("{event:?}"));
        }
        while let Some(event) = b.poll_event() {
            b_events.push_back(format!("{event:?}"));
        }
        while b.poll_transmit(&mut b_out) {}
        demand(a_out == b_out && a_events == b_events && a == b, Property::P14, || {
            "the proxy's polls".to_string()
        })?;
        let (mut a, mut b) = (self.agent.clone(), self.agent.clone());
        let (mut a_out, mut b_out) = (self.agent_out.clone(), self.agent_out.clone());
        while a.poll_transmit(&mut a_out) {}
        while a.poll_event().is_some() {}
        while b.poll_event().is_some() {}
        while b.poll_transmit(&mut b_out) {}
        demand(a_out == b_out && a == b, Property::P14, || "the agent's polls".to_string())
    }

    fn check_silence(&self) -> Result<(), Violated> {
        let silent = self.now.since(self.heard);
        let open = self.oracle.opened && self.oracle.closed == 0;
        demand(!open || silent <= SILENCE, Property::P12, || format!("open after {silent:?} of silence"))
    }

    // ---- the end ----

    /// Heals the link, lets the agent answer everything and resume, and sees that nothing is left.
    fn finish(&mut self) -> Result<(), Violated> {
        (self.agent_stalled, self.proxy_stalled) = (false, false);
        for id in [None, Some(0), Some(1), Some(2), Some(3)] {
            self.signal(id, FlowAction::Resume);
        }
        self.signal(None, FlowAction::UpdateCapacity { buffer_available: 1_000 });
        for _ in 0..400 {
            while !self.receipts.is_empty() {
                self.answer(0)?;
            }
            self.pump()?;
            self.check()?;
            if self.oracle.open_exchanges().is_empty() && self.oracle.unresolved() == 0 {
                break;
            }
            self.advance(5_000)?;
        }
        self.advance(20_000)?;
        self.check()?;
        let left = self.oracle.open_exchanges();
        demand(left.is_empty(), Property::P1, || format!("{left:?} never ended, {}", self.describe()))?;
        if self.oracle.closed == 0 && self.oracle.opened && self.agent_closed == 0 {
            let (waiting, in_flight) = (self.proxy.waiting(), self.proxy.in_flight());
            demand(waiting == 0 && in_flight == 0, Property::P4, || "not empty at rest".to_string())?;
            demand(self.oracle.all_pings_answered(), Property::P12, || "a ping without a pong".to_string())?;
        }
        self.proxy.close();
        self.pump()?;
        demand(self.oracle.closed == 1, Property::P8, || "no closed event".to_string())
    }

    fn describe(&self) -> String {
        let reason: Option<&CloseReason> = self.proxy.close_reason();
        format!("proxy {:?} ({reason:?}), agent {:?}", self.proxy.state(), self.agent.state())
    }
}

/// The id of one of the four requests of a pair.
fn request(n: u8) -> CorrelationId {
    CorrelationId::from(match n & 3 {
        0 => "r-0",
        1 => "r-1",
        2 => "r-2",
        _ => "r-3",
    })
}

fn receipt_tag(receipt: &Receipt) -> u32 {
    let event = receipt.event().ok();
    let json = event.and_then(|event| match event {
        Event::RequestBodyChunk(chunk) => serde_json::to_value(chunk).ok(),
        Event::RequestHeaders(_)
        | Event::ResponseHeaders(_)
        | Event::ResponseBodyChunk(_)
        | Event::RequestComplete(_)
        | Event::WebSocketFrame(_)
        | Event::GuardrailInspect(_)
        | Event::Configure(_) => None,
    });
    json.as_ref().map_or(0, tag_of)
}

fn ended_tag(ending: &Ending<Vec<u8>>) -> Option<u32> {
    match ending {
        Ending::Answered(payload) => answer_tag(&serde_json::from_slice(payload).ok()?),
        Ending::Expired
        | Ending::TimedOut
        | Ending::Cancelled { .. }
        | Ending::Refused
        | Ending::Lost { .. } => None,
    }
}

fn settings(config: &PairConfig) -> (ProxySettings, AgentSettings) {
    let keepalive = KeepaliveLimits::default();
    let proxy = ProxySettings {
        limits: ProxyLimits {
            window: config.window,
            queue: QueueLimits { count: config.queue, ..QueueLimits::default() },
            owed: OwedLimits { count: config.owed, ..OwedLimits::default() },
            keepalive,
            ..ProxyLimits::default()
        },
        write_mark: 4_096,
        ..ProxySettings::default()
    };
    let mut capabilities = Capabilities::new("sim", EventKind::ALL);
    capabilities.features.cancellation = true;
    capabilities.features.exchange_ids = config.exchange_ids;
    capabilities.limits.max_concurrency = config.stated;
    let running = config.running.max(1);
    let inbox = InboxLimits { running, high_mark: 1_000, low_mark: 500, ..InboxLimits::default() };
    let mut agent = AgentSettings::new(Registration::new(capabilities));
    agent.limits = AgentLimits { inbox, keepalive, ..AgentLimits::default() };
    (proxy, agent)
}

//! Two real sessions, the faulty link between them, and the interpreter of operations.

mod check;
mod op;
mod transport;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use crate::machine::{CloseReason, ConnectionState, ExchangeId, Patience, Timestamp};
use crate::session::{AgentSession, EncodedEvent, ProxySession, Receipt};
use crate::wire::{
    Answer, CancelReason, CorrelationId, Encoding, Event, FlowAction, FlowControl, FrameType, Ping,
    RequestBodyChunk, encode_message,
};

use super::encoded;
use super::link::Link;
use super::oracle::{Ground, Oracle, Property, Tap, Violated, demand};
use super::rng::Rng;
use op::settings;
pub use op::{Op, PairConfig};

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
    /// What the agent's application has, each with the number of its submission.
    receipts: Vec<(u32, Receipt)>,
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
            oracle: Oracle::new(Ground {
                by_exchange_id: config.exchange_ids,
                cancellation: true,
                limit: u64::from(limit),
            }),
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
        let event = Event::from(chunk);
        let payload = encoded(&event);
        let Ok(event) = EncodedEvent::new(&event, Encoding::Json) else { return Ok(()) };
        let kind = event.kind();
        let deadline = match deadline {
            0 => Timestamp::NEVER,
            micros => self.now.after(Duration::from_micros(u64::from(micros))),
        };
        let patience = if wait { Patience::Wait } else { Patience::Now };
        let before = self.proxy.clone();
        match self.proxy.submit(event, deadline, patience, self.now) {
            Ok(exchange) => self.oracle.admitted(tag, (kind, id.as_str()), payload, exchange),
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
        let (tag, receipt) = self.receipts.remove(index);
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
            self.oracle.at_rest()?;
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

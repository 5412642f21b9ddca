//! The specification's state that a system is in.
//!
//! Read from what anybody can see: what lies in the streams, what callers were told, what the machines
//! say of themselves; and, where they say nothing, from what a copy of them does: which frames it writes
//! next, and when its deadlines come. Whether this is the right reading need not be believed: a reading
//! that left out something that matters would not pass the bisimulation.

use dialback::machine::exchange::Stage;
use dialback::machine::inbox::Work;
use dialback::machine::{
    AgentConnection, CloseReason, ConnectionState, Ending, ExchangeId, FromAgent, FromProxy, Matching,
    ProxyConnection, ProxyEvent, Timestamp, ToAgent, ToProxy, handshake,
};
use dialback::wire::{CorrelationId, FlowAction};

use crate::scenario::Scenario;
use crate::system::books::{AtAgent, Entry, Told, UNSEEN};
use crate::system::{Flowing, Stream, Sys};

use super::value::Value;

/// Later than any time, and more than any room.
const NEVER: u64 = 999;

/// The state of every variable of the specification.
#[must_use]
pub fn state(sys: &Sys, scenario: &Scenario) -> Value {
    let reader = Reader { sys, scenario };
    let said = &sys.books.sent;
    Value::record([
        ("clock", Value::Number(sys.clock)),
        ("proxy", reader.proxy()),
        ("agent", reader.agent()),
        ("toAgent", reader.stream(&sys.to_agent, |frame| reader.to_agent(frame))),
        ("toProxy", reader.stream(&sys.to_proxy, |frame| reader.to_proxy(frame))),
        (
            "said",
            Value::record([
                ("paused", Value::Truth(said.paused)),
                ("lanes", lanes(said.lanes)),
                ("room", Value::Number(said.capacity.map_or(NEVER, u64::from))),
            ]),
        ),
        ("budget", Value::Number(sys.books.budget.into())),
        ("cancels", reader.each(|_, entry| Value::Number(entry.cancels.into()))),
    ])
}

struct Reader<'a> {
    sys: &'a Sys,
    scenario: &'a Scenario,
}

/// Where a drain stands.
struct Drain {
    cause: &'static str,
    deadline: u64,
}

impl Reader<'_> {
    fn each(&self, read: impl Fn(u8, &Entry) -> Value) -> Value {
        Value::sequence((0..).zip(&self.sys.books.entries).map(|(number, entry)| read(number, entry)))
    }

    // ---- the two sides ----

    fn proxy(&self) -> Value {
        let (proxy, books) = (&self.sys.proxy, &self.sys.books);
        let open = matches!(proxy.state(), ConnectionState::Open | ConnectionState::Draining);
        let drain = self.proxy_drain();
        Value::record([
            ("phase", phase(proxy.state(), proxy.handshake())),
            ("why", why(proxy.close_reason())),
            ("opened", Value::Truth(books.proxy.opened)),
            ("cause", Value::word(drain.cause)),
            ("deadline", Value::Number(drain.deadline)),
            ("stage", self.each(|number, entry| stage(proxy, number, entry))),
            ("told", self.each(|_, entry| Value::word(entry.told.map_or("no", told)))),
            ("due", self.each(|number, _| Value::Number(self.due(number)))),
            ("window", Value::Number(proxy.window().into())),
            ("paused", Value::Truth(open && books.heard.paused)),
            ("pausedLanes", lanes(if open { books.heard.lanes } else { 0 })),
            ("stalled", Value::Truth(open && self.sys.stalled)),
            ("out", self.proxy_out()),
        ])
    }

    fn agent(&self) -> Value {
        let agent = &self.sys.agent;
        Value::record([
            ("phase", phase(agent.state(), agent.handshake())),
            ("why", why(agent.close_reason())),
            ("opened", Value::Truth(self.sys.books.agent.opened)),
            ("deadline", Value::Number(self.agent_deadline())),
            ("work", self.each(|number, entry| work(agent, number, entry))),
            ("pausing", Value::Truth(agent.is_pausing())),
            ("out", self.agent_out()),
        ])
    }

    // ---- what a copy does ----

    /// Frames that wait for no gate are written before any event.
    fn proxy_out(&self) -> Value {
        let mut copy = self.sys.proxy.clone();
        let frames = std::iter::from_fn(|| match copy.poll_transmit()? {
            ToAgent::Event { .. } => None,
            ToAgent::Offer(_) => Some(words(["offer"])),
            ToAgent::HandshakeAnswer(payload) => Some(words([if payload == 0 { "no" } else { "yes" }])),
            ToAgent::Refuse(_) => Some(words(["no"])),
            ToAgent::Cancel { id, exchange, .. } => Some(self.cancel(&id, exchange)),
            frame @ (ToAgent::Ping { .. } | ToAgent::Pong(_)) => Some(left_out(&frame)),
        });
        Value::sequence(frames)
    }

    fn agent_out(&self) -> Value {
        let mut copy = self.sys.agent.clone();
        let frames = std::iter::from_fn(|| copy.poll_transmit()).map(|frame| match frame {
            ToProxy::Offer(_) => words(["offer"]),
            ToProxy::HandshakeAnswer(payload) => words([if payload == 0 { "no" } else { "yes" }]),
            ToProxy::Refuse(_) => words(["no"]),
            ToProxy::Answer { id, echo, payload } => self.answer(Some(&id), echo, payload),
            ToProxy::AnswerUnseen { id, echo } => self.answer(Some(&id), echo, UNSEEN),
            ToProxy::Flow(action) => flow(None, action),
            ToProxy::Draining => words(["draining"]),
            ToProxy::Report { .. } | ToProxy::Ping { .. } | ToProxy::Pong(_) => left_out(&frame),
        });
        Value::sequence(frames)
    }

    /// The times that are left, and a drain that began with the last of them.
    fn future(&self) -> impl Iterator<Item = u64> {
        self.sys.clock + 1..=self.scenario.ticks + self.scenario.drain
    }

    fn proxy_drain(&self) -> Drain {
        if self.sys.proxy.state() != ConnectionState::Draining {
            return Drain { cause: "none", deadline: NEVER };
        }
        for deadline in self.future() {
            let mut copy = self.sys.proxy.clone();
            copy.handle_timeout(Timestamp::from_micros(deadline));
            match copy.close_reason() {
                Some(CloseReason::DrainDeadline) => return Drain { cause: "local", deadline },
                Some(CloseReason::PeerDrainDeadline) => return Drain { cause: "peer", deadline },
                Some(_) | None => {}
            }
        }
        Drain { cause: "unknown", deadline: NEVER }
    }

    fn agent_deadline(&self) -> u64 {
        if self.sys.agent.state() != ConnectionState::Draining {
            return NEVER;
        }
        let closes = |at: &u64| {
            let mut copy = self.sys.agent.clone();
            copy.handle_timeout(Timestamp::from_micros(*at));
            copy.close_reason().is_some()
        };
        self.future().find(closes).unwrap_or(NEVER)
    }

    /// When the caller stops waiting.
    fn due(&self, number: u8) -> u64 {
        let exchange = ExchangeId(number.into());
        let waits = match self.sys.proxy.stage(exchange) {
            Some(Stage::Queued | Stage::InFlight) => true,
            Some(Stage::Abandoned) | None => false,
        };
        let ticks = self.scenario.plan.get(usize::from(number)).and_then(|planned| planned.deadline);
        let Some(ticks) = ticks.filter(|_| waits) else { return NEVER };
        let expires = |at: &u64| {
            let mut copy = self.sys.proxy.clone();
            copy.handle_timeout(Timestamp::from_micros(*at));
            let mut events = std::iter::from_fn(|| copy.poll_event());
            events.any(|event| {
                matches!(event, ProxyEvent::Ended { exchange: of, ending: Ending::Expired | Ending::TimedOut } if of == exchange)
            })
        };
        (self.sys.clock + 1..=self.sys.clock + ticks).find(expires).unwrap_or(NEVER)
    }

    // ---- frames ----

    fn stream<F>(&self, stream: &Stream<F>, read: impl Fn(&F) -> Value) -> Value {
        let flowing = match stream.flowing {
            Flowing::On => "on",
            Flowing::Ended => "ended",
            Flowing::Broken => "broken",
            Flowing::Over => "over",
        };
        Value::record([
            ("frames", Value::sequence(stream.frames.iter().map(read))),
            ("flowing", Value::word(flowing)),
        ])
    }

    fn to_agent(&self, frame: &FromProxy<u8>) -> Value {
        match frame {
            FromProxy::Offer(_) => words(["offer"]),
            FromProxy::HandshakeAnswer(answer) => words([if answer.is_ok() { "yes" } else { "no" }]),
            FromProxy::Event { id, echo, payload, .. } => {
                let planned = self.scenario.plan.get(usize::from(*payload));
                let lane = planned.map(|planned| planned.lane);
                if lane != Some(Scenario::lane(id)) || *echo != self.echo(*payload) {
                    return left_out(frame);
                }
                Value::sequence([Value::word("event"), Value::Number(u64::from(*payload) + 1)])
            }
            FromProxy::Cancel { id, echo, .. } => self.cancel(id, *echo),
            FromProxy::Ping(_)
            | FromProxy::Pong
            | FromProxy::WrongDirection(_)
            | FromProxy::Unreadable(_)
            | FromProxy::Unknown(_) => left_out(frame),
        }
    }

    fn to_proxy(&self, frame: &FromAgent<u8>) -> Value {
        match frame {
            FromAgent::Offer(_) => words(["offer"]),
            FromAgent::HandshakeAnswer(answer) => words([if answer.is_ok() { "yes" } else { "no" }]),
            FromAgent::Answer { id, exchange, payload } => self.answer(id.as_ref(), *exchange, *payload),
            FromAgent::Flow { id, action } => flow(id.as_ref(), *action),
            FromAgent::Health { draining: true, .. } => words(["draining"]),
            FromAgent::Health { draining: false, .. }
            | FromAgent::Report { .. }
            | FromAgent::Ping(_)
            | FromAgent::Pong
            | FromAgent::WrongDirection(_)
            | FromAgent::Unreadable(_)
            | FromAgent::Unknown(_) => left_out(frame),
        }
    }

    /// What an event of that number carries for its answer to echo.
    fn echo(&self, number: u8) -> Option<ExchangeId> {
        match self.scenario.matching {
            Matching::OneAtATime => None,
            Matching::ByExchangeId => Some(ExchangeId(number.into())),
        }
    }

    fn cancel(&self, id: &CorrelationId, exchange: Option<ExchangeId>) -> Value {
        Value::sequence([Value::word("cancel"), lane(Scenario::lane(id)), named(exchange)])
    }

    fn answer(&self, id: Option<&CorrelationId>, exchange: Option<ExchangeId>, payload: u8) -> Value {
        let of = if payload == UNSEEN { 0 } else { u64::from(payload) + 1 };
        let lane = id.map_or(Value::word("none"), |id| lane(Scenario::lane(id)));
        Value::sequence([Value::word("answer"), lane, named(exchange), Value::Number(of)])
    }
}

/// An exchange as the specification counts, from 1; 0 for none.
fn named(exchange: Option<ExchangeId>) -> Value {
    Value::Number(exchange.map_or(0, |ExchangeId(number)| number + 1))
}

pub(super) fn lane(lane: u8) -> Value {
    Value::word(if lane == 0 { "a" } else { "b" })
}

pub(super) fn lanes(bits: u8) -> Value {
    Value::Set((0..2).filter(|number| bits & (1 << number) != 0).map(lane).collect())
}

fn words<const N: usize>(words: [&str; N]) -> Value {
    Value::sequence(words.map(Value::word))
}

/// A frame that the specification doesn't know: equal to none of its own.
fn left_out(frame: &impl core::fmt::Debug) -> Value {
    Value::Word(format!("left out: {frame:?}"))
}

fn flow(id: Option<&CorrelationId>, action: FlowAction) -> Value {
    match (id.map(Scenario::lane), action) {
        (None, FlowAction::Pause) => words(["pause"]),
        (None, FlowAction::Resume) => words(["resume"]),
        (None, FlowAction::UpdateCapacity { buffer_available }) => {
            Value::sequence([Value::word("room"), Value::Number(buffer_available)])
        }
        (Some(number), FlowAction::Pause) => Value::sequence([Value::word("pauseOf"), lane(number)]),
        (Some(number), FlowAction::Resume) => Value::sequence([Value::word("resumeOf"), lane(number)]),
        (Some(_), FlowAction::UpdateCapacity { .. }) => left_out(&(id, action)),
    }
}

fn phase(state: ConnectionState, stage: Option<handshake::Stage>) -> Value {
    Value::word(match (state, stage) {
        (ConnectionState::Opening, Some(handshake::Stage::AwaitingOffer)) => "awaitingOffer",
        (ConnectionState::Opening, Some(handshake::Stage::Deciding)) => "deciding",
        (ConnectionState::Opening, Some(handshake::Stage::AwaitingAnswer)) => "awaitingAnswer",
        (ConnectionState::Opening, None) => "opening without a stage",
        (ConnectionState::Open, _) => "open",
        (ConnectionState::Draining, _) => "draining",
        (ConnectionState::Closed, _) => "closed",
    })
}

fn why(reason: Option<&CloseReason>) -> Value {
    Value::word(match reason {
        None => "none",
        Some(CloseReason::Closed) => "closed",
        Some(CloseReason::Rejected) => "rejected",
        Some(CloseReason::Drained) => "drained",
        Some(CloseReason::DrainDeadline) => "drainDeadline",
        Some(CloseReason::PeerDrained) => "peerDrained",
        Some(CloseReason::PeerDrainDeadline) => "peerDrainDeadline",
        Some(CloseReason::PeerClosed) => "peerClosed",
        Some(CloseReason::Refused(_)) => "refused",
        Some(CloseReason::HandshakeDeadline(_)) => "handshakeDeadline",
        Some(CloseReason::Silent(_)) => "silent",
        Some(CloseReason::Unresponsive { .. }) => "unresponsive",
        Some(CloseReason::Violation(_)) => "violation",
        Some(CloseReason::TransportLost) => "transportLost",
    })
}

const fn told(told: Told) -> &'static str {
    match told {
        Told::Answered => "answered",
        Told::Expired => "expired",
        Told::TimedOut => "timedOut",
        Told::Cancelled(false) => "withdrawn",
        Told::Cancelled(true) => "abandoned",
        Told::Refused => "refused",
        Told::Lost(false) => "lostUnwritten",
        Told::Lost(true) => "lostWritten",
    }
}

fn stage(proxy: &ProxyConnection<u8>, number: u8, entry: &Entry) -> Value {
    Value::word(match proxy.stage(ExchangeId(number.into())) {
        Some(Stage::Queued) => "queued",
        Some(Stage::InFlight) => "inFlight",
        Some(Stage::Abandoned) => "abandoned",
        None if entry.admitted => "over",
        None => "planned",
    })
}

fn work(agent: &AgentConnection<u8>, number: u8, entry: &Entry) -> Value {
    Value::word(match agent.work(ExchangeId(number.into())) {
        Some(Work::Waiting) => "waiting",
        Some(Work::Skipped) => "skipped",
        Some(Work::Running) => "running",
        Some(Work::Told) => "told",
        None if entry.at_agent == AtAgent::No => "no",
        None => "gone",
    })
}

//! The proxy's end of a connection: events out, verdicts in.

mod commands;
mod effects;
mod errors;
mod facts;
mod limits;
mod open;

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use crate::machine::Payload;
use crate::machine::closing::{CloseReason, DrainCause, Phase};
use crate::machine::exchange::{Ending, ExchangeId, Fact, Stage};
use crate::machine::flow::{Gate, Pause, Shut};
use crate::machine::frames::ToAgent;
use crate::machine::handshake::{self, Opening, Pending, Terms};
use crate::machine::outbox::Outbox;
use crate::machine::tally::Tally;
use crate::machine::time::{Timestamp, earliest};
use crate::wire::{CorrelationId, FrameType};

pub use errors::{CancelError, DecisionError, SubmitError};
pub use limits::{ProxyLatency, ProxyLimits, ProxyStats, QueueLimits};
use open::Open;

/// What happened, for the application.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ProxyEvent<P> {
    /// The handshake is done; events may be submitted.
    Opened,
    /// An exchange reached its end. Told once per admitted exchange.
    Ended {
        /// Which one.
        exchange: ExchangeId,
        /// How.
        ending: Ending<P>,
    },
    /// The agent reported its health.
    Health(P),
    /// The agent sent metrics, or asks for configuration.
    Report {
        /// Which of the two.
        frame: FrameType,
        /// The report.
        payload: P,
    },
    /// No new exchange is admitted from here on.
    Draining(DrainCause),
    /// The connection has ended. Always the last event.
    Closed(CloseReason),
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectionState {
    /// The handshake is under way.
    Opening,
    /// Events flow.
    Open,
    /// What is in flight finishes; nothing new is admitted.
    Draining,
    /// It is over.
    Closed,
}

/// The proxy's end of one connection, as a pure machine.
///
/// ```text
/// opening --accepted--> open --drain--> draining --> closed
///    '---------------------'---------------'------------^
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProxyConnection<P> {
    limits: ProxyLimits,
    state: State<P>,
    outbox: Outbox<ToAgent<P>>,
    events: VecDeque<ProxyEvent<P>>,
    stats: Tally<ProxyStats>,
    latency: Tally<ProxyLatency>,
    /// The latest time heard of. Measured by, not acted upon.
    clock: Tally<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State<P> {
    /// The handshake is under way; there are no tables to touch.
    Opening(Opening<P>),
    /// Events flow, or drain.
    Open(Box<Open<P>>),
    /// It is over, and this is why.
    Closed(CloseReason),
}

impl<P: Payload> ProxyConnection<P> {
    /// A connection that an agent has dialled: its registration is awaited.
    pub fn accept(limits: ProxyLimits, now: Timestamp) -> Self {
        Self::new(limits, Opening::accepter(limits.handshake_timeout, now))
    }

    /// A connection to an agent that listens: `offer` is sent first.
    pub fn dial(limits: ProxyLimits, offer: P, now: Timestamp) -> Self {
        let mut this = Self::new(limits, Opening::dialer(limits.handshake_timeout, now));
        this.outbox.push(ToAgent::Offer(offer));
        this
    }

    fn new(limits: ProxyLimits, opening: Opening<P>) -> Self {
        Self {
            limits,
            state: State::Opening(opening),
            outbox: Outbox::new(),
            events: VecDeque::new(),
            stats: Tally::default(),
            latency: Tally::default(),
            clock: Tally::default(),
        }
    }

    /// Where the connection stands.
    pub fn state(&self) -> ConnectionState {
        match &self.state {
            State::Opening(_) => ConnectionState::Opening,
            State::Open(open) => match open.phase {
                Phase::Serving => ConnectionState::Open,
                Phase::Draining { .. } => ConnectionState::Draining,
            },
            State::Closed(_) => ConnectionState::Closed,
        }
    }

    /// Where the handshake stands, while there is one.
    pub const fn handshake(&self) -> Option<handshake::Stage> {
        match &self.state {
            State::Opening(opening) => Some(opening.stage()),
            State::Open(_) | State::Closed(_) => None,
        }
    }

    /// Unanswered events on the wire, abandoned ones included.
    pub fn in_flight(&self) -> usize {
        self.open().map_or(0, |open| open.correlation.in_flight())
    }

    /// Events that wait to be written.
    pub fn waiting(&self) -> usize {
        self.open().map_or(0, |open| open.correlation.waiting())
    }

    /// Late answers that the agent owes.
    pub fn owed(&self) -> usize {
        self.open().map_or(0, |open| open.correlation.owed().len())
    }

    /// Unanswered events that may be on the wire at once; zero unless open.
    pub fn window(&self) -> u32 {
        self.open().map_or(0, |open| open.flow.window())
    }

    /// Why no event could be written now, leaving aside its own request; `None` if one could.
    pub fn shut(&self) -> Option<Shut> {
        match self.open()?.gate() {
            Gate::Open => None,
            Gate::Shut(shut) => Some(shut),
        }
    }

    /// Whether the agent has paused the connection.
    pub fn is_paused(&self) -> bool {
        self.open().is_some_and(|open| open.flow.pause() == Pause::Paused)
    }

    /// Whether the agent has paused this request.
    pub fn is_request_paused(&self, id: &CorrelationId) -> bool {
        self.open().is_some_and(|open| open.flow.is_paused_id(id))
    }

    /// What was settled in the handshake, once it is done.
    pub fn terms(&self) -> Option<Terms> {
        self.open().map(|open| open.terms)
    }

    /// Why the connection ended, once it has.
    pub const fn close_reason(&self) -> Option<&CloseReason> {
        match &self.state {
            State::Closed(reason) => Some(reason),
            State::Opening(_) | State::Open(_) => None,
        }
    }

    /// Counters.
    pub fn stats(&self) -> ProxyStats {
        *self.stats
    }

    /// How long events waited, and how long their answers took.
    pub fn latency(&self) -> &ProxyLatency {
        &self.latency
    }

    /// Where a live exchange stands.
    pub fn stage(&self, exchange: ExchangeId) -> Option<Stage> {
        self.open()?.correlation.stage(exchange)
    }

    /// Says which of the tables disagree, if any do. For tests and model checkers.
    pub fn inconsistency(&self) -> Option<&'static str> {
        let open = self.open()?;
        if open.correlation.owed().len() > self.limits.owed.count {
            return Some("more owed than allowed");
        }
        open.correlation.inconsistency(&open.flow)
    }

    fn open(&self) -> Option<&Open<P>> {
        match &self.state {
            State::Open(open) => Some(open),
            State::Opening(_) | State::Closed(_) => None,
        }
    }

    /// The registration that awaits a decision, once.
    pub fn poll_offer(&mut self) -> Option<Pending<P>> {
        match &mut self.state {
            State::Opening(opening) => opening.take_offer().map(|offer| Pending { offer }),
            State::Open(_) | State::Closed(_) => None,
        }
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<ProxyEvent<P>> {
        self.events.pop_front()
    }

    /// The next frame to write. An event counts as written from here on.
    pub fn poll_transmit(&mut self) -> Option<ToAgent<P>> {
        if let Some(frame) = self.outbox.pop() {
            return Some(frame);
        }
        let State::Open(open) = &mut self.state else { return None };
        let Gate::Open = open.gate() else { return None };
        let exchange = open.correlation.next_ready()?;
        // Being written depends on no clock.
        let applied = open.correlation.apply(exchange, Fact::Written, &open.flow, Timestamp::ZERO)?;
        self.stats.written = self.stats.written.saturating_add(1);
        let waited = self.clock.since(applied.since);
        self.latency.queued.record(waited);
        Some(ToAgent::Event {
            kind: applied.kind,
            id: applied.id,
            exchange: open.wire_id(exchange),
            payload: applied.payload?,
        })
    }

    /// When [`Self::handle_timeout`] should be called next, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        match &self.state {
            State::Opening(opening) => Some(opening.deadline()),
            State::Open(open) => {
                let exchanges = open.correlation.poll_timeout(self.limits.owed);
                let drain = match open.phase {
                    Phase::Serving => None,
                    Phase::Draining { deadline, .. } => Some(deadline),
                };
                earliest(earliest(exchanges, drain), open.keepalive.poll_timeout())
            }
            State::Closed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;

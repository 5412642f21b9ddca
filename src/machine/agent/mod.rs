//! The agent's end of a connection: events in, one answer each out.

mod commands;
mod effects;
mod facts;
mod limits;

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use crate::machine::Payload;
use crate::machine::closing::{CloseReason, Phase};
use crate::machine::exchange::ExchangeId;
use crate::machine::frames::ToProxy;
use crate::machine::handshake::{self, Opening, Pending};
use crate::machine::inbox::{Inbox, Signal, Work};
use crate::machine::keepalive::Keepalive;
use crate::machine::outbox::Outbox;
use crate::machine::proxy::ConnectionState;
use crate::machine::tally::Tally;
use crate::machine::time::{Timestamp, earliest};
use crate::wire::{CancelReason, CorrelationId, EventKind};

pub use commands::AnswerError;
pub use limits::{AgentLimits, AgentStats};

/// What happened, for the application.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AgentEvent<P> {
    /// The handshake is done; events will come.
    Opened,
    /// An event to be answered, once.
    Event {
        /// Names it towards [`AgentConnection::answer`].
        exchange: ExchangeId,
        /// What kind of event.
        kind: EventKind,
        /// The request it belongs to.
        id: CorrelationId,
        /// The exchange id that the answer must echo.
        echo: Option<ExchangeId>,
        /// The event itself.
        payload: P,
    },
    /// Nobody waits for the answer to this event any more. It is still to be answered; the least will do.
    Cancelled {
        /// Which event.
        exchange: ExchangeId,
        /// Why.
        reason: CancelReason,
    },
    /// The connection has ended. Always the last event; what was unanswered stays so.
    Closed(CloseReason),
}

/// The agent's end of one connection, as a pure machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AgentConnection<P> {
    limits: AgentLimits,
    state: State<P>,
    outbox: Outbox<ToProxy<P>>,
    events: VecDeque<AgentEvent<P>>,
    stats: Tally<AgentStats>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State<P> {
    /// The handshake is under way.
    Opening(Opening<P>),
    /// Events come, or the drain waits for the last.
    Open(Box<Open<P>>),
    /// It is over, and this is why.
    Closed(CloseReason),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Open<P> {
    phase: Phase,
    /// When the proxy was last given or took anything that bears on the drain's linger.
    quiet_since: Timestamp,
    inbox: Inbox<P>,
    keepalive: Keepalive,
}

impl<P: Payload> AgentConnection<P> {
    /// A connection that this agent has dialled: `registration` is sent first.
    pub fn dial(limits: AgentLimits, registration: P, now: Timestamp) -> Self {
        let mut this = Self::new(limits, Opening::dialer(limits.handshake_timeout, now));
        this.outbox.push(ToProxy::Offer(registration));
        this
    }

    /// A connection that a proxy has dialled: its forward handshake is awaited.
    pub fn accept(limits: AgentLimits, now: Timestamp) -> Self {
        Self::new(limits, Opening::accepter(limits.handshake_timeout, now))
    }

    fn new(limits: AgentLimits, opening: Opening<P>) -> Self {
        Self {
            limits,
            state: State::Opening(opening),
            outbox: Outbox::new(),
            events: VecDeque::new(),
            stats: Tally::default(),
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

    /// Events that came and were not answered.
    pub fn unanswered(&self) -> usize {
        self.open().map_or(0, |open| open.inbox.unanswered())
    }

    /// Events that the application has.
    pub fn running(&self) -> usize {
        self.open().map_or(0, |open| open.inbox.running())
    }

    /// Whether the proxy has been asked to pause.
    pub fn is_pausing(&self) -> bool {
        self.open().is_some_and(|open| open.inbox.signal() == Signal::Paused)
    }

    /// Whether the driver should read: not while a proxy that heeds no pause has filled the backlog,
    /// nor while one that does not read lets the answers pile up.
    pub fn wants_frames(&self) -> bool {
        let limits = self.limits.inbox;
        let piled = self.outbox.len() >= limits.saturated || self.outbox.bytes() >= limits.saturated_bytes;
        self.open().is_none_or(|open| !open.inbox.is_saturated() && !piled)
    }

    /// Where an unanswered event stands.
    pub fn work(&self, exchange: ExchangeId) -> Option<Work> {
        self.open()?.inbox.work(exchange)
    }

    /// Why the connection ended, once it has.
    pub const fn close_reason(&self) -> Option<&CloseReason> {
        match &self.state {
            State::Closed(reason) => Some(reason),
            State::Opening(_) | State::Open(_) => None,
        }
    }

    /// Counters.
    pub fn stats(&self) -> AgentStats {
        *self.stats
    }

    /// Says which of the tables disagree, if any do. For tests and model checkers.
    pub fn inconsistency(&self) -> Option<&'static str> {
        self.open()?.inbox.inconsistency()
    }

    fn open(&self) -> Option<&Open<P>> {
        match &self.state {
            State::Open(open) => Some(open),
            State::Opening(_) | State::Closed(_) => None,
        }
    }

    /// The handshake that awaits a decision, once.
    pub fn poll_offer(&mut self) -> Option<Pending<P>> {
        match &mut self.state {
            State::Opening(opening) => opening.take_offer().map(|offer| Pending { offer }),
            State::Open(_) | State::Closed(_) => None,
        }
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<AgentEvent<P>> {
        self.events.pop_front()
    }

    /// The next frame to write.
    pub fn poll_transmit(&mut self) -> Option<ToProxy<P>> {
        self.outbox.pop()
    }

    /// When [`Self::handle_timeout`] should be called next, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        match &self.state {
            State::Opening(opening) => Some(opening.deadline()),
            State::Open(open) => {
                earliest(open.drain_timeout(self.limits.drain_linger), open.keepalive.poll_timeout())
            }
            State::Closed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;

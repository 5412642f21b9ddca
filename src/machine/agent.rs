//! The agent's end of a connection: events in, one answer each out.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::fmt;
use core::mem;
use core::time::Duration;

use crate::wire::{CancelReason, CorrelationId, EventKind, FrameType};

use super::Payload;
use super::closing::{CloseReason, DrainCause, Left, Phase, Violation, drain_step};
use super::exchange::ExchangeId;
use super::frames::{FromProxy, ToProxy};
use super::handshake::{self, Input, Opening, Pending};
use super::inbox::{Arrival, Inbox, InboxLimits, Signal, Turn, Work};
use super::keepalive::{Due, Keepalive, KeepaliveLimits};
use super::outbox::{ControlLimits, Outbox};
use super::proxy::{ConnectionState, DecisionError, silence};
use super::tally::Tally;
use super::time::{Timestamp, earliest};

/// What bounds an agent's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AgentLimits {
    /// Events that are not answered yet.
    pub inbox: InboxLimits,
    /// Time for the whole handshake. Default 10 s.
    pub handshake_timeout: Duration,
    /// A drain with nothing left to answer still waits this long for events that were under way
    /// when it was announced. Default 250 ms.
    pub drain_linger: Duration,
    /// Pings and half frames.
    pub keepalive: KeepaliveLimits,
    /// What a peer can make us hold.
    pub control: ControlLimits,
}

impl Default for AgentLimits {
    fn default() -> Self {
        Self {
            inbox: InboxLimits::default(),
            handshake_timeout: Duration::from_secs(10),
            drain_linger: Duration::from_millis(250),
            keepalive: KeepaliveLimits::default(),
            control: ControlLimits::default(),
        }
    }
}

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

/// Why an answer was not taken. The machine is as it was (P15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnswerError {
    /// The event was answered already, or never given out.
    Unknown,
    /// The connection has ended, or has not begun.
    NotOpen,
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "the event was answered already, or never given out",
            Self::NotOpen => "the connection is not open",
        })
    }
}

impl core::error::Error for AnswerError {}

/// What an agent's connection has seen so far. Only grows; no part of the compared state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentStats {
    /// Events that came in.
    pub events: u64,
    /// Answers from the application.
    pub answered: u64,
    /// Least possible answers to events cancelled before their turn.
    pub answered_unseen: u64,
    /// Cancels that found their event unanswered.
    pub cancelled: u64,
    /// Cancels that came after the answer.
    pub late_cancels: u64,
    /// Pauses sent.
    pub pauses: u64,
    /// Resumes sent.
    pub resumes: u64,
    /// Frames of a type not known, skipped.
    pub unknown_frames: u64,
    /// Frames whose payload could not be read, dropped.
    pub unreadable_frames: u64,
    /// Pings sent.
    pub pings: u64,
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

    // ---- questions ----

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

    /// Whether the driver should read: not while a proxy that heeds no pause has filled the backlog.
    pub fn wants_frames(&self) -> bool {
        self.open().is_none_or(|open| !open.inbox.is_saturated())
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

    // ---- commands ----

    /// Answers the proxy's handshake with yes and opens.
    ///
    /// # Errors
    /// [`DecisionError::NothingToDecide`] if the connection has ended meanwhile.
    pub fn accept_offer(&mut self, _: Pending<P>, answer: P, now: Timestamp) -> Result<(), DecisionError> {
        self.decide(Input::Accept)?;
        self.outbox.push(ToProxy::HandshakeAnswer(answer));
        self.become_open(now);
        Ok(())
    }

    /// Answers the proxy's handshake with no and closes.
    ///
    /// # Errors
    /// [`DecisionError::NothingToDecide`] if the connection has ended meanwhile.
    pub fn reject_offer(&mut self, _: Pending<P>, answer: P) -> Result<(), DecisionError> {
        self.decide(Input::Reject)?;
        self.outbox.push(ToProxy::HandshakeAnswer(answer));
        self.close_with(CloseReason::Rejected);
        Ok(())
    }

    /// Answers an event (P1, P3).
    ///
    /// # Errors
    /// [`AnswerError`] if the event is not this side's to answer any more.
    pub fn answer(&mut self, exchange: ExchangeId, payload: P, now: Timestamp) -> Result<(), AnswerError> {
        let State::Open(open) = &mut self.state else { return Err(AnswerError::NotOpen) };
        let (id, echo) = open.inbox.answer(exchange).ok_or(AnswerError::Unknown)?;
        open.quiet_since = now;
        self.stats.answered = self.stats.answered.saturating_add(1);
        self.outbox.push(ToProxy::Answer { id, echo, payload });
        self.advance();
        self.review(now);
        Ok(())
    }

    /// Sends health, metrics or a request for configuration.
    ///
    /// # Errors
    /// [`AnswerError::NotOpen`] unless the connection is open.
    pub fn report(&mut self, frame: FrameType, payload: P) -> Result<(), AnswerError> {
        match &self.state {
            State::Open(_) => {
                self.outbox.push(ToProxy::Report { frame, payload });
                Ok(())
            }
            State::Opening(_) | State::Closed(_) => Err(AnswerError::NotOpen),
        }
    }

    /// Announces that this agent goes, answers what it has, and closes when the proxy does, when
    /// nothing has come for the linger time, or at `deadline` (P9).
    pub fn drain(&mut self, deadline: Timestamp, now: Timestamp) {
        let open = match &mut self.state {
            State::Opening(_) => return self.close_with(CloseReason::Drained),
            State::Open(open) => open,
            State::Closed(_) => return,
        };
        match &mut open.phase {
            Phase::Draining { deadline: earlier, .. } => *earlier = deadline.min(*earlier),
            Phase::Serving => {
                open.phase = Phase::Draining { cause: DrainCause::Local, deadline };
                open.quiet_since = now;
                self.outbox.push(ToProxy::Draining);
            }
        }
        self.review(now);
    }

    /// Ends the connection now. What is unanswered stays so.
    pub fn close(&mut self) {
        self.close_with(CloseReason::Closed);
    }

    // ---- facts ----

    /// Takes one frame from the proxy.
    pub fn handle_frame(&mut self, frame: FromProxy<P>, now: Timestamp) {
        match &self.state {
            State::Opening(_) => self.handle_opening_frame(frame, now),
            State::Open(_) => self.handle_open_frame(frame, now),
            State::Closed(_) => {}
        }
    }

    /// Bytes came. `mid_frame`: they end within a frame; `completed`: they completed one.
    pub fn handle_progress(&mut self, mid_frame: bool, completed: bool, now: Timestamp) {
        if let State::Open(open) = &mut self.state {
            open.keepalive.handle_heard(now);
            open.keepalive.handle_partial(mid_frame, completed, now);
        }
    }

    /// The proxy broke a rule that the bytes alone show.
    pub fn handle_violation(&mut self, violation: Violation) {
        self.close_with(CloseReason::Violation(violation));
    }

    /// The proxy ended its half of the stream. For an agent that drains with nothing left to
    /// answer this is how a drain ends well.
    pub fn handle_eof(&mut self) {
        let drained = self
            .open()
            .is_some_and(|open| matches!(open.phase, Phase::Draining { .. }) && open.inbox.unanswered() == 0);
        self.close_with(if drained { CloseReason::Drained } else { CloseReason::PeerClosed });
    }

    /// The transport failed.
    pub fn handle_transport_lost(&mut self) {
        self.close_with(CloseReason::TransportLost);
    }

    /// Time has passed. Early calls change nothing (P13).
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if let State::Opening(opening) = &self.state {
            if opening.deadline() <= now {
                let reason = CloseReason::HandshakeDeadline(opening.limit());
                self.close_with(reason);
            }
            return;
        }
        self.review(now);
        let reading = self.wants_frames();
        let State::Open(open) = &mut self.state else { return };
        match open.keepalive.handle_timeout(reading, now) {
            Due::Nothing => {}
            Due::Ping => {
                self.stats.pings = self.stats.pings.saturating_add(1);
                self.outbox.push(ToProxy::Ping { sequence: self.stats.pings });
            }
            Due::Silent => self.close_with(CloseReason::Silent(silence(self.limits.keepalive))),
            Due::StalledFrame => self.close_with(CloseReason::Violation(Violation::StalledFrame)),
        }
    }

    // ---- polls ----

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
        self.outbox.pop(|frame| matches!(frame, ToProxy::Pong(_)))
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

    // ---- within ----

    fn decide(&self, input: Input) -> Result<(), DecisionError> {
        let State::Opening(opening) = &self.state else { return Err(DecisionError::NothingToDecide) };
        opening.decidable(input).then_some(()).ok_or(DecisionError::NothingToDecide)
    }

    fn become_open(&mut self, now: Timestamp) {
        self.state = State::Open(Box::new(Open {
            phase: Phase::Serving,
            quiet_since: now,
            inbox: Inbox::new(self.limits.inbox),
            keepalive: Keepalive::new(self.limits.keepalive, now),
        }));
        self.events.push_back(AgentEvent::Opened);
    }

    fn handle_opening_frame(&mut self, frame: FromProxy<P>, now: Timestamp) {
        let State::Opening(opening) = &mut self.state else { return };
        let violation = opening.violation(frame.type_byte());
        let input = match &frame {
            FromProxy::Offer(_) => Input::Offer,
            FromProxy::HandshakeAnswer(Ok(())) => Input::AnswerAccepts,
            FromProxy::HandshakeAnswer(Err(_)) => Input::AnswerRefuses,
            FromProxy::Event { .. }
            | FromProxy::Cancel { .. }
            | FromProxy::Ping(_)
            | FromProxy::Pong
            | FromProxy::WrongDirection(_)
            | FromProxy::Unreadable(_)
            | FromProxy::Unknown(_) => Input::OtherFrame,
        };
        match handshake::step(opening.stage(), input) {
            handshake::Step::Decide => {
                if let FromProxy::Offer(offer) = frame {
                    opening.decide(offer);
                }
            }
            handshake::Step::Open => self.become_open(now),
            handshake::Step::Refused => {
                if let FromProxy::HandshakeAnswer(Err(refusal)) = frame {
                    self.close_with(CloseReason::Refused(refusal.0));
                }
            }
            handshake::Step::Violation
            | handshake::Step::ReplyAndOpen
            | handshake::Step::ReplyAndClose
            | handshake::Step::TooSlow
            | handshake::Step::Misuse => self.close_with(CloseReason::Violation(violation)),
        }
    }

    fn handle_open_frame(&mut self, frame: FromProxy<P>, now: Timestamp) {
        match frame {
            FromProxy::Event { exchange, kind, id, echo, payload } => {
                self.handle_event(Arrival { exchange, id, echo, kind, payload }, now);
            }
            FromProxy::Cancel { id, echo, reason } => self.handle_cancel(&id, echo, reason),
            FromProxy::Ping(payload) => {
                if let Err(violation) = self.outbox.push_pong(payload, self.limits.control, ToProxy::Pong) {
                    self.close_with(CloseReason::Violation(violation));
                }
            }
            FromProxy::Pong => {}
            FromProxy::Unknown(_) => self.stats.unknown_frames = self.stats.unknown_frames.saturating_add(1),
            FromProxy::Unreadable(_) => {
                self.stats.unreadable_frames = self.stats.unreadable_frames.saturating_add(1)
            }
            FromProxy::Offer(_) | FromProxy::HandshakeAnswer(_) => {
                self.close_with(CloseReason::Violation(Violation::RepeatedHandshake));
            }
            FromProxy::WrongDirection(frame) => {
                self.close_with(CloseReason::Violation(Violation::WrongDirection(frame)));
            }
        }
    }

    fn handle_event(&mut self, arrival: Arrival<P>, now: Timestamp) {
        let (length, limit) = (arrival.id.as_str().len(), self.limits.control.correlation_id);
        if length > limit {
            return self.close_with(CloseReason::Violation(Violation::LongCorrelationId { length, limit }));
        }
        let State::Open(open) = &mut self.state else { return };
        open.quiet_since = now;
        if open.inbox.arrive(arrival) {
            self.stats.events = self.stats.events.saturating_add(1);
        }
        self.advance();
    }

    fn handle_cancel(&mut self, id: &CorrelationId, echo: Option<ExchangeId>, reason: CancelReason) {
        let State::Open(open) = &mut self.state else { return };
        let before = open.inbox.unanswered();
        let told = open.inbox.cancel(id, echo);
        let counter = if before == 0 { &mut self.stats.late_cancels } else { &mut self.stats.cancelled };
        *counter = counter.saturating_add(1);
        self.events.extend(told.into_iter().map(|exchange| AgentEvent::Cancelled { exchange, reason }));
        self.advance();
    }

    /// Gives out what has its turn, and sends the signal that the backlog asks for.
    fn advance(&mut self) {
        let State::Open(open) = &mut self.state else { return };
        while let Some(turn) = open.inbox.next_turn() {
            match turn {
                Turn::Deliver(Arrival { exchange, id, echo, kind, payload }) => {
                    self.events.push_back(AgentEvent::Event { exchange, kind, id, echo, payload });
                }
                Turn::AnswerUnseen { id, echo } => {
                    self.stats.answered_unseen = self.stats.answered_unseen.saturating_add(1);
                    self.outbox.push(ToProxy::AnswerUnseen { id, echo });
                }
            }
        }
        let Some(action) = open.inbox.signal_due() else { return };
        let counter = match open.inbox.signal() {
            Signal::Paused => &mut self.stats.pauses,
            Signal::Resumed => &mut self.stats.resumes,
        };
        *counter = counter.saturating_add(1);
        self.outbox.push(ToProxy::Flow(action));
    }

    /// Ends the connection if a drain is done.
    fn review(&mut self, now: Timestamp) {
        let State::Open(open) = &self.state else { return };
        let Phase::Draining { cause, deadline } = open.phase else { return };
        let lingered = open.quiet_since.after(self.limits.drain_linger) <= now;
        let left = if open.inbox.unanswered() == 0 && lingered { Left::None } else { Left::Some };
        if let Some(reason) = drain_step(cause, left, deadline <= now) {
            self.close_with(reason);
        }
    }

    fn close_with(&mut self, reason: CloseReason) {
        if let State::Closed(_) = self.state {
            return;
        }
        if !reason.flushes() {
            self.outbox.clear();
        }
        let before = mem::replace(&mut self.state, State::Closed(reason.clone()));
        if let State::Opening(opening) = before
            && opening.owes_refusal(&reason)
        {
            self.outbox.push(ToProxy::Refuse(reason.clone()));
        }
        // An event that was given out and not fetched can't be answered any more.
        self.events.retain(|event| matches!(event, AgentEvent::Opened));
        self.events.push_back(AgentEvent::Closed(reason));
    }
}

impl<P: Payload> Open<P> {
    /// When a drain asks for attention.
    fn drain_timeout(&self, linger: Duration) -> Option<Timestamp> {
        let Phase::Draining { deadline, .. } = self.phase else { return None };
        let quiet = self.quiet_since.after(linger);
        Some(if self.inbox.unanswered() == 0 { quiet.min(deadline) } else { deadline })
    }
}

impl<P> FromProxy<P> {
    /// The type byte under which the frame came.
    pub const fn type_byte(&self) -> u8 {
        match self {
            Self::Offer(_) => FrameType::HandshakeRequest.to_byte(),
            Self::HandshakeAnswer(_) => FrameType::HandshakeResponse.to_byte(),
            Self::Event { kind, .. } => kind.frame_type().to_byte(),
            Self::Cancel { .. } => FrameType::Cancel.to_byte(),
            Self::WrongDirection(frame) | Self::Unreadable(frame) => frame.to_byte(),
            Self::Ping(_) => FrameType::Ping.to_byte(),
            Self::Pong => FrameType::Pong.to_byte(),
            Self::Unknown(byte) => *byte,
        }
    }
}

//! The proxy's end of a connection: events out, verdicts in.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::fmt;
use core::mem;
use core::time::Duration;

use crate::wire::{CancelReason, CorrelationId, EventKind, FlowAction, FrameType};

use super::Payload;
use super::cancellation::OwedLimits;
use super::closing::{CloseReason, DrainCause, Left, Phase, Violation, drain_step};
use super::correlation::{Applied, Correlation, Matched, Patience, Submission};
use super::exchange::{End, Ending, ExchangeId, Fact, Stage, Step};
use super::flow::{Backlog, Flow, Gate, Serving, Shut, gate};
use super::frames::{FromAgent, ToAgent};
use super::handshake::{self, Input, Matching, Opening, Pending, Terms};
use super::keepalive::{Due, Keepalive, KeepaliveLimits};
use super::outbox::{ControlLimits, Outbox};
use super::tally::Tally;
use super::time::{Timestamp, earliest};

/// How much may wait to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueueLimits {
    /// Waiting events. Default 1,024.
    pub count: usize,
    /// Bytes of all waiting events together. Default 64 MiB.
    pub bytes: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { count: 1_024, bytes: 64 << 20 }
    }
}

/// What bounds a proxy's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProxyLimits {
    /// Unanswered events on the wire, whatever the agent allows. Default 1,024.
    pub window: u32,
    /// Events that wait to be written.
    pub queue: QueueLimits,
    /// Answers owed to abandoned exchanges.
    pub owed: OwedLimits,
    /// Time for the whole handshake. Default 10 s.
    pub handshake_timeout: Duration,
    /// Time for a drain that the agent announced. Default 30 s.
    pub peer_drain_timeout: Duration,
    /// Pings and half frames.
    pub keepalive: KeepaliveLimits,
    /// What a peer can make us hold.
    pub control: ControlLimits,
}

impl Default for ProxyLimits {
    fn default() -> Self {
        Self {
            window: 1_024,
            queue: QueueLimits::default(),
            owed: OwedLimits::default(),
            handshake_timeout: Duration::from_secs(10),
            peer_drain_timeout: Duration::from_secs(30),
            keepalive: KeepaliveLimits::default(),
            control: ControlLimits::default(),
        }
    }
}

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

/// Why an event was not admitted. The machine is as it was (P15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubmitError {
    /// The handshake is not done.
    NotOpen,
    /// The connection drains.
    Draining,
    /// The connection has ended.
    Closed,
    /// The exchange id is live.
    DuplicateExchange,
    /// The correlation id is empty, or longer than the limit.
    BadCorrelationId {
        /// Bytes it has.
        length: usize,
        /// Bytes it may have, at least one.
        limit: usize,
    },
    /// The agent did not ask for this kind of event.
    Unsupported(EventKind),
    /// The deadline has passed already.
    Late,
    /// It can't be written now, and the caller would not wait.
    WouldWait(Shut),
    /// It would have to wait, and the queue is full.
    QueueFull,
}

/// Why a cancellation did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelError {
    /// The exchange has ended already, or never was.
    Unknown,
}

/// Why a decision on an offer came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecisionError {
    /// No offer awaits a decision: it was decided, or the connection has ended.
    NothingToDecide,
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpen => f.write_str("the handshake is not done; wait for it"),
            Self::Draining => f.write_str("the connection drains; use another"),
            Self::Closed => f.write_str("the connection is closed; use another"),
            Self::DuplicateExchange => f.write_str("the exchange id is in use; ids are never used twice"),
            Self::BadCorrelationId { length, limit } => {
                write!(f, "a correlation id of {length} bytes; 1 to {limit} are allowed")
            }
            Self::Unsupported(kind) => {
                write!(f, "the agent did not register for {} events", kind.name())
            }
            Self::Late => f.write_str("the deadline has passed already"),
            Self::WouldWait(shut) => write!(f, "the event would have to wait: {shut}"),
            Self::QueueFull => f.write_str("the event would have to wait, and the queue is full"),
        }
    }
}

impl fmt::Display for Shut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Draining => "the connection drains",
            Self::Paused => "the agent paused the connection",
            Self::WindowFull => "as many events are unanswered as may be",
            Self::Backlog => "the agent reads slower than events are written",
            Self::RequestPaused => "the agent paused this request",
            Self::Behind => "an earlier event of this request is unanswered",
        })
    }
}

impl fmt::Display for CancelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("the exchange has ended already, or never was"),
        }
    }
}

impl fmt::Display for DecisionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingToDecide => f.write_str("no offer awaits a decision"),
        }
    }
}

impl core::error::Error for SubmitError {}
impl core::error::Error for CancelError {}
impl core::error::Error for DecisionError {}

/// What a proxy's connection has seen so far. Only grows; no part of the compared state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProxyStats {
    /// Exchanges admitted.
    pub admitted: u64,
    /// Events written.
    pub written: u64,
    /// Exchanges that ended with an answer.
    pub answered: u64,
    /// Exchanges whose deadline passed, written or not.
    pub timed_out: u64,
    /// Exchanges given up by their caller.
    pub cancelled: u64,
    /// Exchanges turned away by a drain.
    pub refused: u64,
    /// Exchanges ended by the end of the connection.
    pub lost: u64,
    /// Late answers dropped: their exchange had been abandoned.
    pub late_answers: u64,
    /// Answers that belong to no event.
    pub stray_answers: u64,
    /// Frames of a type not known, skipped.
    pub unknown_frames: u64,
    /// Frames whose payload could not be read, dropped.
    pub unreadable_frames: u64,
    /// Pings sent.
    pub pings: u64,
    /// Pings of the peer answered.
    pub pongs: u64,
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

/// What an open connection has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Open<P> {
    terms: Terms,
    phase: Phase,
    correlation: Correlation<P>,
    flow: Flow,
    backlog: Backlog,
    keepalive: Keepalive,
}

impl<P: Payload> ProxyConnection<P> {
    /// A connection that an agent has dialled: its registration is awaited.
    pub const fn accept(limits: ProxyLimits, now: Timestamp) -> Self {
        Self::new(limits, Opening::accepter(limits.handshake_timeout, now))
    }

    /// A connection to an agent that listens: `offer` is sent first.
    pub fn dial(limits: ProxyLimits, offer: P, now: Timestamp) -> Self {
        let mut this = Self::new(limits, Opening::dialer(limits.handshake_timeout, now));
        this.outbox.push(ToAgent::Offer(offer));
        this
    }

    const fn new(limits: ProxyLimits, opening: Opening<P>) -> Self {
        Self {
            limits,
            state: State::Opening(opening),
            outbox: Outbox::new(),
            events: VecDeque::new(),
            stats: Tally::new(ProxyStats {
                admitted: 0,
                written: 0,
                answered: 0,
                timed_out: 0,
                cancelled: 0,
                refused: 0,
                lost: 0,
                late_answers: 0,
                stray_answers: 0,
                unknown_frames: 0,
                unreadable_frames: 0,
                pings: 0,
                pongs: 0,
            }),
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

    // ---- commands ----

    /// Answers the agent's registration with yes and opens (P7).
    ///
    /// # Errors
    /// [`DecisionError::NothingToDecide`] if the connection has ended meanwhile.
    pub fn accept_offer(
        &mut self,
        _: Pending<P>,
        answer: P,
        terms: Terms,
        now: Timestamp,
    ) -> Result<(), DecisionError> {
        self.decide(Input::Accept)?;
        self.outbox.push(ToAgent::HandshakeAnswer(answer));
        self.become_open(terms, now);
        Ok(())
    }

    /// Answers the agent's registration with no and closes (P7).
    ///
    /// # Errors
    /// [`DecisionError::NothingToDecide`] if the connection has ended meanwhile.
    pub fn reject_offer(&mut self, _: Pending<P>, answer: P) -> Result<(), DecisionError> {
        self.decide(Input::Reject)?;
        self.outbox.push(ToAgent::HandshakeAnswer(answer));
        self.close_with(CloseReason::Rejected);
        Ok(())
    }

    /// Takes an event to be written and answered.
    ///
    /// # Errors
    /// A [`SubmitError`] that says what stands against it; the machine is as it was.
    pub fn submit(&mut self, submission: Submission<P>, now: Timestamp) -> Result<(), SubmitError> {
        let limits = self.limits;
        let open = match &mut self.state {
            State::Opening(_) => return Err(SubmitError::NotOpen),
            State::Open(open) => open,
            State::Closed(_) => return Err(SubmitError::Closed),
        };
        open.judge(&submission, &limits, now)?;
        open.correlation.admit(submission, &open.flow);
        self.stats.admitted = self.stats.admitted.saturating_add(1);
        Ok(())
    }

    /// Gives an exchange up: withdraws it if it waits, abandons it with one Cancel if it is in
    /// flight (P6).
    ///
    /// # Errors
    /// [`CancelError::Unknown`] if it has ended already.
    pub fn cancel(
        &mut self,
        exchange: ExchangeId,
        reason: CancelReason,
        now: Timestamp,
    ) -> Result<(), CancelError> {
        match self.stage(exchange) {
            Some(Stage::Queued | Stage::InFlight) => {
                self.apply(exchange, Fact::Cancelled, reason, None, now);
                self.review(now);
                Ok(())
            }
            Some(Stage::Abandoned) | None => Err(CancelError::Unknown),
        }
    }

    /// Gives up every exchange of one request. Returns how many ended by it.
    pub fn cancel_request(&mut self, id: &CorrelationId, reason: CancelReason, now: Timestamp) -> usize {
        let live = self.open().map(|open| open.correlation.of_request(id)).unwrap_or_default();
        live.into_iter().filter(|exchange| self.cancel(*exchange, reason, now).is_ok()).count()
    }

    /// Gives up every exchange. Returns how many ended by it.
    pub fn cancel_all(&mut self, reason: CancelReason, now: Timestamp) -> usize {
        let live = self.open().map(|open| open.correlation.live()).unwrap_or_default();
        live.into_iter().filter(|exchange| self.cancel(*exchange, reason, now).is_ok()).count()
    }

    /// Admits nothing new, ends what waits, and closes when the last exchange in flight has ended
    /// or `deadline` has come (P9). A second drain can only bring the deadline forward.
    pub fn drain(&mut self, deadline: Timestamp, now: Timestamp) {
        self.begin_drain(DrainCause::Local, deadline, now);
    }

    /// Ends the connection now. What is unresolved ends as lost.
    pub fn close(&mut self) {
        self.close_with(CloseReason::Closed);
    }

    // ---- facts ----

    /// Takes one frame from the agent.
    pub fn handle_frame(&mut self, frame: FromAgent<P>, now: Timestamp) {
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

    /// How much waits for the socket, as the driver sees it.
    pub fn handle_backlog(&mut self, backlog: Backlog) {
        if let State::Open(open) = &mut self.state {
            open.backlog = backlog;
        }
    }

    /// The agent broke a rule that the bytes alone show.
    pub fn handle_violation(&mut self, violation: Violation) {
        self.close_with(CloseReason::Violation(violation));
    }

    /// The agent ended its half of the stream: no answer can come any more.
    pub fn handle_eof(&mut self) {
        self.close_with(CloseReason::PeerClosed);
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
        while let Some(exchange) = self.open().and_then(|open| open.correlation.overdue(now)) {
            self.apply(exchange, Fact::DeadlinePassed, CancelReason::Timeout, None, now);
        }
        self.review(now);
        let State::Open(open) = &mut self.state else { return };
        match open.keepalive.handle_timeout(true, now) {
            Due::Nothing => {}
            Due::Ping => {
                self.stats.pings = self.stats.pings.saturating_add(1);
                self.outbox.push(ToAgent::Ping { sequence: self.stats.pings });
            }
            Due::Silent => self.close_with(CloseReason::Silent(silence(self.limits.keepalive))),
            Due::StalledFrame => self.close_with(CloseReason::Violation(Violation::StalledFrame)),
        }
    }

    // ---- polls ----

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
        if let Some(frame) = self.outbox.pop(|frame| matches!(frame, ToAgent::Pong(_))) {
            return Some(frame);
        }
        let State::Open(open) = &mut self.state else { return None };
        let Gate::Open = open.gate() else { return None };
        let exchange = open.correlation.next_ready()?;
        // Being written depends on no clock.
        let applied = open.correlation.apply(exchange, Fact::Written, &open.flow, Timestamp::ZERO)?;
        self.stats.written = self.stats.written.saturating_add(1);
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

    // ---- within ----

    fn decide(&self, input: Input) -> Result<(), DecisionError> {
        let State::Opening(opening) = &self.state else { return Err(DecisionError::NothingToDecide) };
        opening.decidable(input).then_some(()).ok_or(DecisionError::NothingToDecide)
    }

    fn become_open(&mut self, terms: Terms, now: Timestamp) {
        self.state = State::Open(Box::new(Open {
            terms,
            phase: Phase::Serving,
            correlation: Correlation::new(terms.matching),
            flow: Flow::new(self.limits.window, terms.concurrency, self.limits.control.paused_requests),
            backlog: Backlog::Below,
            keepalive: Keepalive::new(self.limits.keepalive, now),
        }));
        self.events.push_back(ProxyEvent::Opened);
    }

    fn handle_opening_frame(&mut self, frame: FromAgent<P>, now: Timestamp) {
        let State::Opening(opening) = &mut self.state else { return };
        let violation = opening.violation(frame.type_byte());
        let input = match &frame {
            FromAgent::Offer(_) => Input::Offer,
            FromAgent::HandshakeAnswer(Ok(_)) => Input::AnswerAccepts,
            FromAgent::HandshakeAnswer(Err(_)) => Input::AnswerRefuses,
            FromAgent::Answer { .. }
            | FromAgent::Flow { .. }
            | FromAgent::Health { .. }
            | FromAgent::Report { .. }
            | FromAgent::Ping(_)
            | FromAgent::Pong
            | FromAgent::WrongDirection(_)
            | FromAgent::Unreadable(_)
            | FromAgent::Unknown(_) => Input::OtherFrame,
        };
        match handshake::step(opening.stage(), input) {
            handshake::Step::Decide => {
                if let FromAgent::Offer(offer) = frame {
                    opening.decide(offer);
                }
            }
            handshake::Step::Open => {
                if let FromAgent::HandshakeAnswer(Ok(terms)) = frame {
                    self.become_open(terms, now);
                }
            }
            handshake::Step::Refused => {
                if let FromAgent::HandshakeAnswer(Err(refusal)) = frame {
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

    fn handle_open_frame(&mut self, frame: FromAgent<P>, now: Timestamp) {
        match frame {
            FromAgent::Answer { id, exchange, payload } => self.handle_answer(id, exchange, payload, now),
            FromAgent::Flow { id, action } => self.handle_flow(id.as_ref(), action),
            FromAgent::Health { draining, payload } => {
                self.events.push_back(ProxyEvent::Health(payload));
                if draining {
                    let deadline = now.after(self.limits.peer_drain_timeout);
                    self.begin_drain(DrainCause::Peer, deadline, now);
                }
            }
            FromAgent::Report { frame, payload } => {
                self.events.push_back(ProxyEvent::Report { frame, payload })
            }
            FromAgent::Ping(payload) => {
                match self.outbox.push_pong(payload, self.limits.control, ToAgent::Pong) {
                    Ok(()) => self.stats.pongs = self.stats.pongs.saturating_add(1),
                    Err(violation) => self.close_with(CloseReason::Violation(violation)),
                }
            }
            FromAgent::Pong => {}
            FromAgent::Unknown(_) => self.stats.unknown_frames = self.stats.unknown_frames.saturating_add(1),
            FromAgent::Unreadable(_) => {
                self.stats.unreadable_frames = self.stats.unreadable_frames.saturating_add(1)
            }
            FromAgent::Offer(_) | FromAgent::HandshakeAnswer(_) => {
                self.close_with(CloseReason::Violation(Violation::RepeatedHandshake));
            }
            FromAgent::WrongDirection(frame) => {
                self.close_with(CloseReason::Violation(Violation::WrongDirection(frame)));
            }
        }
    }

    fn handle_answer(
        &mut self,
        id: Option<CorrelationId>,
        exchange: Option<ExchangeId>,
        payload: P,
        now: Timestamp,
    ) {
        let found = self.open().and_then(|open| open.correlation.find(id.as_ref(), exchange));
        let matched = match found {
            Some(exchange) => {
                match self.apply(exchange, Fact::Answered, CancelReason::Manual, Some(payload), now) {
                    Some(step) => Matched::from_step(exchange, step),
                    None => Matched::Stray,
                }
            }
            None => Matched::Stray,
        };
        match matched {
            Matched::Ended(_) => {}
            Matched::Late => self.stats.late_answers = self.stats.late_answers.saturating_add(1),
            Matched::Stray => self.stats.stray_answers = self.stats.stray_answers.saturating_add(1),
        }
        self.review(now);
    }

    fn handle_flow(&mut self, id: Option<&CorrelationId>, action: FlowAction) {
        let limits = self.limits.control;
        let State::Open(open) = &mut self.state else { return };
        let Some(id) = id else { return open.flow.handle_connection_signal(action) };
        let length = id.as_str().len();
        if length > limits.correlation_id {
            let limit = limits.correlation_id;
            return self.close_with(CloseReason::Violation(Violation::LongCorrelationId { length, limit }));
        }
        match open.flow.handle_request_signal(id, action) {
            Ok(()) => open.correlation.settle(id, &open.flow),
            Err(_) => {
                let limit = limits.paused_requests;
                self.close_with(CloseReason::Violation(Violation::TooManyPausedRequests { limit }));
            }
        }
    }

    /// Applies a fact to an exchange and does what its table says: tell the caller, write the
    /// Cancel, count.
    fn apply(
        &mut self,
        exchange: ExchangeId,
        fact: Fact,
        reason: CancelReason,
        answer: Option<P>,
        now: Timestamp,
    ) -> Option<Step> {
        let State::Open(open) = &mut self.state else { return None };
        let applied = open.correlation.apply(exchange, fact, &open.flow, now)?;
        if let Step::Abandon(_) = applied.step
            && open.terms.cancellation
        {
            let (id, exchange) = (applied.id.clone(), open.wire_id(exchange));
            self.outbox.push(ToAgent::Cancel { id, exchange, reason });
        }
        if applied.ends_request() {
            open.flow.forget(&applied.id);
            open.correlation.settle(&applied.id, &open.flow);
        }
        let step = applied.step;
        if let Step::Finish(end) | Step::Abandon(end) = step {
            self.tell(&applied, end, reason, answer);
        }
        Some(step)
    }

    fn tell(&mut self, applied: &Applied<P>, end: End, reason: CancelReason, answer: Option<P>) {
        let written = applied.was != Stage::Queued;
        let stats = &mut *self.stats;
        let counter = match end {
            End::Answered => &mut stats.answered,
            End::Expired | End::TimedOut => &mut stats.timed_out,
            End::Cancelled => &mut stats.cancelled,
            End::Refused => &mut stats.refused,
            End::Lost => &mut stats.lost,
        };
        *counter = counter.saturating_add(1);
        let ending = match (end, answer) {
            (End::Answered, Some(payload)) => Ending::Answered(payload),
            // An answered exchange always comes with its answer; without one it would be lost.
            (End::Answered, None) | (End::Lost, _) => Ending::Lost { written },
            (End::Expired, _) => Ending::Expired,
            (End::TimedOut, _) => Ending::TimedOut,
            (End::Cancelled, _) => Ending::Cancelled { reason, written },
            (End::Refused, _) => Ending::Refused,
        };
        self.events.push_back(ProxyEvent::Ended { exchange: applied.exchange, ending });
    }

    fn begin_drain(&mut self, cause: DrainCause, deadline: Timestamp, now: Timestamp) {
        let open = match &mut self.state {
            State::Opening(_) => return self.close_with(CloseReason::Drained),
            State::Open(open) => open,
            State::Closed(_) => return,
        };
        match &mut open.phase {
            Phase::Draining { deadline: earlier, .. } => *earlier = deadline.min(*earlier),
            Phase::Serving => {
                open.phase = Phase::Draining { cause, deadline };
                let waiting = open.correlation.all_waiting();
                self.events.push_back(ProxyEvent::Draining(cause));
                for exchange in waiting {
                    self.apply(exchange, Fact::DrainBegan, CancelReason::ProxyShutdown, None, now);
                }
            }
        }
        self.review(now);
    }

    /// Ends the connection if a drain is done or an agent owes too much.
    fn review(&mut self, now: Timestamp) {
        let State::Open(open) = &mut self.state else { return };
        if let Some(oldest) = open.correlation.owed().overdue(self.limits.owed, now) {
            let owed = open.correlation.owed().len();
            return self.close_with(CloseReason::Unresponsive { owed, oldest });
        }
        let Phase::Draining { cause, deadline } = open.phase else { return };
        let left = if open.correlation.in_flight() == 0 { Left::None } else { Left::Some };
        let Some(reason) = drain_step(cause, left, deadline <= now) else { return };
        // What the deadline overtakes is cancelled, so that the agent can stop working on it.
        self.cancel_in_flight(CancelReason::ProxyShutdown);
        self.close_with(reason);
    }

    fn cancel_in_flight(&mut self, reason: CancelReason) {
        let State::Open(open) = &mut self.state else { return };
        if !open.terms.cancellation {
            return;
        }
        for (exchange, id) in open.correlation.claimed() {
            let exchange = open.wire_id(exchange);
            self.outbox.push(ToAgent::Cancel { id, exchange, reason });
        }
    }

    fn close_with(&mut self, reason: CloseReason) {
        if let State::Closed(_) = self.state {
            return;
        }
        if !reason.flushes() {
            self.outbox.clear();
        }
        match mem::replace(&mut self.state, State::Closed(reason.clone())) {
            State::Opening(opening) => {
                if opening.owes_refusal(&reason) {
                    self.outbox.push(ToAgent::Refuse(reason.clone()));
                }
            }
            State::Open(mut open) => {
                for exchange in open.correlation.live() {
                    let Some(applied) =
                        open.correlation.apply(exchange, Fact::Closed, &open.flow, Timestamp::ZERO)
                    else {
                        continue;
                    };
                    if let Step::Finish(end) = applied.step {
                        self.tell(&applied, end, CancelReason::Manual, None);
                    }
                }
            }
            State::Closed(_) => {}
        }
        self.events.push_back(ProxyEvent::Closed(reason));
    }
}

impl<P> Open<P> {
    fn serving(&self) -> Serving {
        match self.phase {
            Phase::Serving => Serving::Yes,
            Phase::Draining { .. } => Serving::Draining,
        }
    }

    /// The exchange id as it goes onto the wire, where the agent echoes it.
    const fn wire_id(&self, exchange: ExchangeId) -> Option<ExchangeId> {
        match self.terms.matching {
            Matching::OneAtATime => None,
            Matching::ByExchangeId => Some(exchange),
        }
    }
}

impl<P: Payload> Open<P> {
    fn gate(&self) -> Gate {
        gate(self.serving(), self.flow.pause(), self.flow.room(self.correlation.in_flight()), self.backlog)
    }

    /// Whether an event may be admitted (P15: asks, changes nothing).
    fn judge(
        &self,
        submission: &Submission<P>,
        limits: &ProxyLimits,
        now: Timestamp,
    ) -> Result<(), SubmitError> {
        if self.serving() == Serving::Draining {
            return Err(SubmitError::Draining);
        }
        if self.correlation.stage(submission.exchange).is_some() {
            return Err(SubmitError::DuplicateExchange);
        }
        let length = submission.id.as_str().len();
        if length == 0 || length > limits.control.correlation_id {
            return Err(SubmitError::BadCorrelationId { length, limit: limits.control.correlation_id });
        }
        if !self.terms.events.contains(submission.kind) {
            return Err(SubmitError::Unsupported(submission.kind));
        }
        if submission.deadline <= now {
            return Err(SubmitError::Late);
        }
        match (submission.patience, self.shut_for(&submission.id)) {
            (Patience::Now, Some(shut)) => return Err(SubmitError::WouldWait(shut)),
            (Patience::Now | Patience::Wait, None) | (Patience::Wait, Some(_)) => {}
        }
        let bytes = self.correlation.waiting_bytes().saturating_add(submission.payload.size());
        if self.correlation.waiting() >= limits.queue.count || bytes > limits.queue.bytes {
            return Err(SubmitError::QueueFull);
        }
        Ok(())
    }

    /// Why an event of `id` would have to wait if it were given now.
    fn shut_for(&self, id: &CorrelationId) -> Option<Shut> {
        let claimed = self.correlation.in_flight().saturating_add(self.correlation.waiting());
        match gate(self.serving(), self.flow.pause(), self.flow.room(claimed), self.backlog) {
            Gate::Open => self.correlation.lane_shut(id, &self.flow),
            Gate::Shut(shut) => Some(shut),
        }
    }
}

impl<P> Applied<P> {
    /// Whether this was a request's last word, and the exchange is gone from the tables.
    fn ends_request(&self) -> bool {
        match self.step {
            Step::Finish(_) | Step::Forget => self.kind == EventKind::RequestComplete,
            Step::Stay | Step::Write | Step::Abandon(_) | Step::Stray => false,
        }
    }
}

impl<P> FromAgent<P> {
    /// The type byte under which the frame came.
    pub const fn type_byte(&self) -> u8 {
        match self {
            Self::Offer(_) => FrameType::HandshakeRequest.to_byte(),
            Self::HandshakeAnswer(_) => FrameType::HandshakeResponse.to_byte(),
            Self::Answer { .. } => FrameType::AgentResponse.to_byte(),
            Self::Flow { .. } => FrameType::FlowControl.to_byte(),
            Self::Health { .. } => FrameType::HealthStatus.to_byte(),
            Self::Report { frame, .. } | Self::WrongDirection(frame) | Self::Unreadable(frame) => {
                frame.to_byte()
            }
            Self::Ping(_) => FrameType::Ping.to_byte(),
            Self::Pong => FrameType::Pong.to_byte(),
            Self::Unknown(byte) => *byte,
        }
    }
}

/// Silence after which a peer is given up.
pub(crate) const fn silence(limits: KeepaliveLimits) -> Duration {
    match limits.interval {
        Some(interval) => interval.saturating_add(limits.timeout),
        None => limits.timeout,
    }
}

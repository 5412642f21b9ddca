//! What comes in: frames, bytes, time, the end of the stream.

use crate::machine::Payload;
use crate::machine::closing::{CloseReason, Phase, Violation};
use crate::machine::exchange::ExchangeId;
use crate::machine::frames::{FromProxy, ToProxy};
use crate::machine::handshake::{self, Input};
use crate::machine::inbox::Arrival;
use crate::machine::keepalive::{Due, silence};
use crate::machine::time::Timestamp;
use crate::wire::{CancelReason, CorrelationId};

use super::{AgentConnection, AgentEvent, State};

impl<P: Payload> AgentConnection<P> {
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
            // A ping that still waits to be written asks for this one too; they must not pile up.
            Due::Ping if self.outbox.any(|frame| matches!(frame, ToProxy::Ping { .. })) => {}
            Due::Ping => {
                self.stats.pings = self.stats.pings.saturating_add(1);
                self.outbox.push(ToProxy::Ping { sequence: open.keepalive.next_ping() });
            }
            Due::Silent => self.close_with(CloseReason::Silent(silence(self.limits.keepalive))),
            Due::StalledFrame => self.close_with(CloseReason::Violation(Violation::StalledFrame)),
        }
    }

    pub(super) fn handle_opening_frame(&mut self, frame: FromProxy<P>, now: Timestamp) {
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

    pub(super) fn handle_pong(&mut self) {
        if let State::Open(open) = &mut self.state {
            open.keepalive.handle_pong();
        }
    }

    pub(super) fn handle_open_frame(&mut self, frame: FromProxy<P>, now: Timestamp) {
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
            FromProxy::Pong => self.handle_pong(),
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

    pub(super) fn handle_event(&mut self, arrival: Arrival<P>, now: Timestamp) {
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

    pub(super) fn handle_cancel(
        &mut self,
        id: &CorrelationId,
        echo: Option<ExchangeId>,
        reason: CancelReason,
    ) {
        let State::Open(open) = &mut self.state else { return };
        let known = open.inbox.has(id);
        let told = open.inbox.cancel(id, echo);
        let counter = if known { &mut self.stats.cancelled } else { &mut self.stats.late_cancels };
        *counter = counter.saturating_add(1);
        self.events.extend(told.into_iter().map(|exchange| AgentEvent::Cancelled { exchange, reason }));
        self.advance();
    }
}

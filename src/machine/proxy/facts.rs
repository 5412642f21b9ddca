//! What comes in: frames, bytes, time, the end of the stream.

use crate::machine::Payload;
use crate::machine::closing::{CloseReason, DrainCause, Violation};
use crate::machine::correlation::Matched;
use crate::machine::exchange::{ExchangeId, Fact};
use crate::machine::flow::Backlog;
use crate::machine::frames::{FromAgent, ToAgent};
use crate::machine::handshake::{self, Input};
use crate::machine::keepalive::{Due, silence};
use crate::machine::time::Timestamp;
use crate::wire::{CancelReason, CorrelationId, FlowAction};

use super::{ProxyConnection, ProxyEvent, State};

impl<P: Payload> ProxyConnection<P> {
    /// Takes one frame from the agent.
    pub fn handle_frame(&mut self, frame: FromAgent<P>, now: Timestamp) {
        *self.clock = now;
        match &self.state {
            State::Opening(_) => self.handle_opening_frame(frame, now),
            State::Open(_) => self.handle_open_frame(frame, now),
            State::Closed(_) => {}
        }
    }

    /// Takes an answer: what [`Self::handle_frame`] does with a [`FromAgent::Answer`], for a caller
    /// that has the correlation id as text and would own it for this alone.
    pub fn handle_answer(
        &mut self,
        id: Option<&str>,
        exchange: Option<ExchangeId>,
        payload: P,
        now: Timestamp,
    ) {
        match &self.state {
            State::Open(_) => {
                *self.clock = now;
                self.match_answer(id, exchange, payload, now);
            }
            State::Opening(_) | State::Closed(_) => {
                let id = id.map(CorrelationId::from);
                self.handle_frame(FromAgent::Answer { id, exchange, payload }, now);
            }
        }
    }

    /// Bytes came. `mid_frame`: they end within a frame; `completed`: they completed one.
    pub fn handle_progress(&mut self, mid_frame: bool, completed: bool, now: Timestamp) {
        *self.clock = now;
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
    // Rule: C-VIOLATE-1.
    pub fn handle_violation(&mut self, violation: Violation) {
        self.close_with(CloseReason::Violation(violation));
    }

    /// The agent ended its half of the stream: no answer can come any more.
    // Rule: C-CLOSE-1.
    pub fn handle_eof(&mut self) {
        self.close_with(CloseReason::PeerClosed);
    }

    /// The transport failed.
    pub fn handle_transport_lost(&mut self) {
        self.close_with(CloseReason::TransportLost);
    }

    /// Time has passed. Early calls change nothing (P13).
    pub fn handle_timeout(&mut self, now: Timestamp) {
        *self.clock = now;
        if let State::Opening(opening) = &self.state {
            if opening.deadline() <= now {
                let reason = CloseReason::HandshakeDeadline(opening.limit());
                self.close_with(reason);
            }
            return;
        }
        // Only what a caller waits for has a deadline, and the table ends or abandons that: each round takes
        // one deadline away, so the rounds end.
        while let Some(exchange) = self.open().and_then(|open| open.correlation.overdue(now)) {
            self.apply(exchange, Fact::DeadlinePassed, CancelReason::Timeout, None, now);
        }
        self.review(now);
        let State::Open(open) = &mut self.state else { return };
        match open.keepalive.handle_timeout(true, now) {
            Due::Nothing => {}
            // A ping that still waits to be written asks for this one too; they must not pile up.
            Due::Ping if self.outbox.any(|frame| matches!(frame, ToAgent::Ping { .. })) => {}
            Due::Ping => {
                self.stats.pings = self.stats.pings.saturating_add(1);
                self.outbox.push(ToAgent::Ping { sequence: open.keepalive.next_ping() });
            }
            Due::Silent => self.close_with(CloseReason::Silent(silence(self.limits.keepalive))),
            Due::StalledFrame => self.close_with(CloseReason::Violation(Violation::StalledFrame)),
        }
    }

    pub(super) fn handle_opening_frame(&mut self, frame: FromAgent<P>, now: Timestamp) {
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

    pub(super) fn handle_pong(&mut self) {
        if let State::Open(open) = &mut self.state {
            open.keepalive.handle_pong();
        }
    }

    pub(super) fn handle_open_frame(&mut self, frame: FromAgent<P>, now: Timestamp) {
        match frame {
            FromAgent::Answer { id, exchange, payload } => {
                self.match_answer(id.as_ref().map(CorrelationId::as_str), exchange, payload, now);
            }
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
            FromAgent::Pong => self.handle_pong(),
            FromAgent::Unknown(_) => self.stats.unknown_frames = self.stats.unknown_frames.saturating_add(1),
            // Rule: C-REPORT-1.
            FromAgent::Unreadable(_) => {
                self.stats.unreadable_frames = self.stats.unreadable_frames.saturating_add(1)
            }
            // Rule: H-ORDER-2.
            FromAgent::Offer(_) | FromAgent::HandshakeAnswer(_) => {
                self.close_with(CloseReason::Violation(Violation::RepeatedHandshake));
            }
            // Rule: W-TYPE-3.
            FromAgent::WrongDirection(frame) => {
                self.close_with(CloseReason::Violation(Violation::WrongDirection(frame)));
            }
        }
    }

    // Rule: X-MATCH-3.
    fn match_answer(&mut self, id: Option<&str>, exchange: Option<ExchangeId>, payload: P, now: Timestamp) {
        let found = self.open().and_then(|open| open.correlation.find(id, exchange));
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

    pub(super) fn handle_flow(&mut self, id: Option<&CorrelationId>, action: FlowAction) {
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
}

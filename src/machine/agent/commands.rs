//! What the application asks for.

use core::fmt;

use crate::machine::Payload;
use crate::machine::closing::{CloseReason, DrainCause, Phase};
use crate::machine::exchange::ExchangeId;
use crate::machine::frames::ToProxy;
use crate::machine::handshake::{Input, Pending};
use crate::machine::proxy::DecisionError;
use crate::machine::time::Timestamp;
use crate::wire::FrameType;

use super::{AgentConnection, State};

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

impl<P: Payload> AgentConnection<P> {
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
    // Rule: C-DRAIN-2.
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

    pub(super) fn decide(&self, input: Input) -> Result<(), DecisionError> {
        let State::Opening(opening) = &self.state else { return Err(DecisionError::NothingToDecide) };
        opening.decidable(input).then_some(()).ok_or(DecisionError::NothingToDecide)
    }
}

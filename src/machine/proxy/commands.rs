//! What the application asks for.

use crate::machine::Payload;
use crate::machine::closing::{CloseReason, DrainCause};
use crate::machine::correlation::Submission;
use crate::machine::exchange::{ExchangeId, Fact, Stage};
use crate::machine::frames::ToAgent;
use crate::machine::handshake::{Input, Pending, Terms};
use crate::machine::time::Timestamp;
use crate::wire::{CancelReason, CorrelationId};

use super::errors::{CancelError, DecisionError, SubmitError};
use super::{ProxyConnection, State};

impl<P: Payload> ProxyConnection<P> {
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
        open.correlation.admit(submission, &open.flow, now);
        *self.clock = now;
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
                *self.clock = now;
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

    pub(super) fn decide(&self, input: Input) -> Result<(), DecisionError> {
        let State::Opening(opening) = &self.state else { return Err(DecisionError::NothingToDecide) };
        opening.decidable(input).then_some(()).ok_or(DecisionError::NothingToDecide)
    }
}

//! What an open connection has, and whether it takes an event.

use crate::machine::Payload;
use crate::machine::closing::Phase;
use crate::machine::correlation::{Correlation, Patience, Submission};
use crate::machine::exchange::ExchangeId;
use crate::machine::flow::{Backlog, Flow, Gate, Serving, Shut, gate};
use crate::machine::handshake::{Matching, Terms};
use crate::machine::keepalive::Keepalive;
use crate::machine::time::Timestamp;
use crate::wire::CorrelationId;

use super::errors::SubmitError;
use super::limits::ProxyLimits;

/// What an open connection has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Open<P> {
    pub(super) terms: Terms,
    pub(super) phase: Phase,
    pub(super) correlation: Correlation<P>,
    pub(super) flow: Flow,
    pub(super) backlog: Backlog,
    pub(super) keepalive: Keepalive,
}

impl<P> Open<P> {
    pub(super) fn serving(&self) -> Serving {
        match self.phase {
            Phase::Serving => Serving::Yes,
            Phase::Draining { .. } => Serving::Draining,
        }
    }

    /// The exchange id as it goes onto the wire, where the agent echoes it.
    pub(super) const fn wire_id(&self, exchange: ExchangeId) -> Option<ExchangeId> {
        match self.terms.matching {
            Matching::OneAtATime => None,
            Matching::ByExchangeId => Some(exchange),
        }
    }
}

impl<P: Payload> Open<P> {
    pub(super) fn gate(&self) -> Gate {
        gate(self.serving(), self.flow.pause(), self.flow.room(self.correlation.in_flight()), self.backlog)
    }

    /// Whether an event may be admitted (P15: asks, changes nothing).
    // Rule: X-ID-2.
    pub(super) fn judge(
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
    pub(super) fn shut_for(&self, id: &CorrelationId) -> Option<Shut> {
        let claimed = self.correlation.in_flight().saturating_add(self.correlation.waiting());
        match gate(self.serving(), self.flow.pause(), self.flow.room(claimed), self.backlog) {
            Gate::Open => self.correlation.lane_shut(id, &self.flow),
            Gate::Shut(shut) => Some(shut),
        }
    }
}

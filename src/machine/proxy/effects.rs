//! What follows: ends are told, Cancels written, the connection drains and closes.

use alloc::boxed::Box;
use core::mem;

use crate::machine::Payload;
use crate::machine::closing::{CloseReason, DrainCause, Left, Phase, drain_step};
use crate::machine::correlation::{Applied, Correlation};
use crate::machine::exchange::{End, Ending, ExchangeId, Fact, Stage, Step};
use crate::machine::flow::{Backlog, Flow};
use crate::machine::frames::ToAgent;
use crate::machine::handshake::Terms;
use crate::machine::keepalive::Keepalive;
use crate::machine::time::Timestamp;
use crate::wire::{CancelReason, EventKind};

use super::open::Open;
use super::{ProxyConnection, ProxyEvent, State};

impl<P: Payload> ProxyConnection<P> {
    pub(super) fn become_open(&mut self, terms: Terms, now: Timestamp) {
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

    /// Applies a fact to an exchange and does what its table says: tell the caller, write the
    /// Cancel, count.
    pub(super) fn apply(
        &mut self,
        exchange: ExchangeId,
        fact: Fact,
        reason: CancelReason,
        answer: Option<P>,
        now: Timestamp,
    ) -> Option<Step> {
        let State::Open(open) = &mut self.state else { return None };
        let applied = open.correlation.apply(exchange, fact, &open.flow, now)?;
        // Rule: C-CANCEL-1.
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

    pub(super) fn tell(&mut self, applied: &Applied<P>, end: End, reason: CancelReason, answer: Option<P>) {
        let written = applied.was != Stage::Queued;
        if end == End::Answered {
            let took = self.clock.since(applied.since);
            self.latency.answered.record(took);
        }
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

    pub(super) fn begin_drain(&mut self, cause: DrainCause, deadline: Timestamp, now: Timestamp) {
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
    pub(super) fn review(&mut self, now: Timestamp) {
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

    pub(super) fn cancel_in_flight(&mut self, reason: CancelReason) {
        let State::Open(open) = &mut self.state else { return };
        if !open.terms.cancellation {
            return;
        }
        for (exchange, id) in open.correlation.claimed() {
            let exchange = open.wire_id(exchange);
            self.outbox.push(ToAgent::Cancel { id, exchange, reason });
        }
    }

    // Rule: C-CLOSE-2.
    pub(super) fn close_with(&mut self, reason: CloseReason) {
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

impl<P> Applied<P> {
    /// Whether this was a request's last word, and the exchange is gone from the tables.
    pub(super) fn ends_request(&self) -> bool {
        match self.step {
            Step::Finish(_) | Step::Forget => self.kind == EventKind::RequestComplete,
            Step::Stay | Step::Write | Step::Abandon(_) | Step::Stray => false,
        }
    }
}

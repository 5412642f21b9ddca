//! What follows: turns are given, signals sent, the connection drains and closes.

use alloc::boxed::Box;
use core::mem;
use core::time::Duration;

use crate::machine::Payload;
use crate::machine::closing::{CloseReason, Left, Phase, drain_step};
use crate::machine::frames::ToProxy;
use crate::machine::inbox::{Arrival, Inbox, Signal, Turn};
use crate::machine::keepalive::Keepalive;
use crate::machine::time::Timestamp;

use super::{AgentConnection, AgentEvent, Open, State};

impl<P: Payload> AgentConnection<P> {
    pub(super) fn become_open(&mut self, now: Timestamp) {
        self.state = State::Open(Box::new(Open {
            phase: Phase::Serving,
            quiet_since: now,
            inbox: Inbox::new(self.limits.inbox),
            keepalive: Keepalive::new(self.limits.keepalive, now),
        }));
        self.events.push_back(AgentEvent::Opened);
    }

    /// Gives out what has its turn, and sends the signal that the backlog asks for.
    pub(super) fn advance(&mut self) {
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
    pub(super) fn review(&mut self, now: Timestamp) {
        let State::Open(open) = &self.state else { return };
        let Phase::Draining { cause, deadline } = open.phase else { return };
        let lingered = open.quiet_since.after(self.limits.drain_linger) <= now;
        let left = if open.inbox.unanswered() == 0 && lingered { Left::None } else { Left::Some };
        if let Some(reason) = drain_step(cause, left, deadline <= now) {
            self.close_with(reason);
        }
    }

    pub(super) fn close_with(&mut self, reason: CloseReason) {
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
    // Rule: C-DRAIN-3.
    pub(super) fn drain_timeout(&self, linger: Duration) -> Option<Timestamp> {
        let Phase::Draining { deadline, .. } = self.phase else { return None };
        let quiet = self.quiet_since.after(linger);
        Some(if self.inbox.unanswered() == 0 { quiet.min(deadline) } else { deadline })
    }
}

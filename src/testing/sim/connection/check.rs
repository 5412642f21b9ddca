//! What must hold after every turn.

use alloc::format;
use alloc::string::ToString;

use crate::machine::{CloseReason, KeepaliveLimits, Timestamp, Violation};
use crate::testing::oracle::{Property, Violated, demand};
use crate::testing::probe::early_is_idle;

use super::{Connection, Trust};

impl Connection {
    pub(super) fn check(&mut self, now: Timestamp, thorough: bool) -> Result<(), Violated> {
        if thorough {
            let wrong = self.proxy.machine().inconsistency().or_else(|| self.agent.machine().inconsistency());
            demand(wrong.is_none(), Property::P1, || format!("tables disagree: {wrong:?}"))?;
            early_is_idle(&self.proxy, &self.agent, now, &mut self.rng)?;
        }
        let stuck = [self.proxy.poll_timeout(), self.agent.poll_timeout()].into_iter().flatten().min();
        demand(stuck.is_none_or(|at| at > now), Property::P13, || {
            format!("still due at {stuck:?} after acting, now {now}")
        })?;
        if self.at_proxy.closed {
            return Ok(());
        }
        let (said, seen) = (self.proxy.in_flight(), self.oracle.unresolved());
        demand(said == seen, Property::P4, || {
            format!("{said} in flight by its own account, {seen} in truth")
        })?;
        if self.oracle.draining {
            demand(seen > 0, Property::P9, || "drained, and still open".to_string())?;
            let over = self.drain_deadline.is_some_and(|at| at < now);
            demand(!over, Property::P9, || "open past the drain's deadline".to_string())?;
        }
        let limits = KeepaliveLimits::default();
        let longest = limits.interval.unwrap_or_default().saturating_add(limits.timeout);
        let silent = now.since(self.heard);
        demand(!self.oracle.opened || silent <= longest, Property::P12, || {
            format!("open after {silent:?} of silence")
        })
    }

    /// Who keeps to the protocol is not accused of breaking it. A frame that stalls is the network's doing.
    pub(super) fn check_blame(&self, reason: &CloseReason) -> Result<(), Violated> {
        let accused = match reason {
            CloseReason::Violation(violation) => *violation != Violation::StalledFrame,
            CloseReason::Closed
            | CloseReason::Rejected
            | CloseReason::Drained
            | CloseReason::DrainDeadline
            | CloseReason::PeerDrained
            | CloseReason::PeerDrainDeadline
            | CloseReason::PeerClosed
            | CloseReason::Refused(_)
            | CloseReason::HandshakeDeadline(_)
            | CloseReason::Silent(_)
            | CloseReason::Unresponsive { .. }
            | CloseReason::TransportLost => false,
        };
        demand(!accused || self.trust != Trust::Both, Property::P8, || {
            format!("a peer that broke no rule is accused: {reason}")
        })
    }
}

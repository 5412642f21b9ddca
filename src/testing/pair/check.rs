//! What must hold after every step.

use alloc::format;
use alloc::string::ToString;

use super::super::oracle::{Property, Violated, demand};
use super::super::probe::{early_is_idle, polls_commute};
use super::{Pair, SILENCE};

impl Pair {
    pub(super) fn check(&mut self) -> Result<(), Violated> {
        let wrong = self.proxy.machine().inconsistency().or_else(|| self.agent.machine().inconsistency());
        demand(wrong.is_none(), Property::P1, || format!("tables disagree: {wrong:?}"))?;
        if self.oracle.closed == 0 {
            let (said, seen) = (self.proxy.in_flight(), self.oracle.unresolved());
            demand(said == seen, Property::P4, || {
                format!("{said} in flight by its own account, {seen} in truth")
            })?;
        }
        self.check_drain()?;
        early_is_idle(&self.proxy, &self.agent, self.now, &mut self.rng)
    }

    pub(super) fn check_drain(&self) -> Result<(), Violated> {
        let open = self.oracle.closed == 0;
        if open && self.oracle.draining {
            let left = self.oracle.unresolved();
            demand(left > 0, Property::P9, || "drained, and still open".to_string())?;
            let over = self.drain_deadline.is_some_and(|at| at < self.now);
            demand(!over, Property::P9, || "open past the drain's deadline".to_string())?;
        }
        Ok(())
    }

    /// Events before frames or frames before events: it is all the same.
    pub(super) fn check_polls(&self) -> Result<(), Violated> {
        polls_commute((&self.proxy, &self.proxy_out), (&self.agent, &self.agent_out))
    }

    pub(super) fn check_silence(&self) -> Result<(), Violated> {
        let silent = self.now.since(self.heard);
        let open = self.oracle.opened && self.oracle.closed == 0;
        demand(!open || silent <= SILENCE, Property::P12, || format!("open after {silent:?} of silence"))
    }
}

//! What must hold after every step.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::ToString;
use core::time::Duration;

use crate::machine::Timestamp;

use super::super::oracle::{Property, Violated, demand};
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
        self.check_early()
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

    /// Acting before the time changes nothing.
    pub(super) fn check_early(&mut self) -> Result<(), Violated> {
        if let Some(early) = self.before(self.proxy.poll_timeout()) {
            let mut proxy = self.proxy.clone();
            proxy.handle_timeout(early);
            demand(proxy == self.proxy, Property::P13, || format!("the proxy acted early, at {early}"))?;
        }
        if let Some(early) = self.before(self.agent.poll_timeout()) {
            let mut agent = self.agent.clone();
            agent.handle_timeout(early);
            demand(agent == self.agent, Property::P13, || format!("the agent acted early, at {early}"))?;
        }
        Ok(())
    }

    /// A time from now on that is earlier than `due`.
    pub(super) fn before(&mut self, due: Option<Timestamp>) -> Option<Timestamp> {
        let span = u64::try_from(due?.since(self.now).as_micros()).ok()?;
        let early = self.now.after(Duration::from_micros(self.rng.below(span)));
        (early < due?).then_some(early)
    }

    /// Events before frames or frames before events: it is all the same.
    pub(super) fn check_polls(&self) -> Result<(), Violated> {
        let (mut a, mut b) = (self.proxy.clone(), self.proxy.clone());
        let (mut a_out, mut b_out) = (self.proxy_out.clone(), self.proxy_out.clone());
        let mut a_events = VecDeque::new();
        let mut b_events = VecDeque::new();
        while a.poll_transmit(&mut a_out) {}
        while let Some(event) = a.poll_event() {
            a_events.push_back(format!("{event:?}"));
        }
        while let Some(event) = b.poll_event() {
            b_events.push_back(format!("{event:?}"));
        }
        while b.poll_transmit(&mut b_out) {}
        demand(a_out == b_out && a_events == b_events && a == b, Property::P14, || {
            "the proxy's polls".to_string()
        })?;
        let (mut a, mut b) = (self.agent.clone(), self.agent.clone());
        let (mut a_out, mut b_out) = (self.agent_out.clone(), self.agent_out.clone());
        while a.poll_transmit(&mut a_out) {}
        while a.poll_event().is_some() {}
        while b.poll_event().is_some() {}
        while b.poll_transmit(&mut b_out) {}
        demand(a_out == b_out && a == b, Property::P14, || "the agent's polls".to_string())
    }

    pub(super) fn check_silence(&self) -> Result<(), Violated> {
        let silent = self.now.since(self.heard);
        let open = self.oracle.opened && self.oracle.closed == 0;
        demand(!open || silent <= SILENCE, Property::P12, || format!("open after {silent:?} of silence"))
    }
}

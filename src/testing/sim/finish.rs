//! The end of every run: the faults stop, every caller must be told, every connection must close.

use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use crate::machine::Timestamp;
use crate::testing::oracle::{Property, demand};

use super::connection::Serial;
use super::report::Cause;
use super::trace::What;
use super::world::{Phase, World};

/// How long the last drain may take.
const LAST_DRAIN: Duration = Duration::from_secs(10);

impl World<'_> {
    pub(super) fn finish(&mut self) -> Result<(), Cause> {
        self.heal()?;
        self.wait()?;
        self.rest()?;
        self.drain()
    }

    /// Until nobody waits any more, and the last Cancels and pongs are written; or until patience ends.
    fn wait(&mut self) -> Result<(), Cause> {
        let until = self.patience_ends();
        loop {
            while self.waits_on_honest() {
                if !self.step(until)? {
                    return Ok(());
                }
            }
            let calm = self.schedule.now.after(Duration::from_millis(50));
            while self.step(calm)? {}
            // Who is told late may ask elsewhere.
            if !self.waits_on_honest() {
                return Ok(());
            }
        }
    }

    /// Everybody reads, handlers are quick, and what was set for later comes now: the end of every pause
    /// that the simulator made. What an agent paused by itself it must resume by itself.
    fn heal(&mut self) -> Result<(), Cause> {
        self.phase = Phase::Healed;
        self.healed_at = Some(self.schedule.now);
        self.note(0, What::Healed);
        self.config.agent.handling = Duration::from_millis(1);
        let serials: Vec<Serial> = self.connections.keys().copied().collect();
        for serial in serials {
            self.with(serial, |it| {
                for end in [&mut it.at_proxy, &mut it.at_agent] {
                    (end.reads_at, end.slowness) = (Timestamp::ZERO, Duration::ZERO);
                }
                it.handler_lag = Duration::ZERO;
            });
        }
        self.schedule.hurry();
        self.settle()
    }

    /// Whether somebody waits for an agent that keeps to the protocol.
    fn waits_on_honest(&self) -> bool {
        self.connections.iter().any(|(serial, connection)| {
            let owed = !connection.at_proxy.closed && connection.oracle.unresolved() > 0;
            connection.is_honest() && (owed || self.callers.open_on(*serial) > 0)
        })
    }

    /// On a healed network an honest connection owes nobody anything.
    fn rest(&self) -> Result<(), Cause> {
        for connection in self.connections.values().filter(|connection| connection.is_honest()) {
            let open = connection.oracle.opened && !connection.at_proxy.closed;
            if open && !connection.oracle.draining {
                connection.oracle.at_rest()?;
                let (waiting, in_flight) = (connection.proxy.waiting(), connection.proxy.in_flight());
                demand(waiting == 0 && in_flight == 0, Property::P4, || {
                    format!("{waiting} waiting and {in_flight} in flight at rest")
                })?;
            }
        }
        Ok(())
    }

    /// The proxy goes: everything drains, and everything is over by the deadline.
    fn drain(&mut self) -> Result<(), Cause> {
        self.phase = Phase::Drain;
        self.note(0, What::FinalDrain);
        let (now, deadline) = (self.schedule.now, self.schedule.now.after(LAST_DRAIN));
        let serials: Vec<Serial> = self.connections.keys().copied().collect();
        for serial in serials {
            self.with(serial, |it| it.drain(deadline, now));
        }
        self.settle()?;
        // The agents' ends learn of it by what is under way.
        let until = deadline.after(Duration::from_secs(30));
        while !self.connections.is_empty() && self.step(until)? {}
        let left: Vec<&Serial> = self.connections.keys().collect();
        demand(left.is_empty(), Property::P9, || format!("connections {left:?} outlive the last drain"))?;
        let open = self.callers.open();
        demand(open == 0, Property::P1, || format!("{open} callers were never told"))?;
        let ends: u64 = self.report.ends.values().sum();
        demand(ends == self.report.exchanges, Property::P1, || {
            format!("{ends} ends for {} exchanges", self.report.exchanges)
        })?;
        Ok(())
    }
}

//! What must hold in every state, and in every state that is left for ever.

use dialback::machine::{ConnectionState, Shut};
use dialback::testing::{Property, Violated};

use crate::scenario::Scenario;

use super::books::demand;
use super::{Sight, Sights, Sys};

impl Sys {
    /// What must hold in every state.
    pub(super) fn check(&self, scenario: &Scenario, sights: &mut Sights) -> Result<(), Violated> {
        let tables = self.proxy.inconsistency().or_else(|| self.agent.inconsistency());
        demand(tables.is_none(), Property::P4, || format!("tables disagree: {tables:?}"))?;
        let closed = self.proxy.close_reason().is_some();
        demand(closed == self.books.proxy.closed, Property::P8, || "closed, and not told".to_string())?;
        if self.books.proxy.opened && !closed {
            let (in_flight, unresolved) = (self.proxy.in_flight(), self.books.unresolved());
            demand(in_flight == unresolved, Property::P4, || {
                format!("{in_flight} in flight, {unresolved} unresolved")
            })?;
            let (waiting, untold) = (self.proxy.waiting(), self.books.waiting());
            demand(waiting == untold, Property::P1, || format!("{waiting} wait, {untold} untold"))?;
            self.note_what_holds(sights);
        }
        if scenario.ticks > 0 {
            self.check_early()?;
        }
        Ok(())
    }

    /// Acting before anything is due changes nothing.
    fn check_early(&self) -> Result<(), Violated> {
        let now = self.now();
        if self.proxy.poll_timeout().is_none_or(|due| due > now) {
            let mut proxy = self.proxy.clone();
            proxy.handle_timeout(now);
            demand(proxy == self.proxy, Property::P13, || "the proxy acted early".to_string())?;
        }
        if self.agent.poll_timeout().is_none_or(|due| due > now) {
            let mut agent = self.agent.clone();
            agent.handle_timeout(now);
            demand(agent == self.agent, Property::P13, || "the agent acted early".to_string())?;
        }
        Ok(())
    }

    fn note_what_holds(&self, sights: &mut Sights) {
        if self.books.waiting() == 0 {
            return;
        }
        sights.add(match self.proxy.shut() {
            Some(Shut::Paused) => Sight::HeldByPause,
            Some(Shut::WindowFull) => Sight::WindowFull,
            Some(Shut::Backlog) => Sight::HeldByBacklog,
            Some(Shut::RequestPaused | Shut::Behind | Shut::Draining) => return,
            None if self.books.heard.lanes != 0 => Sight::HeldByRequestPause,
            None if self.books.unresolved() > 0 => Sight::Behind,
            None => return,
        });
    }

    /// What must hold where nothing goes on by itself any more: nothing has been left behind.
    ///
    /// # Errors
    /// What has been.
    pub fn check_rest(&self) -> Result<(), Violated> {
        let books = &self.books;
        let untold: Vec<u8> = books.untold().collect();
        demand(untold.is_empty(), Property::P1, || format!("{untold:?} never told"))?;
        let (proxy, agent) = (self.proxy.state(), self.agent.state());
        let states = || format!("the proxy is {proxy:?}, the agent {agent:?}");
        demand(proxy != ConnectionState::Opening && agent != ConnectionState::Opening, Property::P7, states)?;
        demand(
            proxy != ConnectionState::Draining && agent != ConnectionState::Draining,
            Property::P9,
            states,
        )?;
        let ended = |state| state == ConnectionState::Closed;
        demand(ended(proxy) == ended(agent), Property::P8, states)?;
        if !ended(proxy) {
            let left = (self.proxy.in_flight(), self.proxy.waiting(), self.agent.unanswered());
            demand(left == (0, 0, 0), Property::P4, || format!("left at rest: {left:?}"))?;
            let pings = (books.pings_at_proxy.len(), books.pings_at_agent.len());
            demand(pings == (0, 0), Property::P12, || format!("pings unanswered: {pings:?}"))?;
        }
        Ok(())
    }
}

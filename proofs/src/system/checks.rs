//! What must hold in every state, and in every state that is left for ever.

use dialback::machine::{ConnectionState, ExchangeId, Shut};
use dialback::testing::{Property, Violated, demand};
use dialback::wire::CancelReason;

use crate::scenario::Scenario;

use super::books::AtAgent;
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
        if scenario.plan.len() <= 2 {
            self.check_refusals()?;
        }
        Ok(())
    }

    /// What an application may not do any more is refused, and changes nothing.
    fn check_refusals(&self) -> Result<(), Violated> {
        for (number, entry) in (0_u64..).zip(&self.books.entries) {
            let exchange = ExchangeId(number);
            if entry.told.is_some() || !entry.admitted {
                let mut proxy = self.proxy.clone();
                let outcome = proxy.cancel(exchange, CancelReason::Manual, self.now());
                demand(outcome.is_err() && proxy == self.proxy, Property::P15, || {
                    format!("{outcome:?} to a cancel of {number}")
                })?;
            }
            if !matches!(entry.at_agent, AtAgent::Delivered | AtAgent::Told) {
                let mut agent = self.agent.clone();
                let outcome = agent.answer(exchange, 0, self.now());
                demand(outcome.is_err() && agent == self.agent, Property::P15, || {
                    format!("{outcome:?} to an answer to {number}")
                })?;
            }
        }
        Ok(())
    }

    /// Fetching a frame before the events gives the same frame and the same events.
    pub(super) fn check_polls_commute(&self) -> Result<(), Violated> {
        let (mut early, mut late) = (self.proxy.clone(), self.proxy.clone());
        let frame = early.poll_transmit();
        let events: Vec<_> = std::iter::from_fn(|| late.poll_event()).collect();
        let same = std::iter::from_fn(|| early.poll_event()).eq(events) && late.poll_transmit() == frame;
        demand(same && early == late, Property::P14, || "of the proxy".to_string())?;
        let (mut early, mut late) = (self.agent.clone(), self.agent.clone());
        let frame = early.poll_transmit();
        let events: Vec<_> = std::iter::from_fn(|| late.poll_event()).collect();
        let same = std::iter::from_fn(|| early.poll_event()).eq(events) && late.poll_transmit() == frame;
        demand(same && early == late, Property::P14, || "of the agent".to_string())
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

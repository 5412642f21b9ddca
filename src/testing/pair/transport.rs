//! Time and bytes: what is due happens, what was written arrives.

use alloc::format;
use alloc::string::ToString;
use core::time::Duration;

use crate::machine::ConnectionState;
use crate::session::{AgentSessionEvent, Grant, ProxySessionEvent};

use super::super::encoded;
use super::super::oracle::{Property, Violated, demand};
use super::super::probe::time_out;
use super::Pair;

impl Pair {
    /// Lets time pass, stopping wherever something is due.
    pub(super) fn advance(&mut self, micros: u64) -> Result<(), Violated> {
        let until = self.now.after(Duration::from_micros(micros));
        // Bounded, so that a session which never stops asking for time is seen.
        for _ in 0..10_000 {
            let arrivals = [
                self.to_agent.next_arrival().filter(|_| !self.agent_stalled),
                self.to_proxy.next_arrival().filter(|_| !self.proxy_stalled),
                self.proxy.poll_timeout(),
                self.agent.poll_timeout(),
            ];
            let next = arrivals.into_iter().flatten().min().filter(|at| *at <= until);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            self.deliver()?;
            time_out(&mut self.proxy, &mut self.agent, self.now)?;
            self.pump()?;
        }
        let stuck = [self.proxy.poll_timeout(), self.agent.poll_timeout()].into_iter().flatten().min();
        demand(stuck.is_none_or(|at| at > until), Property::P13, || {
            format!("still due at {stuck:?} after acting, now {until}")
        })?;
        self.now = until;
        self.deliver()?;
        self.pump()?;
        self.check_silence()
    }

    pub(super) fn deliver(&mut self) -> Result<(), Violated> {
        if !self.proxy_stalled && self.proxy.wants_bytes() {
            while let Some(bytes) = self.to_proxy.receive(self.now) {
                self.proxy_receives(&bytes)?;
            }
            if self.to_proxy.receive_end() {
                self.proxy.handle_eof();
            }
        }
        if !self.agent_stalled && self.agent.wants_bytes() {
            while let Some(bytes) = self.to_agent.receive(self.now) {
                self.agent.handle_bytes(&bytes, self.now);
            }
            if self.to_agent.receive_end() {
                self.agent.handle_eof();
            }
        }
        Ok(())
    }

    pub(super) fn proxy_receives(&mut self, bytes: &[u8]) -> Result<(), Violated> {
        if self.proxy.state() != ConnectionState::Closed {
            self.heard = self.now;
            for frame in self.arrivals_tap.push(bytes) {
                self.oracle.proxy_received(&frame)?;
            }
        }
        self.proxy.handle_bytes(bytes, self.now);
        self.check_polls()?;
        self.proxy_events()
    }

    /// Fetches events and moves bytes until neither side has more.
    pub(super) fn pump(&mut self) -> Result<(), Violated> {
        loop {
            self.check_polls()?;
            self.proxy_events()?;
            self.agent_events()?;
            let mut moved = self.proxy_transmits()?;
            moved |= self.agent_transmits()?;
            if !moved {
                return self.hang_up();
            }
        }
    }

    pub(super) fn proxy_events(&mut self) -> Result<(), Violated> {
        while let Some(event) = self.proxy.poll_event() {
            match event {
                ProxySessionEvent::Registration(pending) => {
                    demand(!self.oracle.opened, Property::P7, || "a second registration".to_string())?;
                    let decided = if self.reject {
                        self.proxy.reject_registration(*pending, "not today", Some(5))
                    } else {
                        let grant = Grant { connection_id: "c-1".into() };
                        // What the agent sent behind its registration is read within this call.
                        self.oracle.opened = true;
                        self.proxy.accept_registration(*pending, grant, self.now)
                    };
                    demand(decided.is_ok(), Property::P7, || "the decision was not taken".to_string())?;
                }
                ProxySessionEvent::Opened => {
                    demand(!self.reject, Property::P7, || "opened after a rejection".to_string())?;
                    self.oracle.opened = true;
                }
                ProxySessionEvent::Ended { exchange, ending } => {
                    self.oracle.ended(exchange, &ending)?;
                }
                ProxySessionEvent::Closed(_) => {
                    self.oracle.closed()?;
                    let another = self.proxy.poll_event();
                    demand(another.is_none(), Property::P8, || format!("{another:?} after the close"))?;
                }
                ProxySessionEvent::Draining => self.oracle.draining = true,
                ProxySessionEvent::Health(_)
                | ProxySessionEvent::Metrics(_)
                | ProxySessionEvent::ConfigUpdate(_) => {}
            }
        }
        Ok(())
    }

    pub(super) fn agent_events(&mut self) -> Result<(), Violated> {
        while let Some(event) = self.agent.poll_event() {
            demand(self.agent_closed == 0, Property::P8, || format!("{event:?} after the agent's close"))?;
            match event {
                AgentSessionEvent::Handshake(pending) => {
                    let decided = if self.reject {
                        self.agent.reject_handshake(*pending, "not today")
                    } else {
                        self.agent.accept_handshake(*pending, self.now)
                    };
                    demand(decided.is_ok(), Property::P7, || "the decision was not taken".to_string())?;
                }
                AgentSessionEvent::Event(receipt) => {
                    let payload = receipt.event().map(|event| encoded(&event)).unwrap_or_default();
                    let tag = self.oracle.tag_at_agent(receipt.exchange, &payload)?;
                    self.oracle.agent_given(tag)?;
                    self.receipts.push((tag, *receipt));
                }
                AgentSessionEvent::Closed(_) => {
                    self.agent_closed = self.agent_closed.saturating_add(1);
                    self.receipts.clear();
                }
                AgentSessionEvent::Opened { .. } | AgentSessionEvent::Cancelled { .. } => {}
            }
        }
        Ok(())
    }

    pub(super) fn proxy_transmits(&mut self) -> Result<bool, Violated> {
        let before = self.proxy_out.len();
        let moved = self.proxy.poll_transmit(&mut self.proxy_out);
        for frame in self.proxy_tap.push(self.proxy_out.get(before..).unwrap_or_default()) {
            self.oracle.proxy_wrote(&frame)?;
        }
        if !self.agent_stalled {
            self.to_agent.send(&mut self.proxy_out, self.now, &mut self.rng);
        }
        Ok(moved)
    }

    pub(super) fn agent_transmits(&mut self) -> Result<bool, Violated> {
        let before = self.agent_out.len();
        let moved = self.agent.poll_transmit(&mut self.agent_out);
        for frame in self.agent_tap.push(self.agent_out.get(before..).unwrap_or_default()) {
            self.oracle.agent_wrote(&frame)?;
        }
        if !self.proxy_stalled {
            self.to_proxy.send(&mut self.agent_out, self.now, &mut self.rng);
        }
        Ok(moved)
    }

    /// A side that has closed and written everything drops its socket.
    pub(super) fn hang_up(&mut self) -> Result<(), Violated> {
        if self.oracle.closed > 0 && self.proxy_out.is_empty() {
            self.to_agent.end();
            self.to_proxy.sever();
        }
        if self.agent_closed > 0 && self.agent_out.is_empty() {
            self.to_proxy.end();
            self.to_agent.sever();
        }
        Ok(())
    }
}

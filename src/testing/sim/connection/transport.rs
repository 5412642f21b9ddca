//! Bytes: what was written arrives, and both sides hear what follows from it.

use alloc::format;
use alloc::string::ToString;
use core::time::Duration;

use crate::machine::{ConnectionState, Timestamp};
use crate::session::{AgentSessionEvent, ProxySessionEvent, Receipt};
use crate::testing::encoded;
use crate::testing::link::Link;
use crate::testing::oracle::{Property, Violated, demand};
use crate::testing::probe::polls_commute;
use crate::testing::rng::Rng;
use crate::wire::FrameType;

use super::{Connection, End, Notice, Trust};

impl Connection {
    pub(super) fn deliver(&mut self, now: Timestamp) -> Result<(), Violated> {
        while self.at_proxy.reads_at <= now && self.proxy.wants_bytes() {
            let Some(bytes) = self.to_proxy.receive(now) else { break };
            self.proxy_receives(&bytes, now)?;
        }
        if self.at_proxy.reads_at <= now && self.proxy.wants_bytes() && self.to_proxy.receive_end() {
            self.proxy.handle_eof();
        }
        while self.at_agent.reads_at <= now && self.agent.wants_bytes() {
            let Some(bytes) = self.to_agent.receive(now) else { break };
            self.agent.handle_bytes(&bytes, now);
            self.at_agent.reads_at = now.after(self.at_agent.slowness);
            if self.at_agent.slowness > Duration::ZERO {
                break;
            }
        }
        if self.at_agent.reads_at <= now && self.agent.wants_bytes() && self.to_agent.receive_end() {
            self.agent.handle_eof();
        }
        Ok(())
    }

    fn proxy_receives(&mut self, bytes: &[u8], now: Timestamp) -> Result<(), Violated> {
        if self.proxy.state() != ConnectionState::Closed {
            self.heard = now;
            for frame in self.arrivals.push(bytes) {
                self.oracle.proxy_received(&frame)?;
            }
        }
        self.proxy.handle_bytes(bytes, now);
        self.proxy_events()
    }

    /// Fetches events and moves bytes until neither side has more.
    pub(super) fn pump(&mut self, now: Timestamp, thorough: bool) -> Result<(), Violated> {
        loop {
            if thorough {
                polls_commute((&self.proxy, &self.at_proxy.out), (&self.agent, &self.at_agent.out))?;
            }
            self.proxy_events()?;
            self.agent_events()?;
            let mut moved = self.proxy_transmits(now)?;
            moved |= self.agent_transmits(now)?;
            if !moved {
                self.hang_up();
                return Ok(());
            }
        }
    }

    fn proxy_events(&mut self) -> Result<(), Violated> {
        while let Some(event) = self.proxy.poll_event() {
            demand(!self.at_proxy.closed, Property::P8, || format!("{event:?} after the close"))?;
            let notice = match event {
                ProxySessionEvent::Registration(pending) => {
                    demand(!self.oracle.opened, Property::P7, || "a second registration".to_string())?;
                    Notice::Registration(*pending)
                }
                ProxySessionEvent::Opened => {
                    self.oracle.opened = true;
                    Notice::Opened
                }
                ProxySessionEvent::Ended { exchange, ending } => {
                    self.oracle.ended(exchange, &ending)?;
                    Notice::Ended { exchange, ending }
                }
                ProxySessionEvent::Draining => {
                    self.oracle.draining = true;
                    Notice::Draining
                }
                ProxySessionEvent::Health(health) => Notice::Health(health.state),
                ProxySessionEvent::Closed(reason) => {
                    self.oracle.closed()?;
                    self.at_proxy.closed = true;
                    self.check_blame(&reason)?;
                    Notice::ProxyClosed(reason)
                }
                ProxySessionEvent::Metrics(_) | ProxySessionEvent::ConfigUpdate(_) => continue,
            };
            self.notices.push(notice);
        }
        Ok(())
    }

    fn agent_events(&mut self) -> Result<(), Violated> {
        while let Some(event) = self.agent.poll_event() {
            demand(!self.at_agent.closed, Property::P8, || format!("{event:?} after the agent's close"))?;
            let notice = match event {
                AgentSessionEvent::Handshake(pending) => Notice::Handshake(*pending),
                AgentSessionEvent::Event(receipt) => {
                    let tag = self.tag_of(&receipt)?;
                    Notice::Event { tag, receipt: *receipt }
                }
                AgentSessionEvent::Cancelled { exchange, .. } => Notice::Cancelled(exchange),
                AgentSessionEvent::Closed(reason) => {
                    self.at_agent.closed = true;
                    if self.trust != Trust::Neither {
                        self.check_blame(&reason)?;
                    }
                    Notice::AgentClosed(reason)
                }
                AgentSessionEvent::Opened { .. } => continue,
            };
            self.notices.push(notice);
        }
        Ok(())
    }

    fn tag_of(&mut self, receipt: &Receipt) -> Result<Option<u32>, Violated> {
        if self.trust == Trust::Neither {
            return Ok(None);
        }
        let payload = receipt.event().map(|event| encoded(&event)).unwrap_or_default();
        let tag = self.oracle.tag_at_agent(receipt.exchange, &payload)?;
        self.oracle.agent_given(tag)?;
        Ok(Some(tag))
    }

    fn proxy_transmits(&mut self, now: Timestamp) -> Result<bool, Violated> {
        let before = self.at_proxy.out.len();
        let moved = self.proxy.poll_transmit(&mut self.at_proxy.out);
        let fresh = self.at_proxy.out.get(before..).unwrap_or_default();
        self.traffic.bytes = self.traffic.bytes.saturating_add(fresh.len() as u64);
        for frame in self.at_proxy.tap.push(fresh) {
            self.traffic.frames = self.traffic.frames.saturating_add(1);
            self.oracle.proxy_wrote(&frame)?;
        }
        send(&mut self.at_proxy, &mut self.to_agent, self.socket_buffer, now, &mut self.rng);
        Ok(moved)
    }

    fn agent_transmits(&mut self, now: Timestamp) -> Result<bool, Violated> {
        let before = self.at_agent.out.len();
        let moved = self.agent.poll_transmit(&mut self.at_agent.out);
        let fresh = self.at_agent.out.get(before..).unwrap_or_default();
        self.traffic.bytes = self.traffic.bytes.saturating_add(fresh.len() as u64);
        for frame in self.at_agent.tap.push(fresh) {
            self.traffic.frames = self.traffic.frames.saturating_add(1);
            if self.trust != Trust::Neither {
                self.oracle.agent_wrote(&frame)?;
            }
            if frame.kind == FrameType::AgentResponse.to_byte() {
                self.last_answer = Some(frame.payload);
            }
        }
        send(&mut self.at_agent, &mut self.to_proxy, self.socket_buffer, now, &mut self.rng);
        Ok(moved)
    }

    /// A side that has closed and written everything drops its socket.
    fn hang_up(&mut self) {
        if self.at_proxy.closed && self.at_proxy.out.is_empty() {
            self.to_agent.end();
            self.to_proxy.sever();
        }
        if self.at_agent.closed && self.at_agent.out.is_empty() {
            self.to_proxy.end();
            self.to_agent.sever();
        }
    }
}

/// Hands to the stream what it takes.
fn send(end: &mut End, link: &mut Link, socket_buffer: usize, now: Timestamp, rng: &mut Rng) {
    if end.gagged || link.has_ended() {
        return end.out.clear();
    }
    let room = socket_buffer.saturating_sub(link.queued()).min(end.out.len());
    if room == 0 {
        return;
    }
    let rest = end.out.split_off(room);
    link.send(&mut end.out, now, rng);
    end.out = rest;
}

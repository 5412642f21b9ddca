//! What the drivers put into the streams.

use dialback::machine::{ConnectionState, FromAgent, FromProxy, Matching, Refusal, ToAgent, ToProxy};
use dialback::testing::{Property, Violated, demand};

use crate::scenario::Scenario;

use super::books::{Books, UNSEEN};
use super::{Sight, Sights, Sys, YES, number};

/// A handshake's answer as the peer reads it.
fn verdict<T>(payload: u8, yes: T) -> Result<T, Refusal> {
    if payload == YES { Ok(yes) } else { Err(Refusal(String::new())) }
}

impl Sys {
    /// One frame of the proxy's, or the end of its stream behind the last.
    pub(super) fn proxy_writes(
        &mut self,
        scenario: &Scenario,
        sights: &mut Sights,
    ) -> Result<bool, Violated> {
        let Some(frame) = self.proxy.poll_transmit() else {
            if self.proxy.state() == ConnectionState::Closed {
                self.to_agent.end();
            }
            return Ok(true);
        };
        let exact = scenario.matching == Matching::ByExchangeId;
        let opened = self.books.proxy.opened;
        let frame = match frame {
            ToAgent::Offer(payload) => {
                Books::handshake_written(&mut self.books.proxy, "proxy")?;
                FromProxy::Offer(payload)
            }
            ToAgent::HandshakeAnswer(payload) => {
                Books::handshake_written(&mut self.books.proxy, "proxy")?;
                FromProxy::HandshakeAnswer(verdict(payload, ()))
            }
            ToAgent::Refuse(_) => {
                Books::handshake_written(&mut self.books.proxy, "proxy")?;
                FromProxy::HandshakeAnswer(verdict(super::NO, ()))
            }
            ToAgent::Event { kind, id, exchange, payload } => {
                demand(exchange.is_some() == exact, Property::P2, || {
                    format!("{payload} names {exchange:?}")
                })?;
                self.books.event_written(payload, exact, scenario.limit())?;
                let local = dialback::machine::ExchangeId(u64::from(payload));
                FromProxy::Event { exchange: local, kind, id, echo: exchange, payload }
            }
            ToAgent::Cancel { id, exchange, reason } => {
                demand(exchange.is_some() == exact, Property::P6, || format!("a Cancel names {exchange:?}"))?;
                sights.add(Sight::Cancel);
                let last = self.books.last_written(Scenario::lane(&id));
                self.books.cancel_written(exchange.map_or(last, |exchange| Some(number(exchange))))?;
                FromProxy::Cancel { id, echo: exchange, reason }
            }
            ToAgent::Ping { sequence } => {
                demand(opened, Property::P7, || "a ping before the handshake".to_string())?;
                FromProxy::Ping(u8::try_from(sequence).unwrap_or(u8::MAX))
            }
            ToAgent::Pong(payload) => {
                sights.add(Sight::Pong);
                let ping = self.books.pings_at_proxy.pop_front();
                demand(ping == Some(payload), Property::P12, || format!("pong {payload} to {ping:?}"))?;
                FromProxy::Pong
            }
        };
        self.to_agent.write(frame);
        Ok(true)
    }

    /// One frame of the agent's, or the end of its stream behind the last.
    pub(super) fn agent_writes(
        &mut self,
        scenario: &Scenario,
        sights: &mut Sights,
    ) -> Result<bool, Violated> {
        let Some(frame) = self.agent.poll_transmit() else {
            if self.agent.state() == ConnectionState::Closed {
                self.to_proxy.end();
            }
            return Ok(true);
        };
        let opened = self.books.agent.opened;
        let early = || "the agent wrote before the handshake".to_string();
        let frame = match frame {
            ToProxy::Offer(payload) => {
                Books::handshake_written(&mut self.books.agent, "agent")?;
                FromAgent::Offer(payload)
            }
            ToProxy::HandshakeAnswer(payload) => {
                Books::handshake_written(&mut self.books.agent, "agent")?;
                FromAgent::HandshakeAnswer(verdict(payload, scenario.terms()))
            }
            ToProxy::Refuse(_) => {
                Books::handshake_written(&mut self.books.agent, "agent")?;
                FromAgent::HandshakeAnswer(verdict(super::NO, scenario.terms()))
            }
            ToProxy::Answer { id, echo, payload } => {
                FromAgent::Answer { id: Some(id), exchange: echo, payload }
            }
            ToProxy::AnswerUnseen { id, echo } => {
                sights.add(Sight::AnsweredUnseen);
                self.books.answered_unseen(Scenario::lane(&id), echo.map(number))?;
                FromAgent::Answer { id: Some(id), exchange: echo, payload: UNSEEN }
            }
            ToProxy::Flow(action) => {
                sights.add(Sight::BacklogPause);
                FromAgent::Flow { id: None, action }
            }
            ToProxy::Draining => FromAgent::Health { draining: true, payload: 0 },
            ToProxy::Report { frame, payload } => FromAgent::Report { frame, payload },
            ToProxy::Ping { sequence } => {
                demand(opened, Property::P7, early)?;
                FromAgent::Ping(u8::try_from(sequence).unwrap_or(u8::MAX))
            }
            ToProxy::Pong(payload) => {
                sights.add(Sight::Pong);
                let ping = self.books.pings_at_agent.pop_front();
                demand(ping == Some(payload), Property::P12, || format!("pong {payload} to {ping:?}"))?;
                FromAgent::Pong
            }
        };
        self.to_proxy.write(frame);
        Ok(true)
    }
}

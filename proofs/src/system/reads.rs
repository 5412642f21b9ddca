//! What reaches the machines from the streams.

use dialback::machine::{FromAgent, FromProxy, Matching};
use dialback::testing::{Property, Violated, demand};
use dialback::wire::FlowAction;

use crate::scenario::Scenario;

use super::books::AtAgent;
use super::stream::Read;
use super::{Sights, Sys, number};

impl Sys {
    /// The agent reads one frame, or how its stream ended.
    pub(super) fn agent_reads(&mut self, _: &mut Sights) -> Result<bool, Violated> {
        let now = self.now();
        let frame = match self.to_agent.read() {
            Read::Nothing => return Ok(false),
            Read::End => {
                self.agent.handle_eof();
                return Ok(true);
            }
            Read::Failure => {
                self.agent.handle_transport_lost();
                return Ok(true);
            }
            Read::Frame(frame) => frame,
        };
        let unknown = match &frame {
            FromProxy::Event { payload, .. } => {
                let entry = self.books.entry(*payload)?;
                demand(entry.at_agent == AtAgent::No, Property::P10, || format!("{payload} came twice"))?;
                entry.at_agent = AtAgent::Arrived;
                false
            }
            FromProxy::Cancel { id, echo, .. } => {
                self.books.cancel_arrived(Scenario::lane(id), echo.map(number));
                false
            }
            FromProxy::Ping(payload) => {
                self.books.pings_at_agent.push_back(*payload);
                false
            }
            FromProxy::Unknown(_) => self.books.agent.opened,
            FromProxy::Offer(_)
            | FromProxy::HandshakeAnswer(_)
            | FromProxy::Pong
            | FromProxy::WrongDirection(_)
            | FromProxy::Unreadable(_) => false,
        };
        let before = unknown.then(|| self.agent.clone());
        self.agent.handle_frame(frame, now);
        if let Some(before) = before {
            demand(self.agent == before, Property::P11, || "the agent minds an unknown frame".to_string())?;
        }
        self.agent.handle_progress(false, true, now);
        Ok(true)
    }

    /// The proxy reads one frame, or how its stream ended.
    pub(super) fn proxy_reads(&mut self, scenario: &Scenario, sights: &mut Sights) -> Result<bool, Violated> {
        let now = self.now();
        let frame = match self.to_proxy.read() {
            Read::Nothing => return Ok(false),
            Read::End => {
                self.proxy.handle_eof();
                return Ok(true);
            }
            Read::Failure => {
                self.proxy.handle_transport_lost();
                return Ok(true);
            }
            Read::Frame(frame) => frame,
        };
        let opened = self.books.proxy.opened;
        let unknown = match &frame {
            FromAgent::Answer { id, exchange, payload } => {
                let exact = scenario.matching == Matching::ByExchangeId;
                let found = self.books.find(exact, id.as_ref().map(Scenario::lane), exchange.map(number));
                self.books.answer_arrived(found, *payload, sights)?;
                false
            }
            FromAgent::Flow { id, action } if opened => {
                let heard = &mut self.books.heard;
                match (id.as_ref().map(Scenario::lane), action) {
                    (None, FlowAction::Pause) => heard.paused = true,
                    (None, FlowAction::Resume) => heard.paused = false,
                    (None, FlowAction::UpdateCapacity { buffer_available }) => {
                        heard.capacity = Some(u8::try_from(*buffer_available).unwrap_or(u8::MAX));
                    }
                    (Some(lane), FlowAction::Pause) => heard.lanes |= 1 << lane,
                    (Some(lane), FlowAction::Resume) => heard.lanes &= !(1 << lane),
                    (Some(_), FlowAction::UpdateCapacity { .. }) => {}
                }
                false
            }
            FromAgent::Ping(payload) if opened => {
                self.books.pings_at_proxy.push_back(*payload);
                false
            }
            FromAgent::Unknown(_) => opened,
            FromAgent::Offer(_)
            | FromAgent::HandshakeAnswer(_)
            | FromAgent::Flow { .. }
            | FromAgent::Ping(_)
            | FromAgent::Health { .. }
            | FromAgent::Report { .. }
            | FromAgent::Pong
            | FromAgent::WrongDirection(_)
            | FromAgent::Unreadable(_) => false,
        };
        let before = unknown.then(|| self.proxy.clone());
        self.proxy.handle_frame(frame, now);
        if let Some(before) = before {
            demand(self.proxy == before, Property::P11, || "the proxy minds an unknown frame".to_string())?;
        }
        self.proxy.handle_progress(false, true, now);
        Ok(true)
    }
}

//! The two handshakes of a bridge: forward with the agent, then reverse with the proxy.

use core::mem;

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::machine::{CloseReason, Timestamp, Violation};
use crate::session::message::supported;
use crate::session::{misplaced, read_handshake};
use crate::wire::{
    Capabilities, Encoding, ForwardRequest, ForwardResponse, Frame, FrameType, Kind, PROTOCOL_VERSION,
    Registration, RegistrationResponse,
};

use super::event::{BridgeEnd, BridgeEvent, Side};
use super::settings::BridgeSettings;
use super::{BridgeSession, Stage};

/// What the agent is offered. JSON comes last, since deployed agents take the first that they know.
pub(super) fn offer(settings: &BridgeSettings) -> ForwardRequest {
    let mut encodings = supported(&settings.encodings);
    encodings.retain(|encoding| *encoding != Encoding::Json);
    encodings.push(Encoding::Json);
    ForwardRequest {
        supported_versions: Vec::from([PROTOCOL_VERSION]),
        proxy_id: "dialback-bridge".into(),
        proxy_version: env!("CARGO_PKG_VERSION").into(),
        config: settings.agent_config.clone(),
        supported_encodings: encodings,
    }
}

/// The agent's answer to the forward handshake.
pub(super) fn read_answer(frame: Frame<'_>) -> Result<ForwardResponse, Violation> {
    read(frame)
}

/// The proxy's answer to the registration.
pub(super) fn read_response(frame: Frame<'_>) -> Result<RegistrationResponse, Violation> {
    read(frame)
}

fn read<T: serde::de::DeserializeOwned>(frame: Frame<'_>) -> Result<T, Violation> {
    match frame.kind {
        Kind::Known(FrameType::HandshakeResponse) => {
            read_handshake(FrameType::HandshakeResponse, frame.payload)
        }
        Kind::Known(_) | Kind::Unknown(_) => Err(misplaced(&frame)),
    }
}

impl BridgeSession {
    // Rule: H-BRIDGE-1, H-FWD-2.
    pub(super) fn handle_greeting(&mut self, response: ForwardResponse, now: Timestamp) {
        let ForwardResponse { protocol_version, capabilities, success, error, encoding } = response;
        let offered = encoding == Encoding::Json || self.settings.encodings.contains(&encoding);
        let words = if !success {
            Some(error.unwrap_or_else(no_reason))
        } else if protocol_version != PROTOCOL_VERSION {
            Some(alloc::format!("it chose protocol version {protocol_version}, which was not offered"))
        } else if !offered {
            Some(alloc::format!("it chose the encoding {encoding}, which was not offered"))
        } else {
            None
        };
        if let Some(words) = words {
            return self.lose(Side::Agent, CloseReason::Refused(words), now);
        }
        let registration = self.registration(capabilities.clone(), encoding);
        // Proxies and agents are told of each other by the same name.
        self.settings.agent_id = Some(registration.agent_id.clone());
        self.relay.encoding = encoding;
        self.agent.alive.handle_heard(now);
        self.stage = Stage::Greeted { registration: Box::new(registration) };
        self.events.push_back(BridgeEvent::AgentReady(Box::new(capabilities)));
    }

    fn registration(&self, mut capabilities: Capabilities, encoding: Encoding) -> Registration {
        if let Some(id) = &self.settings.agent_id {
            capabilities.agent_id.clone_from(id);
        }
        let mut registration = Registration::new(capabilities);
        registration.auth_token.clone_from(&self.settings.auth_token);
        registration.metadata.clone_from(&self.settings.metadata);
        if encoding != Encoding::Json {
            registration.supported_encodings.push(encoding);
        }
        registration
    }

    // Rule: H-BRIDGE-1.
    pub(super) fn handle_response(&mut self, response: RegistrationResponse, now: Timestamp) {
        if !response.success {
            self.retry_after_ms = response.retry_after_ms;
            let words = response.error.unwrap_or_else(no_reason);
            return self.lose(Side::Proxy, CloseReason::Refused(words), now);
        }
        let encoding = response.encoding.unwrap_or_default();
        if encoding != self.relay.encoding {
            return self.finish(BridgeEnd::Encoding(self.relay.encoding));
        }
        let limit = self.settings.limits.frames.open;
        self.agent.intake.decoder.set_limit(limit);
        self.proxy.intake.decoder.set_limit(limit);
        self.agent.alive.handle_heard(now);
        self.stage = Stage::Open { drain: None };
        self.events.push_back(BridgeEvent::Opened(Box::new(response)));
        let held = mem::take(&mut self.agent.intake.held);
        self.handle_bytes(Side::Agent, &held, now);
    }
}

fn no_reason() -> String {
    "no reason given".to_string()
}

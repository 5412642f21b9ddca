//! What a bridge tells its driver, and how it ends.

use core::fmt;

use alloc::boxed::Box;

use crate::machine::CloseReason;
use crate::wire::{Capabilities, Encoding, RegistrationResponse};

/// One of the two peers of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The agent, which listens, and to which the bridge is a proxy.
    Agent,
    /// The proxy, to which the bridge is an agent.
    Proxy,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Agent, Self::Proxy];

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Agent => Self::Proxy,
            Self::Proxy => Self::Agent,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Agent => "agent",
            Self::Proxy => "proxy",
        })
    }
}

/// What happened, for the driver.
#[derive(Clone, Debug, PartialEq)]
pub enum BridgeEvent {
    /// The agent is there: dial the proxy, and then call [`BridgeSession::register`].
    ///
    /// [`BridgeSession::register`]: super::BridgeSession::register
    AgentReady(Box<Capabilities>),
    /// The proxy has accepted the agent.
    Opened(Box<RegistrationResponse>),
    /// The agent is lost, for this reason: let go of its socket. What the proxy still sends is
    /// answered with blocks until it lets go, or a deadline comes; see [`OnAgentLoss::Block`].
    ///
    /// [`OnAgentLoss::Block`]: super::OnAgentLoss::Block
    AgentLost(CloseReason),
    /// The bridge has ended. Always the last event.
    Ended(BridgeEnd),
}

/// Why a bridge ended. Both connections end with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BridgeEnd {
    /// This side wanted it so.
    Bridge(CloseReason),
    /// The connection to that side ended, or broke a rule.
    Peer(Side, CloseReason),
    /// The agent chose an encoding that the proxy does not speak. With only JSON on offer there
    /// is no such end.
    Encoding(Encoding),
}

impl BridgeEnd {
    /// Whether bytes for the proxy that are already made should still be written.
    pub const fn flushes_to_proxy(&self) -> bool {
        match self {
            Self::Bridge(_) | Self::Peer(Side::Agent, _) => true,
            Self::Encoding(_) => false,
            Self::Peer(Side::Proxy, reason) => reason.flushes(),
        }
    }
}

impl fmt::Display for BridgeEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge(reason) => reason.fmt(f),
            Self::Peer(side, reason) => write!(f, "{side}: {reason}"),
            Self::Encoding(encoding) => {
                write!(f, "the agent chose the encoding {encoding}, which the proxy does not speak")
            }
        }
    }
}

/// What a bridge has seen so far. Only grows; no part of the compared state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgeStats {
    /// Events carried to the agent.
    pub events: u64,
    /// Answers carried to the proxy.
    pub answers: u64,
    /// Events that the bridge itself answered, with a block, when the agent was lost.
    pub blocked: u64,
    /// Frames of a type not known, skipped.
    pub unknown_frames: u64,
    /// Pauses sent to the proxy because the agent did not take its events.
    pub pauses: u64,
}

impl BridgeStats {
    /// What this and another bridge have seen together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        let Self { events, answers, blocked, unknown_frames, pauses } = other;
        Self {
            events: self.events.saturating_add(events),
            answers: self.answers.saturating_add(answers),
            blocked: self.blocked.saturating_add(blocked),
            unknown_frames: self.unknown_frames.saturating_add(unknown_frames),
            pauses: self.pauses.saturating_add(pauses),
        }
    }
}

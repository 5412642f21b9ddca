//! How a simulation is set up.

use core::time::Duration;

use crate::machine::Backoff;
use crate::machine::registry::Balance;

use super::fault::{Fault, FaultKind, FaultRates};

/// How a simulation is set up. Numbers that say "at most" are drawn anew for every connection or
/// request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimConfig {
    /// Agents that keep to the protocol. Default 3.
    pub agents: u32,
    /// Agents that do not. Default 1.
    pub hostile_agents: u32,
    /// Connections that each agent keeps up. Default 2.
    pub connections: u32,
    /// Requests that are begun. Default 48.
    pub requests: u32,
    /// How often each fault happens.
    pub faults: FaultRates,
    /// The streams.
    pub stream: StreamConfig,
    /// The proxy's side.
    pub proxy: ProxySide,
    /// The agents' side.
    pub agent: AgentSide,
    /// Steps that a failure shows. Default 40.
    pub trace: usize,
}

/// How the streams between the two sides are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamConfig {
    /// Longest delay of a segment. Default 4 ms.
    pub max_delay: Duration,
    /// Longest segment in bytes, at most. Default 1,500.
    pub max_segment: usize,
    /// Bytes that are under way at most; then the writer waits. Default 4 KiB.
    pub socket_buffer: usize,
    /// Longest stall. Default 45 s: long enough to be taken for dead.
    pub max_stall: Duration,
}

/// How the proxy's application behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxySide {
    /// Unanswered events on a connection, at most. Default 4.
    pub window: u32,
    /// Events that may wait on a connection. Default 12.
    pub queue: usize,
    /// Late answers that an agent may owe. Default 4.
    pub owed: usize,
    /// Longest time between requests, apart from lulls. Default 30 ms.
    pub gap: Duration,
    /// Longest lull. Default 90 s: longer than anybody's patience with a silent peer.
    pub lull: Duration,
    /// Longest patience of a caller. Default 150 ms. A third of them have no limit.
    pub deadline: Duration,
    /// How often an event that was not written is tried again on another connection. Default 1.
    pub retries: u32,
    /// Which connection gets the next request.
    pub balance: Balance,
    /// Of a thousand connections, how many the proxy dials. Default 150.
    pub forward: u32,
}

/// How the agents behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentSide {
    /// Of a thousand agents, how many echo exchange ids. Default 500.
    pub exchange_ids: u32,
    /// Of a thousand agents, how many take Cancels. Default 900.
    pub cancellation: u32,
    /// Events that an agent handles at once, at most. Default 3.
    pub running: usize,
    /// Longest time that a handler takes, where it does not say so itself. Default 25 ms.
    pub handling: Duration,
    /// The pace of reconnecting.
    pub backoff: Backoff,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            max_delay: Duration::from_millis(4),
            max_segment: 1_500,
            socket_buffer: 4_096,
            max_stall: Duration::from_secs(45),
        }
    }
}

impl Default for ProxySide {
    fn default() -> Self {
        Self {
            window: 4,
            queue: 12,
            owed: 4,
            gap: Duration::from_millis(30),
            lull: Duration::from_secs(90),
            deadline: Duration::from_millis(150),
            retries: 1,
            balance: Balance::LeastInFlight,
            forward: 150,
        }
    }
}

impl Default for AgentSide {
    fn default() -> Self {
        let backoff = Backoff {
            min: Duration::from_millis(50),
            max: Duration::from_secs(5),
            stable_after: Duration::from_secs(2),
        };
        Self {
            exchange_ids: 500,
            cancellation: 900,
            running: 3,
            handling: Duration::from_millis(25),
            backoff,
        }
    }
}

impl Default for SimConfig {
    /// A little of everything.
    fn default() -> Self {
        let faults = FaultRates::none()
            .with_kind(FaultKind::Network, 6)
            .with_kind(FaultKind::Application, 15)
            .with_kind(FaultKind::Opening, 40)
            .with_kind(FaultKind::Hostile, 8)
            .with(Fault::CallerGone, 150)
            .with(Fault::CancelAll, 5)
            .with(Fault::Lull, 40);
        Self {
            agents: 3,
            hostile_agents: 1,
            connections: 2,
            requests: 48,
            faults,
            stream: StreamConfig::default(),
            proxy: ProxySide::default(),
            agent: AgentSide::default(),
            trace: 40,
        }
    }
}

impl SimConfig {
    /// Nothing goes wrong, and callers have time: every question must be answered. To see that a
    /// handler is right before it is put under stress.
    pub fn calm() -> Self {
        let proxy = ProxySide { deadline: Duration::from_secs(60), ..ProxySide::default() };
        Self { hostile_agents: 0, faults: FaultRates::none(), proxy, ..Self::default() }
    }

    /// Honest agents on a bad network.
    pub fn rough() -> Self {
        let faults = FaultRates::none()
            .with_kind(FaultKind::Network, 40)
            .with(Fault::Unreachable, 200)
            .with(Fault::CallerGone, 100)
            .with(Fault::Lull, 40);
        Self { hostile_agents: 0, faults, ..Self::default() }
    }

    /// As many hostile agents as honest ones, and nothing else that goes wrong.
    pub fn hostile() -> Self {
        let faults = FaultRates::none()
            .with_kind(FaultKind::Hostile, 40)
            .with(Fault::BadOpening, 100)
            .with(Fault::SilentOpening, 100)
            .with(Fault::Lull, 40);
        Self { agents: 2, hostile_agents: 2, faults, ..Self::default() }
    }
}

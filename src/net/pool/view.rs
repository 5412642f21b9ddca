//! What a pool shows of its agents.

use crate::machine::registry::Health;
use crate::machine::{ConnectionState, ProxyLatency, ProxyStats};

use super::super::handle::Stats;
use super::super::shared::Traffic;

/// What a pool knows of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentView {
    /// The agent.
    pub agent_id: String,
    /// What its connections had seen that have left since it was first known.
    pub departed: Totals,
    /// Its connections, the oldest first. Empty while it is away and its grace lasts.
    pub connections: Vec<ConnectionView>,
}

/// What a pool knows of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionView {
    /// Its name.
    pub connection_id: String,
    /// Where it stands.
    pub state: ConnectionState,
    /// What is held of its health.
    pub health: Health,
    /// What it has seen, and what is under way on it.
    pub stats: Stats,
    /// How long events waited, and how long their answers took.
    pub latency: ProxyLatency,
}

/// What one or several connections have seen and measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Exchanges and frames.
    pub stats: ProxyStats,
    /// How long events waited, and how long their answers took.
    pub latency: ProxyLatency,
    /// Bytes.
    pub traffic: Traffic,
}

impl Totals {
    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            stats: self.stats.plus(other.stats),
            latency: self.latency.plus(&other.latency),
            traffic: self.traffic.plus(other.traffic),
        }
    }
}

impl ConnectionView {
    /// What it has seen and measured.
    pub const fn totals(&self) -> Totals {
        Totals { stats: self.stats.totals, latency: self.latency, traffic: self.stats.traffic }
    }
}

impl AgentView {
    /// What all connections together have under way.
    pub fn in_flight(&self) -> usize {
        self.connections.iter().map(|connection| connection.stats.in_flight).sum()
    }

    /// What all connections together have seen, those included that have left. Only grows.
    pub fn totals(&self) -> Totals {
        self.connections.iter().fold(self.departed, |sum, connection| sum.plus(&connection.totals()))
    }
}

//! What there can be more of.

use dialback::machine::Matching;

use crate::cost::Measured;
use crate::{machines, networks, sessions};

/// A cost, against how many there are of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Series {
    /// The proxy's machine, exchanges in flight.
    MachineInFlight,
    /// The same, matched by exchange id.
    MachineInFlightByExchange,
    /// The proxy's machine, events waiting behind a full window.
    MachineQueued,
    /// The proxy's machine, answers owed to exchanges that were given up.
    MachineAbandoned,
    /// The proxy's machine, deadlines that pass at once.
    MachineExpiring,
    /// The agent's machine, unanswered events.
    AgentUnanswered,
    /// The proxy's session, exchanges in flight.
    SessionInFlight,
    /// The proxy's session, events waiting.
    SessionQueued,
    /// The proxy's session, answers owed.
    SessionAbandoned,
    /// The adapter, exchanges in flight on its one connection.
    NetInFlight,
    /// The adapter, connections, asked in turn.
    NetConnections,
    /// A pool of agents with a connection each, asked in turn.
    PoolAgents,
    /// A pool of one agent's connections.
    PoolConnections,
}

impl Series {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::MachineInFlight,
        Self::MachineInFlightByExchange,
        Self::MachineQueued,
        Self::MachineAbandoned,
        Self::MachineExpiring,
        Self::AgentUnanswered,
        Self::SessionInFlight,
        Self::SessionQueued,
        Self::SessionAbandoned,
        Self::NetInFlight,
        Self::NetConnections,
        Self::PoolAgents,
        Self::PoolConnections,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MachineInFlight => "machine-in-flight",
            Self::MachineInFlightByExchange => "machine-in-flight-exchange-ids",
            Self::MachineQueued => "machine-queued",
            Self::MachineAbandoned => "machine-abandoned",
            Self::MachineExpiring => "machine-expiring",
            Self::AgentUnanswered => "agent-unanswered",
            Self::SessionInFlight => "session-in-flight",
            Self::SessionQueued => "session-queued",
            Self::SessionAbandoned => "session-abandoned",
            Self::NetInFlight => "net-in-flight",
            Self::NetConnections => "net-connections",
            Self::PoolAgents => "pool-agents",
            Self::PoolConnections => "pool-connections",
        }
    }

    /// What is counted, against what.
    pub const fn text(self) -> &'static str {
        match self {
            Self::MachineInFlight => "one more request through the proxy's machine, others in flight",
            Self::MachineInFlightByExchange => "the same, answers matched by exchange id",
            Self::MachineQueued => "the same behind a full window, others queued",
            Self::MachineAbandoned => "the same, answers owed to others that were given up",
            Self::MachineExpiring => "each of so many deadlines that pass at once",
            Self::AgentUnanswered => "one more event through the agent's machine, others unanswered",
            Self::SessionInFlight => "one more request through the proxy's session, others in flight",
            Self::SessionQueued => "the same behind a full window, others queued",
            Self::SessionAbandoned => "the same, answers owed to others that were given up",
            Self::NetInFlight => "one more request over a socket, others in flight",
            Self::NetConnections => "a request over one of so many sockets, in turn",
            Self::PoolAgents => "a request to one of so many agents of a pool, in turn",
            Self::PoolConnections => "a request to an agent of a pool with so many connections",
        }
    }

    /// The counts that it is taken at.
    pub fn counts(self, quick: bool) -> Vec<usize> {
        let (full, little) = match self {
            // Trees grow by levels: over fewer counts that may look like more than a logarithm.
            Self::MachineInFlight
            | Self::MachineInFlightByExchange
            | Self::MachineQueued
            | Self::MachineAbandoned
            | Self::MachineExpiring
            | Self::AgentUnanswered => (100_000, 1_000),
            Self::SessionInFlight | Self::SessionQueued | Self::SessionAbandoned | Self::NetInFlight => {
                (10_000, 1_000)
            }
            Self::NetConnections | Self::PoolAgents | Self::PoolConnections => (1_000, 100),
        };
        let most = if quick { little } else { full };
        [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000]
            .into_iter()
            .filter(|count| *count <= most)
            .collect()
    }

    /// Sets the scene for `count`, and measures within it.
    pub fn measure(self, count: usize) -> Result<Measured, String> {
        match self {
            Self::MachineInFlight => Ok(machines::in_flight(count, Matching::OneAtATime)),
            Self::MachineInFlightByExchange => Ok(machines::in_flight(count, Matching::ByExchangeId)),
            Self::MachineQueued => Ok(machines::queued(count)),
            Self::MachineAbandoned => Ok(machines::abandoned(count)),
            Self::MachineExpiring => Ok(machines::expiring(count)),
            Self::AgentUnanswered => Ok(machines::unanswered(count)),
            Self::SessionInFlight => Ok(sessions::in_flight(count)),
            Self::SessionQueued => Ok(sessions::queued(count)),
            Self::SessionAbandoned => Ok(sessions::abandoned(count)),
            Self::NetInFlight => networks::in_flight(count),
            Self::NetConnections => networks::connections(count),
            Self::PoolAgents => networks::pool_of_agents(count),
            Self::PoolConnections => networks::pool_of_connections(count),
        }
    }
}

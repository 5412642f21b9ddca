//! What a proxy's session tells the application, and what it asks.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::machine::{CloseReason, Ending, ExchangeId, Pending};
use crate::wire::{ConfigUpdateRequest, HealthStatus, MetricsReport, Registration};

/// A registration that awaits the application's decision, and the right to take it, once.
#[derive(Debug)]
#[must_use = "a registration that is neither accepted nor rejected holds the connection until its deadline"]
pub struct PendingRegistration {
    /// What the agent says of itself.
    pub registration: Registration,
    pub(super) pending: Pending<Vec<u8>>,
}

/// What an accepted agent is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The connection's name, unlike that of any other connection.
    pub connection_id: String,
}

/// What happened, for the application.
#[derive(Debug)]
pub enum ProxySessionEvent {
    /// An agent wants to register: decide.
    Registration(Box<PendingRegistration>),
    /// The handshake is done; events may be submitted.
    Opened,
    /// An exchange reached its end. Told once per submitted event.
    Ended {
        /// Which one.
        exchange: ExchangeId,
        /// How. An answer is still encoded: see [`crate::wire::Answer`] and [`crate::session::ProxySession::encoding`].
        ending: Ending<Vec<u8>>,
    },
    /// The agent reported its health.
    Health(Box<HealthStatus>),
    /// The agent reported metrics.
    Metrics(Box<MetricsReport>),
    /// The agent asks for configuration.
    ConfigUpdate(Box<ConfigUpdateRequest>),
    /// Nothing new is admitted from here on.
    Draining,
    /// The connection has ended. Always the last event.
    Closed(CloseReason),
}

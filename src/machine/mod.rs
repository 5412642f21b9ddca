//! The pure state machines: no clock, no I/O, no randomness, no tasks.
//!
//! Facts from outside come in by `handle_*`, effects go out by `poll_*`, application commands are
//! bare verbs, and questions take `&self`. The order in which a driver polls does not matter.
//! Time is an argument. A command that returns an error has changed nothing. A peer that breaks a
//! rule closes the connection with a reason that says which.
//!
//! [`ProxyConnection`] and [`AgentConnection`] are the two machines to drive; they are composed
//! of one small machine per concern, each in a file of its name. What is decided per exchange,
//! per lane, per gate is decided in total `const fn`s over finite enums, and nowhere else:
//! [`exchange::step`], [`inbox::step`], [`correlation::lane_gate`], [`flow::gate`],
//! [`handshake::step`], [`keepalive::step`], [`closing::drain_step`], [`inbox::backpressure`].
//!
//! Payloads are opaque: a machine never looks into one, so a proof may use a byte. To speak
//! bytes instead of frames, use [`crate::session`].

pub mod admission;
mod agent;
mod backoff;
mod cancellation;
pub mod closing;
pub mod correlation;
pub mod exchange;
pub mod flow;
mod frames;
pub mod handshake;
pub mod histogram;
pub mod inbox;
pub mod keepalive;
mod outbox;
mod proxy;
pub mod registry;
mod rows;
mod tally;
mod time;

use alloc::vec::Vec;

pub use agent::{AgentConnection, AgentEvent, AgentLimits, AgentStats, AnswerError};
pub use backoff::{Attempt, Backoff, Next, Pace};
pub use cancellation::OwedLimits;
pub use closing::{Blame, CloseReason, DrainCause, Violation};
pub use correlation::{Patience, Submission};
pub use exchange::{Ending, ExchangeId};
pub use flow::{Backlog, Shut};
pub use frames::{FromAgent, FromProxy, Refusal, ToAgent, ToProxy};
pub use handshake::{EventSet, Matching, Pending, Terms};
pub use histogram::Histogram;
pub use inbox::InboxLimits;
pub use keepalive::{Judged, KeepaliveLimits};
pub use outbox::ControlLimits;
pub use proxy::{
    CancelError, ConnectionState, DecisionError, ProxyConnection, ProxyEvent, ProxyLatency, ProxyLimits,
    ProxyStats, QueueLimits, SubmitError,
};
pub use tally::Tally;
pub use time::Timestamp;

/// What a machine must know of a payload: how much memory it stands for.
pub trait Payload {
    /// Bytes, for the limits on queues.
    fn size(&self) -> usize;
}

impl Payload for Vec<u8> {
    fn size(&self) -> usize {
        self.len()
    }
}

/// A byte is payload enough for a proof.
impl Payload for u8 {
    fn size(&self) -> usize {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_as_large_as_what_it_holds() {
        assert_eq!((alloc::vec![0_u8; 7].size(), 7_u8.size()), (7, 1));
    }
}

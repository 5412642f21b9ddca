//! The books kept beside a pair: what the properties demand, checked against what was seen.

mod agent;
mod books;
mod frame;
mod proxy;

use alloc::string::String;
use core::fmt;

pub(super) use books::{Ground, Oracle};
pub(super) use frame::{Seen, Tap, answer_tag};

/// The properties, by the ids under which the ledger lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    /// Exactly once: every admitted exchange reaches exactly one end.
    P1,
    /// No misattribution: an answer ends only the exchange whose event it answers.
    P2,
    /// Order: events of one id are written, handled and answered in order, each once.
    P3,
    /// Window: in flight never exceeds the limit and equals the unresolved.
    P4,
    /// Pause: nothing is written between a pause and its resume; then it flows.
    P5,
    /// Cancel: at most one per exchange, never before its event, never for a queued one.
    P6,
    /// Handshake: nothing before registration, one decision.
    P7,
    /// Close: exactly one closed event, last, and everything pending ends with it.
    P8,
    /// Drain: nothing new is admitted; it closes when the last exchange ends or at its deadline.
    P9,
    /// Codec: what is written can be read, however it is cut.
    P10,
    /// Unknown frames change nothing.
    P11,
    /// Keepalive: a ping is answered with its payload; silence closes.
    P12,
    /// Time: acting when asked makes progress, acting early changes nothing.
    P13,
    /// Polls commute.
    P14,
    /// Refusals are pure.
    P15,
}

/// A property that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violated {
    /// Which.
    pub property: Property,
    /// What was seen.
    pub detail: String,
}

impl fmt::Display for Violated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.property, self.detail)
    }
}

impl core::error::Error for Violated {}

/// Fails with `property` unless `holds`.
///
/// # Errors
/// What `detail` says, if `holds` is false.
pub fn demand(holds: bool, property: Property, detail: impl FnOnce() -> String) -> Result<(), Violated> {
    if holds { Ok(()) } else { Err(Violated { property, detail: detail() }) }
}

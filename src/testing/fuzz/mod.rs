//! What the fuzzers check, as plain functions of bytes.
//!
//! Every function here takes any bytes, makes an input of them, and says what it found wrong. A fuzz
//! target is one call; so is the replay of a kept input. Structured inputs are read by a small reader
//! that is total: every byte string is some list of operations. The books that the sessions are
//! held against are kept here and never asked of the session itself.

mod agent;
mod corpus;
mod decoder;
mod feed;
mod handshake;
mod ids;
mod input;
mod json;
mod pair;
mod payload;
mod proxy;
mod readers;
mod reference;
mod seeds;

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

pub use agent::agent;
pub use corpus::{Inputs, inputs, pack};
pub use decoder::decoder;
pub use handshake::handshake;
pub use ids::ids;
pub use json::json;
pub use pair::pair;
pub use proxy::proxy;
pub use readers::readers;
pub use reference::reference;
pub use seeds::{Seed, seeds};

use super::oracle::Violated;
use crate::machine::Timestamp;

/// What a fuzzer found wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Failure {}

impl From<Violated> for Failure {
    fn from(violated: Violated) -> Self {
        Self(violated.to_string())
    }
}

/// What became of one input.
pub type Outcome = Result<(), Failure>;

/// Fails with `text` unless `holds`.
fn ensure(holds: bool, text: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(Failure(text())) }
}

/// Fails if a session that got `received` bytes holds more than it may for them.
fn ensure_bounded(held: usize, received: usize) -> Outcome {
    let most = received.saturating_mul(2).saturating_add(1024);
    ensure(held <= most, || format!("{held} bytes held of {received} received"))
}

/// Fails if a session that was told the time `now` still asks for an earlier one.
fn ensure_caught_up(due: Option<Timestamp>, now: Timestamp) -> Outcome {
    ensure(due.is_none_or(|due| due > now), || format!("still due at {due:?}, now {now}"))
}

/// One thing to fuzz.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is also that of its corpus.
    pub name: &'static str,
    /// Checks one input.
    pub check: fn(&[u8]) -> Outcome,
}

/// Everything there is to fuzz.
pub const TARGETS: [Target; 9] = [
    Target { name: "decoder", check: decoder },
    Target { name: "reference", check: reference },
    Target { name: "readers", check: readers },
    Target { name: "ids", check: ids },
    Target { name: "json", check: json },
    Target { name: "handshake", check: handshake },
    Target { name: "proxy", check: proxy },
    Target { name: "agent", check: agent },
    Target { name: "pair", check: pair },
];

/// The target of that name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

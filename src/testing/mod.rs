//! A pair of real sessions over a faulty link in virtual time, and an oracle that watches them.
//!
//! [`Pair`] joins a [`crate::session::ProxySession`] and a [`crate::session::AgentSession`] by a
//! link that cuts the bytes anywhere, delays them, stalls, half-closes and breaks. [`Op`] is the
//! language in which property tests and fuzzers drive it; [`Pair::apply`] is its one interpreter.
//! After every step the [`oracle`] compares what went over the wire with what the callers were
//! told. It keeps books of its own and never asks the sessions how they stand.

#[doc(hidden)]
pub mod inner;
mod link;
pub mod oracle;
mod pair;
mod rng;

pub use link::Link;
pub use oracle::{Property, Violated};
pub use pair::{Op, Pair, PairConfig};
pub use rng::Rng;

//! Real sessions over faulty links in virtual time, and an oracle that watches them.
//!
//! [`sim`] is for whoever builds on this crate: one proxy, many agents, everything that goes wrong
//! between them, and a place for a handler of one's own.
//!
//! [`Pair`] joins a [`crate::session::ProxySession`] and a [`crate::session::AgentSession`] by a
//! link that cuts the bytes anywhere, delays them, stalls, half-closes and breaks. [`Op`] is the
//! language in which property tests and fuzzers drive it; [`Pair::apply`] is its one interpreter.
//! After every step the [`oracle`] compares what went over the wire with what the callers were
//! told. It keeps books of its own and never asks the sessions how they stand.

pub mod fuzz;
#[doc(hidden)]
pub mod inner;
#[doc(hidden)]
pub mod json;
mod link;
pub mod oracle;
mod pair;
mod probe;
mod rng;
pub mod sim;

pub use link::Link;
pub use oracle::{Property, Violated, demand};
pub use pair::{Op, Pair, PairConfig};
pub use rng::Rng;

use alloc::vec::Vec;

use crate::wire::{Encoding, Event};

/// The guide for users, so that its code is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/testing.md")]
struct Guide;

/// An event as its payload goes onto the wire; empty if it has no form there.
fn encoded(event: &Event) -> Vec<u8> {
    let mut payload = Vec::new();
    match event.encode(Encoding::Json, &mut payload) {
        Ok(()) => payload,
        Err(_) => Vec::new(),
    }
}

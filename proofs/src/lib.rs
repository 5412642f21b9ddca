//! Exhaustive exploration of dialback's machines, and what ties its other proofs to the code.
//!
//! - [`system`]: the real machines joined by streams, an observer's books, an adversary.
//! - [`catalogue`]: every scenario that is explored, and what must come of it.
//! - [`scenario`]: what a system is set up with and what its adversary may do.
//! - [`invariant`]: the clauses of the unbounded proof, asked of every state.
//! - [`spec`]: the tie between the machines and their specification in TLA+.
//! - [`explorer`]: every reachable state, the shortest way to a fault, and what is left for ever.

pub mod catalogue;
pub mod explorer;
pub mod invariant;
pub mod scenario;
pub mod second_opinion;
pub mod spec;
pub mod system;

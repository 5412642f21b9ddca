//! Who answers, in a process of its own.

pub mod ours;
pub mod raw;
pub mod tonic;

/// What every agent calls itself.
pub const AGENT_ID: &str = "bench";

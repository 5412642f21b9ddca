//! How an agent's sessions behave.

use alloc::vec::Vec;

use crate::machine::AgentLimits;
use crate::session::WRITE_MARK;
use crate::wire::{Encoding, MAX_FRAME, MAX_FRAME_BEFORE_REGISTRATION, Registration};

/// How an agent's sessions behave.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentSettings {
    /// The machine's limits.
    pub limits: AgentLimits,
    /// Longest frame in either direction, type byte included. Default and at most 16 MiB.
    pub max_frame: u32,
    /// Longest frame before registration. Default 64 KiB.
    pub max_opening_frame: u32,
    /// Bytes waiting for the socket at which no more answers are written. Default 256 KiB.
    pub write_mark: usize,
    /// Encodings this agent takes besides JSON, the best first. Default: none.
    pub encodings: Vec<Encoding>,
    /// What this agent says of itself. `supported_encodings` is filled in from `encodings`.
    pub registration: Registration,
}

impl AgentSettings {
    /// The defaults, for an agent that says `registration` of itself.
    pub fn new(registration: Registration) -> Self {
        Self {
            limits: AgentLimits::default(),
            max_frame: MAX_FRAME,
            max_opening_frame: MAX_FRAME_BEFORE_REGISTRATION,
            write_mark: WRITE_MARK,
            encodings: Vec::new(),
            registration,
        }
    }
}

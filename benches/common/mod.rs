//! What the benches talk about, and two sessions that talk.

#![allow(dead_code, reason = "each bench uses some of it")]

pub mod answers;
pub mod event;
pub mod joined;

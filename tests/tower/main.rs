//! The tower half: an axum app behind the layer, agents that register over a real socket, clients that
//! speak HTTP to it over TCP.

#![cfg(unix)]
// A failed expectation is what a test is for.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod app;
mod bodies;
mod changes;
mod clients;
mod failures;
mod held;
mod script;
mod service;
mod stand;
mod verdicts;

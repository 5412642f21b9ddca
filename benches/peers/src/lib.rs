//! What a request costs: this crate beside its peers, in one run of interleaved rounds.
//!
//! Everybody who asks and everybody who answers is a process of its own; one more, the harness,
//! starts them, gives each its turns, and prints what was seen.

pub mod answerer;
pub mod cli;
pub mod contender;
pub mod event;
pub mod run;
pub mod slice;
pub mod target;
pub mod worker;

/// The gRPC peer's messages, client and server.
pub mod grpc {
    #![allow(missing_docs)]
    tonic::include_proto!("dialback.peers");
}

//! Who takes part: an asking process and the one that answers it.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A pair of processes that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contender {
    /// This crate's proxy, the raw agent.
    Ours,
    /// The published peer's proxy, the raw agent.
    Upstream,
    /// This crate's proxy, this crate's agent.
    EndToEnd,
    /// A gRPC client, a gRPC server.
    Tonic,
    /// Frames made beforehand, the raw agent.
    Bare,
    /// Frames with the JSON work in the asking task, the raw agent.
    BareJson,
}

/// What asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TargetKind {
    /// This crate's proxy.
    Ours,
    /// The published peer's.
    Upstream,
    /// A gRPC client.
    Tonic,
    /// The socket alone.
    Bare,
    /// The socket and the JSON.
    BareJson,
}

/// What answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AnswererKind {
    /// An agent without any library.
    Raw,
    /// This crate's agent.
    Ours,
    /// A gRPC server.
    Tonic,
}

impl Contender {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Ours, Self::Upstream, Self::EndToEnd, Self::Tonic, Self::Bare, Self::BareJson];

    /// What asks.
    pub const fn target(self) -> TargetKind {
        match self {
            Self::Ours | Self::EndToEnd => TargetKind::Ours,
            Self::Upstream => TargetKind::Upstream,
            Self::Tonic => TargetKind::Tonic,
            Self::Bare => TargetKind::Bare,
            Self::BareJson => TargetKind::BareJson,
        }
    }

    /// What answers.
    pub const fn answerer(self) -> AnswererKind {
        match self {
            Self::Ours | Self::Upstream | Self::Bare | Self::BareJson => AnswererKind::Raw,
            Self::EndToEnd => AnswererKind::Ours,
            Self::Tonic => AnswererKind::Tonic,
        }
    }

    /// Its name in tables and plots.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Upstream => "upstream",
            Self::EndToEnd => "ours, both ends",
            Self::Tonic => "tonic",
            Self::Bare => "bare socket",
            Self::BareJson => "bare and JSON",
        }
    }
}

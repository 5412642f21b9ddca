//! What ties the TLA+ specification in `proofs/tla` to the machines.
//!
//! - [`value`]: a value of the specification, written in two ways.
//! - [`state`]: the specification's state that a system is in.
//! - [`constants`]: a scenario, as the specification has it.
//! - [`graph`]: the specification's states and steps, as the model checker found them.
//! - [`bisimulation`]: whether the machines and the graph can do the same.
//! - [`scenarios`]: the systems whose graphs are kept, told to the machines.

pub mod bisimulation;
pub mod constants;
pub mod graph;
pub mod scenarios;
pub mod state;
pub mod value;

use crate::scenario::Injection;
use crate::system::Action;

/// The specification's name for an action; `None` for what it leaves out.
#[must_use]
pub const fn name(action: Action) -> Option<&'static str> {
    Some(match action {
        Action::ProxyWrites => "ProxyWrites",
        Action::AgentWrites => "AgentWrites",
        Action::AgentReads => "AgentReads",
        Action::ProxyReads => "ProxyReads",
        Action::Accept => "Accept",
        Action::Reject => "Reject",
        Action::Answer(_) => "Answer",
        Action::Resume => "Resume",
        Action::ResumeRequest(_) => "ResumeRequest",
        Action::Restore => "Restore",
        Action::Stall => "Stall",
        Action::Unstall => "Unstall",
        Action::Tick => "Tick",
        Action::Submit => "Submit",
        Action::Cancel(_) => "Cancel",
        Action::DrainProxy => "DrainProxy",
        Action::DrainAgent => "DrainAgent",
        Action::CloseProxy => "CloseProxy",
        Action::CloseAgent => "CloseAgent",
        Action::Sever => "Sever",
        Action::EndToAgent => "EndToAgent",
        Action::EndToProxy => "EndToProxy",
        Action::Inject(Injection::Pause) => "Pause",
        Action::Inject(Injection::PauseRequest(_)) => "PauseRequest",
        Action::Inject(Injection::Capacity(_)) => "Capacity",
        Action::CancelRequest(_)
        | Action::Inject(
            Injection::StrayAnswer
            | Injection::ForeignAnswer(_)
            | Injection::PingProxy
            | Injection::UnknownToProxy
            | Injection::UnreadableToProxy
            | Injection::OfferToProxy
            | Injection::WrongWayToProxy
            | Injection::PingAgent
            | Injection::UnknownToAgent
            | Injection::ForeignCancel(_)
            | Injection::OfferToAgent
            | Injection::WrongWayToAgent,
        ) => return None,
    })
}

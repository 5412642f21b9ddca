//! The steps of a run, as a failure shows them.

use alloc::collections::VecDeque;
use alloc::string::String;
use core::fmt;

use crate::machine::{CloseReason, ExchangeId, Timestamp};
use crate::wire::EventKind;

use super::fault::Fault;
use super::report::End;

/// One thing that happened in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When, in virtual time.
    pub at: Timestamp,
    /// On which of the run's connections, from 1; 0 for none.
    pub connection: u32,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// An agent's connection is dialled.
    Dialled {
        /// Which agent, from 0.
        agent: u32,
    },
    /// A dial came to nothing.
    Unreachable {
        /// Which agent, from 0.
        agent: u32,
    },
    /// A registration was decided.
    Decided {
        /// Whether it was accepted.
        accepted: bool,
    },
    /// The proxy's side opened.
    Opened,
    /// A request found no connection.
    Unserved {
        /// Which request, from 0.
        request: u32,
    },
    /// An event was submitted and taken.
    Submitted {
        /// Which request, from 0.
        request: u32,
        /// The event's number on its connection.
        tag: u32,
        /// Its exchange.
        exchange: ExchangeId,
        /// Its kind.
        kind: EventKind,
    },
    /// An event was submitted and refused.
    Refused {
        /// Which request, from 0.
        request: u32,
        /// In which words.
        why: String,
    },
    /// The agent's application was given an event.
    Given {
        /// The event's number on its connection.
        tag: u32,
    },
    /// The agent's application answered.
    Answered {
        /// The event's number on its connection.
        tag: u32,
    },
    /// A caller was told how its event ended.
    Ended {
        /// Its exchange.
        exchange: ExchangeId,
        /// How.
        end: End,
    },
    /// A fault was brought about.
    Fault(Fault),
    /// What had been brought about is over.
    Relieved,
    /// The proxy's side drains.
    Draining,
    /// The proxy's side ended.
    ProxyClosed(CloseReason),
    /// The agent's side ended.
    AgentClosed(CloseReason),
    /// No more faults: every caller must be told now.
    Healed,
    /// The proxy drains every connection.
    FinalDrain,
}

impl What {
    /// A number that folds into the digest of a run.
    pub(super) fn code(&self) -> u64 {
        let pair = |a: u64, b: u64| a.wrapping_mul(1 << 32).wrapping_add(b);
        match self {
            Self::Dialled { agent } => pair(1, u64::from(*agent)),
            Self::Unreachable { agent } => pair(2, u64::from(*agent)),
            Self::Decided { accepted } => pair(3, u64::from(*accepted)),
            Self::Opened => 4,
            Self::Unserved { request } => pair(5, u64::from(*request)),
            Self::Submitted { tag, .. } => pair(6, u64::from(*tag)),
            Self::Refused { request, .. } => pair(7, u64::from(*request)),
            Self::Given { tag } => pair(8, u64::from(*tag)),
            Self::Answered { tag } => pair(9, u64::from(*tag)),
            Self::Ended { exchange, end } => pair(10, exchange.0.wrapping_mul(16).wrapping_add(*end as u64)),
            Self::Fault(fault) => pair(11, *fault as u64),
            Self::Relieved => 12,
            Self::Draining => 13,
            Self::ProxyClosed(_) => 14,
            Self::AgentClosed(_) => 15,
            Self::Healed => 16,
            Self::FinalDrain => 17,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.at.as_micros();
        write!(f, "{:>6}.{:06} s ", micros / 1_000_000, micros % 1_000_000)?;
        match self.connection {
            0 => f.write_str("       ")?,
            connection => write!(f, " c{connection:<5}")?,
        }
        match &self.what {
            What::Dialled { agent } => write!(f, "agent {agent} is joined to the proxy"),
            What::Unreachable { agent } => write!(f, "agent {agent} could not be joined to the proxy"),
            What::Decided { accepted: true } => f.write_str("registration accepted"),
            What::Decided { accepted: false } => f.write_str("registration rejected"),
            What::Opened => f.write_str("open"),
            What::Unserved { request } => write!(f, "request {request} finds no connection"),
            What::Submitted { request, tag, exchange, kind } => {
                write!(f, "request {request} submits event {tag} ({kind}) as {exchange}")
            }
            What::Refused { request, why } => write!(f, "request {request} is refused: {why}"),
            What::Given { tag } => write!(f, "the agent is given event {tag}"),
            What::Answered { tag } => write!(f, "the agent answers event {tag}"),
            What::Ended { exchange, end } => write!(f, "{exchange} ends: {end}"),
            What::Fault(fault) => write!(f, "FAULT: {fault}"),
            What::Relieved => f.write_str("a fault is over"),
            What::Draining => f.write_str("draining"),
            What::ProxyClosed(reason) => write!(f, "the proxy's end is closed: {reason}"),
            What::AgentClosed(reason) => write!(f, "the agent's end is closed: {reason}"),
            What::Healed => f.write_str("no more faults; every caller must be told"),
            What::FinalDrain => f.write_str("the proxy drains every connection"),
        }
    }
}

/// The last steps of a run.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    steps: VecDeque<Step>,
    keep: usize,
}

impl Trace {
    pub(super) const fn new(keep: usize) -> Self {
        Self { steps: VecDeque::new(), keep }
    }

    pub(super) fn push(&mut self, step: Step) {
        if self.steps.len() >= self.keep {
            self.steps.pop_front();
        }
        self.steps.push_back(step);
    }

    pub(super) fn into_steps(self) -> alloc::vec::Vec<Step> {
        self.steps.into()
    }
}

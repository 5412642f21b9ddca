//! What a run explored, and how one failed.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::machine::{CloseReason, Ending, Timestamp, Violation};
use crate::testing::oracle::Violated;

use super::fault::Fault;
use super::trace::Step;

/// How a caller's event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// The agent answered.
    Answered,
    /// The deadline passed before the event was written.
    Expired,
    /// The deadline passed while the agent had the event.
    TimedOut,
    /// It was given up while the agent had the event.
    CancelledWritten,
    /// It was given up before the event was written.
    CancelledUnwritten,
    /// The connection began to drain before the event was written.
    Refused,
    /// The connection ended while the agent had the event.
    LostWritten,
    /// The connection ended before the event was written.
    LostUnwritten,
}

impl End {
    /// Every end.
    pub const ALL: [Self; 8] = [
        Self::Answered,
        Self::Expired,
        Self::TimedOut,
        Self::CancelledWritten,
        Self::CancelledUnwritten,
        Self::Refused,
        Self::LostWritten,
        Self::LostUnwritten,
    ];

    /// Whether the agent may have seen the event.
    pub const fn was_written(self) -> bool {
        match self {
            Self::Answered | Self::TimedOut | Self::CancelledWritten | Self::LostWritten => true,
            Self::Expired | Self::CancelledUnwritten | Self::Refused | Self::LostUnwritten => false,
        }
    }

    pub(super) const fn of<P>(ending: &Ending<P>) -> Self {
        match ending {
            Ending::Answered(_) => Self::Answered,
            Ending::Expired => Self::Expired,
            Ending::TimedOut => Self::TimedOut,
            Ending::Cancelled { written: true, .. } => Self::CancelledWritten,
            Ending::Cancelled { written: false, .. } => Self::CancelledUnwritten,
            Ending::Refused => Self::Refused,
            Ending::Lost { written: true } => Self::LostWritten,
            Ending::Lost { written: false } => Self::LostUnwritten,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Answered => "answered",
            Self::Expired => "expired",
            Self::TimedOut => "timed out",
            Self::CancelledWritten => "cancelled, written",
            Self::CancelledUnwritten => "cancelled, unwritten",
            Self::Refused => "refused",
            Self::LostWritten => "lost, written",
            Self::LostUnwritten => "lost, unwritten",
        })
    }
}

/// What a run, or many, explored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Runs in this report.
    pub runs: u64,
    /// Virtual time that passed.
    pub virtual_time: Duration,
    /// Moments at which something was due.
    pub steps: u64,
    /// Bytes that the two sides wrote.
    pub bytes: u64,
    /// Frames that the two sides wrote.
    pub frames: u64,
    /// Requests begun.
    pub requests: u64,
    /// Times that a request found no connection.
    pub unserved: u64,
    /// Events that were refused when they were submitted.
    pub turned_away: u64,
    /// Events that were taken, each to be ended once.
    pub exchanges: u64,
    /// Events that were tried again on another connection.
    pub retries: u64,
    /// Connections that were made.
    pub connections: u64,
    /// Those among them that followed another one.
    pub reconnections: u64,
    /// How the exchanges ended.
    pub ends: BTreeMap<End, u64>,
    /// What went wrong.
    pub faults: BTreeMap<Fault, u64>,
    /// Why connections ended, as the proxy's side saw it.
    pub closes: BTreeMap<&'static str, u64>,
    /// Folds every step of the run: two runs that differ anywhere differ here.
    pub path: u64,
}

impl Report {
    /// Adds what another run explored.
    pub fn add(&mut self, other: &Self) {
        let sum = |a: &mut u64, b: u64| *a = a.saturating_add(b);
        self.virtual_time = self.virtual_time.saturating_add(other.virtual_time);
        sum(&mut self.runs, other.runs);
        sum(&mut self.steps, other.steps);
        sum(&mut self.bytes, other.bytes);
        sum(&mut self.frames, other.frames);
        sum(&mut self.requests, other.requests);
        sum(&mut self.unserved, other.unserved);
        sum(&mut self.turned_away, other.turned_away);
        sum(&mut self.exchanges, other.exchanges);
        sum(&mut self.retries, other.retries);
        sum(&mut self.connections, other.connections);
        sum(&mut self.reconnections, other.reconnections);
        other.ends.iter().for_each(|(key, n)| sum(self.ends.entry(*key).or_default(), *n));
        other.faults.iter().for_each(|(key, n)| sum(self.faults.entry(*key).or_default(), *n));
        other.closes.iter().for_each(|(key, n)| sum(self.closes.entry(*key).or_default(), *n));
        // The same whatever the order, since runs are done side by side.
        self.path = self.path.wrapping_add(other.path);
    }

    /// One number for all of it. The same seed and configuration give the same number, everywhere.
    pub fn digest(&self) -> u64 {
        format!("{self:?}").bytes().fold(FOLD_START, |hash, byte| fold(hash, u64::from(byte)))
    }
}

/// Where folding begins (the offset of FNV-1a).
pub(super) const FOLD_START: u64 = 0xcbf2_9ce4_8422_2325;

/// One step of FNV-1a, over 64 bits at once.
pub(super) const fn fold(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x0000_0100_0000_01b3)
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A property of the protocol did not hold.
    Property(Violated),
    /// The judge that the user brought was not content.
    Judge(String),
}

impl From<Violated> for Cause {
    fn from(violated: Violated) -> Self {
        Self::Property(violated)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Property(violated) => violated.fmt(f),
            Self::Judge(words) => write!(f, "the judge: {words}"),
        }
    }
}

/// A run that failed, and all that is needed to see it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed. With the same configuration and hooks it fails again, at the same step.
    pub seed: u64,
    /// The number of the step.
    pub step: u64,
    /// The virtual time.
    pub at: Timestamp,
    /// What was wrong.
    pub cause: Cause,
    /// What led to it, the latest last.
    pub trace: Vec<Step>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} failed at step {}: {}", self.seed, self.step, self.cause)?;
        self.trace.iter().try_for_each(|step| writeln!(f, "  {step}"))
    }
}

impl core::error::Error for Failure {}

/// A close reason without its details.
pub(super) const fn close_name(reason: &CloseReason) -> &'static str {
    match reason {
        CloseReason::Closed => "closed here",
        CloseReason::Rejected => "rejected here",
        CloseReason::Drained => "drained",
        CloseReason::DrainDeadline => "drain deadline",
        CloseReason::PeerDrained => "peer drained",
        CloseReason::PeerDrainDeadline => "peer drain deadline",
        CloseReason::PeerClosed => "peer closed",
        CloseReason::Refused(_) => "refused by peer",
        CloseReason::HandshakeDeadline(_) => "handshake deadline",
        CloseReason::Silent(_) => "silent",
        CloseReason::Unresponsive { .. } => "unresponsive",
        CloseReason::TransportLost => "transport lost",
        CloseReason::Violation(violation) => match violation {
            Violation::Frame(_) => "violation: frame",
            Violation::NotAHandshake(_) => "violation: no handshake",
            Violation::EarlyFrame(_) => "violation: early frame",
            Violation::Foreign(_) => "violation: foreign dialect",
            Violation::Unreadable { .. } => "violation: unreadable handshake",
            Violation::RepeatedHandshake => "violation: second handshake",
            Violation::WrongDirection(_) => "violation: wrong direction",
            Violation::OversizePing { .. } => "violation: huge ping",
            Violation::PingFlood { .. } => "violation: ping flood",
            Violation::TooManyPausedRequests { .. } => "violation: pause flood",
            Violation::StalledFrame => "violation: stalled frame",
            Violation::LongCorrelationId { .. } => "violation: long id",
            Violation::UnreadableEvent { .. } => "violation: unreadable event",
        },
    }
}

//! What bounds an agent's connection, and what it has counted.

use core::time::Duration;

use crate::machine::inbox::InboxLimits;
use crate::machine::keepalive::{Judged, KeepaliveLimits};
use crate::machine::outbox::ControlLimits;

/// What bounds an agent's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AgentLimits {
    /// Events that are not answered yet.
    pub inbox: InboxLimits,
    /// Time for the whole handshake. Default 10 s.
    pub handshake_timeout: Duration,
    /// A drain with nothing left to answer still waits this long for events that were under way
    /// when it was announced. Default 250 ms.
    pub drain_linger: Duration,
    /// Pings and half frames.
    pub keepalive: KeepaliveLimits,
    /// What a peer can make us hold.
    pub control: ControlLimits,
}

impl Default for AgentLimits {
    fn default() -> Self {
        Self {
            inbox: InboxLimits::default(),
            handshake_timeout: Duration::from_secs(10),
            drain_linger: Duration::from_millis(250),
            keepalive: KeepaliveLimits { judged: Judged::WhoAnswered, ..KeepaliveLimits::default() },
            control: ControlLimits::default(),
        }
    }
}

/// What an agent's connection has seen so far. Only grows; no part of the compared state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentStats {
    /// Events that came in.
    pub events: u64,
    /// Answers from the application.
    pub answered: u64,
    /// Least possible answers to events cancelled before their turn.
    pub answered_unseen: u64,
    /// Cancels that found their event unanswered.
    pub cancelled: u64,
    /// Cancels that came after the answer.
    pub late_cancels: u64,
    /// Pauses sent.
    pub pauses: u64,
    /// Resumes sent.
    pub resumes: u64,
    /// Frames of a type not known, skipped.
    pub unknown_frames: u64,
    /// Frames whose payload could not be read, dropped.
    pub unreadable_frames: u64,
    /// Pings sent.
    pub pings: u64,
}

impl AgentStats {
    /// What this and another connection have seen together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        let Self {
            events,
            answered,
            answered_unseen,
            cancelled,
            late_cancels,
            pauses,
            resumes,
            unknown_frames,
            unreadable_frames,
            pings,
        } = other;
        Self {
            events: self.events.saturating_add(events),
            answered: self.answered.saturating_add(answered),
            answered_unseen: self.answered_unseen.saturating_add(answered_unseen),
            cancelled: self.cancelled.saturating_add(cancelled),
            late_cancels: self.late_cancels.saturating_add(late_cancels),
            pauses: self.pauses.saturating_add(pauses),
            resumes: self.resumes.saturating_add(resumes),
            unknown_frames: self.unknown_frames.saturating_add(unknown_frames),
            unreadable_frames: self.unreadable_frames.saturating_add(unreadable_frames),
            pings: self.pings.saturating_add(pings),
        }
    }
}

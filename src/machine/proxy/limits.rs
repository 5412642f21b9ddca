//! What bounds a proxy's connection, and what it has counted.

use core::time::Duration;

use crate::machine::cancellation::OwedLimits;
use crate::machine::histogram::Histogram;
use crate::machine::keepalive::KeepaliveLimits;
use crate::machine::outbox::ControlLimits;

/// How much may wait to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueueLimits {
    /// Waiting events. Default 1,024.
    pub count: usize,
    /// Bytes of all waiting events together. Default 64 MiB.
    pub bytes: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { count: 1_024, bytes: 64 << 20 }
    }
}

/// What bounds a proxy's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProxyLimits {
    /// Unanswered events on the wire, whatever the agent allows. Default 1,024.
    pub window: u32,
    /// Events that wait to be written.
    pub queue: QueueLimits,
    /// Answers owed to abandoned exchanges.
    pub owed: OwedLimits,
    /// Time for the whole handshake. Default 10 s.
    pub handshake_timeout: Duration,
    /// Time for a drain that the agent announced. Default 30 s.
    pub peer_drain_timeout: Duration,
    /// Pings and half frames.
    pub keepalive: KeepaliveLimits,
    /// What a peer can make us hold.
    pub control: ControlLimits,
}

impl Default for ProxyLimits {
    fn default() -> Self {
        Self {
            window: 1_024,
            queue: QueueLimits::default(),
            owed: OwedLimits::default(),
            handshake_timeout: Duration::from_secs(10),
            peer_drain_timeout: Duration::from_secs(30),
            keepalive: KeepaliveLimits::default(),
            control: ControlLimits::default(),
        }
    }
}

/// What a proxy's connection has seen so far. Only grows; no part of the compared state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProxyStats {
    /// Exchanges admitted.
    pub admitted: u64,
    /// Events written.
    pub written: u64,
    /// Exchanges that ended with an answer.
    pub answered: u64,
    /// Exchanges whose deadline passed, written or not.
    pub timed_out: u64,
    /// Exchanges given up by their caller.
    pub cancelled: u64,
    /// Exchanges turned away by a drain.
    pub refused: u64,
    /// Exchanges ended by the end of the connection.
    pub lost: u64,
    /// Late answers dropped: their exchange had been abandoned.
    pub late_answers: u64,
    /// Answers that belong to no event.
    pub stray_answers: u64,
    /// Frames of a type not known, skipped.
    pub unknown_frames: u64,
    /// Frames whose payload could not be read, dropped.
    pub unreadable_frames: u64,
    /// Pings sent.
    pub pings: u64,
    /// Pings of the peer answered.
    pub pongs: u64,
}

/// How long things took on a proxy's connection. No part of the compared state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProxyLatency {
    /// From an event's submission until it was written.
    pub queued: Histogram,
    /// From an event's submission until its answer came; answered ones only.
    pub answered: Histogram,
}

impl ProxyStats {
    /// What this and another connection have seen together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            admitted: self.admitted.saturating_add(other.admitted),
            written: self.written.saturating_add(other.written),
            answered: self.answered.saturating_add(other.answered),
            timed_out: self.timed_out.saturating_add(other.timed_out),
            cancelled: self.cancelled.saturating_add(other.cancelled),
            refused: self.refused.saturating_add(other.refused),
            lost: self.lost.saturating_add(other.lost),
            late_answers: self.late_answers.saturating_add(other.late_answers),
            stray_answers: self.stray_answers.saturating_add(other.stray_answers),
            unknown_frames: self.unknown_frames.saturating_add(other.unknown_frames),
            unreadable_frames: self.unreadable_frames.saturating_add(other.unreadable_frames),
            pings: self.pings.saturating_add(other.pings),
            pongs: self.pongs.saturating_add(other.pongs),
        }
    }
}

impl ProxyLatency {
    /// What this and another connection have measured together.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        self.queued.merge(&other.queued);
        self.answered.merge(&other.answered);
        self
    }
}

//! What must have been seen at least once, so that no exploration is vacuous.

use dialback::machine::{CloseReason, SubmitError};

use super::books::Told;

/// Something worth seeing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Sight {
    /// A caller got its answer.
    Answered,
    /// A deadline passed before the event was written.
    Expired,
    /// A deadline passed while the agent had the event.
    TimedOut,
    /// An exchange was given up before it was written.
    Withdrawn,
    /// An exchange was given up while the agent had it.
    Abandoned,
    /// A drain turned a waiting exchange away.
    Refused,
    /// The connection ended under a waiting exchange.
    LostUnwritten,
    /// The connection ended under an exchange in flight.
    LostWritten,
    /// An answer came after its caller had gone.
    LateAnswer,
    /// An answer came that belongs to no event.
    StrayAnswer,
    /// The window was full and something waited.
    WindowFull,
    /// A pause held something back.
    HeldByPause,
    /// A pause of a request held something back.
    HeldByRequestPause,
    /// An event waited behind another of its id.
    Behind,
    /// The mark on unwritten bytes held something back.
    HeldByBacklog,
    /// A Cancel was written.
    Cancel,
    /// An event was answered without being shown to anybody.
    AnsweredUnseen,
    /// An application was told that nobody waits any more.
    ToldCancelled,
    /// A submission was refused because of a full queue.
    QueueFull,
    /// An impatient submission was refused.
    WouldWait,
    /// A connection was closed because of answers owed.
    Unresponsive,
    /// A connection was closed for a broken rule.
    Violation,
    /// A drain ended because nothing was left.
    Drained,
    /// A drain ended at its deadline.
    DrainDeadline,
    /// A peer's drain ended because nothing was left.
    PeerDrained,
    /// A peer's drain ended at its deadline.
    PeerDrainDeadline,
    /// A connection ended because the peer ended the stream.
    PeerClosed,
    /// A connection ended because the transport broke.
    TransportLost,
    /// A handshake ran out of time.
    HandshakeDeadline,
    /// A handshake was refused.
    RefusedHandshake,
    /// A silent peer was given up.
    Silent,
    /// A pong went back.
    Pong,
    /// The agent's backlog paused the proxy.
    BacklogPause,
}

impl Sight {
    /// Every sight.
    pub const ALL: [Self; 33] = [
        Self::Answered,
        Self::Expired,
        Self::TimedOut,
        Self::Withdrawn,
        Self::Abandoned,
        Self::Refused,
        Self::LostUnwritten,
        Self::LostWritten,
        Self::LateAnswer,
        Self::StrayAnswer,
        Self::WindowFull,
        Self::HeldByPause,
        Self::HeldByRequestPause,
        Self::Behind,
        Self::HeldByBacklog,
        Self::Cancel,
        Self::AnsweredUnseen,
        Self::ToldCancelled,
        Self::QueueFull,
        Self::WouldWait,
        Self::Unresponsive,
        Self::Violation,
        Self::Drained,
        Self::DrainDeadline,
        Self::PeerDrained,
        Self::PeerDrainDeadline,
        Self::PeerClosed,
        Self::TransportLost,
        Self::HandshakeDeadline,
        Self::RefusedHandshake,
        Self::Silent,
        Self::Pong,
        Self::BacklogPause,
    ];

    pub(super) const fn of_told(told: Told) -> Self {
        match told {
            Told::Answered => Self::Answered,
            Told::Expired => Self::Expired,
            Told::TimedOut => Self::TimedOut,
            Told::Cancelled(false) => Self::Withdrawn,
            Told::Cancelled(true) => Self::Abandoned,
            Told::Refused => Self::Refused,
            Told::Lost(false) => Self::LostUnwritten,
            Told::Lost(true) => Self::LostWritten,
        }
    }
}

/// A set of sights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sights(u64);

impl Sights {
    /// Adds one.
    pub const fn add(&mut self, sight: Sight) {
        self.0 |= 1 << sight as u8;
    }

    /// Whether it is among them.
    #[must_use]
    pub const fn has(self, sight: Sight) -> bool {
        self.0 & (1 << sight as u8) != 0
    }

    /// Takes note of why a connection ended.
    pub(super) fn note_close(&mut self, reason: &CloseReason) {
        self.add(match reason {
            CloseReason::Closed => return,
            CloseReason::Rejected | CloseReason::Refused(_) => Sight::RefusedHandshake,
            CloseReason::Drained => Sight::Drained,
            CloseReason::DrainDeadline => Sight::DrainDeadline,
            CloseReason::PeerDrained => Sight::PeerDrained,
            CloseReason::PeerDrainDeadline => Sight::PeerDrainDeadline,
            CloseReason::PeerClosed => Sight::PeerClosed,
            CloseReason::HandshakeDeadline(_) => Sight::HandshakeDeadline,
            CloseReason::Silent(_) => Sight::Silent,
            CloseReason::Unresponsive { .. } => Sight::Unresponsive,
            CloseReason::Violation(_) => Sight::Violation,
            CloseReason::TransportLost => Sight::TransportLost,
        });
    }

    /// Takes note of why a submission was refused.
    pub(super) fn note_refusal(&mut self, refusal: &SubmitError) {
        match refusal {
            SubmitError::QueueFull => self.add(Sight::QueueFull),
            SubmitError::WouldWait(_) => self.add(Sight::WouldWait),
            SubmitError::NotOpen
            | SubmitError::Closed
            | SubmitError::Draining
            | SubmitError::DuplicateExchange
            | SubmitError::BadCorrelationId { .. }
            | SubmitError::Unsupported(_)
            | SubmitError::Late => {}
        }
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are in it.
    pub fn iter(self) -> impl Iterator<Item = Sight> {
        Sight::ALL.into_iter().filter(move |sight| self.has(*sight))
    }
}

//! How a connection ends: why, by whose doing, and the drain that comes before a calm end.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use crate::wire::{Dialect, FrameError, FrameType};

use super::time::Timestamp;

/// Who made the connection end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Blame {
    /// This side asked for it.
    Local,
    /// The peer did it, or failed to do what it must.
    Peer,
    /// The transport broke.
    Transport,
}

/// Why a connection ended (P8). Told once, as the last event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The application closed it.
    Closed,
    /// The application rejected the peer's offer.
    Rejected,
    /// A drain was asked for here, and the last exchange has ended.
    Drained,
    /// A drain was asked for here, and its deadline came first.
    DrainDeadline,
    /// The peer announced that it drains, and the last exchange has ended.
    PeerDrained,
    /// The peer announced that it drains, and the deadline came first.
    PeerDrainDeadline,
    /// The peer ended the stream.
    PeerClosed,
    /// The peer answered the handshake with no, in these words.
    Refused(String),
    /// The handshake was not done within this time.
    HandshakeDeadline(Duration),
    /// Nothing was heard for this long, a ping notwithstanding.
    Silent(Duration),
    /// The agent owes more late answers than allowed, or one for too long.
    Unresponsive {
        /// Answers owed to exchanges that were given up.
        owed: usize,
        /// How long the oldest has been owed.
        oldest: Duration,
    },
    /// The peer broke a rule.
    Violation(Violation),
    /// The transport failed; the adapter has the error.
    TransportLost,
}

/// The rule that a peer broke.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Violation {
    /// A frame that no limit allows.
    Frame(FrameError),
    /// The first frame was not a handshake. Holds its type byte.
    NotAHandshake(u8),
    /// A frame came while the offer was being decided. Holds its type byte.
    EarlyFrame(u8),
    /// The peer speaks another protocol's dialect.
    Foreign(Dialect),
    /// A handshake that can't be read, and why.
    Unreadable {
        /// Which of the two.
        frame: FrameType,
        /// What was wrong.
        detail: String,
    },
    /// A second handshake on an open connection.
    RepeatedHandshake,
    /// A frame that only the other role may send.
    WrongDirection(FrameType),
    /// A ping whose payload is longer than we echo.
    OversizePing {
        /// Bytes it has.
        length: usize,
        /// Bytes it may have.
        limit: usize,
    },
    /// Pings faster than the peer reads our pongs.
    PingFlood {
        /// Unwritten pongs allowed.
        limit: usize,
    },
    /// More requests paused at once than allowed.
    TooManyPausedRequests {
        /// How many may be.
        limit: usize,
    },
    /// A frame began and was not finished in time.
    StalledFrame,
    /// A correlation id longer than allowed.
    LongCorrelationId {
        /// Bytes it has.
        length: usize,
        /// Bytes it may have.
        limit: usize,
    },
    /// An event whose ids can't be read, so that no answer could name it.
    UnreadableEvent {
        /// Which event.
        frame: FrameType,
        /// What was wrong.
        detail: String,
    },
}

impl CloseReason {
    /// Who made the connection end.
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Closed | Self::Rejected | Self::Drained | Self::DrainDeadline => Blame::Local,
            Self::PeerDrained
            | Self::PeerDrainDeadline
            | Self::PeerClosed
            | Self::Refused(_)
            | Self::HandshakeDeadline(_)
            | Self::Silent(_)
            | Self::Unresponsive { .. }
            | Self::Violation(_) => Blame::Peer,
            Self::TransportLost => Blame::Transport,
        }
    }

    /// Whether frames that are already made should still be written before the transport goes.
    pub const fn flushes(&self) -> bool {
        match self {
            Self::Closed
            | Self::Rejected
            | Self::Drained
            | Self::DrainDeadline
            | Self::PeerDrained
            | Self::PeerDrainDeadline
            | Self::HandshakeDeadline(_)
            | Self::Unresponsive { .. }
            | Self::Violation(_) => true,
            Self::PeerClosed | Self::Refused(_) | Self::Silent(_) | Self::TransportLost => false,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed by this side"),
            Self::Rejected => f.write_str("registration rejected by this side"),
            Self::Drained => f.write_str("drained: this side asked, the last exchange has ended"),
            Self::DrainDeadline => f.write_str("drain deadline passed with exchanges unanswered"),
            Self::PeerDrained => f.write_str("drained: the peer announced it, the last exchange has ended"),
            Self::PeerDrainDeadline => f.write_str("the peer announced a drain and did not finish in time"),
            Self::PeerClosed => f.write_str("the peer ended the stream"),
            Self::Refused(words) => write!(f, "the peer refused the handshake: {words}"),
            Self::HandshakeDeadline(span) => {
                write!(f, "the handshake was not completed within {} ms", span.as_millis())
            }
            Self::Silent(span) => write!(f, "nothing heard from the peer for {} ms", span.as_millis()),
            Self::Unresponsive { owed, oldest } => {
                write!(
                    f,
                    "the agent owes {owed} answers to abandoned events, the oldest for {} ms",
                    oldest.as_millis()
                )
            }
            Self::Violation(violation) => violation.fmt(f),
            Self::TransportLost => f.write_str("the transport failed"),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => error.fmt(f),
            Self::NotAHandshake(byte) => {
                write!(
                    f,
                    "the first frame has type 0x{byte:02x}; a handshake (0x01 request, 0x02 response) must come first"
                )
            }
            Self::EarlyFrame(byte) => {
                write!(
                    f,
                    "a frame of type 0x{byte:02x} came before the registration was answered; wait for the response"
                )
            }
            Self::Foreign(dialect) => f.write_str(dialect.refusal()),
            Self::Unreadable { frame, detail } => write!(f, "the {frame} can't be read: {detail}"),
            Self::RepeatedHandshake => {
                f.write_str("a second handshake on an open connection; there is one, at the start")
            }
            Self::WrongDirection(frame) => write!(f, "a {frame} frame is for the other side to send"),
            Self::OversizePing { length, limit } => {
                write!(f, "a ping payload of {length} bytes; at most {limit} are echoed")
            }
            Self::PingFlood { limit } => {
                write!(f, "more than {limit} pings while their pongs are not being read; slow down or read")
            }
            Self::TooManyPausedRequests { limit } => {
                write!(f, "more than {limit} requests paused at once; pause the connection instead")
            }
            Self::StalledFrame => f.write_str("a frame began and was not finished in time"),
            Self::LongCorrelationId { length, limit } => {
                write!(f, "a correlation id of {length} bytes; at most {limit} are allowed")
            }
            Self::UnreadableEvent { frame, detail } => {
                write!(f, "a {frame} event can't be read, so no answer could name it: {detail}")
            }
        }
    }
}

/// Who asked for a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DrainCause {
    /// This side.
    Local,
    /// The peer announced that it goes.
    Peer,
}

impl DrainCause {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Local, Self::Peer];
}

/// Whether an open connection serves or drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Serving,
    Draining { cause: DrainCause, deadline: Timestamp },
}

/// Whether unresolved exchanges are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Left {
    /// At least one.
    Some,
    /// None.
    None,
}

impl Left {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Some, Self::None];
}

/// How an open connection that drains goes on (P9): total over cause, what is left, and time.
/// `None` means it stays open.
// Rule: C-DRAIN-1.
pub const fn drain_step(cause: DrainCause, left: Left, deadline_passed: bool) -> Option<CloseReason> {
    match (left, deadline_passed) {
        (Left::None, true | false) => Some(match cause {
            DrainCause::Local => CloseReason::Drained,
            DrainCause::Peer => CloseReason::PeerDrained,
        }),
        (Left::Some, true) => Some(match cause {
            DrainCause::Local => CloseReason::DrainDeadline,
            DrainCause::Peer => CloseReason::PeerDrainDeadline,
        }),
        (Left::Some, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_drain_with_nothing_left_ends_at_once() {
        assert_eq!(drain_step(DrainCause::Local, Left::None, false), Some(CloseReason::Drained));
        assert_eq!(drain_step(DrainCause::Peer, Left::Some, false), None);
        assert_eq!(drain_step(DrainCause::Peer, Left::Some, true), Some(CloseReason::PeerDrainDeadline));
    }

    #[test]
    fn reasons_say_what_would_be_right() {
        let text = CloseReason::Violation(Violation::NotAHandshake(0x41)).to_string();
        assert!(text.contains("0x41") && text.contains("0x01"), "{text}");
        assert_eq!(CloseReason::Violation(Violation::RepeatedHandshake).blame(), Blame::Peer);
    }

    /// One of each, with who is to blame, whether what is made is still written, and its words.
    #[test]
    // Rule: C-CLOSE-2, C-VIOLATE-1.
    fn every_reason_says_who_and_why() {
        let (second, local, peer) = (Duration::from_secs(1), Blame::Local, Blame::Peer);
        let rows = [
            (CloseReason::Closed, local, true, "closed by this side"),
            (CloseReason::Rejected, local, true, "rejected by this side"),
            (CloseReason::Drained, local, true, "drained: this side asked"),
            (CloseReason::DrainDeadline, local, true, "drain deadline passed"),
            (CloseReason::PeerDrained, peer, true, "drained: the peer announced it"),
            (CloseReason::PeerDrainDeadline, peer, true, "did not finish in time"),
            (CloseReason::PeerClosed, peer, false, "the peer ended the stream"),
            (CloseReason::Refused("no room".into()), peer, false, "handshake: no room"),
            (CloseReason::HandshakeDeadline(second), peer, true, "within 1000 ms"),
            (CloseReason::Silent(second), peer, false, "peer for 1000 ms"),
            (CloseReason::Unresponsive { owed: 3, oldest: second }, peer, true, "owes 3 answers"),
            (CloseReason::Violation(Violation::StalledFrame), peer, true, "not finished in time"),
            (CloseReason::TransportLost, Blame::Transport, false, "the transport failed"),
        ];
        for (reason, blame, flushes, words) in rows {
            assert_eq!((reason.blame(), reason.flushes()), (blame, flushes), "{reason:?}");
            assert!(reason.to_string().contains(words), "{reason}");
        }
    }

    #[test]
    // Rule: C-VIOLATE-1.
    fn every_violation_names_what_was_wrong() {
        let (frame, limit) = (FrameType::Ping, 8);
        let rows = [
            (Violation::Frame(FrameError::TooLarge { length: 99, limit }), "99"),
            (Violation::NotAHandshake(0x41), "type 0x41"),
            (Violation::EarlyFrame(0x20), "type 0x20 came before"),
            (Violation::Foreign(Dialect::Go), Dialect::Go.refusal()),
            (Violation::Unreadable { frame, detail: "bent".into() }, "can't be read: bent"),
            (Violation::RepeatedHandshake, "a second handshake"),
            (Violation::WrongDirection(frame), "for the other side"),
            (Violation::OversizePing { length: 9, limit: 8 }, "9 bytes; at most 8"),
            (Violation::PingFlood { limit: 8 }, "more than 8 pings"),
            (Violation::TooManyPausedRequests { limit: 8 }, "more than 8 requests"),
            (Violation::StalledFrame, "not finished in time"),
            (Violation::LongCorrelationId { length: 9, limit: 8 }, "9 bytes; at most 8"),
            (Violation::UnreadableEvent { frame, detail: "bent".into() }, "could name it: bent"),
        ];
        for (violation, words) in rows {
            let text = CloseReason::Violation(violation).to_string();
            assert!(text.contains(words), "{text}");
        }
    }
}

//! What a caller did wrong, or came too late for. The machine is as it was.

use core::fmt;

use crate::machine::flow::Shut;
use crate::wire::EventKind;

/// Why an event was not admitted. The machine is as it was (P15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubmitError {
    /// The handshake is not done.
    NotOpen,
    /// The connection drains.
    Draining,
    /// The connection has ended.
    Closed,
    /// The exchange id is live.
    DuplicateExchange,
    /// The correlation id is empty, or longer than the limit.
    BadCorrelationId {
        /// Bytes it has.
        length: usize,
        /// Bytes it may have, at least one.
        limit: usize,
    },
    /// The agent did not ask for this kind of event.
    Unsupported(EventKind),
    /// The deadline has passed already.
    Late,
    /// It can't be written now, and the caller would not wait.
    WouldWait(Shut),
    /// It would have to wait, and the queue is full.
    QueueFull,
}

/// Why a cancellation did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelError {
    /// The exchange has ended already, or never was.
    Unknown,
}

/// Why a decision on an offer came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecisionError {
    /// No offer awaits a decision: it was decided, or the connection has ended.
    NothingToDecide,
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpen => f.write_str("the handshake is not done; wait for it"),
            Self::Draining => f.write_str("the connection drains; use another"),
            Self::Closed => f.write_str("the connection is closed; use another"),
            Self::DuplicateExchange => f.write_str("the exchange id is in use; ids are never used twice"),
            Self::BadCorrelationId { length, limit } => {
                write!(f, "a correlation id of {length} bytes; 1 to {limit} are allowed")
            }
            Self::Unsupported(kind) => {
                write!(f, "the agent did not register for {} events", kind.name())
            }
            Self::Late => f.write_str("the deadline has passed already"),
            Self::WouldWait(shut) => write!(f, "the event would have to wait: {shut}"),
            Self::QueueFull => f.write_str("the event would have to wait, and the queue is full"),
        }
    }
}

impl fmt::Display for Shut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Draining => "the connection drains",
            Self::Paused => "the agent paused the connection",
            Self::WindowFull => "as many events are unanswered as may be",
            Self::Backlog => "the agent reads slower than events are written",
            Self::RequestPaused => "the agent paused this request",
            Self::Behind => "an earlier event of this request is unanswered",
        })
    }
}

impl fmt::Display for CancelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("the exchange has ended already, or never was"),
        }
    }
}

impl fmt::Display for DecisionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingToDecide => f.write_str("no offer awaits a decision"),
        }
    }
}

impl core::error::Error for SubmitError {}
impl core::error::Error for CancelError {}
impl core::error::Error for DecisionError {}

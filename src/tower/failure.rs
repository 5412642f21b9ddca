//! What becomes of a request about which there is no verdict.

use std::fmt;

use crate::machine::SubmitError;
use crate::net::{AskError, PoolError};

/// Why there is no verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection of the agent could be had.
    NoAgent(PoolError),
    /// The question ended without an answer.
    Unanswered(AskError),
    /// The answer can't be carried out. What it says is for the log.
    Unusable(String),
    /// More of a body than may be held back, or than the agent says it takes.
    TooMuch {
        /// Bytes that may be.
        limit: u64,
    },
}

/// The kinds of failure that a policy tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// No agent is there: none has registered, or all its connections drain, rest or have ended.
    NoAgent,
    /// The event could not be written in time, or the queue is full.
    Busy,
    /// The agent had the event and did not answer within the deadline.
    TimedOut,
    /// The connection ended with the question under way, or another holder of the handle gave it up.
    Lost,
    /// The agent's answer can't be read or carried out.
    Unusable,
    /// The event does not fit a frame, or its id is not one.
    Unaskable,
    /// More of a body than may be held back, or than the agent says it takes.
    TooMuch,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 7] = [
        Self::NoAgent,
        Self::Busy,
        Self::TimedOut,
        Self::Lost,
        Self::Unusable,
        Self::Unaskable,
        Self::TooMuch,
    ];

    /// A name for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoAgent => "no_agent",
            Self::Busy => "busy",
            Self::TimedOut => "timed_out",
            Self::Lost => "lost",
            Self::Unusable => "unusable",
            Self::Unaskable => "unaskable",
            Self::TooMuch => "too_much",
        }
    }
}

impl Failure {
    /// The cause, as a policy tells them apart.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        match self {
            Self::NoAgent(_) => Cause::NoAgent,
            Self::Unanswered(error) => cause_of(error),
            Self::Unusable(_) => Cause::Unusable,
            Self::TooMuch { .. } => Cause::TooMuch,
        }
    }
}

const fn cause_of(error: &AskError) -> Cause {
    match error {
        AskError::Encode(_) | AskError::TooLarge { .. } => Cause::Unaskable,
        AskError::WrongEncoding { .. } | AskError::WrongRequest { .. } => Cause::Unaskable,
        AskError::Refused(error) => match error {
            SubmitError::NotOpen | SubmitError::Draining | SubmitError::Closed => Cause::NoAgent,
            SubmitError::DuplicateExchange
            | SubmitError::BadCorrelationId { .. }
            | SubmitError::Unsupported(_) => Cause::Unaskable,
            SubmitError::Late | SubmitError::WouldWait(_) | SubmitError::QueueFull => Cause::Busy,
        },
        AskError::Expired => Cause::Busy,
        AskError::TimedOut => Cause::TimedOut,
        AskError::Draining => Cause::NoAgent,
        AskError::Cancelled { .. } | AskError::ConnectionLost { .. } => Cause::Lost,
        AskError::MalformedAnswer(_) => Cause::Unusable,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAgent(error) => error.fmt(f),
            Self::Unanswered(error) => error.fmt(f),
            Self::Unusable(why) => write!(f, "the agent's answer can't be carried out: {why}"),
            Self::TooMuch { limit } => write!(
                f,
                "the agent can't decide on the first {limit} bytes of the body; no more may be held or shown to it"
            ),
        }
    }
}

impl std::error::Error for Failure {}

/// What to do where there is no verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnFailure {
    /// Refuse: the client gets 503, or a response that is under way is cut off.
    #[default]
    Closed,
    /// Let it go on. The agent is not asked about this request again.
    Open,
}

/// What to do where there is no verdict, for each cause. By default all are closed.
///
/// An answer that is no allow and can't be carried out, a redirect to no URL for instance, is never
/// let pass, whatever the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FailurePolicy {
    /// For [`Cause::NoAgent`].
    pub no_agent: OnFailure,
    /// For [`Cause::Busy`].
    pub busy: OnFailure,
    /// For [`Cause::TimedOut`].
    pub timed_out: OnFailure,
    /// For [`Cause::Lost`].
    pub lost: OnFailure,
    /// For [`Cause::Unusable`].
    pub unusable: OnFailure,
    /// For [`Cause::Unaskable`]. A client can make headers as large as the server takes: where that is
    /// open, it can choose not to be asked about.
    pub unaskable: OnFailure,
    /// For [`Cause::TooMuch`]. A client can make a body as large as it likes: where that is open, it
    /// can choose not to be asked about.
    pub too_much: OnFailure,
}

impl FailurePolicy {
    /// Refuses, whatever the cause.
    pub const CLOSED: Self = Self::all(OnFailure::Closed);

    /// Lets pass where the agent is at fault. What a client can bring about stays closed: events that
    /// fit no frame, and bodies that are too long.
    pub const OPEN: Self =
        Self { unaskable: OnFailure::Closed, too_much: OnFailure::Closed, ..Self::all(OnFailure::Open) };

    /// The same for every cause.
    #[must_use]
    pub const fn all(on: OnFailure) -> Self {
        Self { no_agent: on, busy: on, timed_out: on, lost: on, unusable: on, unaskable: on, too_much: on }
    }

    /// What to do for a cause.
    #[must_use]
    pub const fn of(&self, cause: Cause) -> OnFailure {
        match cause {
            Cause::NoAgent => self.no_agent,
            Cause::Busy => self.busy,
            Cause::TimedOut => self.timed_out,
            Cause::Lost => self.lost,
            Cause::Unusable => self.unusable,
            Cause::Unaskable => self.unaskable,
            Cause::TooMuch => self.too_much,
        }
    }
}

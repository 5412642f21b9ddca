//! What became of a request, for a log or a page.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{Method, StatusCode, Uri};

use crate::wire::{CorrelationId, RequestComplete};

use super::failure::Cause;

/// What became of a request, told once it is over. See [`AskConfig::on_end`](super::AskConfig::on_end).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The request's name on the wire.
    pub correlation_id: CorrelationId,
    /// The request's method, as the client sent it.
    pub method: Method,
    /// The request's target, as the client sent it.
    pub uri: Uri,
    /// What the agent said, or what stood in for it.
    pub outcome: Outcome,
    /// Whether the service was called.
    pub passed: bool,
    /// The failure after which the request went on unasked, if one did, or for which it was refused.
    pub failure: Option<Cause>,
    /// The status that the client got; `None` if it was gone before.
    pub status: Option<StatusCode>,
    /// Whether the client got the response whole.
    pub whole: bool,
    /// How long the request took.
    pub took: Duration,
    /// Events that were asked about, and how long their answers took together.
    pub asked: (u32, Duration),
    /// Bytes of the request's body that came.
    pub request_bytes: u64,
    /// Bytes of the response's body that went out.
    pub response_bytes: u64,
    /// Pieces of either body that were dropped or replaced.
    pub changed_pieces: u64,
    /// Changes to headers that the guard refused, or that came too late to be made.
    pub refused_changes: u64,
}

impl Summary {
    /// The event that tells the agent.
    pub(super) fn completion(&self) -> RequestComplete {
        let error = match (self.whole, self.status, self.failure, self.outcome) {
            (_, _, Some(cause), Outcome::Failed) => Some(format!("no verdict: {}", cause.name())),
            (false, _, _, Outcome::BadResponse) => Some("the upstream failed".into()),
            (false, None, ..) => Some("the client went away before it was answered".into()),
            (false, Some(_), _, Outcome::Allowed) => Some("the response broke off".into()),
            (false, Some(_), ..) => Some("the response was cut off by a verdict".into()),
            (true, ..) => None,
        };
        RequestComplete {
            duration_ms: u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            error,
            request_body_size: self.request_bytes,
            response_body_size: self.response_bytes,
            upstream_attempts: self.passed.into(),
            ..RequestComplete::new(
                self.correlation_id.clone(),
                self.status.map_or(0, |status| status.as_u16()),
            )
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It was allowed, or went on where nothing was asked.
    #[default]
    Allowed,
    /// The agent blocked it.
    Blocked,
    /// The agent redirected it.
    Redirected,
    /// The agent challenged it.
    Challenged,
    /// There was no verdict, and it was refused.
    Failed,
    /// The request was no good: header bytes that no agent could see, or a body that broke off while it
    /// was held back.
    BadRequest,
    /// The service failed, or its response's body broke off while it was held back.
    BadResponse,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 7] = [
        Self::Allowed,
        Self::Blocked,
        Self::Redirected,
        Self::Challenged,
        Self::Failed,
        Self::BadRequest,
        Self::BadResponse,
    ];

    /// A name for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Blocked => "blocked",
            Self::Redirected => "redirected",
            Self::Challenged => "challenged",
            Self::Failed => "failed",
            Self::BadRequest => "bad_request",
            Self::BadResponse => "bad_response",
        }
    }
}

/// What the agent's answers said to the router, as an extension of the request that is passed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing(pub BTreeMap<String, String>);

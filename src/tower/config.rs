//! How a service asks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, request};

use crate::wire::{EventKind, RequestMetadata};

use super::failure::FailurePolicy;
use super::guard::Guard;
use super::summary::Summary;
use super::verdict;

/// Completes what the agent is told of a request.
pub type Describe = Arc<dyn Fn(&request::Parts, &mut RequestMetadata) + Send + Sync>;
/// Hears what became of each request.
pub type OnEnd = Arc<dyn Fn(&Summary) + Send + Sync>;
/// Makes a response of a challenge's kind and parameters.
pub type Challenge = Arc<dyn Fn(&str, &BTreeMap<String, String>) -> Response<Bytes> + Send + Sync>;

/// What to do with a request or response that has header bytes which are not UTF-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NotUtf8 {
    /// Ask, with U+FFFD in their place.
    #[default]
    Replace,
    /// Refuse: a request with 400, a response with 502. No agent then misses what it can't see.
    Refuse,
}

/// How a service asks.
#[derive(Clone)]
pub struct AskConfig {
    /// How long each event takes at most, queueing and answer included. Default: the `request_timeout`
    /// that the connection was accepted with.
    pub deadline: Option<Duration>,
    /// Kinds of event that the agent must take; a pool's connections whose agent does not are passed
    /// over, lest requests go on unasked because of what an agent registered for. Whatever else it takes
    /// it is asked, too. Default: [`EventKind::RequestHeaders`]. An agent that only rewrites responses
    /// needs another list.
    pub needs: Vec<EventKind>,
    /// Bytes of a body in one event at most. The agent's `preferred_chunk_size` counts if it is smaller,
    /// and so does what fits a frame. At least 1 is used. Default 64 KiB.
    pub piece_size: usize,
    /// Bytes of each body that may be held back while an agent `needs_more`. Default 256 KiB.
    pub hold_limit: usize,
    /// What to do where there is no verdict. Default: refuse.
    pub failure: FailurePolicy,
    /// Headers that an agent may not touch.
    pub guard: Guard,
    /// What to do about header bytes that are not UTF-8.
    pub not_utf8: NotUtf8,
    /// What stands in other people's hands.
    pub hooks: Hooks,
}

/// What of asking stands in other people's hands. They are called in the task of the request and must
/// neither block nor panic.
#[derive(Clone)]
pub struct Hooks {
    /// Completes the metadata of a request's headers: the client's address, the route. It is given what
    /// [`convert::metadata`](super::convert::metadata) finds. Default: nothing.
    ///
    /// The correlation id, too, may be changed, to one of 1 to 256 bytes that no other request under way
    /// has.
    pub describe: Option<Describe>,
    /// Makes the response to a challenge. Default: 401, with a `www-authenticate` header where the kind
    /// is a word that it can begin with, and kind and parameters as JSON. The guard does not see it.
    pub challenge: Challenge,
    /// Hears what became of each request, once all of it is over. Default: nobody.
    pub on_end: Option<OnEnd>,
}

impl Default for Hooks {
    fn default() -> Self {
        Self { describe: None, challenge: Arc::new(verdict::challenge), on_end: None }
    }
}

impl Default for AskConfig {
    fn default() -> Self {
        Self {
            deadline: None,
            needs: Vec::from([EventKind::RequestHeaders]),
            piece_size: 64 << 10,
            hold_limit: 256 << 10,
            failure: FailurePolicy::default(),
            guard: Guard::default(),
            not_utf8: NotUtf8::default(),
            hooks: Hooks::default(),
        }
    }
}

impl AskConfig {
    /// Completes what the agent is told of a request; see [`Hooks::describe`].
    #[must_use]
    pub fn describe(
        mut self,
        describe: impl Fn(&request::Parts, &mut RequestMetadata) + Send + Sync + 'static,
    ) -> Self {
        self.hooks.describe = Some(Arc::new(describe));
        self
    }

    /// Hears what became of each request; see [`Hooks::on_end`].
    #[must_use]
    pub fn on_end(mut self, on_end: impl Fn(&Summary) + Send + Sync + 'static) -> Self {
        self.hooks.on_end = Some(Arc::new(on_end));
        self
    }

    /// Makes the response to a challenge; see [`Hooks::challenge`].
    #[must_use]
    pub fn challenge(
        mut self,
        challenge: impl Fn(&str, &BTreeMap<String, String>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.hooks.challenge = Arc::new(challenge);
        self
    }
}

impl fmt::Debug for AskConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskConfig")
            .field("deadline", &self.deadline)
            .field("needs", &self.needs)
            .field("piece_size", &self.piece_size)
            .field("hold_limit", &self.hold_limit)
            .field("failure", &self.failure)
            .field("not_utf8", &self.not_utf8)
            .finish_non_exhaustive()
    }
}

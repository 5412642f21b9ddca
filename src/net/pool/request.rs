//! A request, and its events on the connection that it belongs to.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::machine::SubmitError;
use crate::machine::registry::{HealthLimits, Sign};
use crate::wire::{Answer, AnyEvent, CorrelationId};

use super::super::ask::{AnswerFuture, Ask, AskError};
use super::super::clock::Clock;
use super::super::handle::AgentHandle;
use super::super::sync::Arc;
use super::Member;

/// A request, pinned to one connection for all its events.
pub struct Request {
    pub(super) member: Arc<Member>,
    pub(super) limits: HealthLimits,
    pub(super) clock: Clock,
    pub(super) id: CorrelationId,
}

impl Request {
    /// The request's name on the wire, which all its events must bear.
    pub const fn correlation_id(&self) -> &CorrelationId {
        &self.id
    }

    /// The connection that the request belongs to.
    pub fn handle(&self) -> &AgentHandle {
        &self.member.handle
    }

    /// Prepares to ask about an event of this request.
    pub fn ask(&self, event: impl AnyEvent) -> RequestAsk<'_> {
        RequestAsk { request: self, ask: self.member.handle.ask(event) }
    }

    /// What came of an event bears on the connection's health.
    pub(crate) fn note(&self, result: &Result<Answer, AskError>) {
        let sign = match result {
            Ok(_) => Sign::Answered,
            Err(AskError::TimedOut) => Sign::Failed,
            Err(_) => return,
        };
        self.member.sign(sign, self.limits, self.clock.now());
    }

    /// Gives up everything that is under way about this request. Returns how many events that were.
    pub fn cancel(&self, reason: crate::wire::CancelReason) -> usize {
        self.member.handle.cancel_request(self.id.as_str(), reason)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("id", &self.id).field("handle", self.handle()).finish()
    }
}

/// An event of a request that is about to be asked about. Await it for the answer.
#[must_use = "nothing is asked until this is awaited"]
pub struct RequestAsk<'a> {
    request: &'a Request,
    ask: Ask,
}

impl<'a> RequestAsk<'a> {
    /// How long to wait in all.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { ask: self.ask.timeout(timeout), ..self }
    }

    /// Fails at once where the event can't be written at once.
    pub fn fail_fast(self) -> Self {
        Self { ask: self.ask.fail_fast(), ..self }
    }
}

impl<'a> IntoFuture for RequestAsk<'a> {
    type Output = Result<Answer, AskError>;
    type IntoFuture = RequestAnswer<'a>;

    fn into_future(self) -> RequestAnswer<'a> {
        let wanted = &self.request.id;
        let state = match self.ask.correlation_id() {
            Some(given) if given != wanted => {
                Err(Some(AskError::WrongRequest { given: given.clone(), wanted: wanted.clone() }))
            }
            Some(_) | None => Ok(self.ask.into_future()),
        };
        RequestAnswer { request: self.request, state }
    }
}

/// What an awaited [`RequestAsk`] becomes. What comes of it bears on the connection's health.
#[must_use = "futures do nothing unless polled"]
pub struct RequestAnswer<'a> {
    request: &'a Request,
    state: Result<AnswerFuture, Option<AskError>>,
}

impl Future for RequestAnswer<'_> {
    type Output = Result<Answer, AskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let future = match &mut this.state {
            Ok(future) => future,
            Err(error) => {
                return Poll::Ready(Err(error.take().unwrap_or(AskError::Refused(SubmitError::Closed))));
            }
        };
        let result = std::task::ready!(Pin::new(future).poll(cx));
        this.request.note(&result);
        Poll::Ready(result)
    }
}

//! The connection that a request's events go over.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::net::{AgentHandle, AskError, PendingAnswer, Pool, PoolError, Request};
use crate::wire::{Answer, CorrelationId, Event, EventKind};

/// Where connections come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// One that is given.
    Handle(AgentHandle),
    /// The best of an agent's.
    Pool(Pool, Arc<str>),
}

impl Source {
    pub(super) fn begin(&self, id: &CorrelationId, needs: &[EventKind]) -> Result<Line, PoolError> {
        match self {
            Self::Handle(handle) => {
                let able = needs.iter().all(|kind| handle.capabilities().supports(*kind));
                if able {
                    Ok(Line::Direct(handle.clone()))
                } else {
                    Err(PoolError::NoneFit { connections: 1 })
                }
            }
            Self::Pool(pool, agent_id) => pool.begin(agent_id, id.clone(), needs).map(Line::Pooled),
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(super) enum Line {
    Direct(AgentHandle),
    Pooled(Request),
}

impl Line {
    pub(super) fn handle(&self) -> &AgentHandle {
        match self {
            Self::Direct(handle) => handle,
            Self::Pooled(request) => request.handle(),
        }
    }

    /// Asks at once: the event has its place before anybody polls.
    pub(super) fn ask(self: &Arc<Self>, event: Event, deadline: Option<Duration>) -> Asked {
        let mut ask = self.handle().ask(event);
        if let Some(deadline) = deadline {
            ask = ask.timeout(deadline);
        }
        Asked { line: Arc::clone(self), answer: ask.send().map_err(Some) }
    }
}

/// A question on a line. What comes of it bears on the connection's health in its pool.
#[derive(Debug)]
pub(super) struct Asked {
    line: Arc<Line>,
    /// No error once it was told.
    answer: Result<PendingAnswer, Option<AskError>>,
}

impl Future for Asked {
    type Output = Result<Answer, AskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &mut self.answer {
            Ok(pending) => ready!(Pin::new(pending).poll(cx)),
            Err(error) => match error.take() {
                Some(error) => Err(error),
                // Polled after its end.
                None => return Poll::Pending,
            },
        };
        match &*self.line {
            Line::Direct(_) => {}
            Line::Pooled(request) => request.note(&result),
        }
        Poll::Ready(result)
    }
}

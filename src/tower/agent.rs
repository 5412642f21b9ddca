//! A connected agent as a service of events.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use crate::net::{AgentHandle, AskError, Gate, Pool, PoolError, Request};
use crate::wire::{Answer, CorrelationId, Event, EventKind};

use super::line::{Asked, Line};

/// A connected agent as a `tower::Service` of events.
///
/// It is ready while the agent's [`Gate`] is open: the window has room, the agent has not paused, the
/// socket takes what is written. It fails once the connection drains or has ended. Being ready is no
/// reservation; an event that finds the gate shut again waits for it until its deadline. Dropping the
/// future of a call cancels the question, and the agent is told.
///
/// ```no_run
/// use dialback::tower::AgentService;
/// use dialback::wire::RequestHeaders;
/// use tower::{Service, ServiceExt};
///
/// # async fn run(handle: dialback::net::AgentHandle) -> Result<(), dialback::net::AskError> {
/// let mut agent = AgentService::new(handle);
/// let answer = agent.ready().await?.call(RequestHeaders::new("request-1", "GET", "/").into()).await?;
/// # let _ = answer;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AgentService {
    line: Arc<Line>,
    gate: Gate,
    deadline: Option<Duration>,
}

impl AgentService {
    /// The agent at the other end of `handle`.
    pub fn new(handle: AgentHandle) -> Self {
        Self::of(Line::Direct(handle))
    }

    /// The connection that a request was begun on; takes only events of that request.
    pub fn of_request(request: Request) -> Self {
        Self::of(Line::Pooled(request))
    }

    fn of(line: Line) -> Self {
        Self { gate: line.handle().gate(), line: Arc::new(line), deadline: None }
    }

    /// How long each event takes at most, from the call to the answer. Default: the `request_timeout`
    /// that the connection was accepted with.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The connection's handle.
    pub fn handle(&self) -> &AgentHandle {
        self.line.handle()
    }
}

impl Service<Event> for AgentService {
    type Response = Answer;
    type Error = AskError;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AskError>> {
        self.gate.poll_open(cx).map_err(AskError::Refused)
    }

    fn call(&mut self, event: Event) -> Answering {
        let wanted = match &*self.line {
            Line::Direct(_) => None,
            Line::Pooled(request) => Some(request.correlation_id()),
        };
        Answering(match wanted {
            Some(wanted) if wanted != event.correlation_id() => Err(Some(AskError::WrongRequest {
                given: event.correlation_id().clone(),
                wanted: wanted.clone(),
            })),
            Some(_) | None => Ok(self.line.ask(event, self.deadline)),
        })
    }
}

/// The answer to an event, awaited. Dropping it cancels the question.
#[derive(Debug)]
#[must_use = "dropping this cancels the question"]
pub struct Answering(Result<Asked, Option<AskError>>);

impl Future for Answering {
    type Output = Result<Answer, AskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Ok(asked) => Pin::new(asked).poll(cx),
            Err(error) => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                // Polled after its end.
                None => Poll::Pending,
            },
        }
    }
}

/// A pool as a service of requests: called with a correlation id, it chooses one of the agent's
/// connections and gives an [`AgentService`] that keeps all events of the request on it.
///
/// Always ready: choosing waits for nothing. The service that it gives is ready when its connection is.
#[derive(Clone, Debug)]
pub struct PoolService {
    pool: Pool,
    agent_id: Arc<str>,
    needs: Arc<[EventKind]>,
}

impl PoolService {
    /// Requests for that agent, which will have events of these kinds.
    pub fn new(
        pool: Pool,
        agent_id: impl Into<Arc<str>>,
        needs: impl IntoIterator<Item = EventKind>,
    ) -> Self {
        Self { pool, agent_id: agent_id.into(), needs: needs.into_iter().collect() }
    }
}

impl Service<CorrelationId> for PoolService {
    type Response = AgentService;
    type Error = PoolError;
    type Future = Ready<Result<AgentService, PoolError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), PoolError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, id: CorrelationId) -> Self::Future {
        ready(self.pool.begin(&self.agent_id, id, &self.needs).map(AgentService::of_request))
    }
}

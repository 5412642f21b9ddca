//! What is said to an agent about one request, and what came of it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, request};

use crate::machine::SubmitError;
use crate::net::AskError;
use crate::wire::{Answer, CorrelationId, Event, EventKind, HeaderOp};

use super::config::AskConfig;
use super::failure::{Failure, OnFailure};
use super::flow::Side;
use super::line::{Asked, Line, Source};
use super::summary::{Outcome, Routing, Summary};
use super::verdict::{Verdict, plain, verdict};

/// Changes to headers and to the routing that the answers about one request may hold together.
const MAX_CHANGES: usize = 1_024;
/// How often a request is begun anew on another connection, where the first got nothing of it.
const ATTEMPTS: usize = 3;

/// One request's, shared by its future and its bodies. Dropping the last of them ends it.
pub(super) struct Conversation {
    pub(super) config: Arc<AskConfig>,
    pub(super) id: CorrelationId,
    began: Instant,
    state: Mutex<State>,
}

struct State {
    line: Option<Arc<Line>>,
    course: Course,
    changes: Changes,
    summary: Summary,
    /// Who is to hear of a stop: the request's future, then the response's body.
    waker: Option<Waker>,
}

/// ```text
/// asking --failed, and that is open--> unasked
///    '-----------------------------------'--decided, or failed, and that is closed--> stopped
/// ```
enum Course {
    Asking,
    /// There is no verdict, and it goes on without.
    Unasked,
    /// It ends with this response, until that is fetched.
    Stopped(Option<Box<Response<Bytes>>>),
}

/// Changes that wait for the headers to go on; `None` once they have.
struct Changes {
    request: Option<Vec<HeaderOp>>,
    response: Option<Vec<HeaderOp>>,
    routing: Routing,
}

/// What follows from an answer, or from the lack of one.
pub(super) enum Step {
    /// It goes on, with what the agent said if it was asked.
    Go(Option<Box<Answer>>),
    /// It has been stopped.
    Stop,
}

impl Step {
    /// Whether the agent wants to see more before this goes on.
    pub(super) fn is_provisional(&self) -> bool {
        matches!(self, Self::Go(Some(answer)) if answer.needs_more)
    }
}

impl Conversation {
    pub(super) fn new(config: Arc<AskConfig>, id: CorrelationId, parts: &request::Parts) -> Self {
        let summary = Summary {
            correlation_id: id.clone(),
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            outcome: Outcome::Allowed,
            passed: false,
            failure: None,
            status: None,
            whole: false,
            took: Duration::ZERO,
            asked: (0, Duration::ZERO),
            request_bytes: 0,
            response_bytes: 0,
            changed_pieces: 0,
            refused_changes: 0,
        };
        let changes =
            Changes { request: Some(Vec::new()), response: Some(Vec::new()), routing: Routing::default() };
        let state = State { line: None, course: Course::Asking, changes, summary, waker: None };
        Self { config, id, began: Instant::now(), state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- asking ----

    /// Finds a connection and asks the first question on it, on another one if nothing of it was
    /// written. `make` makes the event, if it is wanted.
    pub(super) async fn open(&self, source: &Source, make: impl Fn() -> Event) -> Step {
        let mut attempts = ATTEMPTS;
        loop {
            match source.begin(&self.id, &self.config.needs) {
                Ok(line) => self.lock().line = Some(Arc::new(line)),
                Err(error) => return self.fail(&Failure::NoAgent(error)),
            }
            let Some(line) = self.wants(EventKind::RequestHeaders) else { return Step::Go(None) };
            let event = make();
            // To make the event may have found that it can't be asked about.
            if self.is_stopped() {
                return Step::Stop;
            }
            let began = Instant::now();
            let result = line.ask(event, self.config.deadline).await;
            attempts = attempts.saturating_sub(1);
            if attempts == 0 || !result.as_ref().is_err_and(|error| goes_elsewhere(error, source)) {
                return self.conclude(result, began);
            }
        }
    }

    /// The line, if an event of this kind is to be asked about.
    pub(super) fn wants(&self, kind: EventKind) -> Option<Arc<Line>> {
        let state = self.lock();
        match state.course {
            Course::Asking => {}
            Course::Unasked | Course::Stopped(_) => return None,
        }
        state.line.clone().filter(|line| line.handle().capabilities().supports(kind))
    }

    /// Asks about an event, if it is wanted.
    pub(super) fn ask(&self, event: Event) -> Option<Asked> {
        self.wants(event.kind()).map(|line| line.ask(event, self.config.deadline))
    }

    // ---- answers ----

    /// Takes what came of a question that was asked at `began`.
    pub(super) fn conclude(&self, result: Result<Answer, AskError>, began: Instant) -> Step {
        {
            let mut state = self.lock();
            let (count, took) = &mut state.summary.asked;
            *count = count.saturating_add(1);
            *took = took.saturating_add(began.elapsed());
        }
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => return self.fail(&Failure::Unanswered(error)),
        };
        match verdict(&answer, &self.config) {
            Ok(None) => self.keep(answer),
            Ok(Some(verdict)) => self.stop(verdict),
            Err(why) => self.refuse(&Failure::Unusable(why)),
        }
    }

    /// Keeps the changes that an allow asks for, until they can be made.
    fn keep(&self, mut answer: Answer) -> Step {
        let mut state = self.lock();
        let State { changes, summary, .. } = &mut *state;
        let mut late = 0;
        for (kept, ops) in [
            (&mut changes.request, std::mem::take(&mut answer.request_headers)),
            (&mut changes.response, std::mem::take(&mut answer.response_headers)),
        ] {
            match kept {
                Some(kept) => kept.extend(ops),
                None => late = ops.len().saturating_add(late),
            }
        }
        summary.refused_changes = summary.refused_changes.saturating_add(late as u64);
        if changes.request.is_some() {
            changes.routing.0.append(&mut answer.routing_metadata);
        }
        let kept = [&changes.request, &changes.response].map(|ops| ops.as_ref().map_or(0, Vec::len));
        let total = kept.iter().sum::<usize>().saturating_add(changes.routing.0.len());
        drop(state);
        if total > MAX_CHANGES {
            let why = format!("more than {MAX_CHANGES} changes to the headers of one request");
            return self.fail(&Failure::Unusable(why));
        }
        Step::Go(Some(Box::new(answer)))
    }

    /// There is no verdict; the policy says what follows.
    pub(super) fn fail(&self, failure: &Failure) -> Step {
        match self.config.failure.of(failure.cause()) {
            OnFailure::Closed => self.refuse(failure),
            OnFailure::Open => {
                let mut state = self.lock();
                state.summary.failure = Some(failure.cause());
                match state.course {
                    Course::Asking | Course::Unasked => state.course = Course::Unasked,
                    Course::Stopped(_) => return Step::Stop,
                }
                drop(state);
                let (id, cause) = (&self.id, failure.cause().name());
                tracing::warn!(%id, cause, %failure, "no verdict; the request goes on unasked");
                Step::Go(None)
            }
        }
    }

    /// There is no verdict, and the request must not go on without.
    fn refuse(&self, failure: &Failure) -> Step {
        let (id, cause) = (&self.id, failure.cause().name());
        tracing::warn!(%id, cause, %failure, "no verdict; the request is refused");
        self.lock().summary.failure = Some(failure.cause());
        self.end(
            Outcome::Failed,
            StatusCode::SERVICE_UNAVAILABLE,
            "no verdict on this request could be had\n",
        )
    }

    /// Ends the request with a response of ours.
    pub(super) fn end(&self, outcome: Outcome, status: StatusCode, text: &'static str) -> Step {
        self.stop(Verdict { outcome, response: plain(status, text), refused_changes: 0 })
    }

    /// Ends the request. The first end counts.
    fn stop(&self, verdict: Verdict) -> Step {
        let mut state = self.lock();
        if let Course::Stopped(_) = state.course {
            return Step::Stop;
        }
        state.course = Course::Stopped(Some(Box::new(verdict.response)));
        state.summary.outcome = verdict.outcome;
        let refused = state.summary.refused_changes.saturating_add(verdict.refused_changes as u64);
        state.summary.refused_changes = refused;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Step::Stop
    }

    // ---- the stop ----

    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.lock().course, Course::Stopped(_))
    }

    pub(super) fn outcome(&self) -> Outcome {
        self.lock().summary.outcome
    }

    /// Whether it has been stopped; wakes the task when it is.
    pub(super) fn poll_stopped(&self, cx: &Context<'_>) -> bool {
        let mut state = self.lock();
        let stopped = matches!(state.course, Course::Stopped(_));
        let old = if stopped { state.waker.take() } else { state.waker.replace(cx.waker().clone()) };
        drop(state);
        // Dropped with the lock free: nobody knows what hangs on it.
        drop(old);
        stopped
    }

    /// Runs a future until it is done, or the conversation stopped; then it gives nothing.
    pub(super) async fn unless_stopped<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if self.poll_stopped(cx) {
                return Poll::Ready(None);
            }
            match future.as_mut().poll(cx) {
                // What it was told of the stop is no response for the client.
                Poll::Ready(_) if self.is_stopped() => Poll::Ready(None),
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// The response that the stop makes, whole; for a client that has none yet.
    pub(super) fn stopped_response(&self) -> Response<Bytes> {
        let mut state = self.lock();
        let response = match &mut state.course {
            Course::Stopped(response) => response.take(),
            Course::Asking | Course::Unasked => None,
        };
        let response = response
            .map_or_else(|| plain(StatusCode::SERVICE_UNAVAILABLE, Bytes::new()), |response| *response);
        state.summary.status = Some(response.status());
        state.summary.response_bytes = response.body().len() as u64;
        state.summary.whole = true;
        response
    }

    // ---- going on ----

    /// The request goes on: makes the changes to its headers; later ones are too late.
    pub(super) fn pass_request(&self, headers: &mut HeaderMap, extensions: &mut http::Extensions) {
        let mut state = self.lock();
        state.summary.passed = true;
        let ops = state.changes.request.take();
        let routing = std::mem::take(&mut state.changes.routing);
        drop(state);
        self.change(ops, headers);
        if !routing.0.is_empty() {
            extensions.insert(routing);
        }
    }

    /// Makes the changes to the response's headers; later ones are too late.
    pub(super) fn change_response(&self, headers: &mut HeaderMap) {
        let ops = self.lock().changes.response.take();
        self.change(ops, headers);
    }

    fn change(&self, ops: Option<Vec<HeaderOp>>, headers: &mut HeaderMap) {
        let refused = self.config.guard.apply(&ops.unwrap_or_default(), headers);
        if refused > 0 {
            let mut state = self.lock();
            state.summary.refused_changes = state.summary.refused_changes.saturating_add(refused as u64);
        }
    }

    /// The response's head goes to the client.
    pub(super) fn handle_responded(&self, status: StatusCode) {
        self.lock().summary.status = Some(status);
    }

    /// The response has gone out whole.
    pub(super) fn handle_whole(&self) {
        self.lock().summary.whole = true;
    }

    /// The service gave an error in the place of a response.
    pub(super) fn handle_service_error(&self) {
        self.lock().summary.outcome = Outcome::BadResponse;
    }

    /// So many bytes of a body have passed: of the request's come, of the response's gone out.
    pub(super) fn count(&self, side: Side, bytes: usize) {
        let mut state = self.lock();
        let total = match side {
            Side::Request => &mut state.summary.request_bytes,
            Side::Response => &mut state.summary.response_bytes,
        };
        *total = total.saturating_add(bytes as u64);
    }

    pub(super) fn count_changed_piece(&self) {
        let mut state = self.lock();
        state.summary.changed_pieces = state.summary.changed_pieces.saturating_add(1);
    }
}

/// Whether another connection may do where this one did not: nothing was written, and it is gone.
const fn goes_elsewhere(error: &AskError, source: &Source) -> bool {
    let gone = matches!(
        error,
        AskError::ConnectionLost { written: false, .. }
            | AskError::Draining
            | AskError::Refused(SubmitError::Draining | SubmitError::Closed)
    );
    gone && matches!(source, Source::Pool(..))
}

impl Drop for Conversation {
    /// Tells the agent and whoever listens that the request is over.
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let State { line, summary, .. } = state;
        summary.took = self.began.elapsed();
        if let Some(line) = line
            && line.handle().capabilities().supports(EventKind::RequestComplete)
        {
            // It decides nothing, so nobody waits; where it can't be sent there is nobody to tell.
            if let Ok(pending) = line.handle().request_complete(summary.completion()).send() {
                pending.detach();
            }
        }
        if let Some(on_end) = &self.config.hooks.on_end {
            on_end(summary);
        }
    }
}

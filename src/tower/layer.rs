//! The layer, and the service that asks.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http::header::{CONTENT_LENGTH, HeaderMap};
use http::{Method, Request, Response, StatusCode, request};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::net::{AgentHandle, Pool};
use crate::wire::{CorrelationId, Event, EventKind};

use super::body::AskBody;
use super::config::{AskConfig, NotUtf8};
use super::conversation::{Conversation, Step};
use super::convert;
use super::flow::{BoxError, Side};
use super::line::Source;
use super::summary::Outcome;

/// Makes an HTTP service ask an agent about its requests and responses. See the [module](super).
///
/// Layers stack: with two, the outer one's agent is asked about a request first, and about its response
/// last.
#[derive(Clone, Debug)]
pub struct AskLayer {
    source: Source,
    config: Arc<AskConfig>,
}

impl AskLayer {
    /// Asks an agent by its id, over the connections that a pool has of it at the time.
    #[must_use]
    pub fn pool(pool: Pool, agent_id: impl Into<Arc<str>>) -> Self {
        Self { source: Source::Pool(pool, agent_id.into()), config: Arc::default() }
    }

    /// Asks over one connection. Once that has ended, there is no agent.
    #[must_use]
    pub fn handle(handle: AgentHandle) -> Self {
        Self { source: Source::Handle(handle), config: Arc::default() }
    }

    /// How to ask.
    #[must_use]
    pub fn with_config(mut self, config: AskConfig) -> Self {
        self.config = Arc::new(config);
        self
    }
}

impl<S> Layer<S> for AskLayer {
    type Service = AskService<S>;

    fn layer(&self, inner: S) -> AskService<S> {
        AskService { inner, source: self.source.clone(), config: Arc::clone(&self.config) }
    }
}

/// An HTTP service that asks. Made by [`AskLayer`].
///
/// It is ready when the service within is. That agents are slow does not show there, but in how long
/// requests take; bound their number outside of it, for instance with `tower`'s concurrency limit.
#[derive(Clone, Debug)]
pub struct AskService<S> {
    inner: S,
    source: Source,
    config: Arc<AskConfig>,
}

impl<S, B, R> Service<Request<B>> for AskService<S>
where
    S: Service<Request<AskBody<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Body + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
    R: Body + Unpin + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<AskBody<R>>;
    type Error = S::Error;
    type Future = AskFuture<R, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that is ready is the one to call.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let (source, config) = (self.source.clone(), Arc::clone(&self.config));
        AskFuture(Box::pin(serve(inner, source, config, request)))
    }
}

/// A request on its way. Dropping it gives up what the agent is being asked, and tells it so.
#[must_use = "futures do nothing unless polled"]
pub struct AskFuture<R, E>(Pin<Box<dyn Future<Output = Served<R, E>> + Send>>);

type Served<R, E> = Result<Response<AskBody<R>>, E>;

impl<R, E> Future for AskFuture<R, E> {
    type Output = Served<R, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<R, E> fmt::Debug for AskFuture<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskFuture").finish_non_exhaustive()
    }
}

async fn serve<S, B, R>(
    mut inner: S,
    source: Source,
    config: Arc<AskConfig>,
    request: Request<B>,
) -> Served<R, S::Error>
where
    S: Service<Request<AskBody<B>>, Response = Response<R>>,
    B: Body + Unpin,
    B::Error: Into<BoxError>,
    R: Body + Unpin,
    R::Error: Into<BoxError>,
{
    let (parts, body) = request.into_parts();
    let method = parts.method.clone();
    let (talk, asked) = ask_about_request(&source, config, &parts).await;
    let Some(request) = pass_request(&talk, parts, body, asked).await else {
        return Ok(talk.stopped_response().map(AskBody::whole));
    };
    let response = match talk.unless_stopped(inner.call(request)).await {
        Some(Ok(response)) => response,
        Some(Err(error)) => {
            talk.handle_service_error();
            return Err(error);
        }
        None => return Ok(talk.stopped_response().map(AskBody::whole)),
    };
    let passed = pass_response(&talk, response, &method).await;
    Ok(passed.unwrap_or_else(|| talk.stopped_response().map(AskBody::whole)))
}

/// Begins the conversation and asks about the request's headers.
async fn ask_about_request(
    source: &Source,
    config: Arc<AskConfig>,
    parts: &request::Parts,
) -> (Arc<Conversation>, Step) {
    let mut metadata = convert::metadata(next_id(), parts);
    if let Some(describe) = &config.hooks.describe {
        describe(parts, &mut metadata);
    }
    let talk = Arc::new(Conversation::new(config, metadata.correlation_id.clone(), parts));
    let make = || {
        let converted = convert::request_headers(parts, metadata.clone());
        if !converted.replaced.is_empty() && talk.config.not_utf8 == NotUtf8::Refuse {
            let text = "header values must be UTF-8 here\n";
            talk.end(Outcome::BadRequest, StatusCode::BAD_REQUEST, text);
        }
        Event::RequestHeaders(converted.event)
    };
    let step = talk.open(source, make).await;
    (talk, step)
}

/// Makes the request that goes on; none if it may not.
async fn pass_request<B>(
    talk: &Arc<Conversation>,
    mut parts: request::Parts,
    body: B,
    asked: Step,
) -> Option<Request<AskBody<B>>>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    if let Step::Stop = asked {
        return None;
    }
    let mut body = AskBody::new(body, Side::Request, talk, true, asked.is_provisional());
    if body.is_asked_about() {
        parts.headers.remove(CONTENT_LENGTH);
    }
    if poll_fn(|cx| body.poll_settled(cx)).await.is_err() {
        let text = "the request's body broke off\n";
        talk.end(Outcome::BadRequest, StatusCode::BAD_REQUEST, text);
        return None;
    }
    talk.pass_request(&mut parts.headers, &mut parts.extensions);
    state_length(&mut parts.headers, &body);
    Some(Request::from_parts(parts, body))
}

/// Asks about the response's headers and makes the response that goes on; none if it may not.
async fn pass_response<R>(
    talk: &Arc<Conversation>,
    response: Response<R>,
    method: &Method,
) -> Option<Response<AskBody<R>>>
where
    R: Body + Unpin,
    R::Error: Into<BoxError>,
{
    let (mut parts, body) = response.into_parts();
    let mut provisional = false;
    if let Some(line) = talk.wants(EventKind::ResponseHeaders) {
        let converted = convert::response_headers(talk.id.clone(), &parts);
        if !converted.replaced.is_empty() && talk.config.not_utf8 == NotUtf8::Refuse {
            let text = "the upstream's header values are not UTF-8\n";
            talk.end(Outcome::BadResponse, StatusCode::BAD_GATEWAY, text);
            return None;
        }
        let began = Instant::now();
        let asked = line.ask(Event::ResponseHeaders(converted.event), talk.config.deadline);
        let step = talk.conclude(talk.unless_stopped(asked).await?, began);
        if let Step::Stop = step {
            return None;
        }
        provisional = step.is_provisional();
    }
    // No body, whatever the message says, or no message's body.
    let tunnel = *method == Method::CONNECT && parts.status.is_success();
    let ask = *method != Method::HEAD && parts.status != StatusCode::SWITCHING_PROTOCOLS && !tunnel;
    let mut body = AskBody::new(body, Side::Response, talk, ask, provisional);
    if body.is_asked_about() {
        parts.headers.remove(CONTENT_LENGTH);
    }
    if poll_fn(|cx| body.poll_settled(cx)).await.is_err() {
        let text = "the upstream's response broke off\n";
        talk.end(Outcome::BadResponse, StatusCode::BAD_GATEWAY, text);
        return None;
    }
    talk.change_response(&mut parts.headers);
    if ask {
        state_length(&mut parts.headers, &body);
    } else {
        // Nobody will read it, or nobody knows where it ends.
        talk.handle_whole();
    }
    talk.handle_responded(parts.status);
    Some(Response::from_parts(parts, body))
}

/// States the length of a body that was asked about and held back to its end.
fn state_length<B>(headers: &mut HeaderMap, body: &AskBody<B>)
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    if body.is_asked_about()
        && let Some(length) = body.size_hint().exact()
    {
        headers.insert(CONTENT_LENGTH, length.into());
    }
}

/// A correlation id that no other request has, in this process or another.
fn next_id() -> CorrelationId {
    static PROCESS: OnceLock<String> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let process = PROCESS.get_or_init(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        format!("{:x}-{:x}", since.as_micros(), process::id())
    });
    format!("{process}-{:x}", NEXT.fetch_add(1, Ordering::Relaxed)).into()
}

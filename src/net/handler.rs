//! What an agent's author writes: a handler, with a method per kind of event.

use std::future::Future;

use crate::machine::CloseReason;
use crate::wire::{
    Answer, CancelReason, Configure, CorrelationId, Event, ForwardRequest, GuardrailInspect,
    RegistrationResponse, RequestBodyChunk, RequestComplete, RequestHeaders, ResponseBodyChunk,
    ResponseHeaders, WebSocketFrame,
};

use super::cancellation::Cancellation;
use super::hook::BoxFuture;
use super::sync::Arc;

/// Answers events. Every method has a default that allows; write those for the kinds of event
/// that the agent registers for.
///
/// Events of one request come one after the other, those of different requests at the same time,
/// each in a task of its own. An answer's ids are filled in.
///
/// Nothing here can let a request pass by accident: a handler that panics is answered for with a
/// block and the reason code `handler_panicked`, an event that can't be read with
/// `unreadable_event`, an answer that fits no frame with `answer_too_large`, all with status 500.
pub trait Handler: Send + Sync + 'static {
    /// A request's headers.
    fn on_request_headers(&self, event: RequestHeaders, cx: Context) -> impl Future<Output = Answer> + Send {
        allow(event, cx)
    }

    /// A piece of a request's body.
    fn on_request_body_chunk(
        &self,
        event: RequestBodyChunk,
        cx: Context,
    ) -> impl Future<Output = Answer> + Send {
        allow(event, cx)
    }

    /// A response's headers.
    fn on_response_headers(
        &self,
        event: ResponseHeaders,
        cx: Context,
    ) -> impl Future<Output = Answer> + Send {
        allow(event, cx)
    }

    /// A piece of a response's body.
    fn on_response_body_chunk(
        &self,
        event: ResponseBodyChunk,
        cx: Context,
    ) -> impl Future<Output = Answer> + Send {
        allow(event, cx)
    }

    /// A request is over. The answer decides nothing any more.
    fn on_request_complete(
        &self,
        event: RequestComplete,
        cx: Context,
    ) -> impl Future<Output = Answer> + Send {
        allow(event, cx)
    }

    /// A WebSocket frame.
    fn on_websocket_frame(&self, event: WebSocketFrame, cx: Context) -> impl Future<Output = Answer> + Send {
        allow(event, cx)
    }

    /// Content to be inspected.
    fn on_guardrail_inspect(
        &self,
        event: GuardrailInspect,
        cx: Context,
    ) -> impl Future<Output = Answer> + Send {
        allow(event, cx)
    }

    /// The agent's configuration. One that is not taken over is answered with a block, whose body
    /// may say why: `Answer::block(400).with_body(..)`.
    fn on_configure(&self, event: Configure, cx: Context) -> impl Future<Output = Answer> + Send {
        allow(event, cx)
    }

    /// A proxy has dialled, and says this of itself, the agent's configuration perhaps included.
    /// Must return soon.
    ///
    /// # Errors
    /// A reason to refuse the connection, for the proxy to read.
    fn on_forward_handshake(&self, request: &ForwardRequest) -> Result<(), String> {
        let _ = request;
        Ok(())
    }

    /// A proxy has refused the agent, in these words, and named no time for another try: a token, an
    /// id, a version, the list of those allowed. Called each time. Must return soon.
    fn on_refused(&self, words: &str) {
        let _ = words;
    }

    /// A connection has opened. `response` is what the proxy said to the registration; `None` if
    /// the proxy dialled. Must return soon.
    fn on_opened(&self, response: Option<&RegistrationResponse>) {
        let _ = response;
    }

    /// A connection has ended. Must return soon.
    fn on_closed(&self, reason: &CloseReason) {
        let _ = reason;
    }
}

fn allow<T: Send>(event: T, cx: Context) -> impl Future<Output = Answer> + Send {
    drop((event, cx));
    std::future::ready(Answer::allow())
}

/// Hands an event to the method of its kind. What comes of it is boxed: an event's task then has the size
/// of what is done for it, not of the most that may be done for any.
pub(super) fn dispatch<H: Handler>(handler: &H, event: Event, cx: Context) -> BoxFuture<'_, Answer> {
    match event {
        Event::RequestHeaders(event) => Box::pin(handler.on_request_headers(event, cx)),
        Event::RequestBodyChunk(event) => Box::pin(handler.on_request_body_chunk(event, cx)),
        Event::ResponseHeaders(event) => Box::pin(handler.on_response_headers(event, cx)),
        Event::ResponseBodyChunk(event) => Box::pin(handler.on_response_body_chunk(event, cx)),
        Event::RequestComplete(event) => Box::pin(handler.on_request_complete(event, cx)),
        Event::WebSocketFrame(event) => Box::pin(handler.on_websocket_frame(event, cx)),
        Event::GuardrailInspect(event) => Box::pin(handler.on_guardrail_inspect(event, cx)),
        Event::Configure(event) => Box::pin(handler.on_configure(event, cx)),
    }
}

/// What surrounds an event: its request, and whether anybody still waits for the answer.
///
/// ```
/// use dialback::net::{Context, Handlers};
/// use dialback::wire::{Answer, RequestHeaders};
///
/// # async fn look_up(_: RequestHeaders) -> Answer { Answer::allow() }
/// let handlers = Handlers::new().on(|event: RequestHeaders, cx: Context| async move {
///     tokio::select! {
///         answer = look_up(event) => answer,
///         // Nobody reads this answer any more.
///         _ = cx.cancelled() => Answer::allow(),
///     }
/// });
/// # drop(handlers);
/// ```
#[derive(Clone, Debug)]
pub struct Context {
    correlation_id: CorrelationId,
    cancellation: Arc<Cancellation>,
}

impl Context {
    pub(super) const fn new(correlation_id: CorrelationId, cancellation: Arc<Cancellation>) -> Self {
        Self { correlation_id, cancellation }
    }

    /// The request that the event belongs to.
    pub const fn correlation_id(&self) -> &CorrelationId {
        &self.correlation_id
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_cancelled(&self) -> bool {
        self.cancellation.reason().is_some()
    }

    /// Waits until nobody waits for the answer any more, and says why:
    /// [`CancelReason::ProxyShutdown`] if the connection has ended. A handler that does not heed
    /// this is dropped after the grace time. Never resolves for an event that was answered.
    pub async fn cancelled(&self) -> CancelReason {
        self.cancellation.cancelled().await
    }
}

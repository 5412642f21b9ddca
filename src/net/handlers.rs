//! A handler made of closures.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, ready};

use crate::machine::CloseReason;
use crate::session::AgentSettings;
use crate::wire::{
    Answer, Capabilities, Configure, Event, EventKind, EventMessage, GuardrailInspect, Registration,
    RegistrationResponse, RequestBodyChunk, RequestComplete, RequestHeaders, ResponseBodyChunk,
    ResponseHeaders, WebSocketFrame,
};

use super::agent::{Agent, AgentConfig};
use super::handler::{Context, Handler};
use super::hook::BoxFuture;

type Rule = Box<dyn Fn(Event, Context) -> BoxFuture<'static, Answer> + Send + Sync>;
type Opened = dyn Fn(Option<&RegistrationResponse>) + Send + Sync;
type Told<T> = dyn Fn(&T) + Send + Sync;

/// A [`Handler`] made of closures, one per kind of event: the argument's type says which kind.
///
/// ```no_run
/// use dialback::net::{AgentError, Handlers};
/// use dialback::wire::{Block, RequestHeaders};
///
/// #[tokio::main]
/// async fn main() -> Result<(), AgentError> {
///     Handlers::new()
///         .object(|request: &RequestHeaders| request.uri.starts_with("/admin").then(|| Block::new(403)))
///         .agent("no-admin")
///         .run_unix("/run/proxy/agents.sock")
///         .await
/// }
/// ```
///
/// What is said of [`Handler`] holds here: events of one request come one after the other, those of
/// different requests at the same time; a closure that panics is answered for with a block.
#[derive(Default)]
#[must_use = "handlers do nothing until they are given to an agent"]
pub struct Handlers {
    rules: BTreeMap<EventKind, Rule>,
    opened: Option<Box<Opened>>,
    closed: Option<Box<Told<CloseReason>>>,
    refused: Option<Box<Told<str>>>,
}

impl Handlers {
    /// No closure yet: every event is allowed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers the events of one kind by a future. For a kind that has a closure already, the last
    /// one counts.
    ///
    /// ```
    /// use dialback::net::{Context, Handlers};
    /// use dialback::wire::{Answer, RequestBodyChunk};
    ///
    /// let handlers = Handlers::new().on(|chunk: RequestBodyChunk, cx: Context| async move {
    ///     tokio::task::yield_now().await;
    ///     if cx.is_cancelled() || chunk.data.len() < 1 << 20 { Answer::allow() } else { Answer::block(413) }
    /// });
    /// # drop(handlers);
    /// ```
    pub fn on<E, F, A>(mut self, answer: F) -> Self
    where
        E: EventMessage + TryFrom<Event>,
        F: Fn(E, Context) -> A + Send + Sync + 'static,
        A: Future<Output: Into<Answer>> + Send + 'static,
    {
        let rule = move |event, cx| -> BoxFuture<'static, Answer> {
            match E::try_from(event) {
                Ok(event) => {
                    let answer = answer(event, cx);
                    Box::pin(async move { answer.await.into() })
                }
                // The table is by kind, so this does not happen; a block if it did.
                Err(_) => Box::pin(ready(Answer::block(500))),
            }
        };
        self.rules.insert(E::KIND, Box::new(rule));
        self
    }

    /// Answers the events of one kind at once: with an [`Answer`], or with what becomes one, such
    /// as a [`crate::wire::Block`] or a [`crate::wire::Decision`].
    ///
    /// ```
    /// use dialback::net::Handlers;
    /// use dialback::wire::{Answer, HeaderOp, ResponseHeaders};
    ///
    /// let handlers = Handlers::new().decide(|response: &ResponseHeaders| {
    ///     let answer = Answer::allow().with_tag(format!("status-{}", response.status));
    ///     answer.with_response_header(HeaderOp::remove("server"))
    /// });
    /// # drop(handlers);
    /// ```
    pub fn decide<E, F, A>(self, answer: F) -> Self
    where
        E: EventMessage + TryFrom<Event>,
        F: Fn(&E) -> A + Send + Sync + 'static,
        A: Into<Answer>,
    {
        self.on(move |event: E, _| ready(answer(&event).into()))
    }

    /// Answers the events of one kind with what is to be said against them, and allows those of which
    /// the closure returns `None`.
    pub fn object<E, F, A>(self, objection: F) -> Self
    where
        E: EventMessage + TryFrom<Event>,
        F: Fn(&E) -> Option<A> + Send + Sync + 'static,
        A: Into<Answer>,
    {
        self.decide(move |event: &E| objection(event).map_or_else(Answer::allow, Into::into))
    }

    /// Called when a connection has opened. See [`Handler::on_opened`].
    pub fn opened(mut self, call: impl Fn(Option<&RegistrationResponse>) + Send + Sync + 'static) -> Self {
        self.opened = Some(Box::new(call));
        self
    }

    /// Called when a connection has ended. See [`Handler::on_closed`].
    pub fn closed(mut self, call: impl Fn(&CloseReason) + Send + Sync + 'static) -> Self {
        self.closed = Some(Box::new(call));
        self
    }

    /// Called each time a proxy refuses the agent. See [`Handler::on_refused`].
    pub fn refused(mut self, call: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.refused = Some(Box::new(call));
        self
    }

    /// The kinds of event that have a closure.
    pub fn kinds(&self) -> impl Iterator<Item = EventKind> + '_ {
        self.rules.keys().copied()
    }

    /// How an agent of that id registers that answers with these closures: for the kinds of event
    /// that have one, and with what every agent of this crate can do (cancellation, flow control,
    /// exchange ids, health reports).
    pub fn config(&self, agent_id: impl Into<String>) -> AgentConfig {
        let mut capabilities = Capabilities::new(agent_id, self.kinds());
        capabilities.features.cancellation = true;
        capabilities.features.flow_control = true;
        capabilities.features.exchange_ids = true;
        capabilities.features.health_reporting = true;
        AgentConfig::new(AgentSettings::new(Registration::new(capabilities)))
    }

    /// An agent of that id, with [`Self::config`]. To change the configuration, a token for
    /// instance, take that and [`Agent::new`].
    pub fn agent(self, agent_id: impl Into<String>) -> Agent<Self> {
        Agent::new(self.config(agent_id), self)
    }

    async fn answer(&self, event: Event, cx: Context) -> Answer {
        match self.rules.get(&event.kind()) {
            Some(rule) => rule(event, cx).await,
            None => Answer::allow(),
        }
    }
}

macro_rules! methods {
    ($($method:ident($event:ty),)+) => {
        $(async fn $method(&self, event: $event, cx: Context) -> Answer {
            self.answer(event.into(), cx).await
        })+
    };
}

impl Handler for Handlers {
    methods! {
        on_request_headers(RequestHeaders),
        on_request_body_chunk(RequestBodyChunk),
        on_response_headers(ResponseHeaders),
        on_response_body_chunk(ResponseBodyChunk),
        on_request_complete(RequestComplete),
        on_websocket_frame(WebSocketFrame),
        on_guardrail_inspect(GuardrailInspect),
        on_configure(Configure),
    }

    fn on_opened(&self, response: Option<&RegistrationResponse>) {
        if let Some(call) = &self.opened {
            call(response);
        }
    }

    fn on_closed(&self, reason: &CloseReason) {
        if let Some(call) = &self.closed {
            call(reason);
        }
    }

    fn on_refused(&self, words: &str) {
        if let Some(call) = &self.refused {
            call(words);
        }
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers").field("kinds", &self.rules.keys()).finish_non_exhaustive()
    }
}

//! The handler that answers by rules.

use std::io::{self, Write};
use std::sync::Arc;

use dialback::net::{Context, Handler};
use dialback::wire::{
    Answer, Configure, EventMessage, GuardrailInspect, RequestBodyChunk, RequestComplete, RequestHeaders,
    ResponseBodyChunk, ResponseHeaders, WebSocketFrame,
};
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;

use super::rules::Rules;

/// Answers by rules, and prints what it is asked if it is told to. Cheap to clone.
#[derive(Clone)]
pub struct RuleHandler {
    rules: Arc<Rules>,
    echo: bool,
    /// Whether whoever read the output has gone.
    closed: watch::Sender<bool>,
}

impl RuleHandler {
    pub fn new(rules: Rules, echo: bool) -> Self {
        Self { rules: Arc::new(rules), echo, closed: watch::Sender::new(false) }
    }

    /// Resolves when whoever read the output has gone.
    pub fn closed_pipe(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut closed = self.closed.subscribe();
        async move {
            if closed.wait_for(|closed| *closed).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn answered<E: EventMessage + Serialize>(&self, event: &E, answer: Answer) -> Answer {
        if self.echo {
            let line = json!({ "type": E::KIND.name(), "payload": event, "answer": answer });
            if writeln!(io::stdout(), "{line}").is_err() {
                self.closed.send_replace(true);
            }
        }
        answer
    }
}

impl Handler for RuleHandler {
    async fn on_request_headers(&self, event: RequestHeaders, _: Context) -> Answer {
        self.answered(&event, self.rules.answer(&event))
    }

    async fn on_request_body_chunk(&self, event: RequestBodyChunk, _: Context) -> Answer {
        self.answered(&event, Answer::allow())
    }

    async fn on_response_headers(&self, event: ResponseHeaders, _: Context) -> Answer {
        self.answered(&event, Answer::allow())
    }

    async fn on_response_body_chunk(&self, event: ResponseBodyChunk, _: Context) -> Answer {
        self.answered(&event, Answer::allow())
    }

    async fn on_request_complete(&self, event: RequestComplete, _: Context) -> Answer {
        self.answered(&event, Answer::allow())
    }

    async fn on_websocket_frame(&self, event: WebSocketFrame, _: Context) -> Answer {
        self.answered(&event, Answer::allow())
    }

    async fn on_guardrail_inspect(&self, event: GuardrailInspect, _: Context) -> Answer {
        self.answered(&event, Answer::allow())
    }

    async fn on_configure(&self, event: Configure, _: Context) -> Answer {
        self.answered(&event, Answer::allow())
    }
}

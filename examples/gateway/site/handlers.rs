//! What the agents do.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use dialback::net::{AgentConfig, Context, Handler};
use dialback::session::AgentSettings;
use dialback::wire::{
    Answer, BodyMutation, Capabilities, CorrelationId, EventKind, HeaderOp, Registration, RequestBodyChunk,
    RequestComplete, RequestHeaders, ResponseBodyChunk, ResponseHeaders,
};

/// Decides on requests.
pub const GUARD: &str = "guard";
/// Rewrites responses.
pub const EDITOR: &str = "editor";

/// Who an agent says it is.
pub fn config(id: &str) -> AgentConfig {
    let kinds: &[EventKind] = match id {
        EDITOR => &[EventKind::ResponseHeaders, EventKind::ResponseBodyChunk, EventKind::RequestComplete],
        _ => &[EventKind::RequestHeaders, EventKind::RequestBodyChunk],
    };
    let mut capabilities = Capabilities::new(id, kinds.iter().copied());
    capabilities.features.exchange_ids = true;
    capabilities.features.cancellation = true;
    capabilities.features.flow_control = true;
    capabilities.features.health_reporting = true;
    AgentConfig::new(AgentSettings::new(Registration::new(capabilities)))
}

/// Blocks `/admin`, moves `/old` to `/`, asks who comes to `/vault`, and reads every body before the
/// upstream does, for the word `attack`.
pub struct Guard;

impl Handler for Guard {
    async fn on_request_headers(&self, event: RequestHeaders, _: Context) -> Answer {
        let path = event.uri.split('?').next().unwrap_or_default();
        match path {
            "/old" => return Answer::redirect("/", 302),
            "/vault" if !event.headers.contains_key("authorization") => {
                return Answer::challenge("Basic", [("realm".into(), "vault".into())].into());
            }
            "/admin" => return Answer::block(403).with_body("the guard lets nobody in here\n"),
            _ => {}
        }
        let seen = HeaderOp::set("x-seen-by", GUARD);
        // Without a body there is no more to see, and this is an allow.
        Answer::needs_more().with_request_header(seen)
    }

    async fn on_request_body_chunk(&self, event: RequestBodyChunk, _: Context) -> Answer {
        if event.data.windows(6).any(|word| word == b"attack") {
            Answer::block(422).with_body("the guard has read the body, and the upstream has not\n")
        } else {
            Answer { needs_more: !event.is_last, ..Answer::allow() }
        }
    }
}

/// Hides the digits in plain text.
#[derive(Clone, Default)]
pub struct Editor {
    /// The requests whose response is plain text.
    plain: Arc<Mutex<BTreeSet<CorrelationId>>>,
}

impl Editor {
    fn plain(&self) -> std::sync::MutexGuard<'_, BTreeSet<CorrelationId>> {
        self.plain.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handler for Editor {
    async fn on_response_headers(&self, event: ResponseHeaders, _: Context) -> Answer {
        if event.headers.get_all("content-type").any(|kind| kind.starts_with("text/plain")) {
            self.plain().insert(event.correlation_id);
            return Answer::allow().with_response_header(HeaderOp::set("x-edited-by", EDITOR));
        }
        Answer::allow()
    }

    async fn on_response_body_chunk(&self, event: ResponseBodyChunk, _: Context) -> Answer {
        if !self.plain().contains(&event.correlation_id) || !event.data.iter().any(u8::is_ascii_digit) {
            return Answer::allow();
        }
        let hidden: Vec<u8> =
            event.data.iter().map(|byte| if byte.is_ascii_digit() { b'*' } else { *byte }).collect();
        Answer::allow().with_response_body(BodyMutation::replace(event.chunk_index, hidden))
    }

    async fn on_request_complete(&self, event: RequestComplete, _: Context) -> Answer {
        self.plain().remove(&event.correlation_id);
        Answer::allow()
    }
}

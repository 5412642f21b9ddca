//! Our agent: a handler that answers by what it is asked and notes what becomes of each event.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dialback::machine::{CloseReason, InboxLimits};
use dialback::net::{Agent, AgentConfig, AgentController, AgentError, Backoff, Context, Handler};
use dialback::session::AgentSettings;
use dialback::wire::{
    Answer, BodyMutation, Capabilities, Configure, Decision, EventKind, Features, GuardrailInspect, HeaderOp,
    Limits, Registration, RegistrationResponse, RequestBodyChunk, RequestComplete, RequestHeaders,
    ResponseBodyChunk, ResponseHeaders, WebSocketDecision, WebSocketFrame, WebSocketOpcode,
};
use tokio::task::JoinHandle;

/// How long a slow answer takes.
pub const SLOW: Duration = Duration::from_millis(300);

/// Answers by the URI, the chunk's index, the status or the frame's bytes.
#[derive(Clone, Debug, Default)]
pub struct OurHandler {
    /// A line for each event, cancellation, opening and end.
    pub seen: Arc<Mutex<Vec<String>>>,
}

impl OurHandler {
    fn note(&self, line: impl Into<String>) {
        self.seen.lock().unwrap().push(line.into());
    }

    /// Whether a line was noted.
    pub fn saw(&self, line: &str) -> bool {
        self.count(line) > 0
    }

    /// How often a line was noted.
    pub fn count(&self, line: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| *seen == line).count()
    }
}

impl Handler for OurHandler {
    async fn on_request_headers(&self, event: RequestHeaders, cx: Context) -> Answer {
        let id = cx.correlation_id().to_string();
        self.note(format!("{id} request headers {} {}", event.method, event.uri));
        match event.uri.as_str() {
            "/block" => Answer::new(Decision::Block {
                status: 403,
                body: Some("no entry".into()),
                headers: Some(BTreeMap::from([("x-why".into(), "rule 7".into())])),
            }),
            "/redirect" => Answer::redirect("https://login.example/", 307),
            "/challenge" => Answer::challenge("captcha", BTreeMap::from([("site".into(), "key".into())])),
            "/more" => Answer::needs_more(),
            "/rewrite" => rewrite(&event),
            "/slow" => {
                tokio::time::sleep(SLOW).await;
                Answer::block(418).with_tag(id)
            }
            "/hang" => {
                let reason = cx.cancelled().await;
                self.note(format!("{id} cancelled {reason}"));
                Answer::block(499)
            }
            "/panic" => panic!("the handler was asked to"),
            _ => Answer::allow(),
        }
    }

    async fn on_request_body_chunk(&self, event: RequestBodyChunk, _: Context) -> Answer {
        self.note(format!("{} request chunk {:?}", event.correlation_id, &*event.data));
        Answer::allow().with_request_body(mutate(event.chunk_index, &event.data))
    }

    async fn on_response_headers(&self, event: ResponseHeaders, _: Context) -> Answer {
        self.note(format!("{} response headers {}", event.correlation_id, event.status));
        Answer::allow().with_response_header(HeaderOp::remove("server"))
    }

    async fn on_response_body_chunk(&self, event: ResponseBodyChunk, _: Context) -> Answer {
        self.note(format!("{} response chunk {:?}", event.correlation_id, &*event.data));
        Answer::allow().with_response_body(mutate(event.chunk_index, &event.data))
    }

    async fn on_request_complete(&self, event: RequestComplete, _: Context) -> Answer {
        self.note(format!("{} complete {}", event.correlation_id, event.status));
        Answer::allow()
    }

    async fn on_websocket_frame(&self, event: WebSocketFrame, _: Context) -> Answer {
        self.note(format!("{} websocket {:?} {:?}", event.correlation_id, event.opcode, &*event.data));
        Answer::allow().with_websocket(match (event.opcode, &*event.data) {
            (WebSocketOpcode::Text, b"drop") => WebSocketDecision::Drop,
            (_, b"close") => WebSocketDecision::Close { code: 1008, reason: "policy".into() },
            _ => WebSocketDecision::Allow,
        })
    }

    async fn on_guardrail_inspect(&self, event: GuardrailInspect, _: Context) -> Answer {
        self.note(format!(
            "{} guardrail {:?} {}",
            event.correlation_id, event.inspection_type, event.content
        ));
        Answer::block(451).with_reason_code("pii")
    }

    async fn on_configure(&self, event: Configure, _: Context) -> Answer {
        self.note(format!("configure {}", event.config));
        Answer::allow()
    }

    fn on_opened(&self, response: Option<&RegistrationResponse>) {
        let proxy = response.map_or("forward", |response| response.proxy_id.as_str());
        self.note(format!("opened {proxy}"));
    }

    fn on_closed(&self, reason: &CloseReason) {
        self.note(match reason {
            // Which of the two it is hangs on what the peer had not read yet.
            CloseReason::PeerClosed | CloseReason::TransportLost => "closed by the peer".to_string(),
            reason => format!("closed: {reason}"),
        });
    }
}

/// Everything that an answer can change beside the verdict.
fn rewrite(event: &RequestHeaders) -> Answer {
    let two = event.headers.get_all("x-two").collect::<Vec<_>>().join("+");
    let mut answer = Answer::allow()
        .with_request_header(HeaderOp::set("x-set", two))
        .with_request_header(HeaderOp::add("x-add", "ä"))
        .with_request_header(HeaderOp::remove("cookie"))
        .with_response_header(HeaderOp::set("x-answer", "1"))
        .with_tag("seen")
        .with_reason_code("because");
    answer.routing_metadata.insert("pool".into(), "b".into());
    answer.audit.confidence = Some(0.5);
    answer
}

/// Chunk 0 stays, chunk 1 is dropped, any other is turned around.
fn mutate(index: u32, data: &[u8]) -> BodyMutation {
    match index {
        0 => BodyMutation::unchanged(0),
        1 => BodyMutation::drop_chunk(1),
        _ => BodyMutation::replace(index, data.iter().rev().copied().collect::<Vec<u8>>()),
    }
}

/// What our agent says of itself.
pub fn registration(agent_id: &str) -> Registration {
    Registration::new(Capabilities {
        version: "0.9".into(),
        features: Features {
            streaming_body: true,
            websocket: true,
            guardrails: true,
            concurrent_requests: 50,
            cancellation: true,
            flow_control: true,
            exchange_ids: true,
            ..Features::default()
        },
        limits: Limits { max_body_size: 1 << 20, max_concurrency: 50, preferred_chunk_size: 4_096 },
        ..Capabilities::new(agent_id, EventKind::ALL)
    })
}

/// Settings that reconnect without delay, and end with a refusal.
pub fn config(registration: Registration) -> AgentConfig {
    AgentConfig {
        reconnect: Backoff {
            min: Duration::from_millis(10),
            max: Duration::from_millis(50),
            ..Backoff::default()
        },
        retry_refusals: None,
        cancel_grace: Duration::from_millis(200),
        ..AgentConfig::new(AgentSettings::new(registration))
    }
}

/// As [`config`], with a backlog so small that it overflows.
pub fn narrow(registration: Registration) -> AgentConfig {
    let mut config = config(registration);
    config.agent.limits.inbox =
        InboxLimits { running: 2, high_mark: 4, low_mark: 2, saturated: 8, ..InboxLimits::default() };
    config
}

/// Our agent, running.
#[derive(Debug)]
pub struct OurAgent {
    pub handler: OurHandler,
    pub controller: AgentController,
    pub runner: JoinHandle<Result<(), AgentError>>,
}

impl OurAgent {
    /// Dials `path`.
    pub fn dial(path: &Path, config: AgentConfig) -> Self {
        let handler = OurHandler::default();
        let (controller, runner) = Agent::new(config, handler.clone()).run_unix(path).spawn();
        Self { handler, controller, runner }
    }
}

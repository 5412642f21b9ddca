//! The peer's agent: its server, and a handler that notes what it sees and answers by what is asked.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use zentinel_agent_protocol::v2::{
    AgentCapabilities, AgentFeatures, AgentHandlerV2, AgentLimits, HandshakeRequest, HandshakeResponse,
    UdsAgentServerV2,
};
use zentinel_agent_protocol::{
    AgentResponse, AuditMetadata, BodyMutation, Decision, EventType, HeaderOp, RequestBodyChunkEvent,
    RequestCompleteEvent, RequestHeadersEvent, ResponseBodyChunkEvent, ResponseHeadersEvent,
    WebSocketFrameEvent,
};

use crate::events::{base64, unbase64};
use crate::{Process, until};

/// What the handler saw, one line per event.
pub type Seen = Arc<Mutex<Vec<String>>>;

/// A handler that answers by the URI, the chunk's index, the status or the frame's bytes.
#[derive(Debug)]
pub struct PeerHandler {
    pub seen: Seen,
    /// With these words the handshake is refused.
    pub refuse: Option<String>,
    /// Which events it says it takes.
    pub events: Vec<EventType>,
}

impl PeerHandler {
    fn note(&self, line: String) {
        self.seen.lock().unwrap().push(line);
    }
}

/// Every kind of event.
pub const ALL_EVENTS: [EventType; 8] = [
    EventType::RequestHeaders,
    EventType::RequestBodyChunk,
    EventType::ResponseHeaders,
    EventType::ResponseBodyChunk,
    EventType::RequestComplete,
    EventType::WebSocketFrame,
    EventType::GuardrailInspect,
    EventType::Configure,
];

#[async_trait]
impl AgentHandlerV2 for PeerHandler {
    fn capabilities(&self) -> AgentCapabilities {
        let mut capabilities = AgentCapabilities::new("peer-agent", "Peer Agent", "1.2.3")
            .with_features(AgentFeatures::full())
            .with_limits(AgentLimits { max_concurrency: 8, ..AgentLimits::default() });
        capabilities.supported_events = self.events.clone();
        capabilities
    }

    async fn on_handshake(&self, request: HandshakeRequest) -> HandshakeResponse {
        self.note(format!("handshake {} {}", request.proxy_id, request.config));
        match &self.refuse {
            Some(words) => HandshakeResponse::failure(words.clone()),
            None => HandshakeResponse::success(self.capabilities()),
        }
    }

    async fn on_request_headers(&self, event: RequestHeadersEvent) -> AgentResponse {
        let id = event.metadata.correlation_id.clone();
        self.note(format!("{id} request headers {} {}", event.method, event.uri));
        match event.uri.as_str() {
            "/block" => {
                let headers = HashMap::from([("x-why".to_string(), "rule 7".to_string())]);
                let body = Some("no entry".to_string());
                AgentResponse {
                    decision: Decision::Block { status: 403, body, headers: Some(headers) },
                    ..AgentResponse::default_allow()
                }
            }
            "/redirect" => AgentResponse::redirect("https://login.example/".into(), 307),
            "/challenge" => AgentResponse {
                decision: Decision::Challenge {
                    challenge_type: "captcha".into(),
                    params: HashMap::from([("site".to_string(), "key".to_string())]),
                },
                ..AgentResponse::default_allow()
            },
            "/more" => AgentResponse::needs_more_data(),
            "/rewrite" => rewrite(&event),
            "/slow" => {
                tokio::time::sleep(Duration::from_millis(400)).await;
                AgentResponse::default_allow()
            }
            "/hang" => std::future::pending().await,
            _ => AgentResponse::default_allow(),
        }
    }

    async fn on_request_body_chunk(&self, event: RequestBodyChunkEvent) -> AgentResponse {
        let RequestBodyChunkEvent { correlation_id, data, chunk_index, is_last, .. } = event;
        self.note(format!("{correlation_id} request chunk {chunk_index} last={is_last} {data}"));
        AgentResponse::default_allow().with_request_body_mutation(mutate(chunk_index, &data))
    }

    async fn on_response_headers(&self, event: ResponseHeadersEvent) -> AgentResponse {
        self.note(format!("{} response headers {}", event.correlation_id, event.status));
        AgentResponse::default_allow().add_response_header(HeaderOp::Remove { name: "server".into() })
    }

    async fn on_response_body_chunk(&self, event: ResponseBodyChunkEvent) -> AgentResponse {
        let ResponseBodyChunkEvent { correlation_id, data, chunk_index, is_last, .. } = event;
        self.note(format!("{correlation_id} response chunk {chunk_index} last={is_last} {data}"));
        AgentResponse::default_allow().with_response_body_mutation(mutate(chunk_index, &data))
    }

    async fn on_request_complete(&self, event: RequestCompleteEvent) -> AgentResponse {
        self.note(format!("{} complete {} {} ms", event.correlation_id, event.status, event.duration_ms));
        AgentResponse::default_allow()
    }

    async fn on_websocket_frame(&self, event: WebSocketFrameEvent) -> AgentResponse {
        let bytes = unbase64(&event.data);
        self.note(format!("{} websocket {} {bytes:?}", event.correlation_id, event.opcode));
        match bytes.as_slice() {
            b"drop" => AgentResponse::websocket_drop(),
            b"close" => AgentResponse::websocket_close(1008, "policy".into()),
            _ => AgentResponse::websocket_allow(),
        }
    }

    async fn on_configure(&self, config: Value, version: Option<String>) -> bool {
        self.note(format!("configure {config} {version:?}"));
        config.get("valid") != Some(&Value::Bool(false))
    }
}

/// Everything that an answer can change beside the verdict.
fn rewrite(event: &RequestHeadersEvent) -> AgentResponse {
    let two = event.headers.get("x-two").map(|values| values.join("+")).unwrap_or_default();
    let mut response = AgentResponse::default_allow()
        .add_request_header(HeaderOp::Set { name: "x-set".into(), value: two })
        .add_request_header(HeaderOp::Add { name: "x-add".into(), value: "ä".into() })
        .add_request_header(HeaderOp::Remove { name: "cookie".into() })
        .add_response_header(HeaderOp::Set { name: "x-answer".into(), value: "1".into() })
        .with_audit(AuditMetadata {
            tags: vec!["seen".into()],
            rule_ids: vec!["r1".into()],
            confidence: Some(0.5),
            reason_codes: vec!["because".into()],
            custom: HashMap::from([("depth".to_string(), Value::from(3))]),
        });
    response.routing_metadata.insert("pool".into(), "b".into());
    response
}

/// Chunk 0 stays, chunk 1 is dropped, any other is turned around.
fn mutate(index: u32, data: &str) -> BodyMutation {
    match index {
        0 => BodyMutation::pass_through(0),
        1 => BodyMutation::drop_chunk(1),
        _ => {
            let turned: Vec<u8> = unbase64(data).into_iter().rev().collect();
            BodyMutation::replace(index, base64(&turned))
        }
    }
}

/// The peer's agent server, listening.
#[derive(Debug)]
pub struct PeerAgent {
    pub path: PathBuf,
    pub seen: Seen,
    pub process: Process,
}

impl PeerAgent {
    /// Listens in `dir`, for events of every kind.
    pub async fn start(dir: &Path) -> Self {
        Self::with(dir, None, ALL_EVENTS.to_vec()).await
    }

    /// Listens in `dir`.
    pub async fn with(dir: &Path, refuse: Option<String>, events: Vec<EventType>) -> Self {
        let path = dir.join("agent.sock");
        let seen = Seen::default();
        let handler = PeerHandler { seen: Arc::clone(&seen), refuse, events };
        let server = UdsAgentServerV2::new("peer-agent", &path, Box::new(handler));
        let process = Process::start(async move { server.run().await.unwrap() });
        until("the peer's agent listens", || std::os::unix::net::UnixStream::connect(&path).is_ok()).await;
        Self { path, seen, process }
    }

    /// What it saw of `id`, without the id, in order.
    pub fn saw(&self, id: &str) -> Vec<String> {
        let prefix = format!("{id} ");
        let seen = self.seen.lock().unwrap();
        seen.iter().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_string).collect()
    }
}

//! The published peer's pool dials our agent, as it dials every agent deployed today.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dialback::net::Agent;
use dialback::wire::{ConfigUpdateRequest, ConfigUpdateType, CounterMetric, Encoding, MetricsReport};
use dialback_interop::events::{
    BINARY, base64, guardrail_inspect, request_chunk, request_headers, response_chunk, response_headers,
    websocket_frame,
};
use dialback_interop::ours::{OurHandler, config, registration};
use dialback_interop::{idle, soon, until};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use zentinel_agent_protocol::v2::{AgentPool, AgentPoolConfig, CancelReason};
use zentinel_agent_protocol::{
    AgentProtocolError, AgentResponse, BodyMutation, Decision, HeaderOp, WebSocketDecision,
};

const AGENT: &str = "ours";

macro_rules! in_both_encodings {
    ($($scenario:ident)*) => {
        mod json {
            $(#[tokio::test] async fn $scenario() { super::$scenario(super::Encoding::Json).await; })*
        }
        mod messagepack {
            $(#[tokio::test] async fn $scenario() { super::$scenario(super::Encoding::MessagePack).await; })*
        }
    };
}

in_both_encodings! {
    the_configuration_is_delivered_before_anything_else
    every_kind_of_event_is_answered
    body_bytes_survive_both_ways
    concurrent_requests_get_their_own_answers
    a_cancel_reaches_the_handler
    reports_reach_the_proxy
    the_agents_death_is_noticed
    the_proxys_end_is_noticed
    an_idle_connection_lives_although_the_peer_answers_no_ping
}

/// Our agent, listening for one proxy.
struct Listening {
    handler: OurHandler,
    pool: Arc<AgentPool>,
    serving: JoinHandle<()>,
    controller: Arc<std::sync::OnceLock<dialback::net::AgentController>>,
}

/// Listens in `dir` and lets the peer's pool dial.
async fn start(dir: &Path, encoding: Encoding) -> Listening {
    let path = dir.join("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let handler = OurHandler::default();
    let controller = Arc::new(std::sync::OnceLock::new());
    let (ours, controls) = (handler.clone(), Arc::clone(&controller));
    let serving = tokio::spawn(async move {
        let (io, _) = listener.accept().await.unwrap();
        let mut config = config(registration(AGENT));
        config.agent.encodings = vec![encoding];
        let runner = Agent::new(config, ours).accept_forward(io);
        controls.set(runner.controller()).unwrap();
        runner.await.unwrap_err();
    });
    let pool = Arc::new(AgentPool::with_config(AgentPoolConfig {
        connections_per_agent: 1,
        request_timeout: Duration::from_secs(2),
        ..AgentPoolConfig::default()
    }));
    let settings = serde_json::json!({"level": 3});
    let endpoint = format!("unix:{}", path.display());
    soon("the handshake", pool.add_agent_with_config(AGENT, endpoint, Some(settings))).await.unwrap();
    assert!(pool.is_agent_healthy(AGENT), "the peer has a connection");
    Listening { handler, pool, serving, controller }
}

async fn ask(agent: &Listening, id: &str, uri: &str) -> Result<AgentResponse, AgentProtocolError> {
    soon("an answer", agent.pool.send_request_headers(AGENT, id, &request_headers(id, uri))).await
}

async fn the_configuration_is_delivered_before_anything_else(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = start(dir.path(), encoding).await;
    assert_eq!(*agent.handler.seen.lock().unwrap(), ["opened forward", r#"configure {"level":3}"#]);
    let capabilities = agent.pool.agent_capabilities(AGENT).await.unwrap();
    assert_eq!((capabilities.agent_id.as_str(), capabilities.version.as_str()), (AGENT, "0.9"));
}

async fn every_kind_of_event_is_answered(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = start(dir.path(), encoding).await;
    let pool = &agent.pool;
    let answer = ask(&agent, "c", "/rewrite").await.unwrap();
    assert_eq!(answer.request_headers.len(), 3);
    assert_eq!(answer.request_headers[0], HeaderOp::Set { name: "x-set".into(), value: "a+b".into() });
    assert_eq!((answer.audit.confidence, answer.routing_metadata.len()), (Some(0.5), 1));
    let Decision::Block { status, body, headers } = ask(&agent, "c", "/block").await.unwrap().decision else {
        panic!("no block");
    };
    assert_eq!((status, body.as_deref(), headers.map(|all| all.len())), (403, Some("no entry"), Some(1)));
    assert!(matches!(ask(&agent, "c", "/redirect").await.unwrap().decision, Decision::Redirect { .. }));
    assert!(matches!(ask(&agent, "c", "/challenge").await.unwrap().decision, Decision::Challenge { .. }));
    let answer = pool.send_response_headers(AGENT, "c", &response_headers("c", 502)).await.unwrap();
    assert_eq!(answer.response_headers, [HeaderOp::Remove { name: "server".into() }]);
    let frame = websocket_frame("c", "text", b"drop");
    let answer = pool.send_websocket_frame(AGENT, "c", &frame).await.unwrap();
    assert_eq!(answer.websocket_decision, Some(WebSocketDecision::Drop));
    let inspect = guardrail_inspect("c", "who@example.org");
    let answer = pool.send_guardrail_inspect(AGENT, "c", &inspect).await.unwrap();
    assert!(matches!(answer.decision, Decision::Block { status: 451, .. }));
    assert!(agent.handler.saw("c guardrail PiiDetection who@example.org"));
}

async fn body_bytes_survive_both_ways(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = start(dir.path(), encoding).await;
    for (index, bytes) in [b"text".as_slice(), b"gone", BINARY, b""].into_iter().enumerate() {
        let index = u32::try_from(index).unwrap();
        let turned: Vec<u8> = bytes.iter().rev().copied().collect();
        let expected = match index {
            0 => BodyMutation::pass_through(0),
            1 => BodyMutation::drop_chunk(1),
            _ => BodyMutation::replace(index, base64(&turned)),
        };
        let chunk = request_chunk("c", index, bytes);
        let answer = agent.pool.send_request_body_chunk(AGENT, "c", &chunk).await.unwrap();
        assert_eq!(answer.request_body_mutation, Some(expected.clone()));
        assert!(agent.handler.saw(&format!("c request chunk {bytes:?}")));
        let chunk = response_chunk("c", index, bytes);
        let answer = agent.pool.send_response_body_chunk(AGENT, "c", &chunk).await.unwrap();
        assert_eq!(answer.response_body_mutation, Some(expected));
        assert!(agent.handler.saw(&format!("c response chunk {bytes:?}")));
    }
}

async fn concurrent_requests_get_their_own_answers(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = start(dir.path(), encoding).await;
    let mut asked = Vec::new();
    for number in 0..40 {
        let (pool, id) = (Arc::clone(&agent.pool), format!("c{number}"));
        asked.push(tokio::spawn(async move {
            let answer = pool.send_request_headers(AGENT, &id, &request_headers(&id, "/slow")).await.unwrap();
            assert_eq!(answer.audit.tags, [id]);
        }));
    }
    for one in asked {
        soon("an answer", one).await.unwrap();
    }
}

/// The peer writes a Cancel in JSON whatever the handshake has settled.
async fn a_cancel_reaches_the_handler(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = start(dir.path(), encoding).await;
    let pool = Arc::clone(&agent.pool);
    let hanging =
        tokio::spawn(
            async move { pool.send_request_headers(AGENT, "c", &request_headers("c", "/hang")).await },
        );
    until("our handler has it", || agent.handler.saw("c request headers POST /hang")).await;
    agent.pool.cancel_request(AGENT, "c", CancelReason::BlockedByAgent).await.unwrap();
    until("our handler is told", || agent.handler.saw("c cancelled blocked_by_agent")).await;
    soon("the end", hanging).await.unwrap().unwrap_err();
    assert!(ask(&agent, "d", "/").await.is_ok());
}

async fn reports_reach_the_proxy(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = start(dir.path(), encoding).await;
    let controller = agent.controller.get().unwrap();
    let counter = CounterMetric { name: "blocked".into(), value: 7, ..CounterMetric::default() };
    let report =
        MetricsReport { agent_id: AGENT.into(), counters: vec![counter], ..MetricsReport::default() };
    controller.report_metrics(&report).unwrap();
    until("the peer counts", || agent.pool.export_prometheus().contains("blocked")).await;
    let reload = ConfigUpdateType::RequestReload;
    let request = ConfigUpdateRequest { update_type: reload, request_id: "r".into(), timestamp_ms: 1 };
    controller.request_config(&request).unwrap();
    assert!(ask(&agent, "d", "/").await.is_ok());
}

async fn the_agents_death_is_noticed(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = start(dir.path(), encoding).await;
    let pool = Arc::clone(&agent.pool);
    let hanging =
        tokio::spawn(
            async move { pool.send_request_headers(AGENT, "c", &request_headers("c", "/hang")).await },
        );
    until("our handler has it", || agent.handler.saw("c request headers POST /hang")).await;
    agent.serving.abort();
    soon("the end", hanging).await.unwrap().unwrap_err();
}

async fn the_proxys_end_is_noticed(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = start(dir.path(), encoding).await;
    let handler = agent.handler.clone();
    agent.pool.remove_agent(AGENT).await.unwrap();
    until("our handler is told", || handler.saw("closed by the peer")).await;
    soon("the runner's end", agent.serving).await.unwrap();
}

async fn an_idle_connection_lives_although_the_peer_answers_no_ping(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = start(dir.path(), encoding).await;
    idle(Duration::from_secs(600)).await;
    assert_eq!(agent.handler.seen.lock().unwrap().len(), 2, "opened and configured, nothing else");
    assert!(ask(&agent, "c", "/").await.is_ok());
}

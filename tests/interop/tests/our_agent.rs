//! Our agent dials the published peer's listener and is asked by its pool.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use dialback::net::{Agent, AgentConfig, AgentError};
use dialback::wire::{
    ConfigUpdateRequest, ConfigUpdateType, HealthState, HealthStatus, MetricsReport, Registration,
};
use dialback_interop::events::{
    BINARY, base64, request_chunk, request_headers, response_chunk, response_headers, websocket_frame,
};
use dialback_interop::ours::{OurAgent, OurHandler, SLOW, config, narrow, registration};
use dialback_interop::proxy::{PeerProxy, REQUEST_TIMEOUT};
use dialback_interop::{PATIENCE, Process, idle, soon, until};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};
use zentinel_agent_protocol::v2::{CancelReason, ReverseConnectionConfig};
use zentinel_agent_protocol::{
    AgentProtocolError, AgentResponse, BodyMutation, Decision, EventType, HeaderOp, WebSocketDecision,
};

const AGENT: &str = "ours";

async fn pair() -> (tempfile::TempDir, PeerProxy, OurAgent) {
    pair_with(config(registration(AGENT))).await
}

async fn pair_with(config: AgentConfig) -> (tempfile::TempDir, PeerProxy, OurAgent) {
    let dir = tempfile::tempdir().unwrap();
    let proxy = PeerProxy::start(dir.path()).await;
    let agent = OurAgent::dial(&proxy.path, config);
    proxy.joined(AGENT).await;
    (dir, proxy, agent)
}

async fn ask(proxy: &PeerProxy, id: &str, uri: &str) -> Result<AgentResponse, AgentProtocolError> {
    soon("an answer", proxy.pool.send_request_headers(AGENT, id, &request_headers(id, uri))).await
}

fn status(response: &AgentResponse) -> Option<u16> {
    match &response.decision {
        Decision::Block { status, .. } => Some(*status),
        Decision::Allow | Decision::Redirect { .. } | Decision::Challenge { .. } => None,
    }
}

#[tokio::test]
async fn the_registration_tells_both_sides() {
    let (_dir, proxy, agent) = pair().await;
    let capabilities = proxy.pool.agent_capabilities(AGENT).await.unwrap();
    assert_eq!((capabilities.agent_id.as_str(), capabilities.version.as_str()), (AGENT, "0.9"));
    assert_eq!(capabilities.features.concurrent_requests, 50);
    assert!(capabilities.features.cancellation && !capabilities.features.config_push);
    assert_eq!(capabilities.limits.max_body_size, 1 << 20);
    for event in [EventType::RequestHeaders, EventType::ResponseBodyChunk, EventType::GuardrailInspect] {
        assert!(capabilities.supports_event(event), "{event:?}");
    }
    until("our handler is told", || agent.handler.saw("opened zentinel-proxy")).await;
}

#[tokio::test]
async fn every_kind_of_event_is_answered() {
    let (_dir, proxy, agent) = pair().await;
    let pool = &proxy.pool;
    assert_eq!(ask(&proxy, "c", "/").await.unwrap().decision, Decision::Allow);
    pool.send_request_body_chunk(AGENT, "c", &request_chunk("c", 0, BINARY)).await.unwrap();
    let answer = pool.send_response_headers(AGENT, "c", &response_headers("c", 502)).await.unwrap();
    assert_eq!(answer.response_headers, [HeaderOp::Remove { name: "server".into() }]);
    pool.send_response_body_chunk(AGENT, "c", &response_chunk("c", 0, BINARY)).await.unwrap();
    pool.send_websocket_frame(AGENT, "c", &websocket_frame("c", "binary", &[1, 0xff])).await.unwrap();

    let expected = [
        "c request headers POST /".to_string(),
        format!("c request chunk {BINARY:?}"),
        "c response headers 502".to_string(),
        format!("c response chunk {BINARY:?}"),
        "c websocket Binary [1, 255]".to_string(),
    ];
    let seen = agent.handler.seen.lock().unwrap();
    let events: Vec<_> = seen.iter().filter(|line| line.starts_with("c ")).collect();
    assert_eq!(events, expected.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn every_decision_arrives() {
    let (_dir, proxy, _agent) = pair().await;
    assert_eq!(ask(&proxy, "allow", "/").await.unwrap().decision, Decision::Allow);
    let block = Decision::Block {
        status: 403,
        body: Some("no entry".into()),
        headers: Some(HashMap::from([("x-why".into(), "rule 7".into())])),
    };
    assert_eq!(ask(&proxy, "block", "/block").await.unwrap().decision, block);
    let redirect = Decision::Redirect { url: "https://login.example/".into(), status: 307 };
    assert_eq!(ask(&proxy, "redirect", "/redirect").await.unwrap().decision, redirect);
    let challenge = Decision::Challenge {
        challenge_type: "captcha".into(),
        params: HashMap::from([("site".into(), "key".into())]),
    };
    assert_eq!(ask(&proxy, "challenge", "/challenge").await.unwrap().decision, challenge);
    assert!(ask(&proxy, "more", "/more").await.unwrap().needs_more);

    let frame = async |opcode: &str, bytes: &[u8]| {
        let frame = websocket_frame("w", opcode, bytes);
        proxy.pool.send_websocket_frame(AGENT, "w", &frame).await.unwrap().websocket_decision
    };
    assert_eq!(frame("text", b"hello").await, Some(WebSocketDecision::Allow));
    assert_eq!(frame("text", b"drop").await, Some(WebSocketDecision::Drop));
    let close = WebSocketDecision::Close { code: 1008, reason: "policy".into() };
    assert_eq!(frame("close", b"close").await, Some(close));
}

#[tokio::test]
async fn everything_an_answer_can_change_arrives() {
    let (_dir, proxy, _agent) = pair().await;
    let answer = ask(&proxy, "c", "/rewrite").await.unwrap();
    let ops = [
        HeaderOp::Set { name: "x-set".into(), value: "a+b".into() },
        HeaderOp::Add { name: "x-add".into(), value: "ä".into() },
        HeaderOp::Remove { name: "cookie".into() },
    ];
    assert_eq!(answer.request_headers, ops);
    assert_eq!(answer.response_headers, [HeaderOp::Set { name: "x-answer".into(), value: "1".into() }]);
    assert_eq!(answer.routing_metadata, HashMap::from([("pool".into(), "b".into())]));
    assert_eq!((&*answer.audit.tags, answer.audit.confidence), (&["seen".into()][..], Some(0.5)));
    assert_eq!(answer.audit.reason_codes, ["because"]);
}

#[tokio::test]
async fn body_bytes_survive_both_ways() {
    let (_dir, proxy, agent) = pair().await;
    let large: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    for (index, bytes) in [b"text".as_slice(), b"gone", BINARY, b"", &large].into_iter().enumerate() {
        let index = u32::try_from(index).unwrap();
        let turned: Vec<u8> = bytes.iter().rev().copied().collect();
        let expected = match index {
            0 => BodyMutation::pass_through(0),
            1 => BodyMutation::drop_chunk(1),
            _ => BodyMutation::replace(index, base64(&turned)),
        };
        let chunk = request_chunk("c", index, bytes);
        let answer = proxy.pool.send_request_body_chunk(AGENT, "c", &chunk).await.unwrap();
        assert_eq!(answer.request_body_mutation, Some(expected.clone()));
        assert!(agent.handler.saw(&format!("c request chunk {bytes:?}")));

        let chunk = response_chunk("c", index, bytes);
        let answer = proxy.pool.send_response_body_chunk(AGENT, "c", &chunk).await.unwrap();
        assert_eq!(answer.response_body_mutation, Some(expected));
        assert!(agent.handler.saw(&format!("c response chunk {bytes:?}")));
    }
}

#[tokio::test]
async fn requests_of_different_ids_are_handled_at_the_same_time() {
    let (_dir, proxy, agent) = pair().await;
    let start = Instant::now();
    let mut asked = Vec::new();
    for number in 0..50 {
        let (pool, id) = (Arc::clone(&proxy.pool), format!("c{number}"));
        asked.push(tokio::spawn(async move {
            let answer = pool.send_request_headers(AGENT, &id, &request_headers(&id, "/slow")).await.unwrap();
            assert_eq!((status(&answer), answer.audit.tags), (Some(418), vec![id]));
        }));
    }
    for one in asked {
        soon("an answer", one).await.unwrap();
    }
    assert!(start.elapsed() < SLOW * 10, "fifty took {:?}", start.elapsed());
    assert_eq!(agent.controller.unanswered(), 0);
}

/// The peer's listener does not read flow control: the agent must live with what it is sent.
#[tokio::test]
async fn a_pause_that_is_not_heeded_loses_nothing() {
    let (_dir, proxy, _agent) = pair_with(narrow(registration(AGENT))).await;
    let mut asked = Vec::new();
    for number in 0..90 {
        let (pool, id) = (Arc::clone(&proxy.pool), format!("c{number}"));
        asked.push(tokio::spawn(async move {
            pool.send_request_headers(AGENT, &id, &request_headers(&id, "/block")).await
        }));
    }
    for one in asked {
        assert_eq!(status(&soon("an answer", one).await.unwrap().unwrap()), Some(403));
    }
}

#[tokio::test]
async fn a_cancel_reaches_the_handler() {
    let (_dir, proxy, agent) = pair().await;
    let reasons = [
        (CancelReason::ClientDisconnect, "client_disconnect"),
        (CancelReason::Timeout, "timeout"),
        (CancelReason::BlockedByAgent, "blocked_by_agent"),
        (CancelReason::UpstreamError, "upstream_error"),
        (CancelReason::ProxyShutdown, "proxy_shutdown"),
        (CancelReason::Manual, "manual"),
    ];
    for (reason, name) in reasons {
        let pool = Arc::clone(&proxy.pool);
        let hanging = tokio::spawn(async move {
            pool.send_request_headers(AGENT, name, &request_headers(name, "/hang")).await
        });
        until("our handler has it", || agent.handler.saw(&format!("{name} request headers POST /hang")))
            .await;
        proxy.pool.cancel_request(AGENT, name, reason).await.unwrap();
        until("our handler is told", || agent.handler.saw(&format!("{name} cancelled {name}"))).await;
        let error = soon("the end", hanging).await.unwrap().unwrap_err();
        assert!(matches!(error, AgentProtocolError::ConnectionClosed), "{error}");
        until("the event is answered all the same", || agent.controller.unanswered() == 0).await;
        // After three failures in a row the peer would never use the connection again.
        let next = ask(&proxy, &format!("after {name}"), "/block").await.unwrap();
        assert_eq!(status(&next), Some(403));
    }
}

#[tokio::test]
async fn a_handler_that_panics_blocks_one_request_only() {
    let (_dir, proxy, _agent) = pair().await;
    let answer = ask(&proxy, "c", "/panic").await.unwrap();
    assert_eq!((status(&answer), answer.audit.reason_codes), (Some(500), vec!["handler_panicked".into()]));
    assert_eq!(ask(&proxy, "d", "/").await.unwrap().decision, Decision::Allow);
}

#[tokio::test]
async fn reports_disturb_nothing() {
    let (_dir, proxy, agent) = pair().await;
    until("our agent knows", || agent.handler.saw("opened zentinel-proxy")).await;
    let health = HealthStatus { state: HealthState::Healthy, ..HealthStatus::default() };
    agent.controller.report_health(&health).unwrap();
    agent.controller.report_metrics(&MetricsReport::default()).unwrap();
    let request = ConfigUpdateRequest {
        update_type: ConfigUpdateType::RequestReload,
        request_id: "r".into(),
        timestamp_ms: 1,
    };
    agent.controller.request_config(&request).unwrap();
    assert_eq!(status(&ask(&proxy, "c", "/block").await.unwrap()), Some(403));
}

/// Asks until one request is answered. The peer keeps dead connections in its pool and goes on
/// sending to them in turn, so some of these fail.
async fn until_answered(proxy: &PeerProxy) -> AgentResponse {
    let deadline = Instant::now() + PATIENCE;
    for number in 0.. {
        let id = format!("again{number}");
        if let Ok(answer) = proxy.pool.send_request_headers(AGENT, &id, &request_headers(&id, "/block")).await
        {
            return answer;
        }
        assert!(Instant::now() < deadline, "no request was answered after the agent came back");
        sleep(Duration::from_millis(20)).await;
    }
    unreachable!()
}

#[tokio::test]
async fn an_agent_that_is_killed_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = PeerProxy::start(dir.path()).await;
    let (handler, path) = (OurHandler::default(), proxy.path.clone());
    let agent = Agent::new(config(registration(AGENT)), handler.clone());
    let process = Process::start(async move { agent.run_unix(path).await });
    proxy.joined(AGENT).await;

    let pool = Arc::clone(&proxy.pool);
    let start = Instant::now();
    let hanging =
        tokio::spawn(
            async move { pool.send_request_headers(AGENT, "c", &request_headers("c", "/hang")).await },
        );
    until("our handler has it", || handler.saw("c request headers POST /hang")).await;
    process.kill();
    let error = soon("the end", hanging).await.unwrap().unwrap_err();
    assert!(
        matches!(error, AgentProtocolError::Timeout(_) | AgentProtocolError::ConnectionClosed),
        "{error}"
    );
    assert!(start.elapsed() < REQUEST_TIMEOUT * 2);

    let _agent = OurAgent::dial(&proxy.path, config(registration(AGENT)));
    assert_eq!(status(&until_answered(&proxy).await), Some(403));
}

#[tokio::test]
async fn an_agent_that_is_shut_down_answers_what_it_owes() {
    let (_dir, proxy, agent) = pair().await;
    let pool = Arc::clone(&proxy.pool);
    let slow =
        tokio::spawn(
            async move { pool.send_request_headers(AGENT, "c", &request_headers("c", "/slow")).await },
        );
    until("our handler has it", || agent.handler.saw("c request headers POST /slow")).await;
    agent.controller.shutdown();
    assert_eq!(status(&soon("the answer", slow).await.unwrap().unwrap()), Some(418));
    assert_eq!(soon("the end", agent.runner).await.unwrap(), Ok(()));
    assert_eq!(agent.handler.count("opened zentinel-proxy"), 1);
}

#[tokio::test]
async fn an_agent_notices_that_the_proxy_is_killed_and_finds_the_next_one() {
    let (dir, proxy, agent) = pair().await;
    let pool = Arc::clone(&proxy.pool);
    let hanging =
        tokio::spawn(
            async move { pool.send_request_headers(AGENT, "c", &request_headers("c", "/hang")).await },
        );
    until("our handler has it", || agent.handler.saw("c request headers POST /hang")).await;

    proxy.process.kill();
    until("our handler is told", || agent.handler.saw("closed by the peer")).await;
    until("and its work is called off", || agent.handler.saw("c cancelled proxy_shutdown")).await;
    hanging.abort();

    let proxy = PeerProxy::start(dir.path()).await;
    proxy.joined(AGENT).await;
    assert_eq!(status(&ask(&proxy, "d", "/block").await.unwrap()), Some(403));
    assert_eq!(agent.handler.count("opened zentinel-proxy"), 2);
}

async fn refusal(config: ReverseConnectionConfig, registration: Registration) -> AgentError {
    let dir = tempfile::tempdir().unwrap();
    let proxy = PeerProxy::with(dir.path(), config).await;
    let agent = OurAgent::dial(&proxy.path, dialback_interop::ours::config(registration));
    let error = soon("the refusal", agent.runner).await.unwrap().unwrap_err();
    assert!(proxy.pool.agent_ids().is_empty());
    error
}

fn with_token(token: &str) -> Registration {
    Registration { auth_token: Some(token.into()), ..registration(AGENT) }
}

fn demanding(token: &str) -> ReverseConnectionConfig {
    let auth_tokens = HashSet::from([token.to_string()]);
    ReverseConnectionConfig { require_auth: true, auth_tokens, ..ReverseConnectionConfig::default() }
}

#[tokio::test]
async fn refusals_are_told_in_the_peers_words() {
    let words = |text: &str| AgentError::Refused(format!("Invalid message format: {text}"));
    assert_eq!(refusal(demanding("right"), with_token("wrong")).await, words("Registration rejected"));
    let error = refusal(demanding("right"), registration(AGENT)).await;
    assert_eq!(error, words("Authentication required but no token provided"));

    let allowed_agents = HashSet::from(["another".to_string()]);
    let config = ReverseConnectionConfig { allowed_agents, ..ReverseConnectionConfig::default() };
    let error = refusal(config, registration(AGENT)).await;
    assert_eq!(error, words("Agent 'ours' is not in the allowed list"));

    let old = Registration { protocol_version: 1, ..registration(AGENT) };
    let error = refusal(ReverseConnectionConfig::default(), old).await;
    assert_eq!(error, AgentError::Refused("Protocol version mismatch: expected 2, got 1".into()));
}

#[tokio::test]
async fn the_right_token_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = PeerProxy::with(dir.path(), demanding("right")).await;
    let agent = OurAgent::dial(&proxy.path, config(with_token("right")));
    proxy.joined(AGENT).await;
    assert_eq!(status(&ask(&proxy, "c", "/block").await.unwrap()), Some(403));
    agent.controller.shutdown();
    assert_eq!(soon("the end", agent.runner).await.unwrap(), Ok(()));
}

/// The peer's proxy answers no ping. An agent that went by its pongs would leave an idle proxy, and
/// after four such ends the peer's pool would have no place for it any more.
#[tokio::test]
async fn an_idle_connection_lives_although_the_peer_answers_no_ping() {
    let (_dir, proxy, agent) = pair().await;
    until("our agent knows", || agent.handler.saw("opened zentinel-proxy")).await;
    idle(Duration::from_secs(600)).await;
    let seen = agent.handler.seen.lock().unwrap().clone();
    assert_eq!(seen, ["opened zentinel-proxy"]);
    assert_eq!(status(&ask(&proxy, "c", "/block").await.unwrap()), Some(403));
}

/// One connection over a stream that the user brings.
#[tokio::test]
async fn a_stream_that_is_brought_serves_too() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = PeerProxy::start(dir.path()).await;
    let io = UnixStream::connect(&proxy.path).await.unwrap();
    let handler = OurHandler::default();
    let (controller, runner) = Agent::new(config(registration(AGENT)), handler).serve_stream(io).spawn();
    proxy.joined(AGENT).await;
    assert_eq!(status(&ask(&proxy, "c", "/block").await.unwrap()), Some(403));
    controller.shutdown();
    assert_eq!(soon("the end", runner).await.unwrap(), Ok(()));
}

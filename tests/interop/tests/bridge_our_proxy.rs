//! The peer's own agent server joins our proxy through a bridge, over TCP and TLS, in both encodings.

use std::time::Duration;

use dialback::machine::{CloseReason, KeepaliveLimits};
use dialback::net::{AgentHandle, AskError, BridgeConfig, BridgeError, BridgeState, Listener};
use dialback::session::bridge::OnAgentLoss;
use dialback::wire::{
    Answer, BodyMutation, Configure, Decision, Encoding, GuardrailInspect, HeaderOp, InspectionType,
    RequestBodyChunk, RequestComplete, RequestHeaders, ResponseBodyChunk, ResponseHeaders, WebSocketDecision,
    WebSocketFrame, WebSocketOpcode,
};
use dialback_interop::agent::{ALL_EVENTS, PeerAgent};
use dialback_interop::bridged::{Certificate, OurBridge, accept, config};
use dialback_interop::events::{BINARY, base64};
use dialback_interop::{soon, until};
use serde_json::json;

const ANY: &str = "127.0.0.1:0";

/// The peer's agent, bridged to our proxy.
struct Site {
    agent: PeerAgent,
    bridge: OurBridge,
    listener: Listener,
    certificate: Certificate,
    dir: tempfile::TempDir,
}

impl Site {
    async fn open(encoding: Encoding) -> (Self, AgentHandle) {
        let mut config = config();
        config.session.encodings = vec![encoding];
        Self::with(config, encoding).await
    }

    async fn with(config: BridgeConfig, encoding: Encoding) -> (Self, AgentHandle) {
        let dir = tempfile::tempdir().unwrap();
        let agent = PeerAgent::start(dir.path()).await;
        let certificate = Certificate::new();
        let listener = certificate.listen(ANY.parse().unwrap(), encoding).await;
        let target = certificate.target(listener.local_addr().unwrap());
        let bridge = OurBridge::start(config, &agent.path, target);
        let handle = accept(&listener).await;
        assert_eq!(handle.encoding().name(), encoding.name());
        (Self { agent, bridge, listener, certificate, dir }, handle)
    }
}

/// Runs each scenario in a test of its own for each encoding.
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
    the_registration_says_what_the_agent_said
    every_kind_of_event_is_answered
    everything_an_answer_can_say_arrives
    body_bytes_survive_both_ways
    concurrent_requests_get_their_own_answers
    a_late_answer_is_no_verdict_on_the_next_event
    an_agent_that_dies_answers_with_blocks_and_comes_back
    a_proxy_that_dies_is_joined_again
    a_bridge_that_dies_leaves_the_agent_serving
    a_shutdown_waits_for_the_answer
}

fn block(answer: &Answer) -> Option<u16> {
    match &answer.decision {
        Decision::Block { status, .. } => Some(*status),
        Decision::Allow | Decision::Redirect { .. } | Decision::Challenge { .. } => None,
    }
}

async fn ask(handle: &AgentHandle, id: &str, uri: &str) -> Result<Answer, AskError> {
    soon("an answer", handle.request_headers(RequestHeaders::new(id, "GET", uri)).into_future()).await
}

async fn the_registration_says_what_the_agent_said(encoding: Encoding) {
    let mut config = config();
    config.session.encodings = vec![encoding];
    config.session.agent_config = Some(json!({"level": 3}));
    config.session.agent_id = Some("edge-1".into());
    config.session.metadata = Some(json!({"site": "home"}));
    let (site, handle) = Site::with(config, encoding).await;
    assert_eq!(handle.agent_id(), "edge-1");
    assert_eq!(handle.metadata(), Some(&json!({"site": "home"})));
    let capabilities = handle.capabilities();
    assert_eq!((capabilities.name.as_str(), capabilities.version.as_str()), ("Peer Agent", "1.2.3"));
    assert_eq!(capabilities.limits.max_concurrency, 8);
    assert_eq!(site.agent.saw("handshake"), [r#"dialback-bridge {"level":3}"#]);
}

async fn every_kind_of_event_is_answered(encoding: Encoding) {
    let (site, handle) = Site::open(encoding).await;
    let allowed =
        |answer: Result<Answer, AskError>| assert!(answer.as_ref().unwrap().is_allow(), "{answer:?}");
    allowed(ask(&handle, "c", "/").await);
    allowed(handle.request_body_chunk(RequestBodyChunk::new("c", "body")).await);
    allowed(handle.response_headers(ResponseHeaders::new("c", 200)).await);
    allowed(handle.response_body_chunk(ResponseBodyChunk::new("c", "body")).await);
    let frame = WebSocketFrame::new("c", WebSocketOpcode::Binary, &[1, 0xff]);
    allowed(handle.websocket_frame(frame).await);
    let complete = RequestComplete { duration_ms: 12, ..RequestComplete::new("c", 201) };
    allowed(handle.request_complete(complete).await);
    let configure =
        Configure { config_version: Some("v9".into()), ..Configure::new("k", json!({"a": [1, null]})) };
    allowed(handle.configure(configure).await);

    let body = format!("chunk 0 last=false {}", base64(b"body"));
    let expected = [
        "request headers GET /".to_string(),
        format!("request {body}"),
        "response headers 200".to_string(),
        format!("response {body}"),
        "websocket binary [1, 255]".to_string(),
        "complete 201 12 ms".to_string(),
    ];
    assert_eq!(site.agent.saw("c"), expected);
    assert_eq!(site.agent.saw("configure"), [r#"{"a":[1,null]} Some("v9")"#]);
    // The one kind that the peer's server does not handle, though its capabilities name it.
    let inspect = GuardrailInspect::new("g", InspectionType::PiiDetection, "content");
    let unhandled = handle.guardrail_inspect(inspect).timeout(Duration::from_millis(100)).await;
    assert!(matches!(unhandled, Err(AskError::TimedOut)), "{unhandled:?}");
    allowed(ask(&handle, "d", "/").await);
}

async fn everything_an_answer_can_say_arrives(encoding: Encoding) {
    let (_site, handle) = Site::open(encoding).await;
    let redirect = ask(&handle, "redirect", "/redirect").await.unwrap().decision;
    assert_eq!(redirect, Answer::redirect("https://login.example/", 307).decision);
    assert!(matches!(ask(&handle, "x", "/challenge").await.unwrap().decision, Decision::Challenge { .. }));
    assert!(ask(&handle, "more", "/more").await.unwrap().needs_more);
    assert_eq!(block(&ask(&handle, "block", "/block").await.unwrap()), Some(403));
    let answer = ask(&handle, "c", "/rewrite").await.unwrap();
    assert_eq!(answer.request_headers.len(), 3);
    assert_eq!(answer.response_headers, [HeaderOp::set("x-answer", "1")]);
    assert_eq!(answer.routing_metadata["pool"], "b");
    assert_eq!((answer.audit.confidence, answer.audit.custom["depth"].as_u64()), (Some(0.5), Some(3)));
    let frame = async |bytes: &[u8]| {
        let frame = WebSocketFrame::new("w", WebSocketOpcode::Text, bytes);
        handle.websocket_frame(frame).await.unwrap().websocket_decision
    };
    assert_eq!(frame(b"drop").await, Some(WebSocketDecision::Drop));
    assert!(matches!(frame(b"close").await, Some(WebSocketDecision::Close { code: 1008, .. })));
}

async fn body_bytes_survive_both_ways(encoding: Encoding) {
    let (_site, handle) = Site::open(encoding).await;
    // Larger than all that waits anywhere on the way, so that both directions are held back at times.
    let large: Vec<u8> = (0..=255).cycle().take(1_500_000).collect();
    for (index, bytes) in [b"text".as_slice(), b"gone", BINARY, b"", &large].into_iter().enumerate() {
        let index = u32::try_from(index).unwrap();
        let turned: Vec<u8> = bytes.iter().rev().copied().collect();
        let expected = match index {
            0 => BodyMutation::unchanged(0),
            1 => BodyMutation::drop_chunk(1),
            _ => BodyMutation::replace(index, turned),
        };
        let chunk = RequestBodyChunk { chunk_index: index, ..RequestBodyChunk::new("c", bytes) };
        let answer = soon("an answer", handle.request_body_chunk(chunk).into_future()).await.unwrap();
        assert_eq!(answer.request_body_mutation.as_ref(), Some(&expected));
        let chunk = ResponseBodyChunk { chunk_index: index, ..ResponseBodyChunk::new("c", bytes) };
        let answer = soon("an answer", handle.response_body_chunk(chunk).into_future()).await.unwrap();
        assert_eq!(answer.response_body_mutation, Some(expected));
    }
}

async fn concurrent_requests_get_their_own_answers(encoding: Encoding) {
    let (_site, handle) = Site::open(encoding).await;
    let mut asked = Vec::new();
    for number in 0..200 {
        let handle = handle.clone();
        asked.push(tokio::spawn(async move {
            let (id, uri) = (format!("c{number}"), ["/block", "/"][number % 2]);
            let answer = ask(&handle, &id, uri).await.unwrap();
            assert_eq!(answer.audit.correlation_id(), Some(id.as_str()));
            assert_eq!(block(&answer), (uri == "/block").then_some(403));
        }));
    }
    for one in asked {
        soon("an answer", one).await.unwrap();
    }
    assert_eq!((handle.in_flight(), handle.stats().totals.answered), (0, 200));
}

async fn a_late_answer_is_no_verdict_on_the_next_event(encoding: Encoding) {
    let (_site, handle) = Site::open(encoding).await;
    let slow = handle.request_headers(RequestHeaders::new("c", "GET", "/slow"));
    let error = slow.timeout(Duration::from_millis(100)).await.unwrap_err();
    assert!(matches!(error, AskError::TimedOut), "{error}");
    let chunk = RequestBodyChunk { chunk_index: 1, ..RequestBodyChunk::new("c", "x") };
    let answer = soon("an answer", handle.request_body_chunk(chunk).into_future()).await.unwrap();
    assert_eq!(answer.request_body_mutation, Some(BodyMutation::drop_chunk(1)));
    assert_eq!(handle.stats().totals.late_answers, 1);
}

/// Asks for verdicts until told to stop. Every one must be the agent's block or the bridge's, or an
/// error; none may be an allow. How many were the agent's.
async fn demand(handle: AgentHandle, name: String) -> usize {
    let mut answered = 0;
    for number in 0.. {
        match ask(&handle, &format!("{name}-{number}"), "/block").await {
            Ok(answer) => match (block(&answer), answer.audit.reason_codes.first().map(String::as_str)) {
                (Some(403), None) => answered += 1,
                (Some(503), Some("agent_lost")) => {}
                other => panic!("nobody decided {other:?}"),
            },
            Err(_) => break,
        }
    }
    answered
}

async fn an_agent_that_dies_answers_with_blocks_and_comes_back(encoding: Encoding) {
    let (mut site, mut handle) = Site::open(encoding).await;
    for _ in 0..3 {
        let hanging = handle.request_headers(RequestHeaders::new("h", "GET", "/hang")).send().unwrap();
        until("the agent has it", || !site.agent.saw("h").is_empty()).await;
        let demands: Vec<_> = (0..4).map(|n| tokio::spawn(demand(handle.clone(), format!("d{n}")))).collect();
        site.agent.process.kill();
        let answer = soon("the end", hanging).await.unwrap();
        assert_eq!(
            (block(&answer), &*answer.audit.reason_codes),
            (Some(503), &["agent_lost".to_string()][..])
        );
        for demand in demands {
            soon("the end", demand).await.unwrap();
        }
        let end = soon("the end", handle.closed()).await;
        assert_eq!(end, CloseReason::PeerDrained, "it was told that the agent goes");
        site.agent = PeerAgent::start(site.dir.path()).await;
        handle = accept(&site.listener).await;
        assert_eq!(block(&ask(&handle, "again", "/block").await.unwrap()), Some(403));
        assert_eq!(site.agent.saw("again").len(), 1);
    }
}

async fn a_proxy_that_dies_is_joined_again(encoding: Encoding) {
    let (mut site, handle) = Site::open(encoding).await;
    for round in 0..3 {
        let handle = if round == 0 { handle.clone() } else { accept(&site.listener).await };
        let hanging = handle.request_headers(RequestHeaders::new("h", "GET", "/slow")).send().unwrap();
        let seen = site.agent.saw("h").len();
        until("the agent has it", || site.agent.saw("h").len() > seen || seen > round).await;
        let addr = site.listener.local_addr().unwrap();
        handle.close();
        let error = soon("the end", hanging).await.unwrap_err();
        assert!(error.was_written(), "{error}");
        drop(site.listener);
        // Nobody is there for a while.
        until("the bridge notices", || site.bridge.controller.state() != BridgeState::Open).await;
        site.listener = site.certificate.listen(addr, encoding).await;
    }
    let handle = accept(&site.listener).await;
    assert_eq!(block(&ask(&handle, "again", "/block").await.unwrap()), Some(403));
}

async fn a_bridge_that_dies_leaves_the_agent_serving(encoding: Encoding) {
    let (site, handle) = Site::open(encoding).await;
    let hanging = handle.request_headers(RequestHeaders::new("h", "GET", "/slow")).send().unwrap();
    until("the agent has it", || !site.agent.saw("h").is_empty()).await;
    site.bridge.process.kill();
    let error = soon("the end", hanging).await.unwrap_err();
    assert!(error.was_written(), "{error}");
    let mut config = config();
    config.session.encodings = vec![encoding];
    let target = site.certificate.target(site.listener.local_addr().unwrap());
    let _bridge = OurBridge::start(config, &site.agent.path, target);
    let handle = accept(&site.listener).await;
    assert_eq!(block(&ask(&handle, "again", "/block").await.unwrap()), Some(403));
}

async fn a_shutdown_waits_for_the_answer(encoding: Encoding) {
    let (site, handle) = Site::open(encoding).await;
    let slow = handle.request_headers(RequestHeaders::new("c", "GET", "/slow")).send().unwrap();
    until("the agent has it", || !site.agent.saw("c").is_empty()).await;
    site.bridge.controller.shutdown();
    assert!(soon("the answer", slow).await.unwrap().is_allow());
    let end = soon("the end", handle.closed()).await;
    assert_eq!(end, CloseReason::PeerDrained);
    until("it has counted", || site.bridge.controller.stats().answers == 1).await;
    assert_eq!(site.bridge.controller.stats().blocked, 0);
}

#[tokio::test]
async fn by_choice_an_agent_that_dies_is_left_to_the_proxy() {
    let mut config = config();
    config.session.on_agent_loss = OnAgentLoss::Close;
    let (site, handle) = Site::with(config, Encoding::Json).await;
    let hanging = handle.request_headers(RequestHeaders::new("h", "GET", "/hang")).send().unwrap();
    until("the agent has it", || !site.agent.saw("h").is_empty()).await;
    site.agent.process.kill();
    let error = soon("the end", hanging).await.unwrap_err();
    assert!(error.was_written() && matches!(error, AskError::ConnectionLost { .. }), "{error}");
}

#[tokio::test]
async fn an_agent_that_takes_messagepack_joins_a_proxy_that_does_not() {
    let mut config = config();
    config.session.encodings = vec![Encoding::MessagePack];
    // The first connection only shows that the two don't match.
    let (site, handle) = Site::with(config, Encoding::Json).await;
    soon("the end", handle.closed()).await;
    let handle = accept(&site.listener).await;
    assert_eq!(block(&ask(&handle, "c", "/block").await.unwrap()), Some(403));
}

/// The peer's server answers no ping while its handler runs.
#[tokio::test]
async fn an_agent_that_works_longer_than_the_keepalive_waits_is_not_given_up() {
    let mut config = config();
    let short = Duration::from_millis(20);
    config.session.limits.agent_keepalive =
        KeepaliveLimits { interval: Some(short), timeout: short, ..KeepaliveLimits::default() };
    let (_site, handle) = Site::with(config, Encoding::Json).await;
    assert!(ask(&handle, "c", "/slow").await.unwrap().is_allow());
    assert_eq!(block(&ask(&handle, "d", "/block").await.unwrap()), Some(403));
    assert!(!handle.is_closed());
}

#[tokio::test]
async fn an_agent_that_refuses_is_told_of_in_its_words() {
    let dir = tempfile::tempdir().unwrap();
    let agent = PeerAgent::with(dir.path(), Some("not today".into()), ALL_EVENTS.to_vec()).await;
    let certificate = Certificate::new();
    let listener = certificate.listen(ANY.parse().unwrap(), Encoding::Json).await;
    let mut config = config();
    config.retry_refusals = None;
    let target = certificate.target(listener.local_addr().unwrap());
    let bridge = dialback::net::Bridge::new(config, dialback::net::Target::unix(&agent.path), target);
    let error = soon("the refusal", bridge.run()).await.unwrap_err();
    assert!(
        matches!(&error, BridgeError::Refused(words) if words.contains("agent") && words.contains("not today"))
    );
}

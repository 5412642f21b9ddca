//! Our proxy dials the published peer's agent server: the forward handshake, in both encodings.

use std::collections::BTreeMap;
use std::time::Duration;

use dialback::machine::{CloseReason, ConnectionState, OwedLimits, SubmitError};
use dialback::net::{AcceptError, AgentHandle, AskError, dial_forward};
use dialback::session::ProxySettings;
use dialback::wire::{
    Answer, BodyMutation, CancelReason, Configure, Decision, Encoding, EventKind, GuardrailInspect, HeaderOp,
    InspectionType, RequestBodyChunk, RequestComplete, RequestHeaders, ResponseBodyChunk, ResponseHeaders,
    WebSocketDecision, WebSocketFrame, WebSocketOpcode,
};
use dialback_interop::agent::{ALL_EVENTS, PeerAgent};
use dialback_interop::events::{BINARY, base64};
use dialback_interop::{soon, until};
use serde_json::json;
use tokio::net::UnixStream;
use tokio::time::Instant;
use zentinel_agent_protocol::EventType;

/// Short, beside the time that a slow answer takes, which is 400 ms.
const SHORT: Duration = Duration::from_millis(100);

fn settings(encoding: Encoding) -> ProxySettings {
    ProxySettings { encodings: vec![encoding], proxy_id: "our-proxy".into(), ..ProxySettings::default() }
}

async fn dial_with(agent: &PeerAgent, settings: ProxySettings) -> Result<AgentHandle, AcceptError> {
    let io = UnixStream::connect(&agent.path).await.unwrap();
    let config = Some(json!({"level": 3}));
    soon("the handshake", dial_forward(io, settings, config, Duration::from_secs(5))).await
}

async fn dial(agent: &PeerAgent, encoding: Encoding) -> AgentHandle {
    let handle = dial_with(agent, settings(encoding)).await.unwrap();
    assert_eq!(handle.encoding().name(), encoding.name(), "the encoding that was asked for");
    handle
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
    the_handshake_tells_both_sides
    a_refused_handshake_is_told_in_the_peers_words
    every_kind_of_event_is_answered
    every_decision_arrives
    everything_an_answer_can_change_arrives
    body_bytes_survive_both_ways
    concurrent_requests_get_their_own_answers
    a_cancelled_request_keeps_its_id_shut_until_the_late_answer
    a_dropped_caller_cancels
    a_late_answer_is_no_verdict_on_the_next_event
    an_unhandled_guardrail_event_times_out_and_disturbs_nobody
    an_agent_that_owes_answers_too_long_is_closed
    an_event_the_agent_did_not_ask_for_is_not_sent
    the_agents_death_ends_what_is_in_flight_at_once
    the_proxys_end_leaves_the_agent_serving
    a_drain_waits_for_the_answer
    pings_keep_an_idle_connection
}

async fn the_handshake_tells_both_sides(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = PeerAgent::start(dir.path()).await;
    let handle = dial(&agent, encoding).await;
    assert_eq!(agent.saw("handshake"), [r#"our-proxy {"level":3}"#]);
    let capabilities = handle.capabilities();
    assert_eq!((capabilities.agent_id.as_str(), capabilities.version.as_str()), ("peer-agent", "1.2.3"));
    assert_eq!(capabilities.limits.max_concurrency, 8);
    assert!(capabilities.features.cancellation && capabilities.features.streaming_body);
    assert!(EventKind::ALL.into_iter().all(|kind| capabilities.supports(kind)));
    assert_eq!(handle.agent_id(), "peer-agent");
    assert_eq!(handle.state(), ConnectionState::Open);
}

async fn a_refused_handshake_is_told_in_the_peers_words(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = PeerAgent::with(dir.path(), Some("not today".into()), ALL_EVENTS.to_vec()).await;
    let error = dial_with(&agent, settings(encoding)).await.unwrap_err();
    assert_eq!(error, AcceptError::Closed(CloseReason::Refused("not today".into())));
}

async fn every_kind_of_event_is_answered(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = PeerAgent::start(dir.path()).await;
    let handle = dial(&agent, encoding).await;

    let allowed = |answer: &Answer| assert!(answer.is_allow(), "{answer:?}");
    allowed(&handle.request_headers(RequestHeaders::new("c", "POST", "/")).await.unwrap());
    allowed(&handle.request_body_chunk(RequestBodyChunk::new("c", "body")).await.unwrap());
    allowed(&handle.response_headers(ResponseHeaders::new("c", 200)).await.unwrap());
    allowed(&handle.response_body_chunk(ResponseBodyChunk::new("c", "body")).await.unwrap());
    let frame = WebSocketFrame::new("c", WebSocketOpcode::Binary, &[1, 0xff]);
    allowed(&handle.websocket_frame(frame).await.unwrap());
    let complete = RequestComplete { duration_ms: 12, ..RequestComplete::new("c", 201) };
    allowed(&handle.request_complete(complete).await.unwrap());
    let configure =
        Configure { config_version: Some("v9".into()), ..Configure::new("k", json!({"a": [1, null]})) };
    allowed(&handle.configure(configure).await.unwrap());

    let body = format!("chunk 0 last=false {}", base64(b"body"));
    let expected = [
        "request headers POST /".to_string(),
        format!("request {body}"),
        "response headers 200".to_string(),
        format!("response {body}"),
        "websocket binary [1, 255]".to_string(),
        "complete 201 12 ms".to_string(),
    ];
    assert_eq!(agent.saw("c"), expected);
    assert_eq!(agent.saw("configure"), [r#"{"a":[1,null]} Some("v9")"#]);
    assert_eq!((handle.in_flight(), handle.stats().totals.answered), (0, 7));
}

async fn every_decision_arrives(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = PeerAgent::start(dir.path()).await;
    let handle = dial(&agent, encoding).await;
    let decide =
        async |uri: &str| handle.request_headers(RequestHeaders::new(uri, "GET", uri)).await.unwrap();

    assert_eq!(decide("/allow").await.decision, Decision::Allow);
    let block = Decision::Block {
        status: 403,
        body: Some("no entry".into()),
        headers: Some(BTreeMap::from([("x-why".into(), "rule 7".into())])),
    };
    assert_eq!(decide("/block").await.decision, block);
    let redirect = Decision::Redirect { url: "https://login.example/".into(), status: 307 };
    assert_eq!(decide("/redirect").await.decision, redirect);
    let challenge = Decision::Challenge {
        challenge_type: "captcha".into(),
        params: BTreeMap::from([("site".into(), "key".into())]),
    };
    assert_eq!(decide("/challenge").await.decision, challenge);
    let more = decide("/more").await;
    assert!(more.needs_more && more.is_allow());

    let frame = async |text: &str| {
        let frame = WebSocketFrame::new("w", WebSocketOpcode::Text, text);
        handle.websocket_frame(frame).await.unwrap().websocket_decision
    };
    assert_eq!(frame("hello").await, Some(WebSocketDecision::Allow));
    assert_eq!(frame("drop").await, Some(WebSocketDecision::Drop));
    let close = WebSocketDecision::Close { code: 1008, reason: "policy".into() };
    assert_eq!(frame("close").await, Some(close));

    let rejected = handle.configure(Configure::new("k", json!({"valid": false}))).await.unwrap();
    assert!(matches!(rejected.decision, Decision::Block { status: 500, .. }), "{rejected:?}");
}

async fn everything_an_answer_can_change_arrives(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = PeerAgent::start(dir.path()).await;
    let handle = dial(&agent, encoding).await;
    let mut event = RequestHeaders::new("c", "GET", "/rewrite");
    event.push_header("x-two", b"a");
    event.push_header("x-two", b"b");
    let answer = handle.request_headers(event).await.unwrap();

    let ops = [HeaderOp::set("x-set", "a+b"), HeaderOp::add("x-add", "ä"), HeaderOp::remove("cookie")];
    assert_eq!(answer.request_headers, ops);
    assert_eq!(answer.response_headers, [HeaderOp::set("x-answer", "1")]);
    assert_eq!(answer.routing_metadata, BTreeMap::from([("pool".into(), "b".into())]));
    assert_eq!((&*answer.audit.tags, &*answer.audit.rule_ids), (&["seen".into()][..], &["r1".into()][..]));
    assert_eq!(answer.audit.confidence, Some(0.5));
    assert_eq!(answer.audit.reason_codes, ["because"]);
    assert_eq!(answer.audit.custom.get("depth"), Some(&json!(3)));
    assert_eq!(answer.audit.correlation_id(), Some("c"));

    let answer = handle.response_headers(ResponseHeaders::new("c", 502)).await.unwrap();
    assert_eq!(answer.response_headers, [HeaderOp::remove("server")]);
}

async fn body_bytes_survive_both_ways(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = PeerAgent::start(dir.path()).await;
    let handle = dial(&agent, encoding).await;
    let turned = |bytes: &[u8]| bytes.iter().rev().copied().collect::<Vec<_>>();
    let large: Vec<u8> = (0..=255).cycle().take(300_000).collect();

    for (index, bytes) in [b"text".as_slice(), b"gone", BINARY, b"", &large].into_iter().enumerate() {
        let index = u32::try_from(index).unwrap();
        let expected = match index {
            0 => BodyMutation::unchanged(0),
            1 => BodyMutation::drop_chunk(1),
            _ => BodyMutation::replace(index, turned(bytes)),
        };
        let chunk =
            RequestBodyChunk { chunk_index: index, is_last: true, ..RequestBodyChunk::new("c", bytes) };
        let answer = handle.request_body_chunk(chunk).await.unwrap();
        assert_eq!(answer.request_body_mutation, Some(expected.clone()));
        let line = format!("request chunk {index} last=true {}", base64(bytes));
        assert!(agent.saw("c").contains(&line), "the peer's handler reads the bytes as they were sent");

        let chunk =
            ResponseBodyChunk { chunk_index: index, is_last: true, ..ResponseBodyChunk::new("c", bytes) };
        let answer = handle.response_body_chunk(chunk).await.unwrap();
        assert_eq!(answer.response_body_mutation, Some(expected));
        assert!(agent.saw("c").contains(&format!("response chunk {index} last=true {}", base64(bytes))));
    }
}

/// The peer's server handles one event at a time and says that it takes eight.
async fn concurrent_requests_get_their_own_answers(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = PeerAgent::start(dir.path()).await;
    let handle = dial(&agent, encoding).await;
    let mut asked = Vec::new();
    for number in 0..200 {
        let mut event = RequestHeaders::new(format!("c{number}"), "GET", "/rewrite");
        event.push_header("x-two", number.to_string().as_bytes());
        asked.push((number, handle.request_headers(event).send().unwrap()));
        assert!(handle.in_flight() <= 8, "never more than the agent takes");
    }
    assert!(handle.stats().waiting > 0);
    for (number, pending) in asked {
        let answer = soon("an answer", pending).await.unwrap();
        assert_eq!(answer.request_headers.first(), Some(&HeaderOp::set("x-set", number.to_string())));
        assert!(handle.in_flight() <= 8);
    }
    assert_eq!((handle.in_flight(), handle.stats().waiting), (0, 0));
}

async fn a_cancelled_request_keeps_its_id_shut_until_the_late_answer(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = PeerAgent::start(dir.path()).await;
    let handle = dial(&agent, encoding).await;
    let slow = handle.request_headers(RequestHeaders::new("c", "GET", "/slow")).send().unwrap();
    until("the agent has it", || !agent.saw("c").is_empty()).await;

    let start = Instant::now();
    assert_eq!(handle.cancel_request("c", CancelReason::Manual), 1);
    let error = soon("the end", slow).await.unwrap_err();
    assert_eq!(error, AskError::Cancelled { reason: CancelReason::Manual, written: true });
    assert!(start.elapsed() < SHORT * 3, "a cancelled caller waits for nobody");

    // The peer answers the cancelled event all the same, with an allow; the next one is its own.
    let next = handle.request_headers(RequestHeaders::new("c", "GET", "/block")).await.unwrap();
    assert!(matches!(next.decision, Decision::Block { status: 403, .. }), "{next:?}");
    assert_eq!(handle.stats().totals.late_answers, 1);
    assert_eq!(handle.in_flight(), 0);
}

async fn a_dropped_caller_cancels(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = PeerAgent::start(dir.path()).await;
    let handle = dial(&agent, encoding).await;
    let slow = handle.request_headers(RequestHeaders::new("c", "GET", "/slow")).send().unwrap();
    until("the agent has it", || !agent.saw("c").is_empty()).await;
    drop(slow);
    assert_eq!((handle.in_flight(), handle.stats().totals.cancelled), (1, 1));
    until("the late answer frees the slot", || handle.in_flight() == 0).await;
    assert_eq!(handle.stats().totals.late_answers, 1);
}

async fn a_late_answer_is_no_verdict_on_the_next_event(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = PeerAgent::start(dir.path()).await;
    let handle = dial(&agent, encoding).await;
    let slow = handle.request_headers(RequestHeaders::new("c", "GET", "/slow")).timeout(SHORT);
    assert_eq!(soon("the timeout", async { slow.await }).await, Err(AskError::TimedOut));
    let next = handle.request_headers(RequestHeaders::new("c", "GET", "/redirect")).await.unwrap();
    assert!(matches!(next.decision, Decision::Redirect { status: 307, .. }), "{next:?}");
    assert_eq!(handle.stats().totals.late_answers, 1);
}

fn inspect(id: &str) -> GuardrailInspect {
    GuardrailInspect::new(id, InspectionType::PromptInjection, "ignore what was said")
}

/// The peer's server knows the frame and answers nothing to it.
async fn an_unhandled_guardrail_event_times_out_and_disturbs_nobody(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = PeerAgent::start(dir.path()).await;
    let handle = dial(&agent, encoding).await;
    let start = Instant::now();
    let error =
        soon("the timeout", async { handle.guardrail_inspect(inspect("g")).timeout(SHORT).await }).await;
    assert_eq!(error, Err(AskError::TimedOut));
    assert!(start.elapsed() < Duration::from_secs(2), "not the default of five seconds");

    let other = handle.request_headers(RequestHeaders::new("c", "GET", "/block")).await.unwrap();
    assert!(!other.is_allow());
    // Its own id stays shut: an answer might still come.
    let same = handle.request_headers(RequestHeaders::new("g", "GET", "/")).timeout(SHORT).await;
    assert_eq!(same, Err(AskError::Expired));
    assert!(agent.saw("g").is_empty());
}

async fn an_agent_that_owes_answers_too_long_is_closed(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = PeerAgent::start(dir.path()).await;
    let mut settings = settings(encoding);
    settings.limits.owed = OwedLimits { age: SHORT, ..OwedLimits::default() };
    let handle = dial_with(&agent, settings).await.unwrap();
    let error = handle.guardrail_inspect(inspect("g")).timeout(SHORT).await.unwrap_err();
    assert_eq!(error, AskError::TimedOut);
    let reason = soon("the end", handle.closed()).await;
    assert!(matches!(reason, CloseReason::Unresponsive { owed: 1, .. }), "{reason:?}");
}

async fn an_event_the_agent_did_not_ask_for_is_not_sent(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = PeerAgent::with(dir.path(), None, vec![EventType::RequestHeaders]).await;
    let handle = dial(&agent, encoding).await;
    let error = handle.guardrail_inspect(inspect("g")).await.unwrap_err();
    assert_eq!(error, AskError::Refused(SubmitError::Unsupported(EventKind::GuardrailInspect)));
    assert!(!error.was_written());
    assert!(handle.request_headers(RequestHeaders::new("c", "GET", "/")).await.unwrap().is_allow());
}

async fn the_agents_death_ends_what_is_in_flight_at_once(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = PeerAgent::start(dir.path()).await;
    let handle = dial(&agent, encoding).await;
    let hanging: Vec<_> = ["a", "b"]
        .into_iter()
        .map(|id| handle.request_headers(RequestHeaders::new(id, "GET", "/hang")).send().unwrap())
        .collect();
    until("the agent has the first", || !agent.saw("a").is_empty()).await;

    let start = Instant::now();
    agent.process.kill();
    for pending in hanging {
        let error = soon("the end", pending).await.unwrap_err();
        assert!(matches!(error, AskError::ConnectionLost { written: true, .. }), "{error:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(1), "not the request's timeout");
    let reason = soon("the end", handle.closed()).await;
    assert!(matches!(reason, CloseReason::PeerClosed | CloseReason::TransportLost), "{reason:?}");
    let error = handle.request_headers(RequestHeaders::new("c", "GET", "/")).await.unwrap_err();
    assert_eq!(error, AskError::Refused(SubmitError::Closed));

    let agent = PeerAgent::start(dir.path()).await;
    let handle = dial(&agent, encoding).await;
    assert!(handle.request_headers(RequestHeaders::new("c", "GET", "/")).await.unwrap().is_allow());
}

async fn the_proxys_end_leaves_the_agent_serving(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = PeerAgent::start(dir.path()).await;
    let handle = dial(&agent, encoding).await;
    let slow = handle.request_headers(RequestHeaders::new("c", "GET", "/slow")).send().unwrap();
    until("the agent has it", || !agent.saw("c").is_empty()).await;
    handle.close();
    let error = soon("the end", slow).await.unwrap_err();
    assert_eq!(error, AskError::ConnectionLost { written: true, reason: Some(CloseReason::Closed) });
    assert_eq!(soon("the end", handle.closed()).await, CloseReason::Closed);

    let handle = dial(&agent, encoding).await;
    assert!(handle.request_headers(RequestHeaders::new("c", "GET", "/")).await.unwrap().is_allow());
}

async fn a_drain_waits_for_the_answer(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = PeerAgent::start(dir.path()).await;
    let handle = dial(&agent, encoding).await;
    let slow = handle.request_headers(RequestHeaders::new("c", "GET", "/slow")).send().unwrap();
    until("the agent has it", || !agent.saw("c").is_empty()).await;
    let (reason, answer) =
        soon("the drain", async { tokio::join!(handle.drain(Duration::from_secs(5)), slow) }).await;
    assert_eq!(reason, CloseReason::Drained);
    assert!(answer.unwrap().is_allow());
}

async fn pings_keep_an_idle_connection(encoding: Encoding) {
    let dir = tempfile::tempdir().unwrap();
    let agent = PeerAgent::start(dir.path()).await;
    let mut settings = settings(encoding);
    settings.limits.keepalive.interval = Some(SHORT / 2);
    settings.limits.keepalive.timeout = Duration::from_secs(2);
    let handle = dial_with(&agent, settings).await.unwrap();
    until("several pings are answered", || handle.stats().totals.pings >= 4).await;
    assert!(handle.request_headers(RequestHeaders::new("c", "GET", "/")).await.unwrap().is_allow());
}

//! The peer's own agent server joins the peer's own listener and pool through our bridge.

use std::sync::Arc;
use std::time::Duration;

use dialback::net::{BridgeConfig, Target};
use dialback_interop::agent::PeerAgent;
use dialback_interop::bridged::{OurBridge, config};
use dialback_interop::events::{
    BINARY, base64, request_chunk, request_headers, response_chunk, response_headers, websocket_frame,
};
use dialback_interop::proxy::PeerProxy;
use dialback_interop::{PATIENCE, soon, until};
use tokio::time::{Instant, sleep};
use zentinel_agent_protocol::{
    AgentProtocolError, AgentResponse, BodyMutation, Decision, HeaderOp, WebSocketDecision,
};

const AGENT: &str = "peer-agent";

struct Site {
    agent: PeerAgent,
    bridge: OurBridge,
    proxy: PeerProxy,
    dir: tempfile::TempDir,
}

async fn open() -> Site {
    open_with(config()).await
}

async fn open_with(config: BridgeConfig) -> Site {
    let dir = tempfile::tempdir().unwrap();
    let agent = PeerAgent::start(dir.path()).await;
    let proxy = PeerProxy::start(dir.path()).await;
    let bridge = OurBridge::start(config, &agent.path, Target::unix(&proxy.path));
    proxy.joined(AGENT).await;
    Site { agent, bridge, proxy, dir }
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

/// Asks until one request is answered by the agent. The peer keeps dead connections in its pool and
/// goes on sending to them in turn, so some of these fail.
async fn until_answered(proxy: &PeerProxy) {
    let deadline = Instant::now() + PATIENCE;
    for number in 0.. {
        let id = format!("again{number}");
        let answer = proxy.pool.send_request_headers(AGENT, &id, &request_headers(&id, "/block")).await;
        if answer.as_ref().ok().and_then(status) == Some(403) {
            return;
        }
        assert!(!answer.is_ok_and(|answer| answer.decision == Decision::Allow), "nobody allowed this");
        assert!(Instant::now() < deadline, "no request was answered after the agent came back");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn every_kind_of_event_is_answered() {
    let site = open().await;
    let pool = &site.proxy.pool;
    let capabilities = pool.agent_capabilities(AGENT).await.unwrap();
    assert_eq!((capabilities.name.as_str(), capabilities.version.as_str()), ("Peer Agent", "1.2.3"));
    assert_eq!(ask(&site.proxy, "c", "/").await.unwrap().decision, Decision::Allow);
    pool.send_request_body_chunk(AGENT, "c", &request_chunk("c", 0, BINARY)).await.unwrap();
    let answer = pool.send_response_headers(AGENT, "c", &response_headers("c", 502)).await.unwrap();
    assert_eq!(answer.response_headers, [HeaderOp::Remove { name: "server".into() }]);
    let answer = pool.send_response_body_chunk(AGENT, "c", &response_chunk("c", 2, BINARY)).await.unwrap();
    let turned: Vec<u8> = BINARY.iter().rev().copied().collect();
    assert_eq!(answer.response_body_mutation, Some(BodyMutation::replace(2, base64(&turned))));
    let answer = pool.send_websocket_frame(AGENT, "c", &websocket_frame("c", "text", b"drop")).await.unwrap();
    assert_eq!(answer.websocket_decision, Some(WebSocketDecision::Drop));

    let body = base64(BINARY);
    let expected = [
        "request headers POST /".to_string(),
        format!("request chunk 0 last=true {body}"),
        "response headers 502".to_string(),
        format!("response chunk 2 last=true {body}"),
        format!("websocket text {:?}", b"drop"),
    ];
    assert_eq!(site.agent.saw("c"), expected);
}

#[tokio::test]
async fn every_decision_arrives() {
    let site = open().await;
    assert_eq!(status(&ask(&site.proxy, "block", "/block").await.unwrap()), Some(403));
    let redirect = Decision::Redirect { url: "https://login.example/".into(), status: 307 };
    assert_eq!(ask(&site.proxy, "redirect", "/redirect").await.unwrap().decision, redirect);
    assert!(matches!(
        ask(&site.proxy, "x", "/challenge").await.unwrap().decision,
        Decision::Challenge { .. }
    ));
    assert!(ask(&site.proxy, "more", "/more").await.unwrap().needs_more);
    let answer = ask(&site.proxy, "c", "/rewrite").await.unwrap();
    assert_eq!((answer.request_headers.len(), answer.audit.confidence), (3, Some(0.5)));
}

#[tokio::test]
async fn many_at_once_get_their_own_answers() {
    let site = open().await;
    let mut asked = Vec::new();
    for number in 0..100 {
        let (pool, id) = (Arc::clone(&site.proxy.pool), format!("c{number}"));
        asked.push(tokio::spawn(async move {
            let uri = ["/block", "/"][number % 2];
            let answer = pool.send_request_headers(AGENT, &id, &request_headers(&id, uri)).await.unwrap();
            assert_eq!(status(&answer), (uri == "/block").then_some(403));
        }));
    }
    for one in asked {
        soon("an answer", one).await.unwrap();
    }
}

/// Left to itself the peer would let its caller wait for the whole request timeout.
#[tokio::test]
async fn an_agent_that_dies_is_answered_for_at_once_and_comes_back() {
    let mut config = config();
    config.session.limits.orphan_linger = Duration::from_secs(3);
    let mut site = open_with(config).await;
    let pool = Arc::clone(&site.proxy.pool);
    let hanging =
        tokio::spawn(
            async move { pool.send_request_headers(AGENT, "h", &request_headers("h", "/hang")).await },
        );
    until("the agent has it", || !site.agent.saw("h").is_empty()).await;
    site.agent.process.kill();
    let answer = soon("the end", hanging).await.unwrap().unwrap();
    assert_eq!((status(&answer), answer.audit.reason_codes), (Some(503), vec!["agent_lost".to_string()]));
    // Nor does the peer notice now that the agent has gone.
    let late = ask(&site.proxy, "late", "/block").await.unwrap();
    assert_eq!((status(&late), late.audit.reason_codes), (Some(503), vec!["agent_lost".to_string()]));
    site.agent = PeerAgent::start(site.dir.path()).await;
    site.bridge.open().await;
    until_answered(&site.proxy).await;
}

#[tokio::test]
async fn a_proxy_that_dies_is_joined_again() {
    let mut site = open().await;
    for round in 0..3 {
        site.proxy.process.kill();
        until("the bridge notices", || site.bridge.controller.state() != dialback::net::BridgeState::Open)
            .await;
        site.proxy = PeerProxy::start(site.dir.path()).await;
        site.proxy.joined(AGENT).await;
        assert_eq!(status(&ask(&site.proxy, &format!("c{round}"), "/block").await.unwrap()), Some(403));
    }
    let _ = site.agent;
}

#[tokio::test]
async fn a_bridge_that_dies_leaves_both_as_they_were() {
    let site = open().await;
    assert_eq!(status(&ask(&site.proxy, "c", "/block").await.unwrap()), Some(403));
    site.bridge.process.kill();
    let _bridge = OurBridge::start(config(), &site.agent.path, Target::unix(&site.proxy.path));
    until_answered(&site.proxy).await;
}

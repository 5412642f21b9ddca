//! The agent's side, which upstream has none of in Rust.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dialback::machine::CloseReason;
use dialback::net::{Agent, AgentConfig, Backoff, Context, Handler};
use dialback::session::AgentSettings;
use dialback::wire::{
    Answer, Capabilities, EventKind, Registration, RegistrationResponse, RequestBodyChunk, RequestHeaders,
};
use serde_json::json;
use tokio::net::UnixListener;

use crate::raw::*;
use crate::site::*;

/// Blocks `/blocked`, remembers bodies, counts connections.
#[derive(Clone, Default)]
struct Guard {
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
    opened: Arc<AtomicUsize>,
}

impl Handler for Guard {
    async fn on_request_headers(&self, event: RequestHeaders, _: Context) -> Answer {
        if event.uri == "/blocked" { Answer::block(403) } else { Answer::allow() }
    }

    async fn on_request_body_chunk(&self, event: RequestBodyChunk, _: Context) -> Answer {
        self.bodies.lock().unwrap().push(event.data.to_vec());
        Answer::allow()
    }

    fn on_opened(&self, _: Option<&RegistrationResponse>) {
        self.opened.fetch_add(1, Ordering::SeqCst);
    }
}

fn agent() -> (Agent<Guard>, Guard) {
    let events = [EventKind::RequestHeaders, EventKind::RequestBodyChunk];
    let settings = AgentSettings::new(Registration::new(Capabilities::new("guard", events)));
    let mut config = AgentConfig::new(settings);
    config.reconnect =
        Backoff { min: Duration::from_millis(2), max: Duration::from_millis(20), ..Backoff::default() };
    let guard = Guard::default();
    (Agent::new(config, guard.clone()), guard)
}

/// Upstream: where an agent can't read an event, it allows the request.
///
/// Here: it blocks, and says that it could not read it. Whoever can hide an attack in an event
/// that can't be read gains nothing.
#[tokio::test]
// Rule: X-READ-1.
async fn an_unreadable_event_is_blocked() {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
    let (agent, guard) = agent();
    let (controller, task) = agent.run_unix(folder.path().join("socket")).spawn();
    let (mut raw, registration) = Raw::grant(&listener).await;
    assert_eq!(registration["agent_id"], "guard");
    for (kind, event) in [
        (HEADERS, json!({"correlation_id": "1", "method": 7, "uri": "/", "headers": {}, "metadata": {}})),
        (HEADERS, json!({"correlation_id": "1"})),
        (CHUNK, json!({"correlation_id": "1", "data": {}, "chunk_index": 0, "is_last": true})),
        // Upstream takes what is no base64 for the bytes themselves.
        (CHUNK, json!({"correlation_id": "1", "data": "no base64!", "chunk_index": 0, "is_last": true})),
    ] {
        raw.send(kind, event.to_string()).await;
        let answer = raw.expect(ANSWER).await.json();
        assert_eq!(answer["decision"]["block"]["status"], 500, "{event}: {answer}");
        assert_eq!(answer["audit"]["reason_codes"], json!(["unreadable_event"]));
        assert_eq!(answer["audit"]["custom"]["correlation_id"], "1");
    }
    assert!(guard.bodies.lock().unwrap().is_empty());
    let event = json!({"correlation_id": "1", "data": "aGVsbG8=", "chunk_index": 0, "is_last": true,
                       "bytes_received": 5, "total_size": null});
    raw.send(CHUNK, event.to_string()).await;
    assert_eq!(raw.expect(ANSWER).await.json()["decision"], "allow");
    assert_eq!(*guard.bodies.lock().unwrap(), [b"hello"]);
    controller.shutdown();
    drop(raw);
    assert_eq!(soon(task).await.unwrap(), Ok(()));
}

/// Upstream: no agent side in Rust. Here: it registers, answers, answers pings, and dials again
/// whenever the proxy has dropped it, for as long as it takes.
#[tokio::test]
async fn our_agent_dials_in_again_and_again() {
    let site = Site::with(|config| config.policy.max_connections_per_agent = 4).await;
    let (agent, guard) = agent();
    let (controller, task) = agent.run_unix(site.path()).spawn();
    for round in 1..=8 {
        let handle = site.accept().await;
        let blocked = RequestHeaders::new("r", "GET", "/blocked");
        assert!(!soon(handle.request_headers(blocked).into_future()).await.unwrap().is_allow());
        assert!(soon(handle.ask(chunk("r", "body")).into_future()).await.unwrap().is_allow());
        assert_eq!((guard.opened.load(Ordering::SeqCst), guard.bodies.lock().unwrap().len()), (round, round));
        if round == 8 {
            controller.shutdown();
            assert_eq!(soon(handle.closed()).await, CloseReason::PeerDrained);
        } else {
            handle.close();
        }
    }
    assert_eq!(soon(task).await.unwrap(), Ok(()));
    until("it has gone", || site.listener.connections() == 0).await;
}

/// The tenth fault from the other side: a proxy's Ping is answered by our agent, too.
#[tokio::test]
async fn our_agent_answers_a_ping() {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
    let (agent, _) = agent();
    let _running = agent.run_unix(folder.path().join("socket")).spawn();
    let (mut raw, _) = Raw::grant(&listener).await;
    raw.send(PING, r#"{"sequence":7,"timestamp_ms":8}"#).await;
    assert_eq!(raw.expect(PONG).await.payload, br#"{"sequence":7,"timestamp_ms":8}"#);
}

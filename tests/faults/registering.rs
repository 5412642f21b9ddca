//! Who registers, how often, and as whom.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use dialback::machine::CloseReason;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::raw::*;
use crate::site::*;

/// Upstream: an agent that reconnects is told "success" and dropped from its fifth connection on,
/// because dead connections are never taken out of its pool.
///
/// Here: a connection's place is free when it has ended, whoever still holds a handle to it.
#[tokio::test]
async fn fault_07_an_agent_that_reconnects_is_always_usable() {
    let site = Site::with(|config| config.policy.max_connections_per_agent = 4).await;
    let mut handles = Vec::new();
    for round in 0..25 {
        let (mut raw, handle) = site.agent("again").await;
        let id = format!("r{round}");
        let asked = ask(&handle, &id);
        assert_eq!(raw.expect(HEADERS).await.id(), id);
        raw.allow(&id, &id).await;
        assert_eq!(soon(asked).await.unwrap().audit.tags, [id]);
        if round % 2 == 0 {
            // It may also die in the middle of something.
            let _lost = ask(&handle, "lost");
            raw.bytes(&[0, 0, 1]).await;
        }
        drop(raw);
        handles.push(handle);
    }
    until("all places are free", || site.listener.connections() == 0).await;
    assert!(handles.iter().all(|handle| handle.is_closed()));
    let names: BTreeSet<_> = handles.iter().map(|handle| handle.connection_id()).collect();
    assert_eq!(names.len(), handles.len());
}

/// Upstream: over the limit an agent is told "success" first and dropped after, and the tasks of
/// its connection never end.
///
/// Here: the place is taken before the word is given. Over the limit the word is no, with a
/// reason and a time to come back; an ended connection leaves nothing behind.
#[tokio::test]
// Rule: H-REG-4.
async fn fault_14_over_the_limit_an_agent_is_told_no() {
    let site = Site::with(|config| {
        config.policy.max_connections_per_agent = 2;
        config.policy.max_connections = 3;
    })
    .await;
    for _ in 0..3 {
        let two = [site.agent("a").await, site.agent("a").await];
        assert_eq!(
            refused(&site, "a").await,
            "this agent has 2 connections already, which is all it may have; close one or retry later"
        );
        let another = site.agent("b").await;
        assert_eq!(
            refused(&site, "c").await,
            "the proxy has all the agent connections it may have; retry later"
        );
        // The refused are in nobody's queue: the next one is the next that was told yes.
        assert_eq!(site.listener.connections(), 3);
        drop(another);
        until("a place is free", || site.listener.connections() == 2).await;
        let third = site.agent("c").await;
        drop((two, third));
        until("all places are free", || site.listener.connections() == 0).await;
    }
    // No connection is left for a shutdown to wait for.
    soon(site.listener.shutdown(Duration::from_secs(600))).await;
}

async fn refused(site: &Site, id: &str) -> String {
    let mut raw = site.dial().await;
    raw.send(REGISTRATION, registration(id).to_string()).await;
    raw.refusal().await
}

/// Upstream: of sixty first registrations at once some are told "success" and lost, and their
/// connection ids are equal.
///
/// Here: every one that is told yes reaches the application, under a name of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fault_15_sixty_first_registrations_at_once_all_succeed() {
    let site = Site::with(|config| config.policy.max_connections_per_agent = 100).await;
    let mut registering = JoinSet::new();
    for _ in 0..60 {
        let path = site.path();
        registering.spawn(async move {
            let mut raw = Raw::dial(&path).await;
            let response = raw.register(&registration("same")).await;
            assert_eq!(response["success"], true, "{response}");
            let name = response["connection_id"].as_str().unwrap().to_owned();
            // Answers with its name what it is asked.
            let id = raw.expect(HEADERS).await.id();
            raw.allow(&id, &name).await;
            (name, raw)
        });
    }
    let mut names = BTreeSet::new();
    for _ in 0..60 {
        let handle = site.accept().await;
        let answer = soon(handle.request_headers(headers("r")).into_future()).await.unwrap();
        assert_eq!(answer.audit.tags, [handle.connection_id()]);
        names.insert(handle.connection_id().to_owned());
    }
    let told: BTreeSet<_> = soon(registering.join_all()).await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(told.len(), 60);
    assert_eq!(told, names);
}

/// Upstream: a registration that can't be read gets a bare end of the stream, for want of one
/// flag for instance, or from an SDK of another dialect.
///
/// Here: a missing capability has its default; everything else is answered with no and with what
/// would be right.
#[tokio::test]
// Rule: H-REFUSE-1.
async fn fault_19_an_unreadable_registration_is_refused_with_a_reason() {
    let site = Site::new().await;
    for missing in ["streaming_body", "cancellation", "concurrent_requests"] {
        let mut short = registration("short");
        short["capabilities"]["features"].as_object_mut().unwrap().remove(missing);
        site.agent_as(&short).await;
    }
    site.agent_as(&json!({"protocol_version": 2, "agent_id": "bare", "capabilities": {}})).await;

    let whole = registration("a");
    let change = |change: fn(&mut Value)| {
        let mut changed = whole.clone();
        change(&mut changed);
        frame(REGISTRATION, changed.to_string())
    };
    let without = |field: &'static str| {
        let mut changed = whole.clone();
        changed.as_object_mut().unwrap().remove(field);
        frame(REGISTRATION, changed.to_string())
    };
    let go =
        r#"{"agent_id":"a","capabilities":{"handles_request_headers":true,"handles_request_body":false}}"#;
    let elixir = r#"{"type":"register","agent_id":"a","version":2}"#;
    for (what, bytes, hints) in [
        ("no JSON", frame(REGISTRATION, "hello"), &["HandshakeRequest", "expected"][..]),
        ("half a JSON", frame(REGISTRATION, &whole.to_string()[..40]), &["EOF"]),
        ("no UTF-8", frame(REGISTRATION, b"{\"agent_id\":\"\xff\"}"), &["unicode"]),
        ("nothing", frame(REGISTRATION, ""), &["EOF"]),
        ("an array", frame(REGISTRATION, "[2]"), &["object", "array"]),
        ("no agent id", without("agent_id"), &["agent_id", "missing"]),
        ("no capabilities", without("capabilities"), &["capabilities", "missing"]),
        ("no version", without("protocol_version"), &["protocol_version", "missing"]),
        ("an id that is a number", change(|all| all["agent_id"] = json!(7)), &["string"]),
        ("another version", change(|all| all["protocol_version"] = json!(1)), &["version 1", "version 2"]),
        ("no name", change(|all| all["agent_id"] = json!("")), &["1 to 128"]),
        ("the Go dialect", frame(0x03, go), &["Go SDK", "0x01", "supported_events"]),
        ("its capabilities", frame(REGISTRATION, go), &["Go SDK", "0x01", "supported_events"]),
        ("the Elixir dialect", frame(b'{', &elixir[1..]), &["Elixir SDK", "type byte", "0x01"]),
        ("a ping", frame(PING, "{}"), &["0x41", "0x01"]),
        ("an answer", frame(ANSWER, answer("r", json!("allow"), "")), &["0x20", "0x01"]),
        ("an unknown type", frame(0x7f, "{}"), &["0x7f", "0x01"]),
        ("no type", vec![0; 4], &["length 0"]),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), &["at most 65536"]),
        ("TLS", vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], &["at most 65536"]),
    ] {
        let mut raw = site.dial().await;
        raw.bytes(&bytes).await;
        let reason = raw.refusal().await;
        for hint in hints {
            assert!(reason.contains(hint), "{what}: {hint:?} is not in {reason:?}");
        }
    }
    until("the short ones have gone", || site.listener.connections() == 0).await;
}

/// Upstream: an agent registers as "127.0.0.1:PORT", or under the path of a socket, and the proxy
/// dials that address later.
///
/// Here: a name is a name. Nothing connects to it, while it lives, when it dies, or after.
#[tokio::test]
async fn fault_20_the_proxy_never_dials_an_agents_name() {
    let site = Site::new().await;
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    tcp.set_nonblocking(true).unwrap();
    let path = site.folder.path().join("other");
    let unix = UnixListener::bind(&path).unwrap();
    unix.set_nonblocking(true).unwrap();
    for name in [tcp.local_addr().unwrap().to_string(), path.to_str().unwrap().to_owned()] {
        let (mut raw, handle) = site.agent(&name).await;
        assert_eq!(handle.agent_id(), name);
        let asked = ask(&handle, "1");
        raw.expect(HEADERS).await;
        raw.allow("1", "").await;
        assert!(soon(asked).await.unwrap().is_allow());
        let lost = ask(&handle, "2");
        raw.expect(HEADERS).await;
        drop(raw);
        assert!(soon(lost).await.is_err());
        assert_eq!(soon(handle.closed()).await, CloseReason::PeerClosed);
        assert!(soon(handle.ask(headers("3")).into_future()).await.is_err());
    }
    soon(site.listener.shutdown(Duration::ZERO)).await;
    assert_eq!(tcp.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(unix.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// Upstream: an agent id may be of any length and hold newlines, which then stand in logs.
///
/// Here: ids are short and plain, and the refusal says where and why not.
#[tokio::test]
// Rule: H-REG-1.
async fn an_agent_id_is_short_and_plain() {
    let site = Site::new().await;
    for (id, hint) in [
        ("a\nforged line".to_owned(), "byte 1"),
        ("a b".into(), "byte 1"),
        ("caf\u{e9}".into(), "byte 3"),
        ("a\u{1b}[31m".into(), "byte 1"),
        ("a".repeat(129), "129 bytes"),
    ] {
        let mut raw = site.dial().await;
        raw.send(REGISTRATION, registration(&id).to_string()).await;
        let reason = raw.refusal().await;
        assert!(reason.contains(hint) && !reason.contains('\n'), "{reason}");
    }
    site.agent(&"a".repeat(128)).await;
    site.agent("team/waf-1.eu:8@host_2").await;
}

/// Upstream: wildcards are promised in the list of agents and compared as text.
///
/// Here: a star at the end stands for any ending.
#[tokio::test]
async fn an_allow_list_takes_wildcards() {
    let site = Site::with(|config| config.policy.allowed = vec!["waf-*".into(), "auth".into()]).await;
    for id in ["waf-", "waf-eu-1", "auth"] {
        site.agent(id).await;
    }
    for id in ["waf", "auth-1", "other", "-waf-"] {
        let mut raw = site.dial().await;
        raw.send(REGISTRATION, registration(id).to_string()).await;
        assert_eq!(raw.refusal().await, "this agent is not on the proxy's list of allowed agents");
    }
}

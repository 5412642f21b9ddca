//! What a peer can hold, and for how long.

use std::time::Duration;

use dialback::machine::{CloseReason, ConnectionState, SubmitError, Violation};
use dialback::net::AskError;
use serde_json::json;

use crate::raw::*;
use crate::site::*;

const SHORT: Duration = Duration::from_millis(200);

/// Upstream: up to 16 MiB are collected for a peer that has not registered.
///
/// Here: a first frame of 10 MiB is refused by its length, before a byte of it has come.
#[tokio::test]
// Rule: W-FRAME-4.
async fn a_long_frame_before_registration_is_refused_by_its_length() {
    let site = Site::new().await;
    let mut raw = site.dial().await;
    raw.bytes(&(10_u32 << 20).to_be_bytes()).await;
    let reason = raw.refusal().await;
    assert!(reason.contains("10485760") && reason.contains("65536"), "{reason}");
    // A registration that fits may be as long as that.
    let mut long = registration("a");
    long["metadata"] = json!("x".repeat(60_000));
    site.agent_as(&long).await;
}

/// Upstream: any number of connections may lie there without registering.
///
/// Here: there is a limit, past which a peer is told so; whoever registers or goes makes room.
#[tokio::test]
async fn connections_that_do_not_register_are_limited() {
    let site = Site::with(|config| config.max_opening = 3).await;
    let mut idle = Vec::new();
    for _ in 0..3 {
        idle.push(site.dial().await);
    }
    for _ in 0..2 {
        let reason = site.dial().await.refusal().await;
        assert!(reason.contains("too many") && reason.contains("retry later"), "{reason}");
    }
    let mut registers = idle.pop().unwrap();
    assert_eq!(registers.register(&registration("a")).await["success"], true);
    site.accept().await;
    site.agent("b").await;

    idle.push(site.dial().await);
    site.dial().await.refusal().await;
    drop(idle);
    let registering = async {
        loop {
            let mut raw = site.dial().await;
            if raw.register(&registration("c")).await["success"] == true {
                return raw;
            }
        }
    };
    let mut raw = soon(registering).await;
    let handle = site.accept().await;
    let asked = ask(&handle, "1");
    raw.expect(HEADERS).await;
    raw.allow("1", "").await;
    assert!(soon(asked).await.unwrap().is_allow());
}

/// Upstream: a peer that says nothing, or half a registration, is waited for without end.
///
/// Here: the handshake has a deadline, and the peer is told that it was missed.
#[tokio::test]
// Rule: H-TIME-1.
async fn a_registration_has_a_deadline() {
    let site = Site::with(|config| config.proxy.limits.handshake_timeout = SHORT).await;
    let whole = frame(REGISTRATION, registration("a").to_string());
    for bytes in [&[][..], &whole[..2], &whole[..whole.len() - 1]] {
        let mut raw = site.dial().await;
        raw.bytes(bytes).await;
        let reason = raw.refusal().await;
        assert!(reason.contains("200 ms"), "{reason}");
    }
}

/// Upstream: half a frame holds a connection for ever, and whoever waits on it.
///
/// Here: a frame that has begun must end in time, however busy its bytes trickle.
#[tokio::test]
async fn half_a_frame_is_cut_off() {
    let site = Site::with(|config| config.proxy.limits.keepalive.frame_timeout = SHORT).await;
    for silent in [true, false] {
        let (mut raw, handle) = site.agent("a").await;
        let asked = ask(&handle, "1");
        raw.expect(HEADERS).await;
        raw.bytes(&frame(ANSWER, answer("1", json!("allow"), ""))[..9]).await;
        let closed = async {
            loop {
                tokio::select! {
                    reason = handle.closed() => break reason,
                    () = tokio::time::sleep(SHORT / 20) => if !silent { raw.bytes(b" ").await },
                }
            }
        };
        assert_eq!(soon(closed).await, CloseReason::Violation(Violation::StalledFrame));
        let lost = soon(asked).await.unwrap_err();
        assert!(matches!(lost, AskError::ConnectionLost { written: true, .. }), "{lost}");
    }
    // A whole one, in time, is no harm.
    let (mut raw, handle) = site.agent("a").await;
    let asked = ask(&handle, "1");
    raw.expect(HEADERS).await;
    raw.allow("1", "").await;
    assert!(soon(asked).await.unwrap().is_allow());
}

/// Upstream: there is no keepalive; an agent that hangs, or whose host is gone, is never noticed.
///
/// Here: silence brings a ping, more silence the end; an agent that answers pings may be silent
/// otherwise for as long as it likes.
#[tokio::test]
async fn a_silent_agent_is_asked_and_then_given_up() {
    let site = Site::with(|config| {
        config.proxy.limits.keepalive.interval = Some(SHORT);
        config.proxy.limits.keepalive.timeout = SHORT * 3;
    })
    .await;
    let (mut silent, handle) = site.agent("silent").await;
    let (mut alive, living) = site.agent("alive").await;
    let asked = ask(&handle, "1");
    silent.expect(HEADERS).await;
    let answering = async {
        loop {
            let ping = alive.expect(PING).await;
            alive.send(PONG, ping.payload).await;
        }
    };
    let reason = tokio::select! {
        reason = soon(handle.closed()) => reason,
        () = answering => unreachable!(),
    };
    assert_eq!(reason, CloseReason::Silent(SHORT * 4));
    assert!(matches!(soon(asked).await, Err(AskError::ConnectionLost { written: true, .. })));
    assert_eq!(kinds(&silent.rest().await), [PING]);
    assert_eq!(living.state(), ConnectionState::Open);
    assert!(living.stats().totals.pings > 0);
}

/// Upstream: an agent that reports that it drains is sent requests as before.
///
/// Here: it is sent nothing new, finishes what it has, and the connection ends.
#[tokio::test]
// Rule: C-DRAIN-2.
async fn an_agent_that_drains_is_sent_nothing_new() {
    let site = Site::new().await;
    for state in [json!(3), json!({"status": "draining", "eta_ms": 1_000})] {
        let (mut raw, handle) = site.agent("a").await;
        let asked = ask(&handle, "1");
        raw.expect(HEADERS).await;
        let health = json!({"agent_id": "a", "state": state, "message": null, "timestamp_ms": 0});
        raw.send(HEALTH, health.to_string()).await;
        assert_eq!(kinds(&raw.said().await), NOTHING);
        assert_eq!((handle.state(), handle.can_accept()), (ConnectionState::Draining, false));
        assert_eq!(handle.ask(headers("2")).await, Err(AskError::Refused(SubmitError::Draining)));
        raw.allow("1", "").await;
        assert!(soon(asked).await.unwrap().is_allow());
        assert_eq!(soon(handle.closed()).await, CloseReason::PeerDrained);
        assert!(raw.rest().await.is_empty());
    }
}

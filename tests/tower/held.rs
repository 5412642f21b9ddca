//! Verdicts that are not final: what they hold back, and for how long.

use std::sync::atomic::Ordering;

use dialback::tower::{AskConfig, Cause, FailurePolicy, OnFailure, Outcome};
use dialback::wire::{Answer, Event, EventKind, HeaderOp};

use crate::script::Script;
use crate::stand::{HTTP, Stand, chunked};

/// Wants the whole body before it decides, and blocks one with an exclamation mark.
fn wants_it_whole(event: &Event) -> Answer {
    match event {
        Event::RequestHeaders(_) => Answer::needs_more(),
        Event::RequestBodyChunk(piece) if piece.data.contains(&b'!') => {
            Answer::block(422).with_body("no shouting")
        }
        Event::RequestBodyChunk(piece) if piece.is_last => {
            Answer::allow().with_request_header(HeaderOp::set("x-seen", piece.bytes_received.to_string()))
        }
        Event::RequestBodyChunk(_) => Answer::needs_more(),
        Event::ResponseHeaders(_)
        | Event::ResponseBodyChunk(_)
        | Event::RequestComplete(_)
        | Event::WebSocketFrame(_)
        | Event::GuardrailInspect(_)
        | Event::Configure(_) => Answer::allow(),
    }
}

fn small() -> AskConfig {
    AskConfig { piece_size: 10, ..AskConfig::default() }
}

#[tokio::test]
async fn a_request_waits_until_the_agent_has_seen_enough() {
    for states_length in [true, false] {
        let (stand, _agent) = Stand::asking(small(), &HTTP, Script::new(wants_it_whole)).await;
        let sent = vec![b'a'; 95];
        let body = if states_length { sent.into() } else { chunked(sent, 7) };
        let response = stand.post("/head", body).await;
        let head = str::from_utf8(response.body()).unwrap();
        // What the agent said at the end of the body was still in time, and the length is known again.
        assert!(head.contains("x-seen: 95\n") && head.contains("content-length: 95\n"), "{head}");
    }
}

#[tokio::test]
async fn a_request_that_is_blocked_late_has_not_reached_the_app() {
    let (stand, _agent) = Stand::asking(small(), &HTTP, Script::new(wants_it_whole)).await;
    let response = stand.post("/echo", "all is well until here! and then").await;
    assert_eq!((response.status().as_u16(), &response.body()[..]), (422, &b"no shouting"[..]));
    assert_eq!(stand.seen.calls.load(Ordering::SeqCst), 0);
    let summary = stand.end().await;
    assert_eq!((summary.outcome, summary.passed, summary.whole), (Outcome::Blocked, false, true));
}

#[tokio::test]
async fn without_a_body_there_is_no_more_to_wait_for() {
    let (stand, agent) = Stand::asking(small(), &HTTP, Script::new(wants_it_whole)).await;
    assert_eq!(stand.get("/").await.status(), 200);
    assert!(agent.log.request_pieces().is_empty());
    // Nor for an agent that takes no bodies.
    let (stand, _agent) =
        Stand::asking(small(), &[EventKind::RequestHeaders], Script::new(wants_it_whole)).await;
    assert_eq!(&stand.post("/echo", "shout!").await.body()[..], b"shout!");
}

#[tokio::test]
async fn more_than_may_be_held_has_no_verdict() {
    let never_content = || {
        Script::new(|event| match event.kind() {
            EventKind::RequestComplete => Answer::allow(),
            EventKind::RequestHeaders
            | EventKind::RequestBodyChunk
            | EventKind::ResponseHeaders
            | EventKind::ResponseBodyChunk
            | EventKind::WebSocketFrame
            | EventKind::GuardrailInspect
            | EventKind::Configure => Answer::needs_more(),
        })
    };
    let kinds = [EventKind::RequestHeaders, EventKind::RequestBodyChunk];
    let config = AskConfig { hold_limit: 50, ..small() };
    let (stand, agent) = Stand::asking(config.clone(), &kinds, never_content()).await;
    assert_eq!(stand.post("/echo", vec![b'a'; 1_000]).await.status(), 503);
    assert_eq!(stand.seen.calls.load(Ordering::SeqCst), 0);
    let summary = stand.end().await;
    assert_eq!((summary.outcome, summary.failure), (Outcome::Failed, Some(Cause::TooMuch)));
    assert_eq!(agent.log.request_pieces().len(), 6);

    // Exactly as much as may be held is fine.
    let (stand, _agent) = Stand::asking(config.clone(), &kinds, never_content()).await;
    assert_eq!(stand.post("/echo", vec![b'a'; 50]).await.body().len(), 50);

    let failure = FailurePolicy { too_much: OnFailure::Open, ..FailurePolicy::CLOSED };
    let (stand, agent) = Stand::asking(AskConfig { failure, ..config }, &kinds, never_content()).await;
    assert_eq!(stand.post("/echo", vec![b'a'; 1_000]).await.body().len(), 1_000);
    assert_eq!(agent.log.request_pieces().len(), 6);
    let summary = stand.end().await;
    assert_eq!((summary.outcome, summary.failure), (Outcome::Allowed, Some(Cause::TooMuch)));
}

#[tokio::test]
async fn a_responses_head_waits_too() {
    // The third piece decides.
    let script = |status: u16| {
        Script::new(move |event| match event {
            Event::ResponseHeaders(_) => Answer::needs_more(),
            Event::ResponseBodyChunk(piece) if piece.chunk_index < 2 => Answer::needs_more(),
            Event::ResponseBodyChunk(_) if status != 200 => Answer::block(status),
            Event::ResponseBodyChunk(_) => {
                Answer::allow().with_response_header(HeaderOp::set("x-scanned", "yes"))
            }
            Event::RequestHeaders(_)
            | Event::RequestBodyChunk(_)
            | Event::RequestComplete(_)
            | Event::WebSocketFrame(_)
            | Event::GuardrailInspect(_)
            | Event::Configure(_) => Answer::allow(),
        })
    };
    let (stand, _agent) = Stand::asking(small(), &HTTP, script(451)).await;
    let response = stand.get("/bytes/100").await;
    assert_eq!((response.status().as_u16(), response.body().len()), (451, 0));
    assert!(stand.end().await.passed);

    let (stand, _agent) = Stand::asking(small(), &HTTP, script(200)).await;
    let response = stand.get("/bytes/100").await;
    assert_eq!((response.status().as_u16(), response.body().len()), (200, 100));
    assert_eq!(response.headers()["x-scanned"], "yes");

    // All of it seen: the length is known.
    let (stand, _agent) = Stand::asking(small(), &HTTP, script(200)).await;
    let response = stand.get("/bytes/30").await;
    assert_eq!((&response.headers()["content-length"], response.body().len()), (&"30".parse().unwrap(), 30));
}

#[tokio::test]
async fn a_body_that_breaks_off_while_it_is_held_reaches_nobody() {
    let (stand, agent) = Stand::asking(small(), &HTTP, Script::new(wants_it_whole)).await;
    let client = stand.raw("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf of what").await;
    crate::stand::until("a piece is seen", || !agent.log.request_pieces().is_empty()).await;
    drop(client);
    let summary = stand.end().await;
    assert!(!summary.passed, "{summary:?}");
    assert_eq!(stand.seen.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_agent_says_how_much_it_takes() {
    let stand = Stand::new(small()).await;
    let mut config = crate::stand::agent_config(&HTTP);
    config.agent.registration.capabilities.limits.max_body_size = 45;
    let agent = stand.dial(config, Script::new(|_| Answer::allow())).await;
    assert_eq!(stand.post("/read", vec![b'a'; 45]).await.status(), 200);
    assert_eq!(stand.post("/read", vec![b'a'; 46]).await.status(), 503);
    assert!(agent.log.request_pieces().iter().all(|piece| piece.bytes_received <= 45));
}

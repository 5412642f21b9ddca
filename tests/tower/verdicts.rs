//! Verdicts as the client sees them.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use axum::body::Bytes;
use dialback::tower::{AskConfig, Cause, FailurePolicy, OnFailure, Outcome};
use dialback::wire::{Answer, Decision, Event, EventKind, HeaderOp};
use hyper::Response;

use crate::app::bytes;
use crate::script::Script;
use crate::stand::{HTTP, Stand, chunked, read_all, until};

fn on(kind: EventKind, answer: Answer) -> Script {
    Script::new(move |event| if event.kind() == kind { answer.clone() } else { Answer::allow() })
}

async fn stand(kind: EventKind, answer: Answer) -> (Stand, crate::stand::Running) {
    Stand::asking(AskConfig::default(), &HTTP, on(kind, answer)).await
}

#[tokio::test]
async fn a_block_on_the_headers_keeps_the_request_from_the_app() {
    let mut answer =
        Answer::block(403).with_body("not here").with_response_header(HeaderOp::set("x-rule", "7"));
    if let Decision::Block { headers, .. } = &mut answer.decision {
        *headers =
            Some(BTreeMap::from([("retry-after".into(), "9".into()), ("connection".into(), "x".into())]));
    }
    let (stand, agent) = stand(EventKind::RequestHeaders, answer).await;
    let response = stand.post("/echo", "text").await;
    assert_eq!((response.status().as_u16(), &response.body()[..]), (403, &b"not here"[..]));
    assert_eq!(
        (&response.headers()["retry-after"], &response.headers()["x-rule"]),
        (&"9".parse().unwrap(), &"7".parse().unwrap())
    );
    assert_eq!(response.headers()["content-length"], "8");
    assert!(!response.headers().contains_key("connection"));
    assert_eq!(stand.seen.calls.load(Ordering::SeqCst), 0);
    let summary = stand.end().await;
    assert_eq!((summary.outcome, summary.refused_changes, summary.passed), (Outcome::Blocked, 1, false));
    until("the completion comes", || !agent.log.completions().is_empty()).await;
    let completion = &agent.log.completions()[0];
    assert_eq!((completion.status, completion.upstream_attempts, completion.response_body_size), (403, 0, 8));
    assert_eq!(agent.log.kinds(), [EventKind::RequestHeaders, EventKind::RequestComplete]);
}

#[tokio::test]
async fn a_redirect_and_a_challenge_are_responses() {
    let (stand, _agent) =
        stand(EventKind::RequestHeaders, Answer::redirect("https://a.example/login?to=%2F", 303)).await;
    let response = stand.get("/").await;
    assert_eq!(response.status(), 303);
    assert_eq!(response.headers()["location"], "https://a.example/login?to=%2F");
    assert_eq!(stand.end().await.outcome, Outcome::Redirected);

    let params = BTreeMap::from([("realm".into(), "the back room".into())]);
    let (stand, _agent) =
        self::stand(EventKind::RequestHeaders, Answer::challenge("Basic", params.clone())).await;
    let response = stand.get("/").await;
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], "Basic realm=\"the back room\"");
    assert_eq!(stand.end().await.outcome, Outcome::Challenged);

    let config = AskConfig::default().challenge(|kind, params| {
        let mut response = Response::new(Bytes::from(format!("{kind} in {}", params["realm"])));
        *response.status_mut() = hyper::StatusCode::TOO_MANY_REQUESTS;
        response
    });
    let script = on(EventKind::RequestHeaders, Answer::challenge("captcha", params));
    let (stand, _agent) = Stand::asking(config, &HTTP, script).await;
    let response = stand.get("/").await;
    assert_eq!((response.status().as_u16(), &response.body()[..]), (429, &b"captcha in the back room"[..]));
}

/// Blocks a request's body at its third piece.
fn at_the_third_piece(event: &Event) -> Answer {
    match event {
        Event::RequestBodyChunk(piece) if piece.chunk_index == 2 => Answer::block(413).with_body("enough"),
        Event::RequestBodyChunk(_)
        | Event::RequestHeaders(_)
        | Event::ResponseHeaders(_)
        | Event::ResponseBodyChunk(_)
        | Event::RequestComplete(_)
        | Event::WebSocketFrame(_)
        | Event::GuardrailInspect(_)
        | Event::Configure(_) => Answer::allow(),
    }
}

#[tokio::test]
async fn a_block_in_the_middle_of_a_request_stops_the_app() {
    // The app reads the body before it answers, and would say 400 to one that breaks off.
    let (stand, _agent) = Stand::asking(AskConfig::default(), &HTTP, Script::new(at_the_third_piece)).await;
    let response = stand.post("/read", chunked(bytes(1 << 20), 10_000)).await;
    assert_eq!((response.status().as_u16(), &response.body()[..]), (413, &b"enough"[..]));
    let summary = stand.end().await;
    assert_eq!((summary.outcome, summary.passed, summary.whole), (Outcome::Blocked, true, true));
    assert!(summary.request_bytes < 1 << 20);
}

#[tokio::test]
async fn a_block_of_a_request_whose_response_has_begun_cuts_it_off() {
    // The echo's head is out before the third piece has come.
    let (stand, _agent) = Stand::asking(AskConfig::default(), &HTTP, Script::new(at_the_third_piece)).await;
    let error =
        stand.send(stand.request("POST", "/echo").body(chunked(bytes(1 << 20), 10_000)).unwrap()).await;
    assert!(error.is_err(), "{error:?}");
    let summary = stand.end().await;
    assert_eq!((summary.outcome, summary.whole), (Outcome::Blocked, false));
    assert_eq!(summary.status.map(|status| status.as_u16()), Some(200));
}

#[tokio::test]
async fn a_block_on_the_response_takes_its_place() {
    let (stand, _agent) = stand(EventKind::ResponseHeaders, Answer::block(502).with_body("withheld")).await;
    let response = stand.get("/bytes/100000").await;
    assert_eq!((response.status().as_u16(), &response.body()[..]), (502, &b"withheld"[..]));
    let (stand, _agent) = self::stand(EventKind::ResponseHeaders, Answer::redirect("/elsewhere", 302)).await;
    assert_eq!(stand.get("/").await.headers()["location"], "/elsewhere");
}

#[tokio::test]
async fn a_block_in_the_middle_of_a_response_is_no_clean_end() {
    let script = || {
        Script::new(|event| match event {
            Event::ResponseBodyChunk(piece) if piece.chunk_index == 2 => Answer::block(403),
            Event::ResponseBodyChunk(_)
            | Event::RequestBodyChunk(_)
            | Event::RequestHeaders(_)
            | Event::ResponseHeaders(_)
            | Event::RequestComplete(_)
            | Event::WebSocketFrame(_)
            | Event::GuardrailInspect(_)
            | Event::Configure(_) => Answer::allow(),
        })
    };
    let config = AskConfig { piece_size: 1_000, ..AskConfig::default() };
    let (stand, agent) = Stand::asking(config.clone(), &HTTP, script()).await;
    let got = stand.send(stand.request("GET", "/bytes/5000").body(axum::body::Body::empty()).unwrap()).await;
    assert!(got.is_err(), "{got:?}");
    let summary = stand.end().await;
    assert_eq!((summary.outcome, summary.whole, summary.response_bytes), (Outcome::Blocked, false, 2_000));
    until("the completion comes", || !agent.log.completions().is_empty()).await;
    assert_eq!(agent.log.completions()[0].error.as_deref(), Some("the response was cut off by a verdict"));

    // On the wire: no last chunk.
    let (stand, _agent) = Stand::asking(config, &HTTP, script()).await;
    let text = read_all(stand.raw("GET /bytes/5000 HTTP/1.1\r\nhost: a\r\n\r\n").await).await;
    assert!(text.starts_with("HTTP/1.1 200 ") && !text.ends_with("0\r\n\r\n"), "{text:?}");
}

#[tokio::test]
async fn a_verdict_that_is_no_allow_never_lets_pass() {
    let config = AskConfig { failure: FailurePolicy::all(OnFailure::Open), ..AskConfig::default() };
    for answer in [Answer::block(7), Answer::redirect("no\nurl", 302), Answer::redirect("/", 200)] {
        let (stand, _agent) =
            Stand::asking(config.clone(), &HTTP, on(EventKind::RequestHeaders, answer)).await;
        assert_eq!(stand.get("/").await.status(), 503);
        assert_eq!(stand.seen.calls.load(Ordering::SeqCst), 0);
        let summary = stand.end().await;
        assert_eq!((summary.outcome, summary.failure), (Outcome::Failed, Some(Cause::Unusable)));
    }
}

//! Answers that can't be read.

use dialback::machine::ConnectionState;
use dialback::net::AskError;
use serde_json::{Value, json};

use crate::raw::*;
use crate::site::*;

async fn answered_with(change: impl FnOnce(&mut Value)) -> String {
    let site = Site::new().await;
    let (mut raw, handle) = site.agent("a").await;
    let asked = ask(&handle, "1");
    raw.expect(HEADERS).await;
    let mut changed: Value = serde_json::from_slice(&answer("1", json!("allow"), "")).unwrap();
    change(&mut changed);
    raw.send(ANSWER, changed.to_string()).await;
    let error = soon(asked).await.unwrap_err();
    let AskError::MalformedAnswer(error) = error else { panic!("{error}") };
    // It was an answer all the same: the next one has the wire.
    let asked = ask(&handle, "1");
    raw.expect(HEADERS).await;
    raw.block("1", 403).await;
    assert!(!soon(asked).await.unwrap().is_allow());
    error.to_string()
}

/// Upstream: an answer that can't be read is dropped without a word, and its caller waits until
/// its time is over.
///
/// Here: its caller is told at once, and what is wrong with it.
#[tokio::test]
// Rule: X-READ-2.
async fn a_malformed_answer_reaches_its_caller() {
    let error = answered_with(|answer| answer["decision"] = json!("perhaps")).await;
    assert!(error.contains("perhaps"), "{error}");
    let error = answered_with(|answer| answer["decision"] = json!({"block": {"status": "no"}})).await;
    assert!(error.contains("string \"no\""), "{error}");
    answered_with(|answer| answer["request_headers"] = json!([{"explode": {}}])).await;
}

/// Upstream: what is no base64 is taken for the bytes themselves, and the body is replaced by it.
///
/// Here: it is an answer that can't be read.
#[tokio::test]
async fn bad_base64_is_no_body() {
    for bad in ["not base64!", "aGVsbG8", "aGVsbG8=="] {
        let mutation = json!({"data": bad, "chunk_index": 0});
        let error = answered_with(|answer| answer["request_body_mutation"] = mutation).await;
        assert!(error.contains("base64"), "{error}");
    }
}

/// Upstream: the same for an answer of which not even the request can be read.
///
/// Here: nobody can be told, so it is counted, and the connection goes on.
#[tokio::test]
// Rule: X-MATCH-3.
async fn an_answer_to_nobody_is_counted() {
    let site = Site::new().await;
    let (mut raw, handle) = site.agent("a").await;
    let asked = ask(&handle, "1");
    raw.expect(HEADERS).await;
    raw.send(ANSWER, "not JSON").await;
    raw.allow("another request", "").await;
    assert_eq!(kinds(&raw.said().await), NOTHING);
    let totals = handle.stats().totals;
    assert_eq!((totals.unreadable_frames, totals.stray_answers), (1, 1));
    assert_eq!(handle.state(), ConnectionState::Open);
    raw.allow("1", "own").await;
    assert_eq!(soon(asked).await.unwrap().audit.tags, ["own"]);
}

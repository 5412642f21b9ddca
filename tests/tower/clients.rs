//! Clients that go away, and what the agent and the app hear of it.

use std::sync::atomic::Ordering;

use dialback::tower::{AskConfig, Outcome};
use dialback::wire::{Answer, CancelReason, EventKind};

use crate::script::{Reply, Script};
use crate::stand::{HTTP, Running, Stand, until};

fn silent(kind: EventKind) -> Script {
    Script::new(move |event| if event.kind() == kind { Reply::Never } else { Answer::allow().into() })
}

async fn assert_told(stand: &Stand, agent: &Running) {
    until("the agent is told", || *agent.log.cancelled.lock().unwrap() == [CancelReason::ClientDisconnect])
        .await;
    until("the completion comes", || !agent.log.completions().is_empty()).await;
    let summary = stand.end().await;
    assert_eq!(summary.outcome, Outcome::Allowed);
    // Nothing is left behind: the late answer has freed its place.
    until("nothing is under way", || stand.pool.agents()[0].in_flight() == 0).await;
}

#[tokio::test]
async fn while_the_headers_are_asked_about() {
    let (stand, agent) = Stand::asking(AskConfig::default(), &HTTP, silent(EventKind::RequestHeaders)).await;
    let client = stand.raw("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    until("the agent has it", || !agent.log.kinds().is_empty()).await;
    drop(client);
    assert_told(&stand, &agent).await;
    let completion = &agent.log.completions()[0];
    assert_eq!(completion.error.as_deref(), Some("the client went away before it was answered"));
    assert_eq!((completion.status, stand.seen.calls.load(Ordering::SeqCst)), (0, 0));
}

#[tokio::test]
async fn while_a_piece_of_the_request_is_asked_about() {
    let (stand, agent) =
        Stand::asking(AskConfig::default(), &HTTP, silent(EventKind::RequestBodyChunk)).await;
    let client = stand.raw("POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nsome").await;
    until("the agent has a piece", || !agent.log.request_pieces().is_empty()).await;
    drop(client);
    assert_told(&stand, &agent).await;
    // The app was told by the body, and said 400 to whoever may still read.
    assert_eq!(stand.end().await.status.map(|status| status.as_u16()), Some(400));
}

#[tokio::test]
async fn while_the_app_works() {
    let (stand, agent) = Stand::asking(AskConfig::default(), &HTTP, Script::new(|_| Answer::allow())).await;
    let client = stand.raw("GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await;
    until("the app has it", || stand.seen.calls.load(Ordering::SeqCst) == 1).await;
    drop(client);
    until("the app is stopped", || stand.seen.dropped.load(Ordering::SeqCst) == 1).await;
    until("the completion comes", || !agent.log.completions().is_empty()).await;
    // Nothing was asked at the time, so nothing was given up.
    assert!(agent.log.cancelled.lock().unwrap().is_empty());
    assert_eq!(stand.end().await.status, None);
}

#[tokio::test]
async fn while_a_piece_of_the_response_is_asked_about() {
    let (stand, agent) =
        Stand::asking(AskConfig::default(), &HTTP, silent(EventKind::ResponseBodyChunk)).await;
    let client = stand.raw("GET /bytes/100000 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    until("the agent has a piece", || !agent.log.response_pieces().is_empty()).await;
    drop(client);
    assert_told(&stand, &agent).await;
    let completion = &agent.log.completions()[0];
    assert_eq!((completion.status, completion.error.as_deref()), (200, Some("the response broke off")));
}

//! No verdict: every cause, under both policies.

use std::sync::atomic::Ordering;
use std::time::Duration;

use dialback::tower::{AskConfig, Cause, FailurePolicy, OnFailure, Outcome};
use dialback::wire::{Answer, BodyMutation, EventKind, HeaderOp};

use crate::app::bytes;
use crate::script::{Reply, Script};
use crate::stand::{HTTP, Stand, agent_config, chunked, until};

const OPEN: FailurePolicy = FailurePolicy::all(OnFailure::Open);

fn config(failure: FailurePolicy) -> AskConfig {
    AskConfig { failure, deadline: Some(Duration::from_secs(30)), ..AskConfig::default() }
}

fn allow() -> Script {
    Script::new(|_| Answer::allow())
}

/// Answers nothing to one kind of event.
fn silent(kind: EventKind) -> Script {
    Script::new(move |event| if event.kind() == kind { Reply::Never } else { Answer::allow().into() })
}

/// Asks under both policies: refused without reaching the app, and let pass.
async fn both(what: impl AsyncFn(AskConfig) -> (Stand, Option<crate::stand::Running>), cause: Cause) {
    let (stand, _agent) = what(config(FailurePolicy::CLOSED)).await;
    let response = stand.get("/").await;
    assert_eq!((response.status().as_u16(), stand.seen.calls.load(Ordering::SeqCst)), (503, 0));
    let summary = stand.end().await;
    assert_eq!((summary.outcome, summary.failure, summary.whole), (Outcome::Failed, Some(cause), true));

    let (stand, _agent) = what(config(OPEN)).await;
    let response = stand.get("/").await;
    assert_eq!((response.status().as_u16(), &response.body()[..]), (200, &b"hello"[..]));
    let summary = stand.end().await;
    assert_eq!((summary.outcome, summary.failure), (Outcome::Allowed, Some(cause)));
}

#[tokio::test]
async fn no_agent() {
    both(async |config| (Stand::new(config).await, None), Cause::NoAgent).await;
}

#[tokio::test]
async fn an_agent_that_does_not_take_what_it_must() {
    let begin = async |mut config: AskConfig| {
        config.needs = vec![EventKind::ResponseBodyChunk];
        let (stand, agent) = Stand::asking(config, &[EventKind::RequestHeaders], allow()).await;
        (stand, Some(agent))
    };
    both(begin, Cause::NoAgent).await;
}

#[tokio::test]
async fn an_agent_that_would_not_even_see_the_request() {
    let begin = async |config: AskConfig| {
        let (stand, agent) = Stand::asking(config, &[EventKind::RequestComplete], allow()).await;
        (stand, Some(agent))
    };
    both(begin, Cause::NoAgent).await;
}

#[tokio::test]
async fn an_agent_that_does_not_answer_in_time() {
    let begin = async |mut config: AskConfig| {
        config.deadline = Some(Duration::from_millis(50));
        let (stand, agent) = Stand::asking(config, &HTTP, silent(EventKind::RequestHeaders)).await;
        (stand, Some(agent))
    };
    both(begin, Cause::TimedOut).await;
}

#[tokio::test]
async fn an_agent_that_is_paused_past_the_deadline() {
    for (failure, status) in [(FailurePolicy::CLOSED, 503), (OPEN, 200)] {
        let config = AskConfig { deadline: Some(Duration::from_millis(50)), ..config(failure) };
        let (stand, _agent, _held) = Stand::paused(config).await;
        assert_eq!(stand.get("/").await.status(), status);
        assert_eq!(stand.end().await.failure, Some(Cause::Busy));
    }
}

#[tokio::test]
async fn a_pause_delays_and_no_more() {
    let (stand, agent, held) = Stand::paused(config(FailurePolicy::CLOSED)).await;
    let resume = async {
        until("it waits", || stand.handle().stats().waiting == 1).await;
        assert_eq!(agent.log.kinds().len(), 1);
        drop(held);
    };
    let (response, ()) = tokio::join!(stand.get("/"), resume);
    assert_eq!(response.status(), 200);
    assert!(agent.control.stats().pauses >= 1);
}

#[tokio::test]
async fn an_answer_that_can_t_be_carried_out() {
    let begin = async |config: AskConfig| {
        let script = Script::new(|_| {
            let many = (0..2_000).map(|number| HeaderOp::add("x", number.to_string()));
            many.fold(Answer::allow(), Answer::with_request_header)
        });
        let (stand, agent) = Stand::asking(config, &HTTP, script).await;
        (stand, Some(agent))
    };
    both(begin, Cause::Unusable).await;
}

#[tokio::test]
async fn a_change_to_another_piece() {
    let script = || {
        Script::new(|event| {
            let kind = event.kind() == EventKind::RequestBodyChunk;
            let mutation = BodyMutation::replace(5, "other");
            if kind { Answer::allow().with_request_body(mutation) } else { Answer::allow() }
        })
    };
    let (stand, _agent) = Stand::asking(config(FailurePolicy::CLOSED), &HTTP, script()).await;
    assert_eq!(stand.post("/read", "text").await.status(), 503);
    assert_eq!(stand.end().await.failure, Some(Cause::Unusable));
    let (stand, _agent) = Stand::asking(config(OPEN), &HTTP, script()).await;
    assert_eq!(&stand.post("/read", "text").await.body()[..], b"read 4");
}

#[tokio::test]
async fn headers_that_fit_no_frame() {
    let mut listening = dialback::net::ListenerConfig::default();
    listening.proxy.max_frame = 4 << 10;
    for (failure, status) in [(FailurePolicy::CLOSED, 503), (FailurePolicy::OPEN, 503), (OPEN, 200)] {
        let stand = Stand::with(config(failure), listening.clone()).await;
        let _agent = stand.dial(agent_config(&HTTP), allow()).await;
        let request = stand.request("GET", "/").header("x", "a".repeat(8 << 10));
        let response = stand.send(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(stand.end().await.failure, Some(Cause::Unaskable));
    }
}

/// Lets an agent die with a piece of the request's body before it.
async fn death_in_a_request(failure: FailurePolicy) -> (Stand, hyper::Response<axum::body::Bytes>) {
    let (stand, agent) = Stand::asking(config(failure), &HTTP, silent(EventKind::RequestBodyChunk)).await;
    let sent = stand.request("POST", "/read").body(chunked(bytes(100_000), 9_000)).unwrap();
    let death = async {
        until("it has a piece", || !agent.log.request_pieces().is_empty()).await;
        agent.task.abort();
    };
    let (response, ()) = tokio::join!(stand.send(sent), death);
    (stand, response.unwrap())
}

#[tokio::test]
async fn an_agent_dies_in_the_middle_of_a_request() {
    let (stand, response) = death_in_a_request(FailurePolicy::CLOSED).await;
    assert_eq!(response.status(), 503);
    let summary = stand.end().await;
    assert_eq!(
        (summary.outcome, summary.failure, summary.passed),
        (Outcome::Failed, Some(Cause::Lost), true)
    );

    let (stand, response) = death_in_a_request(OPEN).await;
    assert_eq!(&response.body()[..], b"read 100000");
    let summary = stand.end().await;
    assert_eq!((summary.outcome, summary.failure), (Outcome::Allowed, Some(Cause::Lost)));
}

#[tokio::test]
async fn an_agent_dies_in_the_middle_of_a_response() {
    for (failure, whole) in [(FailurePolicy::CLOSED, false), (OPEN, true)] {
        let (stand, agent) =
            Stand::asking(config(failure), &HTTP, silent(EventKind::ResponseBodyChunk)).await;
        let sent = stand.request("GET", "/bytes/1000000").body(axum::body::Body::empty()).unwrap();
        let death = async {
            until("it has a piece", || !agent.log.response_pieces().is_empty()).await;
            agent.task.abort();
        };
        let (response, ()) = tokio::join!(stand.send(sent), death);
        assert_eq!(response.is_ok_and(|response| response.body()[..] == bytes(1_000_000)[..]), whole);
        let summary = stand.end().await;
        assert_eq!((summary.whole, summary.failure), (whole, Some(Cause::Lost)));
    }
}

#[tokio::test]
async fn a_deadline_in_the_middle_of_a_response() {
    for (failure, whole) in [(FailurePolicy::CLOSED, false), (OPEN, true)] {
        let config = AskConfig { deadline: Some(Duration::from_millis(50)), ..config(failure) };
        let (stand, agent) = Stand::asking(config, &HTTP, silent(EventKind::ResponseBodyChunk)).await;
        let sent = stand.request("GET", "/bytes/200000").body(axum::body::Body::empty()).unwrap();
        assert_eq!(stand.send(sent).await.is_ok_and(|response| response.body().len() == 200_000), whole);
        assert_eq!(stand.end().await.failure, Some(Cause::TimedOut));
        until("it is told", || agent.log.cancelled.lock().unwrap().len() == 1).await;
        assert_eq!(agent.log.response_pieces().len(), 1);
    }
}

#[tokio::test]
async fn a_request_goes_to_the_agent_that_is_left() {
    let (stand, first) = Stand::asking(config(FailurePolicy::CLOSED), &HTTP, allow()).await;
    let second = stand.dial(agent_config(&HTTP), allow()).await;
    first.control.shutdown();
    for _ in 0..50 {
        assert_eq!(stand.get("/").await.status(), 200);
    }
    assert!(!second.log.kinds().is_empty());
    first.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_agent_that_comes_back_is_asked_again() {
    let (stand, first) = Stand::asking(config(FailurePolicy::CLOSED), &HTTP, allow()).await;
    assert_eq!(stand.get("/").await.status(), 200);
    first.task.abort();
    until("it has gone", || stand.pool.connections() == 0).await;
    assert_eq!(stand.get("/").await.status(), 503);
    let _second = stand.dial(agent_config(&HTTP), allow()).await;
    assert_eq!(stand.get("/").await.status(), 200);
}

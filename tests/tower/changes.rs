//! Changes to headers and bodies.

use dialback::tower::{AskConfig, Guard, NotUtf8, Outcome};
use dialback::wire::{Answer, BodyMutation, Event, EventKind, HeaderOp};
use hyper::header::{COOKIE, HOST, HeaderValue};

use crate::app::bytes;
use crate::script::Script;
use crate::stand::{HTTP, Stand, chunked};

/// Answers one kind of event with that, and allows the others.
fn on(kind: EventKind, answer: Answer) -> Script {
    Script::new(move |event| if event.kind() == kind { answer.clone() } else { Answer::allow() })
}

fn text(response: &hyper::Response<axum::body::Bytes>) -> &str {
    str::from_utf8(response.body()).unwrap()
}

#[tokio::test]
async fn a_requests_headers_are_set_added_and_removed() {
    let answer = Answer::allow()
        .with_request_header(HeaderOp::set("x-user", "ada"))
        .with_request_header(HeaderOp::add("x-many", "2"))
        .with_request_header(HeaderOp::remove("cookie"));
    let (stand, _agent) =
        Stand::asking(AskConfig::default(), &HTTP, on(EventKind::RequestHeaders, answer)).await;
    let request =
        stand.request("GET", "/head").header("x-user", "eve").header("x-many", "1").header("cookie", "c");
    let response = stand.send(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
    let head = text(&response);
    for line in ["x-user: ada\n", "x-many: 1\n", "x-many: 2\n"] {
        assert!(head.contains(line), "{head}");
    }
    assert!(!head.contains("cookie") && !head.contains("eve"), "{head}");
}

#[tokio::test]
async fn a_responses_headers_change_from_either_answer() {
    let script = Script::new(|event| match event.kind() {
        EventKind::RequestHeaders => Answer::allow().with_response_header(HeaderOp::set("x-first", "1")),
        EventKind::ResponseHeaders => Answer::allow()
            .with_response_header(HeaderOp::add("x-first", "2"))
            .with_response_header(HeaderOp::remove("x-bytes")),
        EventKind::RequestBodyChunk
        | EventKind::ResponseBodyChunk
        | EventKind::RequestComplete
        | EventKind::WebSocketFrame
        | EventKind::GuardrailInspect
        | EventKind::Configure => Answer::allow(),
    });
    let (stand, _agent) = Stand::asking(AskConfig::default(), &HTTP, script).await;
    let response = stand.get("/latin1").await;
    let first: Vec<_> = response.headers().get_all("x-first").iter().collect();
    assert_eq!(first, ["1", "2"]);
    assert!(!response.headers().contains_key("x-bytes"));
}

#[tokio::test]
async fn what_frames_a_message_is_not_the_agents_to_change() {
    let answer = Answer::allow()
        .with_request_header(HeaderOp::set("host", "elsewhere"))
        .with_request_header(HeaderOp::set("transfer-encoding", "gzip"))
        .with_request_header(HeaderOp::set("x-fine", "1"))
        .with_response_header(HeaderOp::set("content-length", "1"))
        .with_response_header(HeaderOp::set("x-split", "1\r\nset-cookie: a=b"));
    let kinds = [EventKind::RequestHeaders];
    let (stand, _agent) =
        Stand::asking(AskConfig::default(), &kinds, on(EventKind::RequestHeaders, answer)).await;
    let response = stand.get("/head").await;
    let head = text(&response);
    assert!(head.contains("x-fine: 1\n") && head.contains(&format!("host: {}\n", stand.addr)), "{head}");
    assert!(!head.contains("gzip") && !response.headers().contains_key("set-cookie"));
    assert_eq!(response.headers()["content-length"], head.len().to_string());
    assert_eq!(stand.end().await.refused_changes, 4);
}

#[tokio::test]
async fn the_guard_is_the_operators() {
    let answer = Answer::allow()
        .with_request_header(HeaderOp::set("host", "inner"))
        .with_request_header(HeaderOp::set("cookie", "forged=1"));
    let config = AskConfig { guard: Guard::default().permit(&HOST).forbid(&COOKIE), ..AskConfig::default() };
    let (stand, _agent) = Stand::asking(config, &HTTP, on(EventKind::RequestHeaders, answer)).await;
    let response = stand.get("/head").await;
    assert!(text(&response).contains("host: inner\n") && !text(&response).contains("forged"));
    assert_eq!(stand.end().await.refused_changes, 1);
}

#[tokio::test]
async fn a_change_that_comes_too_late_is_counted() {
    let answer = Answer::allow().with_request_header(HeaderOp::set("x-late", "1"));
    let (stand, _agent) =
        Stand::asking(AskConfig::default(), &HTTP, on(EventKind::ResponseHeaders, answer)).await;
    assert_eq!(stand.get("/").await.status(), 200);
    assert_eq!(stand.end().await.refused_changes, 1);
}

#[tokio::test]
async fn the_router_hears_what_the_agent_says_to_it() {
    let mut answer = Answer::allow();
    answer.routing_metadata.insert("tenant".into(), "seven".into());
    let (stand, _agent) =
        Stand::asking(AskConfig::default(), &HTTP, on(EventKind::RequestHeaders, answer)).await;
    assert!(text(&stand.get("/head").await).contains("routing tenant=seven\n"));
}

#[tokio::test]
async fn the_agent_is_told_what_the_proxy_knows() {
    let config = AskConfig::default().describe(|parts, metadata| {
        metadata.client_ip = "192.0.2.7".into();
        metadata.correlation_id = format!("mine-{}", parts.uri.path().len()).into();
        metadata.route_id = Some("all".into());
    });
    let (stand, agent) = Stand::asking(config, &HTTP, Script::new(|_| Answer::allow())).await;
    stand.get("/head?a=b").await;
    let event = agent.log.request_headers();
    assert_eq!((event.method.as_str(), event.uri.as_str()), ("GET", "/head?a=b"));
    assert_eq!(event.metadata.correlation_id.as_str(), "mine-5");
    assert_eq!(
        (event.metadata.client_ip.as_str(), event.metadata.route_id.as_deref()),
        ("192.0.2.7", Some("all"))
    );
    assert_eq!(
        (event.metadata.protocol.as_str(), event.metadata.server_name.as_deref()),
        ("HTTP/1.1", Some("127.0.0.1"))
    );
    assert!(event.metadata.timestamp.ends_with('Z'));
}

#[tokio::test]
async fn header_bytes_that_are_no_text_keep_what_they_are() {
    let (stand, agent) = Stand::asking(AskConfig::default(), &HTTP, Script::new(|_| Answer::allow())).await;
    let request = stand.request("GET", "/latin1").header("x", HeaderValue::from_bytes(b"a\xff").unwrap());
    let response = stand.send(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
    assert!(agent.log.request_headers().headers.get_all("x").eq(["a\u{fffd}"]));
    assert_eq!(response.headers()["x-bytes"].as_bytes(), b"gr\xfcn");
}

#[tokio::test]
async fn header_bytes_that_are_no_text_can_be_refused() {
    let config = AskConfig { not_utf8: NotUtf8::Refuse, ..AskConfig::default() };
    let (stand, agent) = Stand::asking(config.clone(), &HTTP, Script::new(|_| Answer::allow())).await;
    let request = stand.request("GET", "/").header("x", HeaderValue::from_bytes(b"a\xff").unwrap());
    let response = stand.send(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(stand.end().await.outcome, Outcome::BadRequest);
    assert!(!agent.log.kinds().contains(&EventKind::RequestHeaders));

    let (stand, _agent) = Stand::asking(config, &HTTP, Script::new(|_| Answer::allow())).await;
    assert_eq!(stand.get("/latin1").await.status(), 502);
    assert_eq!(stand.end().await.outcome, Outcome::BadResponse);
}

/// Upper case for every piece of the request but the second, which is dropped.
fn shout(event: &Event) -> Answer {
    let Event::RequestBodyChunk(piece) = event else { return Answer::allow() };
    let mutation = match piece.chunk_index {
        1 => BodyMutation::drop_chunk(1),
        2 => BodyMutation::unchanged(2),
        index => BodyMutation::replace(index, piece.data.to_ascii_uppercase()),
    };
    Answer::allow().with_request_body(mutation)
}

#[tokio::test]
async fn pieces_of_a_request_are_replaced_dropped_and_kept() {
    let config = AskConfig { piece_size: 4, ..AskConfig::default() };
    for states_length in [true, false] {
        let (stand, _agent) = Stand::asking(config.clone(), &HTTP, Script::new(shout)).await;
        let sent = b"aaaabbbbccccdd".to_vec();
        let body = if states_length { sent.into() } else { chunked(sent, 4) };
        assert_eq!(text(&stand.post("/echo", body).await), "AAAAccccDD");
        let summary = stand.end().await;
        assert_eq!((summary.request_bytes, summary.response_bytes), (14, 10));
        assert!(summary.changed_pieces >= 3);
    }
}

#[tokio::test]
async fn pieces_of_a_response_grow_and_go() {
    let script = Script::new(|event| {
        let Event::ResponseBodyChunk(piece) = event else { return Answer::allow() };
        let doubled = piece.data.repeat(2);
        Answer::allow().with_response_body(BodyMutation::replace(piece.chunk_index, doubled))
    });
    for path in ["/bytes/100000", "/stream/100000"] {
        let config = AskConfig { piece_size: 10_000, ..AskConfig::default() };
        let (stand, _agent) = Stand::asking(config, &HTTP, script.clone()).await;
        let response = stand.get(path).await;
        let expected: Vec<_> = bytes(100_000).chunks(10_000).flat_map(|piece| piece.repeat(2)).collect();
        assert!(response.body()[..] == expected[..], "{} bytes", response.body().len());
        assert!(!response.headers().contains_key("content-length"));
    }
    // All of it may go.
    let script = Script::new(|event| {
        let Event::ResponseBodyChunk(piece) = event else { return Answer::allow() };
        Answer::allow().with_response_body(BodyMutation::drop_chunk(piece.chunk_index))
    });
    let (stand, _agent) = Stand::asking(AskConfig::default(), &HTTP, script).await;
    assert_eq!(stand.get("/bytes/70000").await.body().len(), 0);
}

#[tokio::test]
async fn something_can_be_put_after_the_end() {
    let script = Script::new(|event| {
        let Event::ResponseBodyChunk(piece) = event else { return Answer::allow() };
        if !(piece.is_last && piece.data.is_empty()) {
            return Answer::allow();
        }
        Answer::allow().with_response_body(BodyMutation::replace(piece.chunk_index, "the end"))
    });
    let (stand, _agent) = Stand::asking(AskConfig::default(), &HTTP, script).await;
    let response = stand.get("/stream/10").await;
    assert!(response.body()[..] == [&bytes(10)[..], b"the end"].concat());
}

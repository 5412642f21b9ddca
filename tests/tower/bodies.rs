//! Bodies pass whole and unchanged, in pieces, within bounds.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use dialback::net::ListenerConfig;
use dialback::tower::{AskConfig, Outcome};
use dialback::wire::{Answer, EventKind};
use http_body_util::BodyExt;
use tokio::time::sleep;

use crate::app::bytes;
use crate::script::{Reply, Script};
use crate::stand::{HTTP, Stand, agent_config, chunked, read_all, until};

const MIB: usize = 1 << 20;

fn allow() -> Script {
    Script::new(|_| Answer::allow())
}

/// The parts of a piece, whichever side it is of.
struct Piece {
    data: Vec<u8>,
    index: u32,
    so_far: u64,
    last: bool,
    total: Option<u64>,
}

/// Pieces are in order, count what they say, and one is the last.
fn assert_pieces(pieces: &[Piece], body: &[u8], total: Option<u64>, largest: usize) {
    let mut seen = Vec::new();
    for (number, piece) in pieces.iter().enumerate() {
        assert!(piece.data.len() <= largest, "{} bytes", piece.data.len());
        seen.extend_from_slice(&piece.data);
        assert_eq!((piece.index as usize, piece.so_far), (number, seen.len() as u64));
        assert_eq!((piece.last, piece.total), (number + 1 == pieces.len(), total));
    }
    assert!(seen == body, "the agent saw {} other bytes for {}", seen.len(), body.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_all_sizes_pass_both_ways() {
    for length in [0, 1, 65_535, 65_536, 65_537, MIB, 10 * MIB] {
        for states_length in [true, false] {
            let (stand, agent) = Stand::asking(AskConfig::default(), &HTTP, allow()).await;
            let sent = bytes(length);
            let body = if states_length { Body::from(sent.clone()) } else { chunked(sent.clone(), 10_007) };
            let response = stand.post("/echo", body).await;
            assert_eq!(response.status(), 200);
            assert!(response.body()[..] == sent[..], "{length} bytes came back as {}", response.body().len());

            let summary = stand.end().await;
            let passed = (summary.request_bytes, summary.response_bytes, summary.whole);
            assert_eq!(passed, (length as u64, length as u64, true));
            let total = (states_length && length > 0).then_some(length as u64);
            let came = agent.log.request_pieces().into_iter().map(|piece| Piece {
                data: piece.data.into_vec(),
                index: piece.chunk_index,
                so_far: piece.bytes_received,
                last: piece.is_last,
                total: piece.total_size,
            });
            assert_pieces(&came.collect::<Vec<_>>(), &sent, total, 64 << 10);
            // The request's body has lost its length on the way, and so the response has none.
            let went = agent.log.response_pieces().into_iter().map(|piece| Piece {
                data: piece.data.into_vec(),
                index: piece.chunk_index,
                so_far: piece.bytes_sent,
                last: piece.is_last,
                total: piece.total_size,
            });
            assert_pieces(&went.collect::<Vec<_>>(), &sent, None, 64 << 10);
            until("the completion comes", || agent.log.completions().len() == 1).await;
            let completion = &agent.log.completions()[0];
            assert_eq!((completion.status, completion.error.as_deref()), (200, None));
            assert_eq!(
                (completion.request_body_size, completion.response_body_size),
                (length as u64, length as u64)
            );
        }
    }
}

#[tokio::test]
async fn a_response_passes_with_and_without_a_length() {
    for path in ["/bytes", "/stream"] {
        for length in [0, 1, 200_000] {
            let (stand, agent) = Stand::asking(AskConfig::default(), &HTTP, allow()).await;
            let response = stand.get(&format!("{path}/{length}")).await;
            assert!(response.body()[..] == bytes(length)[..]);
            let pieces = agent.log.response_pieces();
            // A body that is known to be empty has no pieces; one that turns out to be has its end.
            assert_eq!(pieces.is_empty(), path == "/bytes" && length == 0);
            assert_eq!(pieces.iter().filter(|piece| piece.is_last).count(), usize::from(!pieces.is_empty()));
        }
    }
}

#[tokio::test]
async fn the_agent_is_asked_only_for_what_it_registered_for() {
    for kind in HTTP {
        let config = AskConfig { needs: Vec::new(), ..AskConfig::default() };
        let (stand, agent) = Stand::asking(config, &[kind], allow()).await;
        let response = stand.post("/echo", "some text").await;
        assert_eq!(&response.body()[..], b"some text");
        until("it was asked", || !agent.log.kinds().is_empty()).await;
        assert!(agent.log.kinds().iter().all(|seen| *seen == kind), "{kind}: {:?}", agent.log.kinds());
    }
}

#[tokio::test]
async fn a_body_that_nobody_looks_at_keeps_its_length() {
    let kinds = [EventKind::RequestHeaders, EventKind::ResponseHeaders];
    let (stand, _agent) = Stand::asking(AskConfig::default(), &kinds, allow()).await;
    let head = stand.post("/head", "12345").await;
    assert!(str::from_utf8(head.body()).unwrap().contains("content-length: 5\n"), "{head:?}");
    assert!(head.headers().contains_key("content-length"));
}

#[tokio::test]
async fn a_body_that_is_looked_at_is_framed_anew() {
    let (stand, _agent) = Stand::asking(AskConfig::default(), &HTTP, allow()).await;
    let head = stand.post("/head", "12345").await;
    assert!(!str::from_utf8(head.body()).unwrap().contains("content-length"), "{head:?}");
    assert!(!head.headers().contains_key("content-length"));
    assert_eq!(head.headers()["transfer-encoding"], "chunked");
    // To a client that knows no chunks the end of the connection is the end of the body.
    let old = read_all(stand.raw("GET / HTTP/1.0\r\n\r\n").await).await;
    assert!(old.ends_with("\r\n\r\nhello") && !old.contains("chunked"), "{old}");
}

#[tokio::test]
async fn the_answer_to_head_keeps_its_length() {
    let (stand, agent) = Stand::asking(AskConfig::default(), &HTTP, allow()).await;
    let response =
        stand.send(stand.request("HEAD", "/bytes/4000").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!((&response.headers()["content-length"], response.body().len()), (&"4000".parse().unwrap(), 0));
    assert!(agent.log.response_pieces().is_empty());
    assert!(stand.end().await.whole);
}

#[tokio::test]
async fn pieces_are_as_small_as_either_side_wants() {
    let sent = bytes(40_000);
    let config = AskConfig { piece_size: 3_000, ..AskConfig::default() };
    let (stand, agent) = Stand::asking(config, &HTTP, allow()).await;
    assert!(stand.post("/echo", sent.clone()).await.body()[..] == sent[..]);
    assert_eq!(agent.log.request_pieces().iter().map(|piece| piece.data.len()).max(), Some(3_000));

    let stand = Stand::new(AskConfig::default()).await;
    let mut config = agent_config(&HTTP);
    config.agent.registration.capabilities.limits.preferred_chunk_size = 1_000;
    let agent = stand.dial(config, allow()).await;
    assert!(stand.post("/echo", sent.clone()).await.body()[..] == sent[..]);
    assert_eq!(agent.log.response_pieces().iter().map(|piece| piece.data.len()).max(), Some(1_000));
}

#[tokio::test]
async fn pieces_are_cut_to_what_fits_a_frame() {
    let mut listening = ListenerConfig::default();
    listening.proxy.max_frame = 8 << 10;
    let stand = Stand::with(AskConfig::default(), listening).await;
    let agent = stand.dial(agent_config(&HTTP), allow()).await;
    let sent = bytes(300_000);
    assert!(stand.post("/echo", sent.clone()).await.body()[..] == sent[..]);
    assert!(agent.log.request_pieces().iter().all(|piece| piece.data.len() < 8 << 10));
    assert_eq!(stand.end().await.outcome, Outcome::Allowed);
}

#[tokio::test]
async fn trailers_pass() {
    let (stand, agent) = Stand::asking(AskConfig::default(), &HTTP, allow()).await;
    let request = stand.request("GET", "/trailers").header("te", "trailers").body(Body::empty()).unwrap();
    let collected = stand.begin(request).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "7");
    assert_eq!(&collected.to_bytes()[..], b"body");
    let last: Vec<_> =
        agent.log.response_pieces().iter().map(|piece| (piece.data.to_vec(), piece.is_last)).collect();
    assert_eq!(last, [(b"body".to_vec(), false), (Vec::new(), true)]);
    assert!(stand.end().await.whole);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_stops_the_app_and_the_agent() {
    let (stand, agent) = Stand::asking(AskConfig::default(), &HTTP, allow()).await;
    let client = stand.raw("GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await;
    until("it has begun", || agent.log.response_pieces().len() > 2).await;
    let produced = || stand.seen.produced.load(Ordering::SeqCst);
    // Once the sockets are full nothing moves. Without back-pressure this never comes to rest.
    let mut before = 0;
    until("it comes to rest", || {
        std::thread::sleep(Duration::from_millis(200));
        std::mem::replace(&mut before, produced()) == produced()
    })
    .await;
    assert!(produced() < 64 << 20, "{} bytes were made for nobody", produced());
    // One frame is asked about, and at most one more given to the server.
    let asked: usize = agent.log.response_pieces().iter().map(|piece| piece.data.len()).sum();
    assert!(produced() - asked as u64 <= 2 << 16);
    drop(client);
    until("it is told", || !agent.log.completions().is_empty()).await;
    assert_eq!(agent.log.completions()[0].error.as_deref(), Some("the response broke off"));
}

#[tokio::test]
async fn an_agent_that_is_slow_slows_the_client() {
    let script = Script::new(|event| {
        if event.kind() == EventKind::RequestBodyChunk { Reply::Never } else { Answer::allow().into() }
    });
    let (stand, agent) = Stand::asking(AskConfig::default(), &HTTP, script).await;
    let client = stand.raw("POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 500000000\r\n\r\n").await;
    let mut written = 0_usize;
    let piece = bytes(64 << 10);
    // The client writes until the sockets are full.
    let mut quiet = 0;
    while quiet < 20 {
        match client.try_write(&piece) {
            Ok(count) => (written, quiet) = (written + count, 0),
            Err(_) => {
                quiet += 1;
                sleep(Duration::from_millis(10)).await;
            }
        }
        assert!(written < 64 << 20, "{written} bytes were taken that nobody has looked at");
    }
    assert_eq!(agent.log.request_pieces().len(), 1);
}

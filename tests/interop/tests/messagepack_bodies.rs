//! What the peer's agent server makes of body bytes in MessagePack, by raw frames. This is why a
//! forward connection in MessagePack carries bodies as base64 text.

use std::path::Path;

use dialback_interop::agent::PeerAgent;
use dialback_interop::events::{BINARY, base64};
use dialback_interop::soon;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use zentinel_agent_protocol::AgentResponse;

#[derive(Serialize)]
struct Chunk<'a, T> {
    correlation_id: &'a str,
    data: T,
    is_last: bool,
    total_size: Option<usize>,
    chunk_index: u32,
    bytes_received: usize,
}

async fn exchange(stream: &mut UnixStream, kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 1).unwrap();
    stream.write_all(&[&length.to_be_bytes()[..], &[kind], payload].concat()).await.unwrap();
    let length = soon("an answer's length", stream.read_u32()).await.unwrap();
    let mut frame = vec![0; length as usize];
    stream.read_exact(&mut frame).await.unwrap();
    frame.split_off(1)
}

async fn connect(path: &Path) -> UnixStream {
    let mut stream = UnixStream::connect(path).await.unwrap();
    let hello = br#"{"supported_versions":[2],"proxy_id":"raw","proxy_version":"0","config":null,"supported_encodings":["msgpack"]}"#;
    let answer = exchange(&mut stream, 0x01, hello).await;
    assert!(String::from_utf8(answer).unwrap().contains(r#""encoding":"msgpack""#));
    stream
}

async fn ask<T: Serialize>(stream: &mut UnixStream, id: &str, data: T) -> AgentResponse {
    let chunk = Chunk {
        correlation_id: id,
        data,
        is_last: true,
        total_size: None,
        chunk_index: 0,
        bytes_received: 1,
    };
    let payload = rmp_serde::to_vec_named(&chunk).unwrap();
    rmp_serde::from_slice(&exchange(stream, 0x11, &payload).await).unwrap()
}

/// Raw bytes that are UTF-8 reach the handler as if they were the base64 text; raw bytes that are
/// not reach no handler at all and are allowed; base64 text arrives as it should.
#[tokio::test]
async fn raw_bytes_mislead_the_peer_and_base64_text_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let agent = PeerAgent::start(dir.path()).await;
    let mut stream = connect(&agent.path).await;

    let answer = ask(&mut stream, "utf8", serde_bytes::Bytes::new(b"hello")).await;
    println!("bin, UTF-8: handler saw {:?}, answer {answer:?}", agent.saw("utf8"));
    assert_eq!(agent.saw("utf8"), ["request chunk 0 last=true hello"]);

    let answer = ask(&mut stream, "binary", serde_bytes::Bytes::new(BINARY)).await;
    println!("bin, not UTF-8: handler saw {:?}, answer {answer:?}", agent.saw("binary"));
    assert!(agent.saw("binary").is_empty(), "the handler was never asked");
    assert_eq!(answer.decision, zentinel_agent_protocol::Decision::Allow);
    assert_eq!(answer.request_body_mutation, None);

    let answer = ask(&mut stream, "text", base64(BINARY)).await;
    println!("str, base64: handler saw {:?}, answer {answer:?}", agent.saw("text"));
    assert_eq!(agent.saw("text"), [format!("request chunk 0 last=true {}", base64(BINARY))]);
    assert!(answer.request_body_mutation.is_some());
}

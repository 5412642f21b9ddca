//! A peer by hand: bytes and JSON over a socket, with nothing of the library in it.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

/// "At once": far below every default, and long enough for a busy machine.
pub const SOON: Duration = Duration::from_secs(5);

pub const REGISTRATION: u8 = 0x01;
pub const RESPONSE: u8 = 0x02;
pub const HEADERS: u8 = 0x10;
pub const CHUNK: u8 = 0x11;
pub const ANSWER: u8 = 0x20;
pub const HEALTH: u8 = 0x30;
pub const FLOW: u8 = 0x33;
pub const CANCEL: u8 = 0x40;
pub const PING: u8 = 0x41;
pub const PONG: u8 = 0x42;

/// One frame as it was on the wire.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap()
    }

    /// The correlation id of an event or a Cancel.
    pub fn id(&self) -> String {
        self.json()["correlation_id"].as_str().unwrap().into()
    }
}

/// No frames, by their kinds.
pub const NOTHING: [u8; 0] = [];

/// The kinds of some frames, for comparing.
pub fn kinds(frames: &[Frame]) -> Vec<u8> {
    frames.iter().map(|frame| frame.kind).collect()
}

/// A frame's bytes.
pub fn frame(kind: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len() + 1).unwrap();
    [&length.to_be_bytes()[..], &[kind], payload].concat()
}

/// A registration that can do everything and states no limit, exactly as deployed agents send it.
pub fn registration(id: &str) -> Value {
    json!({
        "protocol_version": 2, "agent_id": id, "auth_token": null, "metadata": null,
        "capabilities": {
            "agent_id": id, "name": id, "version": "1.0.0", "supported_events": [1, 2, 3, 4, 5, 6, 7],
            "features": {
                "streaming_body": true, "websocket": true, "guardrails": true, "config_push": true,
                "metrics_export": true, "concurrent_requests": 0, "cancellation": true,
                "flow_control": true, "health_reporting": true
            },
            "limits": {"max_body_size": 1_048_576, "max_concurrency": 0, "preferred_chunk_size": 65_536}
        }
    })
}

/// An answer to an event of `id`. `tag` tells one answer from another.
pub fn answer(id: &str, decision: Value, tag: &str) -> Vec<u8> {
    json!({
        "version": 2, "decision": decision, "request_headers": [], "response_headers": [],
        "routing_metadata": {}, "needs_more": false, "request_body_mutation": null,
        "response_body_mutation": null, "websocket_decision": null,
        "audit": {"tags": [tag], "rule_ids": [], "confidence": null, "reason_codes": [],
                  "custom": {"correlation_id": id}}
    })
    .to_string()
    .into_bytes()
}

/// Our end of a socket.
pub struct Raw<IO = UnixStream> {
    pub io: IO,
    buffer: Vec<u8>,
}

impl Raw {
    pub async fn dial(path: &Path) -> Self {
        Self::new(UnixStream::connect(path).await.unwrap())
    }

    /// Waits for an agent to dial, reads its registration and grants it.
    pub async fn grant(listener: &UnixListener) -> (Self, Value) {
        let (io, _) = timeout(SOON, listener.accept()).await.unwrap().unwrap();
        let mut raw = Self::new(io);
        let registration = raw.expect(REGISTRATION).await.json();
        let granted = json!({"success": true, "error": null, "proxy_id": "p", "proxy_version": "1",
                             "connection_id": "c"});
        raw.send(RESPONSE, granted.to_string()).await;
        (raw, registration)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Raw<IO> {
    pub const fn new(io: IO) -> Self {
        Self { io, buffer: Vec::new() }
    }

    /// Writes bytes as they are. Whether the peer still takes them is not ours to judge.
    pub async fn bytes(&mut self, bytes: &[u8]) {
        let _ = timeout(SOON, self.io.write_all(bytes)).await.unwrap();
    }

    pub async fn send(&mut self, kind: u8, payload: impl AsRef<[u8]>) {
        timeout(SOON, self.io.write_all(&frame(kind, payload))).await.unwrap().unwrap();
    }

    /// Sends a registration and reads the response.
    pub async fn register(&mut self, registration: &Value) -> Value {
        self.send(REGISTRATION, registration.to_string()).await;
        self.expect(RESPONSE).await.json()
    }

    pub async fn allow(&mut self, id: &str, tag: &str) {
        self.send(ANSWER, answer(id, json!("allow"), tag)).await;
    }

    pub async fn block(&mut self, id: &str, status: u16) {
        let block = json!({"block": {"status": status, "body": null, "headers": null}});
        self.send(ANSWER, answer(id, block, "")).await;
    }

    /// `action`: 1 pause, 2 resume. Without an id it means the whole connection.
    pub async fn flow(&mut self, id: Option<&str>, action: u8) {
        let flow = json!({"correlation_id": id, "action": action, "timestamp_ms": 0});
        self.send(FLOW, flow.to_string()).await;
    }

    /// The next frame; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((field, rest)) = self.buffer.split_first_chunk::<4>()
                && let Some(whole) = rest.get(..u32::from_be_bytes(*field) as usize)
            {
                let frame = Frame { kind: whole[0], payload: whole[1..].to_vec() };
                self.buffer.drain(..whole.len() + 4);
                return Some(frame);
            }
            let read = timeout(SOON, self.io.read_buf(&mut self.buffer)).await;
            match read.expect("neither a frame nor an end") {
                Ok(0) => {
                    assert!(self.buffer.is_empty(), "half a frame");
                    return None;
                }
                Ok(_) => {}
                // So a Unix socket ends that is closed with bytes unread.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The next frame, which must be of this type.
    pub async fn expect(&mut self, kind: u8) -> Frame {
        let frame = self.next().await.expect("the end of the stream");
        let text = String::from_utf8_lossy(&frame.payload[..frame.payload.len().min(400)]);
        assert_eq!(frame.kind, kind, "got {:#04x}, want {kind:#04x}: {text}", frame.kind);
        frame
    }

    /// Reads a refusal with a reason, and the end of the stream. Returns the reason. One that says
    /// to retry also says when.
    pub async fn refusal(&mut self) -> String {
        let response = self.expect(RESPONSE).await.json();
        assert_eq!((&response["success"], &response["connection_id"]), (&json!(false), &json!("")));
        let retry = response["error"].as_str().is_some_and(|words| words.contains("retry later"));
        let wait = response["retry_after_ms"].as_u64();
        assert!(!retry || wait.is_some_and(|wait| wait > 0), "{response}");
        assert!(self.next().await.is_none(), "not closed after {response}");
        response["error"].as_str().unwrap().into()
    }

    /// Everything that the other side had to say up to now.
    ///
    /// An answered ping shows that what was sent before it has been read. What that let loose is
    /// written at the latest behind the first pong, so at the latest before the second.
    pub async fn said(&mut self) -> Vec<Frame> {
        let mut said = Vec::new();
        for round in ["first", "second"] {
            self.send(PING, round).await;
            loop {
                let frame = self.next().await.expect("the end of the stream");
                if frame.kind == PONG {
                    assert_eq!(frame.payload, round.as_bytes());
                    break;
                }
                said.push(frame);
            }
        }
        said
    }

    /// Everything up to the end of the stream.
    pub async fn rest(&mut self) -> Vec<Frame> {
        let mut rest = Vec::new();
        while let Some(frame) = self.next().await {
            rest.push(frame);
        }
        rest
    }
}

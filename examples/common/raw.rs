//! An agent's end of a socket, without any of the library: it says what it likes.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

/// Everything that a peer waits for must come within this time.
pub const BOUND: Duration = Duration::from_secs(15);

/// One frame.
pub fn frame(kind: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len() + 1).expect("a frame's length");
    [&length.to_be_bytes()[..], &[kind], payload].concat()
}

/// A registration's frame.
pub fn registration(id: &str) -> Vec<u8> {
    let features = r#""features":{"cancellation":true,"flow_control":true}"#;
    frame(
        1,
        format!(
            r#"{{"protocol_version":2,"agent_id":"{id}","capabilities":{{"supported_events":[1,2],{features}}}}}"#
        ),
    )
}

/// An answer's frame: the least that says which request it is about, and a tag to know it by.
pub fn answer(id: &str) -> Vec<u8> {
    frame(
        0x20,
        format!(
            r#"{{"version":2,"decision":"allow","audit":{{"tags":["{id}"],"custom":{{"correlation_id":"{id}"}}}}}}"#
        ),
    )
}

/// What the proxy said to a registration.
pub enum Said {
    /// Welcome.
    Yes,
    /// Not now, not you; in these words, and when to come again.
    No(String, Option<Duration>),
    /// Nothing, and hung up.
    Nothing,
}

/// An agent's end of a socket.
pub struct Raw {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Raw {
    /// Dials, with patience where the backlog is full.
    pub async fn dial(path: &Path) -> Self {
        let dialled = timeout(BOUND, async {
            loop {
                match UnixStream::connect(path).await {
                    Ok(stream) => return stream,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        sleep(Duration::from_millis(2)).await
                    }
                    Err(error) => panic!("can't dial: {error}"),
                }
            }
        });
        Self { stream: dialled.await.expect("the backlog stays full"), buffer: Vec::new() }
    }

    /// Dials and registers once.
    pub async fn knock(path: &Path, id: &str) -> (Self, Said) {
        let mut raw = Self::dial(path).await;
        // A refusal may come before the registration has gone out.
        let _ = raw.send(&registration(id)).await;
        let said = raw.reply().await;
        (raw, said)
    }

    /// Dials and registers, again and again when told to come later. Returns how often it was.
    pub async fn register(path: &Path, id: &str) -> (Self, usize) {
        let mut refused = 0;
        let registered = timeout(BOUND, async {
            loop {
                match Self::knock(path, id).await {
                    (raw, Said::Yes) => return raw,
                    (_, Said::No(_, Some(wait))) => sleep(wait / 4).await,
                    (_, Said::No(words, None)) => panic!("refused for good: {words}"),
                    (_, Said::Nothing) => sleep(Duration::from_millis(50)).await,
                }
                refused += 1;
            }
        });
        let raw = registered.await.unwrap_or_else(|_| panic!("{id} is not let in"));
        (raw, refused)
    }

    /// What the proxy says to a registration.
    pub async fn reply(&mut self) -> Said {
        let Some((2, payload)) = self.next().await else { return Said::Nothing };
        let response: Value = serde_json::from_slice(&payload).expect("a response is JSON");
        match response["success"].as_bool() {
            Some(true) => Said::Yes,
            _ => Said::No(
                response["error"].as_str().unwrap_or_default().into(),
                response["retry_after_ms"].as_u64().map(Duration::from_millis),
            ),
        }
    }

    /// Writes.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next frame, or `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((field, rest)) = self.buffer.split_first_chunk::<4>() {
                let length = u32::from_be_bytes(*field) as usize;
                if let Some(whole) = rest.get(..length) {
                    let found = (whole[0], whole[1..].to_vec());
                    self.buffer.drain(..length + 4);
                    return Some(found);
                }
            }
            let read = timeout(BOUND, self.stream.read_buf(&mut self.buffer)).await;
            // A Unix socket that is closed with bytes unread ends with an error.
            match read.expect("neither a word nor an end") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The correlation id of the next event; `None` at the end of the stream.
    pub async fn event(&mut self) -> Option<String> {
        loop {
            let (kind, payload) = self.next().await?;
            if matches!(kind, 0x10 | 0x11) {
                let event: Value = serde_json::from_slice(&payload).expect("an event is JSON");
                return event["correlation_id"].as_str().map(Into::into);
            }
        }
    }

    /// Answers the next event as it should.
    pub async fn answer_one(&mut self) -> bool {
        let Some(id) = self.event().await else { return false };
        self.send(&answer(&id)).await.is_ok()
    }

    /// Whether the proxy still answers a ping.
    pub async fn is_served(&mut self) -> bool {
        if self.send(&frame(0x41, "still there?")).await.is_err() {
            return false;
        }
        while let Some((kind, payload)) = self.next().await {
            if kind == 0x42 && payload == b"still there?" {
                return true;
            }
        }
        false
    }

    /// Reads to the end of the stream.
    pub async fn end(&mut self) {
        while self.next().await.is_some() {}
    }
}

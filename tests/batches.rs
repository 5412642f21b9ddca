//! What several tasks say together goes out in one write, and nothing waits because of it.
//!
//! The runtime has one worker, on which everything runs: what a task wakes last it runs first, as
//! on every worker of a larger one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use dialback::net::{Acceptor, AgentHandle, ListenerConfig};
use dialback::wire::{
    Answer, Capabilities, Encoding, EventKind, FrameType, MAX_FRAME, Ping, Registration, RequestHeaders,
    encode_message,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::task::JoinSet;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(10);
const CALLERS: usize = 8;

/// Counts the writes that took anything.
struct Counting {
    io: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counting {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, bytes);
        if written.is_ready() {
            this.writes.fetch_add(1, Ordering::SeqCst);
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

/// An agent by hand.
struct Agent {
    io: DuplexStream,
    handle: AgentHandle,
    writes: Arc<AtomicUsize>,
}

impl Agent {
    async fn register() -> Self {
        let (ours, mut io) = duplex(1 << 20);
        let writes = Arc::new(AtomicUsize::new(0));
        let counting = Counting { io: ours, writes: Arc::clone(&writes) };
        let acceptor = Acceptor::new(ListenerConfig::default()).unwrap();
        let accepting = tokio::spawn(async move { acceptor.accept(counting).await });
        let registration = Registration::new(Capabilities::new("agent", EventKind::ALL));
        let mut frame = Vec::new();
        encode_message(FrameType::HandshakeRequest, Encoding::Json, &registration, MAX_FRAME, &mut frame)
            .unwrap();
        io.write_all(&frame).await.unwrap();
        assert_eq!(read_frame(&mut io).await, FrameType::HandshakeResponse.to_byte());
        let handle = timeout(LIMIT, accepting).await.unwrap().unwrap().unwrap();
        writes.store(0, Ordering::SeqCst);
        Self { io, handle, writes }
    }

    /// Reads as many events as there are callers, and answers all of them in one write.
    async fn answer_all(&mut self, round: usize) {
        for _ in 0..CALLERS {
            assert_eq!(self.next().await, FrameType::RequestHeaders.to_byte());
        }
        let mut frames = Vec::new();
        for caller in 0..CALLERS {
            let mut answer = Answer::allow();
            answer.audit.set_ids(&name(caller, round).as_str().into(), None);
            encode_message(FrameType::AgentResponse, Encoding::Json, &answer, MAX_FRAME, &mut frames)
                .unwrap();
        }
        self.io.write_all(&frames).await.unwrap();
    }

    async fn next(&mut self) -> u8 {
        timeout(LIMIT, read_frame(&mut self.io)).await.expect("nothing is written any more")
    }
}

/// The type of the next frame.
async fn read_frame(io: &mut DuplexStream) -> u8 {
    let length = io.read_u32().await.unwrap() as usize;
    let kind = io.read_u8().await.unwrap();
    io.read_exact(&mut vec![0; length - 1]).await.unwrap();
    kind
}

fn name(caller: usize, round: usize) -> String {
    format!("request-{caller}-{round}")
}

/// Callers that ask one thing after the other.
fn callers(handle: &AgentHandle, rounds: usize) -> JoinSet<()> {
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let handle = handle.clone();
        callers.spawn(async move {
            for round in 0..rounds {
                let event = RequestHeaders::new(name(caller, round), "GET", "/");
                assert!(handle.request_headers(&event).await.unwrap().is_allow());
            }
        });
    }
    callers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_callers_ask_next_who_were_answered_together_goes_out_in_one_write() {
    const ROUNDS: usize = 10;
    let work = async {
        let mut agent = Agent::register().await;
        let callers = callers(&agent.handle, ROUNDS);
        for round in 0..ROUNDS {
            agent.answer_all(round).await;
        }
        timeout(LIMIT, callers.join_all()).await.unwrap();
        agent.writes.load(Ordering::SeqCst)
    };
    // The first of all is alone when it asks, and is not made to wait for others.
    assert_eq!(tokio::spawn(work).await.unwrap(), 1 + ROUNDS);
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_callers_who_ask_no_more_is_read() {
    let mut agent = Agent::register().await;
    let callers = callers(&agent.handle, 1);
    agent.answer_all(0).await;
    timeout(LIMIT, callers.join_all()).await.unwrap();
    let ping = Ping { sequence: 1, timestamp_ms: 0 };
    let mut frame = Vec::new();
    encode_message(FrameType::Ping, Encoding::Json, &ping, MAX_FRAME, &mut frame).unwrap();
    agent.io.write_all(&frame).await.unwrap();
    assert_eq!(agent.next().await, FrameType::Pong.to_byte());
}

//! Wake-ups at the moments where they are easily lost, made to happen and not waited for.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dialback::machine::CloseReason;
use dialback::net::{Acceptor, AgentHandle, AskError, ListenerConfig};
use dialback::wire::{
    Answer, Capabilities, Encoding, EventKind, FrameType, MAX_FRAME, Registration, RequestHeaders,
    encode_message,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::time::{Instant, timeout};

/// Of virtual time: it passes only when everybody sleeps.
const LIMIT: Duration = Duration::from_secs(10);

/// A stream that takes no byte once it is armed. Instead it closes the connection from within the
/// driver's own turn: after the driver's last look at the session, before it goes to sleep.
struct Meddler {
    io: DuplexStream,
    armed: Arc<Mutex<Option<AgentHandle>>>,
    stuck: bool,
}

impl AsyncRead for Meddler {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Meddler {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(handle) = this.armed.lock().unwrap().take() {
            this.stuck = true;
            handle.close();
        }
        if this.stuck { Poll::Pending } else { Pin::new(&mut this.io).poll_write(cx, bytes) }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

/// A registered agent by hand; what it is handed over with, and the proxy's handle to it.
async fn registered(armed: Arc<Mutex<Option<AgentHandle>>>) -> (DuplexStream, AgentHandle) {
    let (ours, mut theirs) = duplex(64 << 10);
    let acceptor = Acceptor::new(ListenerConfig::default()).unwrap();
    let io = Meddler { io: ours, armed, stuck: false };
    let accepting = tokio::spawn(async move { acceptor.accept(io).await });
    let registration = Registration::new(Capabilities::new("agent", EventKind::ALL));
    let mut frame = Vec::new();
    encode_message(FrameType::HandshakeRequest, Encoding::Json, &registration, MAX_FRAME, &mut frame)
        .unwrap();
    theirs.write_all(&frame).await.unwrap();
    assert_eq!(read_frame(&mut theirs).await, FrameType::HandshakeResponse.to_byte());
    (theirs, timeout(LIMIT, accepting).await.unwrap().unwrap().unwrap())
}

/// The type of the next frame.
async fn read_frame(io: &mut DuplexStream) -> u8 {
    let length = io.read_u32().await.unwrap() as usize;
    let kind = io.read_u8().await.unwrap();
    io.read_exact(&mut vec![0; length - 1]).await.unwrap();
    kind
}

fn headers() -> RequestHeaders {
    RequestHeaders::new("r", "GET", "/")
}

#[tokio::test(start_paused = true)]
async fn a_command_within_the_drivers_turn_is_acted_on() {
    let armed = Arc::default();
    let (_theirs, handle) = registered(Arc::clone(&armed)).await;
    *armed.lock().unwrap() = Some(handle.clone());
    let asked = handle.request_headers(headers()).send().unwrap();
    let error = timeout(LIMIT, asked).await.expect("the driver sleeps on").unwrap_err();
    assert!(matches!(error, AskError::ConnectionLost { .. }), "{error}");
    assert_eq!(timeout(LIMIT, handle.closed()).await.unwrap(), CloseReason::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_moves_to_another_task_wakes_that_one() {
    let (mut theirs, handle) = registered(Arc::default()).await;
    let mut asked = pin!(handle.request_headers(headers()).send().unwrap());
    // Looked at once by somebody who is gone before the answer comes.
    assert!(asked.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(read_frame(&mut theirs).await, FrameType::RequestHeaders.to_byte());
    let answering = async {
        tokio::task::yield_now().await;
        let mut answer = Answer::allow();
        answer.audit.set_ids(&"r".into(), None);
        let mut frame = Vec::new();
        encode_message(FrameType::AgentResponse, Encoding::Json, &answer, MAX_FRAME, &mut frame).unwrap();
        theirs.write_all(&frame).await.unwrap();
    };
    let start = Instant::now();
    let (answered, ()) = tokio::join!(timeout(LIMIT, asked), answering);
    assert!(answered.unwrap().unwrap().is_allow());
    // The end of the limit wakes it too, and then it finds its answer.
    assert!(start.elapsed() < LIMIT, "its caller slept on");
}

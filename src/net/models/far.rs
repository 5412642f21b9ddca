//! The other end of a connection: a session without a socket, which acts when it is written to and
//! when it is told to.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::machine::{ConnectionState, Timestamp};
use crate::session::{AgentSession, AgentSessionEvent, AgentSettings, Receipt, Session};
use crate::wire::Answer;

use super::super::clock::Clock;
use super::super::shared::Drive;
use super::super::sync::{Arc, Mutex, lock};

/// What the other end does with its session's events.
type React<S> = Box<dyn FnMut(&mut S, <S as Session>::Event, Timestamp) + Send>;

pub(super) struct Far<S: Drive> {
    inner: Arc<Mutex<Inner<S>>>,
}

struct Inner<S: Drive> {
    session: S,
    clock: Clock,
    react: React<S>,
    /// Bytes that the near end has not read.
    out: Vec<u8>,
    reader: Option<Waker>,
}

impl<S: Drive> Inner<S> {
    fn settle(&mut self) {
        let now = self.clock.now();
        while let Some(event) = self.session.poll_event() {
            (self.react)(&mut self.session, event, now);
        }
        self.session.poll_transmit(&mut self.out);
        while let Some(event) = self.session.poll_event() {
            (self.react)(&mut self.session, event, now);
        }
    }
}

impl<S: Drive> Far<S> {
    pub(super) fn new(
        session: S,
        clock: Clock,
        react: impl FnMut(&mut S, S::Event, Timestamp) + Send + 'static,
    ) -> Self {
        let mut inner = Inner { session, clock, react: Box::new(react), out: Vec::new(), reader: None };
        inner.settle();
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    pub(super) fn wire(&self) -> Wire<S> {
        Wire { inner: Arc::clone(&self.inner) }
    }

    /// Lets it do something of its own accord.
    pub(super) fn act<R>(&self, act: impl FnOnce(&mut S, Timestamp) -> R) -> R {
        let mut inner = lock(&self.inner);
        let now = inner.clock.now();
        let result = act(&mut inner.session, now);
        inner.settle();
        let reader = inner.reader.take();
        drop(inner);
        if let Some(reader) = reader {
            reader.wake();
        }
        result
    }
}

/// What a driver reads and writes.
pub(super) struct Wire<S: Drive> {
    inner: Arc<Mutex<Inner<S>>>,
}

impl<S: Drive> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.inner);
        let length = buffer.remaining().min(inner.out.len());
        if length > 0 {
            buffer.put_slice(&inner.out[..length]);
            inner.out.drain(..length);
        } else if inner.session.state() != ConnectionState::Closed {
            inner.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Drive> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = lock(&self.inner);
        let now = inner.clock.now();
        inner.session.handle_bytes(bytes, now);
        // The driver, which writes, reads again before it sleeps.
        inner.settle();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.inner);
        inner.session.handle_eof();
        inner.settle();
        Poll::Ready(Ok(()))
    }
}

// ---- agents ----

fn agent(
    mut handle: impl FnMut(&mut AgentSession, Box<Receipt>, Timestamp) + Send + 'static,
    mut cancelled: impl FnMut() + Send + 'static,
) -> Far<AgentSession> {
    let clock = Clock::start();
    let session = AgentSession::accept(AgentSettings::new(super::registration()), clock.now());
    Far::new(session, clock, move |session, event, now| match event {
        AgentSessionEvent::Handshake(pending) => session.accept_handshake(*pending, now).unwrap(),
        AgentSessionEvent::Event(receipt) => handle(session, receipt, now),
        AgentSessionEvent::Cancelled { .. } => cancelled(),
        AgentSessionEvent::Opened { .. } | AgentSessionEvent::Closed(_) => {}
    })
}

fn answer(session: &mut AgentSession, receipt: &Receipt, now: Timestamp) {
    let answer = receipt.encode(Answer::allow().with_tag(receipt.id.as_str())).unwrap();
    // The connection may have ended.
    let _ = session.answer(answer, now);
}

/// An agent that answers at once, with the request's id.
pub(super) fn answering() -> Far<AgentSession> {
    agent(|session, receipt, now| answer(session, &receipt, now), || {})
}

/// An agent that keeps the events of one request, and answers the others at once.
pub(super) fn keeping(id: &'static str) -> (Far<AgentSession>, Log) {
    let log = Log::default();
    let (events, cancels) = (log.clone(), log.clone());
    let handle = move |session: &mut AgentSession, receipt: Box<Receipt>, now| {
        let mut log = events.0.lock().unwrap();
        if receipt.id.as_str() == id {
            log.events += 1;
            if !log.told {
                return log.kept.push(*receipt);
            }
        }
        drop(log);
        answer(session, &receipt, now);
    };
    (agent(handle, move || cancels.0.lock().unwrap().cancelled += 1), log)
}

/// What an agent has seen. It is std's mutex, since the other end's guards it already.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<std::sync::Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    events: usize,
    cancelled: usize,
    kept: Vec<Receipt>,
    told: bool,
}

impl Log {
    pub(super) fn look<R>(&self, question: impl FnOnce(usize, usize) -> R) -> R {
        let seen = self.0.lock().unwrap();
        question(seen.events, seen.cancelled)
    }

    /// Tells the agent to answer what it has kept, and what comes.
    pub(super) fn answer(&self, far: &Far<AgentSession>) {
        far.act(|session, now| {
            let mut seen = self.0.lock().unwrap();
            seen.told = true;
            for receipt in seen.kept.drain(..) {
                answer(session, &receipt, now);
            }
        });
    }
}

/// An agent that dials and registers.
pub(super) fn registering() -> Far<AgentSession> {
    let clock = Clock::start();
    let session = AgentSession::dial(AgentSettings::new(super::registration()), clock.now()).unwrap();
    Far::new(session, clock, |_, _, _| {})
}

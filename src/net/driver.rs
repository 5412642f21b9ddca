//! The driver: one task per connection that moves bytes, time and events between a socket and
//! its session. It decides nothing.
//!
//! Each turn reads once, tells the session, acts on its events, collects what may be written and
//! writes it. Reading never waits for writing. A wake-up takes a bounded number of turns.
//!
//! A turn that sets several tasks to work, callers who get their answers or handlers who get their
//! events, is the last of its wake-up: they run first, and what they say next goes out in one write.
//! So do those who were about to run when a command wakes the driver while several events are under
//! way. No timer is involved, the wait is one round of the runtime's queue, and one alone is not
//! waited for.
//!
//! ```text
//! running --session closed--> closing --all written, the peer's end seen, or linger over--> done
//! ```

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::machine::{ConnectionState, Timestamp};
use crate::session::Session;

use super::shared::{Core, Drive, Shared};
use super::sync::Arc;

/// Turns per wake-up, after which other tasks get theirs.
const TURNS: usize = 32;
/// Bytes read at once from a peer that has not registered.
const OPENING_READ: usize = 4 << 10;
/// Bytes read at once otherwise: few enough that the first answers leave while the next events are
/// still to be read, and the peer has work meanwhile. They lie on the stack, so that an idle
/// connection holds none.
const READ: usize = 16 << 10;
/// Capacity that the write buffer keeps when it is empty.
const BUSY_CAPACITY: usize = 256 << 10;
/// The same, once nothing has come and gone for a while.
const IDLE_CAPACITY: usize = 4 << 10;

/// A stream that can be driven.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for IO {}

/// What a role does with its session's events.
pub(crate) trait Role: Send + Unpin + 'static {
    type Session: Drive;

    /// Acts on what was left beside the session since the last turn, with the connection locked.
    fn resume(&mut self, core: &mut Core<Self::Session>, now: Timestamp) {
        let _ = (core, now);
    }

    /// Acts on an event, with the connection locked. Whom it wakes goes into `wakers`.
    fn handle_event(
        &mut self,
        event: <Self::Session as Session>::Event,
        core: &mut Core<Self::Session>,
        now: Timestamp,
        wakers: &mut Vec<Waker>,
    );

    /// Looks once more at what all that came to, with the connection locked. Whom it wakes goes into
    /// `wakers`.
    fn settle(&mut self, core: &mut Core<Self::Session>, wakers: &mut Vec<Waker>) {
        let _ = (core, wakers);
    }

    /// Does what must not be done with the connection locked. Returns how many tasks it set to work
    /// that will have something to write soon.
    fn act(&mut self, shared: &Arc<Shared<Self::Session>>) -> usize;
}

/// What a read gave.
enum Read<'a> {
    Nothing,
    Bytes(&'a [u8]),
    Eof,
    Lost,
}

/// What the session said after the last turn.
#[derive(Clone, Copy)]
struct View {
    wants_bytes: bool,
    opening: bool,
    timeout: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// The session has closed; `shut` once our half of the stream is.
    Closing {
        shut: bool,
    },
    Done,
}

#[derive(PartialEq, Eq)]
enum Turn {
    Progress,
    /// There was, and others should run before the next.
    Yield,
    Idle,
}

/// Drives one connection. Resolves when it has ended and its last bytes are written or given up.
pub(crate) struct Driver<R: Role, IO> {
    shared: Arc<Shared<R::Session>>,
    role: R,
    io: IO,
    linger: Duration,
    phase: Phase,
    view: View,
    out: Vec<u8>,
    /// Bytes of `out` that the socket has taken.
    written: usize,
    /// Bytes that the socket took and nobody has been told of.
    sent: u64,
    unflushed: bool,
    read_ended: bool,
    write_failed: bool,
    sleep: Pin<Box<Sleep>>,
    /// What `sleep` waits for, unless it has fired.
    armed: Option<Timestamp>,
    wakers: Vec<Waker>,
    /// Whether others were let run before this wake-up's turns.
    waited: bool,
}

impl<R: Role, IO: Stream> Driver<R, IO> {
    pub(crate) fn new(shared: Arc<Shared<R::Session>>, role: R, io: IO, linger: Duration) -> Self {
        Self {
            shared,
            role,
            io,
            linger,
            phase: Phase::Running,
            view: View { wants_bytes: true, opening: true, timeout: None },
            out: Vec::new(),
            written: 0,
            sent: 0,
            unflushed: false,
            read_ended: false,
            write_failed: false,
            sleep: Box::pin(sleep_until(Instant::now())),
            armed: None,
            wakers: Vec::new(),
            waited: false,
        }
    }

    /// Whether to let others run first: a command woke us, more than one event is under way, and so
    /// whoever runs next may have one too. Said once for each such wake-up.
    fn waits_for_more(&mut self) -> bool {
        self.waited = !self.waited && self.shared.was_nudged() && self.shared.load().events > 1;
        self.waited
    }

    /// One turn while the connection lives.
    fn run(&mut self, cx: &mut Context<'_>) -> Turn {
        let wanted = self.view.wants_bytes;
        let mut woken = 0;
        let read = wanted && self.read(cx, &mut woken);
        if !read {
            woken = self.settle(Read::Nothing, cx);
        }
        if self.phase != Phase::Running {
            return Turn::Progress;
        }
        let wrote = self.write(cx);
        // What the peer said before it went is read first; then a failed write ends it.
        if self.write_failed && !read {
            self.settle(Read::Lost, cx);
            return Turn::Progress;
        }
        let due = self.poll_time(cx);
        if due {
            self.shrink();
        }
        let reopened = !wanted && self.view.wants_bytes;
        match read || wrote || due || reopened {
            true if woken > 1 => Turn::Yield,
            true => Turn::Progress,
            false => Turn::Idle,
        }
    }

    /// Reads once and tells the session. Whether there was anything to tell, and how many that woke.
    #[inline(never)]
    fn read(&mut self, cx: &mut Context<'_>, woken: &mut usize) -> bool {
        let mut space = [MaybeUninit::uninit(); READ];
        let mut buffer = ReadBuf::uninit(&mut space);
        let mut short;
        let buffer = if self.view.opening {
            short = buffer.take(OPENING_READ);
            &mut short
        } else {
            &mut buffer
        };
        match Pin::new(&mut self.io).poll_read(cx, buffer) {
            Poll::Pending => return false,
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                self.read_ended = true;
                *woken = self.settle(Read::Eof, cx);
            }
            Poll::Ready(Ok(())) => *woken = self.settle(Read::Bytes(buffer.filled()), cx),
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "read failed");
                self.read_ended = true;
                *woken = self.settle(Read::Lost, cx);
            }
        }
        true
    }

    /// The session's part of a turn, in one critical section; then what follows from it. Returns
    /// how many that woke.
    fn settle(&mut self, read: Read<'_>, cx: &Context<'_>) -> usize {
        self.compact();
        let now = self.shared.clock().now();
        let mut core = self.shared.lock();
        // What is commanded after this look at the session wakes us.
        let stale = core.register(cx);
        match read {
            Read::Nothing => {}
            Read::Bytes(bytes) => {
                core.traffic.received = core.traffic.received.saturating_add(bytes.len() as u64);
                core.session.handle_bytes(bytes, now);
            }
            Read::Eof => core.session.handle_eof(),
            Read::Lost => core.session.handle_transport_lost(),
        }
        if core.session.poll_timeout().is_some_and(|due| due <= now) {
            core.session.handle_timeout(now);
        }
        self.role.resume(&mut core, now);
        dispatch(&mut self.role, &mut core, now, &mut self.wakers);
        core.session.poll_transmit(&mut self.out);
        // Writing may end the connection too.
        dispatch(&mut self.role, &mut core, now, &mut self.wakers);
        self.role.settle(&mut core, &mut self.wakers);
        let state = core.session.state();
        self.view = View {
            wants_bytes: core.session.wants_bytes(),
            opening: state == ConnectionState::Opening,
            timeout: core.session.poll_timeout(),
        };
        core.traffic.sent = core.traffic.sent.saturating_add(std::mem::take(&mut self.sent));
        self.shared.publish(&core);
        let flushes = core.session.close_reason().map(crate::machine::CloseReason::flushes);
        drop(core);
        drop(stale);
        let woken = self.wakers.len();
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
        let woken = woken.saturating_add(self.role.act(&self.shared));
        if let (Phase::Running, Some(flushes)) = (self.phase, flushes) {
            self.begin_closing(flushes);
        }
        woken
    }

    fn begin_closing(&mut self, flushes: bool) {
        if !flushes || self.write_failed {
            self.phase = Phase::Done;
            return;
        }
        self.phase = Phase::Closing { shut: false };
        self.armed = None;
        let end = Instant::now().checked_add(self.linger).unwrap_or_else(Instant::now);
        self.sleep.as_mut().reset(end);
    }

    /// One turn after the session has closed: its last frames go out, the stream is shut, and
    /// what still comes is read and dropped. Unread bytes would make some systems discard what
    /// we wrote, the reason for the end among it.
    fn close(&mut self, cx: &mut Context<'_>, shut: bool) -> Turn {
        let wrote = self.write(cx);
        if self.write_failed || self.sleep.as_mut().poll(cx).is_ready() {
            self.phase = Phase::Done;
            return Turn::Progress;
        }
        let mut shut = shut;
        if !shut && self.written == self.out.len() && !self.unflushed {
            match Pin::new(&mut self.io).poll_shutdown(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => shut = true,
                Poll::Ready(Err(_)) => self.phase = Phase::Done,
            }
        }
        if self.phase == Phase::Done || (shut && self.read_ended) {
            self.phase = Phase::Done;
            return Turn::Progress;
        }
        self.phase = Phase::Closing { shut };
        let discarded = !self.read_ended && self.discard(cx);
        if wrote || discarded { Turn::Progress } else { Turn::Idle }
    }

    #[inline(never)]
    fn discard(&mut self, cx: &mut Context<'_>) -> bool {
        let mut space = [MaybeUninit::uninit(); OPENING_READ];
        let mut buffer = ReadBuf::uninit(&mut space);
        match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
            Poll::Pending => return false,
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
            Poll::Ready(Ok(()) | Err(_)) => self.read_ended = true,
        }
        true
    }

    /// Writes what the socket takes. Whether it took anything.
    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        let mut wrote = false;
        while let Some(rest) = self.out.get(self.written..)
            && !rest.is_empty()
            && !self.write_failed
        {
            match Pin::new(&mut self.io).poll_write(cx, rest) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => self.fail_write(&io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(taken)) => {
                    self.written = self.written.saturating_add(taken).min(self.out.len());
                    self.sent = self.sent.saturating_add(taken as u64);
                    self.unflushed = true;
                    wrote = true;
                }
                Poll::Ready(Err(error)) => self.fail_write(&error),
            }
        }
        if self.unflushed && !self.write_failed {
            match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => self.fail_write(&error),
            }
        }
        wrote
    }

    fn fail_write(&mut self, error: &io::Error) {
        tracing::debug!(%error, "write failed");
        self.write_failed = true;
    }

    /// Drops the bytes that were taken, in amortised constant time per byte.
    fn compact(&mut self) {
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
            if self.out.capacity() > BUSY_CAPACITY {
                self.out = Vec::new();
            }
        } else if self.written >= self.out.len() / 2 {
            self.out.drain(..self.written);
            self.written = 0;
        }
    }

    /// Gives back what only a busy connection needs. Called where time has passed in silence.
    fn shrink(&mut self) {
        if self.written == self.out.len() && self.out.capacity() > IDLE_CAPACITY {
            self.out = Vec::new();
            self.written = 0;
        }
    }

    /// Arms the timer for what the session waits for. Whether that has come already.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(due) = self.view.timeout else { return false };
        // A timer that fires too early costs one turn; re-arming it for every request costs more.
        if self.armed.is_none_or(|armed| due < armed) {
            let Some(instant) = self.shared.clock().instant_of(due) else { return false };
            self.sleep.as_mut().reset(instant);
            self.armed = Some(due);
        }
        match self.sleep.as_mut().poll(cx) {
            Poll::Ready(()) => {
                self.armed = None;
                true
            }
            Poll::Pending => false,
        }
    }
}

fn dispatch<R: Role>(role: &mut R, core: &mut Core<R::Session>, now: Timestamp, wakers: &mut Vec<Waker>) {
    while let Some(event) = core.session.poll_event() {
        role.handle_event(event, core, now, wakers);
    }
}

impl<R: Role, IO: Stream> Future for Driver<R, IO> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.waits_for_more() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        for _ in 0..TURNS {
            let turn = match this.phase {
                Phase::Running => this.run(cx),
                Phase::Closing { shut } => this.close(cx, shut),
                Phase::Done => return Poll::Ready(()),
            };
            match turn {
                Turn::Progress => {}
                Turn::Yield => break,
                Turn::Idle => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A driver that is dropped before its time, by a runtime that ends for instance, leaves nobody
/// waiting.
impl<R: Role, IO> Drop for Driver<R, IO> {
    fn drop(&mut self) {
        if self.phase != Phase::Running {
            return;
        }
        let now = self.shared.clock().now();
        let mut core = self.shared.lock();
        core.session.handle_transport_lost();
        dispatch(&mut self.role, &mut core, now, &mut self.wakers);
        self.role.settle(&mut core, &mut self.wakers);
        self.shared.publish(&core);
        drop(core);
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
        self.role.act(&self.shared);
    }
}

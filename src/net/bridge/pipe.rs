//! One of a bridge's two sockets, with the bytes that it has not taken yet.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::driver::Stream;

/// Bytes read at once.
const READ: usize = 64 << 10;
/// Bytes read at once before the bridge is open.
const OPENING_READ: usize = 4 << 10;
/// Capacity that the write buffer keeps when it is empty.
const IDLE_CAPACITY: usize = 4 << 10;

/// A socket, and what waits for it.
pub(super) struct Pipe {
    io: Box<dyn Stream>,
    input: Vec<u8>,
    out: Vec<u8>,
    /// Bytes of `out` that the socket has taken.
    written: usize,
    unflushed: bool,
    write_failed: bool,
}

/// What came of a socket.
pub(super) enum Moved {
    /// This many bytes were read; see [`Pipe::input`].
    Read(usize),
    /// The peer ended its half of the stream.
    Eof,
    /// The socket took bytes.
    Wrote,
    /// It failed.
    Lost,
}

impl Pipe {
    pub(super) fn new(io: Box<dyn Stream>) -> Self {
        Self {
            io,
            input: vec![0; OPENING_READ],
            out: Vec::new(),
            written: 0,
            unflushed: false,
            write_failed: false,
        }
    }

    /// Reads in larger pieces from now on.
    pub(super) fn widen(&mut self) {
        self.input.resize(READ, 0);
    }

    /// What was read last.
    pub(super) fn input(&self, length: usize) -> &[u8] {
        self.input.get(..length).unwrap_or_default()
    }

    /// The bytes that the socket has not taken yet, to be appended to.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        if self.written == self.out.len() {
            self.out.clear();
            if self.out.capacity() > IDLE_CAPACITY {
                self.out = Vec::new();
            }
            self.written = 0;
        } else if self.written >= self.out.len() / 2 {
            self.out.drain(..self.written);
            self.written = 0;
        }
        &mut self.out
    }

    /// Writes what waits, and reads if that is wanted. What the peer said before it went is read
    /// before a failed write is told of.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, wanted: bool) -> Poll<Moved> {
        let wrote = self.write(cx);
        if wanted && let Poll::Ready(moved) = self.read(cx) {
            return Poll::Ready(moved);
        }
        match (self.write_failed, wrote) {
            (true, _) => Poll::Ready(Moved::Lost),
            (false, true) => Poll::Ready(Moved::Wrote),
            (false, false) => Poll::Pending,
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Moved> {
        let mut buffer = ReadBuf::new(&mut self.input);
        Poll::Ready(match ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer)) {
            Ok(()) if buffer.filled().is_empty() => Moved::Eof,
            Ok(()) => Moved::Read(buffer.filled().len()),
            Err(error) => {
                tracing::debug!(%error, "read failed");
                Moved::Lost
            }
        })
    }

    /// Whether the socket took anything.
    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        let mut wrote = false;
        while let Some(rest) = self.out.get(self.written..)
            && !rest.is_empty()
            && !self.write_failed
        {
            match Pin::new(&mut self.io).poll_write(cx, rest) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => self.fail(&io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(taken)) => {
                    self.written = self.written.saturating_add(taken).min(self.out.len());
                    self.unflushed = true;
                    wrote = true;
                }
                Poll::Ready(Err(error)) => self.fail(&error),
            }
        }
        if self.unflushed && !self.write_failed {
            match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => self.fail(&error),
            }
        }
        wrote
    }

    fn fail(&mut self, error: &io::Error) {
        tracing::debug!(%error, "write failed");
        self.write_failed = true;
    }

    /// Writes what waits, ends this half of the stream, and reads and drops what still comes, until
    /// the peer has ended its half: unread bytes would make some systems discard what we wrote.
    pub(super) async fn finish(mut self) {
        std::future::poll_fn(|cx| self.poll_finish(cx)).await;
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.write(cx);
        if self.write_failed {
            return Poll::Ready(());
        }
        if self.written == self.out.len()
            && !self.unflushed
            && let Poll::Ready(Err(_)) = Pin::new(&mut self.io).poll_shutdown(cx)
        {
            return Poll::Ready(());
        }
        loop {
            match ready!(self.read(cx)) {
                Moved::Read(_) | Moved::Wrote => {}
                Moved::Eof | Moved::Lost => return Poll::Ready(()),
            }
        }
    }
}

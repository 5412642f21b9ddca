//! Waiting for the moment in which an event could be written.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use crate::machine::{ConnectionState, SubmitError};
use crate::session::ProxySession;

use super::handle::{AgentHandle, Connection};
use super::sync::Arc;
use super::wakers::Wakers;

/// Whether an event could be written to an agent now, to be waited for. Got from
/// [`AgentHandle::gate`]; keeps the connection as a handle does.
///
/// The gate is open while the connection is, the agent has not paused it, its window has room and
/// the socket takes what is written. That it is open is no reservation: everybody who waits is told,
/// and whoever asks first has the place. An event that comes too late waits in the queue, or fails
/// at once if it was asked with [`Ask::fail_fast`](super::Ask::fail_fast).
pub struct Gate {
    connection: Arc<Connection>,
    /// Our entry among those who wait, from a `poll_open` that was pending until it is no more.
    entry: Option<u64>,
}

impl Gate {
    pub(super) const fn new(connection: Arc<Connection>) -> Self {
        Self { connection, entry: None }
    }

    /// The connection's handle.
    pub fn handle(&self) -> AgentHandle {
        AgentHandle { connection: Arc::clone(&self.connection) }
    }

    /// Ready once the gate is open. Of several wakers the last one counts.
    ///
    /// # Errors
    /// [`SubmitError::Draining`] and [`SubmitError::Closed`]: it will not open again.
    pub fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SubmitError>> {
        let mut core = self.connection.shared.lock();
        let look = core.side.gate.look(&core.session);
        let gone = match &look {
            Poll::Ready(_) => self.entry.take().and_then(|entry| core.side.gate.wakers.remove(entry)),
            Poll::Pending => core.side.gate.wakers.put(&mut self.entry, cx.waker()),
        };
        // A waker is dropped with the lock free: nobody knows what hangs on it.
        drop(core);
        drop(gone);
        look
    }

    /// Waits until the gate is open.
    ///
    /// # Errors
    /// As [`Gate::poll_open`].
    pub async fn open(&mut self) -> Result<(), SubmitError> {
        poll_fn(|cx| self.poll_open(cx)).await
    }
}

impl Clone for Gate {
    /// A gate of the same connection, for another task.
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.connection))
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(entry) = self.entry {
            let gone = self.connection.shared.lock().side.gate.wakers.remove(entry);
            drop(gone);
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("connection", &self.connection).finish_non_exhaustive()
    }
}

/// Those who wait at a connection's gate.
#[derive(Default)]
pub(super) struct Waiting {
    wakers: Wakers,
    /// Events that were taken since the driver last wrote. Each will take a place in the window, or
    /// turn out to be behind another of its request.
    fresh: usize,
}

impl Waiting {
    /// What a poll comes to.
    fn look(&self, session: &ProxySession) -> Poll<Result<(), SubmitError>> {
        let machine = session.machine();
        let taken = machine.in_flight().saturating_add(self.fresh);
        match machine.state() {
            ConnectionState::Opening => Poll::Pending,
            ConnectionState::Open if machine.shut().is_some() || taken >= machine.window() as usize => {
                Poll::Pending
            }
            ConnectionState::Open => Poll::Ready(Ok(())),
            ConnectionState::Draining => Poll::Ready(Err(SubmitError::Draining)),
            ConnectionState::Closed => Poll::Ready(Err(SubmitError::Closed)),
        }
    }

    /// An event was taken, and is not written yet.
    pub(super) const fn take(&mut self) {
        self.fresh = self.fresh.saturating_add(1);
    }

    #[cfg(all(test, any(dialback_loom, dialback_shuttle)))]
    pub(super) fn is_empty(&self) -> bool {
        self.wakers.is_empty()
    }

    /// The driver has written what could be written. Moves everybody into `wakers` if the gate is open,
    /// or never will be again; they are woken with the lock free. A command opens no gate and wakes the
    /// driver, so it is enough that the driver calls this before it gives the lock back.
    pub(super) fn settle(&mut self, session: &ProxySession, wakers: &mut Vec<Waker>) {
        self.fresh = 0;
        if !self.wakers.is_empty() && self.look(session).is_ready() {
            wakers.extend(self.wakers.take());
        }
    }
}

//! How an event's handler learns that nobody waits for its answer any more.
//!
//! One of these is made for every event, and hardly any is ever used: it costs an allocation, and what
//! waiting for it costs is paid by who waits.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::wire::CancelReason;

use super::sync::{Mutex, lock};
use super::wakers::Wakers;

/// Whether nobody waits for an answer any more, and why.
#[derive(Debug, Default)]
pub(super) struct Cancellation(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    reason: Option<CancelReason>,
    waiting: Wakers,
}

impl Cancellation {
    /// Nobody waits any more, and whoever wants to know is told. The first reason stands.
    pub(super) fn cancel(&self, reason: CancelReason) {
        let mut state = lock(&self.0);
        state.reason.get_or_insert(reason);
        let waiting = state.waiting.take();
        drop(state);
        waiting.for_each(std::task::Waker::wake);
    }

    /// Why nobody waits any more.
    pub(super) fn reason(&self) -> Option<CancelReason> {
        lock(&self.0).reason
    }

    /// Waits until nobody waits any more.
    pub(super) const fn cancelled(&self) -> Cancelled<'_> {
        Cancelled { of: self, entry: None }
    }
}

/// Resolves when nobody waits any more.
#[must_use = "futures do nothing unless polled"]
pub(super) struct Cancelled<'c> {
    of: &'c Cancellation,
    /// Our entry among those who wait, while there is one.
    entry: Option<u64>,
}

impl Future for Cancelled<'_> {
    type Output = CancelReason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CancelReason> {
        let mut state = lock(&self.of.0);
        if let Some(reason) = state.reason {
            // Whoever cancelled took all entries out.
            return Poll::Ready(reason);
        }
        let gone = state.waiting.put(&mut self.entry, cx.waker());
        drop(state);
        drop(gone);
        Poll::Pending
    }
}

impl Drop for Cancelled<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.entry {
            let gone = lock(&self.of.0).waiting.remove(entry);
            drop(gone);
        }
    }
}

#[cfg(all(test, not(any(dialback_loom, dialback_shuttle))))]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn everybody_who_waits_is_told_once_and_the_first_reason_stands() {
        let cancellation = Cancellation::default();
        let counts = [(); 2].map(|()| Arc::new(Count::default()));
        let wakers = counts.clone().map(Waker::from);
        let (mut first, mut second) = (pin!(cancellation.cancelled()), pin!(cancellation.cancelled()));
        for _ in 0..2 {
            assert!(first.as_mut().poll(&mut Context::from_waker(&wakers[0])).is_pending());
            assert!(second.as_mut().poll(&mut Context::from_waker(&wakers[1])).is_pending());
        }
        cancellation.cancel(CancelReason::Timeout);
        cancellation.cancel(CancelReason::ProxyShutdown);
        assert_eq!(counts.map(|count| count.0.load(Ordering::Relaxed)), [1, 1]);
        let told = Poll::Ready(CancelReason::Timeout);
        assert_eq!(first.poll(&mut Context::from_waker(&wakers[0])), told);
        assert_eq!(second.poll(&mut Context::from_waker(&wakers[1])), told);
        assert_eq!(cancellation.reason(), Some(CancelReason::Timeout));
    }

    #[test]
    fn who_waits_no_more_leaves_nothing() {
        let cancellation = Cancellation::default();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        {
            let mut waiting = pin!(cancellation.cancelled());
            assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            assert!(!lock(&cancellation.0).waiting.is_empty());
        }
        assert!(lock(&cancellation.0).waiting.is_empty());
        cancellation.cancel(CancelReason::Manual);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
    }
}

//! What a connection's driver and its handles share: one session behind one mutex.
//!
//! A command locks, changes the session, unlocks, and only then wakes the driver. Nothing is
//! awaited and nobody is woken with the lock held.

use std::task::{Context, Waker};

use crate::machine::{CloseReason, ConnectionState, Timestamp};

use super::clock::Clock;
use super::sync::{Mutex, MutexGuard, lock};

/// A session as the driver sees it; implemented by both roles' sessions.
pub(crate) trait Drive: Send + 'static {
    /// What it tells the application.
    type Event;
    /// What the adapter keeps beside it, under the same lock.
    type Side: Send + 'static;

    fn state(&self) -> ConnectionState;
    fn close_reason(&self) -> Option<&CloseReason>;
    fn wants_bytes(&self) -> bool;
    fn handle_bytes(&mut self, bytes: &[u8], now: Timestamp);
    fn handle_eof(&mut self);
    fn handle_transport_lost(&mut self);
    fn handle_timeout(&mut self, now: Timestamp);
    fn poll_timeout(&self) -> Option<Timestamp>;
    fn poll_event(&mut self) -> Option<Self::Event>;
    fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool;
}

/// Forwards [`Drive`] to the session's methods of the same names.
macro_rules! drive {
    ($session:ty, $event:ty, $side:ty) => {
        impl $crate::net::shared::Drive for $session {
            type Event = $event;
            type Side = $side;

            fn state(&self) -> $crate::machine::ConnectionState {
                <$session>::state(self)
            }
            fn close_reason(&self) -> Option<&$crate::machine::CloseReason> {
                <$session>::close_reason(self)
            }
            fn wants_bytes(&self) -> bool {
                <$session>::wants_bytes(self)
            }
            fn handle_bytes(&mut self, bytes: &[u8], now: $crate::machine::Timestamp) {
                <$session>::handle_bytes(self, bytes, now);
            }
            fn handle_eof(&mut self) {
                <$session>::handle_eof(self);
            }
            fn handle_transport_lost(&mut self) {
                <$session>::handle_transport_lost(self);
            }
            fn handle_timeout(&mut self, now: $crate::machine::Timestamp) {
                <$session>::handle_timeout(self, now);
            }
            fn poll_timeout(&self) -> Option<$crate::machine::Timestamp> {
                <$session>::poll_timeout(self)
            }
            fn poll_event(&mut self) -> Option<$event> {
                <$session>::poll_event(self)
            }
            fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
                <$session>::poll_transmit(self, out)
            }
        }
    };
}
pub(crate) use drive;

/// What the mutex guards.
pub(crate) struct Core<S: Drive> {
    pub(crate) session: S,
    pub(crate) side: S::Side,
    /// The driver, while it sleeps and has not been woken.
    driver: Option<Waker>,
}

/// One connection, shared by its driver and its handles.
pub(crate) struct Shared<S: Drive> {
    core: Mutex<Core<S>>,
    clock: Clock,
}

impl<S: Drive> Shared<S> {
    pub(crate) const fn new(session: S, side: S::Side, clock: Clock) -> Self {
        Self { core: Mutex::new(Core { session, side, driver: None }), clock }
    }

    pub(crate) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// For the driver, which needs no waking.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Core<S>> {
        lock(&self.core)
    }

    /// Remembers whom a command wakes.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        let mut core = self.lock();
        if !core.driver.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            // The old waker is dropped with the lock free: nobody knows what hangs on it.
            let old = core.driver.replace(cx.waker().clone());
            drop(core);
            drop(old);
        }
    }

    /// Looks at the connection without changing it.
    pub(crate) fn look<R>(&self, question: impl FnOnce(&Core<S>) -> R) -> R {
        question(&self.lock())
    }

    /// Changes the connection; the driver then acts on what came of it.
    pub(crate) fn command<R>(&self, command: impl FnOnce(&mut Core<S>, Timestamp) -> R) -> R {
        let now = self.clock.now();
        let mut core = self.lock();
        let result = command(&mut core, now);
        let driver = core.driver.take();
        drop(core);
        if let Some(driver) = driver {
            driver.wake();
        }
        result
    }
}

//! What a connection's driver and its handles share: one session behind one mutex.
//!
//! A command locks, changes the session, unlocks, and only then wakes the driver. Nothing is
//! awaited and nobody is woken with the lock held.

use std::task::{Context, Waker};

use crate::machine::Timestamp;
use crate::session::Session;

use super::clock::Clock;
use super::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, lock};

/// A session and what the adapter has to do with it; implemented by both roles' sessions.
pub(crate) trait Drive: Session + Send + 'static {
    /// What the adapter keeps beside it, under the same lock.
    type Side: Send + 'static;

    fn load(&self) -> Load;
}

/// What a choice among connections asks of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Whether it takes new requests: open, and not draining.
    pub(crate) serving: bool,
    /// Whether the peer has asked for a pause.
    pub(crate) paused: bool,
    /// Events under way or waiting.
    pub(crate) events: u32,
}

/// The load as it was when the lock was last given back, to be read without it.
#[derive(Debug, Default)]
struct Gauge(AtomicU64);

impl Gauge {
    fn set(&self, load: Load) {
        let bits = u64::from(load.serving) | u64::from(load.paused) << 1 | u64::from(load.events) << 2;
        // Whoever reads it decides by a moment that has passed anyway.
        self.0.store(bits, Ordering::Relaxed);
    }

    fn read(&self) -> Load {
        let bits = self.0.load(Ordering::Relaxed);
        let events = u32::try_from(bits >> 2).unwrap_or(u32::MAX);
        Load { serving: bits & 1 != 0, paused: bits & 2 != 0, events }
    }
}

/// Bytes that went over a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Received.
    pub received: u64,
    /// Taken by the socket.
    pub sent: u64,
}

impl Traffic {
    /// What went over this and another connection together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            received: self.received.saturating_add(other.received),
            sent: self.sent.saturating_add(other.sent),
        }
    }
}

/// What the mutex guards.
pub(crate) struct Core<S: Drive> {
    pub(crate) session: S,
    pub(crate) side: S::Side,
    pub(crate) traffic: Traffic,
    /// The driver, while it sleeps and has not been woken.
    driver: Option<Waker>,
}

impl<S: Drive> Core<S> {
    /// Remembers whom a command wakes. Returns who is woken no more, to be dropped with the lock
    /// free: nobody knows what hangs on it.
    #[must_use]
    pub(crate) fn register(&mut self, cx: &Context<'_>) -> Option<Waker> {
        if self.driver.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            return None;
        }
        self.driver.replace(cx.waker().clone())
    }
}

/// One connection, shared by its driver and its handles.
pub(crate) struct Shared<S: Drive> {
    core: Mutex<Core<S>>,
    gauge: Gauge,
    /// Whether a command has woken the driver since it last asked.
    nudged: AtomicBool,
    clock: Clock,
}

impl<S: Drive> Shared<S> {
    pub(crate) fn new(session: S, side: S::Side, clock: Clock) -> Self {
        let core = Core { session, side, traffic: Traffic::default(), driver: None };
        Self { core: Mutex::new(core), gauge: Gauge::default(), nudged: AtomicBool::new(false), clock }
    }

    pub(crate) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// For the driver, which needs no waking.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Core<S>> {
        lock(&self.core)
    }

    /// Tells the gauge what a change of the session came to. Whoever changes it calls this before unlocking.
    pub(crate) fn publish(&self, core: &Core<S>) {
        self.gauge.set(core.session.load());
    }

    /// The load, without the lock.
    pub(crate) fn load(&self) -> Load {
        self.gauge.read()
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
        self.publish(&core);
        drop(core);
        if let Some(driver) = driver {
            // What this says is a hint; the wake-up orders it before the driver's look at it.
            self.nudged.store(true, Ordering::Relaxed);
            driver.wake();
        }
        result
    }

    /// Whether a command has woken the driver since this was asked last.
    pub(crate) fn was_nudged(&self) -> bool {
        self.nudged.swap(false, Ordering::Relaxed)
    }
}

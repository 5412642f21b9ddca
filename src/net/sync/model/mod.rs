//! What the checkers put in the place of locks, channels and tasks.
//!
//! Locks and atomics are the checker's own, in wrappers that count the locks that a thread holds:
//! [`assert_no_lock_is_held`] is what every waker of the models begins with. Channels stay tokio's, each
//! with a [`Point`] beside it: its operations are taken for indivisible, and the checker sees when they
//! happen. A task is a thread of the checker that polls until it is done.

pub(crate) mod broadcast;
pub(crate) mod oneshot;
mod task;
pub(crate) mod watch;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::{Arc, LockResult, PoisonError};

#[cfg(dialback_loom)]
use loom as checker;
#[cfg(dialback_shuttle)]
use shuttle as checker;

pub(crate) use checker::sync::atomic::{AtomicBool, AtomicU64};
pub(crate) use checker::thread;
pub(crate) use task::{AbortHandle, Handle, Thread, block_on, run, spawn};

checker::thread_local! {
    static HELD: Cell<usize> = Cell::new(0);
}

/// A lock that this thread holds, counted until it is dropped.
struct Held;

impl Held {
    fn count() -> Self {
        HELD.with(|held| held.set(held.get() + 1));
        Self
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.with(|held| held.set(held.get() - 1));
    }
}

/// A waker may run what it wakes, or drop it: with a lock held that is a deadlock.
#[track_caller]
pub(crate) fn assert_no_lock_is_held() {
    assert_eq!(HELD.with(Cell::get), 0, "woken with a lock held");
}

macro_rules! guard {
    ($guard:ident) => {
        pub(crate) struct $guard<'a, T> {
            guard: checker::sync::$guard<'a, T>,
            _held: Held,
        }

        impl<'a, T> $guard<'a, T> {
            fn new(result: LockResult<checker::sync::$guard<'a, T>>) -> LockResult<Self> {
                let guard = result.unwrap_or_else(PoisonError::into_inner);
                Ok(Self { guard, _held: Held::count() })
            }
        }

        impl<T> Deref for $guard<'_, T> {
            type Target = T;

            fn deref(&self) -> &T {
                &self.guard
            }
        }
    };
}

guard!(MutexGuard);
guard!(RwLockReadGuard);
guard!(RwLockWriteGuard);

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

#[derive(Debug)]
pub(crate) struct Mutex<T>(checker::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(checker::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        MutexGuard::new(self.0.lock())
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

#[derive(Debug)]
pub(crate) struct RwLock<T>(checker::sync::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(checker::sync::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        RwLockReadGuard::new(self.0.read())
    }

    pub(crate) fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        RwLockWriteGuard::new(self.0.write())
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// The moment of an operation on something that the checker can't see into. Operations that touch
/// one point are ordered, and every order is tried.
#[derive(Clone, Debug, Default)]
pub(crate) struct Point(Arc<AtomicU64>);

impl Point {
    pub(crate) fn touch(&self) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
    }

    /// Touches before every poll.
    pub(crate) async fn around<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            self.touch();
            future.as_mut().poll(cx)
        })
        .await
    }
}

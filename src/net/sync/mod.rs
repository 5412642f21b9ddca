//! Locks, channels and tasks, in one place, so that a model checker can put its own in theirs.
//!
//! Not in here, and so out of the checkers' sight: `Arc` and `Weak`, which are std's everywhere, and
//! what of tokio no model runs: sockets, timers, queues, semaphores.

#[cfg(all(test, any(dialback_loom, dialback_shuttle)))]
pub(crate) mod model;

use std::sync::PoisonError;

pub(crate) use std::sync::atomic::Ordering;
pub(crate) use std::sync::{Arc, Weak};

#[cfg(all(test, any(dialback_loom, dialback_shuttle)))]
pub(crate) use model::{
    AbortHandle, AtomicBool, AtomicU64, Handle, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
    broadcast, oneshot, spawn, watch,
};
#[cfg(not(all(test, any(dialback_loom, dialback_shuttle))))]
pub(crate) use {
    std::sync::atomic::{AtomicBool, AtomicU64},
    std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard},
    tokio::runtime::Handle,
    tokio::spawn,
    tokio::sync::{broadcast, oneshot, watch},
    tokio::task::AbortHandle,
};

/// Locks. A panic in another holder is no reason to fail here: every critical section leaves what
/// it guards whole, so a poisoned mutex is entered.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for reading, on the same terms.
pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for writing, on the same terms.
pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, not(any(dialback_loom, dialback_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_poisoned_mutex_is_entered() {
        let mutex = Arc::new(Mutex::new(1));
        let theirs = Arc::clone(&mutex);
        let thread = std::thread::spawn(move || {
            let _guard = lock(&theirs);
            panic!("on purpose");
        });
        assert!(thread.join().is_err());
        *lock(&mutex) += 1;
        assert_eq!(*lock(&mutex), 2);
    }
}

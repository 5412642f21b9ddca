//! The blocking primitives of this floor, in one place.

use std::sync::PoisonError;

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
pub(crate) use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

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

#[cfg(test)]
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

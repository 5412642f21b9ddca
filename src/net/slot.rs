//! Where an exchange's end is left for its caller: a place of one caller's, so that fetching an
//! answer takes no lock that others want.

use std::mem;
use std::task::{Context, Poll, Waker};

use crate::machine::{CloseReason, Ending};

use super::sync::{Mutex, lock};

/// How an exchange ended, and why the connection did, where the one came of the other.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) ending: Ending<Vec<u8>>,
    pub(super) reason: Option<CloseReason>,
}

/// One caller's place.
#[derive(Debug)]
pub(crate) struct Slot(Mutex<State>);

#[derive(Debug)]
enum State {
    /// Nothing has come yet.
    Waiting(Option<Waker>),
    /// The end, not fetched yet.
    Done(Outcome),
    /// It was fetched.
    Taken,
}

impl Slot {
    /// `waker`: who waits already.
    pub(super) fn new(waker: Option<Waker>) -> Self {
        Self(Mutex::new(State::Waiting(waker)))
    }

    /// Leaves the end here. Returns who waits for it.
    pub(super) fn finish(&self, outcome: Outcome) -> Option<Waker> {
        match mem::replace(&mut *lock(&self.0), State::Done(outcome)) {
            State::Waiting(waker) => waker,
            // An exchange ends once.
            State::Done(_) | State::Taken => None,
        }
    }

    /// Fetches the end, or remembers who waits for it. `None` if it was fetched before.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Option<Outcome>> {
        let mut state = lock(&self.0);
        let old = match &mut *state {
            State::Waiting(Some(known)) if known.will_wake(cx.waker()) => return Poll::Pending,
            State::Waiting(known) => known.replace(cx.waker().clone()),
            State::Done(_) | State::Taken => {
                let taken = mem::replace(&mut *state, State::Taken);
                drop(state);
                return Poll::Ready(match taken {
                    State::Done(outcome) => Some(outcome),
                    State::Waiting(_) | State::Taken => None,
                });
            }
        };
        // The old waker is dropped with the lock free: nobody knows what hangs on it.
        drop(state);
        drop(old);
        Poll::Pending
    }
}

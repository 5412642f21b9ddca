//! Who waits at the gate, and what opens it.

use super::far::{answering, keeping};
use super::*;
use crate::machine::SubmitError;
use crate::net::Gate;

/// An agent that takes one event at a time, and answers.
fn narrow() -> ProxySettings {
    let mut settings = ProxySettings::default();
    settings.limits.window = 1;
    settings
}

/// Waits, and lets go of the connection before it says what came of it.
fn wait(mut gate: Gate) -> Result<(), SubmitError> {
    block_on(gate.open())
}

#[test]
fn an_answer_opens_the_gate() {
    explore("an_answer_opens_the_gate", Bound::Preemptions, || {
        let (handle, _far, running) = Near::with(narrow(), answering()).start();
        let pending = handle.request_headers(headers("a")).send().unwrap();
        assert_eq!(wait(handle.gate()), Ok(()));
        assert!(block_on(pending).unwrap().is_allow());
        drop(handle);
        running.end();
    });
}

#[test]
fn a_late_answer_opens_the_gate() {
    explore("a_late_answer_opens_the_gate", Bound::Preemptions, || {
        let (far, log) = keeping("a");
        let (handle, far, running) = Near::with(narrow(), far).start();
        drop(handle.request_headers(headers("a")).send().unwrap());
        let other = run(move || log.answer(&far));
        assert_eq!(wait(handle.gate()), Ok(()));
        other.join().unwrap();
        drop(handle);
        running.end();
    });
}

#[test]
fn everybody_who_waits_is_told() {
    explore("everybody_who_waits_is_told", Bound::Preemptions, || {
        let (handle, _far, running) = Near::with(narrow(), answering()).start();
        let pending = handle.request_headers(headers("a")).send().unwrap();
        let theirs = handle.gate();
        let other = run(move || assert_eq!(wait(theirs), Ok(())));
        assert_eq!(wait(handle.gate()), Ok(()));
        drop(pending);
        drop(handle);
        other.join().unwrap();
        running.end();
    });
}

#[test]
fn the_end_tells_who_waits_at_the_gate() {
    explore("the_end_tells_who_waits_at_the_gate", Bound::Preemptions, || {
        let (far, _log) = keeping("a");
        let (handle, _far, running) = Near::with(narrow(), far).start();
        let pending = handle.request_headers(headers("a")).send().unwrap();
        let theirs = handle.clone();
        let other = run(move || theirs.close());
        assert_eq!(wait(handle.gate()), Err(SubmitError::Closed));
        drop(pending);
        other.join().unwrap();
        drop(handle);
        running.end();
    });
}

#[test]
fn a_driver_that_is_dropped_tells_who_waits_at_the_gate() {
    explore("a_driver_that_is_dropped_tells_who_waits_at_the_gate", Bound::None, || {
        let (far, _log) = keeping("a");
        let Near { handle, mut driver, far: _far, end } = Near::with(narrow(), far);
        let pending = handle.request_headers(headers("a")).send().unwrap();
        assert!(now(&mut driver).is_none());
        let driver = run(move || drop(driver));
        assert_eq!(wait(handle.gate()), Err(SubmitError::Closed));
        driver.join().unwrap();
        drop(pending);
        drop(handle);
        end.check();
    });
}

//! Callers, their answers, and the driver.

use super::far::{Log, answering, keeping};
use super::*;
use crate::machine::{CloseReason, SubmitError};
use crate::net::ask::{AskError, PendingAnswer};
use crate::wire::{Answer, CancelReason};

type Answered = Result<Answer, AskError>;

fn ask(handle: &AgentHandle, id: &str) -> Result<PendingAnswer, AskError> {
    handle.request_headers(headers(id)).send()
}

/// Asks and waits.
fn answer(handle: &AgentHandle, id: &str) -> Answered {
    block_on(handle.request_headers(headers(id)).into_future())
}

/// What may come of a question where the connection ends meanwhile.
fn is_lost(error: &AskError) -> bool {
    matches!(error, AskError::ConnectionLost { .. } | AskError::Refused(SubmitError::Closed))
}

#[test]
fn an_answer_reaches_its_caller() {
    explore("an_answer_reaches_its_caller", Bound::None, || {
        let (handle, _far, running) = Near::new(answering()).start();
        assert!(answer(&handle, "a").unwrap().is_allow());
        drop(handle);
        running.end();
    });
}

#[test]
fn an_answer_reaches_the_waker_that_was_registered_last() {
    explore("an_answer_reaches_the_waker_that_was_registered_last", Bound::None, || {
        let (handle, _far, running) = Near::new(answering()).start();
        let mut pending = ask(&handle, "a").unwrap();
        let answer = now(&mut pending).unwrap_or_else(|| block_on(pending));
        assert!(answer.unwrap().is_allow());
        drop(handle);
        running.end();
    });
}

/// The agent hears of it exactly if it has heard of the event.
fn assert_cancelled(log: &Log) {
    log.look(|events, cancelled| assert_eq!(events, cancelled, "events and cancels differ"));
}

#[test]
fn a_question_that_is_dropped_is_cancelled() {
    explore("a_question_that_is_dropped_is_cancelled", Bound::Preemptions, || {
        let (far, log) = keeping("a");
        let (handle, _far, running) = Near::new(far).start();
        drop(ask(&handle, "a").unwrap());
        // What is asked later is answered later.
        assert!(answer(&handle, "b").unwrap().is_allow());
        assert_cancelled(&log);
        drop(handle);
        running.end();
    });
}

#[test]
fn a_question_is_given_up_while_it_is_answered() {
    explore("a_question_is_given_up_while_it_is_answered", Bound::None, || {
        let (handle, _far, running) = Near::new(answering()).start();
        let mut pending = ask(&handle, "a").unwrap();
        if let Some(answer) = now(&mut pending) {
            assert!(answer.unwrap().is_allow());
        }
        pending.cancel(CancelReason::Timeout);
        drop(handle);
        running.end();
    });
}

#[test]
fn a_question_ends_with_its_time() {
    explore("a_question_ends_with_its_time", Bound::Preemptions, || {
        let (far, log) = keeping("a");
        let (handle, _far, running) = Near::new(far).start();
        let mut pending = handle.request_headers(headers("a")).timeout(MILLISECOND).send().unwrap();
        assert!(now(&mut pending).is_none());
        block_on(tokio::time::advance(MILLISECOND));
        // In the place of the driver's timer, for which there is no runtime here.
        assert_eq!(handle.cancel_request("b", CancelReason::Timeout), 0);
        let error = block_on(pending).unwrap_err();
        let seen = log.look(|events, _| events) > 0;
        assert_eq!(error, if seen { AskError::TimedOut } else { AskError::Expired });
        drop(handle);
        running.end();
    });
}

#[test]
fn a_drain_lets_what_is_under_way_end() {
    explore("a_drain_lets_what_is_under_way_end", Bound::None, || {
        let (handle, _far, running) = Near::new(answering()).start();
        let pending = ask(&handle, "a").unwrap();
        let reason = block_on(handle.drain(SECOND));
        assert_eq!(reason, CloseReason::Drained);
        match block_on(pending) {
            Ok(answer) => assert!(answer.is_allow()),
            Err(error) => assert_eq!(error, AskError::Draining),
        }
        assert_eq!(ask(&handle, "b").unwrap_err(), AskError::Refused(SubmitError::Closed));
        running.end();
    });
}

#[test]
fn a_driver_that_is_dropped_leaves_nobody_waiting() {
    explore("a_driver_that_is_dropped_leaves_nobody_waiting", Bound::None, || {
        let Near { handle, mut driver, far: _far, end } = Near::new(answering());
        let driver = run(move || {
            assert!(now(&mut driver).is_none());
            drop(driver);
        });
        match answer(&handle, "a") {
            Ok(answer) => assert!(answer.is_allow()),
            Err(error) => assert!(is_lost(&error), "{error}"),
        }
        assert_eq!(block_on(handle.closed()), CloseReason::TransportLost);
        drop(handle);
        driver.join().unwrap();
        end.check();
    });
}

// ---- three threads ----

#[test]
fn two_callers_get_their_own_answers() {
    explore("two_callers_get_their_own_answers", Bound::Preemptions, || {
        let (handle, _far, running) = Near::new(answering()).start();
        let theirs = handle.clone();
        let other = run(move || assert_eq!(tag(answer(&theirs, "b")), "b"));
        assert_eq!(tag(answer(&handle, "a")), "a");
        drop(handle);
        other.join().unwrap();
        running.end();
    });
}

fn tag(answer: Answered) -> String {
    answer.unwrap().audit.tags.concat()
}

#[test]
fn the_last_of_two_handles_closes() {
    explore("the_last_of_two_handles_closes", Bound::Preemptions, || {
        let (handle, _far, running) = Near::new(answering()).start();
        let pending = ask(&handle, "a").unwrap();
        let other = run(move || {
            let _ = handle.state();
            drop(handle);
        });
        // An answer that is awaited keeps the connection.
        assert!(block_on(pending).unwrap().is_allow());
        other.join().unwrap();
        running.end();
    });
}

#[test]
fn a_close_ends_what_is_awaited() {
    explore("a_close_ends_what_is_awaited", Bound::Preemptions, || {
        let (far, _log) = keeping("a");
        let (handle, _far, running) = Near::new(far).start();
        let theirs = handle.clone();
        let other = run(move || theirs.close());
        let error = answer(&handle, "a").unwrap_err();
        assert!(is_lost(&error), "{error}");
        other.join().unwrap();
        drop(handle);
        running.end();
    });
}

#[test]
fn an_agent_that_goes_ends_what_is_awaited() {
    explore("an_agent_that_goes_ends_what_is_awaited", Bound::Preemptions, || {
        let (far, _log) = keeping("a");
        let (handle, far, running) = Near::new(far).start();
        let other = run(move || far.act(|session, _| session.close()));
        let error = answer(&handle, "a").unwrap_err();
        assert!(is_lost(&error), "{error}");
        assert_eq!(block_on(handle.closed()), CloseReason::PeerClosed);
        other.join().unwrap();
        drop(handle);
        running.end();
    });
}

#[test]
fn another_handle_cancels_what_is_awaited() {
    explore("another_handle_cancels_what_is_awaited", Bound::Preemptions, || {
        let (far, log) = keeping("a");
        let (handle, _far, running) = Near::new(far).start();
        let pending = ask(&handle, "a").unwrap();
        let other = run(move || {
            assert_eq!(handle.cancel_request("a", CancelReason::Timeout), 1);
            handle
        });
        let error = block_on(pending).unwrap_err();
        assert!(matches!(error, AskError::Cancelled { reason: CancelReason::Timeout, .. }), "{error}");
        let handle = other.join().unwrap();
        assert!(answer(&handle, "b").unwrap().is_allow());
        assert_cancelled(&log);
        drop(handle);
        running.end();
    });
}

#[test]
fn an_answer_comes_late() {
    explore("an_answer_comes_late", Bound::Preemptions, || {
        let (far, log) = keeping("a");
        let (handle, far, running) = Near::new(far).start();
        let other = run(move || log.answer(&far));
        assert!(answer(&handle, "a").unwrap().is_allow());
        other.join().unwrap();
        drop(handle);
        running.end();
    });
}

#[test]
fn an_answer_comes_while_it_is_given_up() {
    explore("an_answer_comes_while_it_is_given_up", Bound::Preemptions, || {
        let (far, log) = keeping("a");
        let (handle, far, running) = Near::new(far).start();
        let mut pending = ask(&handle, "a").unwrap();
        let other = run(move || log.answer(&far));
        if let Some(answer) = now(&mut pending) {
            assert!(answer.unwrap().is_allow());
        }
        drop(pending);
        drop(handle);
        other.join().unwrap();
        running.end();
    });
}

#[test]
fn the_gauge_follows() {
    explore("the_gauge_follows", Bound::Preemptions, || {
        let (handle, _far, running) = Near::new(answering()).start();
        let theirs = handle.clone();
        let other = run(move || {
            let load = theirs.load();
            assert!(load.serving && !load.paused && load.events <= 1, "{load:?}");
        });
        assert!(answer(&handle, "a").unwrap().is_allow());
        // The caller was told after the gauge.
        assert_eq!(handle.load().events, 0);
        other.join().unwrap();
        drop(handle);
        running.end();
    });
}

//! More callers than loom can take, for shuttle.

use super::far::keeping;
use super::*;
use crate::machine::SubmitError;
use crate::net::ask::AskError;
use crate::wire::CancelReason;

const CALLERS: usize = 4;
const ASKS: usize = 3;

/// One caller: waits, drops, or gives up, one after the other, about requests of its own and one that
/// it shares with the others.
fn call(handle: &AgentHandle, caller: usize) {
    for ask in 0..ASKS {
        let id = if ask == 1 { "shared".to_owned() } else { format!("r{caller}.{ask}") };
        let mut pending = match handle.request_headers(headers(&id)).send() {
            Ok(pending) => pending,
            Err(error) => {
                assert!(
                    matches!(error, AskError::Refused(SubmitError::Closed | SubmitError::Draining)),
                    "{error}"
                );
                continue;
            }
        };
        match (caller + ask) % 4 {
            0 => drop(pending),
            1 => {
                let _ = now(&mut pending);
                pending.cancel(CancelReason::Timeout);
            }
            _ => match block_on(pending) {
                Ok(answer) => assert_eq!(answer.audit.tags.concat(), id, "another's answer"),
                Err(error) => assert!(
                    matches!(
                        error,
                        AskError::ConnectionLost { .. } | AskError::Draining | AskError::Cancelled { .. }
                    ),
                    "{error}"
                ),
            },
        }
    }
}

/// Callers, an agent that is slow about one request, one who cancels that, and `end`.
fn crowd(end: impl FnOnce(AgentHandle, Arc<Far<AgentSession>>) + Send + 'static) {
    let (far, log) = keeping("shared");
    let (handle, far, running) = Near::new(far).start();
    let far = Arc::new(far);
    let mut threads: Vec<Thread<()>> = (0..CALLERS)
        .map(|caller| {
            let handle = handle.clone();
            run(move || call(&handle, caller))
        })
        .collect();
    let (theirs, slow) = (handle.clone(), Arc::clone(&far));
    threads.push(run(move || {
        theirs.cancel_request("shared", CancelReason::Timeout);
        let load = theirs.load();
        // One that is given up keeps its place until its answer comes.
        assert!(load.events as usize <= CALLERS * ASKS, "{load:?}");
        log.answer(&slow);
    }));
    threads.push(run(move || end(handle, far)));
    for thread in threads {
        thread.join().unwrap();
    }
    running.end();
}

#[test]
fn a_crowd_whose_last_handle_is_dropped() {
    explore("a_crowd_whose_last_handle_is_dropped", Bound::Preemptions, || crowd(|handle, _| drop(handle)));
}

#[test]
fn a_crowd_that_is_closed() {
    explore("a_crowd_that_is_closed", Bound::Preemptions, || crowd(|handle, _| handle.close()));
}

#[test]
fn a_crowd_that_is_drained() {
    explore("a_crowd_that_is_drained", Bound::Preemptions, || {
        crowd(|handle, _| drop(block_on(handle.drain(SECOND))));
    });
}

#[test]
fn a_crowd_whose_agent_goes() {
    explore("a_crowd_whose_agent_goes", Bound::Preemptions, || {
        crowd(|_, far| far.act(|session, _| session.close()));
    });
}

#[test]
fn a_crowd_whose_events_are_all_cancelled() {
    explore("a_crowd_whose_events_are_all_cancelled", Bound::Preemptions, || {
        crowd(|handle, _| drop(handle.cancel_all(CancelReason::ProxyShutdown)));
    });
}

//! Giving up, and being told to wait: what happens on a connection that lasts.

use std::time::{Duration, Instant};

use dialback::machine::{Shut, SubmitError};
use dialback::net::{AskError, PendingAnswer};
use dialback::wire::CancelReason;
use tokio::time::{sleep, timeout};

use super::{Outcome, slowly};
use crate::agents::{AT_THE_VALVE, HIGH_MARK, UNTIL_CANCELLED};
use crate::report::Report;
use crate::world::{World, until};

/// Four ways to give a question up. The agent is told each time, and its late answer meets nobody.
pub async fn cancellation(world: &World, report: &mut Report) -> Outcome {
    report.step("Cancellation", "Questions are given up in four ways; the agent must hear of each, and why.");
    let (handle, handler) = (&world.slow.handle, &world.slow_handler);
    let before = handle.stats().totals;
    let ask = |id: &str| handle.ask(slowly(id, UNTIL_CANCELLED));

    let dropped = ask("dropped").send()?;
    let called = ask("called").send()?;
    let all = [ask("all-1").send()?, ask("all-2").send()?];
    let written = until(|| handle.in_flight() == 4).await;
    report.claim(written, "four events are with the slow agent, which will not answer by itself");

    drop(dropped);
    let counted = handle.cancel_request("called", CancelReason::BlockedByAgent);
    report.claim_count(counted, 1, "event given up by call");
    report.claim(
        called.await == Err(AskError::Cancelled { reason: CancelReason::BlockedByAgent, written: true }),
        "its caller was told: given up, and the agent had seen it",
    );
    let begun = Instant::now();
    let late = ask("late").timeout(Duration::from_millis(50)).await;
    let took = begun.elapsed();
    report.claim(
        late == Err(AskError::TimedOut) && took < Duration::from_millis(500),
        format_args!("a question with 50 ms to live ended as timed out after {} ms", took.as_millis()),
    );
    let counted = handle.cancel_all(CancelReason::Manual);
    report.claim_count(counted, 2, "events given up by cancel_all");
    let mut told = 0;
    for answer in all {
        let manual = AskError::Cancelled { reason: CancelReason::Manual, written: true };
        told += usize::from(answer.await == Err(manual));
    }
    report.claim_count(told, counted, "callers of them were told");

    let seen = until(|| handler.cancelled().len() == 5).await;
    let mut cancelled = handler.cancelled();
    cancelled.sort();
    let expected = [
        ("all-1", CancelReason::Manual),
        ("all-2", CancelReason::Manual),
        ("called", CancelReason::BlockedByAgent),
        ("dropped", CancelReason::ClientDisconnect),
        ("late", CancelReason::Timeout),
    ];
    let same = cancelled.iter().map(|(id, reason)| (id.as_str(), *reason)).eq(expected);
    report.claim(seen && same, "the agent saw all five cancellations, with their reasons");
    let settled = until(|| handle.in_flight() == 0).await;
    let late = handle.stats().totals.late_answers - before.late_answers;
    report.claim(settled && late == 5, "its five late answers were dropped, and nothing is left in flight");
    report.count("events given up", 5);
    Ok(())
}

/// The slow agent has enough, says so, and is left alone until it says otherwise.
pub async fn pause_and_resume(world: &World, report: &mut Report) -> Outcome {
    const EVENTS: usize = 400;
    report.step(
        "Pause and resume",
        "400 events at once for an agent that is stuck: it pauses the proxy by itself at 32.",
    );
    let (handle, controller) = (&world.slow.handle, &world.slow.controller);
    world.slow_handler.set_valve(false);
    let before = controller.stats();
    // In small steps, so that the pause finds most of them unwritten.
    let mut pending: Vec<PendingAnswer> = Vec::new();
    for number in 0..EVENTS {
        pending.push(handle.ask(slowly(format!("paused-{number}"), AT_THE_VALVE)).send()?);
        if number == 2 * HIGH_MARK {
            let paused = until(|| handle.is_paused()).await;
            report.claim(paused, "the agent paused the connection, with events still coming in");
        }
    }
    let first = handle.stats();
    sleep(Duration::from_millis(100)).await;
    let second = handle.stats();
    report.claim(
        handle.is_paused() && first.totals.written == second.totals.written && second.waiting > 0,
        format_args!(
            "100 ms later not one more was written: {} with the agent, {} waiting",
            second.in_flight, second.waiting
        ),
    );
    report.claim_count(second.in_flight + second.waiting, EVENTS, "events are accounted for");
    let hasty = handle.ask(slowly("hasty", AT_THE_VALVE)).fail_fast().send().err();
    report.claim(
        hasty == Some(AskError::Refused(SubmitError::WouldWait(Shut::Paused))),
        "a caller that would not wait was told at once why it would have to",
    );

    world.slow_handler.set_valve(true);
    let mut answered = 0;
    for answer in pending {
        answered += usize::from(timeout(crate::world::PATIENCE, answer).await?.is_ok());
    }
    report.claim_count(answered, EVENTS, "were answered after the agent resumed");
    let resumed = until(|| !handle.is_paused()).await;
    let after = controller.stats();
    let (pauses, resumes) = (after.pauses - before.pauses, after.resumes - before.resumes);
    report.claim(
        resumed && pauses > 0 && pauses == resumes,
        format_args!("the agent sent {pauses} pause(s) and as many resumes"),
    );
    report.claim(handle.can_accept(), "the connection takes new events");
    report.count("pauses sent by the slow agent", pauses);
    Ok(())
}

//! The end of connections: a sudden one, a new beginning, and calm ones.

use std::time::{Duration, Instant};

use dialback::machine::{CloseReason, ConnectionState, SubmitError};
use dialback::net::{AskError, PendingAnswer};
use tokio::time::timeout;

use super::{Outcome, slowly};
use crate::agents::{AT_THE_VALVE, HIGH_MARK};
use crate::report::{Milliseconds, Report};
use crate::traffic::{Request, carry, timed};
use crate::world::{PATIENCE, World, until};

/// The slow agent dies with events in its hands and more waiting for it.
pub async fn kill(world: &mut World, report: &mut Report) -> Outcome {
    const EVENTS: usize = 200;
    report.step(
        "An agent is killed",
        "The slow agent dies with events in flight: its task is aborted, its socket gone.",
    );
    let handle = &world.slow.handle;
    world.slow_handler.set_valve(false);
    let mut pending: Vec<PendingAnswer> = Vec::new();
    for number in 0..EVENTS {
        pending.push(handle.ask(slowly(format!("lost-{number}"), AT_THE_VALVE)).send()?);
        if number == 2 * HIGH_MARK {
            until(|| handle.is_paused()).await;
        }
    }
    let before = handle.stats();
    report.claim(
        before.in_flight > 0 && before.waiting > 0,
        format_args!("{} events are in flight, {} wait behind its pause", before.in_flight, before.waiting),
    );

    let killed = Instant::now();
    world.slow.task.abort();
    let (mut written, mut unwritten) = (0, 0);
    for answer in pending {
        match timeout(PATIENCE, answer).await? {
            Err(AskError::ConnectionLost { written: true, .. }) => written += 1,
            Err(AskError::ConnectionLost { written: false, .. }) => unwritten += 1,
            other => report.claim(false, format_args!("every caller loses its connection: {other:?}")),
        }
    }
    let took = killed.elapsed();
    let reason = handle.closed().await;
    report.claim_count(written, before.in_flight, "callers were told: lost, the agent may have seen it");
    report.claim_count(
        unwritten,
        before.waiting,
        "callers were told: lost, the agent never saw it, ask another",
    );
    report.claim(
        took < Duration::from_secs(1),
        format_args!("the last of them knew after {}; their timeout was 30 s", Milliseconds(took)),
    );
    report.claim(
        matches!(reason, CloseReason::PeerClosed | CloseReason::TransportLost),
        format_args!("the connection says why it ended: {reason}"),
    );
    let again = handle.ask(slowly("again", "/")).await;
    report.claim(
        again == Err(AskError::Refused(SubmitError::Closed)),
        "one more question to it was refused at once",
    );
    let other = carry(&Request::new(1), &world.guard.handle, &world.editor.handle).await;
    report.claim(other.is_ok_and(|outcome| outcome.as_expected), "the other two agents answer as before");
    report.count("events lost with the killed agent", (written + unwritten) as u64);
    Ok(())
}

/// The killed agent is started again; another loses its connection and dials again by itself.
pub async fn reconnection(world: &mut World, report: &mut Report) -> Outcome {
    report.step(
        "Reconnection",
        "The killed agent is started again; the guard is cut off and dials again by itself.",
    );
    let old = world.slow.handle.clone();
    world.restart_slow().await?;
    let new = &world.slow.handle;
    report.claim(
        new.agent_id() == old.agent_id() && new.connection_id() != old.connection_id(),
        format_args!("slow  is back: {} became {}", old.connection_id(), new.connection_id()),
    );
    let (answer, took) = timed(new.ask(slowly("welcome", "/"))).await?;
    report.claim(answer.audit.tags == ["slow"], "it answers");
    report.keep("slow, headers", [took]);

    let old = world.guard.handle.clone();
    let cut = Instant::now();
    old.close();
    report.claim(old.closed().await == CloseReason::Closed, "the proxy closed the guard's connection");
    world.guard.handle = timeout(PATIENCE, world.listener.accept()).await??;
    let took = cut.elapsed();
    let new = &world.guard.handle;
    report.claim(
        new.agent_id() == "guard" && new.connection_id() != old.connection_id(),
        format_args!("guard is back after {}, with nobody's help", Milliseconds(took)),
    );
    let outcome = carry(&Request::new(7), new, &world.editor.handle).await?;
    report.claim(outcome.as_expected && outcome.blocked_by == Some(403), "it blocks");
    report.claim_count(world.listener.connections(), 3, "agents are registered");
    Ok(())
}

/// One agent leaves of its own accord, then the proxy goes. Nobody loses an answer.
pub async fn drain(world: World, report: &mut Report) -> Outcome {
    const EVENTS: usize = 20;
    report.step("Drain", "The editor leaves by itself, then the proxy shuts down with events in flight.");
    world.editor.controller.shutdown();
    let left = timeout(PATIENCE, world.editor.task).await??;
    let reason = world.editor.handle.closed().await;
    report.claim(
        left == Ok(()) && reason == CloseReason::PeerDrained,
        format_args!("the editor is gone: {reason}"),
    );

    let handle = &world.slow.handle;
    world.slow_handler.set_valve(false);
    let pending: Vec<PendingAnswer> = (0..EVENTS)
        .map(|number| handle.ask(slowly(format!("last-{number}"), AT_THE_VALVE)).send())
        .collect::<Result<_, _>>()?;
    let in_flight = until(|| handle.in_flight() == EVENTS).await;
    report.claim(in_flight, format_args!("{EVENTS:>5} events are in flight"));

    let listener = world.listener;
    let shutdown = tokio::spawn(async move { listener.shutdown(PATIENCE).await });
    let draining = until(|| handle.state() == ConnectionState::Draining).await;
    report.claim(draining && !world.path.exists(), "the proxy drains; its socket file is gone");
    let refused = handle.ask(slowly("too-late", "/")).await;
    report.claim(refused == Err(AskError::Refused(SubmitError::Draining)), "a new question was refused");

    world.slow_handler.set_valve(true);
    let mut answered = 0;
    for answer in pending {
        answered += usize::from(timeout(PATIENCE, answer).await?.is_ok());
    }
    report.claim_count(answered, EVENTS, "events in flight were answered");
    timeout(2 * PATIENCE, shutdown).await??;
    for (name, member) in [("guard", &world.guard), ("slow", &world.slow)] {
        let reason = member.handle.closed().await;
        report.claim(reason == CloseReason::Drained, format_args!("{name:<5} {reason}"));
    }
    for (name, member) in [("guard", world.guard), ("slow", world.slow)] {
        member.controller.shutdown();
        let ended = timeout(PATIENCE, member.task).await??;
        report.claim(ended == Ok(()), format_args!("{name:<5} stopped dialling and ended in order"));
    }
    Ok(())
}

//! A few thousand requests with bodies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dialback::net::AskError;
use tokio::task::JoinSet;

use super::{Outcome, slowly};
use crate::report::Report;
use crate::traffic::{self, Nature, Request, carry, timed};
use crate::world::World;

const REQUESTS: usize = 4_000;
/// Requests that are carried at the same time.
const CARRIERS: usize = 48;
/// Requests that the slow agent sees meanwhile, one after the other.
const SLOW: usize = 25;

/// The guard blocks, the editor rewrites, the slow agent holds nobody up.
pub async fn verdicts(world: &World, report: &mut Report) -> Outcome {
    report.step(
        "Verdicts",
        "4,000 requests, 48 at a time: headers and body to the guard, what passes to the editor.",
    );
    let slow = world.slow.handle.clone();
    let slowly = tokio::spawn(async move {
        let mut times = Vec::new();
        for number in 0..SLOW {
            let (answer, took) = timed(slow.ask(slowly(format!("slow-{number}"), "/"))).await?;
            if answer.audit.tags == ["slow"] {
                times.push(took);
            }
        }
        Ok::<_, AskError>(times)
    });
    let begun = Instant::now();
    let outcomes = carry_all(world).await?;
    let took = begun.elapsed();
    tell(&outcomes, took, report);
    let times = slowly.await??;
    report.claim_count(times.len(), SLOW, "answers of the slow agent came meanwhile, each in its own time");
    report.keep("slow, headers", times);

    let (guard, editor) = (world.guard.handle.stats(), world.editor.handle.stats());
    for (name, stats) in [("guard", guard), ("editor", editor)] {
        report.count(format!("events the {name} answered"), stats.totals.answered);
    }
    let at_rest = [guard, editor].iter().all(|stats| {
        let totals = stats.totals;
        stats.in_flight == 0
            && stats.waiting == 0
            && totals.answered == totals.admitted
            && totals.stray_answers == 0
    });
    report.claim(at_rest, "every event was answered once, and nothing is left in flight");
    Ok(())
}

type Carried = Vec<(Request, traffic::Outcome)>;

async fn carry_all(world: &World) -> Result<Carried, Box<dyn std::error::Error>> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut carriers = JoinSet::new();
    for _ in 0..CARRIERS {
        let (next, guard, editor) =
            (Arc::clone(&next), world.guard.handle.clone(), world.editor.handle.clone());
        carriers.spawn(async move {
            let mut carried = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= REQUESTS {
                    return Ok::<Carried, AskError>(carried);
                }
                let request = Request::new(number);
                let outcome = carry(&request, &guard, &editor).await?;
                carried.push((request, outcome));
            }
        });
    }
    let mut all = Vec::with_capacity(REQUESTS);
    while let Some(carried) = carriers.join_next().await {
        all.extend(carried??);
    }
    Ok(all)
}

fn tell(outcomes: &[(Request, traffic::Outcome)], took: Duration, report: &mut Report) {
    let made = |nature| outcomes.iter().filter(|(request, _)| request.nature == nature).count();
    let blocked = |status| outcomes.iter().filter(|(_, outcome)| outcome.blocked_by == Some(status)).count();
    let passed = outcomes.iter().filter(|(_, outcome)| outcome.blocked_by.is_none()).count();
    let rewritten: usize = outcomes.iter().map(|(_, outcome)| outcome.rewritten).sum();
    let right = outcomes.iter().filter(|(_, outcome)| outcome.as_expected).count();
    let bytes: usize = outcomes.iter().map(|(request, _)| request.body_len()).sum();
    report.claim_count(blocked(403), made(Nature::BadTarget), "blocked with 403 for their path");
    report.claim_count(blocked(400), made(Nature::BadBody), "blocked with 400 for the middle of their body");
    report.claim_count(
        passed,
        made(Nature::Harmless) + made(Nature::Card),
        "passed, a header set and a cookie removed",
    );
    report.claim_count(rewritten, made(Nature::Card), "bodies rewritten, both card numbers masked");
    report.claim_count(right, REQUESTS, "verdicts, header changes and body bytes are the ones expected");
    report.say(format_args!(
        "{} requests with {} KiB of bodies took {} ms",
        outcomes.len(),
        bytes >> 10,
        took.as_millis()
    ));
    report.count("requests", outcomes.len() as u64);
    for (_, outcome) in outcomes {
        report.keep("guard, headers", outcome.guard_headers.iter().copied());
        report.keep("guard, body", outcome.guard_body.iter().copied());
        report.keep("editor, headers", outcome.editor_headers.iter().copied());
        report.keep("editor, body", outcome.editor_body.iter().copied());
    }
}

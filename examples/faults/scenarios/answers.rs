//! Agents that answer twice, never, or wrongly.

use std::time::{Duration, Instant};

use dialback::machine::CloseReason;
use dialback::net::AgentHandle;
use dialback::wire::RequestHeaders;
use tokio::task::JoinSet;

use super::stage::{Stage, config, word};
use super::{Dose, Report};
use crate::raw::{BOUND, answer, frame};

/// What a busy machine may add to a time.
const SLACK: Duration = Duration::from_secs(2);

/// Every event is answered twice.
pub async fn twice(stage: &Stage, dose: Dose, report: &mut Report) {
    let events = dose.of(500, 20_000);
    let (mut raw, handle) = stage.enlist("raw").await;
    let asker = handle.clone();
    let asking = tokio::spawn(async move {
        let mut right = 0;
        for n in 0..events {
            let id = format!("r{n}");
            let answer =
                asker.request_headers(RequestHeaders::new(id.as_str(), "GET", "/")).timeout(BOUND).await;
            right += usize::from(answer.is_ok_and(|answer| answer.audit.tags == [id]));
        }
        right
    });
    for _ in 0..events {
        let id = raw.event().await.expect("an event");
        raw.send(&[answer(&id), answer(&id)].concat()).await.expect("taken");
    }
    let right = asking.await.expect("the caller");
    let served = raw.is_served().await;
    report.happened = format!("{events} events, {} answers", 2 * events);
    report.exactly("callers with their own answer", right, events);
    report.exactly(
        "second answers dropped and counted",
        handle.stats().totals.stray_answers as usize,
        events,
    );
    report.check(served, "the connection is served after them");
}

/// Nothing is answered.
pub async fn never(stage: &Stage, dose: Dose, report: &mut Report) {
    let peers = dose.of(4, 100);
    let each = 40;
    let allowed = Duration::from_millis(200);
    report.memory = peers * (160 << 10) + (1 << 20);
    report.tasks = peers * (each + 3) + 16;
    let all = stage.enlist_many(peers).await;
    let mut asking = JoinSet::new();
    for (_, handle) in &all {
        for n in 0..each {
            let handle = handle.clone();
            asking.spawn(async move {
                let start = Instant::now();
                let event = RequestHeaders::new(format!("r{n}"), "GET", "/");
                let result = handle.request_headers(event).timeout(allowed).await;
                (word(&result), start.elapsed())
            });
        }
    }
    let told = asking.join_all().await;
    let slowest = told.iter().map(|(_, took)| *took).max().unwrap_or_default();
    let count = |wanted: &str| told.iter().filter(|(word, _)| *word == wanted).count();
    let mut unresponsive = 0;
    for (_, handle) in &all {
        unresponsive += usize::from(matches!(handle.closed().await, CloseReason::Unresponsive { .. }));
    }
    report.happened = format!(
        "{peers} agents with {each} events each; callers: {} timed out, {} lost",
        count("timed out"),
        count("lost")
    );
    report.exactly("told so", count("timed out") + count("lost") + count("refused"), peers * each);
    let limit = (allowed + SLACK).as_millis() as usize;
    report.at_most("ms of the slowest caller", slowest.as_millis() as usize, limit);
    let owed = config().proxy.limits.owed.count;
    report.exactly(&format!("closed for owing more than {owed}"), unresponsive, peers);
}

/// Answers that are nobody's, no answer, or another's.
pub async fn wrongly(stage: &Stage, dose: Dose, report: &mut Report) {
    let rounds = dose.of(3, 50);
    report.memory = 2 << 20;
    report.tasks = 24;
    let wrong = |id: &str| {
        [
            answer("somebody-else"),
            frame(0x20, r#"{"version":2,"decision":"allow"}"#),
            frame(
                0x20,
                format!(r#"{{"decision":"perhaps","audit":{{"custom":{{"correlation_id":"{id}"}}}}}}"#),
            ),
            frame(
                0x20,
                format!(r#"{{"decision":"allow","audit":{{"custom":{{"correlation_id":["{id}"]}}}}}}"#),
            ),
            frame(0x20, "allow"),
            frame(0x10, r#"{"correlation_id":"reversed"}"#),
        ]
    };
    let kinds = wrong("").len();
    let (mut believed, mut crossed, mut ended) = (0, 0, 0);
    let mut peer = stage.enlist("raw").await;
    for n in 0..rounds * kinds {
        if peer.1.is_closed() {
            ended += 1;
            peer = stage.enlist("raw").await;
        }
        let (raw, handle) = &mut peer;
        let id = format!("r{n}");
        let ask = headers(handle, &id, Duration::from_millis(40));
        let reply = async {
            if let Some(id) = raw.event().await {
                let _ = raw.send(&wrong(&id)[n % kinds]).await;
            }
        };
        let (result, ()) = tokio::join!(ask, reply);
        believed += usize::from(result.is_ok());
        if handle.in_flight() > 0 {
            let _ = raw.send(&answer(&id)).await;
        }
        if !raw.is_served().await {
            handle.closed().await;
        }
    }
    // Two at once, the second answered first.
    if peer.1.is_closed() {
        peer = stage.enlist("raw").await;
    }
    let (raw, handle) = &mut peer;
    for n in 0..rounds {
        let (one, two) = (format!("one-{n}"), format!("two-{n}"));
        let reply = async {
            let (first, second) = (raw.event().await, raw.event().await);
            for id in [second, first].into_iter().flatten() {
                let _ = raw.send(&answer(&id)).await;
            }
        };
        let (first, second, ()) =
            tokio::join!(headers(handle, &one, BOUND), headers(handle, &two, BOUND), reply);
        crossed += usize::from(first.ok().as_ref() == Some(&one) && second.ok().as_ref() == Some(&two));
    }
    report.happened = format!("{kinds} kinds, {rounds} times each; {ended} ended the connection");
    report.exactly("taken for an answer", believed, 0);
    report.exactly("pairs answered in reverse, each caller with its own", crossed, rounds);
}

/// Asks, and returns the answer's tag.
async fn headers(handle: &AgentHandle, id: &str, within: Duration) -> Result<String, ()> {
    let answer = handle.request_headers(RequestHeaders::new(id, "GET", "/")).timeout(within).await;
    answer.map(|answer| answer.audit.tags.concat()).map_err(drop)
}

//! Agents that take nothing in, ping without end, or pause without end.

use std::time::{Duration, Instant};

use dialback::machine::{CloseReason, Violation};
use dialback::wire::{RequestBodyChunk, RequestHeaders};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::stage::{Stage, config, word};
use super::{Dose, Report};
use crate::raw::{BOUND, frame};

/// What a busy machine may add to a time.
const SLACK: Duration = Duration::from_secs(2);

/// Agents that register and never read again, while large bodies are to be inspected.
pub async fn stalled(stage: &Stage, dose: Dose, report: &mut Report) {
    let peers = dose.of(4, 32);
    let (each, body) = (48, vec![b'x'; 64 << 10]);
    let allowed = Duration::from_millis(400);
    let settings = config().proxy;
    // The queue, the write buffer as it grows, and an event being encoded.
    let most = settings.limits.queue.bytes + 4 * settings.write_mark + (512 << 10);
    report.memory = peers * most + (2 << 20);
    report.tasks = peers * (each + 3) + 16;
    let all = stage.enlist_many(peers).await;
    let mut asking = JoinSet::new();
    for (_, handle) in &all {
        for n in 0..each {
            let start = Instant::now();
            let chunk = RequestBodyChunk::new(format!("r{n}"), body.clone());
            let pending = handle.request_body_chunk(chunk).timeout(allowed).send();
            asking.spawn(async move {
                let result = match pending {
                    Ok(pending) => pending.await,
                    Err(error) => Err(error),
                };
                (word(&result), start.elapsed())
            });
        }
    }
    let told = asking.join_all().await;
    let slowest = told.iter().map(|(_, took)| *took).max().unwrap_or_default();
    let count = |wanted: &str| told.iter().filter(|(word, _)| *word == wanted).count();
    let mut ended = 0;
    for (_, handle) in &all {
        ended += usize::from(matches!(
            timeout(BOUND, handle.closed()).await,
            Ok(CloseReason::Silent(_) | CloseReason::Unresponsive { .. })
        ));
    }
    report.happened = format!(
        "{peers} agents, {each} chunks of 64 KiB each: {} refused by the full queue, {} timed out, {} lost",
        count("refused"),
        count("timed out"),
        count("lost")
    );
    report.exactly("answered", count("answered"), 0);
    let limit = (allowed + SLACK).as_millis() as usize;
    report.at_most("ms of the slowest caller", slowest.as_millis() as usize, limit);
    report.exactly("closed as silent or unresponsive", ended, peers);
}

/// Pings as fast as they go, their pongs unread.
pub async fn pings_unread(stage: &Stage, dose: Dose, report: &mut Report) {
    let peers = dose.of(4, 32);
    let most = 64 << 20;
    let pings = frame(0x41, [b'p'; 4_000]).repeat(16);
    let settings = config().proxy;
    // The write buffer as it grows, the pongs that wait, and what one read brings.
    report.memory = peers * (3 * settings.write_mark + (512 << 10)) + (1 << 20);
    report.tasks = peers * 4 + 16;
    let mut flooding = JoinSet::new();
    for (mut raw, handle) in stage.enlist_many(peers).await {
        let pings = pings.clone();
        flooding.spawn(async move {
            let mut sent = 0;
            while sent < most && raw.send(&pings).await.is_ok() {
                sent += pings.len();
            }
            (handle.closed().await, sent, handle.stats().traffic.received as usize)
        });
    }
    let ends = flooding.join_all().await;
    let flood = |reason: &CloseReason| matches!(reason, CloseReason::Violation(Violation::PingFlood { .. }));
    let sent = ends.iter().map(|(_, sent, _)| *sent).max().unwrap_or_default();
    let heeded = ends.iter().map(|(.., heeded)| *heeded).max().unwrap_or_default();
    report.happened =
        format!("{peers} agents, up to {} KiB sent; after the end it is read and dropped", sent >> 10);
    report.exactly("closed for it", ends.iter().filter(|(reason, ..)| flood(reason)).count(), peers);
    // The kernel's buffers, the write buffer, the pongs that may wait, and one read.
    report.at_most("KiB heeded before that", heeded >> 10, 1 << 10);
}

/// Pings as fast as their pongs are read.
pub async fn pings_read(stage: &Stage, dose: Dose, report: &mut Report) {
    let pings = dose.of(3_200, 160_000);
    let (mut raw, handle) = stage.enlist("raw").await;
    let piece = frame(0x41, r#"{"sequence":1,"timestamp_ms":2}"#).repeat(16);
    let mut pongs = 0;
    while pongs < pings {
        raw.send(&piece).await.expect("taken");
        let mut more = 16;
        while more > 0 {
            let Some((kind, payload)) = raw.next().await else { break };
            if kind == 0x42 && payload == br#"{"sequence":1,"timestamp_ms":2}"# {
                more -= 1;
                pongs += 1;
            }
        }
        if more > 0 {
            break;
        }
    }
    report.happened = format!("{pings} pings, 16 at a time");
    report.exactly("pongs", pongs, pings);
    report.check(!handle.is_closed(), "the connection lives");
}

/// A pause without an end, while events come.
pub async fn paused(stage: &Stage, dose: Dose, report: &mut Report) {
    let peers = dose.of(4, 100);
    let each = 100;
    let allowed = Duration::from_millis(300);
    let queue = config().proxy.limits.queue.count;
    report.memory = peers * (256 << 10) + (2 << 20);
    report.tasks = peers * (each + 3) + 16;
    let mut all = stage.enlist_many(peers).await;
    let mut asking = JoinSet::new();
    for (raw, handle) in &mut all {
        raw.send(&frame(0x33, r#"{"correlation_id":null,"action":1,"timestamp_ms":0}"#))
            .await
            .expect("taken");
        // The pong says that the pause has been read.
        assert!(raw.is_served().await, "a pause ends nothing");
        for n in 0..each {
            let start = Instant::now();
            let event = RequestHeaders::new(format!("r{n}"), "GET", "/");
            let pending = handle.request_headers(event).timeout(allowed).send();
            asking.spawn(async move {
                let result = match pending {
                    Ok(pending) => pending.await,
                    Err(error) => Err(error),
                };
                (word(&result), start.elapsed())
            });
        }
    }
    let told = asking.join_all().await;
    let slowest = told.iter().map(|(_, took)| *took).max().unwrap_or_default();
    let count = |wanted: &str| told.iter().filter(|(word, _)| *word == wanted).count();
    let written: u64 = all.iter().map(|(_, handle)| handle.stats().totals.written).sum();
    report.happened = format!(
        "{peers} agents, {each} events each: {} waited in vain, {} were refused by the full queue",
        count("timed out"),
        count("refused")
    );
    report.exactly("written in spite of it", written as usize, 0);
    report.exactly("waited until their time was over", count("timed out"), peers * queue);
    report.exactly("refused at once", count("refused"), peers * (each - queue));
    let limit = (allowed + SLACK).as_millis() as usize;
    report.at_most("ms of the slowest caller", slowest.as_millis() as usize, limit);
}

/// One request after the other is paused, none is resumed.
pub async fn many_pauses(stage: &Stage, dose: Dose, report: &mut Report) {
    let peers = dose.of(2, 50);
    let allowed = config().proxy.limits.control.paused_requests;
    report.memory = peers * (allowed * 256) + (1 << 20);
    report.tasks = peers * 3 + 16;
    let mut closed = 0;
    for (mut raw, handle) in stage.enlist_many(peers).await {
        for n in 0..=allowed {
            let pause = format!(r#"{{"correlation_id":"r{n}","action":1,"timestamp_ms":0}}"#);
            // The last is one too many; it may be closed before it is sent.
            let _ = raw.send(&frame(0x33, pause)).await;
        }
        raw.end().await;
        closed += usize::from(matches!(
            handle.closed().await,
            CloseReason::Violation(Violation::TooManyPausedRequests { .. })
        ));
    }
    report.happened = format!("{peers} agents paused {} requests each", allowed + 1);
    report.exactly(&format!("closed at {allowed}"), closed, peers);
}

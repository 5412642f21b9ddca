//! After registration: bytes that are late, long, unknown or made to hurt.

use std::time::{Duration, Instant};

use dialback::machine::{CloseReason, Violation};
use dialback::wire::RequestHeaders;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::stage::{Stage, config, word};
use super::{Dose, Report};
use crate::raw::{BOUND, answer, frame};

/// What a busy machine may add to a time.
const SLACK: Duration = Duration::from_secs(2);

/// Frames that come byte by byte.
pub async fn loris(stage: &Stage, dose: Dose, report: &mut Report) {
    let peers = dose.of(16, 200);
    report.memory = peers * (24 << 10) + (1 << 20);
    report.tasks = peers * 3 + 16;
    let mut slow = JoinSet::new();
    for (mut raw, handle) in stage.enlist_many(peers).await {
        slow.spawn(async move {
            let start = Instant::now();
            for byte in frame(0x20, [b' '; 4_096]) {
                if raw.send(&[byte]).await.is_err() {
                    break;
                }
                sleep(Duration::from_millis(20)).await;
            }
            (handle.closed().await, start.elapsed())
        });
    }
    let ends = slow.join_all().await;
    let slowest = ends.iter().map(|(_, took)| *took).max().unwrap_or_default();
    let stalled = |reason: &CloseReason| matches!(reason, CloseReason::Violation(Violation::StalledFrame));
    let allowed = config().proxy.limits.keepalive.frame_timeout + SLACK;
    report.happened =
        format!("{peers} sent a byte every 20 ms; the last was closed after {} ms", slowest.as_millis());
    report.exactly(
        "closed for a stalled frame",
        ends.iter().filter(|(reason, _)| stalled(reason)).count(),
        peers,
    );
    report.at_most("ms to the last end", slowest.as_millis() as usize, allowed.as_millis() as usize);
}

/// Frames announced with 16 MiB, of which one comes.
pub async fn half(stage: &Stage, dose: Dose, report: &mut Report) {
    let peers = dose.of(4, 16);
    let sent = 1 << 20;
    let bytes = [&(16_u32 << 20).to_be_bytes()[..], &[0x20], &vec![b' '; sent]].concat();
    // Twice what came; the last growth copies it once more. Not what was announced.
    report.memory = peers * 3 * sent + bytes.len() + (1 << 20);
    let mut stalled = 0;
    let mut all = stage.enlist_many(peers).await;
    for (raw, _) in &mut all {
        raw.send(&bytes).await.expect("taken");
    }
    report.tasks = peers * 3 + 16;
    for (_, handle) in &all {
        stalled += usize::from(matches!(
            handle.closed().await,
            CloseReason::Violation(Violation::StalledFrame) | CloseReason::Silent(_)
        ));
    }
    report.happened = format!("{peers} announced 16 MiB, sent 1 MiB and stopped");
    report.exactly("closed for it", stalled, peers);
}

/// Frames of types that nobody knows.
pub async fn unknown_frames(stage: &Stage, dose: Dose, report: &mut Report) {
    let frames = dose.of(20_000, 1_000_000);
    let (mut raw, handle) = stage.enlist("raw").await;
    let piece = frame(0x7f, [7; 16]).repeat(1_000);
    for _ in 0..frames / 1_000 {
        raw.send(&piece).await.expect("taken");
    }
    let served = raw.is_served().await;
    report.happened = format!("{frames} frames of type 0x7f");
    report.check(served, "the connection is served after them");
    report.exactly("skipped and counted", handle.stats().totals.unknown_frames as usize, frames);
}

/// Answers about requests that never were.
pub async fn unknown_ids(stage: &Stage, dose: Dose, report: &mut Report) {
    let answers = dose.of(5_000, 200_000);
    let (mut raw, handle) = stage.enlist("raw").await;
    for n in 0..answers / 100 {
        let piece: Vec<u8> = (0..100).flat_map(|m| answer(&format!("never-{n}-{m}"))).collect();
        raw.send(&piece).await.expect("taken");
    }
    let ask = handle.request_headers(RequestHeaders::new("real", "GET", "/")).timeout(BOUND);
    let (answered, _) = tokio::join!(ask, raw.answer_one());
    report.happened = format!("{answers} answers to no question");
    report.check(
        answered.is_ok_and(|answer| answer.audit.tags == ["real"]),
        "a real question gets its own answer",
    );
    report.exactly("dropped and counted", handle.stats().totals.stray_answers as usize, answers);
}

/// Frames whose length no limit allows.
pub async fn oversize(stage: &Stage, dose: Dose, report: &mut Report) {
    let peers = dose.of(15, 150);
    report.memory = peers * (16 << 10) + (512 << 10);
    report.tasks = peers * 3 + 16;
    let mut closed = 0;
    for n in 0..peers {
        let (mut raw, handle) = stage.enlist(&format!("raw-{n}")).await;
        let length = [u32::MAX, (16 << 20) + 1, 0][n % 3];
        let _ = raw.send(&[&length.to_be_bytes()[..], &[0x20; 100]].concat()).await;
        raw.end().await;
        let reason = handle.closed().await;
        closed += usize::from(matches!(reason, CloseReason::Violation(Violation::Frame(_))));
    }
    report.happened = format!("{peers} announced 0 bytes, 16 MiB and one, or 4 GiB");
    report.exactly("closed for it", closed, peers);
}

/// Answers made to hurt whoever reads them.
pub async fn hurtful(stage: &Stage, dose: Dose, report: &mut Report) {
    let length = dose.of(1 << 20, 8 << 20);
    let id = r#""audit":{"custom":{"correlation_id":"victim"}}"#;
    let payloads: Vec<Vec<u8>> = vec![
        b"[".repeat(100_000),
        b"{\"audit\":".repeat(50_000),
        format!(r#"{{{id},"decision":{}"#, "[".repeat(100_000)).into(),
        format!(r#"{{{id},"decision":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)).into(),
        format!(r#"{{{}"decision":"allow"}}"#, format!("{id},").repeat(1_000)).into(),
        format!(r#"{{{id},"decision":"{}"}}"#, "a".repeat(length)).into(),
        format!(r#"{{{id},"decision":"{}"}}"#, r"\u0041".repeat(length / 6)).into(),
        format!(r#"{{{id},"decision":"{}"}}"#, r"\\".repeat(length / 2)).into(),
        format!(r#"{{{id},"decision":"\ud800\udc"}}"#).into(),
        format!(r#"{{{id},"decision":{{"block":{{"status":1e999}}}}}}"#).into(),
        format!(r#"{{"audit":{{"custom":{{"correlation_id":"{}"}}}}}}"#, "v".repeat(length)).into(),
        format!(r#"{{{id},"decision":null}}"#).into(),
        b"\xc3\x28".repeat(1_000),
        Vec::new(),
    ];
    // Four of the payloads above and a frame are this long. Then the wire's bytes as their buffer
    // grows, the payload kept for the caller, and what is read from it.
    report.memory = (5 + 8) * length + (4 << 20);
    report.tasks = 24;
    let allowed = Duration::from_millis(250);
    let (mut believed, mut slowest, mut ended, mut words) = (0, Duration::ZERO, 0, Vec::new());
    let mut peer = stage.enlist("raw").await;
    for payload in &payloads {
        if peer.1.is_closed() {
            ended += 1;
            peer = stage.enlist("raw").await;
        }
        let (raw, handle) = &mut peer;
        let start = Instant::now();
        let ask = handle.request_headers(RequestHeaders::new("victim", "GET", "/")).timeout(allowed);
        let hurt = async {
            if raw.event().await.is_some() {
                let _ = raw.send(&frame(0x20, payload)).await;
            }
        };
        let (result, ()) = tokio::join!(ask, hurt);
        slowest = slowest.max(start.elapsed());
        believed += usize::from(result.is_ok());
        words.push(word(&result));
        // What is still owed is paid, so that the next one has the id to itself.
        if handle.in_flight() > 0 {
            let _ = raw.send(&answer("victim")).await;
        }
        if !raw.is_served().await {
            handle.closed().await;
        }
    }
    words.sort_unstable();
    words.dedup();
    report.happened = format!(
        "{} kinds up to {} KiB; {ended} ended the connection; callers were told: {}",
        payloads.len(),
        length >> 10,
        words.join(", ")
    );
    report.exactly("taken for an answer", believed, 0);
    let allowed = allowed + SLACK;
    report.at_most("ms of the slowest caller", slowest.as_millis() as usize, allowed.as_millis() as usize);
}

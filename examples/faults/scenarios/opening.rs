//! Before registration: crowds, storms, and handshakes that go wrong.

use std::time::{Duration, Instant};

use dialback::wire::RequestHeaders;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::stage::{Stage, config};
use super::{Dose, Report};
use crate::gauge;
use crate::raw::{BOUND, Raw, Said, frame, registration};

/// What a busy machine may add to a time.
const SLACK: Duration = Duration::from_secs(2);

/// Many agents come, are asked once each, vanish, and come again.
pub async fn storm(stage: &Stage, dose: Dose, report: &mut Report) {
    const ROUNDS: usize = 3;
    let agents = dose.of(100, 1_000);
    // Both ends of each, and the pool's entry.
    report.memory = agents * (24 << 10) + (4 << 20);
    report.tasks = agents * 4 + 2 * config().max_opening;
    let (mut registered, mut answered, mut later, mut slowest) = (0, 0, 0, Duration::ZERO);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut coming = JoinSet::new();
        for n in 0..agents {
            let path = stage.path.clone();
            coming.spawn(async move { (n, Raw::register(&path, &format!("storm-{n}")).await) });
        }
        let mut here = Vec::new();
        for (n, (raw, refused)) in coming.join_all().await {
            here.push((n, raw));
            later += refused;
        }
        slowest = slowest.max(start.elapsed());
        registered += here.len();
        for (n, raw) in &mut here {
            let id = format!("storm-{n}");
            let in_pool = async {
                loop {
                    match stage.pool.begin(&id, id.as_str(), &[]) {
                        Ok(request) => return request,
                        Err(_) => sleep(Duration::from_millis(1)).await,
                    }
                }
            };
            let request =
                timeout(BOUND, in_pool).await.expect("an agent that was told success is in the pool");
            let ask = request.ask(RequestHeaders::new(id.as_str(), "GET", "/")).timeout(BOUND);
            let (answer, _) = tokio::join!(ask, raw.answer_one());
            answered += usize::from(answer.is_ok_and(|answer| answer.audit.tags == [id.as_str()]));
        }
        drop(here);
        report.check(stage.alone().await, "all gone when their sockets are");
    }
    report.happened = format!(
        "{agents} agents came {ROUNDS} times; {later} were told to come later; slowest round {} ms",
        slowest.as_millis()
    );
    report.exactly("registered", registered, agents * ROUNDS);
    report.exactly("asked and answered", answered, agents * ROUNDS);
}

/// Many connect and say nothing.
pub async fn crowd(stage: &Stage, dose: Dose, report: &mut Report) {
    let peers = dose.of(300, 2_000);
    let limit = config().max_opening;
    report.memory = peers * (2 << 10) + (1 << 20);
    report.tasks = 2 * limit + 16;
    let before = gauge::fds();
    let (mut crowd, mut most) = (Vec::new(), 0);
    for n in 0..peers {
        crowd.push(Raw::dial(&stage.path).await);
        if n % 50 == 0 {
            most = most.max(gauge::fds().saturating_sub(before + crowd.len()));
        }
    }
    most = most.max(gauge::fds().saturating_sub(before + crowd.len()));
    let (mut refused, mut dropped) = (0, 0);
    for raw in &mut crowd {
        match raw.reply().await {
            Said::Yes => report.check(false, "registered without a word"),
            Said::No(..) => refused += 1,
            Said::Nothing => dropped += 1,
        }
    }
    report.happened = format!(
        "{peers} connected and said nothing; {refused} were told why they must go, {dropped} were dropped"
    );
    // Those that open, those that are being told no, and the one at hand.
    report.at_most("descriptors on the proxy's side", most, 2 * limit + 1);
    report.exactly("turned away", refused + dropped, peers);
    let (raw, _) = Raw::register(&stage.path, "patient").await;
    drop(raw);
}

/// Registrations that come byte by byte.
pub async fn loris(stage: &Stage, dose: Dose, report: &mut Report) {
    let peers = dose.of(32, 64);
    report.memory = peers * (16 << 10) + (256 << 10);
    report.tasks = peers * 2 + 16;
    let start = Instant::now();
    let mut slow = JoinSet::new();
    for n in 0..peers {
        let mut raw = Raw::dial(&stage.path).await;
        slow.spawn(async move {
            for byte in registration(&format!("slow-{n}")) {
                if raw.send(&[byte]).await.is_err() {
                    break;
                }
                sleep(Duration::from_millis(20)).await;
            }
            let said = raw.reply().await;
            raw.end().await;
            matches!(said, Said::Yes)
        });
    }
    let registered = slow.join_all().await.into_iter().filter(|registered| *registered).count();
    let took = start.elapsed();
    let config = config();
    let allowed = config.proxy.limits.handshake_timeout + config.linger + SLACK;
    report.happened = format!("{peers} sent a byte every 20 ms; all closed after {} ms", took.as_millis());
    report.exactly("registered", registered, 0);
    report.at_most("ms to the last end", took.as_millis() as usize, allowed.as_millis() as usize);
}

/// Half of a registration as long as may be, then nothing.
pub async fn half(stage: &Stage, dose: Dose, report: &mut Report) {
    let peers = dose.of(32, 64);
    let limit = config().proxy.max_opening_frame as usize;
    // What is held is at most twice what came; its last growth copies it once more.
    report.memory = peers * (limit + limit / 2 + (4 << 10)) + (128 << 10);
    let mut bytes = frame(1, vec![b' '; limit - 1]);
    bytes.truncate(limit / 2);
    let start = Instant::now();
    let mut waiting = Vec::new();
    for _ in 0..peers {
        let mut raw = Raw::dial(&stage.path).await;
        raw.send(&bytes).await.expect("taken");
        waiting.push(raw);
    }
    report.tasks = peers + 16;
    for raw in &mut waiting {
        raw.end().await;
    }
    let took = start.elapsed();
    let config = config();
    let allowed = config.proxy.limits.handshake_timeout + config.linger + SLACK;
    report.happened =
        format!("{peers} sent 32 of 64 KiB and stopped; all closed after {} ms", took.as_millis());
    report.at_most("ms to the last end", took.as_millis() as usize, allowed.as_millis() as usize);
}

/// Registrations made to hurt whoever reads them.
pub async fn hurtful(stage: &Stage, dose: Dose, report: &mut Report) {
    let rounds = dose.of(1, 20);
    report.memory = 4 << 20;
    let bodies: Vec<Vec<u8>> = vec![
        b"[".repeat(60_000),
        b"{\"metadata\":".repeat(5_000),
        [&br#"{"protocol_version":2,"agent_id":"a","metadata":"#[..], &b"[".repeat(30_000)].concat(),
        format!(r#"{{{}"agent_id":"a"}}"#, r#""agent_id":"a","#.repeat(4_000)).into(),
        format!(r#"{{"protocol_version":2,"agent_id":"{}","capabilities":{{}}}}"#, "a".repeat(60_000)).into(),
        br#"{"protocol_version":2,"agent_id":"a\nb","capabilities":{}}"#.into(),
        br#"{"protocol_version":2,"agent_id":"\ud800","capabilities":{}}"#.into(),
        br#"{"protocol_version":1e400,"agent_id":"a","capabilities":{}}"#.into(),
        br#"[2,"a",{}]"#.into(),
        b"\xff\xfe{}".into(),
        Vec::new(),
        vec![0; 60_000],
    ];
    let mut frames: Vec<Vec<u8>> = bodies.iter().map(|body| frame(1, body)).collect();
    frames.push(frame(1, vec![b' '; 65_536]));
    frames.push(frame(0x20, "{}"));
    frames.push(frame(3, "{}"));
    frames.push(b"\0\0\0\x20{\"agent_id\":\"elixir\",\"padding\":1}".into());
    frames.push(b"GET / HTTP/1.1\r\n\r\n".into());
    let (mut told, mut silent, mut registered) = (0, 0, 0);
    for bytes in frames.iter().cycle().take(frames.len() * rounds) {
        let mut raw = Raw::dial(&stage.path).await;
        // It may be turned away before all was sent.
        let _ = raw.send(bytes).await;
        match raw.reply().await {
            Said::Yes => registered += 1,
            Said::No(words, _) if !words.is_empty() => told += 1,
            Said::No(..) | Said::Nothing => silent += 1,
        }
    }
    report.happened = format!("{} kinds, {rounds} times each", frames.len());
    report.exactly("registered", registered, 0);
    report.exactly("told why", told, frames.len() * rounds);
    report.exactly("left without a reason", silent, 0);
}

//! A mixed load for minutes on small limits: agents that are slow, pause, are killed, drain and
//! come back; callers that wait, cancel, and walk away. In the end every question is accounted
//! for exactly once, by its caller and by the connections' counters, and memory has not grown
//! after the warm-up.
//!
//! `cargo run --release --example soak -- --minutes 10`; one minute unless told otherwise.

// The examples use more or less of what they share.
#![allow(dead_code)]

#[path = "common/gauge.rs"]
mod gauge;
#[path = "common/raw.rs"]
mod raw;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dialback::machine::{InboxLimits, ProxyStats};
use dialback::net::{
    Agent, AgentConfig, AgentController, AgentHandle, AskError, Backoff, Context, Handler, Listener,
    ListenerConfig, Pool, PoolConfig,
};
use dialback::session::AgentSettings;
use dialback::testing::Rng;
use dialback::wire::{
    Answer, CancelReason, Capabilities, Event, EventKind, Registration, RequestBodyChunk, RequestHeaders,
};
use gauge::{Gauge, mib};
use raw::{Raw, Said, answer, frame};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// Agents with the library's own runner, each with this many connections.
const AGENTS: usize = 4;
const CONNECTIONS: usize = 2;
/// Callers at once.
const CALLERS: usize = 48;
/// How often figures are printed.
const PRINT: Duration = Duration::from_secs(10);
/// After the warm-up the process may hold the most of the warm-up, a tenth more, and this.
const AIR: usize = 2 << 20;

/// What callers were told, counted by themselves.
#[derive(Debug, Default)]
struct Book {
    nobody: AtomicU64,
    asked: AtomicU64,
    answered: AtomicU64,
    timed_out: AtomicU64,
    cancelled: AtomicU64,
    lost: AtomicU64,
    drained: AtomicU64,
    /// Turned away before it was taken.
    refused: AtomicU64,
    /// Walked away from after it was taken.
    dropped: AtomicU64,
    wrong: AtomicU64,
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn value(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// What all connections that have ended have counted, and how many there were.
#[derive(Default)]
struct Sum {
    connections: u64,
    totals: ProxyStats,
}

impl Sum {
    fn take(&mut self, stats: ProxyStats) {
        self.connections += 1;
        let sum = &mut self.totals;
        sum.admitted += stats.admitted;
        sum.answered += stats.answered;
        sum.timed_out += stats.timed_out;
        sum.cancelled += stats.cancelled;
        sum.refused += stats.refused;
        sum.lost += stats.lost;
    }
}

struct Soak {
    pool: Pool,
    path: PathBuf,
    over: AtomicBool,
    book: Book,
    sum: Mutex<Sum>,
    kills: AtomicU64,
    pauses: AtomicU64,
}

impl Soak {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// Mostly quick, sometimes slow, now and then not before it is cancelled.
struct Mixed(Mutex<Rng>);

impl Mixed {
    async fn work(&self, tag: String, cx: Context) -> Answer {
        let (dice, span) = {
            let mut rng = self.0.lock().expect("no panic");
            (rng.below(100), rng.below(30))
        };
        match dice {
            0..70 => {}
            70..97 => sleep(Duration::from_millis(span)).await,
            _ => drop(cx.cancelled().await),
        }
        Answer::allow().with_tag(tag)
    }
}

impl Handler for Mixed {
    async fn on_request_headers(&self, event: RequestHeaders, cx: Context) -> Answer {
        self.work(event.metadata.correlation_id.as_str().into(), cx).await
    }

    async fn on_request_body_chunk(&self, event: RequestBodyChunk, cx: Context) -> Answer {
        self.work(event.correlation_id.as_str().into(), cx).await
    }
}

fn config() -> ListenerConfig {
    let mut config = ListenerConfig::default();
    config.proxy.limits.window = 16;
    config.proxy.limits.queue.count = 24;
    config.proxy.limits.owed.count = 12;
    config.linger = Duration::from_millis(200);
    config
}

type Runner = (AgentController, JoinHandle<Result<(), dialback::net::AgentError>>);

fn start_agent(id: &str, path: &Path, seed: u64) -> Runner {
    let mut capabilities = Capabilities::new(id, [EventKind::RequestHeaders, EventKind::RequestBodyChunk]);
    capabilities.features.cancellation = true;
    capabilities.features.flow_control = true;
    let mut config = AgentConfig::new(AgentSettings::new(Registration::new(capabilities)));
    // Small marks, so that the agents pause by themselves.
    config.agent.limits.inbox =
        InboxLimits { running: 6, high_mark: 10, low_mark: 4, ..InboxLimits::default() };
    config.reconnect =
        Backoff { min: Duration::from_millis(10), max: Duration::from_millis(200), ..Backoff::default() };
    config.drain_timeout = Duration::from_millis(200);
    Agent::new(config, Mixed(Mutex::new(Rng::new(seed)))).run_unix(path).spawn()
}

/// Keeps one connection's place: its agent is killed, or told to go, or cut off, and starts again.
async fn keep(soak: Arc<Soak>, id: String, seed: u64) {
    let mut rng = Rng::new(seed);
    while !soak.is_over() {
        let (control, task) = start_agent(&id, &soak.path, rng.next_u64());
        let end = Instant::now() + Duration::from_millis(300 + rng.below(3_000));
        while !soak.is_over() && Instant::now() < end {
            sleep(Duration::from_millis(50)).await;
        }
        add(&soak.kills);
        match rng.below(3) {
            0 => task.abort(),
            1 => control.shutdown(),
            _ => {
                if let Ok(request) = soak.pool.begin(&id, "closing", &[]) {
                    request.handle().close();
                }
                sleep(Duration::from_millis(300)).await;
                task.abort();
            }
        }
        // Aborted or calm, it is gone.
        let _ = task.await;
    }
}

/// An agent that pauses the connection, or one request, again and again, and resumes in the end.
async fn moody(soak: Arc<Soak>, seed: u64) {
    let mut rng = Rng::new(seed);
    while !soak.is_over() {
        let (mut raw, Said::Yes) = Raw::knock(&soak.path, "moody").await else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        // So that this task ends in time when nobody asks any more.
        while let Ok(Some(id)) = timeout(Duration::from_secs(1), raw.event()).await {
            if rng.below(20) == 0 {
                add(&soak.pauses);
                let whom = if rng.below(2) == 0 { "null".into() } else { format!("\"{id}\"") };
                let signal = |action| {
                    frame(0x33, format!(r#"{{"correlation_id":{whom},"action":{action},"timestamp_ms":0}}"#))
                };
                let _ = raw.send(&signal(1)).await;
                sleep(Duration::from_millis(rng.below(60))).await;
                let _ = raw.send(&signal(2)).await;
            }
            if raw.send(&answer(&id)).await.is_err() || soak.is_over() {
                break;
            }
        }
    }
}

/// Asks again and again, in every way there is.
async fn call(soak: Arc<Soak>, caller: usize) {
    let mut rng = Rng::new(caller as u64);
    let mut number = 0_u64;
    while !soak.is_over() {
        number += 1;
        let id = format!("c{caller}-{number}");
        let agent = match rng.below(AGENTS as u64 + 1) {
            0 => "moody".into(),
            n => format!("agent-{n}"),
        };
        let Ok(request) = soak.pool.begin(&agent, id.as_str(), &[]) else {
            add(&soak.book.nobody);
            sleep(Duration::from_millis(5)).await;
            continue;
        };
        let events: [Event; 3] = [
            RequestHeaders::new(id.as_str(), "POST", "/").into(),
            RequestBodyChunk::new(id.as_str(), vec![b'x'; rng.below(4_000) as usize]).into(),
            RequestBodyChunk::new(id.as_str(), "end").into(),
        ];
        for event in events {
            let book = &soak.book;
            add(&book.asked);
            let mut asking =
                Box::pin(request.ask(event).timeout(Duration::from_millis(5 + rng.below(100))).into_future());
            let patience = Duration::from_millis(rng.below(15));
            let result = match rng.below(100) {
                0..80 => asking.await,
                80..92 => match timeout(patience, &mut asking).await {
                    Ok(result) => result,
                    Err(_) => {
                        request.cancel(CancelReason::Manual);
                        asking.await
                    }
                },
                _ => match timeout(patience, &mut asking).await {
                    Ok(result) => result,
                    Err(_) => {
                        add(&book.dropped);
                        break;
                    }
                },
            };
            if !enter(book, &id, &result) {
                break;
            }
        }
        sleep(Duration::from_millis(rng.below(3))).await;
    }
}

/// Enters a result into the book. Whether the request goes on.
fn enter(book: &Book, id: &str, result: &Result<Answer, AskError>) -> bool {
    match result {
        Ok(answer) => {
            add(&book.answered);
            if answer.audit.tags != [id] && !answer.audit.tags.is_empty() {
                add(&book.wrong);
            }
            return true;
        }
        Err(AskError::MalformedAnswer(_)) => add(&book.answered),
        Err(AskError::TimedOut | AskError::Expired) => add(&book.timed_out),
        Err(AskError::Cancelled { .. }) => add(&book.cancelled),
        Err(AskError::ConnectionLost { .. }) => add(&book.lost),
        Err(AskError::Draining) => add(&book.drained),
        Err(
            AskError::Refused(_)
            | AskError::Encode(_)
            | AskError::TooLarge { .. }
            | AskError::WrongEncoding { .. }
            | AskError::WrongRequest { .. },
        ) => add(&book.refused),
    }
    false
}

/// Takes every agent into the pool, and its counters into the sum when it has ended.
async fn serve(soak: Arc<Soak>, listener: Arc<Listener>) {
    let mut watching = JoinSet::new();
    while let Ok(handle) = listener.accept().await {
        soak.pool.add(handle.clone());
        watching.spawn(watch(Arc::clone(&soak), handle));
        while watching.try_join_next().is_some() {}
    }
    watching.join_all().await;
}

async fn watch(soak: Arc<Soak>, handle: AgentHandle) {
    handle.closed().await;
    soak.sum.lock().expect("no panic").take(handle.stats().totals);
}

fn minutes() -> Option<f64> {
    let mut words = std::env::args().skip(1);
    match (words.next().as_deref(), words.next(), words.next()) {
        (None, ..) => Some(1.0),
        (Some("--minutes"), Some(number), None) => number.parse().ok().filter(|minutes| *minutes > 0.0),
        _ => None,
    }
}

/// Prints figures until the time is over. Returns the most resident memory of the warm-up and of
/// the time after it.
async fn look_on(soak: &Soak, run: Duration) -> (usize, usize) {
    let warm_up = Duration::from_secs(60).min(run / 2);
    let (start, mut printed) = (Instant::now(), Duration::ZERO);
    let (mut warm, mut later) = (0, 0);
    println!(
        "{:>6} {:>10} {:>10} {:>9} {:>9} {:>7} {:>7}",
        "s", "resident", "heap", "asked", "answered", "kills", "pauses"
    );
    while start.elapsed() < run {
        sleep(Duration::from_millis(500)).await;
        let (now, resident) = (start.elapsed(), gauge::rss());
        if now < warm_up {
            warm = warm.max(resident);
        } else {
            later = later.max(resident);
        }
        if now >= printed + PRINT || now >= run {
            printed = now;
            println!(
                "{:>6} {:>10} {:>10} {:>9} {:>9} {:>7} {:>7}",
                now.as_secs(),
                mib(resident),
                mib(gauge::heap()),
                value(&soak.book.asked),
                value(&soak.book.answered),
                value(&soak.kills),
                value(&soak.pauses)
            );
        }
    }
    (warm, later)
}

/// Prints a statement. Returns 1 if it does not hold.
fn judge(held: bool, words: &str) -> u32 {
    println!("{} {words}", if held { "held  " } else { "BROKEN" });
    u32::from(!held)
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let Some(minutes) = minutes() else {
        eprintln!("usage: soak [--minutes NUMBER]");
        return ExitCode::FAILURE;
    };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("agents.sock");
    let before = Gauge::now();
    let listener = Arc::new(Listener::bind_unix(&path, config()).await.expect("a listener"));
    let soak = Arc::new(Soak {
        pool: Pool::new(PoolConfig { grace: Duration::from_secs(1), ..PoolConfig::default() }),
        path,
        over: AtomicBool::new(false),
        book: Book::default(),
        sum: Mutex::default(),
        kills: AtomicU64::new(0),
        pauses: AtomicU64::new(0),
    });
    let serving = tokio::spawn(serve(Arc::clone(&soak), Arc::clone(&listener)));
    let mut actors = JoinSet::new();
    for n in 0..AGENTS * CONNECTIONS {
        actors.spawn(keep(Arc::clone(&soak), format!("agent-{}", n / CONNECTIONS + 1), 1_000 + n as u64));
    }
    actors.spawn(moody(Arc::clone(&soak), 2_000));
    for caller in 0..CALLERS {
        actors.spawn(call(Arc::clone(&soak), caller));
    }
    let (warm, later) = look_on(&soak, Duration::from_secs_f64(minutes * 60.0)).await;
    soak.over.store(true, Ordering::Relaxed);
    let ended = timeout(Duration::from_secs(30), actors.join_all()).await.is_ok();
    listener.shutdown(Duration::from_secs(1)).await;
    let served = timeout(Duration::from_secs(30), serving).await.is_ok();
    drop(listener);
    let mut broken = judge(ended && served, "every caller, agent and watcher has ended");
    broken += account(&soak);
    let allowed = warm + warm / 10 + AIR;
    broken += judge(
        later <= allowed,
        &format!(
            "resident after the warm-up: {} <= {}, the most of the warm-up was {}",
            mib(later),
            mib(allowed),
            mib(warm)
        ),
    );
    let after = before.wait_for_return(Duration::from_secs(10)).await;
    let left = (after.fds.saturating_sub(before.fds), after.tasks.saturating_sub(before.tasks));
    broken += judge(left == (0, 0), &format!("left over: {} descriptors, {} tasks", left.0, left.1));
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Compares what callers were told with what connections counted.
fn account(soak: &Soak) -> u32 {
    let book = &soak.book;
    let sum = soak.sum.lock().expect("no panic");
    let totals = sum.totals;
    let (asked, refused, dropped) = (value(&book.asked), value(&book.refused), value(&book.dropped));
    let rows = [
        ("answered", value(&book.answered), totals.answered),
        ("timed out", value(&book.timed_out), totals.timed_out),
        ("cancelled", value(&book.cancelled), totals.cancelled),
        ("lost", value(&book.lost), totals.lost),
        ("turned away by a drain", value(&book.drained), totals.refused),
    ];
    println!("{} connections; {} times nobody was there", sum.connections, value(&book.nobody));
    println!("{:<24} {:>10} {:>12}", "", "callers", "connections");
    for (what, told, counted) in rows {
        println!("{what:<24} {told:>10} {counted:>12}");
    }
    println!("{:<24} {dropped:>10}", "walked away from");
    println!("{:<24} {refused:>10}", "refused before taken");
    let told: u64 = rows.iter().map(|(_, told, _)| told).sum();
    let counted: u64 = rows.iter().map(|(.., counted)| counted).sum();
    let taken = asked.saturating_sub(refused);
    let mut broken = judge(value(&book.wrong) == 0, "no caller got another request's answer");
    broken += judge(
        asked == told + dropped + refused,
        &format!("by the callers: {asked} asked = {} ended once", told + dropped + refused),
    );
    broken += judge(
        totals.admitted == counted,
        &format!("by the connections: {} taken = {counted} ended once", totals.admitted),
    );
    broken += judge(taken == totals.admitted, &format!("both: {taken} taken = {} taken", totals.admitted));
    // What was walked away from ended as cancelled, or otherwise a moment before.
    let covered = rows.iter().all(|(_, told, counted)| counted >= told);
    broken += judge(
        covered && counted - told == dropped,
        &format!("both: what was walked away from is the difference, {dropped}"),
    );
    broken
}

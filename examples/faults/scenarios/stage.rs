//! A proxy on a socket, an innocent agent on it, and the one who asks it without a pause.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dialback::machine::KeepaliveLimits;
use dialback::net::{
    Agent, AgentConfig, AgentController, AgentHandle, AskError, Context, Handler, Listener, ListenerConfig,
    Pool, PoolConfig,
};
use dialback::session::AgentSettings;
use dialback::wire::{Answer, Capabilities, EventKind, Registration, RequestHeaders};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::Report;
use crate::gauge;
use crate::raw::{BOUND, Raw};

/// How long an innocent request may take.
const INNOCENT: Duration = Duration::from_secs(3);
/// How long the last task and descriptor may take to go.
pub const GOODBYE: Duration = Duration::from_secs(10);

/// A proxy's limits, tight enough to be reached in a test.
pub fn config() -> ListenerConfig {
    let mut config = ListenerConfig {
        max_opening: 64,
        accept_queue: 1_024,
        linger: Duration::from_millis(300),
        ..ListenerConfig::default()
    };
    let limits = &mut config.proxy.limits;
    limits.handshake_timeout = Duration::from_millis(500);
    limits.keepalive = KeepaliveLimits {
        interval: Some(Duration::from_millis(600)),
        timeout: Duration::from_millis(600),
        frame_timeout: Duration::from_millis(800),
        ..KeepaliveLimits::default()
    };
    limits.queue.count = 64;
    limits.queue.bytes = 1 << 20;
    limits.owed.count = 16;
    config
}

/// What the innocent's questions came to.
struct Innocence {
    asked: usize,
    failed: Vec<String>,
    slowest: Duration,
}

/// A proxy on a socket, and an innocent agent.
pub struct Stage {
    pub pool: Pool,
    pub path: PathBuf,
    pub listener: Arc<Listener>,
    serving: JoinHandle<()>,
    innocent: (AgentController, JoinHandle<Result<(), dialback::net::AgentError>>),
    openings: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    asking: JoinHandle<Innocence>,
    watching: JoinHandle<()>,
    most_tasks: Arc<AtomicUsize>,
    _dir: tempfile::TempDir,
}

struct Innocent(Arc<AtomicUsize>);

impl Handler for Innocent {
    async fn on_request_headers(&self, event: RequestHeaders, _: Context) -> Answer {
        Answer::allow().with_tag(event.uri)
    }

    fn on_opened(&self, _: Option<&dialback::wire::RegistrationResponse>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Stage {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("agents.sock");
        let listener = Arc::new(Listener::bind_unix(&path, config()).await.expect("a listener"));
        let pool = Pool::new(PoolConfig { grace: Duration::from_millis(100), ..PoolConfig::default() });
        let serving = tokio::spawn({
            let (pool, listener) = (pool.clone(), Arc::clone(&listener));
            async move { pool.serve(&listener).await }
        });
        let openings = Arc::new(AtomicUsize::new(0));
        let capabilities = Capabilities::new("innocent", [EventKind::RequestHeaders]);
        let agent = AgentConfig::new(AgentSettings::new(Registration::new(capabilities)));
        let innocent = Agent::new(agent, Innocent(Arc::clone(&openings))).run_unix(&path).spawn();
        let over = Arc::new(AtomicBool::new(false));
        let handle = find(&pool, "innocent").await;
        let asking = tokio::spawn(ask_steadily(handle, Arc::clone(&over)));
        let most_tasks = Arc::new(AtomicUsize::new(0));
        let watching = tokio::spawn({
            let most_tasks = Arc::clone(&most_tasks);
            async move {
                loop {
                    most_tasks.fetch_max(gauge::tasks(), Ordering::Relaxed);
                    sleep(Duration::from_millis(2)).await;
                }
            }
        });
        let _dir = dir;
        Self { pool, path, listener, serving, innocent, openings, over, asking, watching, most_tasks, _dir }
    }

    /// The most tasks seen at once.
    pub fn most_tasks(&self) -> usize {
        self.most_tasks.load(Ordering::Relaxed)
    }

    /// Registers a raw agent; returns both its ends.
    pub async fn enlist(&self, id: &str) -> (Raw, AgentHandle) {
        let (raw, _) = Raw::register(&self.path, id).await;
        (raw, find(&self.pool, id).await)
    }

    /// Registers `count` raw agents.
    pub async fn enlist_many(&self, count: usize) -> Vec<(Raw, AgentHandle)> {
        let mut all = Vec::new();
        for n in 0..count {
            all.push(self.enlist(&format!("raw-{n}")).await);
        }
        all
    }

    /// Waits until only the innocent is connected.
    pub async fn alone(&self) -> bool {
        let alone = async {
            while self.listener.connections() > 1 || self.pool.connections() > 1 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(BOUND, alone).await.is_ok()
    }

    /// Looks at the innocent, then takes everything down.
    pub async fn end(self, report: &mut Report) {
        let alone = self.alone().await;
        self.over.store(true, Ordering::Relaxed);
        let innocence = self.asking.await.expect("the innocent's caller");
        let (asked, failed) = (innocence.asked, innocence.failed.len());
        let first = innocence.failed.first().map_or(String::new(), |words| format!(" ({words})"));
        report.check(
            failed == 0 && self.openings.load(Ordering::Relaxed) == 1,
            format!(
                "innocent: {asked} asked, {failed} failed{first}, slowest {} ms, no reconnect",
                innocence.slowest.as_millis()
            ),
        );
        let (control, task) = self.innocent;
        control.shutdown();
        let calm = timeout(GOODBYE, task).await.is_ok();
        let down = timeout(GOODBYE, self.listener.shutdown(Duration::from_secs(1))).await.is_ok();
        let _ = timeout(GOODBYE, self.serving).await;
        self.watching.abort();
        let entries = async {
            while !self.pool.agents().is_empty() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let empty = timeout(GOODBYE, entries).await.is_ok();
        let steps = [
            (alone, "hostile connections stay"),
            (calm, "the innocent agent does not go"),
            (down, "the listener does not shut down"),
            (!self.path.exists(), "the socket file is there"),
            (empty, "the pool has entries"),
        ];
        let wrong: Vec<_> = steps.iter().filter(|(done, _)| !done).map(|(_, words)| *words).collect();
        report.check(
            wrong.is_empty(),
            format!("taken down calmly, nothing in listener, pool, folder {}", wrong.join(", ")),
        );
    }
}

/// The newest handle of an agent in the pool.
async fn find(pool: &Pool, id: &str) -> AgentHandle {
    let found = timeout(BOUND, async {
        loop {
            if let Ok(request) = pool.begin(id, "looking", &[]) {
                return request.handle().clone();
            }
            sleep(Duration::from_millis(1)).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("{id} does not come into the pool"))
}

async fn ask_steadily(innocent: AgentHandle, over: Arc<AtomicBool>) -> Innocence {
    let mut seen = Innocence { asked: 0, failed: Vec::new(), slowest: Duration::ZERO };
    // A short fault is followed by a few more questions: it must not have broken anything either.
    while !over.load(Ordering::Relaxed) || seen.asked < 20 {
        // A little pause now and then leaves the machine to the others.
        if seen.asked.is_multiple_of(4) {
            sleep(Duration::from_millis(1)).await;
        }
        let uri = format!("/{}", seen.asked);
        let request = RequestHeaders::new(format!("innocent-{}", seen.asked), "GET", &uri);
        let asked = Instant::now();
        match innocent.request_headers(request).timeout(INNOCENT).await {
            Ok(answer) if answer.audit.tags == [uri] => {}
            Ok(_) => seen.failed.push("another request's answer".into()),
            Err(error) => seen.failed.push(error.to_string()),
        }
        seen.slowest = seen.slowest.max(asked.elapsed());
        seen.asked += 1;
        if matches!(seen.failed.len(), 100..) {
            break;
        }
    }
    seen
}

/// What a caller was told, in one word.
pub const fn word(result: &Result<Answer, AskError>) -> &'static str {
    match result {
        Ok(_) => "answered",
        Err(AskError::TimedOut | AskError::Expired) => "timed out",
        Err(AskError::ConnectionLost { .. }) => "lost",
        Err(AskError::MalformedAnswer(_)) => "malformed",
        Err(AskError::Refused(_)) => "refused",
        Err(AskError::Cancelled { .. }) => "cancelled",
        Err(AskError::Draining) => "draining",
        Err(
            AskError::Encode(_)
            | AskError::TooLarge { .. }
            | AskError::WrongEncoding { .. }
            | AskError::WrongRequest { .. },
        ) => "misused",
    }
}

//! A thousand agents, five reconnects each, the proxy restarted in the middle. In the end every
//! agent was registered exactly six times, every question was answered, and nothing is left over.
//!
//! `cargo run --release --example storm`; another number of agents as an argument.

// The examples use more or less of what they share.
#![allow(dead_code)]

#[path = "common/gauge.rs"]
mod gauge;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dialback::net::{
    Agent, AgentConfig, AgentController, AgentError, Backoff, Context, Handler, Listener, ListenerConfig,
    Pool, PoolConfig,
};
use dialback::session::AgentSettings;
use dialback::wire::{Answer, Capabilities, EventKind, Registration, RegistrationResponse, RequestHeaders};
use gauge::Gauge;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// Reconnects of each agent.
const RECONNECTS: usize = 5;
/// The reconnect that comes of a restart of the proxy.
const RESTART: usize = 3;
/// How long each step may take.
const STEP: Duration = Duration::from_secs(60);

/// What one agent has seen.
#[derive(Default)]
struct Seen {
    opened: AtomicUsize,
    asked: AtomicUsize,
}

struct Named {
    name: String,
    seen: Arc<Seen>,
}

impl Handler for Named {
    async fn on_request_headers(&self, _: RequestHeaders, _: Context) -> Answer {
        self.seen.asked.fetch_add(1, Ordering::Relaxed);
        Answer::allow().with_tag(self.name.clone())
    }

    fn on_opened(&self, _: Option<&RegistrationResponse>) {
        self.seen.opened.fetch_add(1, Ordering::Relaxed);
    }
}

struct Running {
    name: String,
    seen: Arc<Seen>,
    control: AgentController,
    task: JoinHandle<Result<(), AgentError>>,
}

struct Proxy {
    listener: Arc<Listener>,
    pool: Pool,
    serving: JoinHandle<()>,
}

impl Proxy {
    async fn start(path: &Path) -> Self {
        let config = ListenerConfig { accept_queue: 1_024, backlog: 1_024, ..ListenerConfig::default() };
        let listener = Arc::new(Listener::bind_unix(path, config).await.expect("a listener"));
        let pool = Pool::new(PoolConfig { grace: Duration::from_secs(1), ..PoolConfig::default() });
        let serving = tokio::spawn({
            let (pool, listener) = (pool.clone(), Arc::clone(&listener));
            async move { pool.serve(&listener).await }
        });
        Self { listener, pool, serving }
    }

    /// Waits until every agent has exactly one connection.
    async fn gather(&self, agents: usize) {
        let gathered = async {
            loop {
                let views = self.pool.agents();
                let one = views.iter().filter(|view| view.connections.len() == 1).count();
                if one == agents && views.len() == agents && self.listener.connections() == agents {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(STEP, gathered).await.is_err() {
            println!("{} of {agents} agents are connected", self.pool.connections());
        }
    }

    /// Asks every agent once. Returns how many gave their own answer.
    async fn ask_all(&self, agents: &[Running], round: usize) -> usize {
        let mut asking = JoinSet::new();
        for agent in agents {
            let (pool, name) = (self.pool.clone(), agent.name.clone());
            asking.spawn(async move {
                let id = format!("{name}-{round}");
                let request = pool.begin(&name, id.as_str(), &[]).ok()?;
                let answer = request.ask(RequestHeaders::new(id, "GET", "/")).timeout(STEP).await.ok()?;
                (answer.audit.tags == [name]).then_some(())
            });
        }
        asking.join_all().await.into_iter().flatten().count()
    }

    /// Shuts down; returns whether nothing is left.
    async fn stop(self) -> Left {
        let path = self.listener.socket_path().map(PathBuf::from);
        let down = timeout(STEP, self.listener.shutdown(Duration::from_secs(5))).await.is_ok();
        let served = timeout(STEP, self.serving).await.is_ok();
        let entries = async {
            while !self.pool.agents().is_empty() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = timeout(STEP, entries).await;
        Left {
            hangs: usize::from(!down) + usize::from(!served),
            seats: self.listener.connections(),
            entries: self.pool.agents().len(),
            files: usize::from(path.is_some_and(|path| path.exists())),
        }
    }
}

/// What a proxy has left behind.
struct Left {
    hangs: usize,
    seats: usize,
    entries: usize,
    files: usize,
}

fn start_agents(count: usize, path: &Path) -> Vec<Running> {
    let start = |n| {
        let name = format!("agent-{n}");
        let capabilities = Capabilities::new(&name, [EventKind::RequestHeaders]);
        let mut config = AgentConfig::new(AgentSettings::new(Registration::new(capabilities)));
        config.reconnect =
            Backoff { min: Duration::from_millis(50), max: Duration::from_secs(2), ..Backoff::default() };
        let seen = Arc::new(Seen::default());
        let handler = Named { name: name.clone(), seen: Arc::clone(&seen) };
        let (control, task) = Agent::new(config, handler).run_unix(path).spawn();
        Running { name, seen, control, task }
    };
    (0..count).map(start).collect()
}

/// Prints and counts what is not as it must be.
#[derive(Default)]
struct Ledger {
    broken: usize,
}

impl Ledger {
    fn exactly(&mut self, what: &str, figure: usize, wanted: usize) {
        let held = figure == wanted;
        self.broken += usize::from(!held);
        println!("{what:<44} {figure:>7} of {wanted:<7} {}", if held { "" } else { "BROKEN" });
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let count = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(1_000);
    let allowed = gauge::raise_descriptors();
    let needed = 2 * count as u64 + 64;
    if allowed < needed {
        eprintln!("{needed} descriptors are needed, {allowed} allowed; raise the limit with ulimit -n");
        return ExitCode::FAILURE;
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("agents.sock");
    let start = Instant::now();
    let before = Gauge::now();
    let mut ledger = Ledger::default();

    let mut proxy = Proxy::start(&path).await;
    let agents = start_agents(count, &path);
    let mut answered = 0;
    for round in 0..=RECONNECTS {
        let begun = Instant::now();
        if round == RESTART {
            let left = proxy.stop().await;
            ledger.exactly("left over by the first proxy: seats", left.seats, 0);
            ledger.exactly("left over by the first proxy: entries", left.entries, 0);
            ledger.exactly("left over by the first proxy: hung steps", left.hangs, 0);
            ledger.exactly("left over by the first proxy: socket files", left.files, 0);
            proxy = Proxy::start(&path).await;
        } else if round > 0 {
            for agent in &agents {
                if let Ok(request) = proxy.pool.begin(&agent.name, "closing", &[]) {
                    request.handle().close();
                }
            }
            wait_for(|| opened(&agents) >= count * (round + 1)).await;
        }
        proxy.gather(count).await;
        let right = proxy.ask_all(&agents, round).await;
        answered += right;
        let cause = match round {
            0 => "first registration",
            RESTART => "proxy restarted",
            _ => "connections closed",
        };
        println!(
            "round {round}: {cause}; {count} agents back and asked after {:.1} s",
            begun.elapsed().as_secs_f64()
        );
    }
    let exact = agents.iter().filter(|agent| agent.seen.opened.load(Ordering::Relaxed) == RECONNECTS + 1);
    ledger.exactly("agents registered exactly 6 times", exact.count(), count);
    ledger.exactly("registrations in all", opened(&agents), count * (RECONNECTS + 1));
    ledger.exactly("questions answered by the agent asked", answered, count * (RECONNECTS + 1));
    let handled = agents.iter().map(|agent| agent.seen.asked.load(Ordering::Relaxed)).sum();
    ledger.exactly("questions that agents saw", handled, count * (RECONNECTS + 1));

    for agent in &agents {
        agent.control.shutdown();
    }
    let mut calm = 0;
    for agent in agents {
        calm += usize::from(matches!(timeout(STEP, agent.task).await, Ok(Ok(Ok(())))));
    }
    ledger.exactly("agents that stopped calmly", calm, count);
    let left = proxy.stop().await;
    let after = before.wait_for_return(STEP).await;
    ledger.exactly("left over: seats", left.seats, 0);
    ledger.exactly("left over: pool entries", left.entries, 0);
    ledger.exactly("left over: hung steps", left.hangs, 0);
    ledger.exactly("left over: socket files", left.files, 0);
    ledger.exactly("left over: tasks", after.tasks.saturating_sub(before.tasks), 0);
    ledger.exactly("left over: descriptors", after.fds.saturating_sub(before.fds), 0);
    println!("{:.1} s, resident {}", start.elapsed().as_secs_f64(), gauge::mib(gauge::rss()));
    if ledger.broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn opened(agents: &[Running]) -> usize {
    agents.iter().map(|agent| agent.seen.opened.load(Ordering::Relaxed)).sum()
}

/// Waits until something is so; the counts say it if it never is.
async fn wait_for(check: impl Fn() -> bool) {
    let wait = async {
        while !check() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = timeout(STEP, wait).await;
}

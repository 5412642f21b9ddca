//! The pool over real Unix sockets: choosing, pinning, leaving, healing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dialback::machine::registry::{Balance, Health, HealthLimits};
use dialback::machine::{CloseReason, ConnectionState};
use dialback::net::{
    Agent, AgentConfig, AgentController, AskError, Context, Handler, Listener, ListenerConfig, Pool,
    PoolConfig, PoolError, Report,
};
use dialback::session::AgentSettings;
use dialback::wire::{
    Answer, CancelReason, Capabilities, EventKind, HealthState, HealthStatus, Registration, RequestBodyChunk,
    RequestHeaders,
};
use tokio::task::JoinHandle;

/// Generous: what takes longer hangs.
const LIMIT: Duration = Duration::from_secs(20);

/// Answers with its own name, after a while if the URI says so.
struct Named {
    name: String,
    seen: Arc<AtomicU64>,
    closed: Arc<AtomicU64>,
}

impl Handler for Named {
    async fn on_request_headers(&self, event: RequestHeaders, cx: Context) -> Answer {
        self.seen.fetch_add(1, Ordering::Relaxed);
        if event.uri == "/slow" {
            cx.cancelled().await;
        }
        Answer::allow().with_tag(self.name.clone())
    }

    async fn on_request_body_chunk(&self, _: RequestBodyChunk, _: Context) -> Answer {
        Answer::allow().with_tag(self.name.clone())
    }

    fn on_closed(&self, _: &CloseReason) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }
}

struct Proxy {
    pool: Pool,
    listener: Arc<Listener>,
    serving: JoinHandle<()>,
    path: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

async fn proxy(config: PoolConfig) -> Proxy {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agents.sock");
    let mut listening = ListenerConfig::default();
    listening.policy.max_connections_per_agent = 16;
    let listener = Arc::new(Listener::bind_unix(&path, listening).await.unwrap());
    let pool = Pool::new(config);
    let serving = tokio::spawn({
        let (pool, listener) = (pool.clone(), Arc::clone(&listener));
        async move { pool.serve(&listener).await }
    });
    Proxy { pool, listener, serving, path, _dir: dir }
}

struct Dialled {
    control: AgentController,
    task: JoinHandle<Result<(), dialback::net::AgentError>>,
    seen: Arc<AtomicU64>,
    /// How many of its connections have ended.
    closed: Arc<AtomicU64>,
}

impl Proxy {
    /// Dials one connection of `id`; its handler answers as `name`.
    fn dial(&self, id: &str, name: &str, events: &[EventKind]) -> Dialled {
        let mut capabilities = Capabilities::new(id, events.iter().copied());
        capabilities.features.cancellation = true;
        let config = AgentConfig::new(AgentSettings::new(Registration::new(capabilities)));
        let (seen, closed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let handler = Named { name: name.into(), seen: Arc::clone(&seen), closed: Arc::clone(&closed) };
        let (control, task) = Agent::new(config, handler).run_unix(&self.path).spawn();
        Dialled { control, task, seen, closed }
    }

    async fn until(&self, what: &str, check: impl Fn(&Pool) -> bool) {
        let wait = async {
            while !check(&self.pool) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(LIMIT, wait).await.is_ok(), "never: {what}; {:?}", self.pool);
    }

    async fn connected(&self, count: usize) {
        self.until("all connected", |pool| pool.connections() == count).await;
    }

    async fn ask(&self, agent: &str, request: &str) -> Result<String, AskError> {
        let begun = self.pool.begin(agent, request, &[]).unwrap();
        let answer = begun.ask(RequestHeaders::new(request, "GET", "/")).timeout(LIMIT).await?;
        Ok(answer.audit.tags.concat())
    }
}

const HEADERS: &[EventKind] = &[EventKind::RequestHeaders];
const BOTH: &[EventKind] = &[EventKind::RequestHeaders, EventKind::RequestBodyChunk];

#[tokio::test]
async fn requests_go_round_and_stay_where_they_began() {
    let proxy = proxy(PoolConfig { balance: Balance::RoundRobin, ..PoolConfig::default() }).await;
    let _agents: Vec<_> = (0..3).map(|n| proxy.dial("waf", &format!("c{n}"), BOTH)).collect();
    proxy.connected(3).await;
    let mut share = BTreeMap::new();
    for n in 0..30 {
        let id = format!("r{n}");
        let request = proxy.pool.begin("waf", id.clone(), BOTH).unwrap();
        let headers = request.ask(RequestHeaders::new(id.clone(), "GET", "/")).await.unwrap();
        let chunk = request.ask(RequestBodyChunk::new(id, "body")).await.unwrap();
        assert_eq!(headers.audit.tags, chunk.audit.tags);
        *share.entry(headers.audit.tags.concat()).or_insert(0) += 1;
    }
    assert_eq!(share.values().copied().collect::<Vec<_>>(), [10, 10, 10]);
}

#[tokio::test]
async fn the_least_loaded_is_preferred() {
    let proxy = proxy(PoolConfig::default()).await;
    let _agents: Vec<_> = (0..2).map(|n| proxy.dial("waf", &format!("c{n}"), HEADERS)).collect();
    proxy.connected(2).await;
    // One connection is busy; everything else goes to the other.
    let busy = proxy.pool.begin("waf", "busy", &[]).unwrap();
    let held = tokio::spawn({
        let handle = busy.handle().clone();
        async move { handle.ask(RequestHeaders::new("busy", "GET", "/slow")).timeout(LIMIT).await }
    });
    proxy
        .until("one in flight", |pool| {
            pool.agents()[0].connections.iter().any(|connection| connection.stats.in_flight == 1)
        })
        .await;
    let mut names = std::collections::BTreeSet::new();
    for n in 0..10 {
        names.insert(proxy.ask("waf", &format!("r{n}")).await.unwrap());
    }
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!(busy.cancel(CancelReason::Manual), 1);
    assert!(matches!(held.await.unwrap(), Err(AskError::Cancelled { .. })));
}

#[tokio::test]
async fn a_burst_counts_before_any_of_it_is_written() {
    let proxy = proxy(PoolConfig::default()).await;
    let _agents: Vec<_> = (0..2).map(|n| proxy.dial("waf", &format!("c{n}"), HEADERS)).collect();
    proxy.connected(2).await;
    // No other task runs in between: what counts is what was given, not what has been written.
    let busy = proxy.pool.begin("waf", "busy", &[]).unwrap();
    let held: Vec<_> =
        (0..4).map(|_| busy.handle().ask(RequestHeaders::new("busy", "GET", "/slow")).send()).collect();
    for n in 0..4 {
        let next = proxy.pool.begin("waf", format!("r{n}"), &[]).unwrap();
        assert_ne!(next.handle().connection_id(), busy.handle().connection_id(), "{n}");
    }
    assert!(held.iter().all(Result::is_ok));
}

#[tokio::test]
async fn one_id_at_two_agents_is_two_requests() {
    let proxy = proxy(PoolConfig::default()).await;
    let _waf = proxy.dial("waf", "waf", BOTH);
    let _auth = proxy.dial("auth", "auth", BOTH);
    proxy.connected(2).await;
    let at = |agent: &str| proxy.pool.begin(agent, "same", BOTH).unwrap();
    let (waf, auth) = (at("waf"), at("auth"));
    for _ in 0..5 {
        let (a, b) = tokio::join!(
            waf.ask(RequestBodyChunk::new("same", "w")),
            auth.ask(RequestBodyChunk::new("same", "a"))
        );
        assert_eq!(
            (a.unwrap().audit.tags.concat(), b.unwrap().audit.tags.concat()),
            ("waf".into(), "auth".into())
        );
    }
}

#[tokio::test]
async fn an_event_of_another_request_is_turned_away() {
    let proxy = proxy(PoolConfig::default()).await;
    let _waf = proxy.dial("waf", "waf", HEADERS);
    proxy.connected(1).await;
    let request = proxy.pool.begin("waf", "mine", &[]).unwrap();
    let error = request.ask(RequestHeaders::new("yours", "GET", "/")).await.unwrap_err();
    assert!(matches!(error, AskError::WrongRequest { .. }), "{error}");
}

#[tokio::test]
// Rule: W-EVENT-2.
async fn events_that_an_agent_does_not_take_choose_another_connection() {
    let proxy = proxy(PoolConfig::default()).await;
    let headers = proxy.dial("waf", "headers", HEADERS);
    let _both = proxy.dial("waf", "both", BOTH);
    proxy.connected(2).await;
    for n in 0..10 {
        let request = proxy.pool.begin("waf", format!("r{n}"), BOTH).unwrap();
        let answer = request.ask(RequestBodyChunk::new(format!("r{n}"), "x")).await.unwrap();
        assert_eq!(answer.audit.tags, ["both"]);
    }
    assert_eq!(headers.seen.load(Ordering::Relaxed), 0);
    let none = proxy.pool.begin("waf", "r", &[EventKind::WebSocketFrame]).unwrap_err();
    assert_eq!(none, PoolError::NoneFit { connections: 2 });
}

#[tokio::test]
async fn a_dead_connection_leaves_at_once_and_its_agent_after_a_grace() {
    let proxy = proxy(PoolConfig { grace: Duration::from_millis(200), ..PoolConfig::default() }).await;
    assert_eq!(proxy.pool.begin("waf", "r", &[]).unwrap_err(), PoolError::UnknownAgent);
    let (dead, alive) = (proxy.dial("waf", "dead", HEADERS), proxy.dial("waf", "alive", HEADERS));
    proxy.connected(2).await;
    dead.task.abort();
    proxy.connected(1).await;
    for n in 0..10 {
        assert_eq!(proxy.ask("waf", &format!("r{n}")).await.unwrap(), "alive");
    }
    alive.task.abort();
    proxy.connected(0).await;
    proxy.until("forgotten", |pool| pool.agents().is_empty()).await;
    assert_eq!(proxy.pool.begin("waf", "r", &[]).unwrap_err(), PoolError::UnknownAgent);
}

#[tokio::test]
async fn many_reconnections_lock_nobody_out() {
    let proxy = proxy(PoolConfig::default()).await;
    for round in 0..20 {
        let agent = proxy.dial("waf", &format!("c{round}"), HEADERS);
        proxy.connected(1).await;
        assert_eq!(proxy.ask("waf", &format!("r{round}")).await.unwrap(), format!("c{round}"));
        agent.task.abort();
        proxy.connected(0).await;
    }
    assert_eq!(proxy.listener.connections(), 0);
    // What connections had seen is not forgotten with them.
    assert_eq!(proxy.pool.agents()[0].totals().stats.answered, 20);
}

#[tokio::test]
async fn time_outs_rest_a_connection_and_a_trial_brings_it_back() {
    let health = HealthLimits { failures: 2, rest: Duration::from_millis(300) };
    let proxy = proxy(PoolConfig { health, ..PoolConfig::default() }).await;
    let _waf = proxy.dial("waf", "waf", HEADERS);
    proxy.connected(1).await;
    for n in 0..2 {
        let id = format!("slow{n}");
        let request = proxy.pool.begin("waf", id.clone(), &[]).unwrap();
        let slow = request.ask(RequestHeaders::new(id, "GET", "/slow")).timeout(Duration::from_millis(50));
        assert_eq!(slow.await.unwrap_err(), AskError::TimedOut);
    }
    assert_eq!(proxy.pool.agents()[0].connections[0].health, Health::Resting);
    assert_eq!(proxy.pool.begin("waf", "r", &[]).unwrap_err(), PoolError::NoneFit { connections: 1 });
    proxy
        .until("fit for a trial", |pool| {
            let Ok(trial) = pool.begin("waf", "trial", &[]) else { return false };
            // A second request has to wait for the outcome.
            assert_eq!(pool.begin("waf", "r", &[]).unwrap_err(), PoolError::NoneFit { connections: 1 });
            drop(trial);
            true
        })
        .await;
    tokio::time::sleep(health.rest).await;
    assert_eq!(proxy.ask("waf", "well").await.unwrap(), "waf");
    assert_eq!(proxy.pool.agents()[0].connections[0].health, Health::Healthy);
}

#[tokio::test]
async fn what_an_agent_says_of_its_health_is_heeded() {
    let proxy = proxy(PoolConfig::default()).await;
    let (a, b) = (proxy.dial("waf", "a", HEADERS), proxy.dial("waf", "b", HEADERS));
    proxy.connected(2).await;
    let say = |agent: &Dialled, state: HealthState| {
        let status = HealthStatus { agent_id: "waf".into(), state, ..HealthStatus::default() };
        agent.control.report_health(&status).unwrap();
    };
    let healths = |pool: &Pool| -> Vec<Health> {
        pool.agents()[0].connections.iter().map(|connection| connection.health).collect()
    };
    say(&a, HealthState::Unhealthy { reason: String::new(), recoverable: true });
    proxy.until("resting", |pool| healths(pool).contains(&Health::Resting)).await;
    for n in 0..5 {
        assert_eq!(proxy.ask("waf", &format!("r{n}")).await.unwrap(), "b");
    }
    say(&b, HealthState::Degraded { disabled_features: Vec::new(), timeout_multiplier: 2.0 });
    proxy.until("degraded", |pool| healths(pool).contains(&Health::Degraded)).await;
    assert_eq!(proxy.ask("waf", "degraded").await.unwrap(), "b");
    say(&a, HealthState::Healthy);
    proxy.until("healthy", |pool| healths(pool).contains(&Health::Healthy)).await;
    assert_eq!(proxy.ask("waf", "healthy").await.unwrap(), "a");
}

#[tokio::test]
async fn a_draining_agent_gets_no_new_request() {
    let proxy = proxy(PoolConfig::default()).await;
    let (going, _staying) = (proxy.dial("waf", "going", HEADERS), proxy.dial("waf", "staying", HEADERS));
    proxy.connected(2).await;
    going.control.shutdown();
    proxy.connected(1).await;
    for n in 0..5 {
        assert_eq!(proxy.ask("waf", &format!("r{n}")).await.unwrap(), "staying");
    }
    assert!(tokio::time::timeout(LIMIT, going.task).await.unwrap().unwrap().is_ok());
}

#[tokio::test]
async fn a_drain_that_lasts_gets_no_new_request_either() {
    let proxy = proxy(PoolConfig::default()).await;
    let going = proxy.dial("waf", "going", HEADERS);
    proxy.connected(1).await;
    let held = proxy.pool.begin("waf", "held", &[]).unwrap();
    let slow = held.handle().ask(RequestHeaders::new("held", "GET", "/slow")).send().unwrap();
    proxy.until("under way", |_| going.seen.load(Ordering::Relaxed) == 1).await;
    going.control.shutdown();
    proxy.until("draining", |_| held.handle().state() == ConnectionState::Draining).await;
    assert_eq!(proxy.pool.begin("waf", "r", &[]).unwrap_err(), PoolError::NoneFit { connections: 1 });
    slow.cancel(CancelReason::Manual);
    assert!(tokio::time::timeout(LIMIT, going.task).await.unwrap().unwrap().is_ok());
}

#[tokio::test]
async fn shutdown_finishes_and_leaves_nothing() {
    let proxy = proxy(PoolConfig::default()).await;
    let agents: Vec<_> = (0..4).map(|n| proxy.dial(&format!("agent-{n}"), "x", HEADERS)).collect();
    proxy.connected(4).await;
    assert!(
        tokio::time::timeout(LIMIT, proxy.listener.shutdown(Duration::from_secs(5))).await.is_ok(),
        "shutdown hangs"
    );
    assert!(tokio::time::timeout(LIMIT, proxy.serving).await.is_ok(), "serving goes on");
    assert_eq!(proxy.listener.connections(), 0);
    assert!(!proxy.path.exists());
    let left = |pool: &Pool| pool.agents().iter().flat_map(|agent| agent.connections.clone()).count();
    assert_eq!(left(&proxy.pool), 0, "{:?}", proxy.pool);
    agents.iter().for_each(|agent| agent.task.abort());
}

#[tokio::test]
async fn what_was_seen_can_be_looked_at() {
    let proxy = proxy(PoolConfig::default()).await;
    let _waf = proxy.dial("waf", "x", HEADERS);
    proxy.connected(1).await;
    for n in 0..5 {
        proxy.ask("waf", &format!("r{n}")).await.unwrap();
    }
    let agents = proxy.pool.agents();
    let [agent] = agents.as_slice() else { panic!("{agents:?}") };
    let stats = agent.connections[0].stats;
    assert_eq!((stats.totals.admitted, stats.totals.answered, agent.in_flight()), (5, 5, 0));
    assert!(stats.traffic.received > 500 && stats.traffic.sent > 500, "{stats:?}");
    let latency = agent.totals().latency;
    assert_eq!((latency.queued.count(), latency.answered.count()), (5, 5));
    let dump = proxy.pool.begin("waf", "r", &[]).unwrap().handle().dump();
    assert!(dump.starts_with("agent=waf connection=waf-") && !dump.contains('\n'), "{dump}");
    assert!(dump.contains(" state=Open ") && dump.contains(" answered=5 "), "{dump}");
}

#[tokio::test]
async fn dropping_the_pool_closes_its_connections() {
    let proxy = proxy(PoolConfig::default()).await;
    let agent = proxy.dial("waf", "x", HEADERS);
    proxy.connected(1).await;
    let request = proxy.pool.begin("waf", "r", &[]).unwrap();
    proxy.serving.abort();
    let _ = proxy.serving.await;
    drop(proxy.pool);
    assert_eq!(request.handle().state(), ConnectionState::Open);
    let handle = request.handle().clone();
    drop(request);
    let closed = tokio::spawn(async move { handle.closed().await });
    // The handle is the last thing that keeps it open.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!closed.is_finished());
    closed.abort();
    let _ = closed.await;
    // The agent comes back at once, so that what the listener counts says nothing.
    let gone = async {
        while agent.closed.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(LIMIT, gone).await.is_ok());
    agent.task.abort();
}

#[tokio::test]
async fn a_pool_leaves_the_reports_to_who_asks_for_them() {
    let proxy = proxy(PoolConfig::default()).await;
    let waf = proxy.dial("waf", "x", HEADERS);
    proxy.connected(1).await;
    let state = HealthState::Degraded { disabled_features: Vec::new(), timeout_multiplier: 2.0 };
    let status = HealthStatus { agent_id: "waf".into(), state, ..HealthStatus::default() };
    waf.control.report_health(&status).unwrap();
    proxy.until("degraded", |pool| pool.agents()[0].connections[0].health == Health::Degraded).await;
    // What came before the first call is there, though the pool has heeded it.
    let mut reports = proxy.pool.begin("waf", "r", &[]).unwrap().handle().reports();
    let report = tokio::time::timeout(LIMIT, reports.next()).await.unwrap();
    let Some(Report::Health(health)) = report else { panic!("{report:?}") };
    assert!(matches!(health.state, HealthState::Degraded { .. }), "{health:?}");
}

//! The agent's side as it is run: several proxies, reconnection, refusals, reports, signals.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dialback::machine::{AgentStats, CloseReason, ConnectionState};
use dialback::net::{
    Acceptor, Agent, AgentConfig, AgentError, AgentHandle, Backoff, Context, Fleet, FleetController,
    FleetError, Handler, LinkState, Listener, ListenerConfig, MetricsExport, Report, Reports, Target,
    dial_forward, shutdown_signal,
};
use dialback::session::{AgentSettings, ProxySettings};
use dialback::wire::{
    Answer, Capabilities, Configure, Decision, Encoding, EventKind, ForwardRequest, FrameType, HealthState,
    HealthStatus, MAX_FRAME, MetricsReport, Registration, RegistrationResponse, RequestHeaders,
    encode_message,
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Generous: what takes longer hangs.
const LIMIT: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);

/// Answers after a while on `/slow`, and remembers what it was told.
#[derive(Clone, Default)]
struct Guard {
    refused: Arc<Mutex<Vec<String>>>,
    forward: Arc<Mutex<Vec<ForwardRequest>>>,
    opened: Arc<AtomicUsize>,
    closed: Arc<Mutex<Vec<CloseReason>>>,
}

impl Handler for Guard {
    async fn on_request_headers(&self, event: RequestHeaders, cx: Context) -> Answer {
        if event.uri == "/slow" {
            sleep(Duration::from_millis(300)).await;
        }
        Answer::allow().with_tag(cx.correlation_id().as_str())
    }

    async fn on_configure(&self, event: Configure, _: Context) -> Answer {
        if event.config["level"].is_u64() {
            Answer::allow()
        } else {
            Answer::block(400).with_body("no level")
        }
    }

    fn on_forward_handshake(&self, request: &ForwardRequest) -> Result<(), String> {
        self.forward.lock().unwrap().push(request.clone());
        if request.config.is_some() { Ok(()) } else { Err("this agent needs a configuration".into()) }
    }

    fn on_refused(&self, words: &str) {
        self.refused.lock().unwrap().push(words.into());
    }

    fn on_opened(&self, _: Option<&RegistrationResponse>) {
        self.opened.fetch_add(1, Ordering::SeqCst);
    }

    fn on_closed(&self, reason: &CloseReason) {
        self.closed.lock().unwrap().push(reason.clone());
    }
}

fn config() -> AgentConfig {
    let mut capabilities = Capabilities::new("guard", EventKind::ALL);
    capabilities.features.health_reporting = true;
    capabilities.features.config_push = true;
    let mut config = AgentConfig::new(AgentSettings::new(Registration::new(capabilities)));
    config.reconnect.min = Duration::from_millis(5);
    config.reconnect.max = Duration::from_millis(50);
    config
}

fn listening() -> ListenerConfig {
    let mut config = ListenerConfig::default();
    config.policy.max_connections_per_agent = 16;
    config
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(timeout(LIMIT, waiting).await.is_ok(), "never: {what}");
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// A proxy that keeps every agent that comes.
struct Proxy {
    listener: Arc<Listener>,
    handles: Arc<Mutex<Vec<AgentHandle>>>,
    serving: JoinHandle<()>,
}

impl Proxy {
    fn start(listener: Listener) -> Self {
        let (listener, handles) = (Arc::new(listener), Arc::<Mutex<Vec<AgentHandle>>>::default());
        let serving = tokio::spawn({
            let (listener, handles) = (Arc::clone(&listener), Arc::clone(&handles));
            async move { listener.serve(|handle| handles.lock().unwrap().push(handle)).await }
        });
        Self { listener, handles, serving }
    }

    async fn unix(path: &Path, config: ListenerConfig) -> Self {
        Self::start(Listener::bind_unix(path, config).await.unwrap())
    }

    fn open(&self) -> Vec<AgentHandle> {
        let handles = self.handles.lock().unwrap();
        handles.iter().filter(|handle| handle.state() == ConnectionState::Open).cloned().collect()
    }

    async fn stop(self) {
        self.listener.shutdown(SECOND).await;
        self.serving.await.unwrap();
    }
}

fn paths(dir: &Path, count: usize) -> Vec<PathBuf> {
    (0..count).map(|n| dir.join(format!("proxy-{n}.sock"))).collect()
}

async fn ask(handle: &AgentHandle, id: &str) {
    let answer = handle.request_headers(RequestHeaders::new(id, "GET", "/")).await.unwrap();
    assert_eq!(answer.audit.tags, [id]);
}

fn open_of(fleet: &FleetController) -> Vec<usize> {
    fleet.targets().iter().map(|target| target.open()).collect()
}

async fn stop(fleet: &FleetController, task: JoinHandle<Result<(), FleetError>>) {
    fleet.shutdown();
    assert_eq!(soon("the end of the fleet", task).await.unwrap(), Ok(()));
    soon("the end, told", fleet.ended()).await;
    let stopped = |link: &LinkState| *link == LinkState::Stopped;
    assert!(fleet.targets().iter().all(|target| target.links.iter().all(stopped)), "{fleet:?}");
}

// ---- many connections ----

#[tokio::test]
async fn connections_are_kept_to_every_proxy() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path(), 2);
    let mut proxies = Vec::new();
    for path in &paths {
        proxies.push(Proxy::unix(path, listening()).await);
    }
    let tcp = Listener::bind_tcp("127.0.0.1:0".parse().unwrap(), listening()).await.unwrap();
    let addr = tcp.local_addr().unwrap();
    proxies.push(Proxy::start(tcp));

    let guard = Guard::default();
    let other = paths[1].clone();
    let fleet = Fleet::new(config(), guard.clone())
        .target(Target::unix(&paths[0]).connections(3))
        .target(
            Target::with("the other", move || tokio::net::UnixStream::connect(other.clone())).connections(2),
        )
        .targets([Target::tcp(addr).connections(4)]);
    let (fleet, task) = fleet.run().unwrap().spawn();
    until("nine connections", || open_of(&fleet) == [3, 2, 4]).await;
    until("nine handles", || proxies.iter().map(|proxy| proxy.open().len()).eq([3, 2, 4])).await;
    assert_eq!(fleet.open(), 9);
    let targets = fleet.targets();
    let names: Vec<_> = targets.iter().map(|target| target.name()).collect();
    assert_eq!(names, [paths[0].to_str().unwrap(), "the other", &addr.to_string()]);

    for proxy in &proxies {
        for (n, handle) in proxy.open().iter().enumerate() {
            assert_eq!(handle.agent_id(), "guard");
            ask(handle, &format!("r{n}")).await;
        }
    }
    assert_eq!((fleet.stats().events, fleet.stats().answered), (9, 9));
    assert_eq!(fleet.targets()[2].stats, AgentStats { events: 4, answered: 4, ..fleet.targets()[2].stats });
    assert_eq!((fleet.unanswered(), fleet.load().requests_processed), (0, 9));
    assert_eq!(guard.opened.load(Ordering::SeqCst), 9);
    stop(&fleet, task).await;
    assert_eq!(*guard.closed.lock().unwrap(), vec![CloseReason::Drained; 9]);
    // What was seen is not forgotten with the connections.
    assert_eq!(fleet.stats().answered, 9);
}

#[tokio::test]
async fn all_connections_come_back_to_a_proxy_that_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path(), 2);
    let mut first = Proxy::unix(&paths[0], listening()).await;
    let second = Proxy::unix(&paths[1], listening()).await;
    let targets = paths.iter().map(|path| Target::unix(path).connections(5));
    let (fleet, task) = Fleet::new(config(), Guard::default()).targets(targets).run().unwrap().spawn();
    for round in 0..3 {
        until("all connections", || open_of(&fleet) == [5, 5]).await;
        until("all handles", || first.open().len() == 5).await;
        for handle in first.open() {
            ask(&handle, "x").await;
        }
        assert_eq!(fleet.targets()[0].stats.answered, (round + 1) * 5, "of all connections so far");
        first.stop().await;
        until("none left", || fleet.targets()[0].open() == 0).await;
        assert_eq!(second.open().len(), 5, "the other proxy notices nothing");
        first = Proxy::unix(&paths[0], listening()).await;
    }
    assert_eq!(second.handles.lock().unwrap().len(), 5, "nor did it ever");
    until("all connections", || open_of(&fleet) == [5, 5]).await;
    stop(&fleet, task).await;
}

#[tokio::test]
async fn a_fleet_that_dials_nobody_is_refused() {
    let message = |fleet: Fleet<Guard>| fleet.run().unwrap_err().to_string();
    assert!(message(Fleet::new(config(), Guard::default())).contains("number of targets is 0"));
    let idle = Target::unix("/nowhere").connections(0);
    assert!(message(Fleet::new(config(), Guard::default()).target(idle)).contains("/nowhere is 0"));
}

#[tokio::test]
async fn a_runner_that_is_dropped_drops_its_connections() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("proxy.sock");
    let proxy = Proxy::unix(&path, listening()).await;
    let fleet = Fleet::new(config(), Guard::default()).target(Target::unix(&path).connections(3));
    let (fleet, task) = fleet.run().unwrap().spawn();
    until("three handles", || proxy.open().len() == 3).await;
    task.abort();
    soon("the end, told", fleet.ended()).await;
    until("none left", || proxy.open().is_empty()).await;
}

// ---- refusals ----

/// What a proxy made by hand does with the next agent that dials.
#[derive(Clone, Copy)]
enum Reply {
    Refuse(&'static str, Option<u64>),
    AcceptAndDrop,
    /// After so many seconds.
    AcceptAndDropAfter(u64),
    AcceptAndHold,
}

/// A target whose proxy replies by `script`, the last reply again and again, and tells when it was
/// dialled.
fn scripted(name: &str, script: &'static [Reply]) -> (Target, mpsc::UnboundedReceiver<Instant>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let count = Arc::new(AtomicUsize::new(0));
    let target = Target::with(name, move || {
        let (ours, theirs) = duplex(64 << 10);
        let _ = sender.send(Instant::now());
        let n = count.fetch_add(1, Ordering::SeqCst).min(script.len() - 1);
        tokio::spawn(reply(theirs, script[n]));
        async move { Ok(ours) }
    });
    (target, receiver)
}

async fn reply(mut io: DuplexStream, reply: Reply) {
    let length = io.read_u32().await.unwrap();
    let mut registration = vec![0; length as usize];
    io.read_exact(&mut registration).await.unwrap();
    let mut response = RegistrationResponse { success: true, ..RegistrationResponse::default() };
    if let Reply::Refuse(words, retry_after_ms) = reply {
        response = RegistrationResponse {
            success: false,
            error: Some(words.into()),
            retry_after_ms,
            ..RegistrationResponse::default()
        };
    }
    let mut frame = Vec::new();
    encode_message(FrameType::HandshakeResponse, Encoding::Json, &response, MAX_FRAME, &mut frame).unwrap();
    io.write_all(&frame).await.unwrap();
    match reply {
        Reply::Refuse(..) | Reply::AcceptAndDrop => {}
        Reply::AcceptAndDropAfter(seconds) => sleep(Duration::from_secs(seconds)).await,
        Reply::AcceptAndHold => while io.read_u8().await.is_ok() {},
    }
}

/// The waits between the first `count` attempts.
async fn waits(dials: &mut mpsc::UnboundedReceiver<Instant>, count: usize) -> Vec<Duration> {
    let mut waits = Vec::new();
    let mut last = dials.recv().await.unwrap();
    while waits.len() < count {
        let next = dials.recv().await.unwrap();
        waits.push(next - last);
        last = next;
    }
    waits
}

const RETRY_AFTER: &[Reply] = &[Reply::Refuse("full", Some(7_000))];
const WRONG_TOKEN: &[Reply] = &[Reply::Refuse("wrong token", None)];
const HEALED: &[Reply] =
    &[Reply::Refuse("wrong token", None), Reply::Refuse("wrong token", None), Reply::AcceptAndHold];

#[tokio::test(start_paused = true)]
async fn a_named_time_is_obeyed() {
    let guard = Guard::default();
    let (target, mut dials) = scripted("full", RETRY_AFTER);
    let mut config = config();
    config.retry_refusals = None;
    let (fleet, task) = Fleet::new(config, guard.clone()).target(target).run().unwrap().spawn();
    let waits = waits(&mut dials, 20).await;
    let (asked, ceiling) = (Duration::from_secs(7), Duration::from_millis(50));
    assert!(waits.iter().all(|wait| *wait >= asked), "never earlier: {waits:?}");
    assert!(waits.iter().all(|wait| *wait <= asked + 2 * ceiling), "not much later: {waits:?}");
    assert!(guard.refused.lock().unwrap().is_empty(), "this one passes");
    let waiting = |link: &LinkState| *link == LinkState::Waiting { refused: Some("full".into()) };
    until("the refusal, seen", || fleet.targets()[0].links.iter().all(waiting)).await;
    let began = Instant::now();
    stop(&fleet, task).await;
    assert!(began.elapsed() < SECOND, "a stop does not wait it out");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_without_a_time_is_told_and_tried_again_slowly() {
    let guard = Guard::default();
    let (target, mut dials) = scripted("strict", HEALED);
    let (fleet, task) = Fleet::new(config(), guard.clone()).target(target).run().unwrap().spawn();
    let waits = waits(&mut dials, 2).await;
    let set = Duration::from_secs(30);
    assert!(waits.iter().all(|wait| *wait >= set && *wait <= set + SECOND), "{waits:?}");
    until("accepted in the end", || fleet.open() == 1).await;
    assert_eq!(*guard.refused.lock().unwrap(), ["wrong token", "wrong token"], "each time");
    stop(&fleet, task).await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_good_stops_its_target_alone() {
    let guard = Guard::default();
    let (strict, mut strict_dials) = scripted("strict", WRONG_TOKEN);
    let (friendly, _friendly_dials) = scripted("friendly", &[Reply::AcceptAndHold]);
    let mut config = config();
    config.retry_refusals = None;
    let fleet = Fleet::new(config, guard.clone()).target(strict.connections(2)).target(friendly);
    let (fleet, task) = fleet.run().unwrap().spawn();
    until("one given up", || fleet.targets()[0].is_over()).await;
    sleep(Duration::from_secs(600)).await;
    let targets = fleet.targets();
    assert_eq!(targets[0].failure(), Some(&AgentError::Refused("wrong token".into())));
    assert_eq!((targets[1].open(), targets[1].failure(), targets[1].is_over()), (1, None, false));
    assert_eq!(guard.refused.lock().unwrap().len(), 2);
    assert!(strict_dials.recv().await.is_some() && strict_dials.recv().await.is_some());
    assert!(strict_dials.try_recv().is_err(), "no third attempt");
    assert!(!task.is_finished());
    fleet.shutdown();
    assert_eq!(soon("the end", task).await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_is_refused_everywhere_ends() {
    let mut config = config();
    config.retry_refusals = None;
    let targets = [scripted("a", WRONG_TOKEN), scripted("b", WRONG_TOKEN)].map(|(target, _)| target);
    let runner = Fleet::new(config, Guard::default()).targets(targets).run().unwrap();
    let error = soon("the end", runner).await.unwrap_err();
    let refused = |name: &str| (name.to_owned(), AgentError::Refused("wrong token".into()));
    assert_eq!(error.targets, [refused("a"), refused("b")]);
    assert!(error.to_string().contains("b: the proxy refused this agent: wrong token"));
}

#[tokio::test(start_paused = true)]
async fn over_the_limit_the_rest_waits_for_a_place() {
    let mut listening = ListenerConfig::default();
    listening.policy.max_connections_per_agent = 2;
    let acceptor = Acceptor::new(listening).unwrap();
    let handles = Arc::<Mutex<Vec<AgentHandle>>>::default();
    let target = Target::with("narrow", {
        let (acceptor, handles) = (acceptor.clone(), Arc::clone(&handles));
        move || {
            let (ours, theirs) = duplex(64 << 10);
            let (acceptor, handles) = (acceptor.clone(), Arc::clone(&handles));
            tokio::spawn(async move {
                if let Ok(handle) = acceptor.accept(theirs).await {
                    handles.lock().unwrap().push(handle);
                }
            });
            async move { Ok(ours) }
        }
    });
    let fleet = Fleet::new(config(), Guard::default()).target(target.connections(3));
    let (fleet, task) = fleet.run().unwrap().spawn();
    until("two handles", || handles.lock().unwrap().len() == 2).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!((fleet.open(), acceptor.connections()), (2, 2));
    handles.lock().unwrap()[0].close();
    until("two again", || handles.lock().unwrap().len() == 3).await;
    until("two again", || fleet.open() == 2).await;
    stop(&fleet, task).await;
}

// ---- the pace ----

/// How often a proxy is dialled in ten minutes.
async fn dials_in_ten_minutes(script: &'static [Reply]) -> usize {
    let mut config = config();
    config.reconnect = Backoff::default();
    let (target, mut dials) = scripted("short", script);
    let (fleet, task) = Fleet::new(config, Guard::default()).target(target).run().unwrap().spawn();
    sleep(Duration::from_secs(600)).await;
    stop(&fleet, task).await;
    let mut count = 0;
    while dials.try_recv().is_ok() {
        count += 1;
    }
    count
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_accepts_and_drops_is_not_stormed() {
    // Waits of 15 s on average make 40, and a few to get there; at the first pace it were 12,000.
    let count = dials_in_ten_minutes(&[Reply::AcceptAndDrop]).await;
    assert!((15..150).contains(&count), "{count}");
    // Nine seconds are not long enough to count, eleven are.
    let short = dials_in_ten_minutes(&[Reply::AcceptAndDropAfter(9)]).await;
    assert!((10..45).contains(&short), "{short}");
    let long = dials_in_ten_minutes(&[Reply::AcceptAndDropAfter(11)]).await;
    assert!((50..56).contains(&long), "{long}");
}

// ---- reports ----

async fn next_health(reports: &mut Reports) -> Arc<HealthStatus> {
    match soon("a report", reports.next()).await {
        Some(Report::Health(health)) => health,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn health_is_told_when_it_changes_and_to_those_who_come_later() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path(), 2);
    let first = Proxy::unix(&paths[0], listening()).await;
    let targets = paths.iter().map(|path| Target::unix(path).connections(2));
    let (fleet, task) = Fleet::new(config(), Guard::default()).targets(targets).run().unwrap().spawn();
    until("two handles", || first.open().len() == 2).await;
    let mut reports: Vec<_> = first.open().iter().map(AgentHandle::reports).collect();
    until("two connections", || fleet.open() == 2).await;
    ask(&first.open()[0], "x").await;

    let degraded = HealthState::Degraded { disabled_features: vec!["geoip".into()], timeout_multiplier: 1.0 };
    assert_eq!(fleet.set_health(degraded, None), 2);
    for reports in &mut reports {
        let health = next_health(reports).await;
        assert_eq!((health.state.name(), health.agent_id.as_str()), ("degraded", "guard"));
        assert_eq!(health.message.as_deref(), Some("without geoip"));
        assert!(health.timestamp_ms > 1_700_000_000_000);
        let load = health.load.unwrap();
        assert_eq!((load.in_flight, load.queue_depth, load.requests_processed), (0, 0, 1));
        assert!(load.p99_latency_ms > 0.0);
    }
    // A proxy that comes later is told too.
    let second = Proxy::unix(&paths[1], listening()).await;
    until("two handles", || second.open().len() == 2).await;
    for handle in second.open() {
        until("the health", || handle.health().is_some_and(|health| health.state.name() == "degraded")).await;
    }
    assert_eq!(fleet.set_health(HealthState::Healthy, None), 4);
    for reports in &mut reports {
        assert_eq!(next_health(reports).await.state, HealthState::Healthy);
    }
    stop(&fleet, task).await;
    for reports in &mut reports {
        assert_eq!(next_health(reports).await.state.name(), "draining", "the last word");
        assert!(soon("the end", reports.next()).await.is_none());
    }
}

#[tokio::test]
async fn reports_are_sent_on_schedule() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path(), 2);
    let proxies = [Proxy::unix(&paths[0], listening()).await, Proxy::unix(&paths[1], listening()).await];
    let collected = Arc::new(AtomicUsize::new(0));
    let mut config = config();
    config.health = Some(Duration::from_millis(30));
    config.metrics = Some(MetricsExport::new(Duration::from_millis(30), {
        let collected = Arc::clone(&collected);
        move || {
            collected.fetch_add(1, Ordering::SeqCst);
            MetricsReport::default()
        }
    }));
    let targets = paths.iter().map(|path| Target::unix(path).connections(2));
    let (fleet, task) = Fleet::new(config, Guard::default()).targets(targets).run().unwrap().spawn();
    for proxy in &proxies {
        until("two handles", || proxy.open().len() == 2).await;
        let mut metrics = Vec::new();
        for handle in proxy.open() {
            let mut reports = handle.reports();
            let (mut healths, mut mine) = (0, 0);
            while healths < 3 {
                match soon("a report", reports.next()).await.unwrap() {
                    Report::Health(health) => {
                        assert_eq!(health.state, HealthState::Healthy);
                        assert!(health.load.is_some());
                        healths += 1;
                    }
                    Report::Metrics(report) => {
                        assert_eq!((report.agent_id.as_str(), report.interval_ms), ("guard", 30));
                        assert!(report.timestamp_ms > 1_700_000_000_000);
                        mine += 1;
                    }
                    Report::ConfigUpdate(wish) => panic!("{wish:?}"),
                }
            }
            metrics.push(mine);
        }
        metrics.sort_unstable();
        assert!(metrics[0] == 0 && metrics[1] > 0, "on one connection of each proxy: {metrics:?}");
    }
    assert!(collected.load(Ordering::SeqCst) > 0);
    stop(&fleet, task).await;
}

#[tokio::test]
async fn an_agent_that_did_not_promise_reports_sends_none_of_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("proxy.sock");
    let proxy = Proxy::unix(&path, listening()).await;
    let mut config = config();
    config.health = Some(Duration::from_millis(10));
    config.agent.registration.capabilities.features.health_reporting = false;
    let (agent, task) = Agent::new(config, Guard::default()).run_unix(&path).spawn();
    until("a handle", || proxy.open().len() == 1).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(proxy.open()[0].health(), None);
    until("connected", || agent.link() == LinkState::Connected(ConnectionState::Open)).await;
    assert!(agent.set_health(HealthState::Healthy, Some("as ever".into())));
    until("the health", || proxy.open()[0].health().is_some()).await;
    agent.shutdown();
    soon("the end", task).await.unwrap().unwrap();
    assert_eq!(agent.link(), LinkState::Stopped);
    assert!(!agent.set_health(HealthState::Healthy, None));
}

#[tokio::test]
async fn an_agent_that_drains_does_not_claim_to_be_well() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("proxy.sock");
    let proxy = Proxy::unix(&path, listening()).await;
    let mut config = config();
    config.health = Some(Duration::from_millis(10));
    let (agent, task) = Agent::new(config, Guard::default()).run_unix(&path).spawn();
    until("a handle", || proxy.open().len() == 1).await;
    let mut reports = proxy.open()[0].reports();
    let asked = proxy.open()[0].ask(RequestHeaders::new("a", "GET", "/slow")).send().unwrap();
    until("under way", || agent.unanswered() == 1).await;
    agent.shutdown();
    agent.set_health(HealthState::Healthy, None);
    assert!(soon("the answer", asked).await.unwrap().is_allow());
    soon("the end", task).await.unwrap().unwrap();
    let mut states = Vec::new();
    while let Some(Report::Health(health)) = soon("a report", reports.next()).await {
        states.push(health.state.name());
    }
    assert_eq!(states.iter().position(|state| *state == "draining"), Some(states.len() - 1), "{states:?}");
}

// ---- configuration ----

#[tokio::test]
async fn configuration_reaches_the_handler_and_may_be_declined() {
    let guard = Guard::default();
    let (ours, theirs) = duplex(64 << 10);
    let (_agent, _task) = Agent::new(config(), guard.clone()).accept_forward(theirs).spawn();
    let level = json!({ "level": 3 });
    let handle = dial_forward(ours, ProxySettings::default(), Some(level.clone()), SECOND).await.unwrap();
    assert_eq!(guard.forward.lock().unwrap()[0].config, Some(level.clone()));

    let configure =
        |id: &str, config| Configure { correlation_id: id.into(), config, ..Configure::default() };
    assert!(handle.configure(configure("a", level)).await.unwrap().is_allow());
    let answer = handle.configure(configure("b", json!({ "level": "high" }))).await.unwrap();
    let Decision::Block { status, body, .. } = answer.decision else { panic!("{answer:?}") };
    assert_eq!((status, body.as_deref()), (400, Some("no level")));
}

#[tokio::test]
async fn a_handler_may_refuse_a_proxy_that_dials() {
    let guard = Guard::default();
    let (ours, theirs) = duplex(64 << 10);
    let (_agent, task) = Agent::new(config(), guard.clone()).accept_forward(theirs).spawn();
    let error = dial_forward(ours, ProxySettings::default(), None, SECOND).await.unwrap_err();
    assert!(error.to_string().contains("this agent needs a configuration"), "{error}");
    soon("the end", task).await.unwrap().unwrap();
    assert_eq!(guard.opened.load(Ordering::SeqCst), 0);
}

// ---- stopping ----

#[tokio::test]
async fn a_graceful_stop_loses_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path(), 2);
    let proxies = [Proxy::unix(&paths[0], listening()).await, Proxy::unix(&paths[1], listening()).await];
    let targets = paths.iter().map(|path| Target::unix(path).connections(3));
    let runner = Fleet::new(config(), Guard::default()).targets(targets).run().unwrap();
    let fleet = runner.controller();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(runner.run_until(async { drop(stopped.await) }));
    until("six connections", || fleet.open() == 6).await;
    until("six handles", || proxies.iter().all(|proxy| proxy.open().len() == 3)).await;

    let mut asked = Vec::new();
    for (n, handle) in proxies.iter().flat_map(Proxy::open).enumerate() {
        for m in 0..20 {
            let id = format!("r{n}-{m}");
            asked.push((id.clone(), handle.ask(RequestHeaders::new(id, "GET", "/slow")).send().unwrap()));
        }
    }
    until("all are under way", || fleet.unanswered() == 120).await;
    assert_eq!(fleet.load().in_flight + fleet.load().queue_depth, 120);
    stop.send(()).unwrap();
    for (id, answer) in asked {
        assert_eq!(soon("an answer", answer).await.unwrap().audit.tags, [id]);
    }
    assert_eq!(soon("the end", task).await.unwrap(), Ok(()));
    assert_eq!((fleet.stats().answered, fleet.unanswered()), (120, 0));
    until("nobody left", || proxies.iter().all(|proxy| proxy.listener.connections() == 0)).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_ends_an_agent_gracefully() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("proxy.sock");
    let proxy = Proxy::unix(&path, listening()).await;
    let guard = Guard::default();
    let runner = Agent::new(config(), guard.clone()).run_unix(&path);
    let task = tokio::spawn(runner.run_until(shutdown_signal().unwrap()));
    until("a handle", || proxy.open().len() == 1).await;
    let asked = proxy.open()[0].ask(RequestHeaders::new("a", "GET", "/slow")).send().unwrap();
    until("in flight", || proxy.open()[0].in_flight() == 1).await;
    // Once it has been asked, the agent goes however often it is asked.
    let pid = std::process::id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(soon("the answer", asked).await.unwrap().is_allow());
    assert_eq!(soon("the end", task).await.unwrap(), Ok(()));
    assert_eq!(*guard.closed.lock().unwrap(), [CloseReason::Drained]);
}

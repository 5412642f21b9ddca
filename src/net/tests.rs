//! Both ends joined, over pipes in memory and real sockets.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep, timeout};

use super::sync::Arc;
use super::*;
use crate::machine::admission::RegistrationRefusal;
use crate::machine::{CloseReason, ConnectionState, Shut, SubmitError};
use crate::session::AgentSettings;
use crate::wire::{
    Answer, Body, CancelReason, Capabilities, Decision, Encoding, EventKind, FrameType, HealthState,
    HealthStatus, MAX_FRAME, Registration, RegistrationResponse, RequestBodyChunk, RequestHeaders,
    encode_message,
};

const SECOND: Duration = Duration::from_secs(1);

fn registration(id: &str) -> Registration {
    let mut capabilities = Capabilities::new(id, EventKind::ALL);
    capabilities.features.cancellation = true;
    capabilities.features.flow_control = true;
    Registration::new(capabilities)
}

pub(super) fn agent_config(id: &str) -> AgentConfig {
    let mut config = AgentConfig::new(AgentSettings::new(registration(id)));
    config.reconnect =
        Backoff { min: Duration::from_millis(5), max: Duration::from_millis(20), ..Backoff::default() };
    config.retry_refusals = None;
    config.cancel_grace = Duration::from_millis(50);
    config
}

pub(super) fn headers(id: &str, uri: &str) -> RequestHeaders {
    RequestHeaders::new(id, "GET", uri)
}

/// Blocks `/blocked`, panics on `/panic`, waits on `/wait` until nobody does, ignores that on
/// `/stubborn`, and answers too much on `/huge`.
#[derive(Default)]
pub(super) struct Guard {
    cancelled: Mutex<Vec<CancelReason>>,
    closed: Mutex<Vec<CloseReason>>,
    opened: AtomicUsize,
}

impl Handler for Arc<Guard> {
    async fn on_request_headers(&self, event: RequestHeaders, cx: Context) -> Answer {
        match event.uri.as_str() {
            "/blocked" => Answer::block(403),
            "/panic" => panic!("on purpose"),
            "/wait" => {
                let reason = cx.cancelled().await;
                self.cancelled.lock().unwrap().push(reason);
                Answer::allow()
            }
            "/stubborn" => std::future::pending().await,
            "/slow" => {
                sleep(Duration::from_millis(200)).await;
                Answer::allow()
            }
            "/huge" => Answer::block(403).with_body("x".repeat(4_096)),
            _ => Answer::allow().with_tag(cx.correlation_id().as_str()),
        }
    }

    async fn on_request_body_chunk(&self, event: RequestBodyChunk, _: Context) -> Answer {
        if event.data.contains(&b'!') { Answer::block(400) } else { Answer::allow() }
    }

    fn on_opened(&self, _: Option<&RegistrationResponse>) {
        self.opened.fetch_add(1, Ordering::SeqCst);
    }

    fn on_closed(&self, reason: &CloseReason) {
        self.closed.lock().unwrap().push(reason.clone());
    }
}

pub(super) struct Pair {
    guard: Arc<Guard>,
    pub(super) agent: AgentController,
    task: tokio::task::JoinHandle<Result<(), AgentError>>,
    pub(super) handle: AgentHandle,
}

async fn pair_with(listener: ListenerConfig, agent: AgentConfig) -> Pair {
    let (ours, theirs) = duplex(64 << 10);
    let guard = Arc::new(Guard::default());
    let (agent, task) = Agent::new(agent, Arc::clone(&guard)).serve_stream(theirs).spawn();
    let handle = Acceptor::new(listener).unwrap().accept(ours).await.unwrap();
    Pair { guard, agent, task, handle }
}

pub(super) async fn pair() -> Pair {
    pair_with(ListenerConfig::default(), agent_config("guard")).await
}

/// An agent by hand: registered, and from then on as silent as the test wants.
async fn raw_agent(io: &mut DuplexStream, id: &str) -> RawFrame {
    let mut frame = Vec::new();
    encode_message(FrameType::HandshakeRequest, Encoding::Json, &registration(id), MAX_FRAME, &mut frame)
        .unwrap();
    io.write_all(&frame).await.unwrap();
    read_frame(io).await
}

struct RawFrame {
    kind: u8,
    payload: Vec<u8>,
}

async fn read_frame<IO: tokio::io::AsyncRead + Unpin>(io: &mut IO) -> RawFrame {
    let length = io.read_u32().await.unwrap();
    let kind = io.read_u8().await.unwrap();
    let mut payload = vec![0; length as usize - 1];
    io.read_exact(&mut payload).await.unwrap();
    RawFrame { kind, payload }
}

pub(super) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if condition() {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("never came: {what}");
}

#[tokio::test]
async fn a_conversation() {
    let Pair { guard, agent, task, handle } = pair().await;
    assert_eq!(handle.agent_id(), "guard");
    assert!(handle.connection_id().starts_with("guard-"));
    assert!(handle.request_headers(headers("a", "/")).await.unwrap().is_allow());
    assert_eq!(handle.ask(headers("a", "/blocked")).await.unwrap().decision, Answer::block(403).decision);
    let chunk = RequestBodyChunk::new("a", Body::from("attack!"));
    assert!(!handle.request_body_chunk(chunk).await.unwrap().is_allow());

    let many = (0..200).map(|n| {
        let handle = handle.clone();
        tokio::spawn(async move {
            let id = format!("r{n}");
            let answer = handle.request_headers(headers(&id, "/")).await.unwrap();
            assert_eq!(answer.audit.tags, [id.as_str()]);
        })
    });
    for one in many.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    let stats = handle.stats();
    assert_eq!((stats.totals.answered, stats.in_flight, stats.waiting), (203, 0, 0));
    assert_eq!(guard.opened.load(Ordering::SeqCst), 1);

    agent.shutdown();
    assert_eq!(timeout(5 * SECOND, task).await.unwrap().unwrap(), Ok(()));
    assert_eq!(handle.closed().await, CloseReason::PeerDrained);
    let error = handle.ask(headers("a", "/")).await.unwrap_err();
    assert_eq!(error, AskError::Refused(SubmitError::Closed));
}

#[tokio::test]
async fn bytes_survive_a_narrow_pipe() {
    let (ours, theirs) = duplex(1_000);
    let guard = Arc::new(Guard::default());
    let (_agent, _task) = Agent::new(agent_config("guard"), guard).serve_stream(theirs).spawn();
    let mut config = ListenerConfig::default();
    config.proxy.write_mark = 10_000;
    let handle = Acceptor::new(config).unwrap().accept(ours).await.unwrap();
    let asks: Vec<_> = (0..30_usize)
        .map(|n| {
            let mut bytes = vec![b'.'; n * 7_919];
            if n % 3 == 0 {
                bytes.push(b'!');
            }
            handle.ask(RequestBodyChunk::new(format!("r{n}"), bytes)).send().unwrap()
        })
        .collect();
    for (n, ask) in asks.into_iter().enumerate() {
        let answer = timeout(10 * SECOND, ask).await.unwrap().unwrap();
        assert_eq!(answer.is_allow(), n % 3 != 0, "{n}");
    }
}

#[tokio::test]
async fn an_agent_that_stopped_reading_reads_again() {
    let mut agent = agent_config("guard");
    agent.agent.limits.inbox.running = 1;
    agent.agent.limits.inbox.saturated_bytes = 1;
    let Pair { handle, .. } = pair_with(ListenerConfig::default(), agent).await;
    let asks: Vec<_> = (0..50).map(|n| handle.ask(headers(&format!("r{n}"), "/")).send().unwrap()).collect();
    for ask in asks {
        assert!(timeout(5 * SECOND, ask).await.unwrap().unwrap().is_allow());
    }
}

#[tokio::test]
// Rule: F-MARK-1.
async fn what_waits_behind_the_write_mark_follows() {
    let (ours, mut theirs) = duplex(1 << 20);
    let mut config = ListenerConfig::default();
    config.proxy.write_mark = 500;
    let accepting = tokio::spawn(async move { Acceptor::new(config).unwrap().accept(ours).await });
    raw_agent(&mut theirs, "silent").await;
    let handle = accepting.await.unwrap().unwrap();
    let _asks: Vec<_> = (0..50).map(|n| handle.ask(headers(&format!("r{n}"), "/")).send().unwrap()).collect();
    for _ in 0..50 {
        let frame = timeout(SECOND, read_frame(&mut theirs)).await.unwrap();
        assert_eq!(frame.kind, FrameType::RequestHeaders.to_byte());
    }
}

#[tokio::test]
async fn an_agent_reads_on_while_its_answers_are_not_read() {
    let (mut ours, theirs) = duplex(300);
    let mut config = agent_config("guard");
    config.agent.limits.inbox.running = 1;
    config.agent.limits.inbox.saturated = 1;
    let (_agent, _task) = Agent::new(config, Arc::new(Guard::default())).serve_stream(theirs).spawn();
    read_frame(&mut ours).await;
    let mut bytes = Vec::new();
    let response = RegistrationResponse { success: true, ..RegistrationResponse::default() };
    encode_message(FrameType::HandshakeResponse, Encoding::Json, &response, MAX_FRAME, &mut bytes).unwrap();
    for n in 0..20 {
        let event = headers(&format!("r{n}"), "/");
        encode_message(FrameType::RequestHeaders, Encoding::Json, &event, MAX_FRAME, &mut bytes).unwrap();
    }
    timeout(5 * SECOND, ours.write_all(&bytes)).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_goes_wrong_in_a_handler_blocks() {
    let mut agent = agent_config("guard");
    agent.agent.max_frame = 2_048;
    let Pair { handle, .. } = pair_with(ListenerConfig::default(), agent).await;
    for (uri, code) in [("/panic", "handler_panicked"), ("/huge", "answer_too_large")] {
        let answer = handle.ask(headers("a", uri)).await.unwrap();
        assert!(matches!(answer.decision, Decision::Block { status: 500, .. }), "{uri}");
        assert_eq!(answer.audit.reason_codes, [code]);
    }
    // It goes on all the same.
    assert!(handle.ask(headers("a", "/")).await.unwrap().is_allow());
}

#[tokio::test]
async fn dropping_a_question_cancels_it() {
    let Pair { guard, handle, .. } = pair().await;
    let asked = handle.ask(headers("a", "/wait")).send().unwrap();
    until("in flight", || handle.in_flight() == 1).await;
    sleep(Duration::from_millis(20)).await;
    drop(asked);
    until("the answer", || handle.in_flight() == 0).await;
    assert_eq!(*guard.cancelled.lock().unwrap(), [CancelReason::ClientDisconnect]);
    assert_eq!(handle.stats().totals.late_answers, 1);
}

#[tokio::test]
async fn a_stubborn_handler_is_dropped_after_the_grace() {
    let Pair { handle, .. } = pair().await;
    let asked = handle.ask(headers("a", "/stubborn")).send().unwrap();
    sleep(Duration::from_millis(20)).await;
    asked.cancel(CancelReason::Manual);
    until("the answer", || handle.in_flight() == 0).await;
    assert!(handle.ask(headers("a", "/")).await.unwrap().is_allow());
}

#[tokio::test(start_paused = true)]
// Rule: X-TIME-1.
async fn a_timeout_is_told_in_time() {
    let Pair { guard, handle, .. } = pair().await;
    let start = Instant::now();
    let error = handle.ask(headers("a", "/wait")).timeout(SECOND).await.unwrap_err();
    assert_eq!((error.clone(), error.was_written()), (AskError::TimedOut, true));
    assert!(start.elapsed() < SECOND + Duration::from_millis(10));
    until("the late answer", || handle.in_flight() == 0).await;
    assert_eq!(*guard.cancelled.lock().unwrap(), [CancelReason::Timeout]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_holds_nobody_past_the_timeout() {
    let (ours, mut theirs) = duplex(4 << 10);
    let accepting =
        tokio::spawn(async move { Acceptor::new(ListenerConfig::default()).unwrap().accept(ours).await });
    raw_agent(&mut theirs, "deaf").await;
    let handle = accepting.await.unwrap().unwrap();
    let start = Instant::now();
    let asks: Vec<_> = (0..40)
        .map(|n| {
            let mut event = headers(&format!("r{n}"), "/");
            event.headers.push("x", &"y".repeat(16 << 10));
            handle.ask(event).timeout(SECOND).send().unwrap()
        })
        .collect();
    for ask in asks {
        assert!(ask.await.is_err());
    }
    assert!(start.elapsed() < SECOND + Duration::from_millis(20), "{:?}", start.elapsed());
    assert!(handle.stats().waiting == 0);
    assert_eq!(
        handle.ask(headers("z", "/")).fail_fast().await,
        Err(AskError::Refused(SubmitError::WouldWait(Shut::Backlog)))
    );
    handle.close();
    assert_eq!(timeout(SECOND, handle.closed()).await.unwrap(), CloseReason::Closed);
}

#[tokio::test]
async fn when_the_agent_dies_its_callers_end_at_once() {
    let (ours, mut theirs) = duplex(64 << 10);
    let accepting =
        tokio::spawn(async move { Acceptor::new(ListenerConfig::default()).unwrap().accept(ours).await });
    raw_agent(&mut theirs, "mortal").await;
    let handle = accepting.await.unwrap().unwrap();
    let asked = handle.ask(headers("a", "/")).send().unwrap();
    assert_eq!(read_frame(&mut theirs).await.kind, FrameType::RequestHeaders.to_byte());
    drop(theirs);
    let error = timeout(SECOND, asked).await.unwrap().unwrap_err();
    assert_eq!(error, AskError::ConnectionLost { written: true, reason: Some(CloseReason::PeerClosed) });
}

#[tokio::test]
async fn dropping_the_last_handle_closes() {
    let Pair { guard, task, handle, .. } = pair().await;
    let asked = handle.ask(headers("a", "/slow")).send().unwrap();
    drop(handle);
    // A question keeps its connection.
    assert!(asked.await.unwrap().is_allow());
    assert!(timeout(SECOND, task).await.unwrap().unwrap().is_err());
    assert_eq!(*guard.closed.lock().unwrap(), [CloseReason::PeerClosed]);
}

#[tokio::test]
async fn a_drain_waits_for_what_is_owed() {
    let Pair { handle, .. } = pair().await;
    let asked = handle.ask(headers("a", "/slow")).send().unwrap();
    until("in flight", || handle.in_flight() == 1).await;
    let draining = tokio::spawn({
        let handle = handle.clone();
        async move { handle.drain(5 * SECOND).await }
    });
    until("draining", || handle.state() == ConnectionState::Draining).await;
    assert_eq!(handle.ask(headers("b", "/")).await, Err(AskError::Refused(SubmitError::Draining)));
    assert!(asked.await.unwrap().is_allow());
    assert_eq!(draining.await.unwrap(), CloseReason::Drained);
}

#[tokio::test]
async fn reports_arrive_and_the_oldest_go_first() {
    let Pair { agent, handle, .. } = pair().await;
    let mut early = HealthStatus::new("guard", HealthState::Healthy, 1);
    agent.report_health(&early).unwrap();
    until("health", || handle.health().is_some()).await;
    let mut reports = handle.reports();
    assert!(matches!(reports.next().await, Some(Report::Health(health)) if health.timestamp_ms == 1));
    for n in 2..=101 {
        early.timestamp_ms = n;
        agent.report_health(&early).unwrap();
    }
    until("the last", || handle.health().is_some_and(|health| health.timestamp_ms == 101)).await;
    assert!(matches!(reports.next().await, Some(Report::Health(health)) if health.timestamp_ms == 38));
    assert_eq!(reports.missed(), 36);
    handle.close();
    let mut rest = 0;
    while reports.next().await.is_some() {
        rest += 1;
    }
    assert_eq!(rest, 63);
}

#[tokio::test]
async fn a_refusal_is_told_to_both() {
    let mut config = ListenerConfig::default();
    config.policy.allowed = vec!["other".into()];
    let acceptor = Acceptor::new(config).unwrap();
    let (ours, mut theirs) = duplex(64 << 10);
    let accepting = tokio::spawn(async move { acceptor.accept(ours).await });
    let said = raw_agent(&mut theirs, "guard").await;
    assert_eq!(said.kind, FrameType::HandshakeResponse.to_byte());
    let response: RegistrationResponse = Encoding::Json.decode(&said.payload).unwrap();
    assert!(!response.success && response.error.unwrap().contains("allowed agents"));
    drop(theirs);
    assert_eq!(accepting.await.unwrap().unwrap_err(), AcceptError::Refused(RegistrationRefusal::NotAllowed));
}

#[tokio::test]
async fn one_handshake_too_many_is_told_to_wait() {
    let config = ListenerConfig { max_opening: 1, ..ListenerConfig::default() };
    let acceptor = Acceptor::new(config).unwrap();
    let (first, mut idle) = duplex(1 << 10);
    let waiting = tokio::spawn({
        let acceptor = acceptor.clone();
        async move { acceptor.accept(first).await }
    });
    tokio::task::yield_now().await;
    let (second, mut theirs) = duplex(64 << 10);
    let refused = tokio::spawn({
        let acceptor = acceptor.clone();
        async move { acceptor.accept(second).await }
    });
    let said = read_frame(&mut theirs).await;
    let response: RegistrationResponse = Encoding::Json.decode(&said.payload).unwrap();
    assert_eq!((response.success, response.retry_after_ms), (false, Some(1_000)));
    drop(theirs);
    assert_eq!(refused.await.unwrap().unwrap_err(), AcceptError::Busy);
    raw_agent(&mut idle, "guard").await;
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test]
async fn seats_are_released_with_their_connections() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agents.sock");
    let mut config = ListenerConfig::default();
    config.policy.max_connections_per_agent = 2;
    let listener = Listener::bind_unix(&path, config).await.unwrap();
    for _ in 0..10 {
        let (agent, task) = Agent::new(agent_config("a"), Arc::new(Guard::default())).run_unix(&path).spawn();
        let handle = timeout(5 * SECOND, listener.accept()).await.unwrap().unwrap();
        assert!(handle.ask(headers("x", "/")).await.unwrap().is_allow());
        assert!(listener.connections() <= 2);
        agent.shutdown();
        timeout(5 * SECOND, task).await.unwrap().unwrap().unwrap();
    }
    until("empty seats", || listener.connections() == 0).await;
}

#[tokio::test]
async fn sixty_at_once_all_arrive_under_names_of_their_own() {
    let listener =
        Listener::bind_tcp("127.0.0.1:0".parse().unwrap(), ListenerConfig::default()).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let agents: Vec<_> = (0..60)
        .map(|n| Agent::new(agent_config(&format!("a{n}")), Arc::new(Guard::default())).run_tcp(addr).spawn())
        .collect();
    let mut names = std::collections::BTreeSet::new();
    let mut handles = Vec::new();
    for _ in 0..60 {
        let handle = timeout(10 * SECOND, listener.accept()).await.unwrap().unwrap();
        assert!(handle.ask(headers("x", "/")).await.unwrap().is_allow());
        names.insert(handle.connection_id().to_owned());
        handles.push(handle);
    }
    assert_eq!((names.len(), listener.connections()), (60, 60));
    for (agent, _) in &agents {
        agent.shutdown();
    }
    timeout(10 * SECOND, listener.shutdown(5 * SECOND)).await.unwrap();
    assert_eq!(listener.connections(), 0);
}

#[tokio::test]
async fn an_agent_comes_back_to_a_proxy_that_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agents.sock");
    let guard = Arc::new(Guard::default());
    let (agent, task) = Agent::new(agent_config("a"), Arc::clone(&guard)).run_unix(&path).spawn();
    for round in 1..=3 {
        let listener = Listener::bind_unix(&path, ListenerConfig::default()).await.unwrap();
        let handle = timeout(5 * SECOND, listener.accept()).await.unwrap().unwrap();
        assert!(handle.ask(headers("x", "/")).await.unwrap().is_allow());
        assert_eq!(guard.opened.load(Ordering::SeqCst), round);
        timeout(5 * SECOND, listener.shutdown(SECOND)).await.unwrap();
        assert!(!path.exists());
        assert_eq!(listener.accept().await.unwrap_err(), ListenerClosed);
    }
    agent.shutdown();
    assert_eq!(timeout(5 * SECOND, task).await.unwrap().unwrap(), Ok(()));
}

#[tokio::test]
async fn a_refusal_for_good_ends_the_runner() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agents.sock");
    let mut config = ListenerConfig::default();
    config.policy.credentials = Some(Vec::new());
    let _listener = Listener::bind_unix(&path, config).await.unwrap();
    let runner = Agent::new(agent_config("a"), Arc::new(Guard::default())).run_unix(&path);
    let error = timeout(5 * SECOND, runner).await.unwrap().unwrap_err();
    assert!(matches!(error, AgentError::Refused(words) if words.contains("auth_token")));
}

#[tokio::test]
async fn a_proxy_dials_an_agent_that_listens() {
    let (ours, theirs) = duplex(64 << 10);
    let (_agent, _task) =
        Agent::new(agent_config("listening"), Arc::new(Guard::default())).accept_forward(theirs).spawn();
    let handle = dial_forward(ours, crate::session::ProxySettings::default(), None, SECOND).await.unwrap();
    assert_eq!(handle.agent_id(), "listening");
    assert!(!handle.ask(headers("a", "/blocked")).await.unwrap().is_allow());
}

#[tokio::test]
async fn a_listener_that_is_dropped_leaves_its_agents() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agents.sock");
    let listener = Listener::bind_unix(&path, ListenerConfig::default()).await.unwrap();
    assert_eq!(listener.socket_path(), Some(path.as_path()));
    let (_agent, _task) = Agent::new(agent_config("a"), Arc::new(Guard::default())).run_unix(&path).spawn();
    let handle = listener.accept().await.unwrap();
    drop(listener);
    assert!(!path.exists());
    assert!(handle.ask(headers("a", "/")).await.unwrap().is_allow());
}

#[test]
fn a_runtime_that_ends_leaves_nobody_waiting() {
    let (ours, theirs) = duplex(64 << 10);
    let theirs = Mutex::new(Some(theirs));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (asked, _theirs) = runtime.block_on(async {
        let mut theirs = theirs.lock().unwrap().take().unwrap();
        let accepting =
            tokio::spawn(async move { Acceptor::new(ListenerConfig::default()).unwrap().accept(ours).await });
        raw_agent(&mut theirs, "a").await;
        let handle = accepting.await.unwrap().unwrap();
        (handle.ask(headers("a", "/")).send().unwrap(), theirs)
    });
    runtime.shutdown_background();
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = other.block_on(async { timeout(SECOND, asked).await });
    assert!(matches!(result, Ok(Err(AskError::ConnectionLost { .. }))));
}

#[test]
fn nothing_secret_is_printed() {
    let mut config = agent_config("a");
    config.agent.registration.auth_token = Some("s3cret".into());
    assert!(!format!("{config:?}").contains("s3cret"));
}

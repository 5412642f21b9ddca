//! Who is let in, over real sockets: the hook, the accept rate, refusals and when to retry.
#![cfg(unix)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dialback::machine::admission::{AdmissionPolicy, Credential, Rate, RegistrationRefusal};
use dialback::machine::{CloseReason, ProxyLimits};
use dialback::net::{
    AcceptError, Acceptor, AdmissionHook, Agent, AgentConfig, AgentHandle, Applicant, Backoff, BoxFuture,
    Handler, Listener, ListenerConfig, Peer,
};
use dialback::session::AgentSettings;
use dialback::wire::{
    Capabilities, Encoding, EventKind, FrameType, MAX_FRAME, Registration, RegistrationResponse,
    RequestHeaders, encode_message,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Allow;
impl Handler for Allow {}

fn registration(id: &str) -> Registration {
    let mut registration = Registration::new(Capabilities::new(id, EventKind::ALL));
    registration.auth_token = Some("s3cret".into());
    registration.metadata = Some(serde_json::json!({"zone": "eu"}));
    registration
}

fn agent_config(id: &str) -> AgentConfig {
    let mut config = AgentConfig::new(AgentSettings::new(registration(id)));
    config.reconnect =
        Backoff { min: Duration::from_millis(5), max: Duration::from_millis(20), ..Backoff::default() };
    config
}

/// Registers by hand.
async fn register<IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    io: &mut IO,
    id: &str,
) -> RegistrationResponse {
    let mut frame = Vec::new();
    encode_message(FrameType::HandshakeRequest, Encoding::Json, &registration(id), MAX_FRAME, &mut frame)
        .unwrap();
    // A peer that refuses unheard may have gone already.
    let _ = io.write_all(&frame).await;
    answer(io).await
}

async fn answer<IO: tokio::io::AsyncRead + Unpin>(io: &mut IO) -> RegistrationResponse {
    let length = io.read_u32().await.unwrap() as usize;
    assert_eq!(io.read_u8().await.unwrap(), FrameType::HandshakeResponse.to_byte());
    let mut payload = vec![0; length - 1];
    io.read_exact(&mut payload).await.unwrap();
    Encoding::Json.decode(&payload).unwrap()
}

type Accepting = JoinHandle<Result<AgentHandle, AcceptError>>;

fn accept(acceptor: &Acceptor) -> (DuplexStream, Accepting) {
    let (ours, theirs) = duplex(64 << 10);
    let acceptor = acceptor.clone();
    (theirs, tokio::spawn(async move { acceptor.accept(ours).await }))
}

fn hooked(hook: impl AdmissionHook) -> ListenerConfig {
    ListenerConfig { hook: Some(Arc::new(hook)), ..ListenerConfig::default() }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if condition() {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("never came: {what}");
}

/// Runs a future for every applicant that it is made of.
struct Hook<F>(F);

impl<F, Fut> AdmissionHook for Hook<F>
where
    F: Fn(Applicant) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), RegistrationRefusal>> + Send + 'static,
{
    fn admit<'a>(&'a self, applicant: &'a Applicant) -> BoxFuture<'a, Result<(), RegistrationRefusal>> {
        Box::pin((self.0)(applicant.clone()))
    }
}

#[tokio::test]
async fn the_hook_sees_who_applies_and_its_word_counts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agents.sock");
    let (seen, mut applicants) = tokio::sync::mpsc::unbounded_channel();
    let config = hooked(move |applicant: &Applicant| {
        seen.send(applicant.clone()).unwrap();
        match applicant.agent_id.as_str() {
            "good" => Ok(()),
            _ => Err(RegistrationRefusal::Later { words: "not before noon".into(), after: 90 * SECOND }),
        }
    });
    let listener = Listener::bind_unix(&path, config).await.unwrap();
    let (agent, task) = Agent::new(agent_config("good"), Allow).run_unix(&path).spawn();
    let handle = timeout(5 * SECOND, listener.accept()).await.unwrap().unwrap();
    assert!(handle.ask(RequestHeaders::new("r", "GET", "/")).await.unwrap().is_allow());

    let applicant = applicants.recv().await.unwrap();
    assert_eq!((applicant.agent_id.as_str(), applicant.token.unwrap().expose()), ("good", "s3cret"));
    assert_eq!(applicant.metadata.unwrap()["zone"], "eu");
    assert!(applicant.capabilities.supports(EventKind::RequestHeaders));
    let Peer::Unix { uid, gid, pid } = applicant.peer else { panic!("{:?}", applicant.peer) };
    let ours = std::fs::metadata(dir.path()).unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!((uid, gid), (ours.uid(), ours.gid()));
    assert_eq!(pid, i32::try_from(std::process::id()).ok());
    assert_eq!(handle.peer(), &Peer::Unix { uid, gid, pid });

    let mut other = UnixStream::connect(&path).await.unwrap();
    let said = register(&mut other, "bad").await;
    assert_eq!((said.success, said.retry_after_ms), (false, Some(90_000)));
    assert_eq!(said.error.unwrap(), "not before noon");
    until("one seat", || listener.connections() == 1).await;
    agent.shutdown();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn over_tcp_the_hook_sees_the_address() {
    let (seen, mut peers) = tokio::sync::mpsc::unbounded_channel();
    let config = hooked(move |applicant: &Applicant| {
        seen.send(applicant.peer.clone()).unwrap();
        Ok(())
    });
    let listener = Listener::bind_tcp("127.0.0.1:0".parse().unwrap(), config).await.unwrap();
    let mut io = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    assert!(register(&mut io, "a").await.success);
    assert_eq!(peers.recv().await, Some(Peer::Tcp(io.local_addr().unwrap())));
}

#[tokio::test]
async fn the_hook_is_asked_last_and_with_the_seat_taken() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let mut config = hooked(Hook(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        async {
            sleep(SECOND / 20).await;
            Ok(())
        }
    }));
    config.policy = AdmissionPolicy {
        allowed: vec!["a".into(), "b".into()],
        max_connections_per_agent: 1,
        ..AdmissionPolicy::default()
    };
    let acceptor = Acceptor::new(config).unwrap();
    // Not one for whom there is no hope.
    let (mut io, accepting) = accept(&acceptor);
    assert!(!register(&mut io, "c").await.success);
    drop(io);
    let refused = AcceptError::Refused(RegistrationRefusal::NotAllowed);
    assert_eq!(accepting.await.unwrap().unwrap_err(), refused);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    // Of many at once, one is asked about.
    let many: Vec<_> = (0..8)
        .map(|_| {
            let (mut io, accepting) = accept(&acceptor);
            tokio::spawn(async move {
                let said = register(&mut io, "a").await;
                let handle = accepting.await.unwrap();
                (said.success, said.retry_after_ms, handle.is_ok(), io, handle)
            })
        })
        .collect();
    let mut admitted = Vec::new();
    for one in many {
        let (success, retry, accepted, io, handle) = one.await.unwrap();
        assert_eq!((success, retry), (accepted, (!accepted).then_some(5_000)));
        if success {
            admitted.push((io, handle));
        }
    }
    assert_eq!((admitted.len(), asked.load(Ordering::SeqCst), acceptor.connections()), (1, 1, 1));
}

#[tokio::test]
async fn a_hook_that_panics_refuses() {
    for early in [true, false] {
        let acceptor = Acceptor::new(hooked(Hook(move |_| {
            assert!(!early, "on purpose");
            async { panic!("on purpose") }
        })))
        .unwrap();
        let (mut io, accepting) = accept(&acceptor);
        let said = timeout(SECOND, register(&mut io, "a")).await.unwrap();
        assert_eq!((said.success, said.retry_after_ms), (false, Some(5_000)));
        assert!(said.error.unwrap().contains("could not decide"));
        drop(io);
        let error = accepting.await.unwrap().unwrap_err();
        assert_eq!(error, AcceptError::Refused(RegistrationRefusal::Undecided));
        until("an empty seat", || acceptor.connections() == 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_hangs_refuses_in_time() {
    let never = || Hook(|_| std::future::pending());
    let acceptor = Acceptor::new(ListenerConfig { hook_timeout: 2 * SECOND, ..hooked(never()) }).unwrap();
    let (mut io, accepting) = accept(&acceptor);
    let start = Instant::now();
    let said = register(&mut io, "a").await;
    assert_eq!(said.retry_after_ms, Some(5_000));
    assert!(start.elapsed() < 2 * SECOND + SECOND / 10, "{:?}", start.elapsed());
    drop(io);
    let error = accepting.await.unwrap().unwrap_err();
    assert_eq!(error, AcceptError::Refused(RegistrationRefusal::Undecided));

    // And never past the handshake's own deadline, which begins with the connection.
    let mut config = hooked(never());
    config.hook_timeout = 60 * SECOND;
    config.proxy.limits = ProxyLimits { handshake_timeout: 3 * SECOND, ..config.proxy.limits };
    let acceptor = Acceptor::new(config).unwrap();
    let (mut io, accepting) = accept(&acceptor);
    let start = Instant::now();
    sleep(2 * SECOND).await;
    let said = register(&mut io, "a").await;
    assert!(!said.success && said.retry_after_ms.is_some(), "{said:?}");
    assert!(start.elapsed() < 3 * SECOND + SECOND / 10, "{:?}", start.elapsed());
    drop(io);
    assert!(accepting.await.unwrap().is_err());
    assert_eq!(acceptor.connections(), 0);
}

#[tokio::test]
async fn a_slow_hook_delays_nobody_else() {
    let config = hooked(Hook(|applicant: Applicant| async move {
        if applicant.agent_id == "slow" {
            std::future::pending::<()>().await;
        }
        Ok(())
    }));
    let acceptor = Acceptor::new(config).unwrap();
    let (mut slow, _slow) = accept(&acceptor);
    let waiting = tokio::spawn(async move { register(&mut slow, "slow").await });
    for n in 0..20 {
        let (mut io, _accepting) = accept(&acceptor);
        assert!(timeout(SECOND, register(&mut io, &format!("fast-{n}"))).await.unwrap().success);
    }
    assert!(!waiting.is_finished());
}

#[tokio::test]
async fn a_hook_is_dropped_when_its_connection_ends() {
    struct Told(Arc<AtomicUsize>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (begun, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, told) = (Arc::clone(&begun), Arc::clone(&dropped));
    let acceptor = Acceptor::new(hooked(Hook(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        let told = Told(Arc::clone(&told));
        async move {
            let _told = told;
            std::future::pending().await
        }
    })))
    .unwrap();
    let (mut io, accepting) = accept(&acceptor);
    let registering = tokio::spawn(async move { register(&mut io, "a").await });
    until("the hook", || begun.load(Ordering::SeqCst) == 1).await;
    assert_eq!(acceptor.connections(), 1);
    timeout(5 * SECOND, acceptor.shutdown(SECOND)).await.unwrap();
    assert_eq!((dropped.load(Ordering::SeqCst), acceptor.connections()), (1, 0));
    assert_eq!(accepting.await.unwrap().unwrap_err(), AcceptError::Closed(CloseReason::Drained));
    // The proxy goes; its agent is to look for the next one.
    let said = registering.await.unwrap();
    assert!(!said.success && said.retry_after_ms.is_some(), "{said:?}");
}

#[tokio::test]
async fn connections_that_come_too_fast_are_told_when_to_retry() {
    let config =
        ListenerConfig { accept_rate: Some(Rate { per_second: 1, burst: 3 }), ..ListenerConfig::default() };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agents.sock");
    let listener = Listener::bind_unix(&path, config.clone()).await.unwrap();
    let mut kept = Vec::new();
    for n in 0..3 {
        let mut io = UnixStream::connect(&path).await.unwrap();
        assert!(register(&mut io, &format!("a{n}")).await.success);
        kept.push((io, listener.accept().await.unwrap()));
    }
    let mut io = UnixStream::connect(&path).await.unwrap();
    let said = timeout(SECOND, answer(&mut io)).await.unwrap();
    assert!(!said.success && said.error.unwrap().contains("faster than this proxy accepts"));
    let retry = said.retry_after_ms.unwrap();
    assert!((1..=1_000).contains(&retry), "{retry}");
    assert_eq!(listener.refusals().counts()["too_fast"], 1);
    // Who is in is not disturbed.
    assert!(kept.iter().all(|(_, handle)| !handle.is_closed()));
    // And who heeds the time is let in.
    sleep(Duration::from_millis(retry + 100)).await;
    let mut io = UnixStream::connect(&path).await.unwrap();
    assert!(register(&mut io, "b").await.success);

    // Streams of one's own are held to the rate as well.
    let acceptor = Acceptor::new(ListenerConfig {
        accept_rate: Some(Rate { per_second: 1, burst: 1 }),
        ..ListenerConfig::default()
    })
    .unwrap();
    let (mut first, accepting) = accept(&acceptor);
    assert!(register(&mut first, "a").await.success);
    let _handle = accepting.await.unwrap().unwrap();
    let (mut second, accepting) = accept(&acceptor);
    assert!(!answer(&mut second).await.success);
    drop(second);
    assert!(matches!(accepting.await.unwrap(), Err(AcceptError::TooFast { .. })));
}

/// The wire's side of each refusal that heals or does not.
#[tokio::test]
async fn refusals_say_on_the_wire_whether_to_retry() {
    let credential = |agents: &str, token: &str| Credential { agents: agents.into(), token: token.into() };
    let policy = AdmissionPolicy {
        allowed: vec!["waf-*".into()],
        credentials: Some(vec![
            credential("waf-*", "older"),
            credential("*", "s3cret"),
            credential("auth", "other"),
        ]),
        max_connections: 2,
        max_connections_per_agent: 1,
    };
    let acceptor = Acceptor::new(ListenerConfig { policy, ..ListenerConfig::default() }).unwrap();
    let mut kept = Vec::new();
    let table = [
        ("waf-1", Ok(())),
        ("waf-1", Err((RegistrationRefusal::AgentFull { limit: 1 }, Some(5_000)))),
        ("auth", Err((RegistrationRefusal::NotAllowed, None))),
        ("", Err((RegistrationRefusal::EmptyId, None))),
        ("waf-\n", Err((RegistrationRefusal::BadIdCharacter { at: 4 }, None))),
        ("waf-2", Ok(())),
        ("waf-3", Err((RegistrationRefusal::Full, Some(5_000)))),
    ];
    for (id, expected) in table {
        let (mut io, accepting) = accept(&acceptor);
        let said = register(&mut io, id).await;
        match expected {
            Ok(()) => {
                assert!(said.success, "{id} {said:?}");
                kept.push((io, accepting.await.unwrap().unwrap()));
            }
            Err((refusal, retry)) => {
                assert_eq!((said.success, said.retry_after_ms), (false, retry), "{id}");
                assert_eq!(said.error.unwrap(), refusal.to_string());
                drop(io);
                assert_eq!(accepting.await.unwrap().unwrap_err(), AcceptError::Refused(refusal));
            }
        }
    }
    drop(kept);
    acceptor.shutdown(SECOND).await;
    let (mut io, accepting) = accept(&acceptor);
    let said = answer(&mut io).await;
    assert_eq!((said.success, said.retry_after_ms), (false, Some(5_000)));
    drop(io);
    let refused = AcceptError::Refused(RegistrationRefusal::ShuttingDown);
    assert_eq!(accepting.await.unwrap().unwrap_err(), refused);
}

#[tokio::test]
async fn a_registration_that_comes_too_late_may_be_tried_again() {
    let mut config = ListenerConfig::default();
    config.proxy.limits.handshake_timeout = SECOND / 20;
    let (mut io, accepting) = accept(&Acceptor::new(config).unwrap());
    let said = answer(&mut io).await;
    assert!(!said.success && said.retry_after_ms == Some(5_000), "{said:?}");
    drop(io);
    let closed = AcceptError::Closed(CloseReason::HandshakeDeadline(SECOND / 20));
    assert_eq!(accepting.await.unwrap().unwrap_err(), closed);
}

#[test]
fn no_configuration_prints_a_secret() {
    let mut listener = hooked(|_: &Applicant| Ok(()));
    listener.policy.credentials = Some(vec![Credential { agents: "*".into(), token: "s3cret".into() }]);
    let applicant = Applicant {
        agent_id: "a".into(),
        token: Some("s3cret".into()),
        metadata: None,
        capabilities: Capabilities::default(),
        peer: Peer::Other,
    };
    let agent = agent_config("a");
    let acceptor = Acceptor::new(listener.clone()).unwrap();
    let printed = format!(
        "{listener:?} {:?} {:?} {applicant:?} {agent:?} {:?} {:?} {acceptor:?} {:?}",
        listener.policy,
        listener.proxy,
        agent.agent,
        registration("a"),
        Agent::new(agent.clone(), Allow),
    );
    assert!(!printed.contains("s3cret"), "{printed}");
    assert!(printed.contains("Token(..)") && printed.contains("AdmissionHook(..)"));
}

//! TLS both ways, with certificates made here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dialback::machine::CloseReason;
use dialback::machine::admission::{Credential, Rate, RegistrationRefusal};
use dialback::net::tls::{Roots, TlsAgentConfig, TlsIdentity, TlsListenerConfig};
use dialback::net::{
    AcceptError, Acceptor, Agent, AgentConfig, AgentController, AgentError, Applicant, Backoff, BindError,
    Handler, Listener, ListenerConfig, Peer,
};
use dialback::session::AgentSettings;
use dialback::wire::{Answer, Capabilities, EventKind, Registration, RequestBodyChunk, RequestHeaders};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const SECOND: Duration = Duration::from_secs(1);

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, names: &[&str]) -> TlsIdentity {
        self.issue_with(names, |_| {})
    }

    fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> TlsIdentity {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        TlsIdentity::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }

    /// A client by hand, which trusts this authority.
    async fn connect(&self, io: TcpStream) -> tokio_rustls::client::TlsStream<TcpStream> {
        use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "proxy.example".try_into().unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, io).await.unwrap()
    }

    fn roots(&self) -> Roots {
        Roots::from_pem(self.pem.as_bytes()).unwrap()
    }
}

struct Guard;

impl Handler for Guard {
    async fn on_request_headers(&self, event: RequestHeaders, _: dialback::net::Context) -> Answer {
        if event.uri == "/blocked" { Answer::block(403) } else { Answer::allow() }
    }

    async fn on_request_body_chunk(&self, event: RequestBodyChunk, _: dialback::net::Context) -> Answer {
        if event.data.contains(&b'!') { Answer::block(400) } else { Answer::allow() }
    }
}

fn agent_config(id: &str) -> AgentConfig {
    let registration = Registration::new(Capabilities::new(id, EventKind::ALL));
    let mut config = AgentConfig::new(AgentSettings::new(registration));
    config.retry_refusals = None;
    config.reconnect =
        Backoff { min: Duration::from_millis(5), max: Duration::from_millis(20), ..Backoff::default() };
    config
}

type Running = (AgentController, JoinHandle<Result<(), AgentError>>);

fn run(id: &str, addr: SocketAddr, tls: &TlsAgentConfig) -> Running {
    Agent::new(agent_config(id), Guard).run_tls(addr, "proxy.example", tls).unwrap().spawn()
}

struct Scene {
    servers: Authority,
    clients: Authority,
    listener: Listener,
    addr: SocketAddr,
}

impl Scene {
    async fn mutual(config: ListenerConfig) -> Self {
        Self::new(config, true).await
    }

    async fn new(config: ListenerConfig, mutual: bool) -> Self {
        let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
        let tls = TlsListenerConfig {
            identity: servers.issue(&["proxy.example"]),
            client_roots: mutual.then(|| clients.roots()),
        };
        let listener = Listener::bind_tls("127.0.0.1:0".parse().unwrap(), &tls, config).await.unwrap();
        let addr = listener.local_addr().unwrap();
        Self { servers, clients, listener, addr }
    }

    fn tls(&self, identity: Option<TlsIdentity>) -> TlsAgentConfig {
        TlsAgentConfig { roots: self.servers.roots(), identity }
    }

    /// An agent as it should be gets in, whatever else goes on.
    async fn works(&self, id: &str) {
        let (agent, task) = run(id, self.addr, &self.tls(Some(self.clients.issue(&[id]))));
        let handle = timeout(5 * SECOND, self.listener.accept()).await.unwrap().unwrap();
        assert_eq!(handle.agent_id(), id);
        assert!(handle.ask(RequestHeaders::new("r", "GET", "/")).await.unwrap().is_allow());
        agent.shutdown();
        assert_eq!(timeout(5 * SECOND, task).await.unwrap().unwrap(), Ok(()));
    }

    /// Nobody gets in for a while.
    async fn nobody_comes(&self) {
        assert!(timeout(SECOND / 4, self.listener.accept()).await.is_err());
        assert_eq!(self.listener.connections(), 0);
    }
}

#[tokio::test]
async fn the_server_alone_shows_a_certificate() {
    let scene = Scene::new(ListenerConfig::default(), false).await;
    let (agent, task) = run("Any@Id/1", scene.addr, &scene.tls(None));
    let handle = timeout(5 * SECOND, scene.listener.accept()).await.unwrap().unwrap();
    assert_eq!(handle.agent_id(), "Any@Id/1");
    let Peer::Tls { addr: Some(addr), names, certificate: None } = handle.peer() else {
        panic!("{:?}", handle.peer())
    };
    assert!(addr.ip().is_loopback() && names.is_empty());
    assert!(!handle.ask(RequestHeaders::new("a", "GET", "/blocked")).await.unwrap().is_allow());
    // Much at once, in both directions.
    let asks: Vec<_> = (0..40_usize)
        .map(|n| {
            let mut bytes = vec![b'.'; n * 17_389];
            if n % 3 == 0 {
                bytes.push(b'!');
            }
            handle.ask(RequestBodyChunk::new(format!("r{n}"), bytes)).send().unwrap()
        })
        .collect();
    for (n, ask) in asks.into_iter().enumerate() {
        assert_eq!(timeout(20 * SECOND, ask).await.unwrap().unwrap().is_allow(), n % 3 != 0, "{n}");
    }
    agent.shutdown();
    assert_eq!(timeout(5 * SECOND, task).await.unwrap().unwrap(), Ok(()));
    assert_eq!(handle.closed().await, CloseReason::PeerDrained);
}

#[tokio::test]
async fn an_agent_is_held_to_its_certificate() {
    let mut config = ListenerConfig::default();
    let (seen, mut applicants) = tokio::sync::mpsc::unbounded_channel();
    config.hook = Some(Arc::new(move |applicant: &Applicant| {
        seen.send(applicant.clone()).unwrap();
        Ok(())
    }));
    let scene = Scene::mutual(config).await;
    scene.works("waf-1").await;
    let applicant = applicants.recv().await.unwrap();
    let Peer::Tls { addr: Some(_), names, certificate: Some(certificate) } = applicant.peer else {
        panic!("{applicant:?}")
    };
    assert_eq!(names, ["waf-1"]);
    assert!(!certificate.is_empty());

    let own = scene.clients.issue(&["waf-1"]);
    for wrong in ["waf-2", "WAF-1", "waf-1.", "x.waf-1", "waf-1/2"] {
        let (_agent, task) = run(wrong, scene.addr, &scene.tls(Some(own.clone())));
        // Told why, and that another try would not help.
        let error = timeout(5 * SECOND, task).await.unwrap().unwrap().unwrap_err();
        assert_eq!(error, AgentError::Refused(RegistrationRefusal::WrongCertificate.to_string()), "{wrong}");
    }
    assert_eq!(scene.listener.refusals().counts()["wrong_certificate"], 5);
    // Nobody but the first was put to the hook.
    assert!(applicants.try_recv().is_err());
    scene.nobody_comes().await;

    let wild = scene.clients.issue(&["*.waf.example"]);
    let (_agent, _task) = run("a.waf.example", scene.addr, &scene.tls(Some(wild)));
    assert!(timeout(5 * SECOND, scene.listener.accept()).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_certificate_stands_beside_the_policy_and_before_its_list() {
    let mut config = ListenerConfig::default();
    config.policy.allowed = vec!["listed".into(), "armed".into()];
    let scene = Scene::mutual(config.clone()).await;
    let refusal = async |id: &str, names: &[&str]| {
        let (_agent, task) = run(id, scene.addr, &scene.tls(Some(scene.clients.issue(names))));
        let error = timeout(5 * SECOND, task).await.unwrap().unwrap().unwrap_err();
        let AgentError::Refused(words) = error else { panic!("{error}") };
        words
    };
    // The list is not told to one whose certificate does not fit.
    let wrong = RegistrationRefusal::WrongCertificate.to_string();
    assert_eq!(refusal("listed", &["other"]).await, wrong);
    assert_eq!(refusal("unlisted", &["other"]).await, wrong);
    assert_eq!(refusal("other", &["other"]).await, RegistrationRefusal::NotAllowed.to_string());

    // A certificate does not stand for a token.
    config.policy.credentials = Some(vec![Credential { agents: "*".into(), token: "s3cret".into() }]);
    let scene = Scene::mutual(config).await;
    let (_agent, task) = run("listed", scene.addr, &scene.tls(Some(scene.clients.issue(&["listed"]))));
    let error = timeout(5 * SECOND, task).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error, AgentError::Refused(RegistrationRefusal::Unauthorized.to_string()));
}

#[tokio::test]
async fn an_agent_without_a_trusted_certificate_stays_outside() {
    let scene = Scene::mutual(ListenerConfig::default()).await;
    let stranger = Authority::new("clients");
    let expired = scene.clients.issue_with(&["waf-1"], |params| {
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    let for_servers = scene.clients.issue_with(&["waf-1"], |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    let bad = [None, Some(stranger.issue(&["waf-1"])), Some(expired), Some(for_servers)];
    for identity in bad {
        let (agent, task) = run("waf-1", scene.addr, &scene.tls(identity));
        scene.nobody_comes().await;
        // It may be given a better certificate, so it goes on trying.
        assert!(!task.is_finished());
        agent.shutdown();
        assert_eq!(timeout(5 * SECOND, task).await.unwrap().unwrap(), Ok(()));
    }
    scene.works("waf-1").await;
}

#[tokio::test]
async fn an_agent_speaks_to_no_other_proxy() {
    let scene = Scene::mutual(ListenerConfig::default()).await;
    let identity = scene.clients.issue(&["waf-1"]);
    // Another name, and another authority's certificate.
    let tls = scene.tls(Some(identity.clone()));
    let other_name = Agent::new(agent_config("waf-1"), Guard);
    let (by_name, _task) = other_name.run_tls(scene.addr, "other.example", &tls).unwrap().spawn();
    let tls = TlsAgentConfig { roots: scene.clients.roots(), identity: Some(identity) };
    let (by_root, _task) = run("waf-1", scene.addr, &tls);
    scene.nobody_comes().await;
    // Not so much as a registration was written.
    assert_eq!((by_name.state(), by_root.state()), (None, None));
}

#[tokio::test]
async fn plain_tcp_gets_nowhere_and_disturbs_nobody() {
    let scene = Scene::mutual(ListenerConfig::default()).await;
    let (plain, _task) = Agent::new(agent_config("waf-1"), Guard).run_tcp(scene.addr).spawn();
    let mut garbage = TcpStream::connect(scene.addr).await.unwrap();
    garbage.write_all(&[0xff; 4_096]).await.unwrap();
    let mut rest = Vec::new();
    // An alert at most, and the end.
    let _ = timeout(5 * SECOND, garbage.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.len() < 64);
    scene.nobody_comes().await;
    plain.shutdown();
    scene.works("waf-1").await;
}

#[tokio::test]
async fn a_tls_agent_gives_up_on_a_plain_proxy_for_the_time_being() {
    let plain = Listener::bind_tcp("127.0.0.1:0".parse().unwrap(), ListenerConfig::default()).await.unwrap();
    let authority = Authority::new("any");
    let tls = TlsAgentConfig { roots: authority.roots(), identity: None };
    let (agent, task) = run("waf-1", plain.local_addr().unwrap(), &tls);
    assert!(timeout(SECOND / 4, plain.accept()).await.is_err());
    assert!(!task.is_finished());
    agent.shutdown();
    assert_eq!(timeout(5 * SECOND, task).await.unwrap().unwrap(), Ok(()));
}

#[tokio::test]
async fn a_tls_handshake_counts_and_has_a_deadline() {
    let mut config = ListenerConfig { max_opening: 2, ..ListenerConfig::default() };
    config.proxy.limits.handshake_timeout = SECOND;
    let scene = Scene::mutual(config).await;
    let start = Instant::now();
    // One that says nothing, and one that begins a record and stops.
    let mut silent = TcpStream::connect(scene.addr).await.unwrap();
    let mut slow = TcpStream::connect(scene.addr).await.unwrap();
    slow.write_all(&[0x16, 0x03, 0x01, 0x02]).await.unwrap();
    sleep(SECOND / 10).await;
    // A third finds no room, and is closed at once.
    let mut third = TcpStream::connect(scene.addr).await.unwrap();
    assert_eq!(timeout(SECOND / 2, third.read(&mut [0; 16])).await.unwrap().unwrap(), 0);
    assert!(start.elapsed() < SECOND);
    assert_eq!(scene.listener.refusals().counts()["busy"], 1);
    // Both are closed in time, drip or no drip.
    for byte in [0x00, 0x01, 0x00] {
        sleep(SECOND / 10).await;
        slow.write_all(&[byte]).await.unwrap();
    }
    for io in [&mut silent, &mut slow] {
        let mut rest = [0; 64];
        while timeout(2 * SECOND, io.read(&mut rest)).await.unwrap().unwrap_or(0) > 0 {}
    }
    assert!((SECOND..2 * SECOND).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_eq!(scene.listener.refusals().counts()["tls_handshake"], 2);
    scene.works("waf-1").await;
}

#[tokio::test]
async fn the_deadline_runs_through_tls_and_registration() {
    let mut config = ListenerConfig::default();
    config.proxy.limits.handshake_timeout = SECOND;
    let scene = Scene::new(config, false).await;
    // By hand: wait in TCP, do the TLS handshake late, and say nothing in it.
    let io = TcpStream::connect(scene.addr).await.unwrap();
    let start = Instant::now();
    sleep(SECOND * 6 / 10).await;
    let mut io = scene.servers.connect(io).await;
    let mut said = Vec::new();
    timeout(2 * SECOND, io.read_to_end(&mut said)).await.unwrap().unwrap();
    let elapsed = start.elapsed();
    assert!((SECOND * 9 / 10..SECOND * 3 / 2).contains(&elapsed), "{elapsed:?}");
    assert!(String::from_utf8_lossy(&said).contains("retry_after_ms"));
}

#[tokio::test]
async fn the_accept_rate_holds_before_the_handshake() {
    let config =
        ListenerConfig { accept_rate: Some(Rate { per_second: 1, burst: 1 }), ..ListenerConfig::default() };
    let scene = Scene::mutual(config).await;
    let _first = TcpStream::connect(scene.addr).await.unwrap();
    sleep(SECOND / 10).await;
    let mut second = TcpStream::connect(scene.addr).await.unwrap();
    assert_eq!(timeout(SECOND / 2, second.read(&mut [0; 16])).await.unwrap().unwrap(), 0);
    // An agent comes back until there is room.
    scene.works("waf-1").await;
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_handshakes() {
    let scene = Scene::mutual(ListenerConfig::default()).await;
    let mut silent = TcpStream::connect(scene.addr).await.unwrap();
    sleep(SECOND / 10).await;
    let start = Instant::now();
    timeout(5 * SECOND, scene.listener.shutdown(3 * SECOND)).await.unwrap();
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
    assert_eq!(timeout(SECOND, silent.read(&mut [0; 16])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn an_agent_comes_back_over_tls() {
    let scene = Scene::mutual(ListenerConfig::default()).await;
    let (_agent, _task) = run("waf-1", scene.addr, &scene.tls(Some(scene.clients.issue(&["waf-1"]))));
    for _ in 0..3 {
        let handle = timeout(5 * SECOND, scene.listener.accept()).await.unwrap().unwrap();
        assert!(handle.ask(RequestHeaders::new("r", "GET", "/")).await.unwrap().is_allow());
        handle.close();
    }
}

#[tokio::test]
async fn streams_of_ones_own_are_held_to_their_certificate_too() {
    let acceptor = Acceptor::new(ListenerConfig::default()).unwrap();
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let (_agent, task) = Agent::new(agent_config("waf-1"), Guard).serve_stream(theirs).spawn();
    let peer = Peer::Tls { addr: None, names: vec!["waf-1".into()], certificate: Some(vec![0x30, 0x00]) };
    let error = acceptor.accept_from(ours, peer).await.unwrap_err();
    assert_eq!(error, AcceptError::Refused(RegistrationRefusal::WrongCertificate));
    assert!(matches!(task.await.unwrap(), Err(AgentError::Refused(_))));
}

#[tokio::test]
async fn settings_that_make_no_sense_do_not_bind() {
    let authority = Authority::new("any");
    let (one, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let certificate =
        CertificateParams::new(vec!["a".into()]).unwrap().signed_by(&one, &authority.issuer).unwrap();
    let identity =
        TlsIdentity::from_pem(certificate.pem().as_bytes(), other.serialize_pem().as_bytes()).unwrap();
    let tls = TlsListenerConfig { identity, client_roots: None };
    let error = Listener::bind_tls("127.0.0.1:0".parse().unwrap(), &tls, ListenerConfig::default())
        .await
        .unwrap_err();
    assert!(matches!(&error, BindError::Config(_)) && error.to_string().contains("TLS"), "{error}");
}

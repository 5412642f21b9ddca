//! Nothing that is logged, at any level, holds a token: of agents that are let in and of those that are not.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dialback::machine::admission::Credential;
use dialback::net::{Acceptor, Agent, AgentConfig, AgentError, Handler, ListenerConfig};
use dialback::session::AgentSettings;
use dialback::wire::{Capabilities, EventKind, Registration, RequestHeaders};
use tokio::io::{AsyncWriteExt, duplex};
use tokio::time::timeout;
use tracing_subscriber::filter::LevelFilter;

const LIMIT: Duration = Duration::from_secs(10);

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

#[derive(Debug)]
struct Allow;
impl Handler for Allow {}

fn agent(id: &str, token: &str) -> AgentConfig {
    let mut registration = Registration::new(Capabilities::new(id, EventKind::ALL));
    registration.auth_token = Some(token.into());
    let mut config = AgentConfig::new(AgentSettings::new(registration));
    config.retry_refusals = None;
    config
}

#[tokio::test]
async fn no_log_line_holds_a_token() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();

    let mut config = ListenerConfig::default();
    config.policy.credentials =
        Some(vec![Credential { agents: "waf-*".into(), token: "s3cret-right".into() }]);
    let acceptor = Acceptor::new(config).unwrap();

    // One that is let in, asked, and drained.
    let (ours, theirs) = duplex(64 << 10);
    let (controller, task) = Agent::new(agent("waf-1", "s3cret-right"), Allow).serve_stream(theirs).spawn();
    let handle = timeout(LIMIT, acceptor.accept(ours)).await.unwrap().unwrap();
    assert!(handle.request_headers(RequestHeaders::new("r", "GET", "/")).await.unwrap().is_allow());
    controller.shutdown();
    assert_eq!(timeout(LIMIT, task).await.unwrap().unwrap(), Ok(()));

    // Others that are not: another token, another's token, none that can be read.
    for (id, token) in [("waf-2", "s3cret-wrong"), ("auth", "s3cret-right")] {
        let (ours, theirs) = duplex(64 << 10);
        let (_controller, task) = Agent::new(agent(id, token), Allow).serve_stream(theirs).spawn();
        assert!(timeout(LIMIT, acceptor.accept(ours)).await.unwrap().is_err());
        let ended = timeout(LIMIT, task).await.unwrap().unwrap();
        assert!(matches!(ended, Err(AgentError::Refused(_))), "{ended:?}");
    }
    let (ours, mut theirs) = duplex(64 << 10);
    let payload = br#"{"agent_id":"waf-3","protocol_version":2,"auth_token":["s3cret-list"]}"#;
    theirs.write_u32(payload.len() as u32 + 1).await.unwrap();
    theirs.write_u8(1).await.unwrap();
    theirs.write_all(payload).await.unwrap();
    assert!(timeout(LIMIT, acceptor.accept(ours)).await.unwrap().is_err());

    let text = log.text();
    for said in ["agent registered", "registration refused", "connected to the proxy", "connection closed"] {
        assert!(text.contains(said), "not a word of {said:?}:\n{text}");
    }
    let told: Vec<&str> = text.lines().filter(|line| line.contains("s3cret")).collect();
    assert!(told.is_empty(), "{told:#?}");
}

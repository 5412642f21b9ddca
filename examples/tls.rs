//! A proxy and two agents over mutual TLS, with certificates made on the spot.
//!
//! The proxy demands a certificate and holds each agent to it: `waf-1` has one in its own name and
//! is admitted; `waf-2` shows the one of `waf-1` and is refused with a reason.
//!
//! Run with `cargo run --features tls --example tls`. Ends with an error if anything goes
//! otherwise.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use dialback::net::tls::{Roots, TlsAgentConfig, TlsIdentity, TlsListenerConfig};
use dialback::net::{
    Agent, AgentConfig, AgentError, AgentRunner, Context, Handler, Listener, ListenerConfig,
};
use dialback::session::AgentSettings;
use dialback::wire::{Answer, Capabilities, EventKind, Registration, RequestHeaders};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// An authority that signs certificates. In earnest it lives elsewhere, and its key with it.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Outcome<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { pem, issuer: Issuer::new(params, key) })
    }

    fn issue(&self, name: &str) -> Outcome<TlsIdentity> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![name.into()])?.signed_by(&key, &self.issuer)?;
        Ok(TlsIdentity::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes())?)
    }

    fn roots(&self) -> Outcome<Roots> {
        Ok(Roots::from_pem(self.pem.as_bytes())?)
    }
}

struct NoAdmin;

impl Handler for NoAdmin {
    async fn on_request_headers(&self, event: RequestHeaders, _: Context) -> Answer {
        if event.uri.starts_with("/admin") { Answer::block(403) } else { Answer::allow() }
    }
}

fn agent(id: &str, addr: SocketAddr, tls: &TlsAgentConfig) -> Outcome<AgentRunner> {
    let capabilities = Capabilities::new(id, [EventKind::RequestHeaders]);
    let mut config = AgentConfig::new(AgentSettings::new(Registration::new(capabilities)));
    // Here a refusal is what we wait for; an agent in production goes on trying.
    config.retry_refusals = None;
    Ok(Agent::new(config, NoAdmin).run_tls(addr, "proxy.example", tls)?)
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let (proxies, agents) = (Authority::new()?, Authority::new()?);

    let tls =
        TlsListenerConfig { identity: proxies.issue("proxy.example")?, client_roots: Some(agents.roots()?) };
    let listener = Listener::bind_tls("127.0.0.1:0".parse()?, &tls, ListenerConfig::default()).await?;
    let addr = listener.local_addr().ok_or("no address")?;
    println!("proxy: listening for TLS on {addr}");

    let tls = TlsAgentConfig { roots: proxies.roots()?, identity: Some(agents.issue("waf-1")?) };
    let (waf, task) = agent("waf-1", addr, &tls)?.spawn();
    let handle = tokio::time::timeout(Duration::from_secs(10), listener.accept()).await??;
    println!("proxy: {} is here, by {:?}", handle.agent_id(), handle.connection_id());
    for (uri, expected) in [("/index.html", true), ("/admin", false)] {
        let answer = handle.request_headers(RequestHeaders::new("request-1", "GET", uri)).await?;
        println!("proxy: {uri}: {}", if answer.is_allow() { "goes on" } else { "is blocked" });
        if answer.is_allow() != expected {
            return Err("the wrong verdict".into());
        }
    }

    // The same certificate under another id.
    match agent("waf-2", addr, &tls)?.await {
        Err(AgentError::Refused(words)) if words.contains("certificate") => {
            println!("waf-2: refused: {words}");
        }
        other => return Err(format!("waf-2 was not refused for its certificate: {other:?}").into()),
    }

    waf.shutdown();
    task.await??;
    println!("waf-1: has gone, in peace: {}", handle.closed().await);
    listener.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

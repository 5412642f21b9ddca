//! Our bridge between two sides, in a runtime of its own so that it can be killed like a process, and our
//! proxy to which it registers over TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use dialback::net::tls::{Roots, TlsAgentConfig, TlsIdentity, TlsListenerConfig};
use dialback::net::{
    AgentHandle, Backoff, Bridge, BridgeConfig, BridgeController, BridgeState, Listener, ListenerConfig,
    Target,
};
use dialback::session::ProxySettings;
use dialback::wire::Encoding;

use tokio::time::sleep;

use crate::{Process, soon, until};

/// A bridge that dials again at once.
pub fn config() -> BridgeConfig {
    BridgeConfig {
        reconnect: Backoff {
            min: Duration::from_millis(10),
            max: Duration::from_millis(50),
            ..Backoff::default()
        },
        ..BridgeConfig::default()
    }
}

/// A bridge, running.
#[derive(Debug)]
pub struct OurBridge {
    pub controller: BridgeController,
    pub process: Process,
}

impl OurBridge {
    pub fn start(config: BridgeConfig, agent: &Path, proxy: Target) -> Self {
        let runner = Bridge::new(config, Target::unix(agent), proxy).run();
        Self { controller: runner.controller(), process: Process::start(runner) }
    }

    /// Waits until everything is carried through.
    pub async fn open(&self) {
        until("the bridge opens", || self.controller.state() == BridgeState::Open).await;
    }
}

/// A certificate for `localhost`, which is its own authority.
#[derive(Debug)]
pub struct Certificate {
    identity: TlsIdentity,
    roots: Roots,
}

impl Certificate {
    pub fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
        let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        Self {
            identity: TlsIdentity::from_pem(cert.as_bytes(), key.as_bytes()).unwrap(),
            roots: Roots::from_pem(cert.as_bytes()).unwrap(),
        }
    }

    /// Our proxy, listening for TLS at `addr`, once whoever listened there before has let go of it.
    pub async fn listen(&self, addr: SocketAddr, encoding: Encoding) -> Listener {
        let proxy = ProxySettings { encodings: vec![encoding], ..ProxySettings::default() };
        let config = ListenerConfig { proxy, ..ListenerConfig::default() };
        let tls = TlsListenerConfig { identity: self.identity.clone(), client_roots: None };
        let bound = async {
            loop {
                match Listener::bind_tls(addr, &tls, config.clone()).await {
                    Ok(listener) => break listener,
                    Err(_) => sleep(Duration::from_millis(5)).await,
                }
            }
        };
        soon("the address is free", bound).await
    }

    /// How an agent reaches it.
    pub fn target(&self, addr: SocketAddr) -> Target {
        let tls = TlsAgentConfig { roots: self.roots.clone(), identity: None };
        Target::tls(addr, "localhost", &tls).unwrap()
    }
}

impl Default for Certificate {
    fn default() -> Self {
        Self::new()
    }
}

/// The next agent that registers.
pub async fn accept(listener: &Listener) -> AgentHandle {
    soon("an agent registers", listener.accept()).await.unwrap()
}

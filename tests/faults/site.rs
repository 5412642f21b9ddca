//! A listener on a socket of its own, and agents that register there.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use dialback::net::{AgentHandle, Listener, ListenerConfig, PendingAnswer};
use dialback::wire::{RequestBodyChunk, RequestHeaders};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::raw::{Raw, SOON, registration};

/// How long a question may take, unless the test says otherwise: far longer than [`SOON`].
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A listener in a folder of its own.
pub struct Site {
    pub folder: TempDir,
    pub listener: Listener,
}

/// The defaults with a long time for everything, so that nothing ends because its time was over,
/// and without pings of the proxy's, so that nothing is on the wire but what the test brings about.
pub fn config() -> ListenerConfig {
    let mut config = ListenerConfig { request_timeout: PATIENCE, ..ListenerConfig::default() };
    config.proxy.limits.handshake_timeout = PATIENCE;
    config.proxy.limits.keepalive.interval = None;
    config
}

impl Site {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut ListenerConfig)) -> Self {
        let mut config = config();
        change(&mut config);
        let folder = tempfile::tempdir().unwrap();
        let listener = Listener::bind_unix(folder.path().join("socket"), config).await.unwrap();
        Self { folder, listener }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    pub async fn dial(&self) -> Raw {
        Raw::dial(&self.path()).await
    }

    /// The next agent that has registered.
    pub async fn accept(&self) -> AgentHandle {
        soon(self.listener.accept()).await.unwrap()
    }

    /// A raw agent and the proxy's handle to it.
    pub async fn agent(&self, id: &str) -> (Raw, AgentHandle) {
        self.agent_as(&registration(id)).await
    }

    pub async fn agent_as(&self, registration: &Value) -> (Raw, AgentHandle) {
        let mut raw = self.dial().await;
        let response = raw.register(registration).await;
        assert_eq!(response["success"], true, "{response}");
        let handle = self.accept().await;
        assert_eq!(handle.connection_id(), response["connection_id"]);
        (raw, handle)
    }
}

/// What must come at once.
pub async fn soon<F: Future>(future: F) -> F::Output {
    timeout(SOON, future).await.expect("not within 5 s")
}

/// Waits for a condition that must hold at once.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(timeout(SOON, wait).await.is_ok(), "never came: {what}");
}

/// Runs something that must return at once, where its hanging hangs nothing else.
pub async fn returns<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        let _entered = runtime.enter();
        drop(sender.send(work()));
    });
    soon(receiver).await.unwrap()
}

pub fn headers(id: &str) -> RequestHeaders {
    RequestHeaders::new(id, "GET", "/")
}

pub fn chunk(id: &str, bytes: &str) -> RequestBodyChunk {
    RequestBodyChunk::new(id, bytes)
}

/// Asks about a request's headers, with all the time in the world.
pub fn ask(handle: &AgentHandle, id: &str) -> PendingAnswer {
    handle.request_headers(headers(id)).send().unwrap()
}

//! The app, the layer, the pool, the agents and a client.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use dialback::net::{
    Agent, AgentConfig, AgentController, AgentError, AgentHandle, Listener, ListenerConfig, PendingAnswer,
    Pool, PoolConfig,
};
use dialback::session::AgentSettings;
use dialback::tower::{AskConfig, AskLayer, Summary};
use dialback::wire::{Capabilities, EventKind, Registration, RequestHeaders};
use http_body_util::BodyExt;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::app::{Seen, app};
use crate::script::{Log, Script};

/// Generous: what takes longer hangs.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The kinds of event that an HTTP exchange has.
pub const HTTP: [EventKind; 5] = [
    EventKind::RequestHeaders,
    EventKind::RequestBodyChunk,
    EventKind::ResponseHeaders,
    EventKind::ResponseBodyChunk,
    EventKind::RequestComplete,
];

pub struct Stand {
    pub pool: Pool,
    pub addr: SocketAddr,
    pub seen: Seen,
    pub ends: Arc<Mutex<Vec<Summary>>>,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

pub struct Running {
    pub control: AgentController,
    pub task: JoinHandle<Result<(), AgentError>>,
    pub log: Log,
}

/// An agent that takes these kinds of event.
pub fn agent_config(kinds: &[EventKind]) -> AgentConfig {
    let mut capabilities = Capabilities::new("guard", kinds.iter().copied());
    capabilities.features.cancellation = true;
    capabilities.features.flow_control = true;
    AgentConfig::new(AgentSettings::new(Registration::new(capabilities)))
}

impl Stand {
    /// Without an agent yet.
    pub async fn new(config: AskConfig) -> Self {
        Self::with(config, ListenerConfig::default()).await
    }

    pub async fn with(config: AskConfig, listening: ListenerConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agents.sock");
        let listener = Listener::bind_unix(&path, listening).await.unwrap();
        let pool = Pool::new(PoolConfig::default());
        let serving = pool.clone();
        tokio::spawn(async move { serving.serve(&listener).await });

        let (seen, ends) = (Seen::default(), Arc::<Mutex<Vec<Summary>>>::default());
        let told = Arc::clone(&ends);
        let config = config.on_end(move |summary| told.lock().unwrap().push(summary.clone()));
        let layer = AskLayer::pool(pool.clone(), "guard").with_config(config);
        let state = seen.clone();
        let router = axum::Router::new().fallback(move |request| app(state, request)).layer(layer);
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(socket, router).await });
        Self { pool, addr, seen, ends, path, _folder: folder }
    }

    /// With an agent for those kinds of event.
    pub async fn asking(config: AskConfig, kinds: &[EventKind], script: Script) -> (Self, Running) {
        let stand = Self::new(config).await;
        let agent = stand.dial(agent_config(kinds), script).await;
        (stand, agent)
    }

    /// One more agent, or one more connection of it; registered when this returns.
    pub async fn dial(&self, config: AgentConfig, script: Script) -> Running {
        let (before, log) = (self.pool.connections(), script.log.clone());
        let (control, task) = Agent::new(config, script).run_unix(&self.path).spawn();
        until("an agent registers", || self.pool.connections() > before).await;
        Running { control, task, log }
    }

    /// With an agent that pauses its connection while it has one event, and has one. It resumes when
    /// that is dropped.
    pub async fn paused(config: AskConfig) -> (Self, Running, PendingAnswer) {
        let stand = Self::new(config).await;
        let mut config = agent_config(&HTTP);
        config.agent.limits.inbox.high_mark = 1;
        config.agent.limits.inbox.low_mark = 0;
        let agent = stand.dial(config, Script::never_on_path("/never")).await;
        let handle = stand.handle();
        let held = handle.request_headers(RequestHeaders::new("held", "GET", "/never")).send().unwrap();
        until("it is paused", || handle.is_paused()).await;
        (stand, agent, held)
    }

    /// The only connection's.
    pub fn handle(&self) -> AgentHandle {
        self.pool.begin("guard", "look", &[]).unwrap().handle().clone()
    }

    pub fn request(&self, method: &str, path: &str) -> hyper::http::request::Builder {
        let uri = path.to_string();
        Request::builder().method(method).uri(uri).header("host", self.addr.to_string())
    }

    /// Sends a request on a connection of its own; the response, once it is whole.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Bytes>, hyper::Error> {
        let (parts, body) = self.begin(request).await?.into_parts();
        let collected = timeout(LIMIT, body.collect()).await.expect("the body comes in time")?;
        Ok(Response::from_parts(parts, collected.to_bytes()))
    }

    /// Sends a request; the response as soon as its head is there.
    pub async fn begin(
        &self,
        request: Request<Body>,
    ) -> Result<Response<hyper::body::Incoming>, hyper::Error> {
        let io = TokioIo::new(TcpStream::connect(self.addr).await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        tokio::spawn(connection);
        timeout(LIMIT, sender.send_request(request)).await.expect("the head comes in time")
    }

    pub async fn get(&self, path: &str) -> Response<Bytes> {
        self.send(self.request("GET", path).body(Body::empty()).unwrap()).await.unwrap()
    }

    pub async fn post(&self, path: &str, body: impl Into<Body>) -> Response<Bytes> {
        self.send(self.request("POST", path).body(body.into()).unwrap()).await.unwrap()
    }

    /// Writes bytes on a connection of its own.
    pub async fn raw(&self, bytes: impl AsRef<[u8]>) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(bytes.as_ref()).await.unwrap();
        stream
    }

    /// What became of the only request, once it is over.
    pub async fn end(&self) -> Summary {
        until("a request is over", || !self.ends.lock().unwrap().is_empty()).await;
        let ends = self.ends.lock().unwrap();
        assert_eq!(ends.len(), 1);
        ends[0].clone()
    }
}

/// Reads until the other end closes.
pub async fn read_all(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    timeout(LIMIT, stream.read_to_end(&mut bytes)).await.expect("it is closed in time").unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(timeout(LIMIT, wait).await.is_ok(), "never came: {what}");
}

/// A body without a stated length, in pieces of that size.
pub fn chunked(bytes: Vec<u8>, piece: usize) -> Body {
    let pieces: Vec<_> =
        bytes.chunks(piece).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece))).collect();
    Body::from_stream(futures_util::stream::iter(pieces))
}

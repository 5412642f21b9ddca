//! The adapter over Unix sockets, in one thread. Each agent is a task without a library.

use std::path::Path;
use std::time::Duration;

use dialback::net::{AgentHandle, Listener, ListenerConfig, PendingAnswer, Pool, PoolConfig};
use dialback::wire::{EventKind, FrameType, MAX_FRAME, encode_frame};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

use crate::common::answers;
use crate::common::event::{headers, id};
use crate::cost::{Measured, repeat, repeat_among};
use crate::machines::limits;

/// Requests whose id begins so are never answered.
const NEVER: &str = "never-";

/// A listener and so many agents.
struct Scene {
    runtime: Runtime,
    handles: Vec<AgentHandle>,
    listener: Listener,
    _dir: tempfile::TempDir,
}

impl Scene {
    /// `name` says what each connection's agent calls itself.
    fn open(connections: usize, name: impl Fn(usize) -> String) -> Result<Self, String> {
        let limit = getrlimit(Resource::Nofile);
        // Where it is not allowed, what is there has to do.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        let runtime = Builder::new_current_thread().enable_all().build().map_err(text)?;
        let dir = tempfile::tempdir().map_err(text)?;
        let socket = dir.path().join("s");
        let (listener, handles) = runtime.block_on(async {
            let mut config =
                ListenerConfig { request_timeout: Duration::from_secs(600), ..ListenerConfig::default() };
            config.policy.max_connections_per_agent = connections;
            config.proxy.limits = limits(1 << 20);
            // A slow machine under a tool is not a silent agent.
            config.proxy.limits.keepalive.interval = None;
            let listener = Listener::bind_unix(&socket, config).await.map_err(text)?;
            let mut handles = Vec::new();
            for number in 0..connections {
                tokio::spawn(agent(dial(&socket).await?, name(number)));
                handles.push(listener.accept().await.map_err(text)?);
            }
            Ok::<_, String>((listener, handles))
        })?;
        Ok(Self { runtime, handles, listener, _dir: dir })
    }

    fn close(self) {
        drop(self.handles);
        self.runtime.block_on(self.listener.shutdown(Duration::ZERO));
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

async fn dial(socket: &Path) -> Result<UnixStream, String> {
    UnixStream::connect(socket).await.map_err(text)
}

/// Registers, and allows what it is asked about.
async fn agent(mut stream: UnixStream, name: String) {
    let registration = format!(
        r#"{{"protocol_version":2,"agent_id":"{name}","capabilities":{{"supported_events":[1],"features":{{"cancellation":true}}}}}}"#
    );
    let mut output = Vec::new();
    encode_frame(FrameType::HandshakeRequest, registration.as_bytes(), MAX_FRAME, &mut output)
        .expect("it fits a frame");
    let mut input = Vec::new();
    loop {
        if stream.write_all(&output).await.is_err() {
            return;
        }
        output.clear();
        if !matches!(stream.read_buf(&mut input).await, Ok(1..)) {
            return;
        }
        let mut rest = input.as_slice();
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let Some((frame, next)) = behind.split_at_checked(u32::from_be_bytes(*length) as usize) else {
                break;
            };
            if frame.first() == Some(&FrameType::RequestHeaders.to_byte()) {
                answer(frame, &mut output);
            }
            rest = next;
        }
        let taken = input.len() - rest.len();
        input.drain(..taken);
    }
}

fn answer(frame: &[u8], output: &mut Vec<u8>) {
    const KEY: &str = r#""correlation_id":""#;
    let text = std::str::from_utf8(frame.get(1..).unwrap_or_default()).expect("an event is text");
    let id = text.split_once(KEY).and_then(|(_, rest)| rest.split_once('"')).map(|(id, _)| id);
    let id = id.expect("an event has an id");
    if !id.starts_with(NEVER) {
        output.extend_from_slice(&answers::frame(id));
    }
}

/// So many in flight on one connection.
pub fn in_flight(count: usize) -> Result<Measured, String> {
    let scene = Scene::open(1, |_| "bench".into())?;
    let handle = &scene.handles[0];
    let pending = scene.runtime.block_on(async {
        let mut pending: Vec<PendingAnswer> = Vec::new();
        for number in 0..count {
            let event = headers(&format!("{NEVER}{number}"));
            pending.push(handle.request_headers(event).send().map_err(text)?);
            tokio::task::yield_now().await;
        }
        // Until all are written and read.
        handle.request_headers(headers("last")).await.map_err(text)?;
        Ok::<_, String>(pending)
    })?;
    let measured = repeat(&mut |step| {
        let answer = scene.runtime.block_on(handle.request_headers(headers(&id(step))).into_future());
        assert!(answer.expect("it is answered").is_allow());
    });
    assert_eq!(handle.in_flight(), count);
    handle.close();
    drop(pending);
    scene.close();
    Ok(measured)
}

/// So many connections.
pub fn connections(count: usize) -> Result<Measured, String> {
    let scene = Scene::open(count, |number| format!("agent-{number:04}"))?;
    let measured = repeat_among(count, &mut |step| {
        let handle = &scene.handles[step % count];
        let answer = scene.runtime.block_on(handle.request_headers(headers(&id(step))).into_future());
        assert!(answer.expect("it is answered").is_allow());
    });
    scene.close();
    Ok(measured)
}

/// A pool of so many agents with a connection each.
pub fn pool_of_agents(count: usize) -> Result<Measured, String> {
    let names: Vec<String> = (0..count).map(|number| format!("agent-{number:04}")).collect();
    pooled(Scene::open(count, |number| names[number].clone())?, &|step| &names[step % count])
}

/// A pool of one agent with so many connections.
pub fn pool_of_connections(count: usize) -> Result<Measured, String> {
    pooled(Scene::open(count, |_| "bench".into())?, &|_| "bench")
}

fn pooled<'a>(mut scene: Scene, name: &dyn Fn(usize) -> &'a str) -> Result<Measured, String> {
    let pool = Pool::new(PoolConfig::default());
    let connections = scene.handles.len();
    scene.runtime.block_on(async {
        std::mem::take(&mut scene.handles).into_iter().for_each(|handle| pool.add(handle));
        tokio::task::yield_now().await;
    });
    let measured = repeat_among(connections, &mut |step| {
        let answer = scene.runtime.block_on(async {
            let request =
                pool.begin(name(step), id(step), &[EventKind::RequestHeaders]).expect("an agent is there");
            request.ask(headers(&id(step))).await
        });
        assert!(answer.expect("it is answered").is_allow());
    });
    drop(pool);
    scene.close();
    Ok(measured)
}

//! The table thrown at a real listener, while an innocent agent answers on another connection.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dialback::machine::{CloseReason, KeepaliveLimits};
use dialback::net::{Agent, AgentConfig, AgentHandle, AskError, Context, Handler, Listener, ListenerConfig};
use dialback::session::AgentSettings;
use dialback::wire::{Answer, Capabilities, EventKind, Registration, RequestBodyChunk, RequestHeaders};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::row::*;
use super::subject::Written;
use super::table;

/// Everything that a peer waits for must come within this time.
const BOUND: Duration = Duration::from_secs(10);

/// The silence that brings a ping; every other time is in the defaults' proportion to it.
const INTERVAL: Duration = Duration::from_millis(750);

/// Rows at once.
const AT_ONCE: usize = 48;

/// What became of a row's connection, as the proxy's application saw it.
struct Seen {
    answers: Vec<Result<Answer, AskError>>,
    reason: CloseReason,
}

type Records = Arc<Mutex<BTreeMap<String, Seen>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_innocent_connection_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let records = Records::default();
    let (innocent_handle, mut innocents) = mpsc::unbounded_channel();
    for rules in Rules::ALL {
        let path = folder.path().join(format!("{rules:?}"));
        let listener = Listener::bind_unix(path, config(rules)).await.unwrap();
        let (records, innocent_handle) = (Arc::clone(&records), innocent_handle.clone());
        tokio::spawn(async move {
            while let Ok(handle) = listener.accept().await {
                if handle.agent_id() == "innocent" {
                    innocent_handle.send(handle).unwrap();
                } else {
                    tokio::spawn(attend(handle, Arc::clone(&records)));
                }
            }
        });
    }
    let capabilities = Capabilities::new("innocent", [EventKind::RequestHeaders]);
    let agent = AgentConfig::new(AgentSettings::new(Registration::new(capabilities)));
    let _agent = Agent::new(agent, Innocent).run_unix(folder.path().join("Open")).spawn();
    let innocent = timeout(BOUND, innocents.recv()).await.unwrap().unwrap();

    let over = Arc::new(AtomicBool::new(false));
    let steady = tokio::spawn(ask_steadily(innocent, Arc::clone(&over)));
    let wrong = throw_everything(folder.path(), &records).await;
    over.store(true, Ordering::Relaxed);
    let asked = timeout(BOUND, steady).await.unwrap().unwrap();
    assert!(wrong.is_empty(), "{wrong}");
    assert!(asked > 100, "only {asked} innocent requests while the rows were thrown");
    assert!(innocents.is_empty(), "the innocent agent had to dial again");
}

fn config(rules: Rules) -> ListenerConfig {
    let mut config =
        ListenerConfig { policy: rules.policy(), accept_queue: 512, ..ListenerConfig::default() };
    let limits = &mut config.proxy.limits;
    limits.handshake_timeout = Duration::from_secs(1);
    limits.keepalive = KeepaliveLimits {
        interval: Some(INTERVAL),
        timeout: INTERVAL,
        frame_timeout: INTERVAL * 4,
        ..KeepaliveLimits::default()
    };
    config
}

struct Innocent;

impl Handler for Innocent {
    async fn on_request_headers(&self, event: RequestHeaders, _: Context) -> Answer {
        Answer::allow().with_tag(event.uri)
    }
}

async fn ask_steadily(innocent: AgentHandle, over: Arc<AtomicBool>) -> usize {
    let mut asked = 0;
    while !over.load(Ordering::Relaxed) {
        let uri = format!("/{asked}");
        let request = RequestHeaders::new(format!("innocent-{asked}"), "GET", &uri);
        let answer = innocent.request_headers(request).timeout(BOUND).await.unwrap();
        assert_eq!(answer.audit.tags, [uri], "another request's answer");
        asked += 1;
        sleep(Duration::from_millis(1)).await;
    }
    asked
}

/// The application's part on a row's connection: the same events as in the sessions' runs.
async fn attend(handle: AgentHandle, records: Records) {
    let mut answers = Vec::new();
    if handle.agent_id().starts_with("row-") {
        let asks = [
            handle.request_headers(RequestHeaders::new("one", "GET", "/")),
            handle.request_headers(RequestHeaders::new("two", "POST", "/")),
            handle.request_body_chunk(RequestBodyChunk::new("two", "abc")),
            handle.request_headers(RequestHeaders::new("held", "GET", "/")),
        ];
        let asks: Vec<_> = asks.into_iter().map(|ask| ask.timeout(BOUND * 10).send()).collect();
        for ask in asks {
            answers.push(match ask {
                Ok(pending) => pending.await,
                Err(error) => Err(error),
            });
        }
    }
    let reason = handle.closed().await;
    records.lock().unwrap().insert(handle.agent_id().into(), Seen { answers, reason });
}

/// Throws every row at its listener; returns what went wrong.
async fn throw_everything(folder: &Path, records: &Records) -> String {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut thrown = JoinSet::new();
    for (number, row) in table().into_iter().enumerate() {
        let path = folder.join(format!("{:?}", row.rules));
        let (places, records) = (Arc::clone(&places), Arc::clone(records));
        thrown.spawn(async move {
            let _place = places.acquire_owned().await.unwrap();
            let outcome = timeout(BOUND * 2, throw(&row, number, &path, &records)).await;
            let outcome = outcome.unwrap_or_else(|_| Err("it takes too long".into()));
            outcome.err().map(|words| format!("\n{:?}, {}: {words}", row.to, row.name))
        });
    }
    thrown.join_all().await.into_iter().flatten().collect()
}

async fn throw(row: &Row, number: usize, path: &Path, records: &Records) -> Result<(), String> {
    let mut raw = Raw { stream: UnixStream::connect(path).await.unwrap(), buffer: Vec::new() };
    let registered = matches!(row.to, Receiver::ProxyOpen | Receiver::ProxyExact);
    let id = format!("row-{number}");
    if registered {
        raw.register(&id, row.to).await?;
    }
    for act in &row.acts {
        match act {
            // The listener may have closed already; what it said is read below.
            Act::Send(bytes) => drop(raw.stream.write_all(bytes).await),
            Act::End => drop(raw.stream.shutdown().await),
            Act::Silence => {}
            Act::Breath => sleep(INTERVAL * 4 / 15).await,
        }
    }
    if !matches!(row.to, Receiver::ProxyUnregistered | Receiver::ProxyOpen | Receiver::ProxyExact) {
        // What is meant for another receiver is no registration either, but for two rows.
        let registers = matches!(&row.acts[..], [Act::Send(bytes)] if *bytes == frame(1, registration()));
        return if registers { raw.is_served().await } else { raw.is_turned_away(None).await };
    }
    match row.gets {
        Outcome::Refused(words) => return raw.is_turned_away(Some(words)).await,
        Outcome::Closed(_) => raw.is_closed().await?,
        Outcome::Dropped(_) | Outcome::BadAnswer(_) | Outcome::BadEvent(_) | Outcome::Taken(_) => {
            if row.deaf {
                // One ping more in the same breath would be one too many.
                sleep(INTERVAL / 4).await;
            }
            raw.is_served().await?;
        }
    }
    drop(raw);
    if registered { check_record(row, &id, records).await } else { Ok(()) }
}

/// What the application saw: every question ended, and the connection's end has the reason.
async fn check_record(row: &Row, id: &str, records: &Records) -> Result<(), String> {
    let seen = timeout(BOUND, async {
        loop {
            if let Some(seen) = records.lock().unwrap().remove(id) {
                return seen;
            }
            sleep(Duration::from_millis(5)).await;
        }
    });
    let seen = seen.await.map_err(|_| "a question without an end")?;
    let told = seen.reason.to_string();
    match (row.gets, seen.answers.first()) {
        (Outcome::Closed(words), _) if !told.contains(words) => Err(format!("closed: {told}")),
        (Outcome::BadAnswer(words), Some(Err(AskError::MalformedAnswer(error)))) => {
            error.to_string().contains(words).then_some(()).ok_or(format!("the caller is told: {error}"))
        }
        (Outcome::BadAnswer(_), first) => Err(format!("the caller got {first:?}")),
        _ => Ok(()),
    }
}

/// A peer's end of a socket, without any of the library.
struct Raw {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Raw {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).await.map_err(|error| error.to_string())
    }

    /// The next frame, or `None` at the end of the stream.
    async fn next(&mut self) -> Result<Option<Written>, String> {
        loop {
            if let Some((field, rest)) = self.buffer.split_first_chunk::<4>() {
                let length = u32::from_be_bytes(*field) as usize;
                if let Some(whole) = rest.get(..length) {
                    let frame = (whole[0], whole[1..].to_vec());
                    self.buffer.drain(..length + 4);
                    return Ok(Some(frame));
                }
            }
            let read = timeout(BOUND, self.stream.read_buf(&mut self.buffer)).await;
            match read.map_err(|_| "neither a word nor an end")? {
                Ok(0) if self.buffer.is_empty() => return Ok(None),
                Ok(0) => return Err("half a frame".into()),
                Ok(_) => {}
                // So a Unix socket ends that is closed with bytes unread.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Registers, and waits for the events of `one` and `two`.
    async fn register(&mut self, id: &str, to: Receiver) -> Result<(), String> {
        let mut registration = registration().replace("raw-1", id);
        let mut events = 2;
        if to == Receiver::ProxyExact {
            registration = registration.replace("{\"can", "{\"exchange_ids\":true,\"can");
            events = 3;
        }
        self.send(&frame(1, registration)).await?;
        self.send(&frame(0x33, r#"{"correlation_id":"held","action":1}"#)).await?;
        while events > 0 {
            match self.next().await? {
                Some((0x10 | 0x11, _)) => events -= 1,
                Some(_) => {}
                None => return Err("not even registered".into()),
            }
        }
        Ok(())
    }

    /// Reads to the end of the stream, and past no refusal.
    async fn is_closed(&mut self) -> Result<(), String> {
        while let Some((kind, payload)) = self.next().await? {
            if kind == 2 && success(&payload) != Some(true) {
                return Err("refused as well".into());
            }
        }
        Ok(())
    }

    /// Reads a refusal, or nothing, and the end of the stream.
    async fn is_turned_away(&mut self, words: Option<&str>) -> Result<(), String> {
        let mut refused = false;
        while let Some((kind, payload)) = self.next().await? {
            let text = String::from_utf8_lossy(&payload);
            if kind != 2 || success(&payload) != Some(false) {
                return Err(format!("got type {kind:#04x}: {text}"));
            }
            let response: Value = serde_json::from_slice(&payload).unwrap();
            let error = response["error"].as_str().unwrap_or_default();
            if words.is_some_and(|words| !error.contains(words)) {
                return Err(format!("refused with: {error}"));
            }
            refused = true;
        }
        if words.is_some() && !refused { Err("no reason given".into()) } else { Ok(()) }
    }

    /// Asks whether anybody is there, and reads the pong.
    async fn is_served(&mut self) -> Result<(), String> {
        self.send(&frame(0x41, "still there?")).await?;
        while let Some((kind, payload)) = self.next().await? {
            if kind == 2 && success(&payload) != Some(true) {
                return Err(format!("refused: {}", String::from_utf8_lossy(&payload)));
            }
            if kind == 0x42 && payload == b"still there?" {
                return Ok(());
            }
        }
        Err("closed".into())
    }
}

fn success(payload: &[u8]) -> Option<bool> {
    serde_json::from_slice::<Value>(payload).ok()?["success"].as_bool()
}

//! What a connection costs the proxy: the heap, beside what the kernel buffers.
//!
//! The other ends are plain blocking sockets, which need no heap.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use dialback::net::{Listener, ListenerConfig, Pool, PoolConfig};
use tokio::time::{sleep, timeout};

use crate::gauge::{self, Gauge};
use crate::raw::{BOUND, frame, registration};
use crate::scenarios::Bound;

/// Connections measured at once.
const COUNT: usize = 1_000;
/// Longest registration by default.
const OPENING: usize = 64 << 10;
/// What a connection may need beside its registration.
const CONSTANT: usize = 4 << 10;
/// What an idle registered connection may need.
const IDLE: usize = 8 << 10;

/// Measures each kind of connection, in heap bytes each.
pub async fn measure() -> Vec<Bound> {
    let mut bounds = Vec::new();
    let whole = frame(1, vec![b' '; OPENING - 1]);
    let cases = [
        ("not registered, silent", 0),
        ("not registered, half of 64 KiB sent", OPENING / 2),
        ("not registered, all but a byte of 64 KiB sent", whole.len() - 1),
    ];
    for (what, sent) in cases {
        let piece = whole.get(..sent).unwrap_or_default();
        bounds.push(judge(what, opening(piece).await, OPENING + CONSTANT));
    }
    bounds.push(judge("idle, a handle held", idle(false).await, IDLE));
    bounds.push(judge("idle, in a pool", idle(true).await, IDLE));
    bounds
}

fn judge(what: &str, heap: usize, limit: usize) -> Bound {
    Bound { words: format!("{what}: {heap} <= {limit} bytes"), held: heap <= limit }
}

fn config() -> ListenerConfig {
    let mut config =
        ListenerConfig { max_opening: 2 * COUNT, accept_queue: 2 * COUNT, ..ListenerConfig::default() };
    config.proxy.limits.handshake_timeout = Duration::from_secs(600);
    config
}

/// `COUNT` connections that have sent `piece` and nothing else.
async fn opening(piece: &[u8]) -> usize {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("agents.sock");
    let before = Gauge::now();
    let listener = Listener::bind_unix(&path, config()).await.expect("a listener");
    let mut peers = Vec::with_capacity(COUNT);
    let cost = cost(|| {
        for _ in 0..COUNT {
            let mut peer = dial(&path);
            peer.write_all(piece).expect("taken");
            peers.push(peer);
        }
    })
    .await;
    drop(peers);
    listener.shutdown(Duration::ZERO).await;
    drop(listener);
    before.wait_for_return(BOUND).await;
    cost
}

/// `COUNT` registered agents that nobody asks anything.
async fn idle(in_pool: bool) -> usize {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("agents.sock");
    let before = Gauge::now();
    let listener = Listener::bind_unix(&path, config()).await.expect("a listener");
    let pool = Pool::new(PoolConfig::default());
    let (mut peers, mut handles) = (Vec::with_capacity(COUNT), Vec::with_capacity(COUNT));
    let base = settled_heap().await;
    for n in 0..COUNT {
        let mut peer = dial(&path);
        peer.write_all(&registration(&format!("idle-{n}"))).expect("taken");
        let mut length = [0; 4];
        peer.read_exact(&mut length).expect("a response");
        let mut response = vec![0; u32::from_be_bytes(length) as usize];
        peer.read_exact(&mut response).expect("all of it");
        assert!(String::from_utf8_lossy(&response).contains("\"success\":true"), "not registered");
        peers.push(peer);
        let handle = timeout(BOUND, listener.accept()).await.expect("soon").expect("an agent");
        if in_pool {
            pool.add(handle);
        } else {
            handles.push(handle);
        }
    }
    let cost = settled_heap().await.saturating_sub(base) / COUNT;
    drop((peers, handles, pool));
    listener.shutdown(Duration::ZERO).await;
    drop(listener);
    before.wait_for_return(BOUND).await;
    cost
}

async fn cost(connect: impl FnOnce()) -> usize {
    let base = settled_heap().await;
    connect();
    settled_heap().await.saturating_sub(base) / COUNT
}

/// The heap once it has not changed for a while.
async fn settled_heap() -> usize {
    let mut last = gauge::heap();
    let mut same = 0;
    while same < 4 {
        sleep(Duration::from_millis(50)).await;
        let now = gauge::heap();
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}

/// Dials; a full backlog makes it wait.
fn dial(path: &Path) -> UnixStream {
    UnixStream::connect(path).expect("a connection")
}

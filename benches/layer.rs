//! What asking an agent costs an HTTP service: the same axum app bare and behind the layer, over real
//! sockets on loopback, with the agent in the same process on a Unix socket.
//!
//! ```text
//! cargo bench --bench layer
//! cargo bench --bench layer -- --rounds 31 --requests 4000
//! ```
//!
//! Every round runs all variants one after the other, in turning order, so that what else the machine does
//! falls on all of them; what is printed are the medians of each round's ratio to the bare app, with the
//! smallest and the largest.

use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::response::Response;
use axum::serve::ListenerExt;
use dialback::net::{Agent, AgentConfig, Context, Handler, Listener, ListenerConfig, Pool, PoolConfig};
use dialback::session::AgentSettings;
use dialback::tower::AskLayer;
use dialback::wire::{Capabilities, EventKind, Registration, RequestHeaders};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// Connections that send requests at the same time.
const CLIENTS: usize = 8;
const HTTP: [EventKind; 4] = [
    EventKind::RequestHeaders,
    EventKind::RequestBodyChunk,
    EventKind::ResponseHeaders,
    EventKind::ResponseBodyChunk,
];

/// Allows everything, as fast as it can.
struct Allow;

impl Handler for Allow {
    async fn on_request_headers(&self, _: RequestHeaders, _: Context) -> dialback::wire::Answer {
        dialback::wire::Answer::allow()
    }
}

/// One app to be measured.
struct Variant {
    name: &'static str,
    addr: SocketAddr,
}

/// One kind of load.
struct Load {
    name: &'static str,
    body: Bytes,
    /// Part of the requests that are sent of it, since larger ones take longer.
    share: usize,
}

async fn echo(request: Request) -> Response {
    Response::new(request.into_body())
}

async fn serve(router: Router) -> Result<SocketAddr> {
    let socket = TcpListener::bind("127.0.0.1:0").await?;
    let addr = socket.local_addr()?;
    // With a layer the head of a response leaves before its body has been asked about; the body must not
    // wait for the head's acknowledgement.
    let socket = socket.tap_io(|stream| drop(stream.set_nodelay(true)));
    tokio::spawn(async move { axum::serve(socket, router).await });
    Ok(addr)
}

/// An agent for these kinds of event, in a pool.
async fn agent(pool: &Pool, listener: &Listener, id: &str, kinds: &[EventKind]) -> Result<()> {
    let mut capabilities = Capabilities::new(id, kinds.iter().copied());
    capabilities.features.exchange_ids = true;
    let config = AgentConfig::new(AgentSettings::new(Registration::new(capabilities)));
    let path = listener.socket_path().ok_or("a Unix socket has a path")?;
    drop(Agent::new(config, Allow).run_unix(path).spawn());
    pool.add(listener.accept().await?);
    Ok(())
}

async fn client(addr: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// The time that so many requests take, over several connections.
async fn measure(addr: SocketAddr, body: &Bytes, requests: usize) -> Result<Duration> {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(client(addr).await?);
    }
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for mut sender in clients {
        let body = body.clone();
        tasks.spawn(async move {
            for _ in 0..requests / CLIENTS {
                let request = Request::post("/").header("host", "bench").body(Full::new(body.clone()))?;
                let response = sender.send_request(request).await?;
                let length = response.into_body().collect().await?.to_bytes().len();
                if length != body.len() {
                    return Err(format!("{length} bytes came back for {}", body.len()).into());
                }
            }
            Ok::<_, Box<dyn Error + Send + Sync>>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(begin.elapsed())
}

fn option(name: &str, default: usize) -> Result<usize> {
    let words: Vec<String> = std::env::args().collect();
    match words.iter().position(|word| word == name) {
        None => Ok(default),
        Some(at) => {
            let value = words.get(at.saturating_add(1)).ok_or(format!("{name} wants a number"))?;
            value
                .parse()
                .ok()
                .filter(|n| *n > 0)
                .ok_or(format!("{name} wants a number from 1, not {value:?}").into())
        }
    }
}

async fn variants(pool: &Pool, listener: &Listener) -> Result<Vec<Variant>> {
    let router = || Router::new().fallback(echo);
    agent(pool, listener, "headers", &[EventKind::RequestHeaders]).await?;
    agent(pool, listener, "all", &HTTP).await?;
    let asking = |id: &str| router().layer(AskLayer::pool(pool.clone(), id));
    Ok(vec![
        Variant { name: "no layer", addr: serve(router()).await? },
        Variant { name: "request headers", addr: serve(asking("headers")).await? },
        Variant { name: "headers and bodies, both ways", addr: serve(asking("all")).await? },
    ])
}

#[tokio::main]
async fn main() -> Result<()> {
    let (rounds, requests) = (option("--rounds", 15)?, option("--requests", 2_000)?);
    let folder = tempfile::tempdir()?;
    let listener = Listener::bind_unix(folder.path().join("agents.sock"), ListenerConfig::default()).await?;
    let pool = Pool::new(PoolConfig::default());
    let variants = variants(&pool, &listener).await?;
    let loads = [
        Load { name: "no body", body: Bytes::new(), share: 1 },
        Load { name: "1 KiB", body: vec![7; 1 << 10].into(), share: 1 },
        Load { name: "64 KiB", body: vec![7; 64 << 10].into(), share: 10 },
        Load { name: "1 MiB", body: vec![7; 1 << 20].into(), share: 100 },
    ];
    println!(
        "{rounds} rounds, {CLIENTS} connections; the median of the rounds' ratios to the app without a layer"
    );
    println!("{:<9} {:<30} {:>10} {:>7} {:>16}", "body", "asked about", "us/request", "ratio", "from .. to");
    for load in loads {
        let count = (requests / load.share).max(CLIENTS) / CLIENTS * CLIENTS;
        let mut times = vec![Vec::new(); variants.len()];
        for round in 0..=rounds {
            for turn in 0..variants.len() {
                let number = (turn + round) % variants.len();
                let took = measure(variants[number].addr, &load.body, count).await?;
                // The first round warms up.
                if round > 0 {
                    times[number].push(took.as_secs_f64() / count as f64);
                }
            }
        }
        for (variant, own) in variants.iter().zip(&times) {
            let mut ratios: Vec<f64> = own.iter().zip(&times[0]).map(|(own, bare)| own / bare).collect();
            let mut own = own.clone();
            ratios.sort_by(f64::total_cmp);
            own.sort_by(f64::total_cmp);
            println!(
                "{:<9} {:<30} {:>10.1} {:>7.2} {:>7.2} .. {:>5.2}",
                load.name,
                variant.name,
                own[rounds / 2] * 1e6,
                ratios[rounds / 2],
                ratios[0],
                ratios[rounds - 1]
            );
        }
    }
    // Not one request was let pass unasked.
    let answered: u64 = pool.agents().iter().map(|agent| agent.totals().stats.answered).sum();
    let admitted: u64 = pool.agents().iter().map(|agent| agent.totals().stats.admitted).sum();
    println!("{answered} of {admitted} events were answered");
    if answered != admitted { Err("some were not".into()) } else { Ok(()) }
}

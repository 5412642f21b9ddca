//! The example gateway over HTTP: the same proxy, upstream and agents, with the agents' comings and goings
//! in the test's hands. The page in a browser is `tests/gateway/run`.

#![cfg(unix)]
// A failed expectation is what a test is for.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "../../examples/gateway/site/mod.rs"]
mod site;

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use site::{EDITOR, GUARD, Site};

/// Generous: what takes longer hangs.
const LIMIT: Duration = Duration::from_secs(60);

async fn begin(addr: SocketAddr, method: &str, path: &str, body: &str) -> Response<hyper::body::Incoming> {
    let io = TokioIo::new(TcpStream::connect(addr).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header("host", addr.to_string());
    let response = sender.send_request(request.body(Body::from(body.to_string())).unwrap());
    timeout(LIMIT, response).await.expect("the head comes in time").unwrap()
}

async fn send(addr: SocketAddr, method: &str, path: &str, body: &str) -> Response<Bytes> {
    let (parts, body) = begin(addr, method, path, body).await.into_parts();
    let body = timeout(LIMIT, body.collect()).await.expect("the body comes in time").unwrap();
    Response::from_parts(parts, body.to_bytes())
}

async fn get(site: &Site, path: &str) -> (u16, String) {
    let response = send(site.proxy, "GET", path, "").await;
    (response.status().as_u16(), String::from_utf8_lossy(response.body()).into_owned())
}

async fn snapshot(site: &Site) -> Value {
    serde_json::from_slice(send(site.status, "GET", "/snapshot", "").await.body()).unwrap()
}

/// Waits until the page's data says so.
async fn until(site: &Site, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
    let wait = async {
        loop {
            let snapshot = snapshot(site).await;
            if condition(&snapshot) {
                return snapshot;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("never came: {what}"))
}

/// The connections that an agent has.
fn connections(snapshot: &Value, id: &str) -> usize {
    let agents = snapshot["agents"].as_array().unwrap();
    let found = agents.iter().find(|agent| agent["id"] == id);
    found.map_or(0, |agent| agent["connections"].as_array().unwrap().len())
}

/// Opens a site with these agents.
async fn open(agents: &[&str]) -> Site {
    let site = Site::open(0, 0).await.unwrap();
    for (number, id) in agents.iter().enumerate() {
        site.crew.come(id).unwrap();
        let wanted = agents[..=number].iter().filter(|other| *other == id).count();
        until(&site, "an agent comes", |snapshot| connections(snapshot, id) == wanted).await;
    }
    site
}

#[tokio::test]
async fn what_curl_shows() {
    let site = open(&[GUARD, EDITOR]).await;
    let (status, page) = get(&site, "/").await;
    assert_eq!(status, 200);
    assert!(page.contains("This came from the upstream"));
    assert_eq!(get(&site, "/admin").await, (403, "the guard lets nobody in here\n".into()));
    let moved = send(site.proxy, "GET", "/old", "").await;
    assert_eq!((moved.status().as_u16(), &moved.headers()["location"]), (302, &"/".parse().unwrap()));
    let challenged = send(site.proxy, "GET", "/vault", "").await;
    assert_eq!(challenged.status(), 401);
    assert_eq!(challenged.headers()["www-authenticate"], "Basic realm=\"vault\"");
    assert_eq!(send(site.proxy, "POST", "/echo", "an attack").await.status(), 422);
    let echo = send(site.proxy, "POST", "/echo", "a kind word in 7 letters").await;
    assert_eq!(
        (&echo.body()[..], &echo.headers()["x-was-seen-by"]),
        (&b"a kind word in 7 letters"[..], &"guard".parse().unwrap())
    );
    let letter = send(site.proxy, "GET", "/letter", "").await;
    assert_eq!(letter.headers()["x-edited-by"], "editor");
    assert!(str::from_utf8(letter.body()).unwrap().contains("card **** **** **** **** is charged **"));
    assert_eq!(get(&site, "/nowhere").await, (404, "the upstream has no such page\n".into()));

    let totals =
        until(&site, "all is counted", |snapshot| snapshot["totals"]["requests"] == 8).await["totals"]
            .clone();
    let told = ["allowed", "blocked", "redirected", "challenged", "edited"].map(|name| totals[name].as_u64());
    assert_eq!(told, [Some(4), Some(2), Some(1), Some(1), Some(1)]);
    site.close().await;
}

#[tokio::test]
async fn a_stream_is_edited_while_it_flows() {
    let site = open(&[GUARD, EDITOR]).await;
    let mut body = begin(site.proxy, "GET", "/stream", "").await.into_body();
    let first = timeout(LIMIT, body.frame()).await.unwrap().unwrap().unwrap().into_data().unwrap();
    assert_eq!(&first[..], b"line * of **\n");
    let rest = body.collect().await.unwrap().to_bytes();
    assert!(rest.ends_with(b"line ** of **\n"));
    site.close().await;
}

#[tokio::test]
async fn without_a_guard_nothing_passes_and_without_an_editor_all_of_it() {
    let site = open(&[]).await;
    assert_eq!(get(&site, "/").await.0, 503);
    site.crew.come(GUARD).unwrap();
    until(&site, "the guard comes", |snapshot| connections(snapshot, GUARD) == 1).await;
    assert!(get(&site, "/letter").await.1.contains("4111 1111 1111 1111"));
    site.crew.come(EDITOR).unwrap();
    until(&site, "the editor comes", |snapshot| connections(snapshot, EDITOR) == 1).await;
    assert!(!get(&site, "/letter").await.1.contains("4111"));
    let totals =
        until(&site, "all is counted", |snapshot| snapshot["totals"]["edited"] == 1).await["totals"].clone();
    assert_eq!((totals["failed"].as_u64(), totals["unasked"].as_u64()), (Some(1), Some(1)));
    site.close().await;
}

#[tokio::test]
async fn agents_come_and_go_under_load() {
    let site = open(&[GUARD, GUARD, EDITOR]).await;
    let (proxy, clients) = (site.proxy, 4);
    let load: Vec<_> = (0..clients)
        .map(|_| {
            tokio::spawn(async move {
                for _ in 0..50 {
                    let response = send(proxy, "GET", "/letter", "").await;
                    // There is always a guard, and one that is killed takes its questions along.
                    assert!([200, 503].contains(&response.status().as_u16()), "{}", response.status());
                }
            })
        })
        .collect();
    for _ in 0..3 {
        site.crew.come(GUARD).unwrap();
        until(&site, "a third comes", |snapshot| connections(snapshot, GUARD) == 3).await;
        site.crew.kill(GUARD).unwrap();
        until(&site, "one has died", |snapshot| connections(snapshot, GUARD) == 2).await;
    }
    for client in load {
        client.await.unwrap();
    }
    let told =
        until(&site, "all is counted", |snapshot| snapshot["totals"]["requests"] == 50 * clients).await;
    assert!(told["totals"]["allowed"].as_u64().unwrap() > 0);
    let left = told["log"].as_array().unwrap().iter().filter(|entry| entry["what"] == "left").count();
    assert_eq!(left, 3);
    site.close().await;
}

#[tokio::test]
async fn strangers_are_turned_away_and_counted() {
    let site = open(&[]).await;
    assert!(site.socket.exists());
    site.crew.knock();
    until(&site, "the stranger is counted", |snapshot| snapshot["refusals"]["not_allowed"] == 1).await;
    assert!(site.crew.come("stranger").unwrap_err().to_string().contains("guard and editor"));
    assert!(site.crew.go(GUARD).is_err());
    site.close().await;
}

#[tokio::test]
async fn the_page_is_fed_with_events() {
    let site = open(&[GUARD]).await;
    let page = send(site.status, "GET", "/", "").await;
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    // Nothing from elsewhere: not by the page's word, and not by the browser's.
    assert!(page.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'self'"));
    for file in ["/style.css", "/page.js"] {
        assert_eq!(send(site.status, "GET", file, "").await.status(), 200);
    }
    let events = begin(site.status, "GET", "/events", "").await;
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let mut body = events.into_body();
    for _ in 0..2 {
        let frame = timeout(LIMIT, body.frame()).await.unwrap().unwrap().unwrap().into_data().unwrap();
        let text = str::from_utf8(&frame).unwrap();
        let snapshot: Value = serde_json::from_str(text.strip_prefix("data: ").unwrap().trim()).unwrap();
        assert_eq!((connections(&snapshot, GUARD), snapshot["seconds"].as_array().unwrap().len()), (1, 60));
    }
    site.close().await;
}

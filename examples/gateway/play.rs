//! Something to watch: agents that come and go, and clients.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::time::sleep;

use crate::site::{Crew, EDITOR, GUARD};

/// A turn of the play: who does what, and how long after the one before.
const TURNS: [(u64, &str, &str); 12] = [
    (0, "come", GUARD),
    (0, "come", EDITOR),
    (6, "come", GUARD),
    (5, "knock", ""),
    (4, "kill", EDITOR),
    (5, "come", EDITOR),
    (5, "go", GUARD),
    (4, "kill", GUARD),
    (2, "come", GUARD),
    (5, "come", EDITOR),
    (4, "go", EDITOR),
    (3, "knock", ""),
];

/// The turns, again and again. At the end of each round one guard and one editor are left to go.
pub async fn comings_and_goings(crew: &Crew) {
    loop {
        for (after, what, id) in TURNS {
            sleep(Duration::from_secs(after)).await;
            let done = match what {
                "come" => crew.come(id),
                "go" => crew.go(id),
                "kill" => crew.kill(id),
                _ => {
                    crew.knock();
                    Ok(())
                }
            };
            if let Err(error) = done {
                eprintln!("{what} {id}: {error}");
            }
        }
        for id in [GUARD, EDITOR] {
            if let Err(error) = crew.go(id) {
                eprintln!("go {id}: {error}");
            }
        }
    }
}

/// Requests of all kinds, a few at a time.
pub async fn traffic(proxy: SocketAddr) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let requests = [
        ("GET", "/", ""),
        ("GET", "/letter", ""),
        ("POST", "/echo", "a kind word"),
        ("GET", "/", ""),
        ("GET", "/admin", ""),
        ("GET", "/letter", ""),
        ("GET", "/old", ""),
        ("POST", "/echo", "an attack"),
        ("GET", "/slow", ""),
        ("GET", "/vault", ""),
        ("GET", "/stream", ""),
    ];
    for turn in 0_u64.. {
        // A wave, so that the chart is no wall.
        let wave = (turn as f64 / 40.0).sin();
        sleep(Duration::from_millis((45.0 - 30.0 * wave) as u64)).await;
        let (method, path, body) = requests[(turn % requests.len() as u64) as usize];
        let request =
            Request::builder().method(method).uri(format!("http://{proxy}{path}")).body(body.into());
        let (client, Ok(request)) = (client.clone(), request) else { continue };
        tokio::spawn(async move {
            // What comes of it is on the page.
            if let Ok(response) = client.request(request).await {
                let _ = response.into_body().collect().await;
            }
        });
    }
}

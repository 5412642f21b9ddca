//! The server behind the gateway. It knows nothing of agents.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse};
use axum::routing::{any, get};

const HOME: &str = "<!doctype html><title>Upstream</title><h1>It works</h1><p>This came from the upstream.\n";
const LETTER: &str = "Dear customer,\nthe card 4111 1111 1111 1111 is charged 25 on the 3rd.\n";

pub fn router() -> Router {
    Router::new()
        .route("/", get(Html(HOME)))
        .route("/letter", get(LETTER))
        .route("/vault", get("gold\n"))
        .route("/echo", any(echo))
        .route("/slow", get(slow))
        .route("/stream", get(stream))
        .fallback(|| async { (axum::http::StatusCode::NOT_FOUND, "the upstream has no such page\n") })
}

/// The body as it came, and who has seen it on the way.
async fn echo(request: Request) -> impl IntoResponse {
    let seen = request.headers().get("x-seen-by").cloned();
    let headers = seen.map(|by| [("x-was-seen-by", by)]);
    (headers, [(CONTENT_TYPE, "application/octet-stream")], request.into_body())
}

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_millis(250)).await;
    "at last\n"
}

/// Lines as they come to mind, without a length.
async fn stream() -> impl IntoResponse {
    let lines = futures_util::stream::unfold(1, |line| async move {
        if line > 10 {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from(format!("line {line} of 10\n"))), line + 1))
    });
    ([(CONTENT_TYPE, "text/plain")], Body::from_stream(lines))
}

//! The status page and what it is fed with.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderName;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::Stream;
use tokio::time::{MissedTickBehavior, interval};

use super::book::Book;

/// How often the page hears of what is new.
const PACE: Duration = Duration::from_millis(500);

const PAGE: &str = include_str!("../page/index.html");
const STYLE: &str = include_str!("../page/style.css");
const SCRIPT: &str = include_str!("../page/page.js");

pub fn router(book: Arc<Book>) -> Router {
    let snapshot = Arc::clone(&book);
    Router::new()
        .route("/", get(|| async { file("text/html; charset=utf-8", PAGE.into()) }))
        .route("/style.css", get(|| async { file("text/css; charset=utf-8", STYLE.into()) }))
        .route("/page.js", get(|| async { file("text/javascript; charset=utf-8", SCRIPT.into()) }))
        .route(
            "/snapshot",
            get(move || async move { file("application/json", snapshot.snapshot().to_string()) }),
        )
        .route("/events", get(move || async move { Sse::new(events(book)).keep_alive(KeepAlive::default()) }))
}

fn file(kind: &'static str, text: String) -> Response {
    let headers: [(HeaderName, &str); 4] = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'",
        ),
    ];
    (headers, text).into_response()
}

/// A snapshot now, and one at every turn.
fn events(book: Arc<Book>) -> impl Stream<Item = Result<Event, Infallible>> {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    futures_util::stream::unfold((book, pace), |(book, mut pace)| async move {
        pace.tick().await;
        let event = Event::default().data(book.snapshot().to_string());
        Some((Ok(event), (book, pace)))
    })
}

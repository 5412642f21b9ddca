//! The app that is wrapped.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use dialback::tower::Routing;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::{HeaderMap, StatusCode};

/// What the app has seen.
#[derive(Clone, Default)]
pub struct Seen {
    /// Requests that it was called with.
    pub calls: Arc<AtomicUsize>,
    /// Of those, the ones that were dropped before they were done.
    pub dropped: Arc<AtomicUsize>,
    /// Bytes of endless bodies that it was made to produce.
    pub produced: Arc<AtomicU64>,
}

/// Counts a call that is dropped before its time.
struct Call(Seen, bool);

impl Drop for Call {
    fn drop(&mut self) {
        if !self.1 {
            self.0.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

pub async fn app(seen: Seen, request: Request) -> Response {
    seen.calls.fetch_add(1, Ordering::SeqCst);
    let mut call = Call(seen.clone(), false);
    let response = route(&seen, request).await;
    call.1 = true;
    response
}

/// The bytes of every body that the app makes up: each offset has its own.
pub fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

async fn route(seen: &Seen, request: Request) -> Response {
    let path = request.uri().path().to_string();
    let number = path.rsplit('/').next().and_then(|text| text.parse().ok()).unwrap_or(0);
    match path.split('/').nth(1).unwrap_or_default() {
        // The body as it comes, with the framing that the request had.
        "echo" => Response::new(request.into_body()),
        // The head as it came.
        "head" => Response::new(Body::from(head(&request))),
        // The whole body, read first; 400 if it breaks off.
        "read" => match request.into_body().collect().await {
            Ok(body) => Response::new(Body::from(format!("read {}", body.to_bytes().len()))),
            Err(error) => with_status(StatusCode::BAD_REQUEST, error.to_string()),
        },
        "bytes" => Response::new(Body::from(bytes(number))),
        // Without a length, in pieces of 10,000.
        "stream" => {
            let pieces: Vec<_> = bytes(number).chunks(10_000).map(<[u8]>::to_vec).collect();
            frames(pieces.into_iter().map(|piece| Frame::data(Bytes::from(piece))))
        }
        "trailers" => {
            let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())]);
            let pieces = [Frame::data(Bytes::from_static(b"body")), Frame::trailers(trailers)];
            let mut response = frames(pieces.into_iter());
            response.headers_mut().insert("trailer", "x-sum".parse().unwrap());
            response
        }
        "endless" => endless(Arc::clone(&seen.produced)),
        "latin1" => {
            let mut response = Response::new(Body::empty());
            response
                .headers_mut()
                .insert("x-bytes", hyper::header::HeaderValue::from_bytes(b"gr\xfcn").unwrap());
            response
        }
        "never" => std::future::pending().await,
        "" => Response::new(Body::from("hello")),
        _ => with_status(StatusCode::NOT_FOUND, "no such page".into()),
    }
}

fn head(request: &Request) -> String {
    let mut text = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes())).unwrap();
    }
    for (name, value) in request.extensions().get::<Routing>().iter().flat_map(|routing| &routing.0) {
        writeln!(text, "routing {name}={value}").unwrap();
    }
    text
}

fn with_status(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}

fn frames(frames: impl Iterator<Item = Frame<Bytes>> + Send + 'static) -> Response {
    let mut frames = frames;
    stream(move || frames.next())
}

fn endless(produced: Arc<AtomicU64>) -> Response {
    let piece = Bytes::from(vec![7; 64 << 10]);
    stream(move || {
        produced.fetch_add(piece.len() as u64, Ordering::SeqCst);
        Some(Frame::data(piece.clone()))
    })
}

/// A body of what a function gives until it gives none.
fn stream(mut next: impl FnMut() -> Option<Frame<Bytes>> + Send + 'static) -> Response {
    let stream = futures_util::stream::poll_fn(move |_| Poll::Ready(next().map(Ok::<_, Infallible>)));
    Response::new(Body::new(StreamBody::new(stream)))
}

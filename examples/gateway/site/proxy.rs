//! The reverse proxy, and the two layers around it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use dialback::net::Pool;
use dialback::tower::{AskConfig, AskLayer, FailurePolicy, OnFailure};
use dialback::wire::EventKind;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::book::Book;
use super::handlers::{EDITOR, GUARD};

/// What of a message concerns only the one connection it is on.
const ONE_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The proxy. Without the guard nothing passes; without the editor, responses pass unedited.
pub fn router(upstream: SocketAddr, pool: &Pool, book: &Arc<Book>) -> Router {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let guard = config(GUARD, FailurePolicy::CLOSED, book);
    let absent = FailurePolicy { no_agent: OnFailure::Open, ..FailurePolicy::CLOSED };
    let mut editor = config(EDITOR, absent, book);
    editor.needs = vec![EventKind::ResponseHeaders, EventKind::ResponseBodyChunk];
    Router::new()
        .fallback(move |request| forward(client.clone(), upstream, request))
        .layer(AskLayer::pool(pool.clone(), EDITOR).with_config(editor))
        .layer(AskLayer::pool(pool.clone(), GUARD).with_config(guard))
}

fn config(agent: &'static str, failure: FailurePolicy, book: &Arc<Book>) -> AskConfig {
    let book = Arc::clone(book);
    let config = AskConfig { failure, ..AskConfig::default() };
    config
        .describe(|parts, metadata| {
            if let Some(ConnectInfo(addr)) = parts.extensions.get::<ConnectInfo<SocketAddr>>() {
                metadata.client_ip = addr.ip().to_string();
                metadata.client_port = addr.port();
            }
        })
        .on_end(move |summary| book.note_request(agent, summary))
}

async fn forward(
    client: Client<HttpConnector, Body>,
    upstream: SocketAddr,
    mut request: Request,
) -> Response {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    match format!("http://{upstream}{path}").parse::<Uri>() {
        Ok(uri) => *request.uri_mut() = uri,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("no such target: {error}\n")).into_response(),
    }
    strip(request.headers_mut());
    match client.request(request).await {
        Ok(mut response) => {
            strip(response.headers_mut());
            response.into_response()
        }
        Err(error) => {
            (StatusCode::BAD_GATEWAY, format!("the upstream did not answer: {error}\n")).into_response()
        }
    }
}

fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = (headers.get_all(header::CONNECTION).iter())
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let others = ["keep-alive", "proxy-connection"].map(HeaderName::from_static);
    for name in named.iter().chain(&ONE_HOP).chain(&others) {
        headers.remove(name);
    }
}

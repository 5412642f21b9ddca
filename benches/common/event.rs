//! The event that is asked about: the headers of a browser's request, ten of them, about 720 bytes.

use dialback::wire::{Event, RequestBodyChunk, RequestHeaders, RequestMetadata};

/// The method.
pub const METHOD: &str = "GET";
/// The request target.
pub const URI: &str = "/shop/items?category=books&page=2";

/// The headers.
pub const HEADERS: [(&str, &str); 10] = [
    ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-language", "en-GB,en;q=0.5"),
    ("cache-control", "no-cache"),
    ("connection", "keep-alive"),
    ("cookie", "s=0123456789abcdef"),
    ("host", "shop.example"),
    ("referer", "https://shop.example/"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
    ("x-forwarded-for", "192.0.2.7"),
];

/// The headers of a request.
pub fn headers(id: &str) -> RequestHeaders {
    let mut event = RequestHeaders::new(id, METHOD, URI);
    event.metadata = RequestMetadata {
        request_id: "r-1".into(),
        client_ip: "192.0.2.7".into(),
        client_port: 4711,
        protocol: "HTTP/1.1".into(),
        route_id: Some("shop".into()),
        timestamp: "2026-01-01T00:00:00Z".into(),
        ..event.metadata
    };
    for (name, value) in HEADERS {
        event.push_header(name, value.as_bytes());
    }
    event
}

/// A piece of 4 KiB of a request's body.
pub fn chunk(id: &str, index: u32) -> Event {
    let mut chunk = RequestBodyChunk::new(id, vec![b'x'; 4 << 10]);
    chunk.chunk_index = index;
    chunk.into()
}

/// The id of the nth request. All have the same length.
pub fn id(number: usize) -> String {
    format!("request-{number:08}")
}

//! The one event that everybody is asked about: the headers of a browser's request, ten of them.

use std::collections::HashMap;

use dialback::wire::{RequestHeaders, RequestMetadata};
use zentinel_agent_protocol as peer;

use crate::grpc;

const METHOD: &str = "GET";
const URI: &str = "/shop/items?category=books&page=2";

const HEADERS: [(&str, &str); 10] = [
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

const REQUEST_ID: &str = "r-1";
const CLIENT_IP: &str = "192.0.2.7";
const CLIENT_PORT: u16 = 4711;
const PROTOCOL: &str = "HTTP/1.1";
const ROUTE: &str = "shop";
const TIMESTAMP: &str = "2026-01-01T00:00:00Z";

/// As this crate has it.
pub fn ours(id: &str) -> RequestHeaders {
    let mut event = RequestHeaders::new(id, METHOD, URI);
    event.metadata = RequestMetadata {
        request_id: REQUEST_ID.into(),
        client_ip: CLIENT_IP.into(),
        client_port: CLIENT_PORT,
        protocol: PROTOCOL.into(),
        route_id: Some(ROUTE.into()),
        timestamp: TIMESTAMP.into(),
        ..event.metadata
    };
    for (name, value) in HEADERS {
        event.push_header(name, value.as_bytes());
    }
    event
}

/// As the published peer has it.
pub fn upstream(id: &str) -> peer::RequestHeadersEvent {
    peer::RequestHeadersEvent {
        metadata: peer::RequestMetadata {
            correlation_id: id.into(),
            request_id: REQUEST_ID.into(),
            client_ip: CLIENT_IP.into(),
            client_port: CLIENT_PORT,
            server_name: None,
            protocol: PROTOCOL.into(),
            tls_version: None,
            tls_cipher: None,
            route_id: Some(ROUTE.into()),
            upstream_id: None,
            timestamp: TIMESTAMP.into(),
            traceparent: None,
        },
        method: METHOD.into(),
        uri: URI.into(),
        headers: HEADERS
            .iter()
            .map(|(name, value)| ((*name).into(), vec![(*value).into()]))
            .collect::<HashMap<_, _>>(),
    }
}

/// As protobuf has it.
pub fn protobuf(id: &str) -> grpc::RequestHeaders {
    grpc::RequestHeaders {
        metadata: Some(grpc::Metadata {
            correlation_id: id.into(),
            request_id: REQUEST_ID.into(),
            client_ip: CLIENT_IP.into(),
            client_port: CLIENT_PORT.into(),
            protocol: PROTOCOL.into(),
            route_id: Some(ROUTE.into()),
            timestamp: TIMESTAMP.into(),
            ..grpc::Metadata::default()
        }),
        method: METHOD.into(),
        uri: URI.into(),
        headers: HEADERS
            .iter()
            .map(|(name, value)| grpc::Header { name: (*name).into(), values: vec![(*value).into()] })
            .collect(),
    }
}

/// The id of a caller's event.
pub fn id(caller: usize, number: u64) -> String {
    format!("c{caller:04}-{number:08}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use dialback::wire::Encoding;

    #[test]
    fn all_peers_are_asked_about_the_same_of_the_size_that_is_told() {
        let id = id(3, 7);
        let mut json = Vec::new();
        Encoding::Json.encode(&ours(&id), &mut json).unwrap();
        assert!((700..=740).contains(&json.len()), "{} bytes", json.len());
        let read: peer::RequestHeadersEvent = serde_json::from_slice(&json).unwrap();
        let (read, theirs) =
            (serde_json::to_value(read).unwrap(), serde_json::to_value(upstream(&id)).unwrap());
        assert_eq!(read, theirs);
        let protobuf = protobuf(&id);
        let headers: HashMap<_, _> =
            protobuf.headers.into_iter().map(|header| (header.name, header.values)).collect();
        assert_eq!(headers, upstream(&id).headers);
    }
}

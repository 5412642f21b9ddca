//! The one event that everybody is asked about: the headers of a browser's request, ten of them.

use std::collections::HashMap;
use std::fmt::Write as _;

use dialback::wire::RequestHeaders;
use zentinel_agent_protocol as peer;

use crate::grpc;

#[path = "../../common/event.rs"]
#[allow(dead_code, reason = "other benches use the rest")]
mod common;

use common::{CLIENT_IP, CLIENT_PORT, HEADERS, METHOD, PROTOCOL, REQUEST_ID, ROUTE, TIMESTAMP, URI, headers};

/// As this crate has it.
pub fn ours(id: &str) -> RequestHeaders {
    headers(id)
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
    // One allocation: what grows would make the allocator a part of what is measured.
    let mut id = String::with_capacity(16);
    // Writing to a string does not fail.
    let _ = write!(id, "c{caller:04}-{number:08}");
    id
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

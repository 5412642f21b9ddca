//! Events in the peer's types.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zentinel_agent_protocol::{
    GuardrailInspectEvent, GuardrailInspectionType, RequestBodyChunkEvent, RequestHeadersEvent,
    RequestMetadata, ResponseBodyChunkEvent, ResponseHeadersEvent, WebSocketFrameEvent,
};

/// Bytes that are no UTF-8.
pub const BINARY: &[u8] = &[0x00, 0xff, 0xfe, 0x80, 0xc3, 0x28];

/// What the peer writes for these bytes.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// What the peer meant by this text.
pub fn unbase64(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap_or_else(|error| panic!("{text:?} is no base64: {error}"))
}

pub fn request_headers(id: &str, uri: &str) -> RequestHeadersEvent {
    RequestHeadersEvent {
        metadata: RequestMetadata {
            correlation_id: id.into(),
            request_id: "request-1".into(),
            client_ip: "192.0.2.7".into(),
            client_port: 4711,
            server_name: Some("shop.example".into()),
            protocol: "HTTP/1.1".into(),
            tls_version: None,
            tls_cipher: None,
            route_id: Some("route".into()),
            upstream_id: None,
            timestamp: "2026-01-01T00:00:00Z".into(),
            traceparent: None,
        },
        method: "POST".into(),
        uri: uri.into(),
        headers: HashMap::from([("x-two".into(), vec!["a".into(), "b".into()])]),
    }
}

pub fn request_chunk(id: &str, index: u32, bytes: &[u8]) -> RequestBodyChunkEvent {
    RequestBodyChunkEvent {
        correlation_id: id.into(),
        data: base64(bytes),
        is_last: true,
        total_size: Some(bytes.len()),
        chunk_index: index,
        bytes_received: bytes.len(),
    }
}

pub fn response_headers(id: &str, status: u16) -> ResponseHeadersEvent {
    ResponseHeadersEvent { correlation_id: id.into(), status, headers: HashMap::new() }
}

pub fn response_chunk(id: &str, index: u32, bytes: &[u8]) -> ResponseBodyChunkEvent {
    ResponseBodyChunkEvent {
        correlation_id: id.into(),
        data: base64(bytes),
        is_last: true,
        total_size: Some(bytes.len()),
        chunk_index: index,
        bytes_sent: bytes.len(),
    }
}

pub fn websocket_frame(id: &str, opcode: &str, bytes: &[u8]) -> WebSocketFrameEvent {
    WebSocketFrameEvent {
        correlation_id: id.into(),
        opcode: opcode.into(),
        data: base64(bytes),
        client_to_server: true,
        frame_index: 3,
        fin: true,
        route_id: None,
        client_ip: "192.0.2.7".into(),
    }
}

pub fn guardrail_inspect(id: &str, content: &str) -> GuardrailInspectEvent {
    GuardrailInspectEvent {
        correlation_id: id.into(),
        inspection_type: GuardrailInspectionType::PiiDetection,
        content: content.into(),
        model: Some("m".into()),
        categories: vec!["email".into()],
        route_id: None,
        metadata: HashMap::new(),
    }
}

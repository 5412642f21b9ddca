//! Answers as an agent without a library makes them: the id put between two pieces made beforehand.

use dialback::wire::{FrameType, encode_frame};

/// An answer up to the id, with every field that a deployed agent writes.
pub const BEFORE: &str = r#"{"version":2,"decision":"allow","request_headers":[],"response_headers":[],"routing_metadata":{},"audit":{"tags":[],"rule_ids":[],"confidence":null,"reason_codes":[],"custom":{"correlation_id":""#;
/// And behind it.
pub const BEHIND: &str = r#""}},"needs_more":false,"request_body_mutation":null,"response_body_mutation":null,"websocket_decision":null}"#;

/// The payload.
pub fn payload(id: &str) -> Vec<u8> {
    [BEFORE, id, BEHIND].concat().into_bytes()
}

/// The frame.
pub fn frame(id: &str) -> Vec<u8> {
    let mut out = Vec::new();
    encode_frame(FrameType::AgentResponse, &payload(id), u32::MAX, &mut out).expect("an answer fits a frame");
    out
}

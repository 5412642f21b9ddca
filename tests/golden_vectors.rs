//! Every frame captured from the deployed crate is read into its type and written again, byte for
//! byte (P10).

// A failed expectation is what a test is for.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use dialback::wire::{
    Answer, Cancel, Decoder, Encoding, Event, EventKind, ForwardRequest, ForwardResponse, FrameType, Kind,
    MAX_FRAME, Ping, Registration, RegistrationResponse, answer_ids, encode_message, event_ids,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

struct Vector {
    name: String,
    frame: Vec<u8>,
    payload: Value,
}

fn vectors() -> Vec<Vector> {
    let file: Value = serde_json::from_str(include_str!("vectors/upstream-0.6.54.json")).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    vectors
        .iter()
        .map(|vector| Vector {
            name: vector["name"].as_str().unwrap().to_owned(),
            frame: unhex(vector["frame_hex"].as_str().unwrap()),
            payload: vector["payload"].clone(),
        })
        .collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Reads the payload as `T` and writes the frame again.
fn again<T: DeserializeOwned + Serialize>(kind: FrameType, payload: &[u8]) -> Vec<u8> {
    let message: T = Encoding::Json.decode(payload).unwrap();
    frame_of(kind, &message)
}

fn frame_of<T: Serialize>(kind: FrameType, message: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode_message(kind, Encoding::Json, message, MAX_FRAME, &mut out).unwrap();
    out
}

fn rewrite(vector: &Vector, kind: FrameType, payload: &[u8]) -> Vec<u8> {
    let is_forward = vector.name.starts_with("forward_");
    match kind {
        FrameType::HandshakeRequest if is_forward => again::<ForwardRequest>(kind, payload),
        FrameType::HandshakeResponse if is_forward => again::<ForwardResponse>(kind, payload),
        FrameType::HandshakeRequest => again::<Registration>(kind, payload),
        FrameType::HandshakeResponse => again::<RegistrationResponse>(kind, payload),
        FrameType::AgentResponse => again::<Answer>(kind, payload),
        FrameType::Cancel => again::<Cancel>(kind, payload),
        FrameType::Pong => again::<Ping>(kind, payload),
        FrameType::RequestHeaders
        | FrameType::RequestBodyChunk
        | FrameType::ResponseHeaders
        | FrameType::ResponseBodyChunk => {
            let event_kind = EventKind::from_frame_type(kind).unwrap();
            let event = Event::decode(event_kind, Encoding::Json, payload).unwrap();
            frame_of(kind, &event)
        }
        FrameType::RequestComplete
        | FrameType::WebSocketFrame
        | FrameType::GuardrailInspect
        | FrameType::Configure
        | FrameType::HealthStatus
        | FrameType::MetricsReport
        | FrameType::ConfigUpdateRequest
        | FrameType::FlowControl
        | FrameType::Ping => panic!("{}: no vector of type {kind} is known", vector.name),
    }
}

#[test]
fn all_23_vectors_are_written_again_byte_for_byte() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 23);
    for vector in &vectors {
        let mut decoder = Decoder::new(MAX_FRAME);
        let mut input = vector.frame.as_slice();
        let frame = decoder.decode(&mut input).unwrap().unwrap();
        assert!(input.is_empty(), "{}", vector.name);
        let Kind::Known(kind) = frame.kind else {
            panic!("{}: {}", vector.name, frame.kind);
        };
        let parsed: Value = serde_json::from_slice(frame.payload).unwrap();
        assert_eq!(parsed, vector.payload, "{}", vector.name);
        let written = rewrite(vector, kind, frame.payload);
        assert_eq!(
            String::from_utf8_lossy(&written),
            String::from_utf8_lossy(&vector.frame),
            "{}",
            vector.name
        );
        assert_eq!(written, vector.frame, "{}", vector.name);
    }
}

#[test]
fn the_ids_in_the_vectors_are_found_without_reading_the_rest() {
    for vector in vectors() {
        let payload = &vector.frame[5..];
        match Kind::from_byte(vector.frame[4]) {
            Kind::Known(FrameType::AgentResponse) => {
                let ids = answer_ids(Encoding::Json, payload).unwrap();
                assert_eq!(ids.correlation_id.as_deref(), Some("cid-7"), "{}", vector.name);
                assert_eq!(ids.exchange_id, None);
            }
            Kind::Known(kind) if EventKind::from_frame_type(kind).is_some() => {
                let ids = event_ids(Encoding::Json, payload).unwrap();
                assert_eq!(ids.correlation_id.as_str(), "cid-1", "{}", vector.name);
            }
            Kind::Known(_) | Kind::Unknown(_) => {}
        }
    }
}

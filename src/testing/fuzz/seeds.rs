//! Where the fuzzers start: frames as deployed peers write them, and runs of operations.

use alloc::vec::Vec;

use serde_json::Value;

use crate::testing::Rng;
use crate::wire::{Encoding, FrameType};

use super::TARGETS;

/// An input to start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// The target that it is for.
    pub target: &'static str,
    /// The input.
    pub bytes: Vec<u8>,
}

/// Seeds for every target, out of whole frames and out of a fixed sequence of random numbers.
#[must_use]
pub fn seeds(frames: &[Vec<u8>]) -> Vec<Seed> {
    let mut seeds = Vec::new();
    for frame in frames {
        of_frame(frame, &mut seeds);
    }
    let mut rng = Rng::new(1);
    for target in TARGETS {
        for length in (10..210).step_by(10) {
            let bytes = core::iter::repeat_with(|| rng.next_u64().to_be_bytes()).take(length / 8);
            seeds.push(Seed { target: target.name, bytes: bytes.flatten().collect() });
        }
    }
    seeds
}

fn of_frame(frame: &[u8], seeds: &mut Vec<Seed>) {
    let (kind, payload) = (frame.get(4).copied().unwrap_or(0), frame.get(5..).unwrap_or_default());
    let mut push = |target, parts: &[&[u8]]| seeds.push(Seed { target, bytes: parts.concat() });

    // The largest limit, then pieces that the bytes in front of them measure.
    push("decoder", &[&[9], &pieces(frame, 200, &[], &[])]);
    push("reference", &[&[9], &pieces(frame, 200, &[0x20], &[])]);

    let packed = packed(payload);
    for reader in readers_of(kind) {
        push("readers", &[&[*reader, 0, 0], payload]);
        push("readers", &[&[*reader, 2, 0], &packed]);
    }
    for reader in [json_reader_of(kind), Some(19), Some(20), Some(21)].into_iter().flatten() {
        push("json", &[&[reader, 0], payload]);
    }
    let event = if kind == FrameType::AgentResponse.to_byte() { 0 } else { 2 };
    push("ids", &[&[event], &[0; 9], payload]);
    push("ids", &[&[event | 1], &[0; 9], &packed]);

    for end in 0..4 {
        push("handshake", &[&[end, 0], &pieces(frame, 255, &[6], &[0])]);
    }
    push("proxy", &[&[0; 8], &pieces(frame, 255, &[15], &[0])]);
    push("agent", &[&[0, 3, 11, 7, 3, 0, 0], &pieces(frame, 255, &[14], &[0])]);
}

/// A frame in pieces, each behind its length, between `before` and `after`.
fn pieces(frame: &[u8], longest: usize, before: &[u8], after: &[u8]) -> Vec<u8> {
    let piece = |piece: &[u8]| {
        let length = u8::try_from(piece.len()).unwrap_or(u8::MAX);
        [before, &[length], piece, after].concat()
    };
    frame.chunks(longest).flat_map(piece).collect()
}

/// The same payload in MessagePack; empty where it can't be.
fn packed(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if let Ok(value) = serde_json::from_slice::<Value>(payload) {
        // A failed writing leaves nothing, which is a seed as well.
        let _ = Encoding::MessagePack.encode(&value, &mut out);
    }
    out
}

/// The numbers under which `readers` knows the messages of a frame.
fn readers_of(kind: u8) -> &'static [u8] {
    match FrameType::from_byte(kind) {
        Some(FrameType::AgentResponse) => &[0],
        Some(FrameType::Cancel) => &[1],
        Some(FrameType::FlowControl) => &[2],
        Some(FrameType::Ping | FrameType::Pong) => &[3],
        Some(FrameType::HealthStatus) => &[4],
        Some(FrameType::MetricsReport) => &[5],
        Some(FrameType::ConfigUpdateRequest) => &[6],
        Some(FrameType::RequestHeaders) => &[7],
        Some(FrameType::RequestBodyChunk) => &[8],
        Some(FrameType::ResponseHeaders) => &[9],
        Some(FrameType::ResponseBodyChunk) => &[10],
        Some(FrameType::RequestComplete) => &[11],
        Some(FrameType::WebSocketFrame) => &[12],
        Some(FrameType::GuardrailInspect) => &[13],
        Some(FrameType::Configure) => &[14],
        Some(FrameType::HandshakeRequest) => &[15, 16],
        Some(FrameType::HandshakeResponse) => &[15, 17],
        None => &[],
    }
}

/// The number under which `json` knows the message of a frame.
fn json_reader_of(kind: u8) -> Option<u8> {
    Some(match FrameType::from_byte(kind)? {
        FrameType::AgentResponse => 0,
        FrameType::RequestHeaders => 1,
        FrameType::RequestBodyChunk => 2,
        FrameType::ResponseHeaders => 3,
        FrameType::ResponseBodyChunk => 4,
        FrameType::RequestComplete => 5,
        FrameType::WebSocketFrame => 6,
        FrameType::GuardrailInspect => 7,
        FrameType::Configure => 8,
        FrameType::Cancel => 9,
        FrameType::FlowControl => 10,
        FrameType::HealthStatus => 11,
        FrameType::ConfigUpdateRequest => 12,
        FrameType::Ping | FrameType::Pong => 13,
        FrameType::HandshakeRequest => 14,
        FrameType::HandshakeResponse => 15,
        FrameType::MetricsReport => 18,
    })
}

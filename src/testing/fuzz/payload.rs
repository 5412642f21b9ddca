//! Payloads built out of any bytes: mostly well-formed, full of the protocol's own words.
//!
//! A fuzzer that flips bytes of JSON spends its time on quotes. Here the bytes choose among values
//! and field names instead, in JSON and in MessagePack alike.

use alloc::vec::Vec;

use crate::wire::Encoding;

use super::input::Input;

/// Every field name of the protocol that a reader looks for, and words that stand for variants.
pub(super) const WORDS: [&str; 116] = [
    "correlation_id",
    "exchange_id",
    "audit",
    "custom",
    "metadata",
    "decision",
    "allow",
    "block",
    "redirect",
    "challenge",
    "status",
    "body",
    "headers",
    "url",
    "challenge_type",
    "params",
    "version",
    "request_headers",
    "response_headers",
    "set",
    "add",
    "remove",
    "name",
    "value",
    "routing_metadata",
    "tags",
    "rule_ids",
    "confidence",
    "reason_codes",
    "needs_more",
    "request_body_mutation",
    "response_body_mutation",
    "data",
    "chunk_index",
    "websocket_decision",
    "drop",
    "close",
    "code",
    "reason",
    "method",
    "uri",
    "client_ip",
    "client_port",
    "protocol",
    "request_id",
    "route_id",
    "server_name",
    "timestamp",
    "traceparent",
    "bytes_received",
    "is_last",
    "total_size",
    "bytes_sent",
    "duration_ms",
    "error",
    "request_body_size",
    "upstream_attempts",
    "client_to_server",
    "fin",
    "frame_index",
    "opcode",
    "text",
    "binary",
    "categories",
    "content",
    "inspection_type",
    "pii_detection",
    "prompt_injection",
    "model",
    "config",
    "config_version",
    "action",
    "type",
    "pause",
    "resume",
    "update_capacity",
    "buffer_available",
    "timestamp_ms",
    "sequence",
    "agent_id",
    "state",
    "message",
    "load",
    "in_flight",
    "avg_latency_ms",
    "resources",
    "cpu_percent",
    "memory_bytes",
    "valid_until_ms",
    "healthy",
    "degraded",
    "draining",
    "unhealthy",
    "timeout_multiplier",
    "counters",
    "gauges",
    "histograms",
    "labels",
    "sum",
    "count",
    "buckets",
    "le",
    "update_type",
    "rule_update",
    "rules",
    "id",
    "protocol_version",
    "capabilities",
    "supported_events",
    "features",
    "limits",
    "supported_encodings",
    "success",
    "encoding",
    "supported_versions",
    "auth_token",
];

/// Values that are strings, beside the words.
const STRINGS: [&str; 12] =
    ["r-0", "r-1", "r-2", "", "a", "msgpack", "json", "aGk=", "+Inf", "NaN", "1e999", "client_disconnect"];

/// Numbers at the edges of what JSON readers tell apart.
const NUMBERS: [&str; 16] = [
    "-0",
    "0.5",
    "1e3",
    "1E400",
    "-1",
    "1.0",
    "5e-324",
    "1e300",
    "-1e300",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "3.4028236e38",
    "0.1",
    "4294967296",
    "65536",
];

/// Ends of strings as JSON spells them, sound and not.
const ESCAPES: [&str; 10] = [
    "\\\"",
    "\\u0069d",
    "\\ud83d\\ude00",
    "\\ud800",
    "\\u0000",
    "\\\\",
    "\\x",
    "\u{e9}",
    "\\\",\\\"",
    "\\u00e9",
];

/// Nesting of what is built; deeper things come as raw bytes.
const MOST_NESTING: u8 = 6;

/// A payload: built, or the rest of the input as it stands.
pub(super) fn payload(input: &mut Input<'_>, encoding: Encoding) -> Vec<u8> {
    let mut out = Vec::new();
    if input.byte() & 3 == 0 {
        out.extend_from_slice(input.rest());
    } else {
        object(input, encoding, &mut out, 0);
    }
    out
}

/// Appends a map of up to fifteen fields.
pub(super) fn object(input: &mut Input<'_>, encoding: Encoding, out: &mut Vec<u8>, depth: u8) {
    let length = input.below(16);
    match encoding {
        Encoding::Json => {
            out.push(b'{');
            for at in 0..length {
                if at > 0 {
                    out.push(b',');
                }
                json_key(input, out);
                out.push(b':');
                json(input, out, depth.saturating_add(1));
            }
            out.push(b'}');
        }
        Encoding::MessagePack | Encoding::MessagePackText => {
            pack_length(input, length, [0x80, 0xde, 0xdf], out);
            for _ in 0..length {
                pack_key(input, out);
                pack(input, out, depth.saturating_add(1));
            }
        }
    }
}

fn word(input: &mut Input<'_>) -> &'static str {
    WORDS.get(input.below(WORDS.len())).copied().unwrap_or_default()
}

fn json_key(input: &mut Input<'_>, out: &mut Vec<u8>) {
    let word = word(input);
    out.push(b'"');
    match input.byte() {
        // The first letter spelled as an escape is the same key.
        0xf0..=0xf7 => {
            let (first, rest) = word.split_at_checked(1).unwrap_or(("", word));
            for byte in first.bytes() {
                out.extend_from_slice(alloc::format!("\\u{byte:04x}").as_bytes());
            }
            out.extend_from_slice(rest.as_bytes());
        }
        0xf8..=0xff => {
            out.extend_from_slice(word.as_bytes());
            out.extend_from_slice(input.one_of(&ESCAPES).as_bytes());
        }
        _ => out.extend_from_slice(word.as_bytes()),
    }
    out.push(b'"');
}

fn json(input: &mut Input<'_>, out: &mut Vec<u8>, depth: u8) {
    match input.byte() % 20 {
        0 => out.extend_from_slice(b"null"),
        1 => out.extend_from_slice(b"true"),
        2 => out.extend_from_slice(b"false"),
        3..=6 => out.extend_from_slice(alloc::format!("{}", input.byte()).as_bytes()),
        7 => out.extend_from_slice(input.one_of(&NUMBERS).as_bytes()),
        8 => out.extend_from_slice(alloc::format!("{}", input.number()).as_bytes()),
        9 => out.extend_from_slice(alloc::format!("{:e}", f64::from_bits(input.number())).as_bytes()),
        10 | 11 => json_text(input.one_of(&STRINGS), out),
        12 => json_text(word(input), out),
        13 => {
            out.push(b'"');
            out.extend_from_slice(input.one_of(&ESCAPES).as_bytes());
            out.push(b'"');
        }
        14 => out.extend_from_slice(input.piece()),
        15 | 16 if depth < MOST_NESTING => {
            out.push(b'[');
            for at in 0..input.below(6) {
                if at > 0 {
                    out.push(b',');
                }
                json(input, out, depth.saturating_add(1));
            }
            out.push(b']');
        }
        _ if depth < MOST_NESTING => object(input, Encoding::Json, out, depth),
        _ => out.push(b'7'),
    }
}

fn json_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// The header of an array or map, in the shortest form or in a wider one.
fn pack_length(input: &mut Input<'_>, length: usize, [fix, short, long]: [u8; 3], out: &mut Vec<u8>) {
    let length = u8::try_from(length).unwrap_or(0);
    match input.byte() {
        0xfe => out.extend_from_slice(&[short, 0, length]),
        0xff => out.extend_from_slice(&[long, 0, 0, 0, length]),
        _ => out.push(fix | (length & 0x0f)),
    }
}

fn pack_text(text: &[u8], out: &mut Vec<u8>) {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    if length < 32 {
        out.push(0xa0 | length);
    } else {
        out.extend_from_slice(&[0xd9, length]);
    }
    out.extend_from_slice(text);
}

fn pack_key(input: &mut Input<'_>, out: &mut Vec<u8>) {
    let word = word(input).as_bytes();
    let length = u8::try_from(word.len()).unwrap_or(u8::MAX);
    match input.byte() {
        0xf8..=0xf9 => out.extend_from_slice(&[0xd9, length]),
        0xfa..=0xfb => out.extend_from_slice(&[0xda, 0, length]),
        // Keys that are bytes, or no text at all.
        0xfc..=0xfd => out.extend_from_slice(&[0xc4, length]),
        0xfe => return pack(input, out, MOST_NESTING),
        0xff => return out.push(0xc0),
        _ => return pack_text(word, out),
    }
    out.extend_from_slice(word);
}

fn pack(input: &mut Input<'_>, out: &mut Vec<u8>, depth: u8) {
    match input.byte() % 24 {
        0 => out.push(0xc0),
        1 => out.push(0xc2),
        2 => out.push(0xc3),
        3..=5 => out.push(input.byte() & 0x7f),
        6 => out.extend_from_slice(&[0xcc, input.byte()]),
        7 => out.extend_from_slice(&[0xcd, input.byte(), input.byte()]),
        8 => {
            out.push(0xcf);
            out.extend_from_slice(&input.number().to_be_bytes());
        }
        9 => {
            out.push(0xd3);
            out.extend_from_slice(&input.number().to_be_bytes());
        }
        10 => out.push(0xe0 | input.byte()),
        11 => {
            out.push(0xcb);
            out.extend_from_slice(&input.number().to_be_bytes());
        }
        12 => {
            let float = [f32::NAN, f32::INFINITY, -0.0, 0.1, f32::MAX];
            out.push(0xca);
            out.extend_from_slice(&input.one_of(&float).to_be_bytes());
        }
        13 | 14 => pack_text(input.one_of(&STRINGS).as_bytes(), out),
        15 => pack_text(word(input).as_bytes(), out),
        16 => {
            let piece = input.piece();
            out.extend_from_slice(&[0xc4, u8::try_from(piece.len()).unwrap_or(0)]);
            out.extend_from_slice(piece);
        }
        17 => out.extend_from_slice(&[0xd4, input.byte(), input.byte()]),
        18 => out.extend_from_slice(input.piece()),
        19 | 20 if depth < MOST_NESTING => {
            let length = input.below(6);
            pack_length(input, length, [0x90, 0xdc, 0xdd], out);
            for _ in 0..length {
                pack(input, out, depth.saturating_add(1));
            }
        }
        _ if depth < MOST_NESTING => object(input, Encoding::MessagePack, out, depth),
        _ => out.push(7),
    }
}

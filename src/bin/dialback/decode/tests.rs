//! The golden vectors are read, and ten thousand damaged inputs are each given a reason.

use std::io::{self, Cursor, Read, Write};

use dialback::testing::Rng;
use dialback::wire::{Encoding, FrameType, MAX_FRAME, Ping, RequestBodyChunk, encode_message};
use serde_json::Value;

use super::*;

const VECTORS: &str = include_str!("../../../../tests/vectors/upstream-0.6.54.json");

fn options(format: Format, hex: bool) -> Options {
    Options { files: Vec::new(), hex, format, encoding: Assumed::Auto }
}

/// What is shown of an input, and what is said to be wrong with it.
fn decode(format: Format, hex: bool, input: impl Read + 'static) -> (String, Vec<Damage>) {
    let mut out = Vec::new();
    let damages = show(&options(format, hex), Box::new(input), &mut out).unwrap();
    (String::from_utf8(out).unwrap(), damages)
}

/// Name and bytes of every golden vector.
fn vectors() -> Vec<(String, Vec<u8>)> {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let read = |vector: &Value| {
        let hex = vector["frame_hex"].as_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        HexReader::new(Cursor::new(hex)).read_to_end(&mut bytes).unwrap();
        (vector["name"].as_str().unwrap().to_owned(), bytes)
    };
    file["vectors"].as_array().unwrap().iter().map(read).collect()
}

fn stream() -> Vec<u8> {
    vectors().into_iter().flat_map(|(_, bytes)| bytes).collect()
}

#[test]
fn every_golden_vector_is_read() {
    let all = vectors();
    assert!(all.len() >= 23, "{}", all.len());
    for (name, bytes) in &all {
        let (table, damages) = decode(Format::Table, false, Cursor::new(bytes.clone()));
        assert!(damages.is_empty(), "{name}: {damages:?}");
        assert_eq!(table.lines().count(), 2, "{name}: {table}");
    }
    let (table, damages) = decode(Format::Table, false, Cursor::new(stream()));
    assert_eq!((table.lines().count(), damages.len()), (all.len() + 1, 0), "{table}");
    let (diagram, _) = decode(Format::Mermaid, false, Cursor::new(stream()));
    assert_eq!(diagram.lines().count(), all.len() + 3);
    assert!(!table.contains("s3cret") && !diagram.contains("s3cret"));
}

#[test]
fn as_json_a_vector_is_what_was_captured_but_for_the_token() {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    for vector in file["vectors"].as_array().unwrap() {
        let hex = vector["frame_hex"].as_str().unwrap().to_owned();
        let (lines, _) = decode(Format::Json, true, Cursor::new(hex));
        let line: Value = serde_json::from_str(&lines).unwrap();
        let mut captured = vector["payload"].clone();
        if captured.get("auth_token").is_some_and(Value::is_string) {
            captured["auth_token"] = "(hidden)".into();
        }
        assert_eq!(line["payload"], captured, "{}", vector["name"]);
        assert_eq!(line["byte"], vector["type"], "{}", vector["name"]);
        if !line["from"].is_null() {
            assert_eq!(line["from"], vector["from"], "{}", vector["name"]);
        }
    }
}

#[test]
fn messagepack_is_recognised() {
    let mut bytes = Vec::new();
    let chunk = RequestBodyChunk::new("id", &[0xff, 0x00][..]);
    encode_message(FrameType::RequestBodyChunk, Encoding::MessagePack, &chunk, MAX_FRAME, &mut bytes)
        .unwrap();
    let (lines, damages) = decode(Format::Json, false, Cursor::new(bytes));
    assert!(damages.is_empty(), "{damages:?}");
    let line: Value = serde_json::from_str(&lines).unwrap();
    assert_eq!((&line["encoding"], &line["payload"]["data"]), (&"msgpack".into(), &"/wA=".into()));
}

#[test]
fn what_lies_before_the_damage_is_shown() {
    let mut bytes = stream();
    let whole = vectors().len();
    bytes.extend([0, 0, 0, 0, 0x41]);
    for format in [Format::Table, Format::Json, Format::Mermaid] {
        let (shown, damages) = decode(format, false, Cursor::new(bytes.clone()));
        assert!(shown.lines().count() > whole, "{shown}");
        let [damage] = damages.as_slice() else { panic!("{damages:?}") };
        assert_eq!(damage.offset, stream().len() as u64);
        assert!(damage.words.contains("length 0"), "{damage}");
        assert!(shown.lines().last().unwrap().contains("length 0"), "{shown}");
    }
}

#[test]
fn text_of_a_peer_moves_no_cursor_and_ends_no_statement() {
    let mut bytes = Vec::new();
    let id = "\u{1b}[2J\n;end #quot; <script>";
    let chunk = RequestBodyChunk::new(id, "x");
    encode_message(FrameType::RequestBodyChunk, Encoding::Json, &chunk, MAX_FRAME, &mut bytes).unwrap();
    let (table, _) = decode(Format::Table, false, Cursor::new(bytes.clone()));
    assert_eq!(table.lines().count(), 2);
    assert!(!table.contains('\u{1b}'), "{table:?}");
    let (diagram, _) = decode(Format::Mermaid, false, Cursor::new(bytes));
    let label = diagram.lines().last().unwrap().split_once(": ").unwrap().1;
    assert!(!label.contains("; end") && !label.contains('<') && !label.contains("#quot;"), "{label}");
}

/// Ways to damage a stream so that it can't be read to its end.
fn damage(rng: &mut Rng, frames: &[(String, Vec<u8>)]) -> (Vec<u8>, bool) {
    let at = rng.below(frames.len() as u64) as usize;
    let before: Vec<u8> = frames[..at].iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    let mut frame = frames[at].1.clone();
    let mut hex = false;
    match rng.below(7) {
        // Cut within.
        0 => frame.truncate(1 + rng.below(frame.len() as u64 - 1) as usize),
        1 => frame[..4].copy_from_slice(&[0; 4]),
        // Longer than a frame may be.
        2 => {
            frame[..4].copy_from_slice(&(MAX_FRAME + 1 + rng.next_u64() as u32 % 1_000_000_000).to_be_bytes())
        }
        // Longer than the input is.
        3 => {
            let length = frame.len() as u32 + rng.below(1_000_000) as u32;
            frame[..4].copy_from_slice(&length.to_be_bytes());
        }
        // A payload that is no message: cut, or with a byte that no text has.
        4 => {
            let keep = rng.below(frame.len() as u64 - 6) as usize;
            frame.truncate(5 + keep);
            let length = frame.len() as u32 - 4;
            frame[..4].copy_from_slice(&length.to_be_bytes());
        }
        5 => {
            let place = 5 + rng.below(frame.len() as u64 - 5) as usize;
            frame[place] = 0x01;
        }
        // Text that is no hexadecimal digits.
        _ => hex = true,
    }
    let mut bytes = [before, frame].concat();
    if hex {
        let mut text: Vec<u8> = bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect();
        if rng.per_mille(500) {
            let place = rng.below(text.len() as u64) as usize;
            text[place] = rng.pick(b"gz-\x00\xff .").unwrap();
            // White space within a pair is damage, between two it is not.
            if text[place] == b' ' && place.is_multiple_of(2) {
                text[place] = b'x';
            }
        } else {
            text.pop();
        }
        bytes = text;
    }
    (bytes, hex)
}

#[test]
fn ten_thousand_damaged_inputs_are_each_given_a_reason() {
    let mut frames = vectors();
    // A pong may hold anything, so that its payload can't be damaged.
    frames.retain(|(_, bytes)| bytes[4] != FrameType::Pong.to_byte());
    let mut rng = Rng::new(1);
    for round in 0..10_000 {
        let (bytes, hex) = damage(&mut rng, &frames);
        let format = rng.pick(&[Format::Table, Format::Json, Format::Mermaid]).unwrap();
        let (shown, damages) = decode(format, hex, Slow(Cursor::new(bytes), rng.clone()));
        assert!(!damages.is_empty(), "round {round}: {shown}");
        for damage in &damages {
            assert!(damage.words.len() > 10 && !damage.words.contains('\n'), "round {round}: {damage}");
        }
    }
}

/// Gives what it has in small pieces of all lengths.
struct Slow(Cursor<Vec<u8>>, Rng);

impl Read for Slow {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = (1 + self.1.below(700) as usize).min(out.len());
        self.0.read(&mut out[..most])
    }
}

#[test]
fn a_closed_pipe_is_no_failure_of_the_input() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let failure = show(&options(Format::Json, false), Box::new(Cursor::new(stream())), &mut Closed);
    assert!(matches!(failure, Err(Failure::ClosedPipe)), "{failure:?}");
}

#[test]
fn a_ping_has_its_number() {
    let mut bytes = Vec::new();
    let ping = Ping { sequence: 77, timestamp_ms: 0 };
    encode_message(FrameType::Ping, Encoding::Json, &ping, MAX_FRAME, &mut bytes).unwrap();
    let (table, _) = decode(Format::Table, false, Cursor::new(bytes));
    assert!(table.contains("number 77"), "{table}");
}

//! The codec for `tokio_util`: the same frames and errors as the wire's own decoder, whatever the
//! cut; limits; round trips; a stream that ends too early.

// A failed expectation is what a test is for.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[allow(dead_code)] // This test needs only some of it.
mod generate;

use bytes::BytesMut;
use dialback::codec::{CodecError, FrameCodec, OwnedFrame};
use dialback::wire::{self, Answer, Encoding, Event, Frame, FrameError, FrameType, Kind, MAX_FRAME};
use futures_util::{SinkExt, StreamExt};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;
use tokio_util::codec::{Decoder, Encoder, Framed};

const LIMIT: u32 = 4_096;

/// What the codec makes of the pieces, and its error.
fn by_codec(pieces: &[&[u8]]) -> (Vec<(u8, Vec<u8>)>, Option<FrameError>) {
    let (mut codec, mut buffer, mut frames) = (FrameCodec::new(LIMIT), BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(frame)) => frames.push((frame.kind.to_byte(), frame.payload.to_vec())),
                Ok(None) => break,
                Err(CodecError::Frame(error)) => {
                    let again = codec.decode(&mut buffer);
                    assert!(
                        matches!(again, Err(CodecError::Frame(second)) if second == error),
                        "an error stays"
                    );
                    return (frames, Some(error));
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    (frames, None)
}

/// What the wire's decoder makes of them.
fn by_wire(pieces: &[&[u8]]) -> (Vec<(u8, Vec<u8>)>, Option<FrameError>) {
    let (mut decoder, mut frames) = (wire::Decoder::new(LIMIT), Vec::new());
    for piece in pieces {
        let mut input = *piece;
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(frame)) => frames.push((frame.kind.to_byte(), frame.payload.to_vec())),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 1).unwrap();
    [&length.to_be_bytes()[..], &[kind], payload].concat()
}

proptest! {
    #[test]
    // Rule: W-FRAME-5.
    fn any_cut_gives_what_the_wires_decoder_gives(
        frames in vec((any::<u8>(), vec(any::<u8>(), 0..300)), 0..6),
        tail in vec(any::<u8>(), 0..9),
        size in 1_usize..400,
    ) {
        let bytes = [frames.iter().flat_map(|(kind, payload)| frame(*kind, payload)).collect(), tail].concat();
        let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
        let (read, error) = by_codec(&pieces);
        prop_assert_eq!((&read, error), (&by_wire(&pieces).0, by_wire(&pieces).1));
        prop_assert!(read.starts_with(&frames));
    }

    #[test]
    fn what_is_written_can_be_read(event in generate::event(), answer in generate::answer()) {
        let mut codec = FrameCodec::new(MAX_FRAME);
        let mut bytes = BytesMut::new();
        for encoding in [Encoding::Json, Encoding::MessagePack] {
            let kind = event.kind();
            codec.encode(OwnedFrame::encode(kind.frame_type(), encoding, &event).unwrap(), &mut bytes).unwrap();
            codec.encode(OwnedFrame::encode(FrameType::AgentResponse, encoding, &answer).unwrap(), &mut bytes).unwrap();
            let first = codec.decode(&mut bytes).unwrap().unwrap();
            prop_assert_eq!(first.kind, Kind::Known(kind.frame_type()));
            prop_assert_eq!(Event::decode(kind, encoding, &first.payload), Ok(event.clone()));
            let second = codec.decode(&mut bytes).unwrap().unwrap();
            prop_assert_eq!(second.decode::<Answer>(encoding), Ok(answer.clone()));
            prop_assert!(bytes.is_empty());
        }
    }
}

#[test]
// Rule: W-FRAME-3.
fn the_limit_holds_in_both_directions_and_counts_the_type_byte() {
    let mut codec = FrameCodec::new(4);
    let mut bytes = BytesMut::from("before");
    let long = Frame { kind: Kind::Known(FrameType::Pong), payload: b"wxyz" };
    let error = FrameError::TooLarge { length: 5, limit: 4 };
    assert!(matches!(codec.encode(long, &mut bytes), Err(CodecError::Frame(found)) if found == error));
    assert_eq!(bytes, "before", "an error leaves the buffer as it was");
    let mut bytes = BytesMut::from(&frame(0x42, b"wxyz")[..4]);
    assert!(matches!(codec.decode(&mut bytes), Err(CodecError::Frame(found)) if found == error));

    // What comes behind a bad frame is anybody's guess, whatever the limit is from now on.
    codec.set_limit(5);
    let mut bytes = BytesMut::from(&frame(0x42, b"wxyz")[..]);
    assert!(matches!(codec.decode(&mut bytes), Err(CodecError::Frame(found)) if found == error));

    let mut codec = FrameCodec::new(4);
    codec.set_limit(5);
    assert_eq!(codec.limit(), 5);
    let mut bytes = BytesMut::new();
    codec.encode(long, &mut bytes).unwrap();
    assert_eq!(bytes, frame(0x42, b"wxyz"));
    assert_eq!(codec.decode(&mut bytes).unwrap().unwrap().as_frame(), long);
}

#[test]
fn a_declared_length_allocates_nothing() {
    let mut codec = FrameCodec::new(MAX_FRAME);
    let mut bytes = BytesMut::from(&[1, 0, 0, 0, 0x11][..]);
    let before = bytes.capacity();
    assert!(codec.decode(&mut bytes).unwrap().is_none());
    assert_eq!((bytes.len(), bytes.capacity()), (5, before));
}

#[test]
fn an_unknown_type_passes_in_both_directions() {
    let mut codec = FrameCodec::new(LIMIT);
    let bytes = frame(0x99, b"from the future");
    let mut source = BytesMut::from(&bytes[..]);
    let read = codec.decode(&mut source).unwrap().unwrap();
    assert_eq!(read.kind, Kind::Unknown(0x99));
    let mut out = BytesMut::new();
    codec.encode(read, &mut out).unwrap();
    assert_eq!(out, bytes);
}

#[test]
fn nothing_of_a_payload_is_printed() {
    let frame = OwnedFrame { kind: Kind::Known(FrameType::HandshakeRequest), payload: b"secret"[..].into() };
    assert_eq!(format!("{frame:?}"), "Frame(HandshakeRequest, 6 bytes)");
}

#[tokio::test]
async fn over_a_stream_frames_pass_and_an_early_end_is_told() {
    let (one, other) = tokio::io::duplex(7);
    let mut reader = Framed::new(other, FrameCodec::new(LIMIT));
    let writer = tokio::spawn(async move {
        let mut writer = Framed::new(one, FrameCodec::new(LIMIT));
        for n in 0..20_u8 {
            let payload = vec![n; usize::from(n) * 10].into();
            writer.send(OwnedFrame { kind: Kind::Known(FrameType::Ping), payload }).await.unwrap();
        }
        writer.get_mut().write_all(&frame(0x41, b"whole")[..8]).await.unwrap();
    });
    for n in 0..20_u8 {
        let frame = reader.next().await.unwrap().unwrap();
        assert_eq!(frame.payload, vec![n; usize::from(n) * 10]);
    }
    let error = reader.next().await.unwrap().unwrap_err();
    assert!(matches!(error, CodecError::Cut { held: 8 }));
    assert_eq!(error.to_string(), "the stream ended within a frame, after 8 bytes of it");
    writer.await.unwrap();
}

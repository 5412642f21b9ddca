//! The decoder against a second reading of the rules, over every short stream and every way to cut it.
// Rule: W-FRAME-1, W-FRAME-2, W-FRAME-3.

use dialback::wire::{Decoder, FrameError, MAX_FRAME};

use super::every;

/// What a reader makes of a stream.
#[derive(Debug, Default, PartialEq)]
struct Reading {
    frames: Vec<(u8, Vec<u8>)>,
    error: Option<FrameError>,
    /// Bytes of a frame that has begun and not ended.
    rest: usize,
}

/// By the rules, all bytes at hand.
fn by_the_rules(mut bytes: &[u8], limit: u32) -> Reading {
    let mut reading = Reading::default();
    while let Some((field, behind)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*field);
        if length == 0 {
            return Reading { error: Some(FrameError::Empty), ..reading };
        }
        if length > limit {
            let error = FrameError::TooLarge { length: length.into(), limit };
            return Reading { error: Some(error), ..reading };
        }
        let Some((body, rest)) = behind.split_at_checked(length as usize) else { break };
        reading.frames.push((body[0], body[1..].to_vec()));
        bytes = rest;
    }
    Reading { rest: bytes.len(), ..reading }
}

/// By the decoder, in pieces.
fn in_pieces<'a>(pieces: impl Iterator<Item = &'a [u8]>, limit: u32) -> Reading {
    let mut decoder = Decoder::new(limit);
    let mut reading = Reading::default();
    for mut piece in pieces {
        loop {
            match decoder.decode(&mut piece) {
                Ok(Some(frame)) => reading.frames.push((frame.kind.to_byte(), frame.payload.to_vec())),
                Ok(None) => break assert!(piece.is_empty()),
                Err(error) => return Reading { error: Some(error), ..reading },
            }
        }
    }
    Reading { rest: decoder.buffered(), ..reading }
}

/// The pieces of `bytes` where bit n of `cuts` cuts behind byte n.
fn cut(bytes: &[u8], cuts: u32) -> impl Iterator<Item = &[u8]> {
    let ends = (1..=bytes.len()).filter(move |end| *end == bytes.len() || cuts & (1 << (end - 1)) != 0);
    ends.scan(0, move |begin, end| Some(&bytes[core::mem::replace(begin, end)..end]))
}

/// Every stream over the alphabet, cut in every way, under limits that bite and one that does not.
fn streams(alphabet: &[u8], most: usize) {
    for length in 0..=most {
        every(alphabet, length, |bytes| {
            for limit in [0, 1, 3, MAX_FRAME, u32::MAX] {
                let right = by_the_rules(bytes, limit);
                for cuts in 0..1_u32 << length.saturating_sub(1) {
                    let read = in_pieces(cut(bytes, cuts), limit);
                    assert_eq!(read, right, "{bytes:?} cut {cuts:b} limit {limit}");
                }
            }
        });
    }
}

#[test]
fn every_short_stream_reads_by_the_rules_however_it_is_cut() {
    streams(&[0, 1, 2, 0xff], 6);
}

#[test]
#[ignore = "big: run it optimised"]
fn every_longer_stream_reads_by_the_rules_however_it_is_cut() {
    streams(&[0, 1, 2, 4, 0xff], 7);
    streams(&[0, 1, 2], 9);
}

/// A header that states any length at all is judged by its length alone, whole or cut anywhere.
fn headers(fields: impl Iterator<Item = u32>) {
    for length in fields {
        let bytes = length.to_be_bytes();
        for limit in [length.saturating_sub(1), length] {
            let right = by_the_rules(&bytes, limit);
            assert_eq!(right.error.is_some(), length == 0 || limit < length);
            assert_eq!(in_pieces(cut(&bytes, 0), limit), right, "{length} under {limit}");
            assert_eq!(in_pieces(cut(&bytes, 0b111), limit), right, "{length} under {limit}");
        }
    }
}

#[test]
fn every_length_field_near_a_power_of_two_is_judged() {
    headers(
        (0..32).flat_map(|bit| (0..64).map(move |more| (1_u32 << bit).wrapping_sub(32).wrapping_add(more))),
    );
}

#[test]
#[ignore = "big: run it optimised"]
fn every_length_field_of_three_bytes_is_judged() {
    headers(0..=0x00ff_ffff);
}

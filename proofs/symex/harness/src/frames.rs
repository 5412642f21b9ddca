//! The decoder against a second reading of the rules W-FRAME-1 to W-FRAME-5, and the encoder against the decoder.

use crate::bytes;
use dialback::testing::inner;
use dialback::wire::{Decoder, FrameError, FrameType, HEADER_LEN, Kind, encode_frame};

extern crate alloc;

/// Where a stream of whole bytes stands, by the rules and without a buffer.
struct Stream<'a> {
    bytes: &'a [u8],
    at: usize,
}

enum Next<'a> {
    Frame(u8, &'a [u8]),
    Bad(FrameError),
    More,
}

impl<'a> Stream<'a> {
    /// What lies at the front of the stream when `there` bytes of it have come.
    fn next(&mut self, there: usize, limit: u32) -> Next<'a> {
        let bytes = &self.bytes[self.at..there];
        if bytes.len() < 4 {
            return Next::More;
        }
        let length = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        if length == 0 {
            return Next::Bad(FrameError::Empty);
        }
        if length > limit {
            return Next::Bad(FrameError::TooLarge { length: length.into(), limit });
        }
        if bytes.len() - 4 < length as usize {
            return Next::More;
        }
        let end = 4 + length as usize;
        self.at += end;
        Next::Frame(bytes[4], &bytes[5..end])
    }
}

const EMPTY: u64 = 16;
const TOO_LARGE: u64 = 32;

/// Feeds `bytes` in pieces that end at `ends`; `limits` are the limits in force from each piece on.
/// Returns the frames, and how it ended.
fn follow<const N: usize>(bytes: &[u8], ends: [usize; N], limits: [u32; N]) -> u64 {
    let mut stream = Stream { bytes, at: 0 };
    let mut decoder = Decoder::new(limits[0]);
    let mut frames = 0;
    let mut begin = 0;
    for (end, limit) in ends.into_iter().zip(limits) {
        decoder.set_limit(limit);
        let mut input = &bytes[begin..end];
        begin = end;
        loop {
            let given = input.len();
            let expected = stream.next(end, limit);
            match decoder.decode(&mut input) {
                Ok(Some(frame)) => {
                    let Next::Frame(kind, payload) = expected else { panic!("a frame that is not there") };
                    assert!(input.len() < given, "a frame out of nothing");
                    assert!(frame.kind == Kind::from_byte(kind) && frame.payload == payload);
                    assert!(decoder.buffered() == 0 && !decoder.is_mid_frame());
                    frames += 1;
                }
                Ok(None) => {
                    assert!(matches!(expected, Next::More), "a frame or an error withheld");
                    assert!(input.is_empty(), "bytes left behind");
                    assert!(decoder.buffered() == end - stream.at);
                    break;
                }
                Err(error) => {
                    assert!(matches!(expected, Next::Bad(right) if right == error), "another error");
                    let left = input.len();
                    assert!(decoder.decode(&mut input) == Err(error), "an error that does not stay");
                    assert!(input.len() == left, "a failed decoder that takes bytes");
                    return frames + if error == FrameError::Empty { EMPTY } else { TOO_LARGE };
                }
            }
        }
    }
    frames
}

/// Any bytes, in one piece, under any limit.
#[unsafe(no_mangle)]
extern "C" fn decoder_whole(place: *const u8, count: usize, limit: u32) -> u64 {
    follow(unsafe { bytes(place, count) }, [count], [limit])
}

/// Any bytes, in two pieces, under any limit.
#[unsafe(no_mangle)]
extern "C" fn decoder_cut(place: *const u8, count: usize, cut: usize, limit: u32) -> u64 {
    follow(unsafe { bytes(place, count) }, [cut, count], [limit; 2])
}

/// Any bytes, in three pieces, under any limit.
#[unsafe(no_mangle)]
extern "C" fn decoder_cut_twice(place: *const u8, count: usize, one: usize, two: usize, limit: u32) -> u64 {
    follow(unsafe { bytes(place, count) }, [one, two, count], [limit; 3])
}

/// Any bytes, in two pieces, and any change of the limit between them.
#[unsafe(no_mangle)]
extern "C" fn decoder_relimit(place: *const u8, count: usize, cut: usize, first: u32, then: u32) -> u64 {
    follow(unsafe { bytes(place, count) }, [cut, count], [first, then])
}

/// The length field for every length of a payload and every limit.
#[unsafe(no_mangle)]
extern "C" fn header_length(payload: usize, limit: u32) -> u64 {
    match inner::header_length(payload, limit) {
        Ok(length) => {
            assert!(length != 0 && length <= limit && length as usize - 1 == payload);
            0
        }
        Err(FrameError::TooLarge { length, limit: told }) => {
            assert!(told == limit && payload >= limit as usize, "refused without need");
            assert!(length == (payload as u64).saturating_add(1));
            1
        }
        Err(FrameError::Empty) => panic!("a frame always has its type byte"),
    }
}

/// What is written is read again, for every payload of the given size, and what is refused leaves no trace.
#[unsafe(no_mangle)]
extern "C" fn round_trip(place: *const u8, count: usize, limit: u32) -> u64 {
    let payload = unsafe { bytes(place, count) };
    let mut out = alloc::vec![0xee];
    match encode_frame(FrameType::Pong, payload, limit, &mut out) {
        Ok(()) => {
            assert!(out.len() == 1 + HEADER_LEN + count);
            let mut input = &out[1..];
            let mut decoder = Decoder::new(limit);
            let Ok(Some(frame)) = decoder.decode(&mut input) else { panic!("written and not readable") };
            assert!(frame.kind == Kind::Known(FrameType::Pong) && frame.payload == payload);
            assert!(input.is_empty());
            0
        }
        Err(_) => {
            assert!(out.len() == 1 && count >= limit as usize);
            1
        }
    }
}

//! The decoder: any cut of the bytes gives the same frames, and memory stays in its bounds (P10).

use alloc::format;
use alloc::vec::Vec;

use crate::wire::{Decoder, FrameError, MAX_FRAME};

use super::input::Input;
use super::{Outcome, ensure};

/// Limits on the length field: the edges, and some between.
pub(super) const LIMITS: [u32; 10] = [0, 1, 2, 5, 40, 300, 5_000, 65_536, 1_000_000, MAX_FRAME];

/// What an idle decoder may keep, and what it may hold beyond its bytes, as the decoder promises.
const IDLE: usize = 8 * 1024;
const BEYOND: usize = 256 * 1024;
const CONSTANT: usize = 1024;

/// As many bytes as a stream has at most: more than the step by which a buffer grows.
const MOST_BYTES: usize = 350_000;

static FILLER: [u8; 8 * 4096] = [0x2a; 8 * 4096];

/// A piece of a stream: bytes of the input, or many alike, so that short inputs make long frames.
pub(super) fn segment<'a>(input: &mut Input<'a>) -> &'a [u8] {
    match input.byte() {
        0xff => &FILLER,
        0xfe => FILLER.get(..1_000).unwrap_or_default(),
        short => input.bytes(usize::from(short)),
    }
}

/// What a stream came to: a digest of its frames, and how it ended.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    frames: u32,
    digest: u64,
    error: Option<FrameError>,
}

impl Seen {
    fn add(&mut self, kind: u8, payload: &[u8]) {
        self.frames = self.frames.saturating_add(1);
        let mix =
            |digest: u64, word: u64| (digest ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        let (words, rest) = payload.as_chunks::<8>();
        let head = mix(mix(self.digest, u64::from(kind)), payload.len() as u64);
        let body = words.iter().fold(head, |digest, word| mix(digest, u64::from_le_bytes(*word)));
        self.digest = rest.iter().fold(body, |digest, byte| mix(digest, u64::from(*byte)));
    }
}

/// Feeds pieces to a decoder and holds its memory against its promise after each call.
struct Run {
    decoder: Decoder,
    received: usize,
    seen: Seen,
}

impl Run {
    fn new(limit: u32) -> Self {
        Self { decoder: Decoder::new(limit), received: 0, seen: Seen { frames: 0, digest: 0, error: None } }
    }

    fn feed(&mut self, piece: &[u8]) -> Outcome {
        let mut input = piece;
        self.received = self.received.saturating_add(piece.len());
        loop {
            match self.decoder.decode(&mut input) {
                Ok(Some(frame)) => self.seen.add(frame.kind.to_byte(), frame.payload),
                Ok(None) => break,
                Err(error) => {
                    let again = self.decoder.decode(&mut input);
                    ensure(again == Err(error), || format!("{error:?} became {again:?}"))?;
                    self.seen.error = Some(error);
                    return self.check_memory();
                }
            }
            self.check_memory()?;
        }
        ensure(input.is_empty(), || format!("{} bytes were left untaken", input.len()))?;
        self.check_memory()?;
        let (held, capacity) = (self.decoder.buffered(), self.decoder.buffered_capacity());
        let most = held.saturating_mul(2).saturating_add(CONSTANT).min(held.saturating_add(BEYOND));
        ensure(capacity <= most.max(IDLE), || format!("{capacity} bytes allocated to hold {held}"))
    }

    fn check_memory(&self) -> Outcome {
        let capacity = self.decoder.buffered_capacity();
        let most = self.received.saturating_mul(2).saturating_add(CONSTANT);
        ensure(capacity <= most, || format!("{capacity} bytes allocated for {} received", self.received))?;
        let held = self.decoder.buffered();
        ensure(held <= self.received, || format!("{held} bytes held of {} received", self.received))
    }
}

/// The same bytes whole, in the pieces that the input says, and byte by byte.
///
/// # Errors
/// When the three differ, or memory is not in its bounds.
pub fn decoder(data: &[u8]) -> Outcome {
    let mut input = Input::new(data);
    let limit = input.one_of(&LIMITS);
    let mut bytes = Vec::with_capacity(data.len());
    let mut pieces = Run::new(limit);
    while !input.is_empty() && bytes.len() < MOST_BYTES {
        let piece = segment(&mut input);
        bytes.extend_from_slice(piece);
        if pieces.seen.error.is_none() {
            pieces.feed(piece)?;
        }
    }
    let mut whole = Run::new(limit);
    whole.feed(&bytes)?;
    same(&whole, &pieces)?;
    // Short ones also byte by byte.
    if bytes.len() <= 256 {
        let mut single = Run::new(limit);
        for byte in bytes.chunks(1) {
            if single.seen.error.is_none() {
                single.feed(byte)?;
            }
        }
        same(&whole, &single)?;
    }
    Ok(())
}

fn same(whole: &Run, cut: &Run) -> Outcome {
    ensure(whole.seen == cut.seen && whole.decoder == cut.decoder, || {
        format!("{:?} when whole, {:?} when cut", whole.seen, cut.seen)
    })
}

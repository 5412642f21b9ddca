//! Frames out of bytes, whatever the cut.

use core::hash::{Hash, Hasher};

use alloc::vec::Vec;

use super::frame::{Frame, FrameError, HEADER_LEN, Kind, judge_length};

/// Bytes of the length field, which does not count itself.
const LENGTH_LEN: usize = 4;

/// What the buffer may hold beyond the bytes in it.
const GROWTH_STEP: usize = 256 * 1024;

/// The smallest buffer worth asking for.
const FIRST_STEP: usize = 1024;

/// What an idle decoder may keep.
const IDLE_CAPACITY: usize = 8 * 1024;

/// Cuts a stream of bytes into frames (W-FRAME-1, W-FRAME-5, P10).
///
/// The bytes may come in any pieces. A frame that lies whole in one piece is borrowed from it; only
/// a partial one is copied. Memory is bounded by the bytes received: at most twice as many plus
/// 1 KiB, and never more than 256 KiB beyond them. A declared length allocates nothing.
///
/// ```text
///          a piece that ends inside a frame
///   idle ----------------------------------> gathering --.
///    |  <-------- the next call --- handed out <---------'  the rest of the frame
///    |                                            |
///    '------------> failed <----------------------'  a header that cannot be; for good
/// ```
///
/// Two decoders are equal when they hold the same bytes, limit and error.
#[derive(Clone, Debug)]
pub struct Decoder {
    limit: u32,
    state: State,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The buffer holds the start of a frame, or nothing.
    Gathering,
    /// The buffer holds a frame that the caller has been given. The next call empties it.
    HandedOut,
    /// A header was wrong; there is no way to find the next frame.
    Failed(FrameError),
}

impl Decoder {
    /// A decoder at the start of a stream. `limit` bounds the length field, in bytes.
    #[must_use]
    pub const fn new(limit: u32) -> Self {
        Self { limit, state: State::Gathering, buffer: Vec::new() }
    }

    /// Changes the limit, in bytes. A frame that is half read is held against the new limit by the
    /// next call of [`Decoder::decode`].
    pub const fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// The limit on the length field, in bytes.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// The bytes held of a frame that is not complete yet.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.held().len()
    }

    /// The bytes allocated, which bound what this decoder costs.
    #[must_use]
    pub const fn buffered_capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Whether a frame has begun and not ended: an end of stream here cuts a frame in two.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        !self.held().is_empty()
    }

    /// Takes bytes off the front of `input` until a frame is complete or `input` is empty.
    ///
    /// `None` means that all of `input` was taken and more is needed. Call again with the rest of
    /// `input` after each frame. The header is judged as soon as its length field is there.
    ///
    /// # Errors
    ///
    /// [`FrameError`] for a length of zero or above the limit. The error stays: the end of the bad
    /// frame is unknown, so every later call gives the same error and takes nothing.
    pub fn decode<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Result<Option<Frame<'a>>, FrameError> {
        self.settle()?;
        if self.buffer.is_empty()
            && let Some(whole) = self.borrow_whole(input)?
        {
            return Ok(Some(whole));
        }
        if !self.gather(input)? {
            return Ok(None);
        }
        self.state = State::HandedOut;
        Ok(frame_of(self.buffer.get(LENGTH_LEN..).unwrap_or_default()))
    }

    /// The bytes of the frame that is being gathered.
    fn held(&self) -> &[u8] {
        match self.state {
            State::Gathering => &self.buffer,
            State::HandedOut | State::Failed(_) => &[],
        }
    }

    /// Reports an old error, or frees what the last call handed out.
    fn settle(&mut self) -> Result<(), FrameError> {
        match self.state {
            State::Failed(error) => Err(error),
            State::Gathering => Ok(()),
            State::HandedOut => {
                self.buffer.clear();
                self.buffer.shrink_to(IDLE_CAPACITY);
                self.state = State::Gathering;
                Ok(())
            }
        }
    }

    /// A frame that lies whole at the front of `input`.
    fn borrow_whole<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Frame<'a>>, FrameError> {
        let Some(end) = self.frame_end(input)? else {
            return Ok(None);
        };
        let Some((whole, rest)) = input.split_at_checked(end) else {
            return Ok(None);
        };
        *input = rest;
        Ok(frame_of(whole.get(LENGTH_LEN..).unwrap_or_default()))
    }

    /// Moves bytes into the buffer; whether it now holds one whole frame.
    fn gather(&mut self, input: &mut &[u8]) -> Result<bool, FrameError> {
        if !self.take_until(LENGTH_LEN, HEADER_LEN, input) {
            return Ok(false);
        }
        match frame_end(&self.buffer, self.limit) {
            Ok(Some(end)) => Ok(self.take_until(end, end, input)),
            Ok(None) => Ok(false),
            Err(error) => self.fail(error),
        }
    }

    /// Copies from `input` until the buffer holds `goal` bytes; whether it does. `end` is how far
    /// this frame can ever fill the buffer.
    fn take_until(&mut self, goal: usize, end: usize, input: &mut &[u8]) -> bool {
        let missing = goal.saturating_sub(self.buffer.len());
        let (taken, rest) = input.split_at(missing.min(input.len()));
        self.make_room(taken.len(), end);
        self.buffer.extend_from_slice(taken);
        *input = rest;
        self.buffer.len() >= goal
    }

    /// Room for `extra` more bytes and for some that may follow, by what has come and not by what
    /// was announced.
    fn make_room(&mut self, extra: usize, end: usize) {
        let needed = self.buffer.len().saturating_add(extra);
        if needed <= self.buffer.capacity() {
            return;
        }
        let spare = needed.clamp(FIRST_STEP, GROWTH_STEP);
        let target = needed.saturating_add(spare).min(end.max(needed));
        self.buffer.reserve_exact(target.saturating_sub(self.buffer.len()));
    }

    fn frame_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, FrameError> {
        frame_end(bytes, self.limit).or_else(|error| self.fail(error))
    }

    fn fail<T>(&mut self, error: FrameError) -> Result<T, FrameError> {
        self.state = State::Failed(error);
        self.buffer = Vec::new();
        Err(error)
    }
}

/// Where the frame at the front of `bytes` ends, once its length field is there.
pub(crate) fn frame_end(bytes: &[u8], limit: u32) -> Result<Option<usize>, FrameError> {
    let Some(field) = bytes.first_chunk::<LENGTH_LEN>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*field);
    judge_length(u64::from(length), limit)?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    Ok(Some(length.saturating_add(LENGTH_LEN)))
}

/// The frame whose type byte and payload these are.
fn frame_of(bytes: &[u8]) -> Option<Frame<'_>> {
    let (byte, payload) = bytes.split_first()?;
    Some(Frame { kind: Kind::from_byte(*byte), payload })
}

impl Decoder {
    /// What two equal decoders have in common.
    fn essence(&self) -> (u32, Option<FrameError>, &[u8]) {
        let error = match self.state {
            State::Gathering | State::HandedOut => None,
            State::Failed(error) => Some(error),
        };
        (self.limit, error, self.held())
    }
}

impl PartialEq for Decoder {
    fn eq(&self, other: &Self) -> bool {
        self.essence() == other.essence()
    }
}

impl Eq for Decoder {}

impl Hash for Decoder {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.essence().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::{FrameType, MAX_FRAME};
    use alloc::vec;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let body = [&[kind], payload].concat();
        let length = u32::try_from(body.len()).unwrap();
        [&length.to_be_bytes()[..], &body].concat()
    }

    #[test]
    fn a_whole_frame_is_borrowed_from_the_input() {
        let bytes = [frame(0x41, b"abc"), frame(0x99, b"")].concat();
        let mut decoder = Decoder::new(MAX_FRAME);
        let mut input = bytes.as_slice();
        let first = decoder.decode(&mut input).unwrap().unwrap();
        assert_eq!(first.kind, Kind::Known(FrameType::Ping));
        assert!(core::ptr::eq(first.payload, &bytes[5..8]));
        let second = decoder.decode(&mut input).unwrap().unwrap();
        assert_eq!((second.kind, second.payload), (Kind::Unknown(0x99), &[][..]));
        assert_eq!(decoder.decode(&mut input), Ok(None));
        assert_eq!(decoder.buffered_capacity(), 0, "nothing was copied");
    }

    #[test]
    fn every_cut_in_two_gives_the_same_frame() {
        let bytes = frame(0x20, b"hello");
        for cut in 0..=bytes.len() {
            let mut decoder = Decoder::new(MAX_FRAME);
            let (mut head, mut tail) = bytes.split_at(cut);
            let mut seen = 0;
            if let Some(frame) = decoder.decode(&mut head).unwrap() {
                assert_eq!(frame.payload, b"hello");
                seen += 1;
            }
            assert!(head.is_empty());
            assert_eq!(decoder.is_mid_frame(), cut > 0 && cut < bytes.len());
            if let Some(frame) = decoder.decode(&mut tail).unwrap() {
                assert_eq!(frame.payload, b"hello");
                seen += 1;
            }
            assert_eq!((seen, decoder.buffered()), (1, 0));
        }
    }

    #[test]
    fn a_bad_length_is_judged_at_its_fourth_byte_and_stays() {
        let mut decoder = Decoder::new(10);
        assert_eq!(decoder.decode(&mut [0, 0, 0].as_slice()), Ok(None));
        let error = FrameError::TooLarge { length: 11, limit: 10 };
        assert_eq!(decoder.decode(&mut [11].as_slice()), Err(error));
        let good = frame(0x41, b"");
        let mut input = good.as_slice();
        assert_eq!(decoder.decode(&mut input), Err(error));
        assert_eq!(input.len(), good.len(), "a failed decoder takes nothing");
        let mut whole = Decoder::new(10);
        assert_eq!(whole.decode(&mut [0, 0, 0, 0].as_slice()), Err(FrameError::Empty));
    }

    #[test]
    // Rule: W-FRAME-3.
    fn the_limit_counts_the_type_byte() {
        let mut decoder = Decoder::new(4);
        let bytes = frame(0x41, b"abc");
        assert!(decoder.decode(&mut bytes.as_slice()).unwrap().is_some());
        let bytes = frame(0x41, b"abcd");
        assert!(decoder.decode(&mut bytes.as_slice()).is_err());
    }

    #[test]
    fn a_declared_length_allocates_nothing_by_itself() {
        let mut decoder = Decoder::new(MAX_FRAME);
        assert_eq!(decoder.decode(&mut [1, 0, 0, 0, 0x11].as_slice()), Ok(None));
        assert!(decoder.buffered_capacity() <= 2 * 5 + FIRST_STEP);
        let piece = vec![0; 1024 * 1024];
        for _ in 0..15 {
            assert_eq!(decoder.decode(&mut piece.as_slice()), Ok(None));
            let over = decoder.buffered_capacity() - decoder.buffered();
            assert!(over <= GROWTH_STEP, "{over}");
        }
    }

    #[test]
    fn a_big_frame_is_freed_by_the_call_after_it() {
        let bytes = frame(0x11, &vec![7; 100_000]);
        let mut decoder = Decoder::new(MAX_FRAME);
        let (mut head, mut tail) = bytes.split_at(50_000);
        assert_eq!(decoder.decode(&mut head), Ok(None));
        assert!(decoder.decode(&mut tail).unwrap().is_some());
        assert_eq!(decoder.buffered(), 0);
        assert_eq!(decoder.decode(&mut [].as_slice()), Ok(None));
        assert!(decoder.buffered_capacity() <= IDLE_CAPACITY);
        assert_eq!(decoder, Decoder::new(MAX_FRAME));
    }

    #[test]
    fn a_new_limit_holds_for_the_frame_that_is_half_read() {
        let mut decoder = Decoder::new(100);
        let bytes = frame(0x41, &[0; 50]);
        assert_eq!(decoder.decode(&mut &bytes[..10]), Ok(None));
        decoder.set_limit(20);
        assert_eq!(decoder.limit(), 20);
        assert!(decoder.decode(&mut &bytes[10..]).is_err());
    }

    fn hash(decoder: &Decoder) -> u64 {
        #[allow(deprecated)]
        let mut hasher = core::hash::SipHasher::new();
        decoder.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn two_are_equal_that_hold_the_same_bytes_limit_and_error() {
        let fed = |limit, bytes: &[u8]| {
            let mut decoder = Decoder::new(limit);
            let _ = decoder.decode(&mut &*bytes);
            decoder
        };
        let different = [
            fed(10, b""),
            fed(11, b""),
            fed(10, &[0]),
            fed(10, &[0, 0]),
            fed(10, &[0, 0, 0, 2]),
            fed(10, &[0, 0, 0, 2, 1]),
            fed(10, &[0, 0, 0, 0]),
            fed(10, &[0, 0, 0, 11]),
            fed(10, &[0, 0, 0, 12]),
        ];
        for (n, one) in different.iter().enumerate() {
            for (m, other) in different.iter().enumerate() {
                assert_eq!((one == other, hash(one) == hash(other)), (n == m, n == m), "{one:?} {other:?}");
            }
        }
        // What was handed out is held no more, and how the bytes came does not matter.
        assert_eq!(fed(10, &frame(0x41, b"")), fed(10, b""));
        let mut slow = fed(10, &[0, 0]);
        let _ = slow.decode(&mut [0, 2, 1].as_slice());
        assert_eq!((&slow, hash(&slow)), (&different[5], hash(&different[5])));
    }

    #[test]
    fn what_is_held_is_told() {
        let mut decoder = Decoder::new(100);
        assert_eq!((decoder.buffered(), decoder.is_mid_frame(), decoder.buffered_capacity()), (0, false, 0));
        assert_eq!(decoder.decode(&mut [0, 0, 0, 9, 0x41, 1].as_slice()), Ok(None));
        assert_eq!((decoder.buffered(), decoder.is_mid_frame()), (6, true));
        assert!(decoder.buffered_capacity() >= 6);
    }

    #[test]
    fn a_buffer_that_is_small_enough_is_kept_for_the_next_frame() {
        let bytes = frame(0x11, &[7; 6_000]);
        let mut decoder = Decoder::new(MAX_FRAME);
        for _ in 0..3 {
            let (mut head, mut tail) = bytes.split_at(3_000);
            assert_eq!(decoder.decode(&mut head), Ok(None));
            assert!(decoder.decode(&mut tail).unwrap().is_some());
            assert_eq!(decoder.decode(&mut [].as_slice()), Ok(None));
            assert!(decoder.buffered_capacity() >= bytes.len(), "it was given back");
        }
    }

    #[test]
    // Rule: W-FRAME-5.
    fn a_frame_in_small_pieces_moves_the_buffer_seldom() {
        let bytes = frame(0x11, &vec![7; 2_000_000]);
        let mut decoder = Decoder::new(MAX_FRAME);
        let mut capacities = Vec::new();
        for mut piece in bytes.chunks(1_000) {
            decoder.decode(&mut piece).unwrap();
            capacities.push(decoder.buffered_capacity());
        }
        capacities.dedup();
        assert!(capacities.len() < 25, "{} times", capacities.len());
    }
}

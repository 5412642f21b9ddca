//! The decoder against one that is too simple to be wrong.

use alloc::format;
use alloc::vec::Vec;

use crate::wire::{Decoder, FrameError};

use super::decoder::{LIMITS, segment};
use super::input::Input;
use super::{Outcome, ensure};

/// Keeps every byte that no frame has used, and looks at all of them again each time.
struct Naive {
    limit: u32,
    bytes: Vec<u8>,
    error: Option<FrameError>,
}

impl Naive {
    fn next(&mut self) -> Result<Option<(u8, Vec<u8>)>, FrameError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let Some(field) = self.bytes.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*field);
        if length == 0 {
            self.error = Some(FrameError::Empty);
        } else if length > self.limit {
            self.error = Some(FrameError::TooLarge { length: u64::from(length), limit: self.limit });
        }
        if let Some(error) = self.error {
            return Err(error);
        }
        let end = (length as usize).saturating_add(4);
        if self.bytes.len() < end {
            return Ok(None);
        }
        let rest = self.bytes.split_off(end);
        let frame = core::mem::replace(&mut self.bytes, rest);
        let kind = frame.get(4).copied().unwrap_or(0);
        Ok(Some((kind, frame.get(5..).unwrap_or_default().to_vec())))
    }
}

/// As many bytes as a stream has at most.
const MOST_BYTES: usize = 80_000;

/// Pieces and new limits, to both decoders alike.
///
/// # Errors
/// When they differ in a frame, an error, or the bytes of an unfinished frame.
pub fn reference(data: &[u8]) -> Outcome {
    let mut input = Input::new(data);
    let limit = input.one_of(&LIMITS);
    let mut real = Decoder::new(limit);
    let mut naive = Naive { limit, bytes: Vec::new(), error: None };
    let mut received = 0_usize;
    while !input.is_empty() && received < MOST_BYTES {
        let mut piece = match input.byte() {
            0..=0x1f => {
                naive.limit = input.one_of(&LIMITS);
                real.set_limit(naive.limit);
                &[][..]
            }
            _ => segment(&mut input),
        };
        received = received.saturating_add(piece.len());
        naive.bytes.extend_from_slice(piece);
        loop {
            let wanted = naive.next();
            let read =
                real.decode(&mut piece).map(|frame| frame.map(|frame| (frame.kind.to_byte(), frame.payload)));
            let same = match (&wanted, &read) {
                (Ok(Some((kind, payload))), Ok(Some(frame))) => (*kind, payload.as_slice()) == *frame,
                (Ok(None), Ok(None)) => true,
                (Err(wanted), Err(read)) => wanted == read,
                (Ok(_), Ok(_)) | (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
            };
            ensure(same, || format!("{read:?}, and should be {wanted:?}"))?;
            match wanted {
                Ok(Some(_)) => {}
                Ok(None) => break,
                // A decoder that has failed stays so; there is nothing more to compare.
                Err(error) => {
                    let again = real.decode(&mut &b"\0\0\0\x01A"[..]);
                    return ensure(again == Err(error), || format!("{error:?} became {again:?}"));
                }
            }
        }
        let (held, should) = (real.buffered(), naive.bytes.len());
        ensure(held == should, || format!("{held} bytes held, and should be {should}"))?;
        ensure(real.is_mid_frame() == (should > 0), || format!("mid-frame is wrong with {should} held"))?;
        ensure(real.limit() == naive.limit, || format!("the limit is {}", real.limit()))?;
    }
    Ok(())
}

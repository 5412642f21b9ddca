//! Frames into bytes, straight into the caller's buffer.

use core::fmt;

use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;

use super::encoding::Encoding;
use super::frame::{FrameError, FrameType, HEADER_LEN, judge_length};

/// Why a message could not be written.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum EncodeError {
    /// The frame would break the size limit; the reader at the other end would refuse it.
    Frame(FrameError),
    /// The message has no form in the encoding. Says why.
    Message(String),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => error.fmt(f),
            Self::Message(text) => write!(f, "the message cannot be encoded: {text}"),
        }
    }
}

impl core::error::Error for EncodeError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Frame(error) => Some(error),
            Self::Message(_) => None,
        }
    }
}

impl From<FrameError> for EncodeError {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

/// Appends one frame with the given payload to `out`. `limit` bounds type byte and payload together,
/// in bytes.
///
/// # Errors
///
/// [`FrameError::TooLarge`]; `out` is then as it was (P15).
///
/// ```
/// use dialback::wire::{FrameError, FrameType, MAX_FRAME, encode_frame};
///
/// let mut out = Vec::new();
/// encode_frame(FrameType::Pong, b"{}", MAX_FRAME, &mut out)?;
/// assert_eq!(out, b"\x00\x00\x00\x03\x42{}");
/// # Ok::<(), FrameError>(())
/// ```
pub fn encode_frame(
    kind: FrameType,
    payload: &[u8],
    limit: u32,
    out: &mut Vec<u8>,
) -> Result<(), FrameError> {
    let length = header_length(payload.len(), limit)?;
    out.reserve(HEADER_LEN.saturating_add(payload.len()));
    out.extend_from_slice(&length.to_be_bytes());
    out.push(kind.to_byte());
    out.extend_from_slice(payload);
    Ok(())
}

/// Appends one frame that carries `message` to `out`. `limit` bounds type byte and payload together,
/// in bytes.
///
/// # Errors
///
/// [`EncodeError`] when the message has no form in the encoding or its frame would be too large;
/// `out` is then as it was (P15).
pub fn encode_message<T: Serialize>(
    kind: FrameType,
    encoding: Encoding,
    message: &T,
    limit: u32,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    encode_frame_with(kind, limit, out, |out| encoding.encode(message, out))
}

/// Appends one frame to `out` whose payload is what `write` appends. `write` must only append.
///
/// # Errors
///
/// The error of `write`, or a frame that would be too large; `out` is then as it was (P15).
pub fn encode_frame_with<F>(
    kind: FrameType,
    limit: u32,
    out: &mut Vec<u8>,
    write: F,
) -> Result<(), EncodeError>
where
    F: FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
{
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind.to_byte()]);
    let written = write(out).and_then(|()| patch_length(start, limit, out));
    if written.is_err() {
        out.truncate(start);
    }
    written
}

/// Fills in the length of the frame that begins at `start`.
fn patch_length(start: usize, limit: u32, out: &mut [u8]) -> Result<(), EncodeError> {
    let payload = out.len().saturating_sub(start).saturating_sub(HEADER_LEN);
    let length = header_length(payload, limit)?;
    if let Some(field) = out.get_mut(start..).and_then(<[u8]>::first_chunk_mut) {
        *field = length.to_be_bytes();
    }
    Ok(())
}

/// The length field for a payload of so many bytes.
pub(crate) fn header_length(payload: usize, limit: u32) -> Result<u32, FrameError> {
    let length = u64::try_from(payload).unwrap_or(u64::MAX).saturating_add(1);
    judge_length(length, limit)?;
    u32::try_from(length).map_err(|_| FrameError::TooLarge { length, limit })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    // Rule: W-FRAME-1.
    fn a_frame_is_length_type_payload() {
        let mut out = b"before".to_vec();
        encode_frame(FrameType::Pong, b"xyz", 4, &mut out).unwrap();
        assert_eq!(out, b"before\x00\x00\x00\x04\x42xyz");
    }

    #[test]
    fn a_message_is_written_behind_its_header() {
        let mut out = b"before".to_vec();
        encode_message(FrameType::Ping, Encoding::Json, &[1, 2], 100, &mut out).unwrap();
        assert_eq!(out, b"before\x00\x00\x00\x06\x41[1,2]");
    }

    #[test]
    fn what_is_too_large_leaves_the_buffer_as_it_was() {
        let mut out = b"before".to_vec();
        let error = FrameError::TooLarge { length: 5, limit: 4 };
        assert_eq!(encode_frame(FrameType::Pong, b"wxyz", 4, &mut out), Err(error));
        let message = encode_message(FrameType::Ping, Encoding::Json, &[10], 4, &mut out);
        assert_eq!(message, Err(EncodeError::Frame(error)));
        assert_eq!(out, b"before");
    }

    #[test]
    fn a_failing_message_leaves_the_buffer_as_it_was() {
        struct Bad;
        impl Serialize for Bad {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                use serde::ser::{Error, SerializeSeq};
                let mut seq = s.serialize_seq(None)?;
                seq.serialize_element("half")?;
                Err(S::Error::custom("no more"))
            }
        }
        let mut out = b"before".to_vec();
        let error = encode_message(FrameType::Ping, Encoding::Json, &Bad, 100, &mut out);
        assert!(error.unwrap_err().to_string().contains("no more"));
        assert_eq!(out, b"before");
    }

    #[test]
    // Rule: W-FRAME-6.
    fn an_error_says_why_and_where_it_came_from() {
        let frame = FrameError::TooLarge { length: 5, limit: 4 };
        let error = EncodeError::from(frame);
        assert_eq!(error.to_string(), frame.to_string());
        let source = core::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(source, Some(frame.to_string()));
        let error = EncodeError::Message("no form".into());
        assert_eq!(error.to_string(), "the message cannot be encoded: no form");
        assert!(core::error::Error::source(&error).is_none());
    }
}

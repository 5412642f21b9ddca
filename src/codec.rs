//! Frames alone, for `tokio_util`'s `Framed`. Feature `codec`.
//!
//! For tools that read or write the wire and want no session: proxies of the bytes, recorders,
//! test peers. It pulls in `tokio-util` and `bytes`, and neither sockets nor tasks.
//!
//! ```
//! use dialback::codec::{FrameCodec, OwnedFrame};
//! use dialback::wire::{Encoding, FrameType, MAX_FRAME, Ping};
//! use futures_util::{SinkExt, StreamExt};
//! use tokio_util::codec::Framed;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (one, other) = tokio::io::duplex(64);
//! let mut one = Framed::new(one, FrameCodec::new(MAX_FRAME));
//! let mut other = Framed::new(other, FrameCodec::new(MAX_FRAME));
//!
//! let ping = Ping { sequence: 7, timestamp_ms: 1 };
//! one.send(OwnedFrame::encode(FrameType::Ping, Encoding::Json, &ping)?).await?;
//!
//! let frame = other.next().await.ok_or("no frame")??;
//! assert_eq!(frame.decode::<Ping>(Encoding::Json)?, ping);
//! # Ok(())
//! # }
//! ```

use std::{fmt, io};

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use tokio_util::codec::{Decoder, Encoder};

use crate::wire::decoder::frame_end;
use crate::wire::encoder::header_length;
use crate::wire::{DecodeError, EncodeError, Encoding, Frame, FrameError, FrameType, HEADER_LEN, Kind};

/// Cuts bytes into frames and writes frames as bytes, as [`crate::wire::Decoder`] and
/// [`crate::wire::encode_frame`] do.
///
/// A declared length allocates nothing. The first error stays: the end of a bad frame is unknown.
#[derive(Clone, Debug)]
pub struct FrameCodec {
    limit: u32,
    failed: Option<FrameError>,
}

impl FrameCodec {
    /// A codec at the start of a stream. `limit` bounds type byte and payload together, in bytes,
    /// in both directions: [`crate::wire::MAX_FRAME_BEFORE_REGISTRATION`] until a peer has
    /// registered, [`crate::wire::MAX_FRAME`] afterwards.
    #[must_use]
    pub const fn new(limit: u32) -> Self {
        Self { limit, failed: None }
    }

    /// Changes the limit, in bytes. It holds for the frame that is half read, too.
    pub const fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// The limit, in bytes.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.limit
    }
}

impl Decoder for FrameCodec {
    type Item = OwnedFrame;
    type Error = CodecError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<OwnedFrame>, CodecError> {
        if let Some(error) = self.failed {
            return Err(error.into());
        }
        let end = match frame_end(source, self.limit) {
            Ok(end) => end,
            Err(error) => {
                self.failed = Some(error);
                return Err(error.into());
            }
        };
        let Some(end) = end.filter(|end| *end <= source.len()) else { return Ok(None) };
        let whole = source.split_to(end).freeze();
        // A length of zero was refused, so the type byte is there.
        let Some(byte) = whole.get(HEADER_LEN.saturating_sub(1)) else { return Ok(None) };
        Ok(Some(OwnedFrame { kind: Kind::from_byte(*byte), payload: whole.slice(HEADER_LEN..) }))
    }

    fn decode_eof(&mut self, source: &mut BytesMut) -> Result<Option<OwnedFrame>, CodecError> {
        match self.decode(source)? {
            None if !source.is_empty() => Err(CodecError::Cut { held: source.len() }),
            frame => Ok(frame),
        }
    }
}

impl Encoder<Frame<'_>> for FrameCodec {
    type Error = CodecError;

    /// Appends a frame. One that is too long is an error, and `out` is then as it was.
    fn encode(&mut self, frame: Frame<'_>, out: &mut BytesMut) -> Result<(), CodecError> {
        let length = header_length(frame.payload.len(), self.limit)?;
        out.reserve(HEADER_LEN.saturating_add(frame.payload.len()));
        out.put_u32(length);
        out.put_u8(frame.kind.to_byte());
        out.put_slice(frame.payload);
        Ok(())
    }
}

impl Encoder<OwnedFrame> for FrameCodec {
    type Error = CodecError;

    /// Appends a frame. One that is too long is an error, and `out` is then as it was.
    fn encode(&mut self, frame: OwnedFrame, out: &mut BytesMut) -> Result<(), CodecError> {
        self.encode(frame.as_frame(), out)
    }
}

/// One frame with its payload. Frames that were read share the memory of what was read with them.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct OwnedFrame {
    /// What the type byte says.
    pub kind: Kind,
    /// The bytes after the type byte.
    pub payload: Bytes,
}

impl OwnedFrame {
    /// A frame that carries `message`.
    ///
    /// # Errors
    /// If the message has no form in the encoding, or that was not compiled in.
    pub fn encode<T: Serialize>(
        kind: FrameType,
        encoding: Encoding,
        message: &T,
    ) -> Result<Self, EncodeError> {
        let mut payload = Vec::new();
        encoding.encode(message, &mut payload)?;
        Ok(Self { kind: Kind::Known(kind), payload: payload.into() })
    }

    /// Reads the message that the frame carries.
    ///
    /// # Errors
    /// If the payload is no such message, or its encoding was not compiled in.
    pub fn decode<T: DeserializeOwned>(&self, encoding: Encoding) -> Result<T, DecodeError> {
        encoding.decode(&self.payload)
    }

    /// The frame, borrowed.
    #[must_use]
    pub fn as_frame(&self) -> Frame<'_> {
        Frame { kind: self.kind, payload: &self.payload }
    }
}

impl fmt::Debug for OwnedFrame {
    // A payload may hold bodies and secrets, so only its length is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_frame().fmt(f)
    }
}

/// Why a frame could not be read or written.
#[derive(Debug)]
pub enum CodecError {
    /// A frame that cannot be.
    Frame(FrameError),
    /// The stream ended within a frame.
    Cut {
        /// The bytes that were there of it.
        held: usize,
    },
    /// The stream failed.
    Io(io::Error),
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => error.fmt(f),
            Self::Cut { held } => write!(f, "the stream ended within a frame, after {held} bytes of it"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CodecError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Frame(error) => Some(error),
            Self::Cut { .. } => None,
            Self::Io(error) => Some(error),
        }
    }
}

impl From<FrameError> for CodecError {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl From<io::Error> for CodecError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

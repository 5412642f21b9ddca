//! The frame: its header, its types and what may be wrong with it.

use core::fmt;

/// Bytes of a frame header: four of length, one of type.
pub const HEADER_LEN: usize = 5;

/// The largest frame on a registered connection, in bytes: 16 MiB (W-FRAME-3).
///
/// Bounds the length field, which counts the type byte and the payload, when reading and when
/// writing. So whatever one side writes, the other can read.
pub const MAX_FRAME: u32 = 16_777_216;

/// The largest frame before registration, in bytes: 64 KiB (W-FRAME-4, P7). Counted as [`MAX_FRAME`] is.
pub const MAX_FRAME_BEFORE_REGISTRATION: u32 = 65_536;

macro_rules! frame_types {
    ($($(#[$doc:meta])* $name:ident = $byte:literal,)+) => {
        /// What a frame carries, as its type byte says (W-TYPE-1).
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[repr(u8)]
        pub enum FrameType {
            $($(#[$doc])* $name = $byte,)+
        }

        impl FrameType {
            /// Every type, in the order of the type bytes.
            pub const ALL: [Self; 18] = [$(Self::$name,)+];

            /// The type that `byte` stands for, if it is a known one.
            #[must_use]
            pub const fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($byte => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// The byte that stands for this type.
            #[must_use]
            pub const fn to_byte(self) -> u8 {
                match self {
                    $(Self::$name => $byte,)+
                }
            }

            /// The name of this type, as the protocol spells it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }
        }
    };
}

frame_types! {
    /// Dialer to accepter: a registration, or a forward handshake request.
    HandshakeRequest = 0x01,
    /// Accepter to dialer: the answer to a handshake request.
    HandshakeResponse = 0x02,
    /// Proxy to agent: the headers of a request.
    RequestHeaders = 0x10,
    /// Proxy to agent: a piece of a request's body.
    RequestBodyChunk = 0x11,
    /// Proxy to agent: the headers of a response.
    ResponseHeaders = 0x12,
    /// Proxy to agent: a piece of a response's body.
    ResponseBodyChunk = 0x13,
    /// Proxy to agent: a request is over.
    RequestComplete = 0x14,
    /// Proxy to agent: one WebSocket frame.
    WebSocketFrame = 0x15,
    /// Proxy to agent: content to inspect.
    GuardrailInspect = 0x16,
    /// Proxy to agent: the agent's configuration.
    Configure = 0x17,
    /// Agent to proxy: the answer to one event.
    AgentResponse = 0x20,
    /// Agent to proxy: how the agent is.
    HealthStatus = 0x30,
    /// Agent to proxy: counters, gauges and histograms.
    MetricsReport = 0x31,
    /// Agent to proxy: a wish about its configuration.
    ConfigUpdateRequest = 0x32,
    /// Agent to proxy: pause, resume, capacity.
    FlowControl = 0x33,
    /// Proxy to agent: a request is given up.
    Cancel = 0x40,
    /// Either way: asks for a [`FrameType::Pong`] with the same payload.
    Ping = 0x41,
    /// Either way: the payload of a [`FrameType::Ping`], sent back.
    Pong = 0x42,
}

impl fmt::Display for FrameType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the type byte of a received frame said.
///
/// An unknown type is not an error: its frame is skipped and counted (W-TYPE-2, P11).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// A type of this protocol.
    Known(FrameType),
    /// A byte that stands for no known type.
    Unknown(u8),
}

impl Kind {
    /// What `byte` stands for.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        match FrameType::from_byte(byte) {
            Some(known) => Self::Known(known),
            None => Self::Unknown(byte),
        }
    }

    /// The type byte.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Known(known) => known.to_byte(),
            Self::Unknown(byte) => byte,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(known) => known.fmt(f),
            Self::Unknown(byte) => write!(f, "unknown type {byte:#04x}"),
        }
    }
}

/// One received frame. The payload is borrowed from the input or from the decoder.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Frame<'a> {
    /// What the type byte said.
    pub kind: Kind,
    /// The bytes after the type byte.
    pub payload: &'a [u8],
}

impl fmt::Debug for Frame<'_> {
    // A payload may hold bodies and secrets, so only its length is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({}, {} bytes)", self.kind, self.payload.len())
    }
}

/// A frame that cannot be.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum FrameError {
    /// The length is zero: there is no type byte (W-FRAME-2).
    Empty,
    /// The length is above the limit.
    TooLarge {
        /// The length of the frame: type byte and payload, in bytes.
        length: u64,
        /// The limit that it was held against, in bytes.
        limit: u32,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => {
                f.write_str("a frame has length 0; the length counts the type byte, so it must be at least 1")
            }
            Self::TooLarge { length, limit } => write!(
                f,
                "a frame has length {length}; type byte and payload together must be at most \
                 {limit} bytes"
            ),
        }
    }
}

impl core::error::Error for FrameError {}

/// Holds a length, as the header states it, against a limit.
///
/// # Errors
///
/// [`FrameError`] when the length is zero or above the limit.
pub(crate) const fn judge_length(length: u64, limit: u32) -> Result<(), FrameError> {
    if length == 0 {
        return Err(FrameError::Empty);
    }
    // Widening; `u64::from` is not const.
    if length > limit as u64 {
        return Err(FrameError::TooLarge { length, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    // Rule: W-TYPE-1.
    fn every_type_byte_round_trips_and_only_eighteen_are_known() {
        for kind in FrameType::ALL {
            assert_eq!(FrameType::from_byte(kind.to_byte()), Some(kind));
            assert_eq!(kind as u8, kind.to_byte());
            assert_eq!(kind.to_string(), kind.name());
        }
        let known = (0..=u8::MAX).filter(|byte| FrameType::from_byte(*byte).is_some()).count();
        assert_eq!(known, FrameType::ALL.len());
        assert!(FrameType::ALL.is_sorted_by(|a, b| a.to_byte() < b.to_byte()));
    }

    #[test]
    fn every_byte_is_a_kind() {
        for byte in 0..=u8::MAX {
            assert_eq!(Kind::from_byte(byte).to_byte(), byte);
        }
        assert_eq!(Kind::from_byte(0x7b), Kind::Unknown(0x7b));
        assert_eq!(Kind::Unknown(0x7b).to_string(), "unknown type 0x7b");
        assert_eq!(Kind::from_byte(0x41).to_string(), "Ping");
    }

    #[test]
    fn the_limit_itself_is_allowed() {
        assert_eq!(judge_length(1, 1), Ok(()));
        assert_eq!(judge_length(u64::from(MAX_FRAME), MAX_FRAME), Ok(()));
        assert_eq!(judge_length(0, MAX_FRAME), Err(FrameError::Empty));
        let over = FrameError::TooLarge { length: 11, limit: 10 };
        assert_eq!(judge_length(11, 10), Err(over));
    }

    #[test]
    fn errors_say_what_would_be_right() {
        assert!(FrameError::Empty.to_string().contains("at least 1"));
        let error = FrameError::TooLarge { length: 70_000, limit: 65_536 };
        let text = error.to_string();
        assert!(text.contains("70000") && text.contains("at most 65536"), "{text}");
    }

    #[test]
    fn debug_does_not_print_the_payload() {
        let frame = Frame { kind: Kind::Known(FrameType::Ping), payload: b"secret" };
        assert_eq!(alloc::format!("{frame:?}"), "Frame(Ping, 6 bytes)");
    }
}

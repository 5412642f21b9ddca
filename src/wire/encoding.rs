//! How a payload is written: JSON, or MessagePack where a handshake negotiated it.

use core::fmt::{self, Write};

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::encoder::EncodeError;
use super::json;

/// The longest text kept of a decoding error, in bytes. The rest could be the peer's payload.
const MAX_ERROR_TEXT: usize = 240;

/// The encoding of the payloads on a connection (W-ENC-2). Handshake frames are always JSON
/// (W-ENC-1).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Encoding {
    /// JSON, UTF-8. Bodies are base64.
    #[default]
    Json,
    /// MessagePack, structs as maps with named fields. Bodies are raw bytes. Needs the cargo feature
    /// `msgpack`.
    MessagePack,
    /// MessagePack with bodies as base64 text (W-BODY-2). The same name on the wire, and read by the same rules;
    /// written to peers that came by the forward handshake. Deployed agents read a body's field as
    /// text only: raw bytes that happen to be text are taken for base64, and raw bytes that are not
    /// make the event unreadable, which those agents answer with Allow.
    MessagePackText,
}

impl Encoding {
    /// One encoding for each name on the wire.
    pub const ALL: [Self; 2] = [Self::Json, Self::MessagePack];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::MessagePack | Self::MessagePackText => "msgpack",
        }
    }

    /// The encoding of that name on the wire, if it is a known one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// The form of this encoding that every deployed peer reads.
    #[must_use]
    pub const fn with_text_bodies(self) -> Self {
        match self {
            Self::Json => Self::Json,
            Self::MessagePack | Self::MessagePackText => Self::MessagePackText,
        }
    }

    /// Whether this build can read and write it.
    #[must_use]
    pub const fn is_supported(self) -> bool {
        match self {
            Self::Json => true,
            Self::MessagePack | Self::MessagePackText => cfg!(feature = "msgpack"),
        }
    }

    /// Appends `message` to `out`.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Message`] when the message has no form in this encoding, or the encoding is
    /// not in this build; `out` is then as it was (P15).
    pub fn encode<T: Serialize + ?Sized>(self, message: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        let written = match self {
            Self::Json => json::write(message, out).map_err(|error| error.to_string()),
            Self::MessagePack => write_messagepack(message, out, false),
            Self::MessagePackText => write_messagepack(message, out, true),
        };
        written.map_err(|text| {
            out.truncate(start);
            EncodeError::Message(text)
        })
    }

    /// Reads one message from exactly these bytes.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when the bytes are not well-formed, do not fit the type, or go on after the
    /// message; or when the encoding is not in this build.
    // Rule: W-ENC-3.
    pub fn decode<'de, T: Deserialize<'de>>(self, bytes: &'de [u8]) -> Result<T, DecodeError> {
        match self {
            Self::Json => json::read(bytes).map_err(|error| DecodeError::new(&error)),
            Self::MessagePack | Self::MessagePackText => read_messagepack(bytes),
        }
    }
}

impl Serialize for Encoding {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Encoding {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = alloc::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| serde::de::Error::unknown_variant(&name, &["json", "msgpack"]))
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(feature = "msgpack")]
fn write_messagepack<T: Serialize + ?Sized>(
    message: &T,
    out: &mut Vec<u8>,
    text: bool,
) -> Result<(), String> {
    let mut serializer = rmp_serde::Serializer::new(out).with_struct_map();
    // A body asks whether its form is to be human-readable, and nothing else here does.
    let written = if text {
        message.serialize(&mut serializer.with_human_readable())
    } else {
        message.serialize(&mut serializer)
    };
    written.map_err(|error| error.to_string())
}

#[cfg(not(feature = "msgpack"))]
fn write_messagepack<T: Serialize + ?Sized>(_: &T, _: &mut Vec<u8>, _: bool) -> Result<(), String> {
    Err(NO_MESSAGEPACK.to_string())
}

#[cfg(feature = "msgpack")]
fn read_messagepack<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, DecodeError> {
    /// As deep as JSON may nest, so that no payload can exhaust the stack.
    const MAX_DEPTH: usize = 128;
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    deserializer.set_max_depth(MAX_DEPTH);
    let message = T::deserialize(&mut deserializer).map_err(|error| DecodeError::new(&error))?;
    // The reader does not tell how far it came; a marker that can still be read is a trailing byte.
    match Nothing::deserialize(&mut deserializer) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(message),
        Ok(_) | Err(_) => Err(DecodeError::new(&"trailing bytes after the message")),
    }
}

#[cfg(not(feature = "msgpack"))]
fn read_messagepack<'de, T: Deserialize<'de>>(_: &'de [u8]) -> Result<T, DecodeError> {
    Err(DecodeError::new(&NO_MESSAGEPACK))
}

#[cfg(not(feature = "msgpack"))]
const NO_MESSAGEPACK: &str = "MessagePack is not in this build; enable the cargo feature `msgpack`";

/// Reads one marker and no more: no value fits it.
#[cfg(feature = "msgpack")]
struct Nothing;

#[cfg(feature = "msgpack")]
impl<'de> Deserialize<'de> for Nothing {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NoValue;
        impl serde::de::Visitor<'_> for NoValue {
            type Value = Nothing;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the end of the message")
            }
        }
        deserializer.deserialize_any(NoValue)
    }
}

/// Why a payload could not be read.
///
/// The text is short and on one line, whatever the peer sent.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct DecodeError {
    message: String,
}

impl DecodeError {
    /// Keeps a bounded, printable part of `error`.
    pub(crate) fn new(error: &dyn fmt::Display) -> Self {
        let mut text = Bounded(String::new());
        // An error here only says that the text was cut.
        let _ = write!(text, "{error}");
        Self { message: text.0 }
    }

    /// What was wrong.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the payload cannot be read: {}", self.message)
    }
}

impl core::error::Error for DecodeError {}

/// Takes text up to a bound, control characters escaped, and then refuses more.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            if self.0.len() >= MAX_ERROR_TEXT {
                self.0.push_str("...");
                return Err(fmt::Error);
            }
            if letter.is_control() {
                self.0.extend(letter.escape_default());
            } else {
                self.0.push(letter);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn names_round_trip() {
        for encoding in Encoding::ALL {
            assert_eq!(Encoding::from_name(encoding.name()), Some(encoding));
            let text = serde_json::to_string(&encoding).unwrap();
            assert_eq!(text, alloc::format!("\"{encoding}\""));
        }
        assert_eq!(Encoding::from_name("cbor"), None);
        assert_eq!(Encoding::default(), Encoding::Json);
        assert!(Encoding::Json.is_supported());
    }

    #[test]
    fn trailing_json_is_an_error_and_trailing_space_is_not() {
        assert_eq!(Encoding::Json.decode::<u8>(b" 1 \n"), Ok(1));
        assert!(Encoding::Json.decode::<u8>(b"1 1").is_err());
        assert!(Encoding::Json.decode::<u8>(b"").is_err());
    }

    #[test]
    fn an_error_does_not_repeat_the_payload() {
        let long = serde_json::to_vec(&"x\n".repeat(100_000)).unwrap();
        let error = Encoding::Json.decode::<u8>(&long).unwrap_err();
        assert!(error.message().len() <= MAX_ERROR_TEXT + 16, "{error}");
        assert!(!error.to_string().contains('\n'));
    }

    #[cfg(not(feature = "msgpack"))]
    #[test]
    fn without_the_feature_messagepack_says_so() {
        assert!(!Encoding::MessagePack.is_supported());
        let error = Encoding::MessagePack.decode::<u8>(&[1]).unwrap_err();
        assert!(error.to_string().contains("feature `msgpack`"));
        let mut out = vec![9];
        let error = Encoding::MessagePack.encode(&1, &mut out).unwrap_err();
        assert!(error.to_string().contains("feature `msgpack`"));
        assert_eq!(out, [9]);
    }

    #[cfg(feature = "msgpack")]
    #[test]
    // Rule: W-ENC-2.
    fn messagepack_appends_named_maps() {
        #[derive(Serialize)]
        struct Point {
            x: u8,
        }
        let mut out = vec![9];
        Encoding::MessagePack.encode(&Point { x: 1 }, &mut out).unwrap();
        assert_eq!(out, [9, 0x81, 0xa1, b'x', 1]);
    }

    #[cfg(feature = "msgpack")]
    #[test]
    fn any_trailing_messagepack_is_an_error() {
        assert_eq!(Encoding::MessagePack.decode::<u8>(&[1]), Ok(1));
        for last in 0..=u8::MAX {
            let error = Encoding::MessagePack.decode::<u8>(&[1, last]).unwrap_err();
            assert!(error.message().contains("trailing"), "{last:#x}");
        }
        assert!(Encoding::MessagePack.decode::<u8>(&[]).is_err());
    }

    #[cfg(feature = "msgpack")]
    #[test]
    fn deep_messagepack_is_refused_where_deep_json_is() {
        use serde::de::IgnoredAny;
        for (depth, fits) in [(100, true), (200, false), (100_000, false)] {
            let packed = [vec![0x91; depth], vec![0xc0]].concat();
            let read = Encoding::MessagePack.decode::<IgnoredAny>(&packed);
            assert_eq!(read.is_ok(), fits, "{depth}");
        }
    }

    #[test]
    fn a_failing_message_leaves_the_buffer_as_it_was() {
        struct Bad;
        impl Serialize for Bad {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                use serde::ser::{Error, SerializeSeq};
                let mut seq = s.serialize_seq(Some(2))?;
                seq.serialize_element("half")?;
                Err(S::Error::custom("no more"))
            }
        }
        for encoding in Encoding::ALL {
            let mut out = b"before".to_vec();
            assert!(encoding.encode(&Bad, &mut out).is_err());
            assert_eq!(out, b"before");
        }
    }

    #[test]
    // Rule: W-BODY-2.
    fn text_bodies_make_a_difference_in_messagepack_alone() {
        assert_eq!(Encoding::Json.with_text_bodies(), Encoding::Json);
        for packed in [Encoding::MessagePack, Encoding::MessagePackText] {
            assert_eq!(packed.with_text_bodies(), Encoding::MessagePackText);
            assert_eq!(packed.name(), "msgpack");
        }
        let error = serde_json::from_str::<Encoding>("\"zip\"").unwrap_err();
        assert!(error.to_string().contains("zip"), "{error}");
    }

    #[test]
    fn a_long_error_is_cut_and_a_short_one_is_whole() {
        let of = |length: usize| DecodeError::new(&"x".repeat(length));
        assert_eq!(of(MAX_ERROR_TEXT).message(), "x".repeat(MAX_ERROR_TEXT));
        assert_eq!(of(MAX_ERROR_TEXT + 1).message(), "x".repeat(MAX_ERROR_TEXT) + "...");
        assert_eq!(DecodeError::new(&"a\tb").message(), "a\\tb");
    }
}

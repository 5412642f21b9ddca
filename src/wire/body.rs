//! Body bytes: bytes in the program, base64 or raw on the wire.

use core::fmt;
use core::ops::Deref;

use alloc::vec::Vec;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The bytes of a body, or of a piece of one.
///
/// In JSON they are standard base64 with padding (W-BODY-1). Text that is not that is an error and never taken
/// for the bytes themselves. In MessagePack they are written as raw bytes, and read from raw bytes
/// or from base64 text, since deployed proxies send both.
///
/// ```
/// use dialback::wire::Body;
///
/// let body = Body::from("text");
/// assert_eq!(body.len(), 4); // it is a slice of bytes
/// assert_eq!(serde_json::to_string(&body)?, "\"dGV4dA==\"");
/// assert!(serde_json::from_str::<Body>("\"not base64\"").is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Body(Vec<u8>);

impl Body {
    /// The bytes, without a copy.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Body {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Body {
    fn from(bytes: &[u8; N]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl fmt::Debug for Body {
    // Bodies are large and private.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(&Base64Display::new(&self.0, &STANDARD))
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(BodyVisitor)
        } else {
            deserializer.deserialize_any(BodyVisitor)
        }
    }
}

struct BodyVisitor;

impl Visitor<'_> for BodyVisitor {
    type Value = Body;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("body bytes: standard base64 text, or raw bytes in MessagePack")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Body, E> {
        match STANDARD.decode(text) {
            Ok(bytes) => Ok(Body(bytes)),
            Err(error) => {
                Err(E::custom(format_args!("body bytes must be standard base64 with padding: {error}")))
            }
        }
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Body, E> {
        Ok(Body(bytes.to_vec()))
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Body, E> {
        Ok(Body(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Encoding;
    use alloc::format;
    use alloc::string::ToString;

    #[test]
    fn json_is_padded_base64() {
        let body = Body::from("hello");
        assert_eq!(serde_json::to_string(&body).unwrap(), "\"aGVsbG8=\"");
        assert_eq!(Encoding::Json.decode::<Body>(b"\"aGVsbG8=\""), Ok(body));
        assert_eq!(Encoding::Json.decode::<Body>(b"\"\""), Ok(Body::default()));
        let escaped = Encoding::Json.decode::<Body>(br#""\u0061GVsbG8=""#);
        assert_eq!(escaped, Ok(Body::from("hello")));
    }

    #[test]
    // Rule: W-BODY-1.
    fn bad_base64_is_an_error_and_never_taken_as_raw() {
        for bad in ["aGVsbG8", "hello", "aGVs bG8=", "aGVsbG9=", "_-==", "="] {
            let json = format!("\"{bad}\"");
            let error = Encoding::Json.decode::<Body>(json.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("base64"), "{bad}: {error}");
        }
        assert!(Encoding::Json.decode::<Body>(b"[104,105]").is_err());
        assert!(Encoding::Json.decode::<Body>(b"null").is_err());
    }

    #[cfg(feature = "msgpack")]
    #[test]
    // Rule: W-BODY-2.
    fn messagepack_is_raw_and_reads_base64_text_too() {
        let body = Body::from(&[0xff, 0x00]);
        let mut out = Vec::new();
        Encoding::MessagePack.encode(&body, &mut out).unwrap();
        assert_eq!(out, [0xc4, 2, 0xff, 0x00]);
        assert_eq!(Encoding::MessagePack.decode::<Body>(&out), Ok(body.clone()));
        let text = b"\xa4/wA=";
        assert_eq!(Encoding::MessagePack.decode::<Body>(text), Ok(body));
        assert!(Encoding::MessagePack.decode::<Body>(b"\xa3/wA").is_err());
        out.clear();
        Encoding::MessagePackText.encode(&Body::from(&[0xff, 0x00]), &mut out).unwrap();
        assert_eq!(out, text);
        assert!(Encoding::MessagePack.decode::<Body>(&[0x92, 1, 2]).is_err());
    }

    #[test]
    fn debug_prints_only_the_length() {
        assert_eq!(format!("{:?}", Body::from("secret")), "Body(6 bytes)");
    }

    #[test]
    fn the_bytes_come_out_as_they_went_in() {
        let body = Body::from(&b"ab"[..]);
        assert_eq!((&*body, body.as_ref(), body.len()), (&b"ab"[..], &b"ab"[..], 2));
        assert_eq!(body.into_vec(), b"ab");
    }

    #[test]
    fn any_bytes_can_be_handed_over() {
        let body = Body::from(alloc::vec![1, 2]);
        assert_eq!(
            (&*body, Body::from(&[1, 2]), Body::from("ab")),
            (&[1, 2][..], body.clone(), Body::from(b"ab"))
        );
        let visited = BodyVisitor.visit_byte_buf::<serde::de::value::Error>(alloc::vec![1, 2]);
        assert_eq!(visited, Ok(body));
    }

    #[test]
    // Rule: W-BODY-1.
    fn an_error_says_what_would_be_right() {
        let error = Encoding::Json.decode::<Body>(b"7").unwrap_err();
        assert!(error.to_string().contains("standard base64 text, or raw bytes"), "{error}");
    }
}

//! Dialects of this protocol that other SDKs speak. They are refused, but with a reason that helps
//! (H-DIALECT-1).

use core::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use alloc::borrow::Cow;

use super::encoding::Encoding;
use super::frame::{Frame, FrameType, Kind};

/// The type byte of a registration in the Go dialect.
const GO_REGISTER: u8 = 0x03;

/// A dialect that this crate recognises and does not speak.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Dialect {
    /// The Go SDK: registers with type 0x03, and states capabilities as `handles_...` booleans.
    Go,
    /// The Elixir SDK: sends a length and JSON, without a type byte.
    Elixir,
}

impl Dialect {
    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Go => "Go SDK",
            Self::Elixir => "Elixir SDK",
        }
    }

    /// Why a registration in this dialect is refused, for the agent's log.
    #[must_use]
    pub const fn refusal(self) -> &'static str {
        match self {
            Self::Go => {
                "this looks like the registration of the Go SDK (type 0x03, or `handles_...` \
                 capabilities); this proxy speaks agent protocol v2: send a registration with \
                 `supported_events` in a frame of type 0x01"
            }
            Self::Elixir => {
                "this looks like the Elixir SDK (JSON right after the length); this proxy speaks \
                 agent protocol v2: a type byte, 0x01 for a registration, belongs between the \
                 length and the JSON"
            }
        }
    }

    /// The dialect of a first frame, if it is one of them.
    #[must_use]
    pub fn of_frame(frame: &Frame<'_>) -> Option<Self> {
        match frame.kind {
            Kind::Unknown(b'{') => Some(Self::Elixir),
            Kind::Unknown(GO_REGISTER) if starts_object(frame.payload) => Some(Self::Go),
            Kind::Known(FrameType::HandshakeRequest) if states_handles(frame.payload) => Some(Self::Go),
            Kind::Unknown(_) | Kind::Known(_) => None,
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The dialect of a connection, by the bytes that came first on it, length field included.
///
/// `None` when it is neither, and when there are too few bytes to tell. Where frames are at hand,
/// [`Dialect::of_frame`] does the same.
///
/// ```
/// use dialback::wire::{Dialect, recognise};
///
/// // A length, and JSON with no type byte before it.
/// assert_eq!(recognise(b"\x00\x00\x00\x02{}"), Some(Dialect::Elixir));
/// assert_eq!(recognise(b"\x00\x00\x00\x03\x01{}"), None);
/// ```
#[must_use]
pub fn recognise(first: &[u8]) -> Option<Dialect> {
    let (field, rest) = first.split_first_chunk::<4>()?;
    let (kind, payload) = rest.split_first()?;
    let length = usize::try_from(u32::from_be_bytes(*field)).ok()?;
    let end = length.saturating_sub(1).min(payload.len());
    Dialect::of_frame(&Frame { kind: Kind::from_byte(*kind), payload: payload.get(..end)? })
}

fn starts_object(payload: &[u8]) -> bool {
    payload.trim_ascii_start().first() == Some(&b'{')
}

/// Whether this is a registration that states its events as `handles_...` and not as numbers.
fn states_handles(payload: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Registration {
        #[serde(default)]
        capabilities: Option<Stated>,
    }
    let read = Encoding::Json.decode::<Registration>(payload);
    let stated = read.ok().and_then(|registration| registration.capabilities);
    stated.is_some_and(|stated| stated.handles && !stated.supported_events)
}

/// Which spelling of the wanted events stands in the capabilities.
#[derive(Default)]
struct Stated {
    handles: bool,
    supported_events: bool,
}

impl<'de> Deserialize<'de> for Stated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StatedVisitor;
        impl<'de> Visitor<'de> for StatedVisitor {
            type Value = Stated;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("capabilities")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Stated, A::Error> {
                let mut stated = Stated::default();
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    stated.handles |= key.starts_with("handles_");
                    stated.supported_events |= key == "supported_events";
                    map.next_value::<IgnoredAny>()?;
                }
                Ok(stated)
            }
        }
        deserializer.deserialize_map(StatedVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    fn bytes(kind: &[u8], payload: &str) -> Vec<u8> {
        let body = [kind, payload.as_bytes()].concat();
        let length = u32::try_from(body.len()).unwrap();
        [&length.to_be_bytes()[..], &body].concat()
    }

    const GO: &str = r#"{"agent_id":"a","capabilities":{"handles_request_headers":true}}"#;

    #[test]
    fn the_go_dialect_is_told_by_its_type() {
        assert_eq!(recognise(&bytes(&[3], GO)), Some(Dialect::Go));
        assert_eq!(recognise(&bytes(&[3], GO)[..6]), Some(Dialect::Go));
        assert_eq!(recognise(&bytes(&[3], "[1]")), None);
        assert_eq!(recognise(&bytes(&[3], "")), None);
    }

    #[test]
    fn the_go_dialect_is_told_by_its_capabilities_once_they_are_whole() {
        let whole = bytes(&[1], GO);
        assert_eq!(recognise(&whole), Some(Dialect::Go));
        assert_eq!(recognise(&whole[..whole.len() - 1]), None);
        let ours = r#"{"capabilities":{"supported_events":[1],"handles_request_headers":true}}"#;
        assert_eq!(recognise(&bytes(&[1], ours)), None);
        let elsewhere = r#"{"metadata":{"handles_request_headers":true},"capabilities":{}}"#;
        assert_eq!(recognise(&bytes(&[1], elsewhere)), None);
    }

    #[test]
    fn the_elixir_dialect_is_told_by_the_brace() {
        let first = bytes(&[], r#"{"type":"register"}"#);
        assert_eq!(recognise(&first), Some(Dialect::Elixir));
        assert_eq!(recognise(&first[..5]), Some(Dialect::Elixir));
        assert_eq!(recognise(&first[..4]), None);
    }

    #[test]
    fn nothing_else_is_taken_for_a_dialect() {
        for other in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", &[0; 8]] {
            assert_eq!(recognise(other), None);
        }
        assert_eq!(recognise(&bytes(&[1], "{}")), None);
        assert_eq!(recognise(&bytes(&[1], r#"{"capabilities":null}"#)), None);
    }

    #[test]
    // Rule: H-DIALECT-1.
    fn a_refusal_names_the_dialect() {
        for dialect in [Dialect::Go, Dialect::Elixir] {
            assert!(dialect.refusal().contains(dialect.name()));
        }
    }

    #[test]
    fn a_dialect_has_a_name_and_capabilities_are_a_map() {
        assert_eq!(Dialect::Go.to_string(), "Go SDK");
        assert_eq!(Dialect::Elixir.to_string(), "Elixir SDK");
        let error = serde_json::from_str::<Stated>("7").map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("expected capabilities"), "{error}");
    }
}

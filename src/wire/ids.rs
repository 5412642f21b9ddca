//! The ids of a message, without knowing the rest of it.
//!
//! A session must know whose message it holds before it reads all of it, and also when it cannot
//! read all of it. Everything beside the ids is skipped; the payload must still be well-formed.

use core::fmt;

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::audit::{CORRELATION_ID, EXCHANGE_ID};
use super::correlation::CorrelationId;
use super::encoder::EncodeError;
use super::encoding::{DecodeError, Encoding};
use super::json;
use super::lenient::Loose;

/// The maps below the top in which an answer has its ids, each within the one before.
pub(crate) const OF_AN_ANSWER: &[&str] = &["audit", "custom"];

/// The map below the top in which an event may have its id.
pub(crate) const OF_AN_EVENT: &[&str] = &["metadata"];

/// The ids of an answer, out of `audit.custom`.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct AnswerIds {
    /// The request, if it is told by a string.
    pub correlation_id: Option<String>,
    /// The exchange, if it is told by an unsigned integer.
    pub exchange_id: Option<u64>,
}

/// The ids of an event.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct EventIds {
    /// The request: the id at the top or, where that is missing or empty, the one in the metadata.
    /// Empty when there is none.
    pub correlation_id: CorrelationId,
    /// The exchange, if it is told by an unsigned integer.
    pub exchange_id: Option<u64>,
}

/// The ids of an answer.
///
/// # Errors
///
/// [`DecodeError`] when the payload is not one well-formed map. An id of another type is no error; it
/// is absent.
pub fn answer_ids(encoding: Encoding, payload: &[u8]) -> Result<AnswerIds, DecodeError> {
    let Ids { correlation_id, exchange_id } = borrowed_answer_ids(encoding, payload)?;
    Ok(AnswerIds { correlation_id: correlation_id.map(Cow::into_owned), exchange_id })
}

/// The same, out of the payload itself where it holds the text as it is.
pub(crate) fn borrowed_answer_ids(encoding: Encoding, payload: &[u8]) -> Result<Ids<'_>, DecodeError> {
    let found = match find(encoding, payload, OF_AN_ANSWER) {
        Some(found) => found,
        None => encoding.decode::<Answer<'_>>(payload)?.0,
    };
    Ok(found.last.unwrap_or_default())
}

/// The ids of an event.
///
/// # Errors
///
/// [`DecodeError`] when the payload is not one well-formed map. An id of another type is no error; it
/// is absent.
///
/// ```
/// use dialback::wire::{Encoding, event_ids};
///
/// let ids = event_ids(Encoding::Json, br#"{"body": {"large": true}, "correlation_id": "c-1"}"#)?;
/// assert_eq!(ids.correlation_id.as_str(), "c-1");
/// # Ok::<(), dialback::wire::DecodeError>(())
/// ```
pub fn event_ids(encoding: Encoding, payload: &[u8]) -> Result<EventIds, DecodeError> {
    let Found { here, last } = match find(encoding, payload, OF_AN_EVENT) {
        Some(found) => found,
        None => encoding.decode::<Event<'_>>(payload)?.0,
    };
    let top = here.correlation_id.filter(|id| !id.is_empty());
    let id = top.or_else(|| last.and_then(|metadata| metadata.correlation_id));
    Ok(EventIds {
        correlation_id: id.as_deref().map(CorrelationId::from).unwrap_or_default(),
        exchange_id: here.exchange_id,
    })
}

/// What the readers below would find, where that is seen without them.
fn find<'a>(encoding: Encoding, payload: &'a [u8], path: &[&str]) -> Option<Found<'a>> {
    match encoding {
        Encoding::Json => json::find_ids(payload, path),
        Encoding::MessagePack | Encoding::MessagePackText => None,
    }
}

/// Adds the field `exchange_id` at the end of the map that is encoded in `out` from `message_start`
/// to its end.
///
/// # Errors
///
/// [`EncodeError::Message`] when there is no map, or the encoding is not in this build; `out` is then
/// as it was (P15).
pub fn append_exchange_id(
    encoding: Encoding,
    message_start: usize,
    out: &mut Vec<u8>,
    id: u64,
) -> Result<(), EncodeError> {
    if !encoding.is_supported() {
        // Says so.
        return encoding.encode(&id, out);
    }
    let spliced = match encoding {
        Encoding::Json => splice_json(message_start, out, id),
        Encoding::MessagePack | Encoding::MessagePackText => splice_messagepack(message_start, out, id),
    };
    spliced.ok_or_else(|| EncodeError::Message("an exchange id can only be added to a map".to_string()))
}

fn splice_json(start: usize, out: &mut Vec<u8>, id: u64) -> Option<()> {
    let inside = out.get(start..)?.strip_prefix(b"{")?.strip_suffix(b"}")?;
    let comma = if inside.trim_ascii().is_empty() { "" } else { "," };
    out.pop();
    for piece in [comma, "\"", EXCHANGE_ID, "\":", itoa::Buffer::new().format(id), "}"] {
        out.extend_from_slice(piece.as_bytes());
    }
    Some(())
}

fn splice_messagepack(start: usize, out: &mut Vec<u8>, id: u64) -> Option<()> {
    grow_map(start, out)?;
    let key = EXCHANGE_ID.as_bytes();
    // A short string: 0xa0 plus its length, which is 11.
    out.push(0xa0 | u8::try_from(key.len()).ok()?);
    out.extend_from_slice(key);
    push_unsigned(out, id);
    Some(())
}

/// Counts one more entry in the header of a MessagePack map.
fn grow_map(start: usize, out: &mut Vec<u8>) -> Option<()> {
    let header = *out.get(start)?;
    let body = start.checked_add(1)?;
    match header {
        0x80..=0x8e => *out.get_mut(start)? = header.checked_add(1)?,
        // The sixteenth entry needs the next wider header.
        0x8f => {
            out.splice(start..body, [0xde, 0, 16]);
        }
        0xde => {
            let field = out.get_mut(body..)?.first_chunk_mut::<2>()?;
            let entries = u16::from_be_bytes(*field);
            match entries.checked_add(1) {
                Some(more) => *field = more.to_be_bytes(),
                None => {
                    let end = body.checked_add(2)?;
                    out.splice(start..end, [0xdf, 0, 1, 0, 0]);
                }
            }
        }
        0xdf => {
            let field = out.get_mut(body..)?.first_chunk_mut::<4>()?;
            *field = u32::from_be_bytes(*field).checked_add(1)?.to_be_bytes();
        }
        _ => return None,
    }
    Some(())
}

/// The shortest form of an unsigned integer.
fn push_unsigned(out: &mut Vec<u8>, number: u64) {
    if let Ok(byte) = u8::try_from(number) {
        if byte > 0x7f {
            out.push(0xcc);
        }
        out.push(byte);
    } else if let Ok(short) = u16::try_from(number) {
        out.push(0xcd);
        out.extend_from_slice(&short.to_be_bytes());
    } else if let Ok(long) = u32::try_from(number) {
        out.push(0xce);
        out.extend_from_slice(&long.to_be_bytes());
    } else {
        out.push(0xcf);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

/// The ids that stand in one map of a message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Ids<'a> {
    /// The request, if it is told by a string.
    pub(crate) correlation_id: Option<Cow<'a, str>>,
    /// The exchange, if it is told by an unsigned integer.
    pub(crate) exchange_id: Option<u64>,
}

/// What stands in the first map of a path, and in the last, if that is another.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Found<'a> {
    pub(super) here: Ids<'a>,
    pub(super) last: Option<Ids<'a>>,
}

/// What an answer says of its ids.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer<'a>(pub(crate) Found<'a>);

impl<'de> Deserialize<'de> for Answer<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        whole_message(deserializer, OF_AN_ANSWER).map(Self)
    }
}

/// What an event says of its ids.
#[derive(Debug, PartialEq)]
pub(crate) struct Event<'a>(pub(crate) Found<'a>);

impl<'de> Deserialize<'de> for Event<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        whole_message(deserializer, OF_AN_EVENT).map(Self)
    }
}

fn whole_message<'de, D>(deserializer: D, path: &[&str]) -> Result<Found<'de>, D::Error>
where
    D: Deserializer<'de>,
{
    Level { path }.deserialize(deserializer)?.ok_or_else(|| D::Error::custom("a message must be a map"))
}

/// Reads one map, and the one below it whose key is the first of the path. Any other value is `None`.
#[derive(Clone, Copy)]
struct Level<'p> {
    path: &'p [&'p str],
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = Option<Found<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = Option<Found<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Found::default();
        while let Some(key) = map.next_key_seed(KeySeed { level: self })? {
            match key {
                Key::CorrelationId => {
                    found.here.correlation_id = match map.next_value()? {
                        Loose::Text(id) => Some(id),
                        Loose::Unsigned(_) | Loose::Tagged(_) | Loose::Other => None,
                    };
                }
                Key::ExchangeId => {
                    found.here.exchange_id = match map.next_value()? {
                        Loose::Unsigned(id) => Some(id),
                        Loose::Text(_) | Loose::Tagged(_) | Loose::Other => None,
                    };
                }
                Key::Inner => {
                    let path = self.path.get(1..).unwrap_or_default();
                    let inner = map.next_value_seed(Level { path })?;
                    found.last =
                        inner.and_then(|inner| if path.is_empty() { Some(inner.here) } else { inner.last });
                }
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Some(found))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Self::Value, D::Error> {
        IgnoredAny::deserialize(inner).map(|_| None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

enum Key {
    CorrelationId,
    ExchangeId,
    Inner,
    Other,
}

/// Tells the keys of a level apart without keeping them.
struct KeySeed<'p> {
    level: Level<'p>,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Key, E> {
        Ok(match key {
            CORRELATION_ID => Key::CorrelationId,
            EXCHANGE_ID => Key::ExchangeId,
            _ if self.level.path.first() == Some(&key) => Key::Inner,
            _ => Key::Other,
        })
    }

    // A number is refused (W-ENC-6). The readers of whole messages take it for a field's place, and a key's bytes
    // for its name, and both must see one id.
    fn visit_bytes<E: Error>(self, key: &[u8]) -> Result<Key, E> {
        core::str::from_utf8(key).map_or(Ok(Key::Other), |key| self.visit_str(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Ping;
    use alloc::format;

    fn answer(json: &str) -> (Option<String>, Option<u64>) {
        let ids = answer_ids(Encoding::Json, json.as_bytes()).unwrap();
        (ids.correlation_id, ids.exchange_id)
    }

    fn event(json: &str) -> (String, Option<u64>) {
        let ids = event_ids(Encoding::Json, json.as_bytes()).unwrap();
        (ids.correlation_id.as_str().into(), ids.exchange_id)
    }

    #[test]
    // Rule: X-ID-3.
    fn the_ids_of_an_answer_are_in_audit_custom_and_nowhere_else() {
        let json = r#"{"correlation_id":"no","x":[{"audit":{}}],"audit":{"tags":[1],"correlation_id":"no","custom":{"a":{},"correlation_id":"c","exchange_id":7}},"custom":{"correlation_id":"no"}}"#;
        assert_eq!(answer(json), (Some("c".into()), Some(7)));
        for none in [
            "{}",
            r#"{"audit":null}"#,
            r#"{"audit":[1]}"#,
            r#"{"audit":{"custom":"x"}}"#,
            r#"{"audit":{"custom":{"correlation_id":5,"exchange_id":"5"}}}"#,
            r#"{"audit":{"custom":{"correlation_id":null,"exchange_id":-1}}}"#,
            r#"{"audit":{"custom":{"exchange_id":1.0}}}"#,
            r#"{"audit":{"custom":{"correlation_id":{"type":"c"},"exchange_id":[1]}}}"#,
        ] {
            assert_eq!(answer(none), (None, None), "{none}");
        }
    }

    #[test]
    fn the_ids_are_read_from_an_answer_that_is_no_good_otherwise() {
        let json = r#"{"decision":77,"audit":{"tags":"x","custom":{"correlation_id":"c"}}}"#;
        assert_eq!(answer(json).0.as_deref(), Some("c"));
    }

    #[test]
    // Rule: X-ID-1.
    fn the_id_of_an_event_is_at_the_top_or_in_the_metadata() {
        assert_eq!(event(r#"{"correlation_id":"c","exchange_id":3}"#), ("c".into(), Some(3)));
        let both = r#"{"metadata":{"correlation_id":"m","exchange_id":9},"correlation_id":"c"}"#;
        assert_eq!(event(both), ("c".into(), None));
        for meta in [
            r#"{"metadata":{"correlation_id":"m"}}"#,
            r#"{"correlation_id":"","metadata":{"correlation_id":"m"}}"#,
            r#"{"correlation_id":7,"metadata":{"correlation_id":"m"}}"#,
        ] {
            assert_eq!(event(meta), ("m".into(), None), "{meta}");
        }
        assert_eq!(event(r#"{"data":"not base64"}"#), ("".into(), None));
    }

    #[test]
    fn what_is_not_one_well_formed_map_is_an_error() {
        for bad in ["", "{", "[]", "7", "null", "\"x\"", "{}{}", r#"{"a":[}"#, r#"{"a":tru}"#] {
            assert!(answer_ids(Encoding::Json, bad.as_bytes()).is_err(), "{bad}");
            assert!(event_ids(Encoding::Json, bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_exchange_id_is_spliced_into_json() {
        for (before, after) in [
            (r#"{"a":1}"#, r#"{"a":1,"exchange_id":42}"#),
            ("{}", r#"{"exchange_id":42}"#),
            (r#"{"a":"}"}"#, r#"{"a":"}","exchange_id":42}"#),
        ] {
            let mut out = b"head".to_vec();
            out.extend_from_slice(before.as_bytes());
            append_exchange_id(Encoding::Json, 4, &mut out, 42).unwrap();
            assert_eq!(out, [b"head", after.as_bytes()].concat());
        }
    }

    #[test]
    fn what_is_no_map_stays_as_it_was() {
        for encoding in Encoding::ALL {
            for (bytes, start) in [(&b"[1]"[..], 0), (b"", 0), (b"{}", 3), (b"7", 0), (b"\xde\x00", 0)] {
                let mut out = bytes.to_vec();
                assert!(append_exchange_id(encoding, start, &mut out, 1).is_err());
                assert_eq!(out, bytes);
            }
        }
    }

    #[cfg(feature = "msgpack")]
    #[test]
    fn an_exchange_id_is_spliced_into_messagepack_of_any_size() {
        for entries in [0_u32, 1, 14, 15, 16, 17, 65_534, 65_535, 65_536] {
            for id in [0, 127, 128, 255, 256, 65_535, 65_536, 1 << 32, u64::MAX] {
                let mut map: alloc::collections::BTreeMap<String, u64> =
                    (0..entries).map(|n| (format!("k{n}"), 1)).collect();
                let mut out = b"head".to_vec();
                Encoding::MessagePack.encode(&map, &mut out).unwrap();
                append_exchange_id(Encoding::MessagePack, 4, &mut out, id).unwrap();
                map.insert("exchange_id".into(), id);
                let read = Encoding::MessagePack.decode(&out[4..]);
                assert_eq!(read, Ok(map), "{entries} entries, id {id}");
                let ids = event_ids(Encoding::MessagePack, &out[4..]).unwrap();
                assert_eq!(ids.exchange_id, Some(id));
            }
        }
    }

    #[cfg(feature = "msgpack")]
    #[test]
    // Rule: W-ENC-6.
    fn messagepack_keys_are_names_or_bytes() {
        // {"x" or 1 or -1: nil, "correlation_id": "c", bin: 1}
        let ids = |key: &[u8]| {
            let rest = b"\xc0\xaecorrelation_id\xa1c\xc4\x01x\x01";
            event_ids(Encoding::MessagePack, &[b"\x83", key, rest].concat())
        };
        assert_eq!(ids(b"\xa1x").unwrap().correlation_id, CorrelationId::from("c"));
        for number in [b"\x01", b"\xff"] {
            let error = ids(number).unwrap_err();
            assert!(error.message().contains("expected a field's name"), "{error}");
        }
    }

    #[cfg(feature = "msgpack")]
    #[test]
    fn a_key_that_is_bytes_names_the_same_field_to_every_reader() {
        use crate::wire::{Event, EventKind};
        // {bin "correlation_id": "c"}
        let bytes = b"\x81\xc4\x0ecorrelation_id\xa1c";
        let ids = event_ids(Encoding::MessagePack, bytes).unwrap();
        let event = Event::decode(EventKind::RequestComplete, Encoding::MessagePack, bytes).unwrap();
        assert_eq!((ids.correlation_id.as_str(), event.correlation_id().as_str()), ("c", "c"));
    }

    #[test]
    fn ids_spliced_in_are_invisible_to_the_type() {
        let ping = Ping { sequence: 1, timestamp_ms: 2 };
        for encoding in Encoding::ALL.into_iter().filter(|known| known.is_supported()) {
            let mut out = Vec::new();
            encoding.encode(&ping, &mut out).unwrap();
            append_exchange_id(encoding, 0, &mut out, 5).unwrap();
            assert_eq!(encoding.decode(&out), Ok(ping));
        }
    }

    #[cfg(feature = "msgpack")]
    #[test]
    fn an_id_is_spliced_into_messagepack_in_its_shortest_form() {
        for (id, length) in
            [(0, 1), (127, 1), (128, 2), (255, 2), (256, 3), (65_535, 3), (65_536, 5), (1 << 32, 9)]
        {
            let mut out = alloc::vec![0x80];
            append_exchange_id(Encoding::MessagePack, 0, &mut out, id).unwrap();
            // The map's header, the key's, the key.
            assert_eq!(out.len(), 1 + 1 + EXCHANGE_ID.len() + length, "{id}");
        }
    }

    #[cfg(feature = "msgpack")]
    #[test]
    // Rule: X-READ-1.
    fn values_of_any_type_may_stand_where_a_map_or_an_id_does() {
        let names: [&[u8]; 3] = [b"\xa8metadata", b"\xaecorrelation_id", b"\xabexchange_id"];
        // nil, true, 1, -1, 1.0, text, bytes, a list, an extension with a byte.
        let values: [&[u8]; 9] = [
            b"\xc0",
            b"\xc3",
            b"\x01",
            b"\xff",
            b"\xca\x3f\x80\0\0",
            b"\xa1x",
            b"\xc4\x01x",
            b"\x91\x01",
            b"\xd4\x05x",
        ];
        for name in names {
            for value in values {
                let bytes = [b"\x82", name, value, b"\xa1z\x01"].concat();
                let ids = event_ids(Encoding::MessagePack, &bytes).unwrap();
                let text = name == names[1] && value == values[5];
                let number = name == names[2] && value == values[2];
                assert_eq!(
                    (ids.correlation_id.as_str(), ids.exchange_id),
                    (if text { "x" } else { "" }, number.then_some(1))
                );
            }
        }
    }

    #[test]
    fn what_is_expected_can_be_told() {
        use serde::de::Expected;
        let level = Level { path: &["audit"] };
        assert_eq!((&level as &dyn Expected).to_string(), "any value");
        assert_eq!((&KeySeed { level } as &dyn Expected).to_string(), "a field's name");
        assert!(level.visit_none::<serde::de::value::Error>().unwrap().is_none());
    }
}

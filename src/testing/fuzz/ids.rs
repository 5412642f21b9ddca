//! The ids that are found without reading the rest, against a full parse (P2).

use core::fmt;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::wire::{
    Answer, AnswerIds, Encoding, Event, EventIds, EventKind, answer_ids, append_exchange_id, event_ids,
};

use super::input::Input;
use super::payload::payload;
use super::{Failure, Outcome, ensure};

/// One payload: as an answer, as an event of some kind, and with an exchange id added.
///
/// # Errors
/// When the ids found are not those that a full parse finds.
pub fn ids(data: &[u8]) -> Outcome {
    let mut input = Input::new(data);
    let flags = input.byte();
    let encoding = if flags & 1 == 0 { Encoding::Json } else { Encoding::MessagePack };
    if !encoding.is_supported() {
        return Ok(());
    }
    let added = input.number();
    let bytes = payload(&mut input, encoding);
    if is_list(encoding, &bytes) {
        let refused = answer_ids(encoding, &bytes).is_err() && event_ids(encoding, &bytes).is_err();
        ensure(refused, || "ids in a list".to_string())?;
    } else if flags & 2 == 0 {
        check_answer(encoding, &bytes)?;
    } else {
        check_event(encoding, &bytes)?;
    }
    check_added(encoding, &bytes, added)
}

/// Typed readers also take the fields of a message out of a list, in their order. Sessions take maps alone.
fn is_list(encoding: Encoding, bytes: &[u8]) -> bool {
    encoding.decode::<Vec<IgnoredAny>>(bytes).is_ok()
}

/// Typed readers also take a number for a field's place. Sessions take names alone.
fn has_numbers_for_names(encoding: Encoding, bytes: &[u8]) -> bool {
    encoding.decode::<Walked>(bytes).is_ok_and(|walked| walked.has_numbers_for_names)
}

/// A value of any kind.
#[derive(Default)]
struct Walked {
    is_number: bool,
    /// Anywhere in it.
    has_numbers_for_names: bool,
}

impl<'de> Deserialize<'de> for Walked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = Walked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_u64<E>(self, _: u64) -> Result<Walked, E> {
        Ok(Walked { is_number: true, has_numbers_for_names: false })
    }

    fn visit_i64<E>(self, _: i64) -> Result<Walked, E> {
        Ok(Walked { is_number: true, has_numbers_for_names: false })
    }

    fn visit_bool<E>(self, _: bool) -> Result<Walked, E> {
        Ok(Walked::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Walked, E> {
        Ok(Walked::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Walked, E> {
        Ok(Walked::default())
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Walked, E> {
        Ok(Walked::default())
    }

    fn visit_unit<E>(self) -> Result<Walked, E> {
        Ok(Walked::default())
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Walked, D::Error> {
        IgnoredAny::deserialize(inner).map(|_| Walked::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Walked, A::Error> {
        let mut all = Walked::default();
        while let Some(value) = seq.next_element::<Walked>()? {
            all.has_numbers_for_names |= value.has_numbers_for_names;
        }
        Ok(all)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Walked, A::Error> {
        let mut all = Walked::default();
        while let Some((name, value)) = map.next_entry::<Walked, Walked>()? {
            all.has_numbers_for_names |=
                name.is_number || name.has_numbers_for_names || value.has_numbers_for_names;
        }
        Ok(all)
    }
}

fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).map(ToString::to_string)
}

fn number(value: Option<&Value>) -> Option<u64> {
    value.and_then(Value::as_u64)
}

/// What a full parse says of a payload that is a map.
fn parsed(encoding: Encoding, bytes: &[u8]) -> Option<Value> {
    encoding.decode::<Value>(bytes).ok().filter(Value::is_object)
}

/// What is not well-formed has no ids. A full parse may refuse more: a number that is out of
/// range, for instance, which the ids do not depend on.
fn check_formed<T>(encoding: Encoding, bytes: &[u8], found: bool, full: Option<&T>) -> Outcome {
    ensure(found || full.is_none(), || "no ids in what can be parsed".to_string())?;
    let formed = !found || encoding.decode::<IgnoredAny>(bytes).is_ok();
    ensure(formed, || "ids in what is not well-formed".to_string())
}

fn check_answer(encoding: Encoding, bytes: &[u8]) -> Outcome {
    let found = answer_ids(encoding, bytes).ok();
    let full = parsed(encoding, bytes);
    check_formed(encoding, bytes, found.is_some(), full.as_ref())?;
    if let Some(full) = full {
        let custom =
            full.get("audit").and_then(|audit| audit.get("custom")).filter(|value| value.is_object());
        let wanted = AnswerIds {
            correlation_id: text(custom.and_then(|custom| custom.get("correlation_id"))),
            exchange_id: number(custom.and_then(|custom| custom.get("exchange_id"))),
        };
        ensure(found.as_ref() == Some(&wanted), || format!("{found:?}, and should be {wanted:?}"))?;
    }
    if found.is_none() && has_numbers_for_names(encoding, bytes) {
        return Ok(());
    }
    if let Ok(answer) = encoding.decode::<Answer>(bytes) {
        let wanted = AnswerIds {
            correlation_id: answer.audit.correlation_id().map(ToString::to_string),
            exchange_id: answer.audit.exchange_id(),
        };
        ensure(found.as_ref() == Some(&wanted), || format!("{found:?}, and the answer has {wanted:?}"))?;
    }
    Ok(())
}

fn check_event(encoding: Encoding, bytes: &[u8]) -> Outcome {
    let found = event_ids(encoding, bytes).ok();
    let full = parsed(encoding, bytes);
    check_formed(encoding, bytes, found.is_some(), full.as_ref())?;
    if let Some(full) = full {
        let top = text(full.get("correlation_id")).filter(|id| !id.is_empty());
        let metadata = full.get("metadata").filter(|value| value.is_object());
        let beneath = text(metadata.and_then(|metadata| metadata.get("correlation_id")));
        let wanted = EventIds {
            correlation_id: top.or(beneath).unwrap_or_default().into(),
            exchange_id: number(full.get("exchange_id")),
        };
        ensure(found.as_ref() == Some(&wanted), || format!("{found:?}, and should be {wanted:?}"))?;
    }
    // The application must see the event under the same id as the session that answers for it. Only
    // request headers may name it in their metadata alone.
    for kind in [EventKind::RequestHeaders, EventKind::RequestComplete] {
        if let Ok(event) = Event::decode(kind, encoding, bytes) {
            let id = event.correlation_id();
            // A reader that skips the metadata does not see that it is no text.
            let same = match &found {
                Some(found) => {
                    found.correlation_id == *id || (id.is_empty() && kind != EventKind::RequestHeaders)
                }
                None => kind != EventKind::RequestHeaders || has_numbers_for_names(encoding, bytes),
            };
            ensure(same, || format!("{found:?}, and {kind} has {id:?}"))?;
        }
    }
    Ok(())
}

fn check_added(encoding: Encoding, bytes: &[u8], added: u64) -> Outcome {
    let before = event_ids(encoding, bytes);
    let mut out = b"head".to_vec();
    out.extend_from_slice(bytes);
    let appended = append_exchange_id(encoding, 4, &mut out, added);
    let (head, message) = out.split_at_checked(4).ok_or_else(|| Failure("the head is gone".into()))?;
    ensure(head == b"head", || "what stood before was changed".to_string())?;
    if appended.is_err() {
        return ensure(message == bytes, || "a refusal changed the message".to_string());
    }
    let Ok(before) = before else { return Ok(()) };
    let after = event_ids(encoding, message);
    let wanted = EventIds { exchange_id: Some(added), ..before };
    ensure(after.as_ref() == Ok(&wanted), || format!("{after:?} after adding, and should be {wanted:?}"))
}

//! The scan for ids against a full reading of the message, over every short text and every small tree.
// Rule: X-ID-1, X-ID-3, W-ENC-3.

use dialback::wire::{AnswerIds, Encoding, answer_ids, append_exchange_id, event_ids};
use serde_json::Value;

use super::{bytes, every};

/// What JSON is made of, and little else.
const ALPHABET: &[u8] = br#"{}[]":,\a1-.e "#;

/// The ids by a reading of everything: of an event and of an answer. `None` if it is no map.
fn in_full(json: &[u8]) -> Option<((String, Option<u64>), AnswerIds)> {
    let message: Value = serde_json::from_slice(json).ok().filter(Value::is_object)?;
    let text = |value: &Value| value["correlation_id"].as_str().map(String::from);
    let top = text(&message).filter(|id| !id.is_empty());
    let id = top.or_else(|| text(&message["metadata"])).unwrap_or_default();
    let custom = &message["audit"]["custom"];
    let answer = AnswerIds { correlation_id: text(custom), exchange_id: custom["exchange_id"].as_u64() };
    Some(((id, message["exchange_id"].as_u64()), answer))
}

/// Holds both scans against the full reading; whether it was a map.
fn agree(json: &[u8]) -> bool {
    let right = in_full(json);
    let event = event_ids(Encoding::Json, json).ok();
    let answer = answer_ids(Encoding::Json, json).ok();
    let event = event.map(|ids| (ids.correlation_id.as_str().to_owned(), ids.exchange_id));
    let shown = String::from_utf8_lossy(json);
    assert_eq!(event, right.as_ref().map(|(event, _)| event.clone()), "{shown}");
    assert_eq!(answer, right.as_ref().map(|(_, answer)| answer.clone()), "{shown}");
    right.is_some()
}

/// Every text, by itself and in each place where an id could stand. How many were maps.
fn texts(most: usize, most_in_place: usize) -> usize {
    let mut maps = 0;
    for length in 0..=most {
        every(ALPHABET, length, |text| maps += usize::from(agree(text)));
    }
    let places: [(&[u8], &[u8]); 5] = [
        (br#"{"exchange_id":"#, b"}"),
        (br#"{"correlation_id":"#, b"}"),
        (br#"{"metadata":{"correlation_id":"#, b"}}"),
        (br#"{"audit":{"custom":{"exchange_id":"#, b"}}}"),
        (br#"{"audit":{"custom":{"correlation_id":"#, b"}}}"),
    ];
    for (head, tail) in places {
        for length in 0..=most_in_place {
            every(ALPHABET, length, |text| maps += usize::from(agree(&[head, text, tail].concat())));
        }
    }
    maps
}

#[test]
fn every_short_text_gives_the_ids_of_a_full_reading() {
    assert!(texts(3, 3) > 100);
}

#[test]
#[ignore = "big: run it optimised"]
fn every_longer_text_gives_the_ids_of_a_full_reading() {
    assert!(texts(6, 5) > 10_000);
}

/// Every map of up to two entries, the first of any value, the second of a plain one, in both orders.
fn maps(keys: &[&str], values: &[String], plain: &[String]) -> Vec<String> {
    let entry = |value: &String| keys.iter().map(|key| format!("\"{key}\":{value}")).collect::<Vec<_>>();
    let (rich, poor): (Vec<_>, Vec<_>) =
        (values.iter().flat_map(entry).collect(), plain.iter().flat_map(entry).collect());
    let mut maps = vec!["{}".to_owned()];
    maps.extend(rich.iter().map(|one| format!("{{{one}}}")));
    for (one, other) in rich.iter().flat_map(|one| poor.iter().map(move |other| (one, other))) {
        maps.push(format!("{{{one},{other}}}"));
        maps.push(format!("{{{other},{one}}}"));
    }
    maps
}

/// Every tree three maps deep over the keys that matter, keys twice in one map among them.
fn trees(plain: &[&str]) -> usize {
    let plain: Vec<String> = plain.iter().map(|value| (*value).to_owned()).collect();
    let ids = maps(&["correlation_id", "exchange_id"], &plain, &plain);
    let middle = maps(&["custom", "correlation_id"], &[ids, plain.clone()].concat(), &plain[..1]);
    let all = maps(&["audit", "metadata"], &[middle, plain.clone()].concat(), &plain[..1]);
    all.iter().for_each(|tree| assert!(agree(tree.as_bytes())));
    all.len()
}

#[test]
fn every_small_tree_gives_the_ids_of_a_full_reading() {
    assert!(trees(&["null", "7", "\"c\""]) > 5_000);
}

#[test]
#[ignore = "big: run it optimised"]
fn every_bigger_tree_gives_the_ids_of_a_full_reading() {
    let plain =
        ["null", "7", "\"c\"", "\"\"", "-7", "1.0", "true", "[]", "[{\"custom\":1}]", "18446744073709551616"];
    assert!(trees(&plain) > 80_000);
}

/// Every message of so many bytes, whatever they are: the scans come to an end, and agree on what is a map.
fn raw(length: usize) {
    let encodings = Encoding::ALL.into_iter().filter(|known| known.is_supported());
    for encoding in encodings {
        every(&bytes(), length, |message| {
            let event = event_ids(encoding, message).is_ok();
            assert_eq!(answer_ids(encoding, message).is_ok(), event, "{message:?}");
            if encoding == Encoding::Json {
                assert_eq!(in_full(message).is_some(), event, "{message:?}");
            }
        });
    }
}

#[test]
fn every_message_of_two_bytes_is_read_or_refused() {
    raw(0);
    raw(1);
    raw(2);
}

#[test]
#[ignore = "big: run it optimised"]
fn every_message_of_three_bytes_is_read_or_refused() {
    raw(3);
}

/// Adds an id to every text: to a map it is added and nothing else changes; what is no map stays as it was.
fn spliced(most: usize) {
    for length in 0..=most {
        every(ALPHABET, length, |text| {
            let mut out = [b"head", text].concat();
            let before = out.clone();
            let added = append_exchange_id(Encoding::Json, 4, &mut out, u64::MAX);
            if added.is_err() {
                assert_eq!(out, before);
            }
            let Ok(Value::Object(mut map)) = serde_json::from_slice(text) else { return };
            // The encoder writes no space around a map, and none is looked for.
            if text.trim_ascii() != text {
                return;
            }
            map.insert("exchange_id".into(), u64::MAX.into());
            assert_eq!(added, Ok(()));
            assert_eq!(serde_json::from_slice::<Value>(&out[4..]).unwrap(), Value::Object(map));
        });
    }
}

#[test]
fn an_id_is_added_to_every_short_map() {
    spliced(4);
}

#[test]
#[ignore = "big: run it optimised"]
fn an_id_is_added_to_every_longer_map() {
    spliced(6);
}

/// Counts one more entry in every header of a MessagePack map, and leaves what is none as it was.
#[cfg(feature = "msgpack")]
fn counted(fields: impl Iterator<Item = u16> + Clone) {
    /// Entries that the map states, and the bytes that state them.
    fn entries(bytes: &[u8]) -> Option<(u64, usize)> {
        match bytes {
            [small @ 0x80..=0x8f, ..] => Some((u64::from(small & 15), 1)),
            [0xde, a, b, ..] => Some((u64::from(u16::from_be_bytes([*a, *b])), 3)),
            [0xdf, a, b, c, d, ..] => Some((u64::from(u32::from_be_bytes([*a, *b, *c, *d])), 5)),
            _ => None,
        }
    }
    for (marker, field) in (0..=u8::MAX).flat_map(|marker| fields.clone().map(move |field| (marker, field))) {
        for tail in [&b""[..], b"\0\0tail", b"\xff\xfftail"] {
            let message = [&[marker][..], &field.to_be_bytes(), tail].concat();
            let mut out = message.clone();
            let added = append_exchange_id(Encoding::MessagePack, 0, &mut out, 7);
            let Some((stated, header)) = entries(&message).filter(|(stated, _)| *stated < u32::MAX.into())
            else {
                assert!(added.is_err() && out == message, "{message:x?}");
                continue;
            };
            let (now, grown) = entries(&out).unwrap();
            assert_eq!((now, added), (stated + 1, Ok(())), "{message:x?}");
            assert_eq!(out[grown..], [&message[header..], b"\xabexchange_id\x07"].concat(), "{message:x?}");
        }
    }
}

#[cfg(feature = "msgpack")]
#[test]
fn every_header_of_a_map_counts_one_more() {
    counted([0, 1, 15, 16, 0x7fff, 0x8000, 0xfffe, 0xffff].into_iter());
}

#[cfg(feature = "msgpack")]
#[test]
#[ignore = "big: run it optimised"]
fn every_header_and_every_field_of_a_map_counts_one_more() {
    counted(0..=u16::MAX);
}

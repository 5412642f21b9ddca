//! The quick reader of JSON against `serde_json`, over every short text.

use dialback::testing::fuzz;
use dialback::testing::json::{all_kinds_alike, read_alike};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::{bytes, every};

/// What JSON is made of, one of each kind: what opens, closes and parts; escapes, digits, letters of words;
/// white space, a control character, and half a letter.
const ALPHABET: &[u8] = b"{}[]\":,\\u01-.enl \x01\xc3";

/// Places in which a text may stand.
const PLACES: [(&str, &str); 7] = [
    ("", ""),
    ("[1,", "]"),
    ("{\"x\":", "}"),
    ("\"", "\""),
    // With so much behind it that it is looked at in words.
    ("[\"", "\",\"and eight more\"]"),
    ("{\"decision\":\"allow\",\"version\":2", "}"),
    ("{\"audit\":{\"custom\":{\"correlation_id\":", "}}}"),
];

/// Reads every text in every place. How many the quick reader has read.
fn texts(most: usize) -> usize {
    let mut read = 0;
    for (head, tail) in PLACES {
        for length in 0..=most {
            every(ALPHABET, length, |text| {
                let whole = [head.as_bytes(), text, tail.as_bytes()].concat();
                read += usize::from(read_alike::<Value>(&whole).unwrap());
                read += usize::from(read_alike::<IgnoredAny>(&whole).unwrap());
            });
        }
    }
    read
}

#[test]
fn every_short_text_is_read_as_by_serde_json() {
    assert!(texts(3) > 1_000);
}

#[test]
#[ignore = "big: run it optimised"]
fn every_longer_text_is_read_as_by_serde_json() {
    assert!(texts(5) > 50_000);
}

/// Reads every text as values of every kind, and as the messages that are read most.
fn kinds(most: usize) {
    for length in 0..=most {
        every(ALPHABET, length, |text| {
            for (head, tail) in PLACES {
                let whole = [head.as_bytes(), text, tail.as_bytes()].concat();
                all_kinds_alike(&whole).unwrap();
                for message in [0, 1, 19, 20] {
                    fuzz::json(&[&[message, 0], whole.as_slice()].concat()).unwrap();
                }
            }
        });
    }
}

#[test]
fn every_short_text_is_as_by_serde_json_whatever_is_asked_for() {
    kinds(2);
}

#[test]
#[ignore = "big: run it optimised"]
fn every_longer_text_is_as_by_serde_json_whatever_is_asked_for() {
    kinds(4);
}

#[test]
fn every_two_bytes_are_read_as_by_serde_json_wherever_they_stand() {
    for (head, tail) in PLACES {
        every(&bytes(), 2, |pair| {
            let whole = [head.as_bytes(), pair, tail.as_bytes()].concat();
            read_alike::<Value>(&whole).unwrap();
            read_alike::<IgnoredAny>(&whole).unwrap();
        });
    }
}

//! The ids of a message, found in plain JSON without a reader.
//!
//! As in the reader of whole messages, whatever is not plain is left to others: the search gives up.

use alloc::borrow::Cow;

use crate::wire::audit::{CORRELATION_ID, EXCHANGE_ID};
use crate::wire::ids::Found;

use super::skip::{self, find_number, find_string, see, skip_value, skip_word};

/// What the readers of ids find in the map that these bytes are, and in those on the path of keys below it.
pub(crate) fn find_ids<'a>(bytes: &'a [u8], path: &[&str]) -> Option<Found<'a>> {
    let text = core::str::from_utf8(bytes).ok()?;
    let (b'{', at) = see(bytes, 0) else { return None };
    let (found, at) = in_map(text, at, path, 1)?;
    (see(bytes, at).1 == bytes.len()).then_some(found)
}

/// What is found in the map that begins there, with so many open, and the place behind it.
fn in_map<'a>(text: &'a str, at: usize, path: &[&str], depth: u8) -> Option<(Found<'a>, usize)> {
    let bytes = text.as_bytes();
    let mut found = Found::default();
    let (mut byte, mut at) = see(bytes, at.wrapping_add(1));
    if byte == b'}' {
        return Some((found, at.wrapping_add(1)));
    }
    loop {
        let skip::Found::Plain { end } = find_string(bytes, at) else { return None };
        let key = bytes.get(at.wrapping_add(1)..end.wrapping_sub(1))?;
        (byte, at) = see(bytes, end);
        if byte != b':' {
            return None;
        }
        (byte, at) = see(bytes, at.wrapping_add(1));
        at = if key == CORRELATION_ID.as_bytes() {
            let end;
            (found.here.correlation_id, end) = correlation_id(text, byte, at)?;
            end
        } else if key == EXCHANGE_ID.as_bytes() {
            let end;
            (found.here.exchange_id, end) = exchange_id(bytes, byte, at)?;
            end
        } else if let Some((name, below)) = path.split_first()
            && key == name.as_bytes()
        {
            if byte != b'{' {
                return None;
            }
            let (inner, end) = in_map(text, at, below, depth.wrapping_add(1))?;
            found.last = if below.is_empty() { Some(inner.here) } else { inner.last };
            end
        } else {
            skip_value(bytes, at, depth)?
        };
        (byte, at) = see(bytes, at);
        match byte {
            b'}' => return Some((found, at.wrapping_add(1))),
            b',' => (_, at) = see(bytes, at.wrapping_add(1)),
            _ => return None,
        }
    }
}

/// Text, or null, and the place behind it.
fn correlation_id(text: &str, first: u8, at: usize) -> Option<(Option<Cow<'_, str>>, usize)> {
    let bytes = text.as_bytes();
    if first == b'n' {
        return Some((None, skip_word(bytes, at, "null")?));
    }
    let skip::Found::Plain { end } = find_string(bytes, at) else { return None };
    let id = text.get(at.wrapping_add(1)..end.wrapping_sub(1))?;
    Some((Some(Cow::Borrowed(id)), end))
}

/// A number, or null, and the place behind it.
fn exchange_id(bytes: &[u8], first: u8, at: usize) -> Option<(Option<u64>, usize)> {
    if first == b'n' {
        return Some((None, skip_word(bytes, at, "null")?));
    }
    let (id, end) = find_number(bytes, at)?;
    Some((Some(id), end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ids::Ids;

    fn ids(id: Option<&str>, exchange_id: Option<u64>) -> Ids<'_> {
        Ids { correlation_id: id.map(Cow::Borrowed), exchange_id }
    }

    // A search that gave up would do no harm, and would be of no use.
    #[test]
    fn what_is_plain_is_found_without_a_reader() {
        let none = || ids(None, None);
        for (text, here, last) in [
            ("{}", none(), None),
            (" { } ", none(), None),
            (r#"{"a":{"correlation_id":"x"},"b":[1],"c":"d"}"#, none(), None),
            (r#"{"correlation_id":"c","exchange_id":7}"#, ids(Some("c"), Some(7)), None),
            (r#"{ "exchange_id" : 7 , "correlation_id" : "c" }"#, ids(Some("c"), Some(7)), None),
            (r#"{"correlation_id":"c","correlation_id":null,"exchange_id":null}"#, none(), None),
            (r#"{"p":{"q":{"correlation_id":"c"},"exchange_id":7}}"#, none(), Some(ids(Some("c"), None))),
            (r#"{"p":{"q":{}},"exchange_id":7}"#, ids(None, Some(7)), Some(none())),
            (r#"{"p":{}}"#, none(), None),
        ] {
            assert_eq!(find_ids(text.as_bytes(), &["p", "q"]), Some(Found { here, last }), "{text}");
        }
    }

    #[test]
    fn what_is_not_plain_or_not_well_formed_is_given_up() {
        for text in [
            "",
            "[]",
            "{",
            "{} x",
            r#"{"correlation_id","c"}"#,
            r#"{"correlation_id" "c"}"#,
            r#"{"correlation_id"1"c"}"#,
            r#"{"correlation_id":7}"#,
            r#"{"correlation_id":"\u0063"}"#,
            r#"{"correlation\u005fid":"c"}"#,
            r#"{"exchange_id":-1}"#,
            r#"{"exchange_id":1.0}"#,
            r#"{"exchange_id":nul}"#,
            r#"{"a":1,}"#,
            r#"{"a":1 "b":2}"#,
            r#"{"p":["correlation_id":"c"}}"#,
            r#"{"p":7}"#,
        ] {
            assert_eq!(find_ids(text.as_bytes(), &["p", "q"]), None, "{text}");
        }
    }
}

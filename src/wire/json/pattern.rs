//! What stands around the ids of an answer.
//!
//! Two answers with the same bytes around their ids are the same answer, about two events. Why: the
//! bytes of an id are those inside one string, or one number, of the text. As long as what stands there
//! instead ends no string and is a number, every other byte of the text means what it meant before. So the text
//! is well-formed if the other was, has the same entries in the same places, and differs in the values of these
//! two entries alone.

use core::fmt;

use alloc::borrow::Cow;
use alloc::vec::Vec;

use crate::wire::ids::Ids;

use super::scan::plain_run;
use super::skip::find_number;

/// What stands between the two ids, where both are told.
const BETWEEN: &[u8] = b"\",\"exchange_id\":";

/// The bytes of an answer that are not its ids'.
#[derive(Clone, PartialEq)]
pub(crate) struct Pattern {
    /// All before the correlation id, its quote included.
    before: Vec<u8>,
    /// Whether an exchange id follows.
    exchange_id: bool,
    /// All behind the last id. After a correlation id that is its other quote.
    after: Vec<u8>,
}

impl Pattern {
    /// The longest answer of which a pattern is kept, so that what is kept is little.
    pub(crate) const LONGEST: usize = 4 << 10;

    /// The pattern of an answer in which these ids were found, if it is plain there.
    pub(crate) fn of(payload: &[u8], ids: &Ids<'_>) -> Option<Self> {
        let Some(Cow::Borrowed(id)) = ids.correlation_id else { return None };
        if payload.len() > Self::LONGEST {
            return None;
        }
        // The id was found in the payload itself, and so it is known where.
        let start = id.as_ptr().addr().checked_sub(payload.as_ptr().addr())?;
        let (before, rest) = payload.split_at_checked(start)?;
        let rest = rest.strip_prefix(id.as_bytes())?;
        if !before.ends_with(b"\"") || !rest.starts_with(b"\"") {
            return None;
        }
        let after = match ids.exchange_id {
            None => rest,
            Some(number) => {
                let (found, after) = exchange_id(rest)?;
                // Nothing else in this map may be another id of the exchange.
                if found != number || !after.starts_with(b"}") {
                    return None;
                }
                after
            }
        };
        Some(Self { before: before.into(), exchange_id: ids.exchange_id.is_some(), after: after.into() })
    }

    /// The ids of an answer that is like this. `None` if it is not, or that is not sure.
    pub(crate) fn find<'p>(&self, payload: &'p [u8]) -> Option<Ids<'p>> {
        let rest = payload.strip_prefix(self.before.as_slice())?;
        let (id, mut rest) = rest.split_at_checked(plain_run(rest))?;
        let mut ids =
            Ids { correlation_id: Some(Cow::Borrowed(core::str::from_utf8(id).ok()?)), exchange_id: None };
        if self.exchange_id {
            let (number, after) = exchange_id(rest)?;
            (ids.exchange_id, rest) = (Some(number), after);
        }
        (rest == self.after).then_some(ids)
    }
}

/// The exchange id that follows a correlation id at once, and what is behind it.
fn exchange_id(rest: &[u8]) -> Option<(u64, &[u8])> {
    let rest = rest.strip_prefix(BETWEEN)?;
    let (number, end) = find_number(rest, 0)?;
    Some((number, rest.get(end..)?))
}

impl fmt::Debug for Pattern {
    /// An answer may hold what is no log's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pattern")
            .field("before", &self.before.len())
            .field("after", &self.after.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Encoding;
    use crate::wire::ids::borrowed_answer_ids;
    use alloc::format;
    use alloc::string::String;

    fn pattern(text: &str) -> Option<Pattern> {
        Pattern::of(text.as_bytes(), &borrowed_answer_ids(Encoding::Json, text.as_bytes()).unwrap())
    }

    fn ids(id: &str, exchange: Option<u64>) -> Option<Ids<'_>> {
        Some(Ids { correlation_id: Some(Cow::Borrowed(id)), exchange_id: exchange })
    }

    fn answer(custom: &str) -> String {
        format!(r#"{{"decision":"allow","audit":{{"tags":["a"],"custom":{{{custom}}}}},"x":[1,"c"]}}"#)
    }

    #[test]
    fn it_finds_the_ids_of_what_is_alike() {
        let both = pattern(&answer(r#""correlation_id":"a","exchange_id":7"#)).unwrap();
        let one = pattern(&answer(r#""correlation_id":"a""#)).unwrap();
        for id in ["", "a", "request-99", "\u{e9}\u{1f600}"] {
            let told = answer(&format!(r#""correlation_id":"{id}""#));
            assert_eq!(one.find(told.as_bytes()), ids(id, None));
            assert_eq!(both.find(told.as_bytes()), None);
            for exchange in [0, 7, 12_345, u64::MAX / 10] {
                let told = answer(&format!(r#""correlation_id":"{id}","exchange_id":{exchange}"#));
                assert_eq!(both.find(told.as_bytes()), ids(id, Some(exchange)));
                assert_eq!(one.find(told.as_bytes()), None);
            }
        }
    }

    #[test]
    fn what_differs_elsewhere_or_is_not_plain_is_left_to_others() {
        let pattern = pattern(&answer(r#""correlation_id":"a","exchange_id":7"#)).unwrap();
        for custom in [
            r#""correlation_id":"a\n","exchange_id":7"#,
            r#""correlation_id":"a","exchange_id":-7"#,
            r#""correlation_id":"a","exchange_id":7.0"#,
            r#""correlation_id":"a","exchange_id":07"#,
            r#""correlation_id":"a","exchange_id":7,"exchange_id":8"#,
            r#""correlation_id":"a","exchange_id": 7 "#,
            r#""correlation_id":"a","exchange_id":"#,
            r#""correlation_id":"a"x"b","exchange_id":7"#,
            "\"correlation_id\":\"a\u{1}\",\"exchange_id\":7",
        ] {
            assert_eq!(pattern.find(answer(custom).as_bytes()), None, "{custom}");
        }
        let told = answer(r#""correlation_id":"a","exchange_id":7"#);
        for (old, new) in [("allow", "blocs"), ("\"a\"", "\"b\""), ("[1,", "[2,"), ("]}", "],")] {
            assert_eq!(pattern.find(told.replacen(old, new, 1).as_bytes()), None, "{new}");
        }
        let mut bytes = told.into_bytes();
        let at = bytes.windows(3).position(|three| three == b"\"a\",").unwrap_or(70);
        bytes[at + 1] = 0xff;
        assert_eq!(pattern.find(&bytes), None);
    }

    #[test]
    fn of_what_is_not_plain_there_is_none() {
        for custom in [
            "",
            r#""correlation_id":7"#,
            r#""correlation_id":"a\u0062""#,
            r#""exchange_id":7,"correlation_id":"a""#,
            r#""correlation_id":"a","exchange_id": 7"#,
            r#""correlation_id":"a","exchange_id":7,"exchange_id":7"#,
            r#""correlation_id":"a","exchange_id":8,"exchange_id":7"#,
            r#""correlation_id":"a","x":1,"exchange_id":7"#,
        ] {
            assert_eq!(pattern(&answer(custom)), None, "{custom}");
        }
        let of_length = |length| {
            let text = |pad| answer(&format!(r#""x":"{}","correlation_id":"a""#, "x".repeat(pad)));
            pattern(&text(length - text(0).len()))
        };
        assert!(of_length(Pattern::LONGEST).is_some() && of_length(Pattern::LONGEST + 1).is_none());
        // What is no string by itself is not taken for one, wherever it comes from.
        for (text, from, to) in [("{\"ab\":1}", 2, 3), ("{\"ab\":1}", 3, 4), ("{\"ab\":1}", 0, 1)] {
            let ids = Ids { correlation_id: text.get(from..to).map(Cow::Borrowed), exchange_id: None };
            assert_eq!(Pattern::of(text.as_bytes(), &ids), None);
        }
        // The last of two counts, and that is the one that is found.
        let twice = answer(r#""correlation_id":"a","correlation_id":"b""#);
        let told = twice.replace("\"b\"", "\"c\"");
        assert_eq!(pattern(&twice).unwrap().find(told.as_bytes()), ids("c", None));
    }

    #[test]
    fn it_prints_no_content() {
        let pattern = pattern(&answer(r#""secret":"s","correlation_id":"a""#));
        assert_eq!(format!("{pattern:?}"), "Some(Pattern { before: 83, after: 16 })");
    }
}

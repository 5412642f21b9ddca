//! Header values by name, all in one text.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::mem;
use core::ops::Range;

use alloc::string::String;
use alloc::vec::Vec;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The headers of a request or response: values by name, sorted by name, those of one name in the order
/// in which they came.
///
/// Names are kept as they are given: `Accept` and `accept` are two. All names and values lie in one
/// text, so headers are made, read and dropped without an allocation for each.
///
/// Of a name that a peer sends twice, what comes last counts, and a name without values is not kept
/// (W-HEAD-2).
///
/// ```
/// use dialback::wire::Headers;
///
/// let mut headers: Headers = [("host", "shop.example"), ("accept", "text/html")].into_iter().collect();
/// headers.push("accept", "*/*");
/// assert_eq!(headers.get("host"), Some("shop.example"));
/// assert!(headers.get_all("accept").eq(["text/html", "*/*"]));
/// assert_eq!(headers.iter().next(), Some(("accept", "text/html")));
/// assert_eq!(headers.get("cookie"), None);
/// ```
#[derive(Clone, Default)]
pub struct Headers {
    text: String,
    /// In the order of names.
    entries: Vec<Entry>,
}

/// Where a name and one of its values are. Entries of one name share it.
#[derive(Clone, Copy)]
struct Entry {
    name: Span,
    value: Span,
}

#[derive(Clone, Copy, PartialEq)]
struct Span {
    start: usize,
    end: usize,
}

/// Stands for the value of a name that has none, until all is read.
const NONE: Span = Span { start: 1, end: 0 };

/// What most headers of a request need. To grow to that step by step costs more than to have it.
const TEXT: usize = 512;
const ENTRIES: usize = 16;

impl Headers {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { text: String::new(), entries: Vec::new() }
    }

    /// Adds a value, behind those that the name has. All of greater names make room for it: in the order of
    /// names, very many are added much faster than against it.
    pub fn push(&mut self, name: &str, value: &str) {
        let Range { start, end } = self.range(name);
        let known = self.entries.get(start..end).and_then(<[_]>::first);
        let name = known.map(|entry| entry.name).unwrap_or_else(|| self.append(name));
        let value = self.append(value);
        self.entries.insert(end, Entry { name, value });
    }

    /// The first value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_all(name).next()
    }

    /// All values of a name.
    pub fn get_all(&self, name: &str) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        let entries = self.entries.get(self.range(name)).unwrap_or_default();
        entries.iter().map(|entry| self.at(entry.value))
    }

    /// Whether the name has a value.
    #[must_use]
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Names, each with one of its values.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> + ExactSizeIterator {
        self.entries.iter().map(|entry| (self.at(entry.name), self.at(entry.value)))
    }

    /// How many values there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[inline]
    fn at(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// The places of the entries of a name. If it has none, the empty range where they would be.
    fn range(&self, name: &str) -> Range<usize> {
        // Most come sorted.
        if self.is_last(name) {
            return self.entries.len()..self.entries.len();
        }
        let start = self.entries.partition_point(|entry| self.at(entry.name) < name);
        let end = self.entries.partition_point(|entry| self.at(entry.name) <= name);
        start..end
    }

    /// Whether a name is greater than all that are there.
    fn is_last(&self, name: &str) -> bool {
        self.entries.last().is_none_or(|last| self.at(last.name) < name)
    }

    fn append(&mut self, text: &str) -> Span {
        if self.text.capacity() == 0 {
            self.text.reserve(TEXT);
            self.entries.reserve(ENTRIES);
        }
        let start = self.text.len();
        self.text.push_str(text);
        Span { start, end: self.text.len() }
    }

    /// Brings what was read, in whatever order, into the order of names. Of a name that came twice, what
    /// came last is kept.
    fn settle(&mut self) {
        let mut entries = mem::take(&mut self.entries);
        // The last of each name comes first, and so is the one that stays.
        entries.reverse();
        entries.sort_by(|one, other| self.at(other.name).cmp(self.at(one.name)));
        entries.dedup_by(|older, kept| older.name != kept.name && self.at(older.name) == self.at(kept.name));
        entries.reverse();
        entries.retain(|entry| entry.value != NONE);
        self.entries = entries;
    }

    /// The names, each with all of its values.
    fn groups(&self) -> impl Iterator<Item = (&str, Values<'_>)> + Clone {
        self.entries.chunk_by(|one, next| one.name == next.name).filter_map(|entries| {
            let name = self.at(entries.first()?.name);
            Some((name, Values { headers: self, entries }))
        })
    }
}

/// The values of one name.
struct Values<'h> {
    headers: &'h Headers,
    entries: &'h [Entry],
}

impl Values<'_> {
    fn iter(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| self.headers.at(entry.value))
    }
}

impl<N: AsRef<str>, V: AsRef<str>> Extend<(N, V)> for Headers {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, headers: I) {
        for (name, value) in headers {
            self.push(name.as_ref(), value.as_ref());
        }
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        let mut all = Self::new();
        all.extend(headers);
        all
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

impl Hash for Headers {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len().hash(state);
        self.iter().for_each(|header| header.hash(state));
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.groups()).finish()
    }
}

impl fmt::Debug for Values<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // MessagePack must know how many there are.
        let mut map = serializer.serialize_map(Some(self.groups().count()))?;
        for (name, values) in self.groups() {
            map.serialize_entry(name, &values)?;
        }
        map.end()
    }
}

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeadersVisitor;
        impl<'de> Visitor<'de> for HeadersVisitor {
            type Value = Headers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of names to lists of values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
                let (mut headers, mut settled) = (Headers::new(), true);
                while let Some(name) = map.next_key_seed(Text(&mut headers))? {
                    settled &= headers.is_last(headers.at(name));
                    // So that no other name begins at this place, even if both are empty.
                    headers.text.push(':');
                    let before = headers.len();
                    map.next_value_seed(ValuesOf { headers: &mut headers, name })?;
                    if headers.len() == before {
                        headers.entries.push(Entry { name, value: NONE });
                        settled = false;
                    }
                }
                if !settled {
                    headers.settle();
                }
                Ok(headers)
            }
        }
        deserializer.deserialize_map(HeadersVisitor)
    }
}

/// Reads text to where headers keep theirs.
struct Text<'h>(&'h mut Headers);

impl<'de> DeserializeSeed<'de> for Text<'_> {
    type Value = Span;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Span, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Text<'_> {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
        Ok(self.0.append(text))
    }
}

/// Reads the list of a name's values.
struct ValuesOf<'h> {
    headers: &'h mut Headers,
    name: Span,
}

impl<'de> DeserializeSeed<'de> for ValuesOf<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ValuesOf<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of strings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        while let Some(value) = values.next_element_seed(Text(self.headers))? {
            self.headers.entries.push(Entry { name: self.name, value });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Encoding;
    use alloc::format;

    fn read(json: &str) -> Headers {
        Encoding::Json.decode(json.as_bytes()).unwrap()
    }

    fn written(headers: &Headers) -> String {
        let mut json = Vec::new();
        Encoding::Json.encode(headers, &mut json).unwrap();
        String::from_utf8(json).unwrap()
    }

    #[test]
    fn names_are_sorted_and_values_in_their_order() {
        let headers: Headers =
            [("b", "2"), ("a", "1"), ("c", "4"), ("b", "3"), ("a", "0"), ("", "")].into_iter().collect();
        let sorted = [("", ""), ("a", "1"), ("a", "0"), ("b", "2"), ("b", "3"), ("c", "4")];
        assert!(headers.iter().eq(sorted));
        assert!(headers.get_all("a").eq(["1", "0"]));
        assert_eq!((headers.get("b"), headers.get(""), headers.get("d")), (Some("2"), Some(""), None));
        assert!(headers.contains_key("c") && !headers.contains_key("C"));
        assert_eq!((headers.len(), headers.is_empty(), Headers::new().is_empty()), (6, false, true));
        assert_eq!(written(&headers), r#"{"":[""],"a":["1","0"],"b":["2","3"],"c":["4"]}"#);
        assert_eq!(read(&written(&headers)), headers);
    }

    #[test]
    fn the_same_headers_are_equal_however_they_came() {
        let hash = |headers: &Headers| {
            let mut hasher = std::hash::DefaultHasher::new();
            headers.hash(&mut hasher);
            hasher.finish()
        };
        let one: Headers = [("a", "1"), ("b", "2")].into_iter().collect();
        let other: Headers = [("b", "2"), ("a", "1")].into_iter().collect();
        assert_eq!((&one, hash(&one)), (&other, hash(&other)));
        for another in [[("a", "1")].into_iter().collect(), [("a", "1"), ("b", "3")].into_iter().collect()] {
            assert_ne!(one, another);
            assert_ne!(hash(&one), hash(&another));
        }
        assert_eq!(format!("{one:?}"), r#"{"a": ["1"], "b": ["2"]}"#);
    }

    #[test]
    // Rule: W-HEAD-2.
    fn of_a_name_that_is_said_twice_the_last_counts_and_none_is_without_value() {
        assert_eq!(written(&read(r#"{"b":["1"],"a":[],"b":["2","3"]}"#)), r#"{"b":["2","3"]}"#);
        assert_eq!(written(&read(r#"{"a":["1","2"],"b":["3"],"a":[]}"#)), r#"{"b":["3"]}"#);
        assert_eq!(written(&read(r#"{"a":["1"],"a":["2"]}"#)), r#"{"a":["2"]}"#);
    }

    #[test]
    // If each were put in its place as it comes, this would take fifty times as long.
    fn very_many_are_read_in_any_order() {
        let names = || (0..300_000).map(|number| format!("{number:06}"));
        let map = |names: &mut dyn Iterator<Item = String>| {
            let entries: Vec<_> = names.map(|name| format!(r#""{name}":["v"]"#)).collect();
            read(&format!("{{{}}}", entries.join(",")))
        };
        let (sorted, turned) = (map(&mut names()), map(&mut names().rev()));
        assert_eq!(sorted.len(), 300_000);
        assert!(sorted == turned);
    }

    #[test]
    fn what_is_not_a_map_of_lists_of_strings_is_an_error() {
        for (json, expected) in [
            ("[]", "a map of names to lists of values"),
            (r#"{"a":"1"}"#, "a list of strings"),
            (r#"{"a":[1]}"#, "a string"),
            (r#"{"a":null}"#, "a list of strings"),
        ] {
            let error = Encoding::Json.decode::<Headers>(json.as_bytes()).unwrap_err();
            assert!(error.message().contains(expected), "{json}: {error}");
        }
    }
}

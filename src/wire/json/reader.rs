//! Reading messages of the plain kind, which nearly all are.
//!
//! The reader hopes for the best. What it gives is what `serde_json` would have given; where it is not
//! sure of that, it gives up, and `serde_json` reads the message from its start. So an error of this
//! reader says nothing but that: the one that a caller sees is always `serde_json`'s.

use core::fmt;

use serde::Deserialize;
use serde::de::{Deserializer as _, Error, Visitor};
use serde_json::de::SliceRead;

use super::entries::{Entries, NamedVariant};
use super::skip::{
    Found, MAX_DEPTH, find_number, find_string, number_end, see, skip_value, skip_word, string_end,
};

/// Reads one message from exactly these bytes, or gives up.
pub(crate) fn read<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Option<T> {
    let mut reader = Reader { text: core::str::from_utf8(bytes).ok()?, at: 0, depth: 0 };
    let message = T::deserialize(&mut reader).ok()?;
    // Past any white space.
    reader.peek();
    (reader.at == reader.text.len()).then_some(message)
}

/// A text, and how far it has been read.
///
/// A reader that gave up is past the end of no text: there is nothing to see, and never an end. Whoever
/// ignores that it gave up comes to no result.
pub(super) struct Reader<'de> {
    text: &'de str,
    /// Where the next byte is.
    at: usize,
    /// How many lists and maps are open.
    depth: u8,
}

/// The reader gave up.
#[derive(Debug)]
pub(super) struct GaveUp;

pub(super) type Result<T> = core::result::Result<T, GaveUp>;

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not read")
    }
}

impl core::error::Error for GaveUp {}

impl Error for GaveUp {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl<'de> Reader<'de> {
    #[cold]
    pub(super) fn give_up<T>(&mut self) -> Result<T> {
        (self.text, self.at) = ("", 1);
        Err(GaveUp)
    }

    /// The next byte behind any white space, and 0, which starts nothing, at the end.
    #[inline]
    pub(super) fn peek(&mut self) -> u8 {
        let (byte, at) = see(self.text.as_bytes(), self.at);
        self.at = at;
        byte
    }

    /// Goes past so many bytes, which have been seen.
    #[inline]
    pub(super) fn skip(&mut self, length: usize) {
        self.at = self.at.wrapping_add(length);
    }

    /// Goes past a byte that must come next, and any white space before it.
    #[inline]
    pub(super) fn expect(&mut self, byte: u8) -> Result<()> {
        if self.peek() != byte {
            return self.give_up();
        }
        self.skip(1);
        Ok(())
    }

    /// Goes past a word that must stand here.
    #[inline]
    pub(super) fn word(&mut self, word: &str) -> Result<()> {
        match skip_word(self.text.as_bytes(), self.at, word) {
            Some(end) => {
                self.at = end;
                Ok(())
            }
            None => self.give_up(),
        }
    }

    /// Has `serde_json` read what ends there, alone and all of it, and goes past it.
    #[cold]
    fn hand_over<T>(
        &mut self,
        end: usize,
        read: impl FnOnce(&mut serde_json::Deserializer<SliceRead<'de>>) -> serde_json::Result<T>,
    ) -> Result<T> {
        let Some(text) = self.text.as_bytes().get(self.at..end) else { return self.give_up() };
        let mut alone = serde_json::Deserializer::from_slice(text);
        let (Ok(value), Ok(())) = (read(&mut alone), alone.end()) else { return self.give_up() };
        self.at = end;
        Ok(value)
    }

    /// Goes past a string without escapes. `None` if it has some; it is then still to be read.
    #[inline]
    fn plain_string(&mut self) -> Result<Option<&'de str>> {
        match find_string(self.text.as_bytes(), self.at) {
            Found::Plain { end } => {
                let text = self.text.get(self.at.wrapping_add(1)..end.wrapping_sub(1));
                self.at = end;
                if text.is_some() { Ok(text) } else { self.give_up() }
            }
            Found::Odd => Ok(None),
            Found::None => self.give_up(),
        }
    }

    #[inline]
    pub(super) fn string<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        match self.plain_string()? {
            Some(text) => visitor.visit_borrowed_str(text),
            None => self
                .hand_over(string_end(self.text.as_bytes(), self.at), |alone| alone.deserialize_str(visitor)),
        }
    }

    #[inline]
    pub(super) fn number<V: Visitor<'de>>(
        &mut self,
        visitor: V,
        read: impl FnOnce(&mut serde_json::Deserializer<SliceRead<'de>>, V) -> serde_json::Result<V::Value>,
    ) -> Result<V::Value> {
        let bytes = self.text.as_bytes();
        match find_number(bytes, self.at) {
            Some((number, end)) => {
                self.at = end;
                visitor.visit_u64(number)
            }
            None => self.hand_over(number_end(bytes, self.at), |alone| read(alone, visitor)),
        }
    }

    #[inline]
    fn enter(&mut self) -> Result<()> {
        if self.depth >= MAX_DEPTH {
            return self.give_up();
        }
        self.depth = self.depth.wrapping_add(1);
        self.skip(1);
        Ok(())
    }

    /// Closes what was entered, if all of it was read.
    #[inline]
    fn leave<T>(&mut self, close: u8, read: Result<T>) -> Result<T> {
        self.depth = self.depth.wrapping_sub(1);
        match read {
            Ok(value) => {
                self.expect(close)?;
                Ok(value)
            }
            // Where `serde_json` would now stand, only it can tell.
            Err(GaveUp) => self.give_up(),
        }
    }

    #[inline]
    pub(super) fn list<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        self.enter()?;
        let read = visitor.visit_seq(Entries::new(self));
        self.leave(b']', read)
    }

    #[inline]
    pub(super) fn map<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        self.enter()?;
        let read = visitor.visit_map(Entries::new(self));
        self.leave(b'}', read)
    }

    #[inline]
    pub(super) fn variant<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        self.enter()?;
        let read = visitor.visit_enum(NamedVariant(self));
        self.leave(b'}', read)
    }

    /// Goes past one well-formed value of any kind.
    #[inline]
    pub(super) fn ignore(&mut self) -> Result<()> {
        match skip_value(self.text.as_bytes(), self.at, self.depth) {
            Some(end) => {
                self.at = end;
                Ok(())
            }
            None => self.give_up(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    #[derive(Debug, Deserialize, PartialEq)]
    enum Choice {
        Alone,
        With(u8),
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Two(u8, String);

    #[derive(Debug, Deserialize, PartialEq)]
    struct Named {
        a: u8,
        b: String,
    }

    // A reader that gave up would do no harm, and would be of no use.
    #[test]
    fn what_is_plain_is_read() {
        assert_eq!(read(br#""Alone""#), Some(Choice::Alone));
        assert_eq!(read(br#"{"Alone":null}"#), Some(Choice::Alone));
        assert_eq!(read(br#" { "With" : 7 } "#), Some(Choice::With(7)));
        assert_eq!(read(br#"[7,"x"]"#), Some(Two(7, "x".into())));
        assert_eq!(read(br#"[7,"x"]"#), Some(Named { a: 7, b: "x".into() }));
        assert_eq!(read(br#"{"b":"x","c":[],"a":7}"#), Some(Named { a: 7, b: "x".into() }));
        assert_eq!(read::<String>(br#""a\nb""#).as_deref(), Some("a\nb"));
    }

    #[test]
    fn what_is_not_well_formed_is_given_up() {
        for text in [r#"{"Alone":}"#, r#"{"Alone":1}"#, r#"{"With":null}"#, r#"{"With"}"#, "Alone", ""] {
            assert_eq!(read::<Choice>(text.as_bytes()), None, "{text}");
        }
    }
}

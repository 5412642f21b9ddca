//! Reading messages of the plain kind, which nearly all are.
//!
//! The reader hopes for the best. What it gives is what `serde_json` would have given; where it is not
//! sure of that, it gives up, and `serde_json` reads the message from its start. So an error of this
//! reader says nothing but that: the one that a caller sees is always `serde_json`'s.

use core::fmt;

use serde::Deserialize;
use serde::de::{Deserializer as _, Error, IgnoredAny, Visitor};
use serde_json::de::SliceRead;

use super::entries::{Entries, NamedVariant};
use super::scan::plain_run;

/// Lists and maps may stand this deep in each other, as in `serde_json`.
const MAX_DEPTH: u8 = 127;

/// What is left to read once the reader has given up: nothing starts so, and it is not the end either.
/// Whoever ignores that the reader gave up comes to no result.
const NOTHING: &str = "\0";

/// Reads one message from exactly these bytes, or gives up.
pub(crate) fn read<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Option<T> {
    let mut reader = Reader { rest: core::str::from_utf8(bytes).ok()?, depth: 0 };
    let message = T::deserialize(&mut reader).ok()?;
    // Only at the end there is no byte to see.
    reader.peek();
    reader.rest.is_empty().then_some(message)
}

/// A text, from where it has been read to.
pub(super) struct Reader<'de> {
    rest: &'de str,
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
        self.rest = NOTHING;
        Err(GaveUp)
    }

    /// The next byte behind any white space, and 0, which starts nothing, at the end.
    #[inline]
    pub(super) fn peek(&mut self) -> u8 {
        loop {
            match self.rest.as_bytes().first() {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.skip(1),
                Some(byte) => return *byte,
                None => return 0,
            }
        }
    }

    /// Goes past so many bytes, which are there.
    #[inline]
    pub(super) fn skip(&mut self, length: usize) {
        self.rest = self.rest.get(length..).unwrap_or(NOTHING);
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
        match self.rest.strip_prefix(word) {
            Some(rest) => self.rest = rest,
            None => return self.give_up(),
        }
        Ok(())
    }

    /// Has `serde_json` read the next so many bytes, alone and all of them, and goes past them.
    #[cold]
    fn hand_over<T>(
        &mut self,
        length: usize,
        read: impl FnOnce(&mut serde_json::Deserializer<SliceRead<'de>>) -> serde_json::Result<T>,
    ) -> Result<T> {
        let Some((text, rest)) = self.rest.split_at_checked(length) else { return self.give_up() };
        let mut alone = serde_json::Deserializer::from_slice(text.as_bytes());
        let (Ok(value), Ok(())) = (read(&mut alone), alone.end()) else { return self.give_up() };
        self.rest = rest;
        Ok(value)
    }

    /// Goes past a string without escapes. `None` if it has some; it is then still to be read.
    #[inline]
    fn plain_string(&mut self) -> Result<Option<&'de str>> {
        let Some(inside) = self.rest.strip_prefix('"') else { return self.give_up() };
        let Some((text, tail)) = inside.split_at_checked(plain_run(inside.as_bytes())) else {
            return self.give_up();
        };
        match tail.as_bytes().first() {
            Some(b'"') => {
                self.rest = tail;
                self.skip(1);
                Ok(Some(text))
            }
            Some(b'\\') => Ok(None),
            Some(_) | None => self.give_up(),
        }
    }

    /// The length of the string that comes next, quotes and all; that of all the rest if it has no end.
    fn string_length(&self) -> usize {
        let bytes = self.rest.as_bytes();
        let mut at = 1_usize;
        loop {
            at = at.saturating_add(plain_run(bytes.get(at..).unwrap_or_default()));
            match bytes.get(at) {
                Some(b'"') => return at.saturating_add(1),
                Some(b'\\') => at = at.saturating_add(2),
                Some(_) | None => return bytes.len(),
            }
        }
    }

    /// The number that comes next and how long it is, if it is but digits and certainly fits.
    #[inline]
    fn plain_number(&self) -> Option<(u64, usize)> {
        // All numbers of so many digits fit 64 bits.
        const SURE: usize = 19;
        let bytes = self.rest.as_bytes();
        let (mut number, mut length) = (0_u64, 0_usize);
        for digit in bytes.iter().map(|byte| byte.wrapping_sub(b'0')).take_while(|digit| *digit < 10) {
            number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
            length = length.wrapping_add(1);
        }
        let leading_zero = length > 1 && bytes.first() == Some(&b'0');
        let goes_on = bytes.get(length).copied().is_some_and(in_number);
        ((1..=SURE).contains(&length) && !leading_zero && !goes_on).then_some((number, length))
    }

    /// The length of whatever looks like a number.
    fn number_length(&self) -> usize {
        self.rest.bytes().take_while(|byte| in_number(*byte)).count()
    }

    #[inline]
    pub(super) fn string<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        match self.plain_string()? {
            Some(text) => visitor.visit_borrowed_str(text),
            None => self.hand_over(self.string_length(), |alone| alone.deserialize_str(visitor)),
        }
    }

    #[inline]
    pub(super) fn number<V: Visitor<'de>>(
        &mut self,
        visitor: V,
        read: impl FnOnce(&mut serde_json::Deserializer<SliceRead<'de>>, V) -> serde_json::Result<V::Value>,
    ) -> Result<V::Value> {
        match self.plain_number() {
            Some((number, length)) => {
                self.skip(length);
                visitor.visit_u64(number)
            }
            None => self.hand_over(self.number_length(), |alone| read(alone, visitor)),
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
    pub(super) fn ignore(&mut self) -> Result<()> {
        match self.peek() {
            b'"' => self.ignore_string(),
            b'n' => self.word("null"),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'[' => {
                self.enter()?;
                let read = self.ignore_entries(b']', Self::ignore);
                self.leave(b']', read)
            }
            b'{' => {
                self.enter()?;
                let read = self.ignore_entries(b'}', |reader| {
                    reader.peek();
                    reader.ignore_string()?;
                    reader.expect(b':')?;
                    reader.ignore()
                });
                self.leave(b'}', read)
            }
            _ => match self.plain_number() {
                Some((_, length)) => {
                    self.skip(length);
                    Ok(())
                }
                None => self.hand_over(self.number_length(), ignore),
            },
        }
    }

    fn ignore_string(&mut self) -> Result<()> {
        match self.plain_string()? {
            Some(_) => Ok(()),
            None => self.hand_over(self.string_length(), ignore),
        }
    }

    #[inline]
    fn ignore_entries(&mut self, close: u8, mut entry: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        if self.peek() == close {
            return Ok(());
        }
        loop {
            entry(self)?;
            if self.peek() != b',' {
                return Ok(());
            }
            self.skip(1);
        }
    }
}

const fn in_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')
}

fn ignore<'de>(alone: &mut serde_json::Deserializer<SliceRead<'de>>) -> serde_json::Result<()> {
    IgnoredAny::deserialize(alone).map(|_| ())
}

//! Finding where values end, as functions of a text and a place in it.

use serde::de::IgnoredAny;

use super::scan::plain_run;

/// Lists and maps may stand this deep in each other, as in `serde_json`.
pub(super) const MAX_DEPTH: u8 = 127;

/// What was found where a string should be.
pub(super) enum Found {
    /// One that says what it means, and the place behind it.
    Plain { end: usize },
    /// One with an escape in it, if it is one at all.
    Odd,
    /// None, or none that is well-formed.
    None,
}

/// The first byte behind any white space, and its place. At the end, 0, which starts nothing.
#[inline]
pub(super) fn see(bytes: &[u8], mut at: usize) -> (u8, usize) {
    loop {
        match bytes.get(at) {
            Some(b' ' | b'\n' | b'\t' | b'\r') => at = at.wrapping_add(1),
            Some(byte) => return (*byte, at),
            None => return (0, at),
        }
    }
}

/// The place behind a word that must stand there.
#[inline]
pub(super) fn skip_word(bytes: &[u8], at: usize, word: &str) -> Option<usize> {
    bytes.get(at..)?.starts_with(word.as_bytes()).then(|| at.wrapping_add(word.len()))
}

/// Looks for a string.
#[inline]
pub(super) fn find_string(bytes: &[u8], at: usize) -> Found {
    if bytes.get(at) != Some(&b'"') {
        return Found::None;
    }
    let start = at.wrapping_add(1);
    let end = start.wrapping_add(plain_run(bytes.get(start..).unwrap_or_default()));
    match bytes.get(end) {
        Some(b'"') => Found::Plain { end: end.wrapping_add(1) },
        Some(b'\\') => Found::Odd,
        Some(_) | None => Found::None,
    }
}

/// The place behind a string with escapes in it; the end of the text if it has no end.
#[cold]
pub(super) fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut at = at.saturating_add(1);
    loop {
        at = at.saturating_add(plain_run(bytes.get(at..).unwrap_or_default()));
        match bytes.get(at) {
            Some(b'"') => return at.saturating_add(1),
            Some(b'\\') => at = at.saturating_add(2),
            Some(_) | None => return bytes.len(),
        }
    }
}

/// The number that stands there and the place behind it, if it is but digits and certainly fits.
#[inline]
pub(super) fn find_number(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    // All numbers of so many digits fit 64 bits.
    const SURE: usize = 19;
    let bytes = bytes.get(at..)?;
    let (mut number, mut length) = (0_u64, 0_usize);
    for digit in bytes.iter().map(|byte| byte.wrapping_sub(b'0')).take_while(|digit| *digit < 10) {
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
        length = length.wrapping_add(1);
    }
    let leading_zero = length > 1 && bytes.first() == Some(&b'0');
    let goes_on = bytes.get(length).copied().is_some_and(in_number);
    let plain = (1..=SURE).contains(&length) && !leading_zero && !goes_on;
    plain.then(|| (number, at.wrapping_add(length)))
}

/// The place behind whatever looks like a number.
#[cold]
pub(super) fn number_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at.saturating_add(rest.iter().take_while(|byte| in_number(**byte)).count())
}

const fn in_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')
}

/// The place behind one well-formed value, within so many lists and maps.
pub(super) fn skip_value(bytes: &[u8], at: usize, depth: u8) -> Option<usize> {
    let (byte, at) = see(bytes, at);
    match byte {
        b'"' => skip_string(bytes, at),
        b'n' => skip_word(bytes, at, "null"),
        b't' => skip_word(bytes, at, "true"),
        b'f' => skip_word(bytes, at, "false"),
        b'[' => skip_entries(bytes, at, b']', depth),
        b'{' => skip_entries(bytes, at, b'}', depth),
        _ => match find_number(bytes, at) {
            Some((_, end)) => Some(end),
            None => skip_odd(bytes, at, number_end(bytes, at)),
        },
    }
}

/// The place behind a string.
#[inline]
fn skip_string(bytes: &[u8], at: usize) -> Option<usize> {
    match find_string(bytes, at) {
        Found::Plain { end } => Some(end),
        Found::Odd => skip_odd(bytes, at, string_end(bytes, at)),
        Found::None => None,
    }
}

/// The end of a value, if `serde_json` finds it well-formed.
#[cold]
fn skip_odd(bytes: &[u8], at: usize, end: usize) -> Option<usize> {
    let value = serde_json::from_slice::<IgnoredAny>(bytes.get(at..end)?);
    value.is_ok().then_some(end)
}

/// The place behind a list or a map.
fn skip_entries(bytes: &[u8], at: usize, close: u8, depth: u8) -> Option<usize> {
    let depth = depth.checked_add(1).filter(|depth| *depth <= MAX_DEPTH)?;
    let (mut byte, mut at) = see(bytes, at.wrapping_add(1));
    if byte == close {
        return Some(at.wrapping_add(1));
    }
    loop {
        if close == b'}' {
            (byte, at) = see(bytes, skip_string(bytes, at)?);
            if byte != b':' {
                return None;
            }
            at = at.wrapping_add(1);
        }
        (byte, at) = see(bytes, skip_value(bytes, at, depth)?);
        if byte == close {
            return Some(at.wrapping_add(1));
        }
        if byte != b',' {
            return None;
        }
        (_, at) = see(bytes, at.wrapping_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_where_it_ends() {
        for value in [
            "null",
            "true",
            "false",
            "12",
            "-1.5e3",
            r#""s""#,
            r#""a\"b""#,
            "[]",
            "[ ]",
            r#"[1 , "a"]"#,
            "{}",
            r#"{"a":1}"#,
            r#"{"a" : {"b":[null,{}]} , "c":"d"}"#,
        ] {
            for behind in ["", ",", ":", "]", " "] {
                let text = [value, behind].concat();
                assert_eq!(skip_value(text.as_bytes(), 0, 0), Some(value.len()), "{text}");
            }
        }
    }

    #[test]
    fn what_is_not_well_formed_has_no_end() {
        for text in [
            "",
            "nul",
            "tru",
            "01",
            "-",
            r#""s"#,
            r#""\x""#,
            "[1",
            "[1,]",
            "[1 2]",
            "{",
            "{1:2}",
            r#"{"a"}"#,
            r#"{"a","b"}"#,
            r#"{"a" 1}"#,
            r#"{"a"11}"#,
            r#"{"a":1,}"#,
            "]",
        ] {
            assert_eq!(skip_value(text.as_bytes(), 0, 0), None, "{text}");
        }
    }
}

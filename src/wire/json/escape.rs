//! Writing strings.

use alloc::vec::Vec;

use super::scan::{all_plain, is_special, plain_run};

/// Appends `text` in quotes.
#[inline]
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    write_contents(text, out);
    out.push(b'"');
}

/// Appends `text` as it stands within quotes.
#[inline]
pub(super) fn write_contents(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    if all_plain(bytes) {
        out.extend_from_slice(bytes);
    } else {
        write_long(bytes, out);
    }
}

/// Appends a name as [`write_contents`] does. Of a name that is known when this is compiled, only the copying
/// is left.
#[inline(always)]
pub(super) fn write_name(name: &'static str, out: &mut Vec<u8>) {
    let bytes = name.as_bytes();
    let mut at = 0_usize;
    while let Some(byte) = bytes.get(at) {
        if is_special(*byte) {
            return write_long(bytes, out);
        }
        at = at.wrapping_add(1);
    }
    out.extend_from_slice(bytes);
}

/// Appends runs of plain bytes and the special ones between them.
fn write_long(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some((run, tail)) = rest.split_at_checked(plain_run(rest)) {
        out.extend_from_slice(run);
        let Some((special, tail)) = tail.split_first() else { return };
        write_special(*special, out);
        rest = tail;
    }
}

fn write_special(byte: u8, out: &mut Vec<u8>) {
    let letter = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend([byte >> 4, byte & 0xf].map(hex_digit));
            return;
        }
    };
    out.extend_from_slice(&[b'\\', letter]);
}

/// The digit of a number below 16.
const fn hex_digit(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0'.wrapping_add(nibble),
        _ => b'a'.wrapping_sub(10).wrapping_add(nibble),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;

    fn same(text: &str) {
        let mut out = Vec::new();
        write_string(text, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(text).unwrap());
    }

    #[test]
    fn every_letter_is_escaped_as_serde_json_does_wherever_it_stands() {
        for letter in (0..0x800).filter_map(char::from_u32).chain(['\u{2028}', '\u{ffff}', '\u{10ffff}']) {
            for before in 0..17 {
                for after in [0, 1, 7, 8, 9] {
                    same(&format!("{}{letter}{}", "x".repeat(before), "x".repeat(after)));
                }
            }
        }
    }

    #[test]
    fn letters_that_are_escaped_may_follow_each_other() {
        let special = || (0..0x20).chain([0x22, 0x5c, 0x78]).filter_map(char::from_u32);
        for (first, second) in special().flat_map(|first| special().map(move |second| (first, second))) {
            same(&format!("{first}{second}"));
            same(&format!("seven..{first}{second}......."));
        }
        same("");
    }
}

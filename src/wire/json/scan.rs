//! Finding the end of a run of plain bytes, eight bytes at a time.

const EACH: u64 = 0x0101_0101_0101_0101;
const TOP: u64 = 0x8080_8080_8080_8080;

/// A word of bytes that stand for themselves.
const PLAIN: u64 = EACH.wrapping_mul(b' ' as u64);

/// How many bytes at the front stand for themselves in a JSON string: all up to the first quote,
/// backslash or control character.
// On its own it needs no more registers than a function is free to use.
#[inline(never)]
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((chunk, tail)) = rest.split_first_chunk() {
        if let Some(at) = first_special(*chunk) {
            return bytes.len().wrapping_sub(rest.len()).wrapping_add(at);
        }
        rest = tail;
    }
    // The last eight bytes once more, of which only the new ones can be special.
    if let Some(chunk) = bytes.last_chunk() {
        return match first_special(*chunk) {
            Some(at) => bytes.len().wrapping_sub(chunk.len()).wrapping_add(at),
            None => bytes.len(),
        };
    }
    rest.iter().position(|byte| is_special(*byte)).unwrap_or(bytes.len())
}

/// Whether a byte cannot stand for itself in a JSON string.
#[inline]
pub(super) const fn is_special(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// Where the first special byte is.
#[inline]
const fn first_special(chunk: [u8; 8]) -> Option<usize> {
    let found = special_bits(u64::from_le_bytes(chunk));
    if found == 0 { None } else { Some((found.trailing_zeros() / 8) as usize) }
}

/// Whether all bytes stand for themselves in a JSON string.
#[inline]
pub(super) fn all_plain(bytes: &[u8]) -> bool {
    if let Some(last) = bytes.last_chunk() {
        let (chunks, _) = bytes.as_chunks();
        return chunks.iter().all(|chunk| is_plain(u64::from_le_bytes(*chunk)))
            && is_plain(u64::from_le_bytes(*last));
    }
    // What is shorter than a word makes one, some of it twice.
    match (bytes.first_chunk(), bytes.last_chunk(), bytes) {
        (Some(first), Some(last), _) => {
            is_plain(u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32)
        }
        (_, _, [first, .., last]) => {
            let middle = bytes.get(1).copied().unwrap_or(*first);
            is_plain(u64::from_le_bytes([*first, middle, *last, b' ', b' ', b' ', b' ', b' ']))
        }
        (_, _, [one]) => !is_special(*one),
        (_, _, []) => true,
    }
}

/// Whether all eight bytes of a word stand for themselves in a JSON string.
#[inline]
const fn is_plain(word: u64) -> bool {
    special_bits(word) == 0
}

/// A word with the highest bit set of bytes that are special, and with no other bit.
///
/// A borrow may also set it of a byte that is above a special one. The lowest one that is set is always right.
#[inline]
const fn special_bits(word: u64) -> u64 {
    let control = word.wrapping_sub(PLAIN);
    let quote = (word ^ EACH.wrapping_mul(b'"' as u64)).wrapping_sub(EACH);
    let backslash = (word ^ EACH.wrapping_mul(b'\\' as u64)).wrapping_sub(EACH);
    // No special byte has its highest bit set.
    (control | quote | backslash) & !word & TOP
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn slowly(bytes: &[u8]) -> usize {
        bytes.iter().position(|byte| is_special(*byte)).unwrap_or(bytes.len())
    }

    #[test]
    fn special_are_quotes_backslashes_and_control_characters() {
        let special = (0..=u8::MAX).filter(|byte| is_special(*byte));
        assert!(special.eq((0..0x20).chain([0x22, 0x5c])));
    }

    #[test]
    fn every_byte_is_judged_in_every_place_of_every_length() {
        for length in 0..=25 {
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut bytes = vec![b'x'; length];
                    bytes[at] = byte;
                    assert_eq!(plain_run(&bytes), slowly(&bytes), "{bytes:?}");
                    assert_eq!(all_plain(&bytes), !is_special(byte), "{bytes:?}");
                }
            }
        }
        assert!(all_plain(b""));
    }

    #[test]
    fn no_two_neighbours_hide_each_other() {
        for (first, second) in
            (0..=u8::MAX).flat_map(|first| (0..=u8::MAX).map(move |second| (first, second)))
        {
            for at in [0, 3, 6, 7, 8] {
                let mut bytes = vec![0xff; 10];
                bytes[at..at + 2].copy_from_slice(&[first, second]);
                assert_eq!(plain_run(&bytes), slowly(&bytes), "{bytes:?}");
                assert_eq!(all_plain(&bytes), !is_special(first) && !is_special(second), "{bytes:?}");
            }
        }
    }
}

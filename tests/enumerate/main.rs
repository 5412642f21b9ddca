//! Checks that try every input there is of a small size, instead of some of any size.
//!
//! The small doses run with all other tests. The big ones are marked to be ignored and run optimised:
//! `cargo test --release --test enumerate -- --include-ignored`.

mod frames;
mod ids;
mod json;
mod words;

/// Every string of exactly `length` letters of `alphabet`.
fn every(alphabet: &[u8], length: usize, mut each: impl FnMut(&[u8])) {
    let mut at = vec![0; length];
    let mut text = vec![alphabet[0]; length];
    loop {
        each(&text);
        // One more, as an odometer counts.
        let Some(wheel) = (0..length).rev().find(|wheel| at[*wheel] + 1 < alphabet.len()) else { return };
        at[wheel] += 1;
        text[wheel] = alphabet[at[wheel]];
        at[wheel + 1..].fill(0);
        text[wheel + 1..].fill(alphabet[0]);
    }
}

/// Every byte there is.
fn bytes() -> Vec<u8> {
    (0..=u8::MAX).collect()
}

#[test]
fn every_string_is_tried_once() {
    let mut seen = std::collections::BTreeSet::new();
    every(b"abc", 4, |text| assert!(seen.insert(text.to_vec())));
    assert_eq!(seen.len(), 81);
    let mut empty = 0;
    every(b"abc", 0, |_| empty += 1);
    assert_eq!(empty, 1);
}

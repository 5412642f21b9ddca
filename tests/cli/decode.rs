//! `dialback decode` as a process.

use dialback::testing::Rng;
use serde_json::Value;

use crate::tool::{golden, run};

fn vectors() -> Vec<String> {
    let file: Value = serde_json::from_str(include_str!("../vectors/upstream-0.6.54.json")).unwrap();
    let hex = |vector: &Value| vector["frame_hex"].as_str().unwrap().to_string();
    file["vectors"].as_array().unwrap().iter().map(hex).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn the_golden_vectors_look_as_they_did() {
    let hex = vectors().join("\n");
    for format in ["table", "json", "mermaid"] {
        let ended = run(&["decode", "--hex", "--format", format], hex.as_bytes()).well();
        assert_eq!(ended.err, "");
        assert!(!ended.out.contains("s3cret"), "{}", ended.out);
        golden(&format!("decode-{format}.txt"), &ended.out);
    }
}

#[test]
fn files_and_the_standard_input_and_hexadecimal_digits_give_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("frames");
    let all: Vec<u8> = vectors().iter().flat_map(|hex| bytes(hex)).collect();
    std::fs::write(&path, &all).unwrap();
    let name = path.to_str().unwrap();
    let wanted = run(&["decode", "--hex"], vectors().concat().as_bytes()).well().out;
    assert_eq!(run(&["decode"], &all).well().out, wanted);
    assert_eq!(run(&["decode", "-"], &all).well().out, wanted);
    assert_eq!(run(&["decode", name], b"").well().out, wanted);
    assert_eq!(run(&["decode", name, name], b"").well().out, wanted.repeat(2));
}

#[test]
fn damaged_files_are_shown_up_to_the_damage_and_each_has_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (mut rng, frames) = (Rng::new(7), vectors());
    let mut names = Vec::new();
    for number in 0..200 {
        let at = rng.below(frames.len() as u64) as usize;
        let mut damaged: Vec<u8> = frames[..at].iter().flat_map(|hex| bytes(hex)).collect();
        let frame = bytes(&frames[at]);
        let cut = 1 + rng.below(frame.len() as u64 - 1) as usize;
        damaged.extend(&frame[..cut]);
        let path = dir.path().join(format!("{number}.frames"));
        std::fs::write(&path, damaged).unwrap();
        names.push(path.display().to_string());
    }
    let mut arguments = vec!["decode".to_string()];
    arguments.extend(names.iter().cloned());
    let ended = run(&arguments, b"").badly(1, "damaged at byte");
    for name in names {
        assert!(ended.err.contains(&format!("{name}: damaged at byte")), "{name} has no reason");
    }
}

#[test]
fn damage_is_told_with_its_place() {
    let table = |ended: &crate::tool::Ended| ended.out.lines().count();
    let ended =
        run(&["decode", "--hex"], b"00000003427b7d\n0000zz").badly(1, "line 2, column 5: 'z' is no hex");
    assert_eq!(table(&ended), 3);
    run(&["decode", "--hex"], b"00 0\n").badly(1, "line 1, column 5: the byte has one digit");
    run(&["decode", "--hex"], b"0").badly(1, "the last byte has one digit");
    run(&["decode"], &[0, 0, 0, 3, 0x42, b'{']).badly(1, "damaged at byte 0: the input ends within frame 1");
    run(&["decode"], &[0xff; 5]).badly(1, "damaged at byte 0: frame 1: a frame has length 4294967295");
    let ended = run(&["decode"], &[0, 0, 0, 2, 0x41, b'{', 0, 0, 0, 3, 0x42, b'{', b'}']);
    let ended =
        ended.badly(1, "standard input: damaged at byte 0: frame 1, Ping: the payload cannot be read");
    assert_eq!(table(&ended), 3, "what follows a payload that can't be read is shown: {}", ended.out);
    assert_eq!(table(&run(&["decode"], b"").well()), 1, "nothing is no damage");
}

//! Every input that the fuzzers kept, and every seed, through the same checks, without a fuzzer.

// A failed expectation is what a test is for.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use dialback::testing::fuzz::{TARGETS, inputs, seeds};
use serde_json::Value;

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn every_kept_input_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for target in TARGETS {
        let path = folder.join(target.name).with_extension("seeds");
        let corpus = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut count = 0;
        for (number, input) in inputs(&corpus).enumerate() {
            if let Err(failure) = (target.check)(input) {
                panic!("{}, input {number}: {failure}\n{input:?}", target.name);
            }
            count += 1;
        }
        assert!(count >= 20, "{}: only {count} inputs", target.name);
        println!("{}: {count} inputs, {} bytes", target.name, corpus.len());
    }
}

#[test]
fn every_seed_passes() {
    let file: Value = serde_json::from_str(include_str!("vectors/upstream-0.6.54.json")).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    let frames: Vec<Vec<u8>> =
        vectors.iter().map(|vector| unhex(vector["frame_hex"].as_str().unwrap())).collect();
    let seeds = seeds(&frames);
    assert!(seeds.len() > 200);
    for seed in seeds {
        let target = TARGETS.into_iter().find(|target| target.name == seed.target).unwrap();
        if let Err(failure) = (target.check)(&seed.bytes) {
            panic!("{}: {failure}\n{:?}", seed.target, seed.bytes);
        }
    }
}

//! The code in the guide to embedding is the code of the example, and all of its driver.

use std::fs;
use std::path::Path;

const GUIDE: &str = "docs/embedding.md";
const DRIVER: &str = "std/src/driver.rs";
const SOURCES: [&str; 4] = [DRIVER, "mio/src/driver.rs", "smol/src/driver.rs", "conversation/src/lib.rs"];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The code blocks of a text that are marked as Rust.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in text.lines() {
        match (&mut block, line) {
            (None, "```rust") => block = Some(String::new()),
            (None, _) => {}
            (Some(_), "```") => blocks.extend(block.take()),
            (Some(code), line) => {
                code.push_str(line);
                code.push('\n');
            }
        }
    }
    assert!(block.is_none(), "a code block has no end");
    blocks
}

/// Whether `code` is a run of whole lines of `source`.
fn stands_in(code: &str, source: &str) -> bool {
    source.starts_with(code) || source.contains(&format!("\n{code}"))
}

#[test]
fn every_piece_of_code_in_the_guide_stands_in_the_example() {
    let sources = SOURCES.map(|path| read(&format!("examples/embedding/{path}")));
    let blocks = blocks(&read(GUIDE));
    assert!(blocks.len() >= 9, "the guide has {} pieces of code", blocks.len());
    for block in &blocks {
        let found = sources.iter().any(|source| stands_in(block, source));
        assert!(found, "this code of {GUIDE} is nowhere in the example:\n{block}");
    }
}

#[test]
fn the_guide_leaves_out_nothing_of_its_driver() {
    let shown = blocks(&read(GUIDE)).concat();
    let driver = read(&format!("examples/embedding/{DRIVER}"));
    let missing: Vec<_> = driver
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("//!"))
        .filter(|line| !stands_in(&format!("{line}\n"), &shown))
        .collect();
    assert!(missing.is_empty(), "{GUIDE} does not show:\n{}", missing.join("\n"));
}

//! What the deployed reverse connections were seen to get wrong, one test per fault, over real
//! sockets. On the other side of the socket is a peer written by hand, with none of the library
//! in it. The page `docs/faults.md` is the list.

#![cfg(all(feature = "tokio", unix))]
// A failed expectation is what a test is for.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "faults/agents.rs"]
mod agents;
#[path = "faults/answers.rs"]
mod answers;
#[path = "faults/exchanges.rs"]
mod exchanges;
#[path = "faults/limits.rs"]
mod limits;
#[path = "faults/raw.rs"]
mod raw;
#[path = "faults/registering.rs"]
mod registering;
#[path = "faults/secrets.rs"]
mod secrets;
#[path = "faults/site.rs"]
mod site;
#[path = "faults/sockets.rs"]
mod sockets;

const PAGE: &str = include_str!("../docs/faults.md");

const SOURCES: [&str; 7] = [
    include_str!("faults/agents.rs"),
    include_str!("faults/answers.rs"),
    include_str!("faults/exchanges.rs"),
    include_str!("faults/limits.rs"),
    include_str!("faults/registering.rs"),
    include_str!("faults/secrets.rs"),
    include_str!("faults/sockets.rs"),
];

/// The names of the tests in the sources.
fn tests() -> Vec<&'static str> {
    SOURCES.into_iter().flat_map(|source| source.split("#[tokio::test").skip(1)).map(name).collect()
}

/// The name of the function that `text` comes to next.
fn name(text: &'static str) -> &'static str {
    let (_, from) = text.split_once("async fn ").unwrap();
    from.split_once('(').unwrap().0
}

/// The names in the last column of the page's rows.
fn rows() -> Vec<&'static str> {
    let last = |row: &'static str| row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap().trim();
    PAGE.lines().filter(|line| line.ends_with("` |")).map(|row| last(row).trim_matches('`')).collect()
}

#[test]
fn the_page_and_the_tests_name_the_same() {
    let (mut tests, mut rows) = (tests(), rows());
    tests.sort_unstable();
    rows.sort_unstable();
    assert_eq!(rows, tests);
}

#[test]
fn no_numbered_fault_is_left_out() {
    let numbers = |names: Vec<&'static str>| -> Vec<u32> {
        let numbered = names.into_iter().filter_map(|name| name.strip_prefix("fault_"));
        numbered.map(|name| name[..2].parse().unwrap()).collect()
    };
    let all: Vec<u32> = (1..=20).collect();
    assert_eq!(numbers(rows()), all, "the page");
    let mut tested = numbers(tests());
    tested.sort_unstable();
    assert_eq!(tested, all, "the tests");
    for number in all {
        let row = PAGE.lines().find(|line| line.starts_with(&format!("| {number} |")));
        assert!(row.is_some_and(|row| row.contains(&format!("`fault_{number:02}_"))), "row {number}");
    }
}

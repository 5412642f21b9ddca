//! Bad input: a table of what a peer may send, to whom, and what it gets for it. Every row is
//! driven through a session whole, byte by byte, and cut in two; the page `docs/bad-input.md` is
//! the same table.

// A failed expectation is what a test is for.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod judge;
mod mutate;
mod open;
mod opening;
mod row;
#[cfg(all(feature = "tokio", unix))]
mod socket;
mod subject;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use dialback::machine::ConnectionState;
use row::{Receiver, Row};
use subject::{End, Subject};

const PAGE: &str = include_str!("../../docs/bad-input.md");

/// Where the tables of the page begin.
const MARK: &str = "<!-- The tables below are written by the test. -->\n";

/// Every row.
fn table() -> Vec<Row> {
    [opening::rows(), open::rows()].concat()
}

#[test]
// Rule: C-REPORT-1, C-VIOLATE-1, H-FWD-2, H-ORDER-2, H-REG-6, W-ENC-1, W-FRAME-2, W-TYPE-3, X-ID-2.
fn every_row_gets_what_the_table_says() {
    let mut wrong = String::new();
    for row in table() {
        if let Err(words) = judge::judge(&row) {
            write!(wrong, "\n{:?}, {}:\n    {words}", row.to, row.name).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_table_is_large_and_its_rows_have_names() {
    let rows = table();
    assert!(rows.len() >= 50, "{} rows", rows.len());
    let names: BTreeSet<_> = rows.iter().map(|row| (row.to, row.name)).collect();
    assert_eq!(names.len(), rows.len(), "two rows of one name");
}

/// Behind a registration that is being decided no more is held than an opening frame may have.
#[test]
// Rule: H-ORDER-3.
fn what_comes_before_the_decision_is_bounded() {
    let start = Subject::new(Receiver::ProxyUnregistered, row::Rules::Open);
    for (behind, held) in [(5_000, true), (65_536, true), (65_537, false), (1_000_000, false)] {
        let End::Proxy(mut session) = start.end.clone() else { panic!("a proxy") };
        session.handle_bytes(&row::frame(1, row::registration()), start.now);
        assert!(!session.wants_bytes());
        session.handle_bytes(&vec![0x42; behind], start.now);
        assert_eq!(session.state() == ConnectionState::Opening, held, "{behind} bytes behind");
        assert!(session.buffered_capacity() <= 2 * 65_536 + 1_024);
    }
}

#[test]
fn the_page_is_the_table() {
    let (text, tables) = PAGE.split_once(MARK).unwrap();
    let wanted = page();
    if std::env::var_os("WRITE_BAD_INPUT_PAGE").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/bad-input.md");
        return std::fs::write(path, [text, MARK, &wanted].concat()).unwrap();
    }
    for row in table() {
        let line = row.markdown();
        assert!(tables.lines().any(|other| other == line), "docs/bad-input.md lacks the line\n{line}");
    }
    assert_eq!(tables, wanted, "run this test with WRITE_BAD_INPUT_PAGE=1");
}

fn page() -> String {
    let rows = table();
    let mut page = String::new();
    for to in Receiver::ALL {
        write!(page, "\n## {}\n\n| what is sent | what it gets |\n|---|---|\n", to.title()).unwrap();
        for row in rows.iter().filter(|row| row.to == to) {
            writeln!(page, "{}", row.markdown()).unwrap();
        }
    }
    page
}

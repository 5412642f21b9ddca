//! The ledger names nothing that is not there: every check in it exists, every item it points at too.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const LEDGER: &str = include_str!("../README.md");

/// Columns whose backquoted words must lead somewhere.
const POINTERS: [&str; 3] = ["Stated in code", "Command", "Where"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// One row of a table: its cells, and the column of each.
struct Row {
    cells: Vec<(String, String)>,
}

impl Row {
    fn cell(&self, column: &str) -> Option<&str> {
        self.cells.iter().find(|(name, _)| name == column).map(|(_, cell)| cell.as_str())
    }
}

fn split(line: &str) -> Vec<String> {
    line.trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect()
}

/// The rows of every table of the page.
fn rows(page: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut columns: Option<Vec<String>> = None;
    for line in page.lines() {
        if !line.starts_with('|') {
            columns = None;
        } else if let Some(columns) = &columns {
            let cells = split(line);
            assert_eq!(cells.len(), columns.len(), "another number of cells than columns: {line}");
            if !line.starts_with("|-") {
                rows.push(Row { cells: columns.iter().cloned().zip(cells).collect() });
            }
        } else {
            columns = Some(split(line));
        }
    }
    rows
}

/// What stands between backquotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Whether `name` stands in `text` as a word of its own.
fn has_word(text: &str, name: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let behind = text[at + name.len()..].chars().next();
        !before.is_some_and(word) && !behind.is_some_and(word)
    })
}

/// Whether `text` defines an item of this name.
fn defines(text: &str, name: &str) -> bool {
    let keywords = ["fn", "struct", "enum", "trait", "const", "type", "mod", "macro_rules!"];
    let mut lines = text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
    lines.any(|line| keywords.iter().any(|keyword| has_word(line, keyword)) && has_word(line, name))
}

/// All Rust text of a file, and of the folder of the same name beside it.
fn rust_text(path: &Path) -> String {
    let mut text = fs::read_to_string(path.with_extension("rs")).unwrap_or_default();
    if let Ok(entries) = fs::read_dir(path) {
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                text.push_str(&rust_text(&path));
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    text
}

/// `src/a.rs::item::inner`, or a path alone.
fn look_up_path(word: &str) -> Result<(), String> {
    let (file, items) = word.split_once("::").unwrap_or((word, ""));
    let path = root().join(file);
    if !path.exists() {
        return Err(format!("there is no {file}"));
    }
    let text = fs::read_to_string(&path).unwrap_or_default();
    for (depth, item) in items.split("::").filter(|item| !item.is_empty()).enumerate() {
        // A variant or a method's type stands within an item that was looked up before.
        let found = if depth == 0 { defines(&text, item) } else { has_word(&text, item) };
        if !found {
            return Err(format!("{file} has no {item}"));
        }
    }
    Ok(())
}

/// The test or example that a cargo command names, and the tests that it picks out of it.
fn look_up_cargo(words: &[&str]) -> Result<(), String> {
    let package = words.iter().position(|word| *word == "-p").and_then(|at| words.get(at + 1));
    let base = match package {
        None | Some(&"dialback") => root(),
        Some(&"dialback-proofs") => root().join("proofs"),
        Some(other) => return Err(format!("there is no package {other}")),
    };
    let mut targets = Vec::new();
    let mut filters = Vec::new();
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        let mut folder = |folder: &str| -> Result<(), String> {
            let name = words.next().ok_or_else(|| format!("{word} names nothing"))?;
            let path = base.join(folder).join(name);
            if !path.with_extension("rs").exists() && !path.join("main.rs").exists() {
                return Err(format!("there is no {folder}/{name}"));
            }
            targets.push(path);
            Ok(())
        };
        match *word {
            "--" => break,
            "--test" => folder("tests")?,
            "--example" => folder("examples")?,
            "--bin" => folder("src/bin")?,
            "--lib" => targets.push(base.join("src")),
            "-p" | "--features" => drop(words.next()),
            flag if flag.starts_with('-') => {}
            filter => filters.push(filter),
        }
    }
    let text: String = match targets.is_empty() {
        true => rust_text(&base.join("src")) + &rust_text(&base.join("tests")),
        false => targets.iter().map(|path| rust_text(path)).collect(),
    };
    for filter in filters {
        let name = filter.rsplit("::").find(|part| !part.is_empty()).unwrap_or(filter);
        // As the test runner does: any part of the name of a test, or of a module that it is in.
        let mut names = text.split_whitespace().zip(text.split_whitespace().skip(1));
        if !names.any(|(keyword, item)| ["fn", "mod"].contains(&keyword) && item.contains(name)) {
            return Err(format!("no test is called {filter}"));
        }
    }
    Ok(())
}

/// Whether what stands between backquotes leads somewhere.
fn look_up(quoted: &str) -> Result<(), String> {
    let mut words: Vec<&str> = quoted.split_whitespace().collect();
    let is_setting = |word: &&str| word.split_once('=').is_some_and(|(name, _)| !name.starts_with('-'));
    while words.first().is_some_and(is_setting) {
        words.remove(0);
    }
    match words.split_first() {
        Some((&"cargo", rest)) => look_up_cargo(rest),
        Some((&"proofs/bugs/run", names)) => {
            look_up_path("proofs/bugs/run")?;
            names
                .iter()
                .filter(|name| !name.starts_with('-'))
                .try_for_each(|name| look_up_path(&format!("proofs/bugs/{name}.patch")))
        }
        Some((path, _)) if path.contains('/') || path.contains('.') => look_up_path(path),
        Some(_) | None => Err("neither a cargo command nor a path".to_string()),
    }
}

#[test]
fn everything_that_the_ledger_points_at_is_there() {
    let rows = rows(LEDGER);
    let mut count = 0;
    let mut wrong = Vec::new();
    for row in &rows {
        for column in POINTERS {
            for pointer in row.cell(column).map(quoted).unwrap_or_default() {
                count += 1;
                if let Err(error) = look_up(pointer) {
                    wrong.push(format!("`{pointer}`: {error}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(count > 60, "only {count} pointers were found: has the form of the tables changed?");
}

#[test]
fn every_property_is_stated_and_has_evidence() {
    let rows = rows(LEDGER);
    let claimed: BTreeSet<&str> = rows
        .iter()
        .filter(|row| row.cell("Stated in code").is_some_and(|cell| cell.contains('`')))
        .filter_map(|row| row.cell("Id"))
        .map(|id| id.trim_matches('*'))
        .collect();
    let proven: BTreeSet<&str> = rows
        .iter()
        .filter(|row| row.cell("Command").is_some_and(|cell| cell.contains('`')))
        .filter_map(|row| row.cell("Claim"))
        .flat_map(|claims| claims.split(", "))
        .collect();
    for property in (1..=15).map(|n| format!("P{n}")) {
        assert!(claimed.contains(property.as_str()), "{property} is not among the claims");
    }
    for id in &claimed {
        assert!(proven.contains(id), "{id} has no evidence");
    }
    for id in proven.iter().filter(|id| id.starts_with(['P', 'A'])) {
        assert!(claimed.contains(id), "evidence for {id}, which nobody claims");
    }
}

#[test]
fn a_pointer_that_leads_nowhere_is_seen() {
    for wrong in [
        "cargo test --test no_such_test",
        "cargo test --test ledger -p nobody",
        "cargo test -p dialback-proofs --test ledger no_such_function",
        "cargo run --example no_such_example",
        "proofs/no-such-part/run",
        "proofs/bugs/run no-such-bug",
        "src/lib.rs::no_such_item",
        "src/machine/exchange.rs::Stage::NoSuchStage",
        "words",
    ] {
        assert!(look_up(wrong).is_err(), "{wrong}");
    }
    for right in [
        "PROPTEST_CASES=9 cargo test --test pair all_properties",
        "cargo test --test faults fault_09",
        "cargo test --lib machine::",
        "cargo run --release --example demo",
        "src/machine/exchange.rs::Stage::Queued",
        "proofs/bugs/run --quick",
    ] {
        assert_eq!(look_up(right), Ok(()), "{right}");
    }
}

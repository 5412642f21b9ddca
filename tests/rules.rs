//! Every rule of docs/protocol.md stands at its code and at its test, and no other rule is cited.
//! Every rule says what an end must, must not, should or may do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const PAGE: &str = include_str!("../docs/protocol.md");

/// Words of the shape of a rule's id, `W-FRAME-1`.
fn ids(text: &str) -> BTreeSet<String> {
    let word = |c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-');
    let shaped = |id: &&str| {
        let mut parts = id.split('-');
        let letter = parts.next().is_some_and(|p| p.len() == 1 && "WHXFC".contains(p));
        let name = parts.next().is_some_and(|p| p.len() > 1 && p.chars().all(|c| c.is_ascii_uppercase()));
        let number = parts.next().is_some_and(|p| p.parse::<u8>().is_ok());
        letter && name && number && parts.next().is_none()
    };
    text.split(word).filter(shaped).map(String::from).collect()
}

/// The rules that the page states.
fn rules() -> BTreeSet<String> {
    let stated = |line: &str| {
        line.strip_prefix("- **").and_then(|rest| rest.split_once("**")).map(|(id, _)| id.into())
    };
    PAGE.lines().filter_map(stated).collect()
}

/// Rules cited below `folder`: in code, and in tests.
fn cited(folder: &Path, code: &mut BTreeSet<String>, tests: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let hidden = path.file_name().is_some_and(|name| name == "target" || name == "rules.rs");
        if hidden {
            continue;
        }
        if path.is_dir() {
            cited(&path, code, tests);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let is_test = path.components().any(|part| part.as_os_str() == "tests")
                || path.file_name().is_some_and(|name| name == "tests.rs");
            let (before, behind) = match text.find("#[cfg(test)]") {
                Some(at) if !is_test => text.split_at(at),
                Some(_) | None => {
                    (if is_test { "" } else { text.as_str() }, if is_test { text.as_str() } else { "" })
                }
            };
            code.extend(ids(before));
            tests.extend(ids(behind));
        }
    }
}

#[test]
fn every_rule_stands_at_its_code_and_at_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut code, mut tests) = (BTreeSet::new(), BTreeSet::new());
    for folder in ["src", "tests"] {
        cited(&root.join(folder), &mut code, &mut tests);
    }
    let rules = rules();
    assert!(rules.len() > 60, "only {} rules were found on the page", rules.len());
    let wanting = BTreeMap::from([
        ("without code", rules.difference(&code).collect::<Vec<_>>()),
        ("without a test", rules.difference(&tests).collect()),
        ("unknown, in code", code.difference(&rules).collect()),
        ("unknown, in tests", tests.difference(&rules).collect()),
    ]);
    assert!(wanting.values().all(Vec::is_empty), "{wanting:#?}");
}

#[test]
fn every_rule_demands_or_allows_something() {
    let without: Vec<&str> = PAGE
        .split("\n- **")
        .skip(1)
        // A rule ends where the next one or a heading begins.
        .map(|rule| rule.split("\n\n").next().unwrap_or_default())
        .filter(|rule| !["MUST", "SHOULD", "MAY"].iter().any(|word| rule.contains(word)))
        .collect();
    assert!(without.is_empty(), "{without:#?}");
}

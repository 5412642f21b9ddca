//! The planted bugs: every patch still applies, says what it breaks, and names checks that exist.
//! Whether the checks find the bugs is `proofs/bugs/run`'s to say; this is quick, and runs with all tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A patch: what its header says, and what it changes.
struct Patch {
    name: String,
    header: BTreeMap<String, String>,
    changes: Vec<Change>,
}

/// One hunk: lines that must stand in a file, and what comes in their place.
struct Change {
    file: String,
    old: Vec<String>,
    new: Vec<String>,
}

fn patches() -> Vec<Patch> {
    let mut paths: Vec<PathBuf> = fs::read_dir(root().join("proofs/bugs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "patch"))
        .collect();
    paths.sort();
    paths.iter().map(|path| parse(path)).collect()
}

fn parse(path: &Path) -> Patch {
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    let text = fs::read_to_string(path).unwrap();
    let (mut header, mut changes) = (BTreeMap::new(), Vec::<Change>::new());
    let mut file = String::new();
    for line in text.lines() {
        if let Some((key, value)) = line.strip_prefix("# ").and_then(|rest| rest.split_once(": ")) {
            header.insert(key.to_string(), value.to_string());
        } else if let Some(path) = line.strip_prefix("+++ b/") {
            file = path.to_string();
        } else if line.starts_with("@@ ") {
            changes.push(Change { file: file.clone(), old: Vec::new(), new: Vec::new() });
        } else if let Some(change) = changes.last_mut() {
            match line.split_at_checked(1) {
                Some(("-", old)) if !line.starts_with("--- ") => change.old.push(old.to_string()),
                Some(("+", new)) => change.new.push(new.to_string()),
                Some((" ", both)) => {
                    change.old.push(both.to_string());
                    change.new.push(both.to_string());
                }
                // The lines between two files of one patch.
                _ => {}
            }
        }
    }
    Patch { name, header, changes }
}

/// The ids of checks that a patch may name; one that ends in `:*` stands for all that begin so.
fn check_ids() -> Vec<String> {
    let text = read("proofs/bugs/checks");
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.filter_map(|line| line.split_once('|')).map(|(id, _)| id.trim().to_string()).collect()
}

fn is_known(ids: &[String], wanted: &str) -> bool {
    ids.iter().any(|id| match id.strip_suffix('*') {
        Some(prefix) => wanted.len() > prefix.len() && wanted.starts_with(prefix),
        None => id == wanted,
    })
}

#[test]
fn every_patch_applies() {
    for Patch { name, changes, .. } in patches() {
        assert!(!changes.is_empty(), "{name} changes nothing");
        for Change { file, old, new } in changes {
            assert!(file.starts_with("src/"), "{name} changes {file}; bugs are planted in src/");
            assert_ne!(old, new, "{name} changes nothing in {file}");
            let text = read(&file);
            let lines: Vec<&str> = text.lines().collect();
            let applies = lines.windows(old.len()).any(|window| window == old);
            assert!(applies, "{name} no longer applies to {file}; it expects\n{}", old.join("\n"));
        }
    }
}

#[test]
fn every_patch_says_what_it_breaks_and_who_finds_it() {
    let (ids, ledger) = (check_ids(), read("proofs/README.md"));
    for Patch { name, header, .. } in patches() {
        let field = |key: &str| {
            header.get(key).unwrap_or_else(|| panic!("{name} has no line `# {key}: ..`")).as_str()
        };
        assert_eq!(field("name"), name, "the name in the header");
        assert!(field("what").ends_with('.'), "{name}: `what` is a sentence");
        for claim in field("breaks").split(", ") {
            let row = format!("| **{claim}** ");
            assert!(ledger.contains(&row), "{name} breaks {claim}, which the ledger does not claim");
        }
        for check in field("found-by").split(", ") {
            assert!(
                is_known(&ids, check),
                "{name} names the check {check}, which is not in proofs/bugs/checks"
            );
        }
        let hangs = header.get("hangs").is_none_or(|hangs| hangs == "yes");
        assert!(hangs, "{name}: `# hangs: yes` or no such line");
    }
}

#[test]
fn every_property_and_every_floor_has_its_bugs() {
    let patches = patches();
    assert!(patches.len() >= 25, "only {} bugs", patches.len());
    let broken: BTreeSet<&str> =
        patches.iter().flat_map(|patch| patch.header["breaks"].split(", ")).collect();
    for property in (1..=15).map(|n| format!("P{n}")) {
        assert!(broken.contains(property.as_str()), "no bug breaks {property}");
    }
    for (floor, least) in [("src/wire/", 4), ("src/machine/", 10), ("src/session/", 1), ("src/net/", 6)] {
        let touches = |patch: &&Patch| patch.changes.iter().any(|change| change.file.starts_with(floor));
        let count = patches.iter().filter(touches).count();
        assert!(count >= least, "{count} bugs in {floor}, fewer than {least}");
    }
}

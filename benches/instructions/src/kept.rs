//! The counts that were kept, in a file, and the judgement of new ones.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

/// A count may be so much more or less than the kept one, in percent.
const TOLERANCE: u64 = 3;

/// What a request of a conversation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Instructions.
    pub instructions: u64,
    /// Allocations, in thousandths.
    pub allocations: u64,
}

/// Counts by conversation, and the compiler that they hold for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// What `rustc --version` says, and the target.
    pub rustc: String,
    /// By the conversation's name.
    pub counts: BTreeMap<String, Count>,
}

const COMPILER: &str = "compiler: ";

impl Kept {
    /// Reads the file.
    pub fn read(file: &str) -> Result<Self, String> {
        let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}; --adopt makes it"))?;
        Self::parse(&text).map_err(|line| {
            format!("{file}: {line:?} is neither a comment, a compiler, nor a name and two numbers")
        })
    }

    fn parse(text: &str) -> Result<Self, &str> {
        let mut kept = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            if let Some(rustc) = line.strip_prefix(COMPILER) {
                kept.rustc = rustc.into();
                continue;
            }
            let mut words = line.split_whitespace();
            let (Some(name), Some(first), Some(second), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                return Err(line);
            };
            let instructions = first.parse().map_err(|_| line)?;
            let allocations = second.parse::<f64>().map_err(|_| line)?;
            let allocations = (allocations * 1_000.0).round() as u64;
            kept.counts.insert(name.into(), Count { instructions, allocations });
        }
        Ok(kept)
    }

    /// Writes the file.
    pub fn write(&self, file: &str) -> Result<(), String> {
        fs::write(file, self.to_string()).map_err(|error| format!("{file}: {error}"))
    }

    /// Prints both side by side. Returns whether `seen` is no worse than this.
    pub fn judge(&self, seen: &Self) -> bool {
        let same_compiler = self.rustc == seen.rustc;
        if !same_compiler {
            println!(
                "The counts were kept for {}, this is {}: instructions are told, not judged.",
                self.rustc, seen.rustc
            );
        }
        println!(
            "{:<28} {:>12} {:>12} {:>8}   {:>11} {:>8}",
            "per request", "instructions", "kept", "", "allocations", "kept"
        );
        let mut good = true;
        let mut faster = false;
        for (name, count) in &seen.counts {
            let Some(kept) = self.counts.get(name) else {
                println!(
                    "{name:<28} {:>12} {:>12}            not kept: --adopt keeps it",
                    count.instructions, "-"
                );
                good = false;
                continue;
            };
            let change = (count.instructions as f64 / kept.instructions as f64 - 1.0) * 100.0;
            let slower = exceeds(count.instructions, kept.instructions) && same_compiler;
            let more = count.allocations > kept.allocations;
            faster |= exceeds(kept.instructions, count.instructions) && same_compiler;
            faster |= count.allocations < kept.allocations;
            good &= !slower && !more;
            println!(
                "{name:<28} {:>12} {:>12} {change:>+7.2}%   {:>11.3} {:>8.3}{}{}",
                count.instructions,
                kept.instructions,
                count.allocations as f64 / 1e3,
                kept.allocations as f64 / 1e3,
                if slower { "   SLOWER" } else { "" },
                if more { "   ALLOCATES MORE" } else { "" },
            );
        }
        for name in self.counts.keys().filter(|name| !seen.counts.contains_key(*name)) {
            println!("{name:<28} was kept, and is not counted any more");
            good = false;
        }
        println!("{}", verdict(good, faster));
        good
    }
}

/// Whether one count is more than another by more than the tolerance.
const fn exceeds(count: u64, other: u64) -> bool {
    count * 100 > other * (100 + TOLERANCE)
}

fn verdict(good: bool, faster: bool) -> String {
    match (good, faster) {
        (false, _) => format!(
            "Not as it was kept, with {TOLERANCE} % allowed for instructions. If it has to be so, run with --adopt."
        ),
        (true, true) => "As kept or better. Run with --adopt to hold what was gained.".into(),
        (true, false) => "As kept.".into(),
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# Per request: instructions, allocations. Written by `benches/instructions/run --adopt`."
        )?;
        writeln!(f, "{COMPILER}{}", self.rustc)?;
        for (name, count) in &self.counts {
            writeln!(f, "{name:<28} {:>8} {:>9.3}", count.instructions, count.allocations as f64 / 1e3)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(instructions: u64, allocations: u64) -> Kept {
        let counts = BTreeMap::from([("a".to_string(), Count { instructions, allocations })]);
        Kept { rustc: "rustc 1 on x".into(), counts }
    }

    #[test]
    fn what_is_written_is_read() {
        let kept = kept(12_345, 6_789);
        assert_eq!(Kept::parse(&kept.to_string()), Ok(kept));
        assert_eq!(Kept::parse("a 1"), Err("a 1"));
        assert_eq!(Kept::parse("a 1 x"), Err("a 1 x"));
    }

    #[test]
    fn more_than_the_tolerance_or_one_allocation_is_worse() {
        let base = kept(10_000, 5_000);
        assert!(base.judge(&base) && base.judge(&kept(10_300, 5_000)) && base.judge(&kept(1, 1)));
        assert!(!base.judge(&kept(10_301, 5_000)));
        assert!(!base.judge(&kept(10_000, 5_001)));
        assert!(!base.judge(&Kept { counts: BTreeMap::new(), ..base.clone() }), "one is missing");
        assert!(!Kept { counts: BTreeMap::new(), ..base.clone() }.judge(&base), "one is new");
    }

    #[test]
    fn another_compiler_is_judged_by_allocations_alone() {
        let base = kept(10_000, 5_000);
        let other = |instructions, allocations| Kept {
            rustc: "rustc 2 on x".into(),
            ..kept(instructions, allocations)
        };
        assert!(base.judge(&other(20_000, 5_000)));
        assert!(!base.judge(&other(10_000, 5_001)));
    }
}

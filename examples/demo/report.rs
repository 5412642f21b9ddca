//! What stands on the screen: steps, claims, counts and latencies.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Everything said so far, and whether it was true.
pub struct Report {
    begun: Instant,
    step: u32,
    held: u32,
    failed: u32,
    latencies: BTreeMap<&'static str, Vec<Duration>>,
    counts: Vec<(String, u64)>,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            step: 0,
            held: 0,
            failed: 0,
            latencies: BTreeMap::new(),
            counts: Vec::new(),
        }
    }
}

impl Report {
    /// Begins a step, explained in a line.
    pub fn step(&mut self, name: &str, explanation: &str) {
        self.step += 1;
        println!("\n{}. {name}\n   {explanation}", self.step);
    }

    /// Says something that is not checked.
    pub fn say(&self, words: impl Display) {
        println!("        {words}");
    }

    /// Says something that is.
    pub fn claim(&mut self, held: bool, words: impl Display) {
        if held {
            self.held += 1;
            println!("   ok   {words}");
        } else {
            self.failed += 1;
            println!("   FAIL {words}");
        }
    }

    /// Claims that two counts are equal, and shows both if they are not.
    pub fn claim_count<T: PartialEq + Display>(&mut self, found: T, expected: T, words: impl Display) {
        if found == expected {
            self.claim(true, format_args!("{found:>5} {words}"));
        } else {
            self.claim(false, format_args!("{expected:>5} {words}: there are {found}"));
        }
    }

    /// Keeps latencies for the end.
    pub fn keep(&mut self, kind: &'static str, latencies: impl IntoIterator<Item = Duration>) {
        self.latencies.entry(kind).or_default().extend(latencies);
    }

    /// Keeps a count for the end.
    pub fn count(&mut self, name: impl Into<String>, count: u64) {
        self.counts.push((name.into(), count));
    }

    /// Prints the counts, the latencies and the verdict.
    pub fn close(mut self) -> ExitCode {
        println!("\nCounts");
        for (name, count) in &self.counts {
            println!("   {name:<46} {count:>8}");
        }
        println!("\nLatencies          asked       p50       p90       p99       max");
        for (kind, latencies) in &mut self.latencies {
            latencies.sort_unstable();
            let at = |percent| Milliseconds(percentile(latencies, percent));
            let (asked, p50, p90, p99, max) = (latencies.len(), at(50), at(90), at(99), at(100));
            println!("   {kind:<14} {asked:>6} {p50:>9} {p90:>9} {p99:>9} {max:>9}");
        }
        let seconds = self.begun.elapsed().as_secs_f64();
        let total = self.held + self.failed;
        println!("\n{} of {total} claims held, in {seconds:.1} s.", self.held);
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// The latency that `percent` of all do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

/// A time, as it stands in a table.
pub struct Milliseconds(pub Duration);

impl Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.2} ms", self.0.as_secs_f64() * 1_000.0))
    }
}

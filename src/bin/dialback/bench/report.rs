//! The figures, for people and for programs.

use std::io::{self, Write};
use std::time::Duration;

use dialback::net::AgentHandle;
use dialback::wire::EventKind;
use serde_json::{Value, json};

use super::load::Load;

/// The shares that are told, as people write them.
const SHARES: [(&str, f64); 6] =
    [("50%", 0.5), ("75%", 0.75), ("90%", 0.9), ("99%", 0.99), ("99.9%", 0.999), ("all", 1.0)];
/// Lines of the histogram at most.
const LINES: usize = 24;
/// The longest of its bars, in characters.
const WIDEST: u64 = 40;

/// What was measured.
pub struct Figures<'a> {
    agent: &'a AgentHandle,
    load: &'a Load,
    took: Duration,
    concurrency: u16,
    kind: EventKind,
}

impl<'a> Figures<'a> {
    pub const fn new(
        agent: &'a AgentHandle,
        load: &'a Load,
        took: Duration,
        concurrency: u16,
        kind: EventKind,
    ) -> Self {
        Self { agent, load, took, concurrency, kind }
    }

    fn per_second(&self) -> f64 {
        self.load.times.len() as f64 / self.took.as_secs_f64().max(0.000_001)
    }

    pub fn json(&self) -> Value {
        let times = &self.load.times;
        let shares: serde_json::Map<String, Value> = SHARES
            .iter()
            .map(|(name, share)| ((*name).to_owned(), times.value_at_quantile(*share).into()))
            .collect();
        json!({
            "agent": self.agent.agent_id(),
            "encoding": self.agent.encoding().name(),
            "type": self.kind.name(),
            "concurrency": self.concurrency,
            "seconds": self.took.as_secs_f64(),
            "answers": times.len(),
            "per_second": self.per_second(),
            "mean_us": times.mean(),
            "quantiles_us": shares,
            "failures": self.load.failures,
        })
    }

    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let times = &self.load.times;
        writeln!(
            out,
            "{} answered {} {} events in {:.2} s, {} at once: {:.0} per second",
            self.agent.agent_id(),
            times.len(),
            self.kind,
            self.took.as_secs_f64(),
            self.concurrency,
            self.per_second()
        )?;
        if !times.is_empty() {
            let told = SHARES.map(|(name, share)| format!("{name} {}", span(times.value_at_quantile(share))));
            writeln!(out, "within: {}", told.join(", "))?;
            self.bars(out)?;
        }
        for (words, count) in &self.load.failures {
            writeln!(out, "no answer, {count} times: {words}")?;
        }
        Ok(())
    }

    /// One line for each doubling of time.
    fn bars(&self, out: &mut dyn Write) -> io::Result<()> {
        let times = &self.load.times;
        let first = times.min().next_power_of_two().max(2) / 2;
        let steps: Vec<_> = times.iter_log(first.max(1), 2.0).take(LINES).collect();
        let most = steps.iter().map(|step| step.count_since_last_iteration()).max().unwrap_or(1).max(1);
        for step in &steps {
            let count = step.count_since_last_iteration();
            if count == 0 {
                continue;
            }
            let length = count.saturating_mul(WIDEST).div_ceil(most);
            let bar = "#".repeat(usize::try_from(length).unwrap_or(0));
            writeln!(out, "{:>9} {count:>9} {bar}", span(step.value_iterated_to()))?;
        }
        Ok(())
    }
}

/// A time in the unit that suits it.
fn span(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..1_000_000 => format!("{:.1} ms", micros as f64 / 1_000.0),
        _ => format!("{:.2} s", micros as f64 / 1_000_000.0),
    }
}

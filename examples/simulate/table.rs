//! What was explored, for a reader.

use std::fmt::Display;
use std::time::Duration;

use dialback::testing::sim::{End, Fault, Report};

pub fn print(report: &Report) {
    println!("{:>12} runs, {} h of virtual time", report.runs, hours(report.virtual_time));
    row(report.steps, "moments");
    row(report.requests, "requests");
    row(report.unserved, "times that no connection was fit");
    row(report.exchanges, "exchanges");
    row(report.turned_away, "events turned away when submitted");
    row(report.retries, "events tried again on another connection");
    row(report.connections, "connections");
    row(report.reconnections, "of them reconnections");
    row(report.frames, "frames");
    row(report.bytes, "bytes");
    println!("\nhow exchanges ended");
    End::ALL.iter().for_each(|end| row(report.ends.get(end).copied().unwrap_or(0), end));
    println!("\nwhy connections ended, for the proxy");
    report.closes.iter().for_each(|(name, count)| row(*count, name));
    println!("\nfaults");
    Fault::ALL.iter().for_each(|fault| row(report.faults.get(fault).copied().unwrap_or(0), fault));
}

pub fn print_speed(report: &Report, took: Duration) {
    let seconds = took.as_secs_f64();
    let rate = |count: u64| count as f64 / seconds;
    println!(
        "\n{seconds:.1} s: {:.0} runs/s, {:.0} exchanges/s, {:.0} moments/s; {:.0} s of virtual time per second",
        rate(report.runs),
        rate(report.exchanges),
        rate(report.steps),
        report.virtual_time.as_secs_f64() / seconds,
    );
    println!("all paths together: {:016x}", report.path);
}

fn row(count: u64, name: impl Display) {
    println!("{count:>12} {name}");
}

fn hours(span: Duration) -> String {
    format!("{:.1}", span.as_secs_f64() / 3_600.0)
}

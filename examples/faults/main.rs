//! Inflicts every fault of the suite in large doses and prints what came of it, then what a
//! connection costs in memory. Ends with an error if a bound did not hold.
//!
//! `cargo run --release --example faults`; names as arguments run only the faults that hold them.

// The examples use more or less of what they share.
#![allow(dead_code)]

#[path = "../common/gauge.rs"]
mod gauge;
mod memory;
#[path = "../common/raw.rs"]
mod raw;
mod scenarios;

use std::process::ExitCode;
use std::time::Instant;

use scenarios::{Bound, Dose, Fault};

/// Both ends of a thousand connections, and some air.
const DESCRIPTORS: u64 = 4_096;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let descriptors = gauge::raise_descriptors();
    if descriptors < DESCRIPTORS {
        eprintln!(
            "{DESCRIPTORS} descriptors are needed, {descriptors} allowed; raise the limit with ulimit -n"
        );
        return ExitCode::FAILURE;
    }
    let start = Instant::now();
    let mut broken = 0;
    println!("{:<30} | {:<62} | held", "fault", "what happened; below it, each bound");
    for fault in Fault::ALL {
        if !wanted.is_empty() && !wanted.iter().any(|word| fault.name().contains(word.as_str())) {
            continue;
        }
        let report = scenarios::run(*fault, Dose::Large).await;
        println!("{:<30} | {:<62} | {}", fault.name(), report.happened, word(report.held()));
        broken += print_bounds(&report.bounds);
    }
    if wanted.is_empty() {
        println!("{:<30} |", "memory of a connection");
        broken += print_bounds(&memory::measure().await);
    }
    println!("resident at the end {}, {:.1} s", gauge::mib(gauge::rss()), start.elapsed().as_secs_f64());
    if broken == 0 {
        println!("every bound held");
        ExitCode::SUCCESS
    } else {
        println!("{broken} bounds did not hold");
        ExitCode::FAILURE
    }
}

/// Prints each bound on a line. Returns how many did not hold.
fn print_bounds(bounds: &[Bound]) -> usize {
    for bound in bounds {
        println!("{:<30} |   {:<60} | {}", "", bound.words, word(bound.held));
    }
    bounds.iter().filter(|bound| !bound.held).count()
}

const fn word(held: bool) -> &'static str {
    if held { "yes" } else { "NO" }
}

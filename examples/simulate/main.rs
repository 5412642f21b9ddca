//! Plays many seeds of the simulator and says what they explored, or one seed with every step.
//!
//! ```text
//! cargo run --release --example simulate -- --seeds 10000
//! cargo run --release --example simulate -- --seed 42
//! ```

mod arguments;
mod table;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use dialback::testing::sim::{Failure, Report, Sim, Step};

use arguments::{Arguments, USAGE};

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    match arguments.seed {
        Some(seed) => replay(&arguments, seed),
        None => explore(&arguments),
    }
}

/// One seed, every step of it.
fn replay(arguments: &Arguments, seed: u64) -> ExitCode {
    let sim = Sim::new(arguments.config.clone()).with_watch(|step: &Step| println!("{step}"));
    match sim.play(seed) {
        Ok(report) => {
            println!("\nseed {seed} holds; digest {:016x}\n", report.digest());
            table::print(&report);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("\nseed {seed} fails at step {}: {}", failure.step, failure.cause);
            ExitCode::FAILURE
        }
    }
}

/// Many seeds, side by side.
fn explore(arguments: &Arguments) -> ExitCode {
    let began = Instant::now();
    let next = AtomicU64::new(arguments.from);
    let until = arguments.from.saturating_add(arguments.seeds);
    let found = Mutex::new((Report::default(), None::<Failure>));
    let play = || {
        let mut report = Report::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= until {
                break;
            }
            match Sim::run(&arguments.config, seed) {
                Ok(run) => report.add(&run),
                Err(failure) => {
                    // The others stop; the smallest seed that failed is shown.
                    next.store(until, Ordering::Relaxed);
                    let mut found = found.lock().unwrap();
                    if found.1.as_ref().is_none_or(|other| failure.seed < other.seed) {
                        found.1 = Some(failure);
                    }
                }
            }
        }
        found.lock().unwrap().0.add(&report);
    };
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads {
            scope.spawn(play);
        }
    });
    let (report, failure) = found.into_inner().unwrap();
    table::print(&report);
    table::print_speed(&report, began.elapsed());
    match failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            println!("\n{failure}");
            println!("to see it again:\n\n  {}", arguments.replay(failure.seed));
            ExitCode::FAILURE
        }
    }
}

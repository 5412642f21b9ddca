//! The harness: starts everybody, gives each its turns, sums up.

mod pair;
mod plot;
mod report;
mod results;
mod syscalls;

use std::fs;
use std::process::ExitCode;

use crate::cli::Dose;
use crate::slice::Load;
use pair::{Counting, Pair};
use results::{Cell, Results};

/// Measures everybody and prints what was seen.
pub fn run(dose: &Dose) -> Result<ExitCode, String> {
    let mut results = Results::new(dose);
    measure(dose, &mut results)?;
    count(dose, &mut results)?;
    report::print(&results);
    fs::create_dir_all(&dose.out).map_err(|error| format!("{}: {error}", dose.out.display()))?;
    let (json, svg) = (dose.out.join("results.json"), dose.out.join("peers.svg"));
    let text = serde_json::to_string_pretty(&results).map_err(|error| error.to_string())?;
    fs::write(&json, text).map_err(|error| format!("{}: {error}", json.display()))?;
    plot::draw(&results, &svg)?;
    println!("\nwritten: {} and {}", json.display(), svg.display());
    let holds = report::verdict(&results);
    Ok(if dose.check && !holds { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn load(dose: &Dose, in_flight: usize) -> Load {
    Load { in_flight, making: dose.event, warm: dose.warm(), measured: dose.measured() }
}

/// In every round, in every cell, everybody has a turn right after the others.
fn measure(dose: &Dose, results: &mut Results) -> Result<(), String> {
    let mut pairs = Vec::new();
    for connections in dose.connections() {
        for contender in &dose.only {
            pairs.push(Pair::start(*contender, connections, dose.threads(), Counting::Off)?);
        }
    }
    for round in 0..dose.rounds() {
        for connections in dose.connections() {
            for in_flight in dose.in_flight() {
                let mut turn: Vec<_> =
                    pairs.iter_mut().filter(|pair| pair.connections == connections).collect();
                let first = round % turn.len();
                // Nobody comes always after the same one.
                turn.rotate_left(first);
                for pair in turn {
                    let slice = pair.measure(&load(dose, in_flight))?;
                    results.add(Cell { contender: pair.contender, connections, in_flight }, slice);
                }
            }
        }
        eprintln!("round {} of {}", round + 1, dose.rounds());
    }
    Ok(())
}

/// What slows a process down is counted apart from the timing.
fn count(dose: &Dose, results: &mut Results) -> Result<(), String> {
    for connections in dose.connections() {
        for contender in &dose.only {
            let mut counted = Pair::start(*contender, connections, dose.threads(), Counting::Allocations)?;
            let mut plain = Pair::start(*contender, connections, dose.threads(), Counting::Off)?;
            for in_flight in dose.in_flight() {
                let cell = Cell { contender: *contender, connections, in_flight };
                let slice = counted.measure(&load(dose, in_flight))?;
                results.set_allocations(cell, &slice);
                match syscalls::count(&mut plain, &load(dose, in_flight))? {
                    Ok(each) => results.set_syscalls(cell, each),
                    Err(why) => results.syscalls_missing = Some(why),
                }
            }
        }
    }
    Ok(())
}

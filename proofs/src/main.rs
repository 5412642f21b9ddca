//! Explores the machines. `check` prints a table, `explore` serves a page, `way` shows a fault's.

use std::process::ExitCode;
use std::time::Instant;

use dialback_proofs::catalogue::{Case, Dose, catalogue};
use dialback_proofs::explorer::explore;
use dialback_proofs::scenario::Scenario;
use dialback_proofs::second_opinion;
use dialback_proofs::system::Sight;

const USAGE: &str = "usage:
  dialback-proofs check [small|medium|full] [--second] [SCENARIO...]
      explores the scenarios of a dose (default medium), or those named, and prints a table;
      --second: lets stateright count the states too
  dialback-proofs explore SCENARIO [ADDRESS]
      serves stateright's page on it (default 127.0.0.1:3000)
  dialback-proofs list
      names the scenarios";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["check", rest @ ..] => check(rest),
        ["explore", name] => serve(name, "127.0.0.1:3000"),
        ["explore", name, address] => serve(name, address),
        ["list"] => {
            for Case { scenario, dose, states, .. } in catalogue() {
                println!("{:28} {:8} {states:>10} states", scenario.name, format!("{dose:?}").to_lowercase());
            }
            ExitCode::SUCCESS
        }
        _ => usage("not understood"),
    }
}

fn usage(what: &str) -> ExitCode {
    eprintln!("{what}\n{USAGE}");
    ExitCode::from(2)
}

fn find(name: &str) -> Option<Scenario> {
    catalogue().into_iter().map(|case| case.scenario).find(|scenario| scenario.name == name)
}

fn serve(name: &str, address: &str) -> ExitCode {
    let Some(scenario) = find(name) else {
        return usage(&format!("no scenario {name:?}; `list` names them"));
    };
    println!("serving {name} on http://{address}");
    second_opinion::serve(&scenario, address);
    ExitCode::SUCCESS
}

fn check(arguments: &[&str]) -> ExitCode {
    let (mut dose, mut second, mut names) = (Dose::Medium, false, Vec::new());
    for argument in arguments {
        match *argument {
            "small" => dose = Dose::Small,
            "medium" => dose = Dose::Medium,
            "full" => dose = Dose::Full,
            "--second" => second = true,
            name if find(name).is_some() => names.push(name),
            other => return usage(&format!("no dose or scenario {other:?}; `list` names the scenarios")),
        }
    }
    let wanted = |case: &Case| {
        if names.is_empty() { case.dose <= dose } else { names.contains(&case.scenario.name) }
    };
    println!(
        "{:26} {:>10} {:>11} {:>6} {:>8} {:>8}  verdict",
        "scenario", "states", "steps", "depth", "rests", "seconds"
    );
    let (mut states, mut bad, began) = (0, 0, Instant::now());
    for case in catalogue().into_iter().filter(wanted) {
        let (count, verdict) = judge(&case, second);
        states += count;
        if let Err(fault) = verdict {
            bad += 1;
            println!("{fault}");
        }
    }
    println!(
        "{states} distinct states in {:.0} s, {bad} scenarios not as they must be",
        began.elapsed().as_secs_f64()
    );
    ExitCode::from(u8::from(bad > 0))
}

/// Explores one scenario, prints its row, and says what is wrong with it, if anything is.
fn judge(case: &Case, second: bool) -> (usize, Result<(), String>) {
    let name = case.scenario.name;
    let explored = match explore(&case.scenario) {
        Ok(explored) => explored,
        Err(fault) => {
            println!("{name:26} {:>10}", "FAULT");
            return (0, Err(format!("{name}: {fault}")));
        }
    };
    let states = explored.states;
    let missing: Vec<&Sight> = case.sights.iter().filter(|sight| !explored.sights.has(**sight)).collect();
    let mut wrong = Vec::new();
    if states != case.states {
        wrong.push(format!("{} states are pinned", case.states));
    }
    if !missing.is_empty() {
        wrong.push(format!("never seen: {missing:?}"));
    }
    let mut verdict = "all properties hold".to_string();
    if second {
        match second_opinion::count(&case.scenario, 2) {
            Ok(count) if count == states => verdict.push_str(", stateright counts the same"),
            Ok(count) => wrong.push(format!("stateright counts {count}")),
            Err(claims) => wrong.push(format!("stateright: {claims}")),
        }
    }
    if !wrong.is_empty() {
        verdict = format!("WRONG: {}", wrong.join("; "));
    }
    let seconds = explored.took.as_secs_f64();
    let (steps, depth, rests) = (explored.steps, explored.depth, explored.rests);
    println!("{name:26} {states:>10} {steps:>11} {depth:>6} {rests:>8} {seconds:>8.1}  {verdict}");
    (states, if wrong.is_empty() { Ok(()) } else { Err(format!("{name}: {}", wrong.join("; "))) })
}

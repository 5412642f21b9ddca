//! Prints a long random run of the real machines as a TLA+ module, for the model checker to judge.
//!
//! ```text
//! trace SEED STEPS [tampered]     a module `Trace` for proofs/tla/Follow.tla
//! ```
//!
//! `tampered`: one state on the way is falsified, and the run must be rejected.

use std::process::ExitCode;

use dialback::machine::Matching;
use dialback::testing::Rng;
use dialback_proofs::scenario::{Dialled, Injection, Planned, Powers, Scenario};
use dialback_proofs::spec::value::Value;
use dialback_proofs::spec::{constants::constants, name, state::state};
use dialback_proofs::system::{Action, Sys};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u32>().ok());
    let (Some(seed), Some(steps)) = (number(0), number(1).and_then(|steps| usize::try_from(steps).ok()))
    else {
        eprintln!("usage: trace SEED STEPS [tampered]");
        return ExitCode::from(2);
    };
    let mut rng = Rng::new(seed.into());
    let scenario = scenario(&mut rng, steps);
    let mut run = match run(&scenario, &mut rng, steps) {
        Ok(run) => run,
        Err(violated) => {
            eprintln!("{violated}");
            return ExitCode::FAILURE;
        }
    };
    if arguments.get(2).is_some_and(|word| word == "tampered") {
        tamper(&mut run, &mut rng);
    }
    print(&scenario, &run);
    ExitCode::SUCCESS
}

/// A state, and the name of the action that led to it.
type Point = (&'static str, Value);

fn chance(rng: &mut Rng, one_in: u64) -> bool {
    rng.below(one_in) == 0
}

/// Up to twelve exchanges of two requests, and whatever the specification knows.
fn scenario(rng: &mut Rng, steps: usize) -> Scenario {
    let exact = chance(rng, 2);
    // When a drain ends and when a caller's time is up can't be read from the same system.
    let drains = chance(rng, 2);
    let plan = (0..6 + rng.below(7)).map(|_| {
        let planned = Planned::of(u8::from(chance(rng, 3)));
        let planned = if chance(rng, 4) { planned.last_word() } else { planned };
        if !drains && chance(rng, 2) { planned.within(3 + rng.below(10)) } else { planned }
    });
    let plan: Vec<Planned> = plan.collect();
    let window = u32::try_from(1 + rng.below(3)).unwrap_or(1);
    Scenario {
        dialled: if chance(rng, 2) { Dialled::ByAgent } else { Dialled::ByProxy },
        matching: if exact { Matching::ByExchangeId } else { Matching::OneAtATime },
        window,
        running: if chance(rng, 2) { 1 } else { 8 },
        marks: if chance(rng, 2) { (2, 1) } else { (100, 50) },
        owed: if chance(rng, 4) { 2 } else { 12 },
        owed_age: 10_000,
        ticks: 60,
        handshake: 20,
        drain: 5,
        powers: Powers {
            cancel: true,
            drain_proxy: drains,
            drain_agent: drains,
            close: true,
            sever: true,
            half_close: true,
            stall: true,
            ..Powers::NONE
        },
        injections: vec![
            Injection::Pause,
            Injection::PauseRequest(0),
            Injection::PauseRequest(1),
            Injection::Capacity(0),
            Injection::Capacity(1),
        ],
        budget: u8::try_from(steps / 10).unwrap_or(u8::MAX),
        ..Scenario::new("trace", plan)
    }
}

/// How often an action is chosen where it can be. What may end a connection comes only when most of the run
/// is over, and what the agent says of flow only when both sides have opened, so that runs get long.
fn weight(action: Action, sys: &Sys, late: bool) -> u64 {
    match action {
        Action::Sever
        | Action::EndToAgent
        | Action::EndToProxy
        | Action::CloseProxy
        | Action::CloseAgent
        | Action::Reject => u64::from(late) * 2,
        Action::DrainProxy | Action::DrainAgent => u64::from(late) * 20,
        Action::Tick => 5,
        Action::Cancel(_) | Action::CancelRequest(_) | Action::Stall => 15,
        Action::Inject(_) => u64::from(sys.books.proxy.opened) * 15,
        Action::Submit | Action::Answer(_) => 40,
        Action::Unstall | Action::Resume | Action::ResumeRequest(_) | Action::Restore => 40,
        Action::ProxyWrites
        | Action::AgentWrites
        | Action::AgentReads
        | Action::ProxyReads
        | Action::Accept => 100,
    }
}

fn run(scenario: &Scenario, rng: &mut Rng, steps: usize) -> Result<Vec<Point>, String> {
    let mut sys = Sys::new(scenario);
    let mut points = vec![("Init", state(&sys, scenario))];
    while points.len() <= steps {
        let mut possible = Vec::new();
        for action in sys.actions(scenario) {
            let (next, _) = sys.step(scenario, action).map_err(|violated| violated.to_string())?;
            if let (Some(next), Some(name)) = (next, name(action)) {
                let late = points.len() * 5 > steps * 4;
                let weight = weight(action, &sys, late);
                possible.push((weight, name, next));
            }
        }
        let mut ticket = rng.below(possible.iter().map(|(weight, ..)| weight).sum());
        let chosen = possible.into_iter().find(|(weight, ..)| {
            let wins = ticket < *weight;
            ticket = ticket.saturating_sub(*weight);
            wins
        });
        let Some((_, name, next)) = chosen else { break };
        points.push((name, state(&next, scenario)));
        sys = next;
    }
    Ok(points)
}

/// Falsifies one step on the way: what is left of the budget, or the action's name.
fn tamper(run: &mut [Point], rng: &mut Rng) {
    let at = 1 + usize::try_from(rng.below(run.len() as u64 - 1)).unwrap_or(0);
    let Some((name, Value::Record(fields))) = run.get_mut(at) else { return };
    if chance(rng, 2) {
        *name = if *name == "Tick" { "Submit" } else { "Tick" };
        return;
    }
    for (key, value) in fields {
        if let ("budget", Value::Number(number)) = (*key, value) {
            *number += 1;
        }
    }
}

fn print(scenario: &Scenario, run: &[Point]) {
    println!("---- MODULE Trace ----\nEXTENDS Follow");
    for (constant, value) in constants(scenario) {
        println!("Trace{constant} == {}", value.tla());
    }
    let lines = run.iter().map(|(name, state)| format!("[action |-> \"{name}\", state |-> {}]", state.tla()));
    println!("TraceRun == <<\n{}\n>>\n====", lines.collect::<Vec<_>>().join(",\n"));
}

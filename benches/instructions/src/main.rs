//! Counts what fixed conversations take, and holds it against what was kept.

#[path = "../../common/mod.rs"]
mod common;
mod conversation;
mod count;
mod kept;

use std::alloc::System;
use std::env::args;
use std::process::ExitCode;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use conversation::Conversation;
use kept::{Count, Kept};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const USAGE: &str = "usage: instructions check FILE RUSTC [--adopt] | instructions hold CONVERSATION TIMES";

fn main() -> ExitCode {
    let args: Vec<String> = args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["hold", name, times] => hold(name, times),
        ["check", file, rustc] => check(file, rustc, false),
        ["check", file, rustc, "--adopt"] => check(file, rustc, true),
        _ => Err(USAGE.into()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("instructions: {error}");
        ExitCode::from(2)
    })
}

/// What `valgrind` runs.
fn hold(name: &str, times: &str) -> Result<ExitCode, String> {
    let conversation = Conversation::ALL.into_iter().find(|known| known.name() == name);
    let conversation = conversation.ok_or_else(|| format!("no conversation is called {name:?}"))?;
    let times = times.parse().map_err(|_| format!("{times:?} is no number of times"))?;
    conversation.hold(times);
    Ok(ExitCode::SUCCESS)
}

fn check(file: &str, rustc: &str, adopt: bool) -> Result<ExitCode, String> {
    let mut seen = Kept { rustc: rustc.into(), ..Kept::default() };
    for conversation in Conversation::ALL {
        let count = Count {
            instructions: count::instructions(conversation)?,
            allocations: count::allocations(conversation, &HEAP),
        };
        seen.counts.insert(conversation.name().into(), count);
    }
    if adopt {
        seen.write(file)?;
        println!("kept in {file}:\n{seen}");
        return Ok(ExitCode::SUCCESS);
    }
    let kept = Kept::read(file)?;
    Ok(if kept.judge(&seen) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

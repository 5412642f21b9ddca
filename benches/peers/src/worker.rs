//! The asking process: opens, says so, and then makes load whenever a line on stdin asks for it.

use std::io::{BufRead, Write, stdin, stdout};
use std::process;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Builder, Runtime};

use crate::answerer;
use crate::contender::{AnswererKind, TargetKind};
use crate::slice::{Allocations, Load, Slice};
use crate::target::bare::{Bare, Work};
use crate::target::ours::Ours;
use crate::target::tonic::Tonic;
use crate::target::upstream::Upstream;
use crate::target::{Place, Target, measure};

/// What the process says when its connections are there.
pub const READY: &str = "ready";

/// Asks.
pub fn ask(kind: TargetKind, place: Place, threads: usize, allocations: Allocations) -> Result<(), String> {
    let runtime = runtime(threads)?;
    match kind {
        TargetKind::Ours => ask_as::<Ours>(&runtime, place, allocations),
        TargetKind::Upstream => ask_as::<Upstream>(&runtime, place, allocations),
        TargetKind::Tonic => ask_as::<Tonic>(&runtime, place, allocations),
        TargetKind::Bare => ask_bare(&runtime, place, Work::None, allocations),
        TargetKind::BareJson => ask_bare(&runtime, place, Work::Json, allocations),
    }
}

fn ask_as<T: Target>(runtime: &Runtime, place: Place, allocations: Allocations) -> Result<(), String> {
    let target = Arc::new(runtime.block_on(T::open(place))?);
    obey(|load| measure(runtime, &target, &load, allocations))
}

fn ask_bare(runtime: &Runtime, place: Place, work: Work, allocations: Allocations) -> Result<(), String> {
    let mut bare = runtime.block_on(Bare::open(place))?;
    obey(|load| bare.measure(runtime, work, &load, allocations))
}

/// Answers, until its peer hangs up or whoever started it lets go of its stdin.
pub fn answer(kind: AnswererKind, place: &Place, threads: usize) -> Result<(), String> {
    thread::spawn(|| {
        // A harness that was killed must not leave its processes behind.
        let _ = stdin().lock().read_line(&mut String::new());
        process::exit(0)
    });
    match kind {
        AnswererKind::Raw => answerer::raw::run(place),
        AnswererKind::Ours => answerer::ours::run(&runtime(threads)?, place),
        AnswererKind::Tonic => answerer::tonic::run(&runtime(threads)?, place),
    }
}

fn runtime(threads: usize) -> Result<Runtime, String> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads).enable_all();
    builder.build().map_err(|error| error.to_string())
}

fn obey(mut measure: impl FnMut(Load) -> Result<Slice, String>) -> Result<(), String> {
    say(READY)?;
    for line in stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let load = serde_json::from_str(&line).map_err(|error| format!("{line:?} is no load: {error}"))?;
        let slice = measure(load)?;
        say(&serde_json::to_string(&slice).map_err(|error| error.to_string())?)?;
    }
    Ok(())
}

fn say(line: &str) -> Result<(), String> {
    let mut out = stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| error.to_string())
}

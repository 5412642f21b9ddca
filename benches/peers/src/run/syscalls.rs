//! Counts system calls with `perf`, where there is one and it may.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::pair::Pair;
use crate::slice::Load;

/// System calls of the asking process per request, or why they can't be told.
pub fn count(pair: &mut Pair, load: &Load) -> Result<Result<f64, String>, String> {
    // The counting lies well within the load.
    let margin = Duration::from_millis(150);
    let longer = Load { warm: load.warm + margin, measured: load.measured + 2 * margin, ..*load };
    pair.begin(&longer)?;
    std::thread::sleep(longer.warm);
    let counted = Command::new("perf")
        .args(["stat", "-x,", "-e", "raw_syscalls:sys_enter,duration_time", "-p", &pair.id().to_string()])
        .args(["sleep", &load.measured.as_secs_f64().to_string()])
        .stdin(Stdio::null())
        .output();
    let slice = pair.end()?;
    Ok(match counted {
        Ok(output) => read(&output).map(|per_second| per_second / slice.per_second),
        Err(error) => Err(format!("perf does not run: {error}")),
    })
}

/// System calls per second.
fn read(output: &Output) -> Result<f64, String> {
    let text = String::from_utf8_lossy(&output.stderr);
    let value = |name: &str| {
        let line = text.lines().find(|line| line.contains(name))?;
        line.split(',').next()?.parse::<f64>().ok()
    };
    match (value("raw_syscalls:sys_enter"), value("duration_time")) {
        (Some(calls), Some(nanos)) => Ok(calls / nanos * 1e9),
        _ => Err(format!("perf counts none here: {}", text.trim().lines().next().unwrap_or("no word"))),
    }
}

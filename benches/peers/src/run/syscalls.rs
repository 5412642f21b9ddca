//! Counts system calls with `perf`, where there is one and it may.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::pair::Pair;
use crate::slice::Load;

/// `perf` is there by then, with or without a word.
const TO_ATTACH: Duration = Duration::from_millis(400);

/// System calls of the asking process per request, or why they can't be told. Its counting begins
/// before the load and ends after it, so that no request is counted without its calls.
pub fn count(pair: &mut Pair, load: &Load) -> Result<Result<f64, String>, String> {
    let perf = Command::new("perf")
        .args(["stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", &pair.id().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let perf = match perf {
        Ok(perf) => perf,
        Err(error) => return Ok(Err(format!("perf does not run: {error}"))),
    };
    thread::sleep(TO_ATTACH);
    let slice = pair.measure(load)?;
    if let Some(id) = Pid::from_raw(perf.id().cast_signed()) {
        // It may have ended by itself, if it may not count.
        let _ = kill_process(id, Signal::INT);
    }
    let output = perf.wait_with_output().map_err(|error| format!("perf: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let calls = text.lines().find(|line| line.contains("raw_syscalls:sys_enter"));
    let calls = calls.and_then(|line| line.split(',').next()?.parse::<f64>().ok());
    Ok(calls
        .map(|calls| calls / slice.total as f64)
        .ok_or_else(|| format!("perf counts none here: {}", text.trim().lines().next().unwrap_or("no word"))))
}

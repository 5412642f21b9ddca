//! Counts per request, by the difference of two runs, so that setting up is in neither.

use std::alloc::System;
use std::env;
use std::process::{Command, Stdio};

use stats_alloc::StatsAlloc;

use crate::conversation::Conversation;

/// A run holds so many requests, the longer one twice as many.
const REQUESTS: usize = 640;

fn times(conversation: Conversation) -> usize {
    REQUESTS / conversation.requests()
}

/// Instructions per request, as `valgrind` counts them.
pub fn instructions(conversation: Conversation) -> Result<u64, String> {
    let times = times(conversation);
    let (short, long) = (collected(conversation, times)?, collected(conversation, 2 * times)?);
    let requests = (times * conversation.requests()) as u64;
    long.checked_sub(short)
        .map(|more| more / requests)
        .ok_or_else(|| "a longer run took fewer instructions".into())
}

fn collected(conversation: Conversation, times: usize) -> Result<u64, String> {
    let this = env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(this)
        .args(["hold", conversation.name(), &times.to_string()])
        // Without these the C library takes other paths on other processors.
        .env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX2,-AVX512F,-ERMS,-FSRM")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind does not run: {error}. Debian: apt-get install valgrind"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split("Collected : ").nth(1)?.trim().parse().ok());
    match collected {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(format!("{}: valgrind said: {text}", conversation.name())),
    }
}

/// Calls of the allocator per request, in thousandths.
pub fn allocations(conversation: Conversation, heap: &StatsAlloc<System>) -> u64 {
    let count = |times| {
        let before = heap.stats();
        conversation.hold(times);
        let after = heap.stats() - before;
        after.allocations + after.reallocations
    };
    let times = times(conversation);
    let (short, long) = (count(times), count(2 * times));
    (1_000 * long.saturating_sub(short) / (times * conversation.requests())) as u64
}

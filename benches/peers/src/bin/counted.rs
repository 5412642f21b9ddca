//! The asking process with an allocator that counts. No timing is taken with it.

use std::alloc::System;
use std::process::ExitCode;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    dialback_peers::cli::main(|| {
        let stats = HEAP.stats();
        stats.allocations + stats.reallocations
    })
}

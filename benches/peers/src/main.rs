//! The harness, and the processes that it starts.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Timings are taken with the system's allocator as it is.
    dialback_peers::cli::main(|| 0)
}

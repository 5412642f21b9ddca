//! A proxy and three agents over a real Unix socket, step by step.
//!
//! Prints what it does, checks everything it says, and exits with an error if something it says
//! did not happen: `cargo run --release --example demo`.

mod agents;
mod report;
mod steps;
mod traffic;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use report::Report;
use world::World;

/// Whatever hangs is over by then.
const LIMIT: Duration = Duration::from_secs(50);

#[tokio::main]
async fn main() -> ExitCode {
    let mut report = Report::default();
    match tokio::time::timeout(LIMIT, demo(&mut report)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => report.claim(false, format_args!("no step fails: {error}")),
        Err(_) => report.claim(false, format_args!("all is done within {LIMIT:?}")),
    }
    report.close()
}

async fn demo(report: &mut Report) -> Result<(), Box<dyn std::error::Error>> {
    let mut world = World::open(report).await?;
    steps::verdicts(&world, report).await?;
    steps::cancellation(&world, report).await?;
    steps::pause_and_resume(&world, report).await?;
    steps::kill(&mut world, report).await?;
    steps::reconnection(&mut world, report).await?;
    steps::drain(world, report).await
}

//! The command line: `dialback listen`, `agent`, `bridge`, `decode`, `bench`.
//!
//! What a command has to say goes to the standard output, everything about it to the standard error.
//! Exit codes: 0 all is well, 1 it failed, 2 it was asked for in a way that makes no sense.

#![forbid(unsafe_code)]
// Input of any kind must not bring the tool down.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

#[cfg(not(unix))]
compile_error!("the command line is for Unix; the library is not bound to it");

mod agent;
mod bench;
mod bridge;
mod connect;
mod decode;
mod failure;
mod listen;
mod logs;
mod papers;
mod place;
mod secrets;
mod wait;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use failure::Failure;

/// Reverse connections for an HTTP proxy's external agents.
///
/// Agents dial the proxy, register, and answer events about HTTP requests over that one connection.
#[derive(Debug, Parser)]
#[command(name = "dialback", version, max_term_width = 100, arg_required_else_help = true)]
struct Arguments {
    /// Says more about what happens; twice: everything
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    /// Says only what went wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Listen(listen::Options),
    Agent(agent::Options),
    Bridge(bridge::Options),
    Decode(decode::Options),
    Bench(bench::Options),
    Completions(papers::Completions),
    Man(papers::Man),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    logs::start(arguments.verbose, arguments.quiet);
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Decode(options) => decode::run(&options),
        Command::Completions(options) => papers::completions(&options, &mut Arguments::command()),
        Command::Man(options) => papers::man(&options, Arguments::command()),
        Command::Listen(options) => wait::on(listen::run(options)),
        Command::Agent(options) => agent::run(options),
        Command::Bridge(options) => wait::on(bridge::run(options)),
        Command::Bench(options) => wait::on(bench::run(options)),
    }
}

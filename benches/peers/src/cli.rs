//! The command line.

use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::contender::{AnswererKind, Contender, TargetKind};
use crate::slice::{Allocations, Making};
use crate::target::Place;
use crate::{run, worker};

/// What a request costs: dialback beside its peers.
#[derive(Debug, Parser)]
#[command(name = "peers")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures everybody in turn and prints what was seen.
    Run(Dose),
    /// Asks. Started by `run`.
    #[command(hide = true)]
    Ask {
        kind: TargetKind,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Answers. Started by `run`.
    #[command(hide = true)]
    Answer {
        kind: AnswererKind,
        #[command(flatten)]
        place: PlaceArgs,
    },
}

#[derive(Debug, Args)]
struct PlaceArgs {
    socket: PathBuf,
    connections: usize,
    threads: usize,
}

impl PlaceArgs {
    fn place(&self) -> Place {
        Place { socket: self.socket.clone(), connections: self.connections }
    }
}

/// How much to measure.
#[derive(Clone, Debug, Args)]
pub struct Dose {
    /// About a minute in all: fewer rounds, shorter slices, fewer numbers in flight.
    #[arg(long)]
    pub quick: bool,
    /// Rounds; each gives everybody a turn in every cell. Default 20, quick 5.
    #[arg(long)]
    pub rounds: Option<NonZero<usize>>,
    /// Milliseconds that each turn is measured. Default 200, quick 150.
    #[arg(long)]
    pub measured: Option<u64>,
    /// Milliseconds of load before the measuring. Default 50, quick 30.
    #[arg(long)]
    pub warm: Option<u64>,
    /// Requests in flight, over all connections together. Default 1,16,64,256,1024; quick 1,64.
    #[arg(long, value_delimiter = ',')]
    pub in_flight: Vec<NonZero<usize>>,
    /// Connections.
    #[arg(long, value_delimiter = ',', default_values_t = [NonZero::<usize>::MIN, NonZero::new(8).unwrap()])]
    pub connections: Vec<NonZero<usize>>,
    /// Who takes part.
    #[arg(long, value_delimiter = ',', default_values_t = Contender::ALL, value_enum)]
    pub only: Vec<Contender>,
    /// Whether callers keep their event or make it anew for each request.
    #[arg(long, value_enum, default_value_t = Making::Kept)]
    pub event: Making,
    /// Threads of each process's runtime. Default: the machine's cores.
    #[arg(long)]
    pub threads: Option<NonZero<usize>>,
    /// Where results.json and peers.svg go.
    #[arg(long, default_value = "target/peers")]
    pub out: PathBuf,
    /// Exits with 1 if a ratio that is aimed at does not hold.
    #[arg(long)]
    pub check: bool,
}

impl Dose {
    /// Rounds.
    pub fn rounds(&self) -> usize {
        self.rounds.map_or(if self.quick { 5 } else { 20 }, NonZero::get)
    }

    /// How long each turn is measured.
    pub fn measured(&self) -> Duration {
        Duration::from_millis(self.measured.unwrap_or(if self.quick { 150 } else { 200 }).max(1))
    }

    /// How long each turn is warmed up.
    pub fn warm(&self) -> Duration {
        Duration::from_millis(self.warm.unwrap_or(if self.quick { 30 } else { 50 }))
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> Vec<usize> {
        if !self.in_flight.is_empty() {
            return self.in_flight.iter().map(|count| count.get()).collect();
        }
        if self.quick { vec![1, 64] } else { vec![1, 16, 64, 256, 1_024] }
    }

    /// Connections.
    pub fn connections(&self) -> Vec<usize> {
        self.connections.iter().map(|count| count.get()).collect()
    }

    /// Threads of each runtime.
    pub fn threads(&self) -> usize {
        self.threads.or_else(|| available_parallelism().ok()).map_or(1, NonZero::get)
    }
}

/// Does what the command line says.
pub fn main(allocations: Allocations) -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(dose) => run::run(&dose),
        Command::Ask { kind, place } => {
            worker::ask(kind, place.place(), place.threads, allocations).map(|()| ExitCode::SUCCESS)
        }
        Command::Answer { kind, place } => {
            worker::answer(kind, &place.place(), place.threads).map(|()| ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("peers: {error}");
        ExitCode::from(2)
    })
}

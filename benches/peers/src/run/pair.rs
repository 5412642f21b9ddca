//! Two processes: one that asks, one that answers.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use clap::ValueEnum;
use tempfile::TempDir;

use crate::contender::Contender;
use crate::slice::{Load, Slice};
use crate::worker::READY;

/// Whether the asking process counts what it allocates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// It does not.
    Off,
    /// It does, and is slower for it.
    Allocations,
}

/// A contender's processes. Dropping this ends them.
#[derive(Debug)]
pub struct Pair {
    /// Who they are.
    pub contender: Contender,
    /// Between the two.
    pub connections: usize,
    asking: Child,
    answering: Child,
    orders: ChildStdin,
    results: BufReader<ChildStdout>,
    _dir: TempDir,
}

impl Pair {
    /// Starts both, and returns when they are connected.
    pub fn start(
        contender: Contender,
        connections: usize,
        threads: usize,
        counting: Counting,
    ) -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|error| format!("no directory for a socket: {error}"))?;
        let place = |command: &mut Command| {
            command.arg(dir.path().join("s")).arg(connections.to_string()).arg(threads.to_string());
        };
        let mut command = Command::new(executable(counting)?);
        command.arg("ask").arg(argument(contender.target()));
        place(&mut command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut asking = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let (Some(orders), Some(results)) = (asking.stdin.take(), asking.stdout.take()) else {
            return Err("the asking process has no pipes".into());
        };
        let mut command = Command::new(executable(Counting::Off)?);
        command.arg("answer").arg(argument(contender.answerer()));
        place(&mut command);
        command.stdin(Stdio::piped());
        let answering = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let results = BufReader::new(results);
        let mut pair = Self { contender, connections, asking, answering, orders, results, _dir: dir };
        match pair.line()?.as_str() {
            READY => Ok(pair),
            line => Err(format!("{} said {line:?} instead of {READY:?}", contender.name())),
        }
    }

    /// The asking process's number.
    pub fn id(&self) -> u32 {
        self.asking.id()
    }

    /// Gives it a turn.
    pub fn measure(&mut self, load: &Load) -> Result<Slice, String> {
        self.begin(load)?;
        self.end()
    }

    /// Begins a turn.
    pub fn begin(&mut self, load: &Load) -> Result<(), String> {
        let line = serde_json::to_string(load).map_err(|error| error.to_string())?;
        writeln!(self.orders, "{line}").map_err(|error| format!("{} is gone: {error}", self.contender.name()))
    }

    /// Waits for the end of the turn.
    pub fn end(&mut self) -> Result<Slice, String> {
        let line = self.line()?;
        serde_json::from_str(&line)
            .map_err(|error| format!("{} said {line:?}: {error}", self.contender.name()))
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.results.read_line(&mut line) {
            Ok(0) => Err(format!("{}: the asking process has ended", self.contender.name())),
            Ok(_) => Ok(line.trim_end().into()),
            Err(error) => Err(format!("{}: {error}", self.contender.name())),
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for child in [&mut self.asking, &mut self.answering] {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The binary that counts lies beside this one.
fn executable(counting: Counting) -> Result<PathBuf, String> {
    let this = env::current_exe().map_err(|error| error.to_string())?;
    Ok(match counting {
        Counting::Off => this,
        Counting::Allocations => this.with_file_name("counted"),
    })
}

fn argument(kind: impl ValueEnum) -> String {
    kind.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default()
}

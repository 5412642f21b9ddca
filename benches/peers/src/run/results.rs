//! What was seen, by cell.

use std::collections::BTreeMap;
use std::fs;

use serde::{Serialize, Serializer};

use crate::cli::Dose;
use crate::contender::Contender;
use crate::slice::{Making, Slice};

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Cell {
    /// Who.
    pub contender: Contender,
    /// Over how many connections.
    pub connections: usize,
    /// With how many requests in flight.
    pub in_flight: usize,
}

/// What was seen in a cell.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Seen {
    /// One for each round.
    pub slices: Vec<Slice>,
    /// Allocations per request.
    pub allocations: Option<f64>,
    /// Of those, what making the event alone takes.
    pub event_allocations: Option<f64>,
    /// System calls per request.
    pub syscalls: Option<f64>,
}

/// Everything.
#[derive(Debug, Serialize)]
pub struct Results {
    /// On what.
    pub machine: String,
    /// Threads of each process's runtime.
    pub threads: usize,
    /// Where the events came from.
    pub event: Making,
    /// Rounds.
    pub rounds: usize,
    /// How long each turn was, in milliseconds.
    pub measured_ms: u128,
    /// Why system calls could not be counted.
    pub syscalls_missing: Option<String>,
    /// By cell.
    #[serde(serialize_with = "listed")]
    pub cells: BTreeMap<Cell, Seen>,
}

fn listed<S: Serializer>(cells: &BTreeMap<Cell, Seen>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Line<'a> {
        #[serde(flatten)]
        cell: &'a Cell,
        #[serde(flatten)]
        seen: &'a Seen,
    }
    serializer.collect_seq(cells.iter().map(|(cell, seen)| Line { cell, seen }))
}

/// The middle of what was seen, and its ends.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The middle.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// Of some numbers; `None` if there are none.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        let (least, most) = (*numbers.first()?, *numbers.last()?);
        let (low, high) = (numbers[(numbers.len() - 1) / 2], numbers[numbers.len() / 2]);
        Some(Self { median: f64::midpoint(low, high), least, most })
    }
}

impl Results {
    /// Nothing yet.
    pub fn new(dose: &Dose) -> Self {
        Self {
            machine: machine(),
            threads: dose.threads(),
            event: dose.event,
            rounds: dose.rounds(),
            measured_ms: dose.measured().as_millis(),
            syscalls_missing: None,
            cells: BTreeMap::new(),
        }
    }

    /// Adds a round's slice.
    pub fn add(&mut self, cell: Cell, slice: Slice) {
        self.cells.entry(cell).or_default().slices.push(slice);
    }

    /// Keeps what was counted.
    pub fn set_allocations(&mut self, cell: Cell, slice: &Slice) {
        let seen = self.cells.entry(cell).or_default();
        (seen.allocations, seen.event_allocations) = (Some(slice.allocations), Some(slice.event_allocations));
    }

    /// Keeps what was counted.
    pub fn set_syscalls(&mut self, cell: Cell, each: f64) {
        self.cells.entry(cell).or_default().syscalls = Some(each);
    }

    /// A number of each round's slice.
    pub fn spread(&self, cell: Cell, number: impl Fn(&Slice) -> f64) -> Option<Spread> {
        Spread::of(self.cells.get(&cell)?.slices.iter().map(number))
    }

    /// One cell's number over another's, round by round.
    pub fn ratio(&self, upper: Cell, lower: Cell, number: impl Fn(&Slice) -> f64) -> Option<Spread> {
        let (upper, lower) = (self.cells.get(&upper)?, self.cells.get(&lower)?);
        Spread::of(upper.slices.iter().zip(&lower.slices).map(|(upper, lower)| number(upper) / number(lower)))
    }

    /// The numbers in flight that were measured, and the numbers of connections.
    pub fn axes(&self) -> (Vec<usize>, Vec<usize>) {
        let distinct = |number: fn(&Cell) -> usize| {
            let mut numbers: Vec<_> = self.cells.keys().map(number).collect();
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        };
        (distinct(|cell| cell.in_flight), distinct(|cell| cell.connections))
    }
}

fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} cores, {}", model.trim_start_matches([':', ' ', '\t']))
}

//! One measured stretch of load, and what was seen in it.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Where a caller's next event comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Making {
    /// Each caller keeps its event and gives it another id: what is measured is the protocol alone.
    Kept,
    /// Each event is made anew, as a proxy does for each request.
    Anew,
}

/// What load to make, for how long.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Load {
    /// Requests in flight, over all connections together.
    pub in_flight: usize,
    /// Where the events come from.
    pub making: Making,
    /// How long to load before the measuring begins.
    pub warm: Duration,
    /// How long to measure.
    pub measured: Duration,
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Slice {
    /// Requests answered per second.
    pub per_second: f64,
    /// Requests answered in all, before and after the measured part as well.
    pub total: u64,
    /// Half of the requests took no longer, in microseconds.
    pub p50: f64,
    /// Of a hundred requests 99 took no longer, in microseconds.
    pub p99: f64,
    /// CPU time of the asking process per request, in microseconds.
    pub cpu: f64,
    /// Of that, what making and dropping the event alone takes.
    pub event_cpu: f64,
    /// Calls of the allocator per request; 0 where none were counted.
    pub allocations: f64,
    /// Of those, what making the event alone takes.
    pub event_allocations: f64,
}

/// Says how often the allocator was called so far.
pub type Allocations = fn() -> usize;

/// The process's clocks and counters at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    at: Instant,
    cpu: Duration,
    allocations: usize,
}

impl Reading {
    /// Reads them.
    pub fn now(allocations: Allocations) -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = Duration::new(cpu.tv_sec.unsigned_abs(), u32::try_from(cpu.tv_nsec).unwrap_or(0));
        Self { at: Instant::now(), cpu, allocations: allocations() }
    }

    /// CPU microseconds and calls of the allocator since `earlier`, for each of `count`.
    pub fn each_since(&self, earlier: &Self, count: f64) -> (f64, f64) {
        let cpu = (self.cpu - earlier.cpu).as_secs_f64() * 1e6;
        (cpu / count, (self.allocations - earlier.allocations) as f64 / count)
    }

    /// Time between the two.
    pub fn since(&self, earlier: &Self) -> Duration {
        self.at - earlier.at
    }
}

/// The requests of a slice that were answered.
#[derive(Debug, Default)]
pub struct Answered {
    /// How long each took that ended in the measured part, in nanoseconds.
    nanos: Vec<u32>,
    /// How many were answered at all.
    total: u64,
}

impl Answered {
    /// Adds those of another task.
    pub fn extend(&mut self, other: Self) {
        self.nanos.extend(other.nanos);
        self.total += other.total;
    }
}

/// The bounds of the measured part.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Its first moment.
    pub begin: Instant,
    /// Its end.
    pub end: Instant,
}

impl Window {
    /// The one that `load` asks for, from now on.
    pub fn of(load: &Load) -> Self {
        let begin = Instant::now() + load.warm;
        Self { begin, end: begin + load.measured }
    }

    /// Counts a request, and keeps how long it took if it ended within the window.
    pub fn note(&self, seen: &mut Answered, asked: Instant, answered: Instant) {
        seen.total += 1;
        if answered >= self.begin && answered < self.end {
            seen.nanos.push(u32::try_from((answered - asked).as_nanos()).unwrap_or(u32::MAX));
        }
    }

    /// Sleeps through the window in this thread, which must be none of the runtime's, and reads the
    /// counters at both ends.
    pub fn watch(&self, allocations: Allocations) -> (Reading, Reading) {
        sleep_until(self.begin);
        let before = Reading::now(allocations);
        sleep_until(self.end);
        (before, Reading::now(allocations))
    }
}

fn sleep_until(moment: Instant) {
    std::thread::sleep(moment.saturating_duration_since(Instant::now()));
}

impl Slice {
    /// Sums up.
    pub fn of(mut seen: Answered, load: &Load, readings: (Reading, Reading)) -> Self {
        seen.nanos.sort_unstable();
        let per_second = seen.nanos.len() as f64 / load.measured.as_secs_f64();
        let (before, after) = readings;
        // The readings were not taken at the window's very ends.
        let (cpu, allocations) = after.each_since(&before, per_second * after.since(&before).as_secs_f64());
        let (p50, p99) = (quantile(&seen.nanos, 0.5), quantile(&seen.nanos, 0.99));
        Self { per_second, total: seen.total, p50, p99, cpu, allocations, ..Self::default() }
    }
}

/// Of sorted nanoseconds, in microseconds.
fn quantile(sorted: &[u32], share: f64) -> f64 {
    let index = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
    sorted.get(index).map_or(f64::NAN, |nanos| f64::from(*nanos) / 1e3)
}

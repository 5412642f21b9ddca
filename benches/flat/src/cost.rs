//! What a request costs: instructions, counted, and CPU time.

use std::env;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::series::Series;

/// Requests that are measured in a scene, and at least as many before them, so that what grows has grown.
pub const REQUESTS: usize = 200;

/// How often a scene's CPU time is taken.
const RUNS: usize = 5;

/// What a stretch took.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Requests in it.
    pub requests: usize,
    /// CPU time of the process.
    pub cpu: Duration,
}

/// Does what is measured, and nothing else: `valgrind` counts between this function's call and
/// its return.
#[inline(never)]
pub fn measured(requests: usize, work: &mut dyn FnMut()) -> Measured {
    let before = cpu();
    work();
    Measured { requests, cpu: cpu().saturating_sub(before) }
}

/// Warms up, and measures.
pub fn repeat(request: &mut dyn FnMut(usize)) -> Measured {
    repeat_among(0, request)
}

/// Warms up all of so many connections, and measures: the first request over one takes more.
pub fn repeat_among(connections: usize, request: &mut dyn FnMut(usize)) -> Measured {
    let warm = REQUESTS.max(4 * connections);
    (0..warm).for_each(&mut *request);
    measured(REQUESTS, &mut || (warm..warm + REQUESTS).for_each(&mut *request))
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Of one request.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Instructions in user space.
    pub instructions: f64,
    /// CPU time in nanoseconds, the least that was seen.
    pub cpu: f64,
}

impl Cost {
    /// A series' cost at `count`.
    pub fn of(series: Series, count: usize) -> Result<Self, String> {
        let mut least = f64::INFINITY;
        let mut requests = 1;
        for _ in 0..RUNS {
            let seen = series.measure(count)?;
            requests = seen.requests.max(1);
            least = least.min(seen.cpu.as_nanos() as f64 / requests as f64);
        }
        Ok(Self { instructions: collected(series, count)? / requests as f64, cpu: least })
    }
}

fn collected(series: Series, count: usize) -> Result<f64, String> {
    let this = env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*cost::measured*"])
        .arg(this)
        .args(["once", series.name(), &count.to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind does not run: {error}. Debian: apt-get install valgrind"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split("Collected : ").nth(1)?.trim().parse().ok());
    match collected {
        Some(instructions) if output.status.success() && instructions > 0.0 => Ok(instructions),
        _ => Err(format!("{} at {count}: valgrind said: {text}", series.name())),
    }
}

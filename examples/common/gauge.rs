//! What the process holds: heap, resident memory, descriptors, tasks.

use std::fs;
use std::time::Duration;

use peak_alloc::PeakAlloc;
use tokio::runtime::Handle;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Descriptors, tasks and heap at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Gauge {
    /// Open descriptors.
    pub fds: usize,
    /// Tasks of the runtime that are alive.
    pub tasks: usize,
    /// Bytes allocated.
    pub heap: usize,
}

impl Gauge {
    /// Must be called within a runtime.
    pub fn now() -> Self {
        Self { fds: fds(), tasks: tasks(), heap: heap() }
    }

    /// Waits until no more descriptors and tasks are there than in `self`. Returns what is there.
    pub async fn wait_for_return(self, within: Duration) -> Self {
        let back = async {
            while fds() > self.fds || tasks() > self.tasks {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // The caller judges what is left.
        let _ = tokio::time::timeout(within, back).await;
        Self::now()
    }
}

/// Open descriptors.
pub fn fds() -> usize {
    // The listing has a descriptor of its own.
    fs::read_dir("/proc/self/fd").expect("procfs").count() - 1
}

/// Tasks that are alive.
pub fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Bytes allocated now.
pub fn heap() -> usize {
    HEAP.current_usage()
}

/// Begins to look for the peak anew.
pub fn reset_peak() {
    HEAP.reset_peak_usage();
}

/// The most bytes that were allocated at once since.
pub fn peak() -> usize {
    HEAP.peak_usage()
}

/// Resident memory in bytes.
pub fn rss() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib = line.trim().trim_end_matches("kB").trim();
    kib.parse::<usize>().expect("a number") << 10
}

/// Allows the process as many descriptors as it may have, and returns how many that is.
pub fn raise_descriptors() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Where it is not allowed, what is there has to do.
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Bytes, for a reader.
pub fn mib(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

//! The published peer's two roles, each in a runtime of its own so that it can be killed like a
//! process, and the events that it is asked about.

pub mod agent;
pub mod bridged;
pub mod events;
pub mod ours;
pub mod proxy;

use std::future::Future;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep, timeout};

/// Longer than anything here should take; a test that comes this far hangs.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The peer's tasks. Dropping this ends them and closes their sockets, as the end of a process does.
#[derive(Debug)]
pub struct Process(Option<Runtime>);

impl Process {
    /// Starts a runtime, and in it what `main` makes.
    pub fn start<F: Future<Output: Send + 'static> + Send + 'static>(main: F) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        drop(runtime.spawn(main));
        Self(Some(runtime))
    }

    /// Ends it, and returns when its sockets are closed.
    pub fn kill(mut self) {
        if let Some(runtime) = self.0.take() {
            // A runtime must not be waited for within another.
            let end = std::thread::spawn(move || runtime.shutdown_timeout(PATIENCE));
            end.join().unwrap();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Awaits `future`, and fails the test instead of hanging.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: did not happen within {PATIENCE:?}"),
    }
}

/// Waits until `condition` holds, and fails the test if it never does.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: did not happen within {PATIENCE:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Lets that much time pass for this side, in no time. Nothing must be under way.
pub async fn idle(time: Duration) {
    tokio::time::pause();
    sleep(time).await;
    tokio::time::resume();
}

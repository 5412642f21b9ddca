//! The runtime of the commands that speak to somebody.

use std::future::Future;

use dialback::net::shutdown_signal;
use tokio::runtime::Builder;

use super::failure::Failure;

/// Runs `work` to its end.
pub fn on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = Builder::new_multi_thread().enable_all().build().map_err(Failure::failed)?;
    let result = runtime.block_on(work);
    // A read of the standard input can't be called off.
    runtime.shutdown_background();
    result
}

/// Resolves when the process is asked to end.
pub fn signal() -> Result<impl Future<Output = ()> + Send, Failure> {
    shutdown_signal().map_err(|error| Failure::Failed(format!("can't catch signals: {error}")))
}

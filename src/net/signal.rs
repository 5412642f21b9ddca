//! The system's wish that the process end.

use std::future::Future;
use std::io;
use std::pin::pin;

/// Resolves when the process is asked to end: by SIGTERM or SIGINT (ctrl-c); where there are no
/// such signals, by ctrl-c.
///
/// Signals are caught from the moment of the call, for the rest of the process's life: the system's
/// own answer to them, which is to kill the process, is off. What is awaited after this has resolved
/// should therefore have a deadline, as draining has.
///
/// Must be called within a tokio runtime.
///
/// # Errors
/// If the system does not let signals be caught.
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()> + Send> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};

        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(async move {
            let which = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = which, "asked to end");
        })
    }
    #[cfg(not(unix))]
    {
        Ok(async {
            if let Err(error) = tokio::signal::ctrl_c().await {
                tracing::error!(%error, "can't wait for ctrl-c");
                std::future::pending::<()>().await;
            }
            tracing::info!("asked to end");
        })
    }
}

/// Lets `work` go on until `signal` resolves, then asks it to `stop` and waits for its end.
pub(super) async fn run_until<W: Future + Unpin>(
    mut work: W,
    stop: impl FnOnce(),
    signal: impl Future<Output = ()>,
) -> W::Output {
    let mut signal = pin!(signal);
    tokio::select! {
        biased;
        ended = &mut work => return ended,
        () = &mut signal => stop(),
    }
    work.await
}

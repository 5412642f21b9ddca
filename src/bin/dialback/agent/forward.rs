//! An agent that listens, and is dialled by proxies, as today's agents are.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use dialback::net::{Agent, AgentConfig, Handler, Stream};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::failure::Failure;
use crate::place::{Place, address};

/// How long to wait after the system failed to accept, for want of descriptors for instance.
const RETRY: Duration = Duration::from_millis(50);

/// Answers every proxy that dials `place`. Ends only with an error.
pub async fn serve<H: Handler + Clone>(
    place: &Place,
    config: AgentConfig,
    handler: H,
) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::Failed(format!("can't listen on {place}: {error}"));
    match place {
        Place::Unix(path) => {
            let listener = bind(path).await.map_err(failed)?;
            tracing::info!(path = %path.display(), "listening for proxies");
            accept_all(config, handler, async || Ok(listener.accept().await?.0)).await
        }
        Place::Tcp(host) => {
            let listener = TcpListener::bind(address(host)?).await.map_err(failed)?;
            tracing::info!(addr = %listener.local_addr().map_err(failed)?, "listening for proxies");
            accept_all(config, handler, async || Ok(listener.accept().await?.0)).await
        }
        Place::Tls(_) => {
            Err(Failure::usage("an agent can't listen for TLS; give a Unix socket or HOST:PORT"))
        }
    }
}

async fn accept_all<H, A, F, IO>(config: AgentConfig, handler: H, accept: A) -> Result<(), Failure>
where
    H: Handler + Clone,
    A: Fn() -> F,
    F: Future<Output = io::Result<IO>>,
    IO: Stream,
{
    loop {
        match accept().await {
            Ok(io) => {
                let agent = Agent::new(config.clone(), handler.clone());
                tokio::spawn(agent.accept_forward(io));
            }
            Err(error) => {
                tracing::warn!(%error, "accepting failed; trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Listens, in the place of one who does not any more.
async fn bind(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            // Only a socket refuses; a file or a folder fails in another way.
            match UnixStream::connect(path).await {
                Err(refused) if refused.kind() == ErrorKind::ConnectionRefused => {}
                Ok(_) | Err(_) => return Err(error),
            }
            // Some systems say so of a file, too.
            if !is_socket(path)? {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

fn is_socket(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::FileTypeExt;
    Ok(std::fs::symlink_metadata(path)?.file_type().is_socket())
}

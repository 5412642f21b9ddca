//! Listening for agents on a Unix or TCP socket.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use super::accept::Acceptor;
use super::config::{ConfigError, ListenerConfig};
use super::handle::AgentHandle;
use super::hook::Peer;
use super::proxy::Delivery;
use super::refusals::Refusals;
use super::sockets;

/// How long to wait after the system failed to accept, for want of descriptors for instance.
const RETRY: Duration = Duration::from_millis(50);

/// Accepts agents on a socket.
///
/// Handshakes run from the moment of binding, each in a task of its own; [`Listener::accept`]
/// fetches the agents that have registered. Dropping the listener stops accepting and removes its
/// socket file, if that is still its own; agents that were fetched stay connected.
///
/// ```no_run
/// use std::time::Duration;
/// use dialback::net::{Listener, ListenerConfig, Pool, PoolConfig, shutdown_signal};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = Listener::bind_tcp("127.0.0.1:7000".parse()?, ListenerConfig::default()).await?;
/// let pool = Pool::new(PoolConfig::default());
/// let signal = shutdown_signal()?;
/// tokio::select! {
///     () = pool.serve(&listener) => {}
///     () = signal => {}
/// }
/// listener.shutdown(Duration::from_secs(10)).await;
/// # Ok(())
/// # }
/// ```
pub struct Listener {
    // Before `accepting`, so that the file goes before the socket does.
    #[cfg(unix)]
    file: Option<super::unix::SocketFile>,
    acceptor: Acceptor,
    queue: tokio::sync::Mutex<mpsc::Receiver<AgentHandle>>,
    closing: watch::Sender<bool>,
    accepting: Accepting,
    local_addr: Option<SocketAddr>,
}

impl Listener {
    /// Listens on a Unix socket at `path`.
    ///
    /// A socket that nobody listens on any more is replaced. Anything else at `path` is left as
    /// it is and makes this fail.
    ///
    /// # Errors
    /// [`BindError`] says what stands against it.
    #[cfg(unix)]
    pub async fn bind_unix(path: impl AsRef<Path>, config: ListenerConfig) -> Result<Self, BindError> {
        let path = path.as_ref();
        let acceptor = Acceptor::new(config.clone())?;
        let access = super::unix::Access { mode: config.unix_mode, group: config.unix_group };
        let (listener, file) = super::unix::bind(path, config.backlog, access)?;
        let listener = tokio::net::UnixListener::from_std(listener)
            .map_err(|source| BindError::Io { place: path.display().to_string(), source })?;
        tracing::info!(path = %path.display(), "listening for agents");
        Ok(Self { file: Some(file), ..Self::start(acceptor, &config, listener) })
    }

    /// Listens on a TCP address. Port 0 takes a free one; see [`Listener::local_addr`].
    ///
    /// The protocol neither encrypts nor authenticates the connection beyond the tokens in the
    /// policy. Across machines, use TLS: the method `bind_tls` of the feature `tls`, or streams of
    /// your own and [`Acceptor`].
    ///
    /// Connections are set to send without delay and to look for a silent peer after a minute.
    ///
    /// # Errors
    /// [`BindError`] says what stands against it.
    pub async fn bind_tcp(addr: SocketAddr, config: ListenerConfig) -> Result<Self, BindError> {
        Self::bind_ip(addr, config, |listener| listener)
    }

    /// Listens for TLS on a TCP address, otherwise as [`Listener::bind_tcp`].
    ///
    /// A TLS handshake is a part of the handshake: it counts among the `max_opening`, and the
    /// handshake's deadline runs from the first byte. A connection for which there is no room, or
    /// that comes faster than `accept_rate`, is closed before it, without a word.
    ///
    /// # Errors
    /// [`BindError`] says what stands against it.
    #[cfg(feature = "tls")]
    pub async fn bind_tls(
        addr: SocketAddr,
        tls: &super::tls::TlsListenerConfig,
        config: ListenerConfig,
    ) -> Result<Self, BindError> {
        let tls = super::tls::acceptor(tls)?;
        Self::bind_ip(addr, config, |listener| super::tls::TlsListener { listener, tls })
    }

    fn bind_ip<L: Accept>(
        addr: SocketAddr,
        config: ListenerConfig,
        wrap: impl FnOnce(TcpListener) -> L,
    ) -> Result<Self, BindError> {
        let acceptor = Acceptor::new(config.clone())?;
        let listener = sockets::listen(addr, config.backlog)
            .map_err(|source| BindError::Io { place: addr.to_string(), source })?;
        let local_addr = listener.local_addr().ok();
        tracing::info!(addr = %local_addr.unwrap_or(addr), "listening for agents");
        Ok(Self { local_addr, ..Self::start(acceptor, &config, wrap(listener)) })
    }

    fn start<L: Accept>(acceptor: Acceptor, config: &ListenerConfig, listener: L) -> Self {
        let (sender, receiver) = mpsc::channel(config.accept_queue);
        let accepting = tokio::spawn(accept_all(listener, acceptor.clone(), sender)).abort_handle();
        Self {
            acceptor,
            queue: tokio::sync::Mutex::new(receiver),
            closing: watch::Sender::new(false),
            accepting: Accepting(accepting),
            local_addr: None,
            #[cfg(unix)]
            file: None,
        }
    }

    /// The next agent that has registered. Safe to cancel; several callers may wait at once.
    ///
    /// # Errors
    /// [`ListenerClosed`] once the listener was shut down.
    pub async fn accept(&self) -> Result<AgentHandle, ListenerClosed> {
        let mut closing = self.closing.subscribe();
        let next = async { self.queue.lock().await.recv().await };
        tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => Err(ListenerClosed),
            handle = next => handle.ok_or(ListenerClosed),
        }
    }

    /// Hands every agent that registers to `on_agent`, until the listener is shut down.
    pub async fn serve(&self, on_agent: impl Fn(AgentHandle) + Send) {
        while let Ok(handle) = self.accept().await {
            on_agent(handle);
        }
    }

    /// Stops accepting, drains every connection for at most `within`, closes what is left, waits
    /// until all have ended, and removes the socket file.
    pub async fn shutdown(&self, within: Duration) {
        #[cfg(unix)]
        if let Some(file) = &self.file {
            file.remove();
        }
        self.closing.send_replace(true);
        self.accepting.0.abort();
        self.acceptor.shutdown(within).await;
    }

    /// The path of the Unix socket.
    pub fn socket_path(&self) -> Option<&Path> {
        #[cfg(unix)]
        return self.file.as_ref().map(super::unix::SocketFile::path);
        #[cfg(not(unix))]
        None
    }

    /// The TCP address.
    pub const fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    /// How often registrations were refused, by cause.
    pub fn refusals(&self) -> Refusals {
        self.acceptor.refusals()
    }

    /// Connections that have registered and not ended.
    pub fn connections(&self) -> usize {
        self.acceptor.connections()
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("socket_path", &self.socket_path())
            .field("local_addr", &self.local_addr)
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

/// The task that accepts. It ends with the listener.
struct Accepting(AbortHandle);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A socket that accepts.
pub(super) trait Accept: Send + 'static {
    /// Waits for a connection and hands it to the acceptor.
    fn accept(&self, acceptor: &Acceptor, delivery: Delivery) -> impl Future<Output = io::Result<()>> + Send;
}

impl Accept for TcpListener {
    async fn accept(&self, acceptor: &Acceptor, delivery: Delivery) -> io::Result<()> {
        let (io, addr) = sockets::accept(self).await?;
        acceptor.accept_later(io, Peer::Tcp(addr), delivery);
        Ok(())
    }
}

#[cfg(unix)]
impl Accept for tokio::net::UnixListener {
    async fn accept(&self, acceptor: &Acceptor, delivery: Delivery) -> io::Result<()> {
        let (io, _) = Self::accept(self).await?;
        let peer = match io.peer_cred() {
            Ok(cred) => Peer::Unix { uid: cred.uid(), gid: cred.gid(), pid: cred.pid() },
            Err(_) => Peer::Other,
        };
        acceptor.accept_later(io, peer, delivery);
        Ok(())
    }
}

async fn accept_all<L: Accept>(listener: L, acceptor: Acceptor, queue: mpsc::Sender<AgentHandle>) {
    loop {
        if let Err(error) = listener.accept(&acceptor, Delivery::Queue(queue.clone())).await {
            tracing::warn!(%error, "accepting failed; trying again");
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// The listener was shut down; no agent will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerClosed;

impl fmt::Display for ListenerClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the listener was shut down")
    }
}

impl std::error::Error for ListenerClosed {}

/// Why a listener could not be bound. Nothing was changed then.
#[derive(Debug)]
pub enum BindError {
    /// The configuration makes no sense.
    Config(ConfigError),
    /// Something that is no socket is there. It was left as it is.
    NotASocket {
        /// Where.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// Somebody listens there.
    InUse {
        /// Where.
        path: PathBuf,
    },
    /// The system said no.
    Io {
        /// The path or address.
        place: String,
        /// What it said.
        source: io::Error,
    },
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::NotASocket { path, found } => write!(
                f,
                "{} is {found}, not a socket; it was left as it is: choose another path or remove it",
                path.display()
            ),
            Self::InUse { path } => {
                write!(f, "somebody listens on {} already; stop them or choose another path", path.display())
            }
            Self::Io { place, source } => write!(f, "can't listen on {place}: {source}"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Io { source, .. } => Some(source),
            Self::NotASocket { .. } | Self::InUse { .. } => None,
        }
    }
}

impl From<ConfigError> for BindError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

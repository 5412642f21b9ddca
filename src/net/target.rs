//! A proxy that a fleet keeps connections to, and how it is reached.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;

use super::driver::Stream;
use super::sync::Arc;

/// A connection that is being made.
pub(super) type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send>>;

/// A proxy to keep connections to.
#[derive(Clone)]
pub struct Target {
    pub(super) name: Arc<str>,
    pub(super) connections: usize,
    connect: Arc<dyn Fn() -> Connecting + Send + Sync>,
}

impl Target {
    /// A proxy that listens on a Unix socket; its name is the path.
    #[cfg(unix)]
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self::with(path.display().to_string(), move || tokio::net::UnixStream::connect(path.clone()))
    }

    /// A proxy that listens on a TCP address, which is also its name.
    pub fn tcp(addr: SocketAddr) -> Self {
        Self::with(addr.to_string(), move || super::sockets::dial(addr))
    }

    /// A proxy that listens on TCP at `place`, a name and a port as in `proxy.example:9000`, which is
    /// looked up whenever it is dialled.
    pub fn tcp_host(place: impl Into<Arc<str>>) -> Self {
        let place = place.into();
        Self::with(place.to_string(), move || {
            let place = Arc::clone(&place);
            async move { super::sockets::dial_host(&place).await }
        })
    }

    /// As [`Target::tls`], at a name and a port that are looked up whenever it is dialled.
    ///
    /// # Errors
    /// What in `tls` or the name makes no sense.
    #[cfg(feature = "tls")]
    pub fn tls_host(
        place: impl Into<Arc<str>>,
        server_name: &str,
        tls: &super::tls::TlsAgentConfig,
    ) -> Result<Self, super::ConfigError> {
        let (place, dialler) = (place.into(), super::tls::Dialler::new(server_name, tls)?);
        Ok(Self::with(place.to_string(), move || dialler.clone().dial_host(Arc::clone(&place))))
    }

    /// A proxy that listens for TLS; its name is the address. Its certificate must be valid for
    /// `server_name`, a DNS name or an IP address.
    ///
    /// # Errors
    /// What in `tls` or the name makes no sense.
    #[cfg(feature = "tls")]
    pub fn tls(
        addr: SocketAddr,
        server_name: &str,
        tls: &super::tls::TlsAgentConfig,
    ) -> Result<Self, super::ConfigError> {
        let dialler = super::tls::Dialler::new(server_name, tls)?;
        Ok(Self::with(addr.to_string(), move || dialler.clone().dial(addr)))
    }

    /// A proxy that is reached by `connect`: by a name that must be looked up, through a tunnel.
    /// `name` is what logs and views call it. An attempt that takes longer than the handshake may
    /// take is dropped.
    pub fn with<C, F, IO>(name: impl Into<String>, connect: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<IO>> + Send + 'static,
        IO: Stream,
    {
        let connect = move || -> Connecting {
            let connecting = connect();
            Box::pin(async move {
                let io: Box<dyn Stream> = Box::new(connecting.await?);
                Ok(io)
            })
        };
        Self { name: name.into().into(), connections: 1, connect: Arc::new(connect) }
    }

    /// How many connections to keep to it. Default 1. The proxy may allow fewer: what it refuses
    /// is tried again as its refusal says.
    #[must_use]
    pub const fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// What logs and views call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Begins a connection.
    pub(super) fn connect(&self) -> Connecting {
        (self.connect)()
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("name", &self.name)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

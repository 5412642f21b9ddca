//! Everything that the gateway is made of, on ports of this machine.
//!
//! ```text
//! client --HTTP--> proxy [guard layer [editor layer [reverse proxy]]] --HTTP--> upstream
//!                          |                |
//!                       agents that have dialled in over a Unix socket
//! ```

mod book;
mod crew;
mod handlers;
mod proxy;
mod status;
mod upstream;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::{Listener as _, ListenerExt, TapIo};
use dialback::machine::admission::AgentPattern;
use dialback::net::{AgentHandle, Listener, ListenerConfig, Pool, PoolConfig};
use tokio::net::{TcpListener, TcpStream};

use book::Book;
pub use crew::Crew;
pub use handlers::{EDITOR, GUARD};

/// What may go wrong with a site.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The gateway, its upstream, its agents' socket and its status page.
pub struct Site {
    /// Where the proxy listens for clients.
    pub proxy: SocketAddr,
    /// Where the status page is.
    pub status: SocketAddr,
    /// Where agents dial in.
    pub socket: PathBuf,
    /// The agents that this process has started.
    pub crew: Crew,
    listener: Arc<Listener>,
    _folder: tempfile::TempDir,
}

impl Site {
    /// Opens everything; no agent has come yet. Port 0 takes a free one.
    pub async fn open(proxy_port: u16, status_port: u16) -> Result<Self, Error> {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("agents.sock");
        let mut config = ListenerConfig { unix_mode: Some(0o600), ..ListenerConfig::default() };
        config.policy.allowed = [GUARD, EDITOR].map(AgentPattern::from).into();
        let listener = Arc::new(Listener::bind_unix(&socket, config).await?);
        let pool = Pool::new(PoolConfig { grace: Duration::from_secs(3_600), ..PoolConfig::default() });
        let book = Arc::new(Book::new(pool.clone(), Arc::clone(&listener)));
        tokio::spawn(receive(Arc::clone(&listener), pool.clone(), Arc::clone(&book)));

        let upstream = bind(0).await?;
        let upstream_addr = upstream.local_addr()?;
        tokio::spawn(async move { axum::serve(upstream, upstream::router()).await });
        let proxy = bind(proxy_port).await?;
        let proxy_addr = proxy.local_addr()?;
        let router =
            proxy::router(upstream_addr, &pool, &book).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(proxy, router).await });
        let status = bind(status_port).await?;
        let status_addr = status.local_addr()?;
        let router = status::router(Arc::clone(&book));
        tokio::spawn(async move { axum::serve(status, router).await });

        let crew = Crew::new(socket.clone());
        Ok(Self { proxy: proxy_addr, status: status_addr, socket, crew, listener, _folder: folder })
    }

    /// Lets the agents finish what they have, and goes.
    pub async fn close(self) {
        self.listener.shutdown(Duration::from_secs(2)).await;
    }
}

/// What is small leaves at once: the head of a response goes before its body has been asked about, and
/// the body must not wait for the head's acknowledgement.
async fn bind(port: u16) -> Result<TapIo<TcpListener, fn(&mut TcpStream)>, Error> {
    let place = format!("127.0.0.1:{port}");
    let listener =
        TcpListener::bind(&place).await.map_err(|error| format!("can't listen on {place}: {error}"))?;
    Ok(listener.tap_io(|stream| drop(stream.set_nodelay(true))))
}

/// Takes in every agent that registers, and notes when it comes and goes.
async fn receive(listener: Arc<Listener>, pool: Pool, book: Arc<Book>) {
    listener
        .serve(|handle: AgentHandle| {
            book.note_agent(handle.agent_id(), handle.connection_id(), "came", "it has registered".into());
            pool.add(handle.clone());
            let book = Arc::clone(&book);
            tokio::spawn(async move {
                let reason = handle.closed().await;
                book.note_agent(handle.agent_id(), handle.connection_id(), "left", reason.to_string());
            });
        })
        .await;
}

//! How TCP sockets are set, the accepted and the dialled ones alike.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How long a connection may be idle before the system looks for its peer, and how often it then
/// does. The protocol has pings of its own; this finds a peer that vanished before it registered
/// or while it is not being pinged, and keeps middleboxes from forgetting the connection.
const IDLE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(15);

/// Listens. `backlog` connections wait in the system to be accepted.
pub(super) fn listen(addr: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(backlog)
}

/// Accepts a connection.
pub(super) async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (io, addr) = listener.accept().await?;
    // A peer that has gone already makes this fail, which is no fault of the listener.
    if let Err(error) = tune(&io) {
        tracing::debug!(%error, "a connection can't be set up");
    }
    Ok((io, addr))
}

/// Dials.
pub(super) async fn dial(addr: SocketAddr) -> io::Result<TcpStream> {
    let io = TcpStream::connect(addr).await?;
    tune(&io)?;
    Ok(io)
}

/// Looks `host:port` up and dials what is found, one address after the other.
pub(super) async fn dial_host(place: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name stands for no address");
    for addr in tokio::net::lookup_host(place).await? {
        match dial(addr).await {
            Ok(io) => return Ok(io),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn tune(io: &TcpStream) -> io::Result<()> {
    // An event is asked about one at a time; waiting to fill a packet only delays it.
    io.set_nodelay(true)?;
    SockRef::from(io).set_tcp_keepalive(&TcpKeepalive::new().with_time(IDLE).with_interval(INTERVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_ends_are_tuned() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), 8).unwrap();
        let addr = listener.local_addr().unwrap();
        let (dialled, accepted) = tokio::join!(dial(addr), accept(&listener));
        let (dialled, (accepted, from)) = (dialled.unwrap(), accepted.unwrap());
        assert_eq!(from, dialled.local_addr().unwrap());
        for io in [&dialled, &accepted] {
            assert!(io.nodelay().unwrap());
            let socket = SockRef::from(io);
            assert!(socket.keepalive().unwrap());
            #[cfg(target_os = "linux")]
            assert_eq!(
                (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap()),
                (IDLE, INTERVAL)
            );
        }
    }
}

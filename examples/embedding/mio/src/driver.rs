//! Connections in one thread on one `mio::Poll`.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use conversation::Application;
use dialback::machine::Timestamp;
use dialback::session::{Clock, Endpoint};
use mio::{Events, Interest, Poll, Token};

/// Time for the last frames and the peer's end of the stream.
const LINGER: Duration = Duration::from_secs(2);

struct Connection<A: Application> {
    socket: mio::net::TcpStream,
    endpoint: Endpoint<A::Session>,
    application: A,
}

impl<A: Application> Connection<A> {
    fn new(socket: TcpStream, mut application: A, now: Timestamp) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let endpoint = Endpoint::new(application.begin(now), LINGER);
        Ok(Self { socket: mio::net::TcpStream::from_std(socket), endpoint, application })
    }

    /// Does everything that can be done without waiting. The poll tells of changes only, so nothing
    /// may be left that the socket would give or take.
    fn turn(&mut self, clock: &Clock) {
        loop {
            let now = clock.now();
            self.endpoint.handle_timeout(now);
            self.application.handle_timeout(self.endpoint.session_mut(), now);
            while let Some(event) = self.endpoint.poll_event() {
                self.application.handle_event(event, self.endpoint.session_mut(), now);
            }
            // The session has been told of a failure, and tells the application.
            let mut progress = self.endpoint.read_from(&mut self.socket, now).unwrap_or(true);
            progress |= self.endpoint.write_to(&mut self.socket, now).unwrap_or(true);
            if self.endpoint.wants_shutdown() {
                let _ = self.socket.shutdown(Shutdown::Write);
                self.endpoint.handle_shutdown(now);
                progress = true;
            }
            if !progress {
                return;
            }
        }
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.endpoint.poll_timeout().into_iter().chain(self.application.poll_timeout()).min()
    }
}

/// Drives all of the connections at the same time, each to its end.
pub fn drive<A: Application>(conversations: Vec<(TcpStream, A)>) -> io::Result<Vec<A>> {
    let (clock, mut poll, mut events) = (Clock::start(), Poll::new()?, Events::with_capacity(64));
    let (mut connections, mut ended) = (BTreeMap::new(), Vec::new());
    for (number, (socket, application)) in conversations.into_iter().enumerate() {
        let mut connection = Connection::new(socket, application, clock.now())?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut connection.socket, Token(number), interest)?;
        connections.insert(Token(number), connection);
    }
    loop {
        // Those that the poll did not name may be due by the time. A loop with very many
        // connections would keep their times in a heap.
        for connection in connections.values_mut() {
            connection.turn(&clock);
        }
        for (_, connection) in connections.extract_if(.., |_, connection| connection.endpoint.is_done()) {
            ended.push(connection.application);
        }
        if connections.is_empty() {
            return Ok(ended);
        }
        let due = connections.values().filter_map(Connection::poll_timeout).min();
        match poll.poll(&mut events, due.map(|due| clock.until(due))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
}

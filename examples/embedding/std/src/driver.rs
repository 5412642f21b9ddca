//! Connections on blocking sockets of the standard library. Three threads share each: one reads,
//! one writes, one acts and keeps the time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use conversation::Application;
use dialback::machine::Timestamp;
use dialback::session::{Clock, Endpoint, Session};

/// Time for the last frames and the peer's end of the stream.
const LINGER: Duration = Duration::from_secs(2);

/// What the threads of a connection share.
struct Connection<S> {
    endpoint: Mutex<Endpoint<S>>,
    changed: Condvar,
    clock: Clock,
    socket: TcpStream,
}

impl<S: Session> Connection<S> {
    fn lock(&self) -> MutexGuard<'_, Endpoint<S>> {
        self.endpoint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, endpoint: MutexGuard<'a, Endpoint<S>>) -> MutexGuard<'a, Endpoint<S>> {
        self.changed.wait(endpoint).unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the endpoint from any thread, and wakes those that act on what came of it.
    fn change(&self, change: impl FnOnce(&mut Endpoint<S>, Timestamp)) {
        change(&mut self.lock(), self.clock.now());
        self.changed.notify_all();
    }

    /// Reads for as long as the connection lasts.
    fn read(&self) {
        let mut buffer = [0; 16 << 10];
        loop {
            let mut endpoint = self.lock();
            while !endpoint.wants_bytes() && !endpoint.is_done() {
                endpoint = self.wait(endpoint);
            }
            if endpoint.is_done() {
                return;
            }
            drop(endpoint);
            match (&self.socket).read(&mut buffer) {
                Ok(0) => return self.change(|endpoint, now| endpoint.handle_eof(now)),
                Ok(count) => self.change(|endpoint, now| endpoint.handle_bytes(&buffer[..count], now)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.change(|endpoint, now| endpoint.handle_transport_lost(now)),
            }
        }
    }

    /// Writes what there is to be written. The lock is free while the socket takes it.
    fn write(&self) {
        let mut endpoint = self.lock();
        while !endpoint.is_done() {
            let bytes = endpoint.unwritten(self.clock.now()).to_vec();
            if bytes.is_empty() && !endpoint.wants_shutdown() {
                endpoint = self.wait(endpoint);
                continue;
            }
            drop(endpoint);
            if bytes.is_empty() {
                let _ = self.socket.shutdown(Shutdown::Write);
                self.change(|endpoint, now| endpoint.handle_shutdown(now));
            } else {
                match (&self.socket).write(&bytes) {
                    Ok(count) => self.change(|endpoint, _| endpoint.handle_written(count)),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => self.change(|endpoint, now| endpoint.handle_write_failed(now)),
                }
            }
            endpoint = self.lock();
        }
    }

    /// Hands the events to the application, and calls everybody in time.
    fn act<A: Application<Session = S>>(&self, application: &mut A) {
        let mut endpoint = self.lock();
        loop {
            let now = self.clock.now();
            endpoint.handle_timeout(now);
            application.handle_timeout(endpoint.session_mut(), now);
            while let Some(event) = endpoint.poll_event() {
                application.handle_event(event, endpoint.session_mut(), now);
            }
            // The writer fetches what may be written now, and a reader that had to wait looks again.
            self.changed.notify_all();
            if endpoint.is_done() {
                break;
            }
            endpoint = match earliest(endpoint.poll_timeout(), application.poll_timeout()) {
                Some(due) => {
                    let wait = self.changed.wait_timeout(endpoint, self.clock.until(due));
                    wait.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.wait(endpoint),
            };
        }
        drop(endpoint);
        // A thread that is still in a read or a write comes out of it.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

/// Drives one connection to its end.
fn run<A: Application>(socket: TcpStream, mut application: A) -> A {
    let clock = Clock::start();
    let endpoint = Mutex::new(Endpoint::new(application.begin(clock.now()), LINGER));
    let connection = Connection { endpoint, changed: Condvar::new(), clock, socket };
    thread::scope(|scope| {
        scope.spawn(|| connection.read());
        scope.spawn(|| connection.write());
        connection.act(&mut application);
    });
    application
}

/// Drives all of the connections at the same time, each to its end.
pub fn drive<A: Application>(conversations: Vec<(TcpStream, A)>) -> io::Result<Vec<A>> {
    let start = |(socket, application)| thread::spawn(move || run(socket, application));
    let running: Vec<_> = conversations.into_iter().map(start).collect();
    let join =
        |thread: thread::JoinHandle<A>| thread.join().map_err(|_| io::Error::other("a thread panicked"));
    running.into_iter().map(join).collect()
}

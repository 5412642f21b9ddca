//! Connections as tasks of `smol`, each on an `Async` socket.

use std::future::pending;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use conversation::Application;
use dialback::machine::Timestamp;
use dialback::session::{Clock, Endpoint};
use smol::future::or;
use smol::{Async, Timer};

/// Time for the last frames and the peer's end of the stream.
const LINGER: Duration = Duration::from_secs(2);

/// Drives one connection to its end.
async fn run<A: Application>(socket: Async<TcpStream>, mut application: A) -> io::Result<A> {
    let clock = Clock::start();
    let mut endpoint = Endpoint::new(application.begin(clock.now()), LINGER);
    let mut stream = socket.get_ref();
    loop {
        let now = clock.now();
        endpoint.handle_timeout(now);
        application.handle_timeout(endpoint.session_mut(), now);
        while let Some(event) = endpoint.poll_event() {
            application.handle_event(event, endpoint.session_mut(), now);
        }
        // The session has been told of a failure, and tells the application.
        let mut progress = endpoint.read_from(&mut stream, now).unwrap_or(true);
        progress |= endpoint.write_to(&mut stream, now).unwrap_or(true);
        if endpoint.wants_shutdown() {
            let _ = stream.shutdown(Shutdown::Write);
            endpoint.handle_shutdown(now);
            progress = true;
        }
        if endpoint.is_done() {
            return Ok(application);
        }
        if progress {
            // Others get their turn between any two of a busy connection.
            smol::future::yield_now().await;
            continue;
        }
        let (reads, writes) = (endpoint.wants_bytes(), !endpoint.unwritten(now).is_empty());
        let due = endpoint.poll_timeout().into_iter().chain(application.poll_timeout()).min();
        let readable = async { if reads { socket.readable().await } else { pending().await } };
        let writable = async { if writes { socket.writable().await } else { pending().await } };
        or(or(readable, writable), timer(&clock, due)).await?;
    }
}

async fn timer(clock: &Clock, due: Option<Timestamp>) -> io::Result<()> {
    match due {
        Some(due) => drop(Timer::after(clock.until(due)).await),
        None => pending().await,
    }
    Ok(())
}

/// Drives all of the connections at the same time, each to its end.
pub fn drive<A: Application>(conversations: Vec<(TcpStream, A)>) -> io::Result<Vec<A>> {
    smol::block_on(async {
        let mut running = Vec::new();
        for (socket, application) in conversations {
            running.push(smol::spawn(run(Async::new(socket)?, application)));
        }
        let mut ended = Vec::new();
        for task in running {
            ended.push(task.await?);
        }
        Ok(ended)
    })
}

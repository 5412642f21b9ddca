//! What starts the two processes and says how it went.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode};

use crate::{Agent, Application, Proxy, Script, words};

/// The first connection ends by the agent's death, the two after it calmly and at the same time.
const ROUNDS: [(&[Script], i32); 2] =
    [(&[Script::Dies], words::DEATH), (&[Script::Drained, Script::Leaves], 0)];

/// The command line of a driver: `proxy CHILD` waits for the agents of a child process that is
/// started as `CHILD agent ADDRESS COUNT`; `agent ADDRESS COUNT` is that child.
///
/// `proxies` and `agents` drive all of the connections they are given to their end.
pub fn main(
    proxies: impl Fn(Vec<(TcpStream, Proxy)>) -> io::Result<Vec<Proxy>>,
    agents: impl Fn(Vec<(TcpStream, Agent)>) -> io::Result<Vec<Agent>>,
) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["proxy", child] => serve(Path::new(child), proxies),
        ["agent", address, count] => dial(address, count, agents),
        _ => Err("usage: proxy CHILD, or: agent ADDRESS COUNT".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(
    child: &Path,
    drive: impl Fn(Vec<(TcpStream, Proxy)>) -> io::Result<Vec<Proxy>>,
) -> Result<(), String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(text)?;
    let address = listener.local_addr().map_err(text)?;
    children(child, address, |scripts| {
        let accept = |script: &Script| Ok((listener.accept()?.0, Proxy::new(*script)));
        let connections = scripts.iter().map(accept).collect::<io::Result<Vec<_>>>().map_err(text)?;
        drive(connections).map_err(text)?.iter().try_for_each(Application::verdict)
    })
}

/// Starts the agents' process for each round, hands the round's scripts to `converse`, and looks at
/// how the process ended.
///
/// # Errors
/// What went otherwise than it should have.
pub fn children(
    child: &Path,
    address: SocketAddr,
    mut converse: impl FnMut(&[Script]) -> Result<(), String>,
) -> Result<(), String> {
    for (scripts, code) in ROUNDS {
        let mut agents = Started(
            Command::new(child)
                .args(["agent", &address.to_string(), &scripts.len().to_string()])
                .spawn()
                .map_err(|error| format!("{} can't be started: {error}", child.display()))?,
        );
        converse(scripts)?;
        let status = agents.0.wait().map_err(text)?;
        if status.code() != Some(code) {
            return Err(format!("the agents' process ended with {status}, expected {code}"));
        }
        println!("  the agents' process ended with {code}");
    }
    Ok(())
}

/// A child process that does not outlive a failure.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn dial(
    address: &str,
    count: &str,
    drive: impl Fn(Vec<(TcpStream, Agent)>) -> io::Result<Vec<Agent>>,
) -> Result<(), String> {
    let count: usize = count.parse().map_err(text)?;
    let connect = |_| Ok((TcpStream::connect(address)?, Agent::default()));
    let connections = (0..count).map(connect).collect::<io::Result<Vec<_>>>().map_err(text)?;
    drive(connections).map_err(text)?.iter().try_for_each(Application::verdict)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

//! The tool as a process: run to its end, or watched while it runs.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything here should take; a test that comes this far hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a process ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    /// `None` if a signal killed it.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// Ended well.
    #[track_caller]
    pub fn well(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// Ended with this code, saying this of it, and without a panic.
    #[track_caller]
    pub fn badly(self, code: i32, words: &str) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.err.contains(words), "{words:?} is not said: {self:?}");
        assert!(!self.err.contains("panicked"), "{self:?}");
        self
    }
}

fn command<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dialback"));
    command.args(arguments).env_remove("DIALBACK_TOKEN").env("COLUMNS", "100").env("NO_COLOR", "1");
    command
}

/// Runs the tool to its end.
pub fn run<S: AsRef<OsStr>>(arguments: &[S], input: &[u8]) -> Ended {
    Running::start(command(arguments), input).end()
}

/// Starts the tool.
pub fn start<S: AsRef<OsStr>>(arguments: &[S]) -> Running {
    Running::start(command(arguments), b"")
}

/// Starts the tool with a token in its environment.
pub fn start_with_token<S: AsRef<OsStr>>(arguments: &[S], token: &str) -> Running {
    let mut command = command(arguments);
    command.env("DIALBACK_TOKEN", token);
    Running::start(command, b"")
}

/// Runs the tool with nobody to read its output.
pub fn run_unread<S: AsRef<OsStr>>(arguments: &[S], input: &[u8]) -> Ended {
    let mut command = command(arguments);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer);
    Running::start_as_it_is(command, input).end()
}

/// The tool while it runs. Killed when dropped.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    out: thread::JoinHandle<String>,
    err: String,
}

impl Running {
    fn start(mut command: Command, input: &[u8]) -> Self {
        command.stdout(Stdio::piped());
        Self::start_as_it_is(command, input)
    }

    fn start_as_it_is(mut command: Command, input: &[u8]) -> Self {
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        feed(child.stdin.take().unwrap(), input.to_vec());
        let stdout = child.stdout.take();
        let out = thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut stdout) = stdout {
                stdout.read_to_end(&mut text).unwrap();
            }
            String::from_utf8(text).unwrap()
        });
        let (sender, lines) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in stderr.lines() {
                let _ = sender.send(line.unwrap());
            }
        });
        Self { child, lines, out, err: String::new() }
    }

    /// Waits until the tool has said this on its standard error, and returns the line.
    #[track_caller]
    pub fn says(&mut self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.err.push_str(&line);
                    self.err.push('\n');
                    if line.contains(words) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let _ = self.child.kill();
                    panic!("it never said {words:?}, but: {}", self.err);
                }
            }
        }
    }

    /// Where it listens on TCP, once it does.
    pub fn address(&mut self) -> String {
        let line = self.says("listening for agents");
        let at = line.find("addr=").expect("an address is told") + "addr=".len();
        line[at..].split_whitespace().next().unwrap().to_string()
    }

    /// Asks it to end, and waits until it has.
    pub fn terminate(self) -> Ended {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        self.end()
    }

    /// Kills it.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                self.err.extend(self.lines.try_iter());
                panic!("it did not end; it said: {}", self.err);
            }
            thread::sleep(Duration::from_millis(5));
        };
        for line in &self.lines {
            self.err.push_str(&line);
            self.err.push('\n');
        }
        let Self { out, err, .. } = self;
        Ended { code: status.code(), out: out.join().unwrap(), err }
    }
}

fn feed(mut stdin: ChildStdin, input: Vec<u8>) {
    // It may end before it has read all.
    thread::spawn(move || drop(stdin.write_all(&input)));
}

/// Holds a text against a golden file; `UPDATE_GOLDEN=1` writes it anew.
#[track_caller]
pub fn golden(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cli/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, wanted, "{name} is another");
}

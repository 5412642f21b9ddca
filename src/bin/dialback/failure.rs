//! How a command fails, and what the caller of the process learns of it.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub enum Failure {
    /// It could not be done. Exit code 1.
    Failed(String),
    /// It was asked for in a way that makes no sense. Exit code 2.
    Usage(String),
    /// What was wrong has been said already. Exit code 1.
    Told,
    /// Whoever read our output has gone, having seen enough. Exit code 0.
    ClosedPipe,
}

impl Failure {
    pub fn failed(error: impl fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }

    pub fn usage(error: impl fmt::Display) -> Self {
        Self::Usage(error.to_string())
    }

    /// Says what was wrong.
    pub fn report(self) -> ExitCode {
        let (words, code) = match self {
            Self::Failed(words) => (words, 1),
            Self::Usage(words) => (words, 2),
            Self::Told => return ExitCode::from(1),
            Self::ClosedPipe => return ExitCode::SUCCESS,
        };
        // The standard error may be closed as well, which is no reason to panic.
        let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("error: {words}\n"));
        ExitCode::from(code)
    }
}

impl From<io::Error> for Failure {
    /// Of writing to the standard output; errors of files say which file.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::ClosedPipe
        } else {
            Self::Failed(format!("can't write the output: {error}"))
        }
    }
}

//! Secrets: out of files and the environment, never out of arguments, which every process can see.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use dialback::machine::admission::{AgentPattern, Credential};
use dialback::wire::Token;

use super::failure::Failure;

/// The variable that may hold the token to register with.
const VARIABLE: &str = "DIALBACK_TOKEN";

/// The token to register with.
#[derive(Args, Debug)]
pub struct TokenOption {
    /// A file whose first line is the token to register with; without it, the variable
    /// DIALBACK_TOKEN is used, if it is set
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl TokenOption {
    pub fn token(&self) -> Result<Option<Token>, Failure> {
        let Some(path) = &self.token_file else {
            return Ok(env::var(VARIABLE).ok().filter(|token| !token.is_empty()).map(Token::from));
        };
        let text = read(path)?;
        let token = text.lines().next().unwrap_or_default().trim();
        if token.is_empty() {
            return Err(Failure::Failed(format!(
                "{}: the first line is empty; it must be the token",
                path.display()
            )));
        }
        Ok(Some(token.into()))
    }
}

pub fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|error| Failure::Failed(format!("can't read {}: {error}", path.display())))
}

/// Reads a file of tokens: on each line a token and the id of the agent whose it is, or the
/// beginning of ids, as in `waf-*`. Lines that are empty or begin with `#` are passed over.
pub fn credentials(path: &Path) -> Result<Vec<Credential>, Failure> {
    let mut found = Vec::new();
    for (number, line) in (1_usize..).zip(read(path)?.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace();
        let (Some(token), Some(agents), None) = (words.next(), words.next(), words.next()) else {
            // The line itself may hold a token, so it is not repeated.
            return Err(Failure::Failed(format!(
                "{}:{number}: a line must be a token, white space, and an agent's id",
                path.display()
            )));
        };
        found.push(Credential { agents: AgentPattern::new(agents), token: token.into() });
    }
    Ok(found)
}

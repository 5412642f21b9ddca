//! What belongs to a tool: completions for the shell, and the manual page.

use std::io::{self, Write};

use clap::{Args, Command};
use clap_complete::Shell;

use super::failure::Failure;

/// Prints a script that completes this tool's commands and options
///
/// For instance: dialback completions bash > /etc/bash_completion.d/dialback
#[derive(Args, Debug)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

/// Prints the manual page, of the whole tool or of one command
///
/// For instance: dialback man | man -l -
#[derive(Args, Debug)]
pub struct Man {
    /// The command; without it, the whole tool
    command: Option<String>,
}

pub fn completions(options: &Completions, command: &mut Command) -> Result<(), Failure> {
    // The generator panics where writing fails, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(options.shell, command, "dialback", &mut script);
    Ok(io::stdout().write_all(&script)?)
}

pub fn man(options: &Man, mut command: Command) -> Result<(), Failure> {
    command.build();
    let page = match &options.command {
        None => command,
        Some(name) => {
            let found = command.find_subcommand(name).cloned();
            let found = found.ok_or_else(|| {
                let known: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
                Failure::Usage(format!("there is no command {name:?}; there are {}", known.join(", ")))
            })?;
            let title = found.get_display_name().unwrap_or(name).to_owned();
            found.name(title)
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text)?;
    Ok(io::stdout().write_all(&text)?)
}

//! `dialback decode`: frames as people read them.

mod hex;
mod json;
mod mermaid;
mod reading;
mod summary;

mod table;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use dialback::wire::Encoding;

use super::failure::Failure;
use hex::HexReader;
use reading::{Damage, Item, read_frames};
pub use summary::{plain, verdict};

/// Shows frames as a table, as JSON lines or as a sequence diagram
///
/// Damaged input is shown up to the damage, and the reason goes to the standard error. Exit code 0 means
/// that every byte was understood. Tokens are never shown.
#[derive(Args, Debug)]
pub struct Options {
    /// Files of frames, as they went over a connection; "-" or nothing: the standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The input is hexadecimal digits; white space between them is passed over
    #[arg(long)]
    hex: bool,
    /// How to show the frames
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// How payloads behind a handshake are encoded; "auto" looks at each
    #[arg(long, value_enum, default_value_t)]
    encoding: Assumed,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// One line for each frame
    #[default]
    Table,
    /// One JSON object for each frame, on a line of its own
    Json,
    /// A Mermaid sequence diagram
    Mermaid,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Assumed {
    #[default]
    Auto,
    Json,
    Msgpack,
}

impl Assumed {
    /// How this payload is taken to be encoded.
    fn of(self, payload: &[u8]) -> Encoding {
        match self {
            Self::Json => Encoding::Json,
            Self::Msgpack => Encoding::MessagePack,
            // Messages are maps. Those of MessagePack begin with other bytes than a brace, which
            // would be the number 123, or white space.
            Self::Auto => match payload.first() {
                Some(0x80..=0x8f | 0xde | 0xdf) => Encoding::MessagePack,
                Some(_) | None => Encoding::Json,
            },
        }
    }
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let stdin = [PathBuf::from("-")];
    let files: &[PathBuf] = if options.files.is_empty() { &stdin } else { &options.files };
    let mut damaged = false;
    for path in files {
        let input: Box<dyn Read> = if path == Path::new("-") {
            Box::new(io::stdin().lock())
        } else {
            let file = File::open(path);
            Box::new(
                file.map_err(|error| Failure::Failed(format!("can't read {}: {error}", path.display())))?,
            )
        };
        let damages = show(options, input, &mut out)?;
        // What was shown comes before what is said of it.
        out.flush()?;
        for damage in &damages {
            damaged = true;
            let name = if path == Path::new("-") { Path::new("standard input") } else { path };
            let _ = writeln!(io::stderr(), "{}: {damage}", name.display());
        }
    }
    if damaged { Err(Failure::Told) } else { Ok(()) }
}

/// Shows one input. Returns what is wrong with it.
fn show(options: &Options, input: Box<dyn Read>, out: &mut dyn Write) -> Result<Vec<Damage>, Failure> {
    let input: Box<dyn Read> = if options.hex { Box::new(HexReader::new(input)) } else { input };
    let mut damages = Vec::new();
    options.format.begin(out)?;
    read_frames(input, options.encoding, |item| {
        let damage = match &item {
            Item::Frame(frame) => frame.damage(),
            Item::End(damage) => Some(damage.clone()),
        };
        options.format.row(&item, out)?;
        damages.extend(damage);
        Ok(())
    })?;
    Ok(damages)
}

impl Format {
    fn begin(self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Table => table::begin(out),
            Self::Json => Ok(()),
            Self::Mermaid => mermaid::begin(out),
        }
    }

    fn row(self, item: &Item<'_>, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Table => table::row(item, out),
            Self::Json => json::row(item, out),
            Self::Mermaid => mermaid::row(item, out),
        }
    }
}

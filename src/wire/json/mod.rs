//! JSON, written straight into the out-buffer, and read without a copy.
//!
//! What is written is what `serde_json` writes, byte for byte and error for error; what is read is what it reads.
//! Where something is rare, `serde_json` itself writes or reads it.

mod compound;
mod deserializer;
mod entries;
mod escape;
mod ids;
mod key;
mod pattern;
mod reader;
mod scan;
mod skip;
mod writer;

use serde::Deserialize;

pub(crate) use ids::find_ids;
pub(crate) use pattern::Pattern;
pub(crate) use reader::read as read_plain;
pub(crate) use writer::write;

/// Reads one message from exactly these bytes as `serde_json` does: the same message, or the same error.
pub(crate) fn read<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> serde_json::Result<T> {
    match read_plain(bytes) {
        Some(message) => Ok(message),
        None => serde_json::from_slice(bytes),
    }
}

//! Frames as a table.

use std::io::{self, Write};

use super::reading::Item;
use super::summary::{Way, summary, way};

/// The head. Rows are written as frames come, so the columns have fixed widths.
pub fn begin(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{:>8}  {:>8}  {:<15}  {:<19}  says", "byte", "length", "way", "type")
}

pub fn row(item: &Item<'_>, out: &mut dyn Write) -> io::Result<()> {
    match item {
        Item::Frame(frame) => {
            let way = match way(frame) {
                Way::ToAgent => "proxy -> agent",
                Way::ToProxy => "agent -> proxy",
                Way::Either => "either",
            };
            let length = frame.payload.len().saturating_add(1);
            let kind = frame.kind.to_string();
            writeln!(out, "{:>8}  {length:>8}  {way:<15}  {kind:<19}  {}", frame.offset, summary(frame))
        }
        Item::End(damage) => writeln!(out, "{:>8}  {:>8}  {:<15}  {damage}", damage.offset, "", "!"),
    }
}

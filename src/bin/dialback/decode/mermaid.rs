//! Frames as a Mermaid sequence diagram.

use std::io::{self, Write};

use super::reading::Item;
use super::summary::{Way, summary, way};

/// Longest label, in characters: a diagram is looked at as a whole.
const LONGEST: usize = 60;

pub fn begin(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"sequenceDiagram\n    participant A as agent\n    participant P as proxy\n")
}

pub fn row(item: &Item<'_>, out: &mut dyn Write) -> io::Result<()> {
    match item {
        Item::Frame(frame) => {
            let label = label(&format!("{}: {}", frame.kind, summary(frame)));
            match way(frame) {
                Way::ToAgent => writeln!(out, "    P->>A: {label}"),
                Way::ToProxy => writeln!(out, "    A->>P: {label}"),
                Way::Either => writeln!(out, "    Note over A,P: {label}"),
            }
        }
        Item::End(damage) => writeln!(out, "    Note over A,P: {}", label(&damage.to_string())),
    }
}

/// The text in a form that ends no statement and begins no entity or tag.
fn label(text: &str) -> String {
    let mut out = String::new();
    for (count, letter) in text.chars().enumerate() {
        if count >= LONGEST {
            out.push_str("...");
            break;
        }
        match letter {
            ';' | '#' | '<' | '>' | '"' | '%' | '{' | '}' => {
                out.push('#');
                out.push_str(&u32::from(letter).to_string());
                out.push(';');
            }
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}

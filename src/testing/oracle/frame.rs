//! Bytes as the oracle sees them: cut into frames the naive way, whole and by the book.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde_json::Value;

use super::{Property, Violated};

/// A frame, taken apart.
#[derive(Clone, Debug)]
pub(in crate::testing) struct Seen {
    pub(in crate::testing) kind: u8,
    pub(in crate::testing) payload: Vec<u8>,
}

impl Seen {
    pub(super) fn json(&self) -> Result<Value, Violated> {
        serde_json::from_slice(&self.payload).map_err(|error| Violated {
            property: Property::P10,
            detail: format!("a frame of type 0x{:02x} is no JSON: {error}", self.kind),
        })
    }
}

/// Splits one place's bytes into frames.
#[derive(Clone, Debug, Default)]
pub(in crate::testing) struct Tap(Vec<u8>);

impl Tap {
    /// Whether the bytes so far end where a frame ends.
    pub(in crate::testing) const fn is_at_edge(&self) -> bool {
        self.0.is_empty()
    }

    pub(in crate::testing) fn push(&mut self, bytes: &[u8]) -> Vec<Seen> {
        self.0.extend_from_slice(bytes);
        let mut seen = Vec::new();
        while let Some(header) = self.0.first_chunk::<4>() {
            let length = u32::from_be_bytes(*header) as usize;
            if length == 0 || self.0.len() < length.saturating_add(4) {
                break;
            }
            let rest = self.0.split_off(length.saturating_add(4));
            let frame = core::mem::replace(&mut self.0, rest);
            seen.push(Seen {
                kind: frame.get(4).copied().unwrap_or(0),
                payload: frame.get(5..).unwrap_or_default().to_vec(),
            });
        }
        seen
    }
}

/// The ids that an answer names.
pub(super) struct Named {
    pub(super) id: Option<String>,
    pub(super) exchange: Option<u64>,
}

impl Named {
    pub(super) fn of(answer: &Value) -> Self {
        let custom = answer.get("audit").and_then(|audit| audit.get("custom"));
        let field = |name: &str| custom.and_then(|custom| custom.get(name));
        Self {
            id: field("correlation_id").and_then(Value::as_str).map(String::from),
            exchange: field("exchange_id").and_then(Value::as_u64),
        }
    }
}

/// The number that an answer of the simulation repeats; none if nobody looked at the event.
pub(in crate::testing) fn answer_tag(answer: &Value) -> Option<u32> {
    let codes = answer.get("audit")?.get("reason_codes")?.as_array()?;
    codes.iter().filter_map(Value::as_str).find_map(|code| code.strip_prefix("tag-")?.parse().ok())
}

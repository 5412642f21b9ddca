//! Which headers an agent may change.

use std::collections::BTreeSet;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::wire::HeaderOp;

/// Headers that an agent may not touch, in whatever it answers.
///
/// By default those are the ones that frame a message or belong to one hop, and the one that says whom
/// a request is for: `connection`, `content-length`, `host`, `keep-alive`, `proxy-authenticate`,
/// `proxy-authorization`, `proxy-connection`, `te`, `trailer`, `transfer-encoding`, `upgrade`. An agent
/// that set them could split a response or send a request elsewhere.
///
/// A change that the guard refuses, and one whose name or value is none in HTTP, is left out, logged and
/// counted in [`Summary::refused_changes`](super::Summary::refused_changes); the answer's others are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// By their lower-case names.
    forbidden: BTreeSet<String>,
}

impl Default for Guard {
    fn default() -> Self {
        let names = [
            header::CONNECTION.as_str(),
            header::CONTENT_LENGTH.as_str(),
            header::HOST.as_str(),
            "keep-alive",
            header::PROXY_AUTHENTICATE.as_str(),
            header::PROXY_AUTHORIZATION.as_str(),
            "proxy-connection",
            header::TE.as_str(),
            header::TRAILER.as_str(),
            header::TRANSFER_ENCODING.as_str(),
            header::UPGRADE.as_str(),
        ];
        Self { forbidden: names.into_iter().map(str::to_string).collect() }
    }
}

impl Guard {
    /// Forbids one more.
    #[must_use]
    pub fn forbid(mut self, name: &HeaderName) -> Self {
        self.forbidden.insert(name.as_str().into());
        self
    }

    /// Allows one, be it forbidden by default.
    #[must_use]
    pub fn permit(mut self, name: &HeaderName) -> Self {
        self.forbidden.remove(name.as_str());
        self
    }

    /// Whether an agent may change this header.
    #[must_use]
    pub fn permits(&self, name: &HeaderName) -> bool {
        !self.forbidden.contains(name.as_str())
    }

    /// Makes the changes, in their order. Returns how many were refused.
    ///
    /// A value's text becomes its bytes in UTF-8.
    pub fn apply(&self, ops: &[HeaderOp], headers: &mut HeaderMap) -> usize {
        ops.iter().filter(|op| self.apply_one(op, headers).is_none()).count()
    }

    fn apply_one(&self, op: &HeaderOp, headers: &mut HeaderMap) -> Option<()> {
        match op {
            HeaderOp::Set { name, value } => {
                let (name, value) = (self.name(name)?, self.value(name, value)?);
                headers.try_insert(name, value).ok()?;
            }
            HeaderOp::Add { name, value } => {
                let (name, value) = (self.name(name)?, self.value(name, value)?);
                headers.try_append(name, value).ok()?;
            }
            HeaderOp::Remove { name } => {
                headers.remove(self.name(name)?);
            }
        }
        Some(())
    }

    fn name(&self, text: &str) -> Option<HeaderName> {
        let name = HeaderName::from_bytes(text.as_bytes()).ok().filter(|name| self.permits(name));
        if name.is_none() {
            tracing::warn!(header = ?clip(text), "the agent may not change this header; it is left as it is");
        }
        name
    }

    fn value(&self, name: &str, text: &str) -> Option<HeaderValue> {
        let value = HeaderValue::from_bytes(text.as_bytes()).ok();
        if value.is_none() {
            tracing::warn!(header = ?clip(name), "the agent's value is none that HTTP has; it is left out");
        }
        value
    }
}

/// The beginning of an agent's word, short enough for a log.
pub(super) fn clip(text: &str) -> &str {
    text.get(..64)
        .or_else(|| text.char_indices().nth(21).and_then(|(end, _)| text.get(..end)))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_made_in_their_order() {
        let mut headers = HeaderMap::new();
        headers.insert("gone", HeaderValue::from_static("1"));
        let ops = [
            HeaderOp::add("x", "1"),
            HeaderOp::add("X", "2"),
            HeaderOp::set("y", "1"),
            HeaderOp::set("y", "grün"),
            HeaderOp::remove("Gone"),
            HeaderOp::remove("never-there"),
        ];
        assert_eq!(Guard::default().apply(&ops, &mut headers), 0);
        let x: Vec<_> = headers.get_all("x").iter().collect();
        assert_eq!(x, ["1", "2"]);
        assert_eq!(headers["y"].as_bytes(), "grün".as_bytes());
        assert!(!headers.contains_key("gone"));
    }

    #[test]
    fn what_frames_a_message_is_left_alone() {
        let mut headers = HeaderMap::new();
        headers.insert("content-length", HeaderValue::from_static("7"));
        let before = headers.clone();
        let ops = [
            HeaderOp::set("Content-Length", "0"),
            HeaderOp::add("transfer-encoding", "chunked"),
            HeaderOp::remove("content-length"),
            HeaderOp::set("HOST", "evil"),
            HeaderOp::set(":authority", "evil"),
            HeaderOp::set("a b", "1"),
            HeaderOp::set("", "1"),
            HeaderOp::set("x", "1\r\nset-cookie: a"),
        ];
        assert_eq!(Guard::default().apply(&ops, &mut headers), ops.len());
        assert_eq!(headers, before);
    }

    #[test]
    fn the_list_can_be_changed() {
        let guard = Guard::default().permit(&header::HOST).forbid(&header::COOKIE);
        let mut headers = HeaderMap::new();
        assert_eq!(guard.apply(&[HeaderOp::set("host", "b"), HeaderOp::set("Cookie", "c")], &mut headers), 1);
        assert_eq!((&headers["host"], headers.len()), (&HeaderValue::from_static("b"), 1));
    }

    #[test]
    fn words_for_the_log_are_short() {
        assert_eq!(clip("short"), "short");
        assert_eq!(clip(&"x".repeat(100)).len(), 64);
        assert!(clip(&"€".repeat(100)).len() <= 64);
    }
}

//! The answer: what an agent says about one event.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::audit::Audit;
use super::body::Body;
use super::decision::{Decision, HeaderOp, WebSocketDecision};
use super::lenient::null_default;

/// The version of the protocol that this crate speaks.
pub const PROTOCOL_VERSION: u32 = 2;

/// An agent's answer to one event.
///
/// As little as `{"version":2,"decision":"allow"}` can be read. A decision must be there: nothing is
/// allowed by leaving it out (W-ANSWER-1).
///
/// ```
/// use dialback::wire::{Answer, Block, HeaderOp};
///
/// let passes = Answer::allow().with_request_header(HeaderOp::set("x-user", "jane")).with_tag("vip");
/// assert!(passes.is_allow());
/// let stopped: Answer = Block::new(403).body("not here").into();
/// assert!(!stopped.with_rule("942100").is_allow());
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Answer {
    /// The protocol version, 2.
    #[serde(default = "protocol_version")]
    pub version: u32,
    /// What becomes of the request or response.
    pub decision: Decision,
    /// Changes to the request's headers.
    #[serde(default, deserialize_with = "null_default")]
    pub request_headers: Vec<HeaderOp>,
    /// Changes to the response's headers.
    #[serde(default, deserialize_with = "null_default")]
    pub response_headers: Vec<HeaderOp>,
    /// Changes to what the router knows.
    #[serde(default, deserialize_with = "null_default")]
    pub routing_metadata: BTreeMap<String, String>,
    /// Notes for logs and metrics. The ids of the answer travel here.
    #[serde(default, deserialize_with = "null_default")]
    pub audit: Audit,
    /// Whether the decision is provisional and the agent wants to see more of the body.
    #[serde(default)]
    pub needs_more: bool,
    /// A change to the piece of the request's body that was asked about.
    #[serde(default)]
    pub request_body_mutation: Option<BodyMutation>,
    /// A change to the piece of the response's body that was asked about.
    #[serde(default)]
    pub response_body_mutation: Option<BodyMutation>,
    /// What becomes of the WebSocket frame that was asked about; none means that it is passed on.
    #[serde(default)]
    pub websocket_decision: Option<WebSocketDecision>,
}

fn protocol_version() -> u32 {
    PROTOCOL_VERSION
}

impl Default for Answer {
    fn default() -> Self {
        Self::allow()
    }
}

impl Answer {
    /// It goes on, unchanged.
    #[must_use]
    pub fn allow() -> Self {
        Self::new(Decision::Allow)
    }

    /// It ends with that status and no body.
    #[must_use]
    pub fn block(status: u16) -> Self {
        Self::new(Decision::Block { status, body: None, headers: None })
    }

    /// The client is sent to `url`, with status 301, 302, 303, 307 or 308.
    #[must_use]
    pub fn redirect(url: impl Into<String>, status: u16) -> Self {
        Self::new(Decision::Redirect { url: url.into(), status })
    }

    /// The client has to prove something first.
    #[must_use]
    pub fn challenge(challenge_type: impl Into<String>, params: BTreeMap<String, String>) -> Self {
        Self::new(Decision::Challenge { challenge_type: challenge_type.into(), params })
    }

    /// It goes on for now; the agent wants to see more of the body.
    #[must_use]
    pub fn needs_more() -> Self {
        Self { needs_more: true, ..Self::allow() }
    }

    /// An answer that only decides.
    #[must_use]
    pub fn new(decision: Decision) -> Self {
        Self {
            version: PROTOCOL_VERSION,
            decision,
            request_headers: Vec::new(),
            response_headers: Vec::new(),
            routing_metadata: BTreeMap::new(),
            audit: Audit::default(),
            needs_more: false,
            request_body_mutation: None,
            response_body_mutation: None,
            websocket_decision: None,
        }
    }

    /// Whether the decision is [`Decision::Allow`].
    #[must_use]
    pub fn is_allow(&self) -> bool {
        self.decision == Decision::Allow
    }

    /// Sets the body the client gets with a block. Does nothing to another decision.
    #[must_use]
    pub fn with_body(mut self, text: impl Into<String>) -> Self {
        if let Decision::Block { body, .. } = &mut self.decision {
            *body = Some(text.into());
        }
        self
    }

    /// Adds a change to the request's headers.
    #[must_use]
    pub fn with_request_header(mut self, op: HeaderOp) -> Self {
        self.request_headers.push(op);
        self
    }

    /// Adds a change to the response's headers.
    #[must_use]
    pub fn with_response_header(mut self, op: HeaderOp) -> Self {
        self.response_headers.push(op);
        self
    }

    /// Changes the piece of the request's body that was asked about.
    #[must_use]
    pub fn with_request_body(mut self, mutation: BodyMutation) -> Self {
        self.request_body_mutation = Some(mutation);
        self
    }

    /// Changes the piece of the response's body that was asked about.
    #[must_use]
    pub fn with_response_body(mut self, mutation: BodyMutation) -> Self {
        self.response_body_mutation = Some(mutation);
        self
    }

    /// Adds a tag to the audit notes.
    #[must_use]
    pub fn with_tag(mut self, tag: impl Into<String>) -> Self {
        self.audit.tags.push(tag.into());
        self
    }

    /// Adds a rule that matched to the audit notes.
    #[must_use]
    pub fn with_rule(mut self, id: impl Into<String>) -> Self {
        self.audit.rule_ids.push(id.into());
        self
    }

    /// Says in the audit notes how sure the agent is, from 0.0 to 1.0. What lies outside is moved to
    /// the nearer end, and what is no number is left out.
    #[must_use]
    pub fn with_confidence(mut self, confidence: f32) -> Self {
        self.audit.confidence = (!confidence.is_nan()).then(|| confidence.clamp(0.0, 1.0));
        self
    }

    /// Tells the router something.
    #[must_use]
    pub fn with_routing(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.routing_metadata.insert(key.into(), value.into());
        self
    }

    /// Adds a reason code to the audit notes.
    #[must_use]
    pub fn with_reason_code(mut self, code: impl Into<String>) -> Self {
        self.audit.reason_codes.push(code.into());
        self
    }

    /// Decides about the WebSocket frame that was asked about.
    #[must_use]
    pub fn with_websocket(mut self, decision: WebSocketDecision) -> Self {
        self.websocket_decision = Some(decision);
        self
    }
}

/// A change to one piece of a body.
///
/// ```
/// use dialback::wire::{Answer, BodyMutation, RequestBodyChunk};
///
/// fn without_secrets(chunk: &RequestBodyChunk) -> Answer {
///     let text = String::from_utf8_lossy(&chunk.data).replace("secret", "******");
///     Answer::allow().with_request_body(BodyMutation::replace(chunk.chunk_index, text.as_str()))
/// }
/// # without_secrets(&RequestBodyChunk::new("request-1", "a secret"));
/// ```
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct BodyMutation {
    /// The new bytes: none leaves the piece as it is, empty ones drop it (W-MUT-1).
    #[serde(default)]
    pub data: Option<Body>,
    /// Which piece, counted from 0 as in the event.
    #[serde(default)]
    pub chunk_index: u32,
}

impl BodyMutation {
    /// The piece stays as it is.
    #[must_use]
    pub const fn unchanged(chunk_index: u32) -> Self {
        Self { data: None, chunk_index }
    }

    /// The piece is dropped.
    #[must_use]
    pub fn drop_chunk(chunk_index: u32) -> Self {
        Self::replace(chunk_index, Body::default())
    }

    /// The piece becomes these bytes. Empty ones drop it.
    #[must_use]
    pub fn replace(chunk_index: u32, data: impl Into<Body>) -> Self {
        Self { data: Some(data.into()), chunk_index }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Encoding;

    fn json(answer: &Answer) -> String {
        serde_json::to_string(answer).unwrap()
    }

    #[test]
    // Rule: W-ANSWER-1.
    fn the_least_answer_can_be_read() {
        let least = br#"{"version":2,"decision":"allow"}"#;
        assert_eq!(Encoding::Json.decode(least), Ok(Answer::allow()));
    }

    #[test]
    fn an_answer_without_a_decision_is_an_error() {
        assert!(Encoding::Json.decode::<Answer>(br#"{"version":2}"#).is_err());
        assert!(Encoding::Json.decode::<Answer>(br#"{"decision":null}"#).is_err());
    }

    #[test]
    fn a_body_belongs_to_a_block_only() {
        let block = Answer::block(403).with_body("no");
        assert!(json(&block).contains(r#""decision":{"block":{"status":403,"body":"no","headers":null}}"#));
        assert_eq!(Answer::allow().with_body("no"), Answer::allow());
    }

    #[test]
    fn builders_fill_their_fields() {
        let answer = Answer::needs_more()
            .with_request_header(HeaderOp::set("a", "1"))
            .with_response_header(HeaderOp::remove("b"))
            .with_request_body(BodyMutation::drop_chunk(2))
            .with_response_body(BodyMutation::unchanged(3))
            .with_tag("t")
            .with_reason_code("r")
            .with_websocket(WebSocketDecision::Drop);
        assert_eq!(
            json(&answer),
            r#"{"version":2,"decision":"allow","request_headers":[{"set":{"name":"a","value":"1"}}],"response_headers":[{"remove":{"name":"b"}}],"routing_metadata":{},"audit":{"tags":["t"],"rule_ids":[],"confidence":null,"reason_codes":["r"],"custom":{}},"needs_more":true,"request_body_mutation":{"data":"","chunk_index":2},"response_body_mutation":{"data":null,"chunk_index":3},"websocket_decision":"drop"}"#
        );
        assert!(answer.is_allow() && !Answer::redirect("/", 302).is_allow());
        let challenge = Answer::challenge("captcha", BTreeMap::new());
        assert!(json(&challenge).contains(r#"{"challenge":{"challenge_type":"captcha","params":{}}}"#));
    }

    #[test]
    fn notes_and_routing_fill_their_fields() {
        let answer = Answer::allow().with_rule("942100").with_confidence(7.0).with_routing("pool", "canary");
        assert_eq!(
            (&answer.audit.rule_ids[..], answer.audit.confidence),
            (&["942100".into()][..], Some(1.0))
        );
        assert_eq!(answer.routing_metadata["pool"], "canary");
        assert_eq!(Answer::allow().with_confidence(f32::NAN), Answer::allow());
        assert_eq!(Answer::allow().with_confidence(f32::NEG_INFINITY).audit.confidence, Some(0.0));
    }

    #[test]
    // Rule: W-MUT-1.
    fn the_three_mutations_differ_on_the_wire() {
        let data = |mutation: BodyMutation| serde_json::to_value(mutation).unwrap()["data"].clone();
        assert!(data(BodyMutation::unchanged(0)).is_null());
        assert_eq!(data(BodyMutation::drop_chunk(0)), "");
        assert_eq!(data(BodyMutation::replace(0, "hi")), "aGk=");
        let least: BodyMutation = Encoding::Json.decode(b"{}").unwrap();
        assert_eq!(least, BodyMutation::unchanged(0));
    }

    #[test]
    fn bad_base64_in_a_mutation_is_an_error() {
        let bad = br#"{"decision":"allow","request_body_mutation":{"data":"raw text"}}"#;
        assert!(Encoding::Json.decode::<Answer>(bad).is_err());
    }

    #[test]
    // Rule: W-ANSWER-1.
    fn an_answer_that_states_no_version_is_of_this_one() {
        let read = Encoding::Json.decode::<Answer>(br#"{"decision":"allow"}"#);
        assert_eq!(read, Ok(Answer::allow()));
        assert_eq!(Answer::default(), Answer::allow());
        let redirect = Answer::redirect("/login", 302);
        assert!(json(&redirect).contains(r#""decision":{"redirect":{"url":"/login","status":302}}"#));
    }
}

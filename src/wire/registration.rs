//! The reverse handshake: an agent registers, the proxy accepts or refuses.

use core::num::NonZeroU32;

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::answer::PROTOCOL_VERSION;
use super::encoding::Encoding;
use super::event::EventKind;
use super::lenient::null_default;
use super::token::Token;

/// Agent to proxy, the first frame: who the agent is and what it can do (H-REG-1). Always JSON.
///
/// ```
/// use dialback::wire::{Capabilities, EventKind, Registration};
///
/// let mut capabilities = Capabilities::new("waf", [EventKind::RequestHeaders, EventKind::RequestBodyChunk]);
/// capabilities.limits.max_concurrency = 64;
/// capabilities.features.cancellation = true;
/// let registration = Registration { auth_token: Some("secret".into()), ..Registration::new(capabilities) };
/// assert!(!format!("{registration:?}").contains("secret"));
/// ```
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Registration {
    /// The protocol version, 2.
    pub protocol_version: u32,
    /// The agent's name for itself. Any text may come; judging it is not the codec's task.
    pub agent_id: String,
    /// What the agent can do. Fields of it that are missing have their defaults.
    pub capabilities: Capabilities,
    /// The secret, if the agent has one.
    #[serde(default)]
    pub auth_token: Option<Token>,
    /// Anything else the agent tells.
    #[serde(default)]
    pub metadata: Option<Value>,
    /// The encodings that the agent can speak beside JSON, the best first. An extension: not written
    /// when empty, ignored by deployed proxies. Names that are not known are skipped.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "known_encodings")]
    pub supported_encodings: Vec<Encoding>,
}

impl Registration {
    /// A registration under the agent id of the capabilities, without a secret.
    #[must_use]
    pub fn new(capabilities: Capabilities) -> Self {
        Self {
            protocol_version: PROTOCOL_VERSION,
            agent_id: capabilities.agent_id.clone(),
            capabilities,
            auth_token: None,
            metadata: None,
            supported_encodings: Vec::new(),
        }
    }
}

/// What an agent can do (H-REG-2).
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(default)]
pub struct Capabilities {
    /// The agent's id.
    #[serde(deserialize_with = "null_default")]
    pub agent_id: String,
    /// A name for people.
    #[serde(deserialize_with = "null_default")]
    pub name: String,
    /// The agent's own version.
    #[serde(deserialize_with = "null_default")]
    pub version: String,
    /// The numbers of the events it wants, see [`EventKind::number`]. Unknown ones are kept here and
    /// skipped by [`Capabilities::events`].
    #[serde(deserialize_with = "event_numbers")]
    pub supported_events: Vec<i32>,
    /// What it can do.
    #[serde(deserialize_with = "null_default")]
    pub features: Features,
    /// How much it can take.
    #[serde(deserialize_with = "null_default")]
    pub limits: Limits,
}

impl Capabilities {
    /// An agent that wants these events. Its name is its id; nothing else is stated.
    #[must_use]
    pub fn new(agent_id: impl Into<String>, events: impl IntoIterator<Item = EventKind>) -> Self {
        let agent_id = agent_id.into();
        Self {
            name: agent_id.clone(),
            agent_id,
            supported_events: events.into_iter().map(EventKind::number).collect(),
            ..Self::default()
        }
    }

    /// The events that the agent wants, in the order it stated them. Numbers of no event are skipped.
    pub fn events(&self) -> impl Iterator<Item = EventKind> + '_ {
        self.supported_events.iter().filter_map(|number| EventKind::from_number(*number))
    }

    /// Whether the agent wants events of this kind.
    #[must_use]
    pub fn supports(&self, kind: EventKind) -> bool {
        self.events().any(|wanted| wanted == kind)
    }

    /// How many events the agent takes at once: the smaller of the two numbers that it states, where
    /// 0 means that it states none (H-LIMIT-1).
    #[must_use]
    pub fn concurrency(&self) -> Option<NonZeroU32> {
        let stated = [self.limits.max_concurrency, self.features.concurrent_requests];
        stated.into_iter().filter_map(NonZeroU32::new).min()
    }
}

/// What an agent can do, feature by feature.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(default)]
pub struct Features {
    /// Takes bodies in pieces.
    pub streaming_body: bool,
    /// Takes WebSocket frames.
    pub websocket: bool,
    /// Inspects content.
    pub guardrails: bool,
    /// Takes its configuration from the proxy.
    pub config_push: bool,
    /// Reports metrics.
    pub metrics_export: bool,
    /// How many requests it works on at once; 0 is not stated.
    pub concurrent_requests: u32,
    /// Heeds cancels.
    pub cancellation: bool,
    /// Sends pause and resume.
    pub flow_control: bool,
    /// Reports its health.
    pub health_reporting: bool,
    /// Echoes exchange ids, so that answers are matched exactly. An extension: not written when
    /// false, ignored by deployed proxies.
    #[serde(skip_serializing_if = "is_false")]
    pub exchange_ids: bool,
}

/// How much an agent can take.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(default)]
pub struct Limits {
    /// The largest body, in bytes; 0 is not stated.
    pub max_body_size: u64,
    /// How many events at once; 0 is not stated.
    pub max_concurrency: u32,
    /// The size of a body piece it likes best, in bytes; 0 is not stated.
    pub preferred_chunk_size: u64,
}

/// Proxy to agent: accepted or refused (H-REFUSE-1). Always JSON.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct RegistrationResponse {
    /// Whether the agent is registered now.
    pub success: bool,
    /// Why not.
    #[serde(default)]
    pub error: Option<String>,
    /// The proxy.
    #[serde(default, deserialize_with = "null_default")]
    pub proxy_id: String,
    /// The proxy's version.
    #[serde(default, deserialize_with = "null_default")]
    pub proxy_version: String,
    /// The proxy's name for this connection. Empty in a refusal.
    #[serde(default, deserialize_with = "null_default")]
    pub connection_id: String,
    /// When to try again, in milliseconds from now (H-REFUSE-2). An extension: not written when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The encoding from now on; none is JSON. An extension: not written when absent, and only to be
    /// sent to an agent that offered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Numbers of any size; those that do not fit are of no event.
fn event_numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i32>, D::Error> {
    let numbers: Vec<i64> = null_default(deserializer)?;
    Ok(numbers.into_iter().filter_map(|number| i32::try_from(number).ok()).collect())
}

/// Names of encodings; those that are not known are skipped.
pub(crate) fn known_encodings<'de, D>(deserializer: D) -> Result<Vec<Encoding>, D::Error>
where
    D: Deserializer<'de>,
{
    let names: Vec<String> = null_default(deserializer)?;
    Ok(names.iter().filter_map(|name| Encoding::from_name(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec;

    fn read<'de, T: Deserialize<'de>>(json: &'de str) -> T {
        Encoding::Json.decode(json.as_bytes()).unwrap()
    }

    #[test]
    // Rule: H-REG-2.
    fn missing_capabilities_have_defaults() {
        let registration: Registration = read(
            r#"{"protocol_version":2,"agent_id":"a","capabilities":{"features":{"websocket":true},"limits":null}}"#,
        );
        assert!(registration.capabilities.features.websocket);
        assert_eq!(registration.capabilities.limits, Limits::default());
        assert_eq!(registration.auth_token, None);
    }

    #[test]
    fn who_and_which_version_may_not_be_missing() {
        for bad in [
            r#"{"agent_id":"a","capabilities":{}}"#,
            r#"{"protocol_version":2,"capabilities":{}}"#,
            r#"{"protocol_version":2,"agent_id":"a"}"#,
            r#"{"protocol_version":2,"agent_id":7,"capabilities":{}}"#,
            "[]",
        ] {
            assert!(Encoding::Json.decode::<Registration>(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn unknown_event_numbers_are_skipped() {
        let capabilities: Capabilities = read(r#"{"supported_events":[2,99,0,-1,9999999999,1]}"#);
        let events: Vec<_> = capabilities.events().collect();
        use EventKind::{Configure, RequestBodyChunk, RequestHeaders};
        assert_eq!(events, [RequestBodyChunk, Configure, RequestHeaders]);
        assert!(capabilities.supports(Configure));
        assert!(!capabilities.supports(EventKind::WebSocketFrame));
    }

    #[test]
    // Rule: H-LIMIT-1.
    fn the_smaller_stated_concurrency_counts() {
        let stated = |limit, feature| {
            let mut capabilities = Capabilities::new("a", []);
            capabilities.limits.max_concurrency = limit;
            capabilities.features.concurrent_requests = feature;
            capabilities.concurrency().map(NonZeroU32::get)
        };
        assert_eq!(stated(0, 0), None);
        assert_eq!(stated(3, 0), Some(3));
        assert_eq!(stated(0, 4), Some(4));
        assert_eq!(stated(3, 4), Some(3));
        assert_eq!(stated(5, 4), Some(4));
    }

    #[test]
    fn extensions_are_written_only_when_used() {
        let mut registration = Registration::new(Capabilities::new("a", EventKind::ALL));
        let plain = serde_json::to_string(&registration).unwrap();
        assert!(!plain.contains("exchange_ids") && !plain.contains("supported_encodings"));
        registration.capabilities.features.exchange_ids = true;
        registration.supported_encodings = vec![Encoding::MessagePack];
        let extended = serde_json::to_string(&registration).unwrap();
        assert!(extended.contains(r#""exchange_ids":true"#));
        assert!(extended.contains(r#""supported_encodings":["msgpack"]"#));
        assert_eq!(read::<Registration>(&extended), registration);
        let response = RegistrationResponse::default();
        let plain = serde_json::to_string(&response).unwrap();
        assert!(!plain.contains("retry_after_ms") && !plain.contains("encoding"));
    }

    #[test]
    fn unknown_encodings_are_skipped() {
        let registration: Registration = read(
            r#"{"protocol_version":2,"agent_id":"a","capabilities":{},"supported_encodings":["cbor","msgpack","json"]}"#,
        );
        assert_eq!(registration.supported_encodings, [Encoding::MessagePack, Encoding::Json]);
    }

    #[test]
    fn the_secret_is_not_printed() {
        let mut registration = Registration::new(Capabilities::new("a", []));
        registration.auth_token = Some(Token::from("s3cret"));
        assert!(!format!("{registration:?}").contains("s3cret"));
    }

    #[test]
    fn a_bare_response_can_be_read() {
        let response: RegistrationResponse = read(r#"{"success":true}"#);
        assert!(response.success && response.encoding.is_none());
        assert!(Encoding::Json.decode::<RegistrationResponse>(b"{}").is_err());
    }

    #[test]
    // Rule: H-LIMIT-1.
    fn the_smaller_of_the_stated_limits_counts_and_zero_states_none() {
        let stated = |max_concurrency, concurrent_requests| {
            let mut capabilities = Capabilities::new("a", []);
            capabilities.limits.max_concurrency = max_concurrency;
            capabilities.features.concurrent_requests = concurrent_requests;
            capabilities.concurrency().map(NonZeroU32::get)
        };
        let seen = [stated(0, 0), stated(5, 0), stated(0, 6), stated(5, 6), stated(7, 6)];
        assert_eq!(seen, [None, Some(5), Some(6), Some(5), Some(6)]);
    }

    #[test]
    // Rule: W-EVENT-1, W-EVENT-2.
    fn the_events_are_those_of_the_numbers_that_are_known() {
        let mut capabilities = Capabilities::new("a", [EventKind::RequestHeaders]);
        capabilities.supported_events.extend([99, -1, 7, 0]);
        let kinds = [EventKind::RequestHeaders, EventKind::GuardrailInspect, EventKind::Configure];
        assert!(capabilities.events().eq(kinds));
        for kind in EventKind::ALL {
            assert_eq!(capabilities.supports(kind), kinds.contains(&kind), "{kind}");
        }
    }
}

//! The forward handshake: the proxy dials and offers, the agent answers and chooses.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::PROTOCOL_VERSION;
use super::encoding::Encoding;
use super::lenient::null_default;
use super::registration::{Capabilities, known_encodings};

/// Proxy to agent, the first frame: which versions and encodings the proxy can speak (H-FWD-1). Always JSON.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct ForwardRequest {
    /// The protocol versions, in no order.
    pub supported_versions: Vec<u32>,
    /// The proxy.
    #[serde(default, deserialize_with = "null_default")]
    pub proxy_id: String,
    /// The proxy's version.
    #[serde(default, deserialize_with = "null_default")]
    pub proxy_version: String,
    /// The agent's configuration, of any shape.
    #[serde(default)]
    pub config: Option<Value>,
    /// The encodings that the proxy can speak, the best first. Names that are not known are skipped.
    #[serde(default, deserialize_with = "known_encodings")]
    pub supported_encodings: Vec<Encoding>,
}

impl ForwardRequest {
    /// A request that offers this crate's version, and JSON.
    #[must_use]
    pub fn new(proxy_id: impl Into<String>, proxy_version: impl Into<String>) -> Self {
        Self {
            supported_versions: Vec::from([PROTOCOL_VERSION]),
            proxy_id: proxy_id.into(),
            proxy_version: proxy_version.into(),
            config: None,
            supported_encodings: Vec::from([Encoding::Json]),
        }
    }
}

/// Agent to proxy: what the agent can do, and what it chose. Always JSON.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct ForwardResponse {
    /// The protocol version that the agent chose.
    #[serde(default)]
    pub protocol_version: u32,
    /// What the agent can do.
    #[serde(default, deserialize_with = "null_default")]
    pub capabilities: Capabilities,
    /// Whether the agent goes on.
    pub success: bool,
    /// Why not.
    #[serde(default)]
    pub error: Option<String>,
    /// The encoding from now on, one of those offered. A missing one is JSON.
    #[serde(default, deserialize_with = "null_default")]
    pub encoding: Encoding,
}

impl ForwardResponse {
    /// The agent goes on, with this crate's version.
    #[must_use]
    pub fn accept(capabilities: Capabilities, encoding: Encoding) -> Self {
        Self { protocol_version: PROTOCOL_VERSION, capabilities, success: true, error: None, encoding }
    }

    /// The agent does not go on.
    #[must_use]
    pub fn refuse(capabilities: Capabilities, error: impl Into<String>) -> Self {
        Self {
            protocol_version: PROTOCOL_VERSION,
            capabilities,
            success: false,
            error: Some(error.into()),
            encoding: Encoding::Json,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_encodings_are_skipped_and_missing_fields_defaulted() {
        let request: ForwardRequest = Encoding::Json
            .decode(br#"{"supported_versions":[2,3],"supported_encodings":["zip","msgpack"]}"#)
            .unwrap();
        assert_eq!(request.supported_encodings, [Encoding::MessagePack]);
        assert_eq!(request.config, None);
        assert!(Encoding::Json.decode::<ForwardRequest>(b"{}").is_err());
    }

    #[test]
    fn a_response_without_an_encoding_is_json() {
        let response: ForwardResponse =
            Encoding::Json.decode(br#"{"protocol_version":2,"success":true}"#).unwrap();
        assert_eq!(response.encoding, Encoding::Json);
        let unknown = br#"{"protocol_version":2,"success":true,"encoding":"zip"}"#;
        assert!(Encoding::Json.decode::<ForwardResponse>(unknown).is_err());
    }

    #[test]
    // Rule: H-FWD-1.
    fn accepting_and_refusing() {
        let capabilities = Capabilities::new("a", []);
        let accepted = ForwardResponse::accept(capabilities.clone(), Encoding::MessagePack);
        assert!(accepted.success && accepted.encoding == Encoding::MessagePack);
        let refused = ForwardResponse::refuse(capabilities, "no");
        assert_eq!((refused.success, refused.error.as_deref()), (false, Some("no")));
        assert_eq!(ForwardRequest::new("p", "1").supported_versions, [2]);
    }
}

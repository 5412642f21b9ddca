//! The events beside plain HTTP: WebSocket frames, guardrail inspections, configuration.

use core::fmt;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::body::Body;
use super::correlation::CorrelationId;
use super::lenient::null_default;

/// One WebSocket frame of an upgraded request.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct WebSocketFrame {
    /// The client's address.
    #[serde(default, deserialize_with = "null_default")]
    pub client_ip: String,
    /// Whether the client sent it; else the server did.
    #[serde(default)]
    pub client_to_server: bool,
    /// The request that was upgraded.
    pub correlation_id: CorrelationId,
    /// The payload, unmasked.
    pub data: Body,
    /// Whether the frame ends its message. A missing one reads as yes.
    #[serde(default = "yes")]
    pub fin: bool,
    /// The position of the frame in its direction, from 0.
    #[serde(default)]
    pub frame_index: u64,
    /// What the frame is.
    pub opcode: WebSocketOpcode,
    /// The route that matched.
    #[serde(default)]
    pub route_id: Option<String>,
}

fn yes() -> bool {
    true
}

impl WebSocketFrame {
    /// A final frame from the client, at position 0.
    #[must_use]
    pub fn new(
        correlation_id: impl Into<CorrelationId>,
        opcode: WebSocketOpcode,
        data: impl Into<Body>,
    ) -> Self {
        Self {
            client_to_server: true,
            correlation_id: correlation_id.into(),
            data: data.into(),
            fin: true,
            opcode,
            ..Self::default()
        }
    }
}

/// What a WebSocket frame is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WebSocketOpcode {
    /// Goes on with a message.
    Continuation,
    /// Text, UTF-8.
    #[default]
    Text,
    /// Bytes.
    Binary,
    /// Closes the WebSocket.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
}

impl WebSocketOpcode {
    /// Every opcode.
    pub const ALL: [Self; 6] =
        [Self::Continuation, Self::Text, Self::Binary, Self::Close, Self::Ping, Self::Pong];
}

/// Content to inspect for what a guardrail looks for.
#[derive(Clone, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct GuardrailInspect {
    /// The categories to look for; empty means the agent's own.
    #[serde(default, deserialize_with = "null_default")]
    pub categories: Vec<String>,
    /// The text.
    pub content: String,
    /// The request.
    pub correlation_id: CorrelationId,
    /// What to look for.
    pub inspection_type: InspectionType,
    /// More about the content.
    #[serde(default, deserialize_with = "null_default")]
    pub metadata: BTreeMap<String, String>,
    /// The language model that is asked. Not written when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The route that matched. Not written when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_id: Option<String>,
}

impl GuardrailInspect {
    /// An inspection of that text.
    #[must_use]
    pub fn new(
        correlation_id: impl Into<CorrelationId>,
        inspection_type: InspectionType,
        content: impl Into<String>,
    ) -> Self {
        Self {
            content: content.into(),
            correlation_id: correlation_id.into(),
            inspection_type,
            ..Self::default()
        }
    }
}

impl fmt::Debug for GuardrailInspect {
    // The content is a body, and a private one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { categories, content, correlation_id, inspection_type, metadata, model, route_id } = self;
        f.debug_struct("GuardrailInspect")
            .field("categories", categories)
            .field("content", &format_args!("{} bytes", content.len()))
            .field("correlation_id", correlation_id)
            .field("inspection_type", inspection_type)
            .field("metadata", metadata)
            .field("model", model)
            .field("route_id", route_id)
            .finish()
    }
}

/// What a guardrail looks for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InspectionType {
    /// Instructions smuggled into a prompt.
    #[default]
    PromptInjection,
    /// Personal data.
    PiiDetection,
}

impl InspectionType {
    /// Every type.
    pub const ALL: [Self; 2] = [Self::PromptInjection, Self::PiiDetection];
}

/// The agent's configuration.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(default)]
pub struct Configure {
    /// The configuration, of any shape.
    pub config: Value,
    /// The version of the configuration.
    pub config_version: Option<String>,
    /// The id under which the agent answers. Deployed proxies leave it out at times; it reads as empty.
    #[serde(deserialize_with = "null_default")]
    pub correlation_id: CorrelationId,
}

impl Configure {
    /// A configuration without a version.
    #[must_use]
    pub fn new(correlation_id: impl Into<CorrelationId>, config: Value) -> Self {
        Self { config, config_version: None, correlation_id: correlation_id.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Encoding;
    use alloc::format;
    use alloc::vec;

    fn json<T: Serialize>(message: &T) -> String {
        serde_json::to_string(message).unwrap()
    }

    #[test]
    fn a_websocket_frame_is_written_in_alphabetical_order() {
        let frame = WebSocketFrame::new("c", WebSocketOpcode::Text, "hi");
        let text = r#"{"client_ip":"","client_to_server":true,"correlation_id":"c","data":"aGk=","fin":true,"frame_index":0,"opcode":"text","route_id":null}"#;
        assert_eq!(json(&frame), text);
        assert_eq!(Encoding::Json.decode(text.as_bytes()), Ok(frame));
    }

    #[test]
    fn a_websocket_frame_needs_id_data_and_opcode() {
        let read = |text: &str| Encoding::Json.decode::<WebSocketFrame>(text.as_bytes());
        let least = read(r#"{"correlation_id":"c","data":"","opcode":"pong"}"#).unwrap();
        assert!(least.fin && least.opcode == WebSocketOpcode::Pong);
        assert!(read(r#"{"correlation_id":"c","data":""}"#).is_err());
        assert!(read(r#"{"correlation_id":"c","data":"","opcode":"x"}"#).is_err());
        assert!(read(r#"{"correlation_id":"c","opcode":"text"}"#).is_err());
    }

    #[test]
    fn every_opcode_has_its_word() {
        let words = ["continuation", "text", "binary", "close", "ping", "pong"];
        for (opcode, word) in WebSocketOpcode::ALL.iter().zip(words) {
            assert_eq!(json(opcode), format!("\"{word}\""));
        }
    }

    #[test]
    fn an_inspection_leaves_out_what_it_does_not_know() {
        let event = GuardrailInspect::new("c", InspectionType::PiiDetection, "text");
        let text = r#"{"categories":[],"content":"text","correlation_id":"c","inspection_type":"pii_detection","metadata":{}}"#;
        assert_eq!(json(&event), text);
        let least = r#"{"content":"text","correlation_id":"c","inspection_type":"pii_detection","model":null,"categories":null}"#;
        assert_eq!(Encoding::Json.decode(least.as_bytes()), Ok(event));
    }

    #[test]
    fn an_inspection_does_not_print_its_content() {
        let event = GuardrailInspect::new("c", InspectionType::PromptInjection, "secret");
        let text = format!("{event:?}");
        assert!(!text.contains("secret") && text.contains("6 bytes"), "{text}");
    }

    #[test]
    fn a_configuration_may_have_any_shape_and_no_id() {
        for value in [Value::Null, Value::from(vec![1, 2]), Value::from("x")] {
            let event = Configure::new("c", value);
            let text = json(&event);
            assert_eq!(Encoding::Json.decode(text.as_bytes()), Ok(event));
        }
        let least: Configure = Encoding::Json.decode(b"{}").unwrap();
        assert!(least.correlation_id.is_empty() && least.config.is_null());
    }
}

//! Control messages: cancel, flow control, ping.

use core::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use alloc::string::String;

use super::correlation::CorrelationId;
use super::lenient::{Loose, Spelling};

/// Proxy to agent: a request was given up. The agent answers its event all the same.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Cancel {
    /// The request.
    pub correlation_id: CorrelationId,
    /// Which of its events, for an agent that echoes exchange ids. Not written when absent;
    /// deployed agents ignore it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange_id: Option<u64>,
    /// Why.
    #[serde(default)]
    pub reason: CancelReason,
    /// When, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub timestamp_ms: u64,
}

impl Cancel {
    /// A cancel of that request, at `timestamp_ms` milliseconds since the Unix epoch.
    #[must_use]
    pub fn new(correlation_id: impl Into<CorrelationId>, reason: CancelReason, timestamp_ms: u64) -> Self {
        Self { correlation_id: correlation_id.into(), exchange_id: None, reason, timestamp_ms }
    }
}

/// Why a request was given up.
///
/// Written as its number, 0 to 5. Read from the number or from an object whose `type` is the name;
/// whatever else comes reads as [`CancelReason::Manual`], since a cancel must not fail for its
/// reason (C-CANCEL-2).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum CancelReason {
    /// 0: the client went away.
    ClientDisconnect,
    /// 1: the proxy waited long enough.
    Timeout,
    /// 2: another agent blocked the request.
    BlockedByAgent,
    /// 3: the upstream failed.
    UpstreamError,
    /// 4: the proxy is going down.
    ProxyShutdown,
    /// 5: somebody asked for it.
    #[default]
    Manual,
}

impl CancelReason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::ClientDisconnect,
        Self::Timeout,
        Self::BlockedByAgent,
        Self::UpstreamError,
        Self::ProxyShutdown,
        Self::Manual,
    ];

    /// The number on the wire, 0 to 5.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::ClientDisconnect => 0,
            Self::Timeout => 1,
            Self::BlockedByAgent => 2,
            Self::UpstreamError => 3,
            Self::ProxyShutdown => 4,
            Self::Manual => 5,
        }
    }

    /// The name, in snake case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientDisconnect => "client_disconnect",
            Self::Timeout => "timeout",
            Self::BlockedByAgent => "blocked_by_agent",
            Self::UpstreamError => "upstream_error",
            Self::ProxyShutdown => "proxy_shutdown",
            Self::Manual => "manual",
        }
    }

    fn find(matches: impl Fn(Self) -> bool) -> Self {
        Self::ALL.into_iter().find(|reason| matches(*reason)).unwrap_or_default()
    }
}

impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for CancelReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.number())
    }
}

impl<'de> Deserialize<'de> for CancelReason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Loose::deserialize(deserializer)? {
            Loose::Unsigned(number) => Self::find(|reason| u64::from(reason.number()) == number),
            Loose::Text(name) | Loose::Tagged(name) => Self::find(|reason| reason.name() == name),
            Loose::Other => Self::default(),
        })
    }
}

/// Agent to proxy: send less, send again, or this is what I can take.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct FlowControl {
    /// The request it is about; none means the whole connection. An empty text is a request's id
    /// like any other.
    pub correlation_id: Option<CorrelationId>,
    /// What the proxy shall do.
    pub action: FlowAction,
    /// When, in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
}

impl FlowControl {
    /// About the whole connection, at `timestamp_ms` milliseconds since the Unix epoch.
    #[must_use]
    pub const fn connection(action: FlowAction, timestamp_ms: u64) -> Self {
        Self { correlation_id: None, action, timestamp_ms }
    }

    /// About one request, at `timestamp_ms` milliseconds since the Unix epoch.
    #[must_use]
    pub fn request(correlation_id: impl Into<CorrelationId>, action: FlowAction, timestamp_ms: u64) -> Self {
        Self { correlation_id: Some(correlation_id.into()), action, timestamp_ms }
    }
}

/// What the proxy shall do.
///
/// Written as its number, with `buffer_available` beside it. Read from the number or from a tagged
/// object. An unknown action is an error: taking it for a resume would flood the agent (F-ACT-1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum FlowAction {
    /// 1, `pause`: send no event.
    Pause,
    /// 2, `resume`: send events again.
    Resume,
    /// 3, `update_capacity`: this much may be sent.
    UpdateCapacity {
        /// How many events the agent can take.
        buffer_available: u64,
    },
}

const KNOWN_ACTIONS: &str = "1 (pause), 2 (resume) and 3 (update_capacity, with buffer_available)";

impl FlowAction {
    const fn number(self) -> u8 {
        match self {
            Self::Pause => 1,
            Self::Resume => 2,
            Self::UpdateCapacity { .. } => 3,
        }
    }

    const fn buffer_available(self) -> Option<u64> {
        match self {
            Self::Pause | Self::Resume => None,
            Self::UpdateCapacity { buffer_available } => Some(buffer_available),
        }
    }

    /// The action of either spelling, with the capacity that stands beside it.
    fn read<E: Error>(spelling: Spelling<TaggedAction>, beside: Option<u64>) -> Result<Self, E> {
        let (number, capacity) = match spelling {
            Spelling::Number(number) => (number, beside),
            Spelling::Tagged(tagged) => {
                let number = match tagged.tag.as_str() {
                    "pause" => 1,
                    "resume" => 2,
                    "update_capacity" => 3,
                    unknown => return Err(unknown_action(&unknown)),
                };
                (number, tagged.buffer_available.or(beside))
            }
        };
        match (number, capacity) {
            (1, _) => Ok(Self::Pause),
            (2, _) => Ok(Self::Resume),
            (3, Some(buffer_available)) => Ok(Self::UpdateCapacity { buffer_available }),
            (3, None) => Err(E::missing_field("buffer_available")),
            (unknown, _) => Err(unknown_action(&unknown)),
        }
    }
}

fn unknown_action<E: Error>(unknown: &dyn fmt::Display) -> E {
    E::custom(format_args!("unknown flow control action `{unknown}`; the known ones are {KNOWN_ACTIONS}"))
}

#[derive(Deserialize)]
struct TaggedAction {
    #[serde(rename = "type")]
    tag: String,
    #[serde(default)]
    buffer_available: Option<u64>,
}

impl Serialize for FlowControl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a> {
            correlation_id: Option<&'a CorrelationId>,
            action: u8,
            #[serde(skip_serializing_if = "Option::is_none")]
            buffer_available: Option<u64>,
            timestamp_ms: u64,
        }
        Wire {
            correlation_id: self.correlation_id.as_ref(),
            action: self.action.number(),
            buffer_available: self.action.buffer_available(),
            timestamp_ms: self.timestamp_ms,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FlowControl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            #[serde(default)]
            correlation_id: Option<CorrelationId>,
            action: Spelling<TaggedAction>,
            #[serde(default)]
            buffer_available: Option<u64>,
            #[serde(default)]
            timestamp_ms: u64,
        }
        let wire = Wire::deserialize(deserializer)?;
        Ok(Self {
            correlation_id: wire.correlation_id,
            action: FlowAction::read(wire.action, wire.buffer_available)?,
            timestamp_ms: wire.timestamp_ms,
        })
    }
}

/// Either way: asks for a pong with the same payload (C-PING-1, P12). Also the payload of that pong.
///
/// A pong echoes the bytes of the ping, so its writer needs not read them.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(default)]
pub struct Ping {
    /// Counts the pings of one side.
    pub sequence: u64,
    /// When, in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Encoding;
    use alloc::format;

    fn cancel(reason: &str) -> CancelReason {
        let json = format!(r#"{{"correlation_id":"c","reason":{reason}}}"#);
        let cancel: Cancel = Encoding::Json.decode(json.as_bytes()).unwrap();
        cancel.reason
    }

    #[test]
    fn reasons_are_read_in_every_spelling() {
        for reason in CancelReason::ALL {
            assert_eq!(cancel(&format!("{}", reason.number())), reason);
            assert_eq!(cancel(&format!("\"{reason}\"")), reason);
            assert_eq!(cancel(&format!(r#"{{"type":"{reason}","agent_id":"a"}}"#)), reason);
            let written = serde_json::to_string(&reason).unwrap();
            assert_eq!(written, format!("{}", reason.number()));
        }
    }

    #[test]
    // Rule: C-CANCEL-2.
    fn a_strange_reason_is_manual() {
        for strange in ["6", "-1", "1.5", "null", "[]", "{}", "\"x\"", r#"{"type":9}"#] {
            assert_eq!(cancel(strange), CancelReason::Manual, "{strange}");
        }
        let none: Cancel = Encoding::Json.decode(br#"{"correlation_id":"c"}"#).unwrap();
        assert_eq!(none.reason, CancelReason::Manual);
        assert!(Encoding::Json.decode::<Cancel>(br#"{"reason":1}"#).is_err());
    }

    #[test]
    fn the_exchange_id_is_written_only_when_there() {
        let mut message = Cancel::new("c", CancelReason::Timeout, 9);
        let text = serde_json::to_string(&message).unwrap();
        assert_eq!(text, r#"{"correlation_id":"c","reason":1,"timestamp_ms":9}"#);
        message.exchange_id = Some(4);
        let text = serde_json::to_string(&message).unwrap();
        assert!(text.contains(r#""exchange_id":4"#));
        assert_eq!(Encoding::Json.decode(text.as_bytes()), Ok(message));
    }

    fn flow(fields: &str) -> Result<FlowAction, super::super::DecodeError> {
        let json = format!("{{{fields}}}");
        let flow = Encoding::Json.decode::<FlowControl>(json.as_bytes());
        flow.map(|flow| flow.action)
    }

    #[test]
    // Rule: W-ENC-5.
    fn actions_are_read_in_both_spellings() {
        let capacity = FlowAction::UpdateCapacity { buffer_available: 7 };
        assert_eq!(flow(r#""action":1"#), Ok(FlowAction::Pause));
        assert_eq!(flow(r#""action":2"#), Ok(FlowAction::Resume));
        assert_eq!(flow(r#""action":3,"buffer_available":7"#), Ok(capacity));
        assert_eq!(flow(r#""buffer_available":7,"action":3"#), Ok(capacity));
        assert_eq!(flow(r#""action":{"type":"pause"}"#), Ok(FlowAction::Pause));
        assert_eq!(flow(r#""action":{"type":"resume"}"#), Ok(FlowAction::Resume));
        let tagged = r#""action":{"type":"update_capacity","buffer_available":7}"#;
        assert_eq!(flow(tagged), Ok(capacity));
        let beside = r#""action":{"type":"update_capacity"},"buffer_available":7"#;
        assert_eq!(flow(beside), Ok(capacity));
    }

    #[test]
    // Rule: F-ACT-1.
    fn an_unknown_action_is_an_error_that_names_the_known() {
        for unknown in ["0", "4", "-1", r#"{"type":"stop"}"#] {
            let error = flow(&format!(r#""action":{unknown}"#)).unwrap_err();
            assert!(error.message().contains("1 (pause)"), "{error}");
        }
        assert!(flow(r#""action":3"#).is_err());
        assert!(flow(r#""action":null"#).is_err());
        assert!(flow("").is_err());
    }

    #[test]
    fn flow_control_is_written_with_the_number() {
        let text = |flow: &FlowControl| serde_json::to_string(flow).unwrap();
        let pause = FlowControl::connection(FlowAction::Pause, 9);
        assert_eq!(text(&pause), r#"{"correlation_id":null,"action":1,"timestamp_ms":9}"#);
        let capacity = FlowAction::UpdateCapacity { buffer_available: 7 };
        let one = FlowControl::request("c", capacity, 9);
        assert_eq!(text(&one), r#"{"correlation_id":"c","action":3,"buffer_available":7,"timestamp_ms":9}"#);
        assert_eq!(Encoding::Json.decode(text(&one).as_bytes()), Ok(one));
    }

    #[test]
    fn a_ping_may_be_bare() {
        assert_eq!(Encoding::Json.decode(b"{}"), Ok(Ping::default()));
    }
}

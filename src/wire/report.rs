//! What an agent reports of itself: its health, and wishes about its configuration.

use core::fmt;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::lenient::{Spelling, null_default};

/// Agent to proxy: how the agent is.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct HealthStatus {
    /// The agent.
    #[serde(default, deserialize_with = "null_default")]
    pub agent_id: String,
    /// How it is.
    pub state: HealthState,
    /// More about it, in words.
    #[serde(default)]
    pub message: Option<String>,
    /// How busy it is.
    #[serde(default)]
    pub load: Option<LoadMetrics>,
    /// What it uses.
    #[serde(default)]
    pub resources: Option<ResourceMetrics>,
    /// Until when this holds, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub valid_until_ms: Option<u64>,
    /// When this was so, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub timestamp_ms: u64,
}

impl HealthStatus {
    /// A status with nothing but the state, at `timestamp_ms` milliseconds since the Unix epoch.
    #[must_use]
    pub fn new(agent_id: impl Into<String>, state: HealthState, timestamp_ms: u64) -> Self {
        Self { agent_id: agent_id.into(), state, timestamp_ms, ..Self::default() }
    }
}

/// How an agent is (C-HEALTH-1).
///
/// Written as its number, which is all that deployed proxies read: the detail of a state is *not*
/// written and belongs into [`HealthStatus::message`]. Read from the number, with defaults for the
/// detail, or from an object whose `status` is the name. An unknown state is an error.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum HealthState {
    /// 1, `healthy`: all is well.
    #[default]
    Healthy,
    /// 2, `degraded`: works, but not with all it has.
    Degraded {
        /// What does not work. Empty when not told.
        disabled_features: Vec<String>,
        /// By how much to stretch timeouts. 1.0 when not told.
        timeout_multiplier: f32,
    },
    /// 3, `draining`: finishes what it has and takes nothing new.
    Draining {
        /// How long that takes, in milliseconds.
        eta_ms: Option<u64>,
    },
    /// 4, `unhealthy`: does not work.
    Unhealthy {
        /// Why. Empty when not told.
        reason: String,
        /// Whether it may recover by itself. Yes when not told.
        recoverable: bool,
    },
}

const KNOWN_STATES: &str = "1 (healthy), 2 (degraded), 3 (draining) and 4 (unhealthy)";

impl HealthState {
    /// The number on the wire, 1 to 4.
    #[must_use]
    pub const fn number(&self) -> u8 {
        match self {
            Self::Healthy => 1,
            Self::Degraded { .. } => 2,
            Self::Draining { .. } => 3,
            Self::Unhealthy { .. } => 4,
        }
    }

    /// The name, in snake case.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded { .. } => "degraded",
            Self::Draining { .. } => "draining",
            Self::Unhealthy { .. } => "unhealthy",
        }
    }

    /// The state of that number or name.
    fn read<E: Error>(which: &dyn fmt::Display, number: i64, detail: Detail) -> Result<Self, E> {
        match number {
            1 => Ok(Self::Healthy),
            2 => Ok(Self::Degraded {
                disabled_features: detail.disabled_features,
                timeout_multiplier: detail.timeout_multiplier.unwrap_or(1.0),
            }),
            3 => Ok(Self::Draining { eta_ms: detail.eta_ms }),
            4 => {
                Ok(Self::Unhealthy { reason: detail.reason, recoverable: detail.recoverable.unwrap_or(true) })
            }
            _ => Err(E::custom(format_args!(
                "unknown health state `{which}`; the known ones are {KNOWN_STATES}"
            ))),
        }
    }
}

/// The tagged spelling of a state, whichever it is.
#[derive(Default, Deserialize)]
struct Detail {
    status: String,
    #[serde(default, deserialize_with = "null_default")]
    disabled_features: Vec<String>,
    #[serde(default)]
    timeout_multiplier: Option<f32>,
    #[serde(default)]
    eta_ms: Option<u64>,
    #[serde(default, deserialize_with = "null_default")]
    reason: String,
    #[serde(default)]
    recoverable: Option<bool>,
}

impl Serialize for HealthState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.number())
    }
}

impl<'de> Deserialize<'de> for HealthState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Spelling::<Detail>::deserialize(deserializer)? {
            Spelling::Number(number) => Self::read(&number, number, Detail::default()),
            Spelling::Tagged(detail) => {
                let name = detail.status.to_string();
                let number = match name.as_str() {
                    "healthy" => 1,
                    "degraded" => 2,
                    "draining" => 3,
                    "unhealthy" => 4,
                    _ => 0,
                };
                Self::read(&name, number, detail)
            }
        }
    }
}

/// How busy an agent is.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct LoadMetrics {
    /// Events it works on.
    pub in_flight: u32,
    /// Events that wait.
    pub queue_depth: u32,
    /// The mean time to answer, in milliseconds.
    pub avg_latency_ms: f32,
    /// The median time to answer, in milliseconds.
    pub p50_latency_ms: f32,
    /// The 95th percentile, in milliseconds.
    pub p95_latency_ms: f32,
    /// The 99th percentile, in milliseconds.
    pub p99_latency_ms: f32,
    /// Events answered.
    pub requests_processed: u64,
    /// Events refused.
    pub requests_rejected: u64,
    /// Events that took too long.
    pub requests_timed_out: u64,
}

/// What an agent uses.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct ResourceMetrics {
    /// Processor time, in percent of one processor.
    pub cpu_percent: Option<f32>,
    /// Memory in use, in bytes.
    pub memory_bytes: Option<u64>,
    /// The most memory it may use, in bytes.
    pub memory_limit: Option<u64>,
    /// Threads.
    pub active_threads: Option<u32>,
    /// Open file descriptors.
    pub open_fds: Option<u32>,
    /// The most file descriptors it may open.
    pub fd_limit: Option<u32>,
    /// Open connections.
    pub connections: Option<u32>,
}

/// Agent to proxy: a wish about the agent's configuration.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct ConfigUpdateRequest {
    /// The wish.
    pub update_type: ConfigUpdateType,
    /// The agent's own id of the wish.
    #[serde(default, deserialize_with = "null_default")]
    pub request_id: String,
    /// When, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub timestamp_ms: u64,
}

/// What an agent wishes about its configuration.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum ConfigUpdateType {
    /// Send the configuration again.
    RequestReload,
    /// Change the rules of a set.
    RuleUpdate {
        /// The set.
        rule_set: String,
        /// Rules to add or replace.
        #[serde(default, deserialize_with = "null_default")]
        rules: Vec<RuleDefinition>,
        /// Ids of rules to remove.
        #[serde(default, deserialize_with = "null_default")]
        remove_rules: Vec<String>,
    },
    /// Change the entries of a list.
    ListUpdate {
        /// The list.
        list_id: String,
        /// Entries to add.
        #[serde(default, deserialize_with = "null_default")]
        add: Vec<String>,
        /// Entries to remove.
        #[serde(default, deserialize_with = "null_default")]
        remove: Vec<String>,
    },
    /// The agent must be started anew.
    RestartRequired {
        /// Why.
        #[serde(default, deserialize_with = "null_default")]
        reason: String,
        /// How long that can wait, in milliseconds.
        #[serde(default)]
        grace_period_ms: u64,
    },
    /// The configuration is wrong.
    ConfigError {
        /// What is wrong.
        #[serde(default, deserialize_with = "null_default")]
        error: String,
        /// Where.
        #[serde(default)]
        field: Option<String>,
    },
}

/// A rule of a set.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct RuleDefinition {
    /// Its id in the set.
    pub id: String,
    /// Which rule is asked first.
    #[serde(default)]
    pub priority: i32,
    /// The rule, of any shape.
    #[serde(default)]
    pub definition: Value,
    /// Whether it is in use. A missing one reads as yes.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// Words to group by.
    #[serde(default, deserialize_with = "null_default")]
    pub tags: Vec<String>,
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{DecodeError, Encoding};
    use alloc::format;
    use alloc::vec;

    fn state(text: &str) -> Result<HealthState, DecodeError> {
        let json = format!(r#"{{"state":{text}}}"#);
        let status = Encoding::Json.decode::<HealthStatus>(json.as_bytes());
        status.map(|status| status.state)
    }

    #[test]
    // Rule: C-HEALTH-1.
    fn states_are_read_in_both_spellings() {
        for (number, name) in [(1, "healthy"), (2, "degraded"), (3, "draining"), (4, "unhealthy")] {
            let by_number = state(&format!("{number}")).unwrap();
            let by_name = state(&format!(r#"{{"status":"{name}"}}"#)).unwrap();
            assert_eq!(by_number, by_name);
            assert_eq!((by_number.number(), by_number.name()), (number, name));
            assert_eq!(serde_json::to_string(&by_name).unwrap(), format!("{number}"));
        }
    }

    #[test]
    fn the_detail_of_a_state_is_read() {
        assert_eq!(
            state(r#"{"status":"draining","eta_ms":5}"#),
            Ok(HealthState::Draining { eta_ms: Some(5) })
        );
        assert_eq!(
            state(r#"{"status":"degraded","disabled_features":["x"],"timeout_multiplier":2}"#),
            Ok(HealthState::Degraded { disabled_features: vec!["x".into()], timeout_multiplier: 2.0 })
        );
        assert_eq!(
            state(r#"{"recoverable":false,"reason":"r","status":"unhealthy"}"#),
            Ok(HealthState::Unhealthy { reason: "r".into(), recoverable: false })
        );
    }

    #[test]
    fn an_unknown_state_is_an_error_that_names_the_known() {
        for unknown in ["0", "5", r#"{"status":"fine"}"#] {
            let error = state(unknown).unwrap_err();
            assert!(error.message().contains("1 (healthy)"), "{error}");
        }
        assert!(state("null").is_err());
        assert!(Encoding::Json.decode::<HealthStatus>(b"{}").is_err());
    }

    #[test]
    fn a_status_is_written_with_all_its_fields() {
        let status = HealthStatus::new("a", HealthState::Healthy, 9);
        let text = r#"{"agent_id":"a","state":1,"message":null,"load":null,"resources":null,"valid_until_ms":null,"timestamp_ms":9}"#;
        assert_eq!(serde_json::to_string(&status).unwrap(), text);
        assert_eq!(Encoding::Json.decode(text.as_bytes()), Ok(status));
        let load: LoadMetrics = Encoding::Json.decode(br#"{"in_flight":3}"#).unwrap();
        assert_eq!((load.in_flight, load.queue_depth), (3, 0));
    }

    #[test]
    fn wishes_are_tagged_by_type() {
        let texts = [
            r#"{"type":"request_reload"}"#,
            r#"{"type":"rule_update","rule_set":"s","rules":[{"id":"r","priority":1,"definition":{"a":1},"enabled":true,"description":null,"tags":[]}],"remove_rules":["q"]}"#,
            r#"{"type":"list_update","list_id":"l","add":["a"],"remove":[]}"#,
            r#"{"type":"restart_required","reason":"r","grace_period_ms":5}"#,
            r#"{"type":"config_error","error":"e","field":"f"}"#,
        ];
        for text in texts {
            let json = format!(r#"{{"update_type":{text},"request_id":"i","timestamp_ms":9}}"#);
            let wish: ConfigUpdateRequest = Encoding::Json.decode(json.as_bytes()).unwrap();
            assert_eq!(serde_json::to_string(&wish).unwrap(), json);
        }
        let unknown = br#"{"update_type":{"type":"x"}}"#;
        assert!(Encoding::Json.decode::<ConfigUpdateRequest>(unknown).is_err());
    }

    #[test]
    fn a_rule_is_enabled_unless_it_says_otherwise() {
        let rule = |text: &str| Encoding::Json.decode::<RuleDefinition>(text.as_bytes()).unwrap().enabled;
        assert!(rule(r#"{"id":"r"}"#) && !rule(r#"{"id":"r","enabled":false}"#));
    }
}

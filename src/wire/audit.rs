//! What an agent wants noted about an answer, and where the ids of an answer travel.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::correlation::CorrelationId;
use super::lenient::null_default;

/// The key of the correlation id in [`Audit::custom`].
pub(crate) const CORRELATION_ID: &str = "correlation_id";

/// The key of the exchange id in [`Audit::custom`], and its field in an event.
pub(crate) const EXCHANGE_ID: &str = "exchange_id";

/// Notes about an answer, for logs and metrics.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Audit {
    /// Words to group by.
    #[serde(deserialize_with = "null_default")]
    pub tags: Vec<String>,
    /// The rules that matched.
    #[serde(deserialize_with = "null_default")]
    pub rule_ids: Vec<String>,
    /// How sure the agent is, 0.0 to 1.0.
    pub confidence: Option<f32>,
    /// Why, in codes.
    #[serde(deserialize_with = "null_default")]
    pub reason_codes: Vec<String>,
    /// Anything else. The ids of the answer travel here, under `correlation_id` (X-ID-3) and
    /// `exchange_id` (X-ECHO-1).
    #[serde(deserialize_with = "null_default")]
    pub custom: BTreeMap<String, Value>,
}

impl Audit {
    /// The request that the answer is about, if it says so with a string.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self.custom.get(CORRELATION_ID).and_then(Value::as_str)
    }

    /// The exchange that the answer ends, if it says so with an unsigned integer.
    #[must_use]
    pub fn exchange_id(&self) -> Option<u64> {
        self.custom.get(EXCHANGE_ID).and_then(Value::as_u64)
    }

    /// Says which event the answer belongs to, whatever was said before.
    pub fn set_ids(&mut self, correlation_id: &CorrelationId, exchange_id: Option<u64>) {
        let text = Value::from(correlation_id.as_str());
        self.custom.insert(CORRELATION_ID.to_string(), text);
        match exchange_id {
            Some(id) => self.custom.insert(EXCHANGE_ID.to_string(), id.into()),
            None => self.custom.remove(EXCHANGE_ID),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Encoding;

    #[test]
    fn ids_are_set_and_read() {
        let mut audit = Audit::default();
        assert_eq!((audit.correlation_id(), audit.exchange_id()), (None, None));
        audit.set_ids(&"c".into(), Some(u64::MAX));
        assert_eq!((audit.correlation_id(), audit.exchange_id()), (Some("c"), Some(u64::MAX)));
        audit.set_ids(&"d".into(), None);
        assert_eq!((audit.correlation_id(), audit.exchange_id()), (Some("d"), None));
    }

    #[test]
    fn nulls_and_missing_fields_are_defaults() {
        let text = br#"{"tags":null,"rule_ids":null,"reason_codes":null,"custom":null}"#;
        assert_eq!(Encoding::Json.decode(text), Ok(Audit::default()));
        assert_eq!(Encoding::Json.decode(b"{}"), Ok(Audit::default()));
    }

    #[test]
    fn an_id_of_another_type_is_no_id() {
        let text = br#"{"custom":{"correlation_id":7,"exchange_id":"7"}}"#;
        let audit: Audit = Encoding::Json.decode(text).unwrap();
        assert_eq!((audit.correlation_id(), audit.exchange_id()), (None, None));
    }
}

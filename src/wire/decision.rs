//! Verdicts and the small operations that go with them.

use alloc::collections::BTreeMap;
use alloc::string::String;

use serde::{Deserialize, Serialize};

use super::lenient::null_default;

/// What becomes of the request or response.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It goes on.
    #[default]
    Allow,
    /// It ends with an error of the agent's choice.
    Block {
        /// The status code the client gets.
        status: u16,
        /// The body the client gets.
        #[serde(default)]
        body: Option<String>,
        /// The headers the client gets.
        #[serde(default)]
        headers: Option<BTreeMap<String, String>>,
    },
    /// The client is sent elsewhere.
    Redirect {
        /// Where to.
        url: String,
        /// The status code: 301, 302, 303, 307 or 308.
        status: u16,
    },
    /// The client has to prove something first.
    Challenge {
        /// What kind of proof.
        challenge_type: String,
        /// What the kind needs to know.
        #[serde(default, deserialize_with = "null_default")]
        params: BTreeMap<String, String>,
    },
}

/// A change to one header.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HeaderOp {
    /// Replaces all values of the header.
    Set {
        /// The header.
        name: String,
        /// Its only value from now on.
        value: String,
    },
    /// Adds a value to the header.
    Add {
        /// The header.
        name: String,
        /// One more value.
        value: String,
    },
    /// Removes the header.
    Remove {
        /// The header.
        name: String,
    },
}

impl HeaderOp {
    /// [`HeaderOp::Set`]
    #[must_use]
    pub fn set(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self::Set { name: name.into(), value: value.into() }
    }

    /// [`HeaderOp::Add`]
    #[must_use]
    pub fn add(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self::Add { name: name.into(), value: value.into() }
    }

    /// [`HeaderOp::Remove`]
    #[must_use]
    pub fn remove(name: impl Into<String>) -> Self {
        Self::Remove { name: name.into() }
    }
}

/// What becomes of one WebSocket frame.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WebSocketDecision {
    /// It is passed on.
    #[default]
    Allow,
    /// It is dropped in silence.
    Drop,
    /// The WebSocket is closed.
    Close {
        /// The close code, RFC 6455 section 7.4.
        code: u16,
        /// The close reason.
        #[serde(default, deserialize_with = "null_default")]
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Encoding;

    fn round_trip<T>(text: &str)
    where
        T: for<'de> Deserialize<'de> + Serialize + PartialEq + core::fmt::Debug,
    {
        let value: T = Encoding::Json.decode(text.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&value).unwrap(), text);
    }

    #[test]
    fn decisions_are_spelled_as_deployed() {
        round_trip::<Decision>(r#""allow""#);
        round_trip::<Decision>(r#"{"block":{"status":403,"body":null,"headers":{"a":"b"}}}"#);
        round_trip::<Decision>(r#"{"redirect":{"url":"/x","status":302}}"#);
        round_trip::<Decision>(r#"{"challenge":{"challenge_type":"captcha","params":{}}}"#);
        round_trip::<WebSocketDecision>(r#""allow""#);
        round_trip::<WebSocketDecision>(r#""drop""#);
        round_trip::<WebSocketDecision>(r#"{"close":{"code":1008,"reason":"no"}}"#);
        round_trip::<HeaderOp>(r#"{"set":{"name":"a","value":"b"}}"#);
        round_trip::<HeaderOp>(r#"{"add":{"name":"a","value":"b"}}"#);
        round_trip::<HeaderOp>(r#"{"remove":{"name":"a"}}"#);
    }

    #[test]
    fn an_unknown_decision_is_an_error_and_never_an_allow() {
        for bad in [r#""deny""#, r#"{"block":{}}"#, "null", "0", "{}", r#""block""#] {
            assert!(Encoding::Json.decode::<Decision>(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}

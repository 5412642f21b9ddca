//! The correlation id: which request an event, answer or cancel is about.

use core::borrow::Borrow;
use core::fmt;

use alloc::string::String;
use alloc::sync::Arc;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The id that all events of one request share. Cheap to clone.
///
/// The proxy chooses it; any text may come. An empty one names no request.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CorrelationId(Arc<str>);

impl CorrelationId {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the text is empty, so that this names no request.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for CorrelationId {
    fn default() -> Self {
        Self(Arc::from(""))
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*self.0, f)
    }
}

impl Borrow<str> for CorrelationId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for CorrelationId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for CorrelationId {
    fn from(text: &str) -> Self {
        Self(Arc::from(text))
    }
}

impl From<String> for CorrelationId {
    fn from(text: String) -> Self {
        Self(Arc::from(text))
    }
}

impl Serialize for CorrelationId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for CorrelationId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdVisitor;
        impl Visitor<'_> for IdVisitor {
            type Value = CorrelationId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a correlation id, which is a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<CorrelationId, E> {
                Ok(CorrelationId::from(text))
            }
        }
        deserializer.deserialize_str(IdVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::format;

    #[test]
    fn it_is_a_string_on_the_wire() {
        let id = CorrelationId::from("a\"b");
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, r#""a\"b""#);
        assert_eq!(serde_json::from_str::<CorrelationId>(&json).unwrap(), id);
        assert!(serde_json::from_str::<CorrelationId>("7").is_err());
        assert!(serde_json::from_str::<CorrelationId>("null").is_err());
    }

    #[test]
    fn it_can_be_looked_up_by_text() {
        let map = BTreeMap::from([(CorrelationId::from("a"), 1)]);
        assert_eq!(map.get("a"), Some(&1));
    }

    #[test]
    fn printing_and_emptiness() {
        let id = CorrelationId::from(String::from("c-1"));
        assert_eq!((format!("{id}"), format!("{id:?}")), ("c-1".into(), "\"c-1\"".into()));
        assert!(!id.is_empty() && CorrelationId::default().is_empty());
        assert_eq!((id.as_str(), id.as_ref()), ("c-1", "c-1"));
    }

    #[test]
    fn an_error_says_what_would_be_right() {
        let error = serde_json::from_str::<CorrelationId>("7").unwrap_err();
        assert!(format!("{error}").contains("a correlation id, which is a string"), "{error}");
    }
}

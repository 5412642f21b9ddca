//! The correlation id: which request an event, answer or cancel is about.

use core::borrow::Borrow;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};

use alloc::string::String;
use alloc::sync::Arc;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The id that all events of one request share. Cheap to clone.
///
/// The proxy chooses it; any text may come. An empty one names no request.
#[derive(Clone, Default)]
pub struct CorrelationId(
    /// None if it is empty: a message that is filled in later is made without an allocation.
    Option<Arc<str>>,
);

impl CorrelationId {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether the text is empty, so that this names no request.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

// Compared and hashed as its text is: it is looked up by that.
impl PartialEq for CorrelationId {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for CorrelationId {}

impl PartialOrd for CorrelationId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for CorrelationId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for CorrelationId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl Borrow<str> for CorrelationId {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for CorrelationId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for CorrelationId {
    fn from(text: &str) -> Self {
        Self((!text.is_empty()).then(|| Arc::from(text)))
    }
}

impl From<String> for CorrelationId {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl Serialize for CorrelationId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
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
    use std::collections::HashMap;

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
        let ids = || ["b", "", "a"].map(|text| (CorrelationId::from(text), text));
        let (tree, table) = (BTreeMap::from(ids()), HashMap::from(ids()));
        for text in ["", "a", "b"] {
            assert_eq!((tree.get(text), table.get(text)), (Some(&text), Some(&text)));
        }
        assert_eq!((tree.get("c"), table.get("c")), (None, None));
        assert!(tree.values().is_sorted());
    }

    #[test]
    fn printing_and_emptiness() {
        let id = CorrelationId::from(String::from("c-1"));
        assert_eq!((format!("{id}"), format!("{id:?}")), ("c-1".into(), "\"c-1\"".into()));
        assert!(!id.is_empty() && CorrelationId::default().is_empty());
        assert_eq!(
            [CorrelationId::from(""), String::new().into()],
            [(); 2].map(|()| CorrelationId::default())
        );
        assert_eq!((id.as_str(), id.as_ref()), ("c-1", "c-1"));
    }

    #[test]
    fn an_error_says_what_would_be_right() {
        let error = serde_json::from_str::<CorrelationId>("7").unwrap_err();
        assert!(format!("{error}").contains("a correlation id, which is a string"), "{error}");
    }
}

//! The secret with which an agent registers.

use core::fmt;

use alloc::string::{String, ToString};

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::{Choice, ConstantTimeEq};

/// Comparing two tokens takes at least this many steps, so that the length of a shorter one does
/// not show.
const LEAST_STEPS: usize = 1024;

/// A secret that an agent presents when it registers.
///
/// Printing it shows nothing of it. Comparing two takes the same time wherever they differ and
/// however long they are, up to 1024 bytes; beyond, the time tells no more than the longer length.
#[derive(Clone, Deserialize)]
#[serde(from = "Secret")]
pub struct Token(String);

impl Token {
    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl From<&str> for Token {
    fn from(secret: &str) -> Self {
        Self(secret.to_string())
    }
}

impl From<String> for Token {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl ConstantTimeEq for Token {
    fn ct_eq(&self, other: &Self) -> Choice {
        let (left, right) = (self.0.as_bytes(), other.0.as_bytes());
        let steps = left.len().max(right.len()).max(LEAST_STEPS);
        let mut same = left.len().ct_eq(&right.len());
        for step in 0..steps {
            let left = left.get(step).copied().unwrap_or_default();
            let right = right.get(step).copied().unwrap_or_default();
            same &= left.ct_eq(&right);
        }
        same
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for Token {}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// A token as it is read: errors must not repeat what stands in its place.
struct Secret(String);

impl From<Secret> for Token {
    fn from(secret: Secret) -> Self {
        Self(secret.0)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Asked for a string, the JSON reader words the error itself, with the value in it.
        deserializer.deserialize_any(SecretVisitor)
    }
}

struct SecretVisitor;

fn not_a_string<E: Error>() -> E {
    E::custom("the token must be a string")
}

impl Visitor<'_> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token, which is a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret(text.to_string()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Secret, E> {
        Ok(Secret(text))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Secret, E> {
        Err(not_a_string())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Secret, E> {
        Err(not_a_string())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Secret, E> {
        Err(not_a_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Encoding;
    use alloc::format;

    #[test]
    fn equality_is_of_the_text() {
        let long = "x".repeat(5000);
        let texts = ["", "a", "b", "ab", "a\0", "aa", long.as_str()];
        for left in texts {
            for right in texts {
                assert_eq!(Token::from(left) == Token::from(right), left == right);
            }
        }
        assert_ne!(Token::from(long.as_str()), Token::from("x".repeat(4999)));
    }

    #[test]
    fn every_length_is_compared_in_full() {
        let around = [0, 1, 7, 31, 32, 1_022, 1_023, 1_024, 1_025, 4_096];
        for length in around {
            let token = Token::from("x".repeat(length));
            for other in around {
                assert_eq!(token == Token::from("x".repeat(other)), length == other, "{length} {other}");
            }
            for at in [0, length / 2, length.saturating_sub(1)].into_iter().filter(|at| *at < length) {
                let mut bytes = "x".repeat(length).into_bytes();
                bytes[at] = b'y';
                assert_ne!(token, Token::from(String::from_utf8(bytes).unwrap()), "{length} {at}");
            }
        }
    }

    #[test]
    fn printing_shows_nothing() {
        assert_eq!(format!("{:?}", Token::from("s3cret")), "Token(..)");
        assert_eq!(Token::from("s3cret").expose(), "s3cret");
    }

    #[test]
    fn on_the_wire_it_is_a_string() {
        let token = Token::from("s3\"cret");
        let json = serde_json::to_vec(&token).unwrap();
        assert_eq!(Encoding::Json.decode(&json), Ok(token));
    }

    #[test]
    fn an_error_does_not_repeat_the_secret() {
        for bad in ["12345", "-12345", "12345.5"] {
            let error = Encoding::Json.decode::<Token>(bad.as_bytes()).unwrap_err();
            assert!(!error.message().contains("12345"), "{error}");
        }
    }

    #[test]
    fn a_string_that_is_handed_over_is_taken_and_what_is_wrong_is_told() {
        use serde::de::IntoDeserializer;
        use serde::de::value::{Error, StringDeserializer};
        let owned: StringDeserializer<Error> = String::from("s3cret").into_deserializer();
        assert_eq!(Token::deserialize(owned), Ok(Token::from("s3cret")));
        let error = Encoding::Json.decode::<Token>(b"[1]").unwrap_err();
        assert!(error.message().contains("a token, which is a string"), "{error}");
    }
}

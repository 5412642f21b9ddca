//! Reading what peers really send: nulls for defaults, numbers for tagged objects, anything at all
//! (W-ENC-4, W-ENC-5).

use core::fmt;
use core::marker::PhantomData;

use alloc::borrow::Cow;
use alloc::string::ToString;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Reads `null` as the default: some languages write an empty list so.
pub(crate) fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads `null` as no number, which JSON writes so.
pub(crate) fn null_is_nan<'de, D, F>(deserializer: D) -> Result<F, D::Error>
where
    D: Deserializer<'de>,
    F: From<f32> + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_else(|| F::from(f32::NAN)))
}

/// One of the two spellings of an enum: its number, or an object with a tag in it.
pub(crate) enum Spelling<T> {
    Number(i64),
    Tagged(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spelling<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SpellingVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for SpellingVisitor<T> {
            type Value = Spelling<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer or a tagged object")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Spelling::Number(number))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Spelling::Number(i64::try_from(number).unwrap_or(i64::MAX)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Spelling::Tagged)
            }
        }
        deserializer.deserialize_any(SpellingVisitor(PhantomData))
    }
}

/// Any value: what it says where it is simple, and nothing where it is not. Reading it fails only
/// on input that is not well-formed.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Loose<'a> {
    Unsigned(u64),
    Text(Cow<'a, str>),
    /// An object whose `type` is this text.
    Tagged(Cow<'a, str>),
    Other,
}

impl<'de> Deserialize<'de> for Loose<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor)
    }
}

struct LooseVisitor;

impl<'de> Visitor<'de> for LooseVisitor {
    type Value = Loose<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Loose<'de>, E> {
        Ok(Loose::Other)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Loose<'de>, E> {
        Ok(u64::try_from(number).map_or(Loose::Other, Loose::Unsigned))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Loose<'de>, E> {
        Ok(Loose::Unsigned(number))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Loose<'de>, E> {
        Ok(Loose::Other)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Loose<'de>, E> {
        Ok(Loose::Text(Cow::Owned(text.to_string())))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Loose<'de>, E> {
        Ok(Loose::Text(Cow::Borrowed(text)))
    }

    fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<Loose<'de>, E> {
        Ok(Loose::Other)
    }

    fn visit_none<E: Error>(self) -> Result<Loose<'de>, E> {
        Ok(Loose::Other)
    }

    fn visit_unit<E: Error>(self) -> Result<Loose<'de>, E> {
        Ok(Loose::Other)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Loose<'de>, D::Error> {
        Loose::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Loose<'de>, D::Error> {
        IgnoredAny::deserialize(inner).map(|_| Loose::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Loose<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Loose::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Loose<'de>, A::Error> {
        let mut found = Loose::Other;
        while let Some(key) = map.next_key::<Loose>()? {
            let value = map.next_value::<Loose>()?;
            if let (Loose::Text(key), Loose::Text(tag)) = (key, value)
                && key == "type"
            {
                found = Loose::Tagged(tag);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    fn loose(json: &str) -> Loose<'_> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    // Rule: W-ENC-4.
    fn null_is_the_default() {
        #[derive(Deserialize)]
        struct Lists {
            #[serde(deserialize_with = "null_default")]
            list: Vec<u8>,
        }
        let read = |json| serde_json::from_str::<Lists>(json).unwrap().list;
        assert_eq!(read(r#"{"list":null}"#), Vec::<u8>::new());
        assert_eq!(read(r#"{"list":[1]}"#), vec![1]);
    }

    #[test]
    fn loose_takes_any_value() {
        assert_eq!(loose("7"), Loose::Unsigned(7));
        assert_eq!(loose(r#""x""#), Loose::Text("x".into()));
        assert_eq!(loose(r#"{"a":[1],"type":"t","b":{}}"#), Loose::Tagged("t".into()));
        for other in ["-7", "1.5", "null", "true", "[1,[2]]", "{}", r#"{"type":3}"#] {
            assert_eq!(loose(other), Loose::Other, "{other}");
        }
        assert!(serde_json::from_str::<Loose>("[1").is_err());
    }

    #[test]
    fn a_spelling_is_a_number_or_an_object() {
        #[derive(Deserialize)]
        struct Tag {
            tag: u8,
        }
        let read = serde_json::from_str::<Spelling<Tag>>;
        assert!(matches!(read("-3"), Ok(Spelling::Number(-3))));
        assert!(matches!(read("18446744073709551615"), Ok(Spelling::Number(i64::MAX))));
        assert!(matches!(read(r#"{"tag":4}"#), Ok(Spelling::Tagged(Tag { tag: 4 }))));
        assert!(read(r#""pause""#).is_err());
    }

    #[test]
    fn what_is_expected_is_told() {
        use serde::de::Expected;
        assert_eq!((&LooseVisitor as &dyn Expected).to_string(), "any value");
        let error = serde_json::from_str::<Spelling<u8>>("\"pause\"").map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("an integer or a tagged object"), "{error}");
    }

    #[test]
    fn loose_takes_what_other_formats_have() {
        use serde::de::IntoDeserializer;
        use serde::de::value::{Error, U64Deserializer};
        let seven = || -> U64Deserializer<Error> { 7_u64.into_deserializer() };
        assert_eq!(LooseVisitor.visit_some(seven()), Ok(Loose::Unsigned(7)));
        assert_eq!(LooseVisitor.visit_none::<Error>(), Ok(Loose::Other));
        assert_eq!(LooseVisitor.visit_bytes::<Error>(b"x"), Ok(Loose::Other));
        assert_eq!(LooseVisitor.visit_newtype_struct(seven()), Ok(Loose::Other));
    }
}

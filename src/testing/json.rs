//! The reading and writing of JSON held against `serde_json`.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::any::type_name;
use core::fmt::Debug;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::wire::ids::borrowed_answer_ids;
use crate::wire::recurring::IdFinder;
use crate::wire::{AnswerReader, Encoding, json};

/// Reads `bytes` by the quick reader, by what decoders use, and by `serde_json`. Says whether the quick
/// reader has read them.
///
/// # Errors
/// When the quick reader has another message than `serde_json`, or decoders have another result.
pub fn read_alike<'de, T>(bytes: &'de [u8]) -> Result<bool, String>
where
    T: Deserialize<'de> + PartialEq + Debug,
{
    let (quick, right) = (json::read_plain::<T>(bytes), serde_json::from_slice::<T>(bytes));
    let name = type_name::<T>();
    if let Some(quick) = &quick
        && right.as_ref().ok() != Some(quick)
    {
        return Err(format!("{name}: {quick:?} from the quick reader, and {right:?}"));
    }
    let read = json::read::<T>(bytes);
    let alike = match (&read, &right) {
        (Ok(read), Ok(right)) => read == right,
        (Err(read), Err(right)) => read.to_string() == right.to_string(),
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
    };
    if alike { Ok(quick.is_some()) } else { Err(format!("{name}: {read:?}, and should be {right:?}")) }
}

/// Writes `value` behind what stands in a buffer, and by `serde_json`.
///
/// # Errors
/// When the two differ, or what stood before has changed.
pub fn write_alike<T: Serialize + ?Sized>(value: &T) -> Result<(), String> {
    let mut out = b"head".to_vec();
    let written = json::write(value, &mut out).map(|()| out).map_err(|error| error.to_string());
    let right = serde_json::to_vec(value)
        .map(|right| [b"head", right.as_slice()].concat())
        .map_err(|error| error.to_string());
    if written == right {
        return Ok(());
    }
    let shown = |text: Result<Vec<u8>, String>| text.map(|text| String::from_utf8_lossy(&text).into_owned());
    Err(format!("{}: {:?}, and should be {:?}", type_name::<T>(), shown(written), shown(right)))
}

/// Reads a message both ways and, if it is one, writes it both ways.
///
/// # Errors
/// When there is a difference.
pub fn alike<'de, T>(bytes: &'de [u8]) -> Result<bool, String>
where
    T: Deserialize<'de> + Serialize + PartialEq + Debug,
{
    let read = read_alike::<T>(bytes)?;
    if let Ok(message) = serde_json::from_slice::<T>(bytes) {
        write_alike(&message)?;
    }
    Ok(read)
}

/// Reads the same bytes as values of every kind that serde knows. Says how many the quick reader has read.
///
/// # Errors
/// When there is a difference.
pub fn all_kinds_alike(bytes: &[u8]) -> Result<usize, String> {
    let read = [
        read_alike::<IgnoredAny>(bytes)?,
        read_alike::<Lenient>(bytes)?,
        read_alike::<&str>(bytes)?,
        read_alike::<&[u8]>(bytes)?,
        alike::<Value>(bytes)?,
        alike::<Kinds>(bytes)?,
        alike::<Vec<Kinds>>(bytes)?,
        alike::<String>(bytes)?,
        alike::<char>(bytes)?,
        alike::<bool>(bytes)?,
        alike::<()>(bytes)?,
        alike::<Option<Option<u8>>>(bytes)?,
        alike::<i8>(bytes)?,
        alike::<u16>(bytes)?,
        alike::<i32>(bytes)?,
        alike::<u64>(bytes)?,
        alike::<i64>(bytes)?,
        alike::<u128>(bytes)?,
        alike::<i128>(bytes)?,
        alike::<f32>(bytes)?,
        alike::<f64>(bytes)?,
        alike::<(u8, Option<String>)>(bytes)?,
        alike::<[i64; 2]>(bytes)?,
        alike::<BTreeMap<String, Value>>(bytes)?,
        alike::<BTreeMap<u8, Value>>(bytes)?,
        alike::<BTreeMap<bool, Value>>(bytes)?,
        alike::<BTreeMap<Option<char>, Value>>(bytes)?,
        alike::<BTreeMap<Name, Nothing>>(bytes)?,
    ];
    Ok(read.into_iter().filter(|read| *read).count())
}

/// Reads answers one after the other as a connection does, which remembers what the one before was like, and
/// each of them alone.
///
/// # Errors
/// When one of them, or its ids, is read as another thing after those before it.
pub fn in_a_row<'p>(payloads: impl IntoIterator<Item = &'p [u8]>) -> Result<(), String> {
    let (mut reader, mut finder) = (AnswerReader::default(), IdFinder::default());
    for payload in payloads {
        let (ids, alone) =
            (finder.find(Encoding::Json, payload), borrowed_answer_ids(Encoding::Json, payload));
        if ids != alone {
            return Err(format!("{ids:?} is found, and {alone:?} by itself"));
        }
        let (read, alone) = (reader.read(Encoding::Json, payload), Encoding::Json.decode(payload));
        if read != alone {
            return Err(format!("{read:?} is read, and {alone:?} by itself"));
        }
    }
    Ok(())
}

/// Variants of every kind. Their names are words of the protocol, so that payloads built of those have them.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Kinds {
    Allow,
    Block(Box<Kinds>),
    Redirect(i8, Option<f32>),
    Challenge { status: Option<Name>, body: Option<Many> },
    Custom(Value),
    Metadata(BTreeMap<Name, Newtype>),
}

/// A struct with more in it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Many {
    pub tags: (char, bool),
    pub data: Option<Nothing>,
    pub status: i64,
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// A struct around a number.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Newtype(pub f64);

/// A struct of nothing.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Nothing;

/// An enum that can be a key.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Name {
    Audit,
    CorrelationId,
}

/// Whatever is in a list or a map, where small numbers are expected and anything else is forgiven.
#[derive(Debug, PartialEq)]
pub struct Lenient(Vec<(String, Option<u8>)>);

impl<'de> Deserialize<'de> for Lenient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forgiving;
        impl<'de> serde::de::Visitor<'de> for Forgiving {
            type Value = Lenient;

            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("a list or a map")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Lenient, A::Error> {
                let first = seq.next_element::<Vec<u8>>().unwrap_or_default();
                let first = first.and_then(|list| list.first().copied());
                let second = seq.next_element::<u8>().unwrap_or_default();
                Ok(Lenient([first, second].map(|read| (String::new(), read)).to_vec()))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Lenient, A::Error> {
                let mut all = Vec::new();
                while let Ok(Some(key)) = map.next_key::<&str>() {
                    let list = map.next_value::<Vec<u8>>().ok();
                    all.push((key.to_owned(), list.and_then(|list| list.first().copied())));
                }
                Ok(Lenient(all))
            }
        }
        deserializer.deserialize_any(Forgiving)
    }
}

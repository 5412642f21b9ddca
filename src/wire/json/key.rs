//! Writing the keys of maps, which are text in JSON.

use core::fmt::Display;

use alloc::vec::Vec;

use serde::ser::{Error as _, Impossible, SerializeMap};
use serde::{Serialize, Serializer};
use serde_json::{Error, Result};

use super::escape::write_string;
use super::writer::Writer;

/// Appends a key. Text is written here; of anything else `serde_json` decides what it becomes.
#[inline]
pub(super) fn write_key<T: Serialize + ?Sized>(key: &T, out: &mut Vec<u8>) -> Result<()> {
    key.serialize(KeyWriter(out))
}

/// Writes a key of a map.
struct KeyWriter<'o>(&'o mut Vec<u8>);

/// A map with that key alone.
struct OnlyKey<'k, T: ?Sized>(&'k T);

impl<T: Serialize + ?Sized> Serialize for OnlyKey<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> core::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, &())?;
        map.end()
    }
}

/// Appends a key as `serde_json` writes it.
#[cold]
fn write_rare<T: Serialize + ?Sized>(key: &T, out: &mut Vec<u8>) -> Result<()> {
    let map = serde_json::to_vec(&OnlyKey(key))?;
    let text = map.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b":null}"));
    out.extend_from_slice(text.ok_or_else(|| Error::custom("a map of one key is not written as one"))?);
    Ok(())
}

/// What `serde_json` says of a key that has no form as text.
#[cold]
fn refuse<T>() -> Result<T> {
    serde_json::to_vec(&OnlyKey(&()))?;
    Err(Error::custom("key must be a string"))
}

macro_rules! rare_keys {
    ($($method:ident: $number:ty,)+) => {
        $(
            fn $method(self, value: $number) -> Result<()> {
                write_rare(&value, self.0)
            }
        )+
    };
}

impl Serializer for KeyWriter<'_> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Impossible<(), Error>;
    type SerializeTuple = Impossible<(), Error>;
    type SerializeTupleStruct = Impossible<(), Error>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeMap = Impossible<(), Error>;
    type SerializeStruct = Impossible<(), Error>;
    type SerializeStructVariant = Impossible<(), Error>;

    rare_keys! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_f32: f32,
        serialize_f64: f64,
        serialize_char: char,
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<()> {
        write_string(value, self.0);
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<()> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        value.serialize(self)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<()> {
        Writer(self.0).collect_str(value)
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<()> {
        refuse()
    }

    fn serialize_none(self) -> Result<()> {
        refuse()
    }

    fn serialize_unit(self) -> Result<()> {
        refuse()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<()> {
        refuse()
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<()> {
        refuse()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq> {
        refuse()
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple> {
        refuse()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct> {
        refuse()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant> {
        refuse()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap> {
        refuse()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct> {
        refuse()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant> {
        refuse()
    }
}

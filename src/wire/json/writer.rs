//! Writing messages.

use core::fmt::{self, Display, Write};

use alloc::vec::Vec;

use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::{Error, Result};

use super::compound::Compound;
use super::escape::{write_contents, write_string};

/// Room for a message of usual size, in bytes.
const ROOM: usize = 512;

/// Structs of these names are `serde_json`'s own: numbers and values that are text already.
const PRIVATE: &str = "$serde_json::private::";

/// Appends `message` as `serde_json` writes it: the same bytes, or the same error.
///
/// After an error the bytes behind the old end of `out` mean nothing.
pub(crate) fn write<T: Serialize + ?Sized>(message: &T, out: &mut Vec<u8>) -> Result<()> {
    if out.is_empty() {
        out.reserve(ROOM);
    }
    message.serialize(Writer(out))
}

/// Writes one value.
pub(super) struct Writer<'o>(pub(super) &'o mut Vec<u8>);

impl<'o> Writer<'o> {
    /// Leaves a value to `serde_json`.
    #[cold]
    fn rare<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        self.0.extend_from_slice(&serde_json::to_vec(value)?);
        Ok(())
    }

    #[inline]
    fn literal(self, text: &[u8]) -> Result<()> {
        self.0.extend_from_slice(text);
        Ok(())
    }

    #[inline]
    fn integer(self, number: impl itoa::Integer) -> Result<()> {
        self.literal(itoa::Buffer::new().format(number).as_bytes())
    }

    /// Opens an object around a variant's value, up to the value.
    #[inline]
    fn open_variant(&mut self, variant: &str) {
        self.0.push(b'{');
        write_string(variant, self.0);
        self.0.push(b':');
    }

    #[inline]
    fn list(self, len: Option<usize>) -> Compound<'o> {
        Compound::open(self.0, b"[", b"]", len)
    }

    #[inline]
    fn map(self, len: Option<usize>) -> Compound<'o> {
        Compound::open(self.0, b"{", b"}", len)
    }
}

macro_rules! integers {
    ($($method:ident: $number:ty,)+) => {
        $(
            #[inline]
            fn $method(self, value: $number) -> Result<()> {
                self.integer(value)
            }
        )+
    };
}

macro_rules! rare_values {
    ($($method:ident: $value:ty,)+) => {
        $(
            fn $method(self, value: $value) -> Result<()> {
                self.rare(&value)
            }
        )+
    };
}

impl<'o> Serializer for Writer<'o> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Compound<'o>;
    type SerializeTuple = Compound<'o>;
    type SerializeTupleStruct = Compound<'o>;
    type SerializeTupleVariant = Compound<'o>;
    type SerializeMap = Compound<'o>;
    type SerializeStruct = Compound<'o>;
    type SerializeStructVariant = Compound<'o>;

    integers! {
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
    }

    rare_values! {
        serialize_i128: i128,
        serialize_u128: u128,
        serialize_f32: f32,
        serialize_f64: f64,
        serialize_char: char,
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<()> {
        self.literal(if value { b"true" } else { b"false" })
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<()> {
        write_string(value, self.0);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<()> {
        struct Bytes<'b>(&'b [u8]);
        impl Serialize for Bytes<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> core::result::Result<S::Ok, S::Error> {
                serializer.serialize_bytes(self.0)
            }
        }
        self.rare(&Bytes(value))
    }

    #[inline]
    fn serialize_unit(self) -> Result<()> {
        self.literal(b"null")
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<()> {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_none(self) -> Result<()> {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<()> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<()> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<()> {
        self.open_variant(variant);
        value.serialize(Writer(self.0))?;
        self.literal(b"}")
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Compound<'o>> {
        Ok(self.list(len))
    }

    fn serialize_tuple(self, len: usize) -> Result<Compound<'o>> {
        Ok(self.list(Some(len)))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Compound<'o>> {
        Ok(self.list(Some(len)))
    }

    fn serialize_tuple_variant(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Compound<'o>> {
        self.open_variant(variant);
        Ok(self.list(Some(len)).in_variant())
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Compound<'o>> {
        Ok(self.map(len))
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Compound<'o>> {
        if name.starts_with(PRIVATE) {
            return Ok(Compound::private(self.0, name));
        }
        Ok(self.map(Some(len)))
    }

    fn serialize_struct_variant(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Compound<'o>> {
        self.open_variant(variant);
        Ok(self.map(Some(len)).in_variant())
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<()> {
        struct Contents<'o>(&'o mut Vec<u8>);
        impl Write for Contents<'_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                write_contents(text, self.0);
                Ok(())
            }
        }
        self.0.push(b'"');
        // Only the value itself can refuse.
        write!(Contents(self.0), "{value}").map_err(|_| Error::custom("a value cannot be printed"))?;
        self.literal(b"\"")
    }
}

//! Writing what is made of other values: lists, maps, structs and variants.

use alloc::vec::Vec;

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use serde_json::{Error, Result};

use super::escape::write_name;
use super::key::write_key;
use super::writer::Writer;

/// A list or map that is being written.
pub(super) struct Compound<'o> {
    out: &'o mut Vec<u8>,
    state: State,
    /// What closes it.
    close: &'static [u8],
    /// What closes that which it stands in, if that has no writer of its own.
    outer: &'static [u8],
}

enum State {
    /// It was said to be empty, and is closed.
    Empty,
    /// Nothing is in it yet.
    First,
    /// Something is in it.
    Rest,
    /// It is a struct of that name, which `serde_json` reads something into.
    Private(&'static str),
}

/// A struct with one field, of names that only `serde_json` knows the meaning of.
struct OneField<'v, T: ?Sized> {
    name: &'static str,
    field: &'static str,
    value: &'v T,
}

impl<T: Serialize + ?Sized> Serialize for OneField<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> core::result::Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct(self.name, 1)?;
        fields.serialize_field(self.field, self.value)?;
        fields.end()
    }
}

impl<'o> Compound<'o> {
    /// Opens one of so many entries, if that is known.
    #[inline]
    pub(super) fn open(
        out: &'o mut Vec<u8>,
        open: &'static [u8],
        close: &'static [u8],
        len: Option<usize>,
    ) -> Self {
        out.extend_from_slice(open);
        let state = if len == Some(0) {
            out.extend_from_slice(close);
            State::Empty
        } else {
            State::First
        };
        Self { out, state, close, outer: b"" }
    }

    /// A struct of one field, which `serde_json` writes.
    #[cold]
    pub(super) fn private(out: &'o mut Vec<u8>, name: &'static str) -> Self {
        Self { out, state: State::Private(name), close: b"", outer: b"" }
    }

    /// It is the value of a variant, whose object ends behind it.
    #[inline]
    pub(super) fn in_variant(self) -> Self {
        Self { outer: b"}", ..self }
    }

    /// Goes on to the next entry.
    #[inline]
    fn next(&mut self) {
        if !matches!(self.state, State::First) {
            self.out.push(b',');
        }
        self.state = State::Rest;
    }

    #[inline]
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.next();
        value.serialize(Writer(self.out))
    }

    #[inline]
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.out.push(b':');
        value.serialize(Writer(self.out))
    }

    // Always inlined: where the name is known, what becomes of it is worked out by the compiler.
    #[inline(always)]
    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<()> {
        if let State::Private(of) = self.state {
            return self.private_field(&OneField { name: of, field: name, value });
        }
        self.out.extend_from_slice(if matches!(self.state, State::First) { b"\"" } else { b",\"" });
        self.state = State::Rest;
        write_name(name, self.out);
        self.out.extend_from_slice(b"\":");
        value.serialize(Writer(self.out))
    }

    #[cold]
    fn private_field<T: Serialize + ?Sized>(&mut self, only: &OneField<'_, T>) -> Result<()> {
        self.out.extend_from_slice(&serde_json::to_vec(only)?);
        Ok(())
    }

    #[inline]
    fn close(self) -> Result<()> {
        if !matches!(self.state, State::Empty) {
            self.out.extend_from_slice(self.close);
        }
        self.out.extend_from_slice(self.outer);
        Ok(())
    }
}

macro_rules! lists {
    ($($kind:ident: $method:ident,)+) => {
        $(
            impl $kind for Compound<'_> {
                type Ok = ();
                type Error = Error;

                #[inline]
                fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
                    self.element(value)
                }

                #[inline]
                fn end(self) -> Result<()> {
                    self.close()
                }
            }
        )+
    };
}

lists! {
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field,
}

impl SerializeMap for Compound<'_> {
    type Ok = ();
    type Error = Error;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        self.next();
        write_key(key, self.out)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.value(value)
    }

    #[inline]
    fn end(self) -> Result<()> {
        self.close()
    }
}

macro_rules! structs {
    ($($kind:ident,)+) => {
        $(
            impl $kind for Compound<'_> {
                type Ok = ();
                type Error = Error;

                #[inline(always)]
                fn serialize_field<T: Serialize + ?Sized>(
                    &mut self,
                    name: &'static str,
                    value: &T,
                ) -> Result<()> {
                    self.field(name, value)
                }

                #[inline]
                fn end(self) -> Result<()> {
                    self.close()
                }
            }
        )+
    };
}

structs! {
    SerializeStruct,
    SerializeStructVariant,
}

//! A value of the specification, written in two ways: as TLA+, and as the graphs have it.

use std::fmt::Write;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(u64),
    /// TRUE or FALSE.
    Truth(bool),
    /// A string.
    Word(String),
    /// A tuple or a sequence, which are the same.
    Sequence(Vec<Value>),
    /// A set, in the order of its elements.
    Set(Vec<Value>),
    /// A record, in the order of its keys.
    Record(Vec<(&'static str, Value)>),
}

impl Value {
    /// A record of these.
    #[must_use]
    pub fn record<const N: usize>(fields: [(&'static str, Self); N]) -> Self {
        let mut fields = Vec::from(fields);
        fields.sort_by_key(|(key, _)| *key);
        Self::Record(fields)
    }

    /// A sequence of these.
    pub fn sequence(values: impl IntoIterator<Item = Self>) -> Self {
        Self::Sequence(values.into_iter().collect())
    }

    /// A string.
    #[must_use]
    pub fn word(word: &str) -> Self {
        Self::Word(word.to_string())
    }

    /// As TLA+ has it.
    #[must_use]
    pub fn tla(&self) -> String {
        let mut text = String::new();
        self.write_tla(&mut text);
        text
    }

    /// As the graphs have it: records without their keys, see [`Self::shape`].
    #[must_use]
    pub fn compact(&self) -> String {
        let mut text = String::new();
        self.write_compact(&mut text);
        text
    }

    /// The keys that [`Self::compact`] leaves out.
    #[must_use]
    pub fn shape(&self) -> String {
        match self {
            Self::Record(fields) => {
                let fields = fields.iter().map(|(key, value)| format!("{key}{}", value.shape()));
                format!("({})", fields.collect::<Vec<_>>().join(","))
            }
            Self::Number(_) | Self::Truth(_) | Self::Word(_) | Self::Sequence(_) | Self::Set(_) => {
                String::new()
            }
        }
    }

    fn write_tla(&self, text: &mut String) {
        match self {
            Self::Number(number) => write!(text, "{number}").expect("a string takes all"),
            Self::Truth(truth) => text.push_str(if *truth { "TRUE" } else { "FALSE" }),
            Self::Word(word) => write!(text, "\"{word}\"").expect("a string takes all"),
            Self::Sequence(values) => list(text, ["<<", ">>"], values, Self::write_tla),
            Self::Set(values) => list(text, ["{", "}"], values, Self::write_tla),
            Self::Record(fields) => list(text, ["[", "]"], fields, |(key, value), text| {
                text.push_str(key);
                text.push_str(" |-> ");
                value.write_tla(text);
            }),
        }
    }

    fn write_compact(&self, text: &mut String) {
        match self {
            Self::Number(number) => write!(text, "{number}").expect("a string takes all"),
            Self::Truth(truth) => text.push(if *truth { 'T' } else { 'F' }),
            Self::Word(word) => text.push_str(word),
            Self::Sequence(values) => list(text, ["[", "]"], values, Self::write_compact),
            Self::Set(values) => list(text, ["{", "}"], values, Self::write_compact),
            Self::Record(fields) => {
                list(text, ["(", ")"], fields, |(_, value), text| value.write_compact(text));
            }
        }
    }
}

fn list<T>(text: &mut String, [open, close]: [&str; 2], items: &[T], write: impl Fn(&T, &mut String)) {
    text.push_str(open);
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        write(item, text);
    }
    text.push_str(close);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_written_in_both_ways() {
        let value = Value::record([
            ("b", Value::sequence([Value::Number(1), Value::word("x")])),
            ("a", Value::Set(vec![Value::Truth(true)])),
        ]);
        assert_eq!(value.tla(), "[a |-> {TRUE},b |-> <<1,\"x\">>]");
        assert_eq!(value.compact(), "({T},[1,x])");
        assert_eq!(value.shape(), "(a,b)");
    }
}

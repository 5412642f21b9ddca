//! JSON as this crate reads and writes it, held against `serde_json` under generated input (P10): the same
//! messages, the same bytes, the same errors.

// A failed expectation is what a test is for.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod generate;

use std::fmt::Debug;

use dialback::testing::fuzz;
use dialback::testing::json::{
    Kinds, Lenient, Many, Name, Newtype, Nothing, alike, all_kinds_alike, in_a_row, read_alike, write_alike,
};
use dialback::wire::*;
use generate::*;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

/// A message is written the same, and its text read the same, by the quick reader too unless it has to leave
/// that to the other.
fn same<T>(message: &T) -> bool
where
    T: for<'de> Deserialize<'de> + Serialize + PartialEq + Debug,
{
    write_alike(message).unwrap();
    alike::<T>(&serde_json::to_vec(message).unwrap()).unwrap()
}

fn kinds() -> impl Strategy<Value = Kinds> {
    let name = prop_oneof![Just(Name::Audit), Just(Name::CorrelationId)];
    let many =
        (any::<(char, bool)>(), option::of(Just(Nothing)), any::<i64>(), btree_map("r[a-z]", value(), 0..2))
            .prop_map(|(tags, data, status, rest)| Many { tags, data, status, rest });
    let float = prop_oneof![any::<f64>(), (-9..9).prop_map(f64::from)];
    let leaf = prop_oneof![
        Just(Kinds::Allow),
        (any::<i8>(), option::of(-1.0_f32..1.0)).prop_map(|(a, b)| Kinds::Redirect(a, b)),
        (option::of(name.clone()), option::of(many))
            .prop_map(|(status, body)| Kinds::Challenge { status, body }),
        value().prop_map(Kinds::Custom),
        btree_map(name, float.prop_map(Newtype), 0..3).prop_map(Kinds::Metadata),
    ];
    leaf.prop_recursive(3, 3, 1, |inner| inner.prop_map(|inner| Kinds::Block(Box::new(inner))))
}

/// JSON with white space anywhere, escapes in any spelling, keys twice, numbers of every spelling.
fn text_of_a_value() -> impl Strategy<Value = String> {
    let space = "[ \n\t\r]{0,2}";
    let string = prop_oneof![
        4 => "\"[a-z_]{0,20}\"",
        2 => "\"([ -!#-\\[\\]-~é☃𝄞\u{7f}\u{80}]{0,9}|\\\\[\"\\\\/bfnrt]|\\\\u[0-9a-fA-F]{4}){0,4}\"",
        1 => "\"(\\\\ud83d\\\\ude00|\\\\ud800|\\\\udc00|\\\\u00e9|[\u{0}-\u{1f}]|\\\\x|\\\\){0,2}\"",
    ];
    let number = prop_oneof![
        3 => "(0|[1-9][0-9]{0,21})",
        1 => "-?(0|[1-9][0-9]{0,21})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?",
        1 => "[-+.eE0-9]{1,5}",
        1 => any::<u64>().prop_map(|number| number.to_string()),
        1 => any::<i64>().prop_map(|number| number.to_string()),
    ];
    let leaf = prop_oneof!["null|true|false", string.clone(), number];
    let spaced = (space, leaf, space).prop_map(|(before, leaf, after)| format!("{before}{leaf}{after}"));
    let key = prop_oneof![
        4 => prop::sample::select(vec!["allow", "block", "redirect", "challenge", "status", "audit", "custom",
            "correlation_id", "exchange_id", "metadata", "decision", "tags", "data", "7", "true", "x"])
            .prop_map(|word| format!("\"{word}\"")),
        1 => string,
    ];
    spaced.prop_recursive(5, 40, 5, move |inner| {
        let entry = (space, key.clone(), space, inner.clone())
            .prop_map(|(before, key, after, value)| format!("{before}{key}{after}:{value}"));
        prop_oneof![
            vec(inner, 0..4).prop_map(|values| format!("[{}]", values.join(","))),
            vec(entry, 0..5).prop_map(|entries| format!(" {{{}}}", entries.join(","))),
        ]
    })
}

/// Everything there is, from one text.
fn read_by_everyone(text: &[u8]) {
    all_kinds_alike(text).unwrap();
    // A payload that is taken as it stands, by each of the messages.
    for which in 0..22 {
        fuzz::json(&[&[which, 0], text].concat()).unwrap();
    }
}

proptest! {
    #[test]
    fn events_and_answers_are_as_serde_json_has_them(event in event(), answer in answer()) {
        write_alike(&event).unwrap();
        let text = serde_json::to_vec(&event).unwrap();
        for which in 1..=8 {
            fuzz::json(&[&[which, 0], text.as_slice()].concat()).unwrap();
        }
        same(&answer);
    }

    #[test]
    fn other_messages_are_as_serde_json_has_them(
        registration in registration(),
        response in registration_response(),
        (health, wish) in (health(), wish()),
        (cancel, flow) in (cancel(), flow()),
        (request, answer, metrics) in (forward_request(), forward_response(), metrics()),
    ) {
        // May hold a number that is none, which is not equal to itself.
        write_alike(&metrics).unwrap();
        same(&registration);
        same(&response);
        same(&health);
        same(&wish);
        same(&cancel);
        same(&flow);
        same(&request);
        same(&answer);
    }

    #[test]
    fn what_has_no_escapes_and_no_odd_numbers_is_read_quickly(
        id in "[ -!#-\\[\\]-~é☃]{0,40}",
        number in 0..10_000_000_000_000_000_000_u64,
        decision in prop_oneof![Just(Decision::Allow), (400..600_u16).prop_map(|status| Decision::Block {
            status, body: None, headers: None
        })],
    ) {
        let mut answer = Answer::new(decision).with_tag(id.clone());
        answer.audit.set_ids(&CorrelationId::from(id.as_str()), Some(number));
        prop_assert!(same(&answer));
        let mut event = RequestHeaders::new(id.as_str(), "GET", id.clone());
        event.push_header("accept", id.as_bytes());
        prop_assert!(same(&event));
        let text = serde_json::to_vec(&answer).unwrap();
        prop_assert!(alike::<Value>(&text).unwrap());
    }

    #[test]
    fn values_of_every_kind_are_as_serde_json_has_them(kinds in kinds()) {
        same(&kinds);
        same(&vec![kinds; 2]);
    }

    #[test]
    fn texts_are_read_as_by_serde_json(
        text in text_of_a_value(),
        at in any::<prop::sample::Index>(),
        put in "[\"\\\\{}\\[\\]:,0-9truefalsn.eE +\u{0}\u{1f}é-]{0,2}",
    ) {
        read_by_everyone(text.as_bytes());
        // With something else in one place, cut off there, and with more behind its end.
        let at = at.index(text.len());
        let bytes = text.as_bytes();
        read_by_everyone(&[&bytes[..at], put.as_bytes(), &bytes[at + 1..]].concat());
        read_by_everyone(&bytes[..at]);
        read_by_everyone(&[bytes, put.as_bytes()].concat());
    }

    #[test]
    fn answers_in_a_row_are_read_as_each_alone(
        (one, other) in (answer(), answer()),
        ids in vec(("[ -!#-\\[\\]-~é☃]{0,12}|[\"\\\\\u{0}-\u{20}é]{0,3}", option::of(any::<u64>())), 2..6),
        at in any::<prop::sample::Index>(),
        (put, cut) in ("[\"\\\\{}\\[\\]:,0-9truefalsn.eE +\u{0}\u{1f}é-]{0,4}", 0..4_usize),
    ) {
        let told = |answer: &Answer, (id, exchange): &(String, Option<u64>)| {
            let mut answer = answer.clone();
            answer.audit.set_ids(&CorrelationId::from(id.as_str()), *exchange);
            serde_json::to_vec(&answer).unwrap()
        };
        let mut row: Vec<Vec<u8>> = ids.iter().map(|ids| told(&one, ids)).collect();
        row.extend(ids.iter().map(|ids| told(&other, ids)));
        row.extend(ids.iter().flat_map(|ids| [told(&other, ids), told(&one, ids)]));
        // Each with something else in one place, and then as it was.
        let odd = row.iter().flat_map(|text| {
            let place = at.index(text.len());
            let rest = text.get(place + cut..).unwrap_or_default();
            [text.clone(), [&text[..place], put.as_bytes(), rest].concat(), text.clone()]
        });
        let row: Vec<Vec<u8>> = odd.chain(row.clone()).collect();
        prop_assert_eq!(in_a_row(row.iter().map(Vec::as_slice)), Ok(()));
    }

    #[test]
    fn bytes_are_read_as_by_serde_json(bytes in vec(any::<u8>(), 0..20), text in text_of_a_value()) {
        read_by_everyone(&bytes);
        // Not UTF-8 in a place that a reader may skip.
        read_by_everyone(&[b"{\"x\":\"", bytes.as_slice(), b"\",\"audit\":", text.as_bytes(), b"}"].concat());
    }
}

#[test]
fn nesting_is_read_as_deep_as_by_serde_json() {
    for depth in [1, 100, 126, 127, 128, 129, 300, 20_000] {
        for (open, close) in [("[", "]"), ("{\"block\":", "}"), ("[{\"custom\":", "}]")] {
            let text = [open.repeat(depth), "\"allow\"".into(), close.repeat(depth)].concat();
            let text = text.as_bytes();
            alike::<Value>(text).unwrap();
            alike::<Kinds>(text).unwrap();
            fuzz::json(&[&[21, 0], text].concat()).unwrap();
            // In a field that is skipped.
            fuzz::json(&[b"\0\0{\"decision\":\"allow\",\"x\":", text, b"}"].concat()).unwrap();
        }
    }
}

#[test]
fn an_answer_with_anything_in_the_place_of_its_ids_is_read_as_it_is_alone() {
    let pieces = [
        "",
        "a",
        "7",
        "0",
        "07",
        "-7",
        "7.5",
        "7e1",
        "null",
        "\"",
        "\\",
        "\\\"",
        "\\u0061",
        "\u{1}",
        "é",
        " ",
        ",",
        "}",
        "{",
        "\"}",
        "\",\"exchange_id\":8",
        "\",\"correlation_id\":\"b",
        ",\"exchange_id\":8",
        ",\"correlation_id\":\"b\"",
    ];
    for (first, second) in
        [("\"correlation_id\":\"", "\",\"exchange_id\":"), ("\"exchange_id\":", ",\"correlation_id\":\"")]
    {
        for tail in ["}},\"x\":1}", "\"}},\"x\":1}", ",\"z\":1}}}", ",\"exchange_id\":7}}}", "}}}"] {
            let whole = |one: &str, other: &str| {
                format!("{{\"decision\":\"allow\",\"audit\":{{\"custom\":{{{first}{one}{second}{other}{tail}")
                    .into_bytes()
            };
            let row: Vec<_> = pieces
                .iter()
                .flat_map(|one| {
                    pieces.iter().flat_map(|other| [whole("a", "7"), whole("b", "8"), whole(one, other)])
                })
                .collect();
            in_a_row(row.iter().map(Vec::as_slice)).unwrap();
        }
    }
}

#[test]
fn whoever_forgives_an_error_sees_what_serde_json_would_show() {
    for text in
        ["[[300]", "[[300],7]", "[[300", "[[1,\"x\"],7]", "[7,[1]]", "[[1],300]", "[[[1]]]", "[{\"a\":1}]"]
    {
        read_alike::<Lenient>(text.as_bytes()).unwrap();
        read_alike::<Lenient>(text.replacen('[', "{\"a\":", 1).as_bytes()).unwrap();
    }
    read_alike::<Lenient>(b"{\"a\":[300}").unwrap();
    assert!(read_alike::<Lenient>(b"{\"a\":[3],\"b\":[4]}").unwrap());
}

#[test]
fn what_json_has_no_form_for_is_refused_as_by_serde_json() {
    use std::collections::{BTreeMap, HashMap};
    write_alike(&BTreeMap::from([((1, 2), 3)])).unwrap();
    write_alike(&BTreeMap::from([(Some(1_u8), 3), (None, 4)])).unwrap();
    write_alike(&BTreeMap::from([((), 3)])).unwrap();
    write_alike(&BTreeMap::from([(vec![1], 3)])).unwrap();
    write_alike(&BTreeMap::from([(BTreeMap::from([(1, 1)]), 3)])).unwrap();
    write_alike(&HashMap::from([(1_u128, "a")])).unwrap();
    write_alike(&HashMap::from([(-5_i64, f32::NAN)])).unwrap();
    write_alike(&HashMap::from([('"', f64::INFINITY)])).unwrap();
    write_alike(&HashMap::from([(true, i128::MIN)])).unwrap();
    write_alike(&HashMap::from([(Newtype(1.5).0.to_bits(), Bytes)])).unwrap();
    write_alike(&FloatKey(1.5)).unwrap();
    write_alike(&FloatKey(f64::NAN)).unwrap();
    write_alike(&Miscounted).unwrap();
    write_alike(&Spoken("a \"quoted\"\nword \u{1}")).unwrap();
    write_alike(&(Kinds::Allow, (), Nothing, IgnoredOut)).unwrap();
}

/// One of each kind that serde knows.
enum Every {
    Bool,
    Signed(i8),
    Unsigned(u32),
    Wide,
    WideSigned,
    Float(f32),
    Double(f64),
    Char(char),
    Text(&'static str),
    Spoken,
    Bytes,
    Nothing,
    Some(&'static str),
    Unit,
    UnitStruct,
    UnitVariant,
    Newtype(&'static str),
    NewtypeVariant,
    List,
    Tuple,
    TupleStruct,
    TupleVariant,
    Map,
    Struct,
    StructVariant,
    /// A struct by a name that `serde_json` keeps for its own.
    Private(&'static str),
}

impl Serialize for Every {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::*;
        match self {
            Self::Bool => serializer.serialize_bool(false),
            Self::Signed(number) => serializer.serialize_i8(*number),
            Self::Unsigned(number) => serializer.serialize_u32(*number),
            Self::Wide => serializer.serialize_u128(u128::MAX),
            Self::WideSigned => serializer.serialize_i128(i128::MIN),
            Self::Float(number) => serializer.serialize_f32(*number),
            Self::Double(number) => serializer.serialize_f64(*number),
            Self::Char(letter) => serializer.serialize_char(*letter),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Spoken => serializer.collect_str(&format_args!("{}\n", 1)),
            Self::Bytes => serializer.serialize_bytes(b"a\0\xff"),
            Self::Nothing => serializer.serialize_none(),
            Self::Some(text) => serializer.serialize_some(text),
            Self::Unit => serializer.serialize_unit(),
            Self::UnitStruct => serializer.serialize_unit_struct("Every"),
            Self::UnitVariant => serializer.serialize_unit_variant("Every", 0, "a \"b\""),
            Self::Newtype(text) => serializer.serialize_newtype_struct("Every", text),
            Self::NewtypeVariant => serializer.serialize_newtype_variant("Every", 0, "a \"b\"", &1),
            Self::List => {
                let mut list = serializer.serialize_seq(None)?;
                list.serialize_element("a")?;
                list.end()
            }
            Self::Tuple => {
                let mut list = serializer.serialize_tuple(1)?;
                list.serialize_element("a")?;
                list.end()
            }
            Self::TupleStruct => {
                let mut list = serializer.serialize_tuple_struct("Every", 1)?;
                list.serialize_field("a")?;
                list.end()
            }
            Self::TupleVariant => {
                let mut list = serializer.serialize_tuple_variant("Every", 0, "v", 1)?;
                list.serialize_field("a")?;
                list.end()
            }
            Self::Map => {
                let mut map = serializer.serialize_map(None)?;
                map.serialize_entry("a", "b")?;
                map.end()
            }
            Self::Struct => {
                let mut fields = serializer.serialize_struct("Every", 1)?;
                fields.serialize_field("a \"b\"", "c")?;
                fields.end()
            }
            Self::StructVariant => {
                let mut fields = serializer.serialize_struct_variant("Every", 0, "v", 1)?;
                fields.serialize_field("a", "b")?;
                fields.end()
            }
            Self::Private(name) => {
                let mut fields = serializer.serialize_struct(name, 1)?;
                fields.serialize_field(name, "12")?;
                fields.end()
            }
        }
    }
}

/// A map of one entry.
struct Entry<'a>(&'a Every, &'a Every);

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(self.0, self.1)])
    }
}

#[test]
fn every_kind_is_written_as_by_serde_json_as_a_value_and_as_a_key() {
    let every = [
        Every::Bool,
        Every::Signed(-128),
        Every::Unsigned(7),
        Every::Wide,
        Every::WideSigned,
        Every::Float(-0.5),
        Every::Float(f32::NAN),
        Every::Double(1e300),
        Every::Double(f64::NEG_INFINITY),
        Every::Char('"'),
        Every::Text("a \"quoted\"\nword"),
        Every::Spoken,
        Every::Bytes,
        Every::Nothing,
        Every::Some("a"),
        Every::Unit,
        Every::UnitStruct,
        Every::UnitVariant,
        Every::Newtype("a"),
        Every::NewtypeVariant,
        Every::List,
        Every::Tuple,
        Every::TupleStruct,
        Every::TupleVariant,
        Every::Map,
        Every::Struct,
        Every::StructVariant,
        Every::Private("$serde_json::private::Number"),
        Every::Private("$serde_json::private::RawValue"),
    ];
    for kind in &every {
        write_alike(kind).unwrap();
        write_alike(&Entry(kind, &Every::Text("value"))).unwrap();
        write_alike(&Entry(&Every::Text("key"), kind)).unwrap();
    }
}

/// Two of a kind, by a name or by none.
#[derive(Debug, Deserialize, PartialEq)]
struct Two(u8, Newtype);

/// A struct by a name that `serde_json` keeps for its own.
#[derive(Debug, PartialEq)]
struct Reserved(String);

impl<'de> Deserialize<'de> for Reserved {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> serde::de::Visitor<'de> for Text {
            type Value = Reserved;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text around which there is nothing")
            }

            fn visit_newtype_struct<D: serde::Deserializer<'de>>(
                self,
                inner: D,
            ) -> Result<Reserved, D::Error> {
                String::deserialize(inner).map(Reserved)
            }
        }
        deserializer.deserialize_newtype_struct("$serde_json::private::Dialback", Text)
    }
}

/// A key that is a struct around a text.
#[derive(Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
struct Wrapped(String);

#[test]
fn rare_kinds_are_read_as_by_serde_json() {
    use std::collections::BTreeMap;
    for text in [
        "[1,2.5]",
        "[1]",
        "[1,2,3]",
        "{}",
        "\"a\"",
        "{\"a\":1}",
        "{\"7\":1}",
        "{\"block\":\"allow\"}",
        "\"block\"",
    ] {
        let text = text.as_bytes();
        read_alike::<Two>(text).unwrap();
        read_alike::<Reserved>(text).unwrap();
        read_alike::<BTreeMap<Wrapped, u8>>(text).unwrap();
        read_alike::<BTreeMap<Option<u8>, u8>>(text).unwrap();
        read_alike::<Kinds>(text).unwrap();
    }
    assert!(read_alike::<Two>(b"[1,2.5]").unwrap());
}

struct Bytes;

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(b"a\0\xff")
    }
}

struct FloatKey(f64);

impl Serialize for FloatKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(self.0, Newtype(self.0))])
    }
}

/// Says that it is empty, and is not.
struct Miscounted;

impl Serialize for Miscounted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTupleVariant;
        let mut list = serializer.serialize_tuple_variant("Miscounted", 0, "v", 0)?;
        list.serialize_field(&Spoken("x"))?;
        list.serialize_field(&1.5)?;
        list.end()
    }
}

struct Spoken(&'static str);

impl Serialize for Spoken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}{:?}", self.0, self.0))
    }
}

struct IgnoredOut;

impl Serialize for IgnoredOut {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStructVariant;
        let mut empty = serializer.serialize_struct_variant("IgnoredOut", 0, "empty", 1)?;
        empty.serialize_field("skipped", &None::<u8>)?;
        empty.skip_field("more")?;
        empty.end()
    }
}

#[test]
fn every_number_at_an_edge_is_read_as_by_serde_json() {
    let edges = [
        0_u128,
        1,
        9,
        10,
        1 << 8,
        1 << 16,
        1 << 32,
        1 << 53,
        1 << 63,
        1 << 64,
        10_u128.pow(18),
        10_u128.pow(19),
    ];
    for number in edges.into_iter().flat_map(|edge| edge.saturating_sub(2)..edge + 3) {
        for sign in ["", "-", "0", "-0", "+"] {
            for tail in ["", ".0", "e1", "E-1", ".", "e", "-", " ", ",", "]", "x"] {
                all_kinds_alike(format!("{sign}{number}{tail}").as_bytes()).unwrap();
                all_kinds_alike(format!("[{sign}{number}{tail}]").as_bytes()).unwrap();
            }
        }
    }
    assert!(read_alike::<IgnoredAny>(b"[1,-2,3.5e1]").unwrap());
}

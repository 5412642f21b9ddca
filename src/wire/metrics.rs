//! The metrics an agent reports.

use core::fmt;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::lenient::null_default;

/// Agent to proxy: what the agent counted and measured.
///
/// JSON has no infinity and no NaN: in a gauge or a sum they are written as `null`, and `null` is
/// read as NaN.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct MetricsReport {
    /// The agent.
    pub agent_id: String,
    /// When, in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// The time the report covers, in milliseconds.
    pub interval_ms: u64,
    /// What only grows.
    #[serde(deserialize_with = "null_default")]
    pub counters: Vec<CounterMetric>,
    /// What goes up and down.
    #[serde(deserialize_with = "null_default")]
    pub gauges: Vec<GaugeMetric>,
    /// How values are spread.
    #[serde(deserialize_with = "null_default")]
    pub histograms: Vec<HistogramMetric>,
}

impl MetricsReport {
    /// A report with nothing in it yet.
    #[must_use]
    pub fn new(agent_id: impl Into<String>, interval_ms: u64, timestamp_ms: u64) -> Self {
        Self { agent_id: agent_id.into(), timestamp_ms, interval_ms, ..Self::default() }
    }
}

/// A value that only grows.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct CounterMetric {
    /// Its name.
    pub name: String,
    /// What it means. Not written when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Which one it is of those with this name.
    #[serde(default, deserialize_with = "null_default")]
    pub labels: BTreeMap<String, String>,
    /// The count.
    pub value: u64,
}

impl CounterMetric {
    /// A counter without labels.
    #[must_use]
    pub fn new(name: impl Into<String>, value: u64) -> Self {
        Self { name: name.into(), value, ..Self::default() }
    }
}

/// A value that goes up and down.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct GaugeMetric {
    /// Its name.
    pub name: String,
    /// What it means. Not written when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Which one it is of those with this name.
    #[serde(default, deserialize_with = "null_default")]
    pub labels: BTreeMap<String, String>,
    /// The value.
    #[serde(deserialize_with = "null_is_nan")]
    pub value: f64,
}

impl GaugeMetric {
    /// A gauge without labels.
    #[must_use]
    pub fn new(name: impl Into<String>, value: f64) -> Self {
        Self { name: name.into(), value, ..Self::default() }
    }
}

/// How values are spread.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct HistogramMetric {
    /// Its name.
    pub name: String,
    /// What it means. Not written when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Which one it is of those with this name.
    #[serde(default, deserialize_with = "null_default")]
    pub labels: BTreeMap<String, String>,
    /// The sum of the values.
    #[serde(default, deserialize_with = "null_is_nan")]
    pub sum: f64,
    /// How many values there were.
    #[serde(default)]
    pub count: u64,
    /// How many values were at most so large, for growing bounds.
    #[serde(default, deserialize_with = "null_default")]
    pub buckets: Vec<HistogramBucket>,
}

/// How many values were at most so large.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct HistogramBucket {
    /// The bound: a number, or `"+Inf"` on the wire.
    #[serde(serialize_with = "write_bound", deserialize_with = "read_bound")]
    pub le: f64,
    /// How many.
    #[serde(default)]
    pub count: u64,
}

fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

fn write_bound<S: Serializer>(bound: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if bound.is_finite() {
        serializer.serialize_f64(*bound)
    } else if bound.is_nan() {
        serializer.serialize_str("NaN")
    } else if bound.is_sign_positive() {
        serializer.serialize_str("+Inf")
    } else {
        serializer.serialize_str("-Inf")
    }
}

fn read_bound<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    struct BoundVisitor;
    impl Visitor<'_> for BoundVisitor {
        type Value = f64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number or \"+Inf\"")
        }

        fn visit_f64<E: Error>(self, bound: f64) -> Result<f64, E> {
            Ok(bound)
        }

        // A bound that needs more than 53 bits is rounded.
        fn visit_i64<E: Error>(self, bound: i64) -> Result<f64, E> {
            Ok(bound as f64)
        }

        fn visit_u64<E: Error>(self, bound: u64) -> Result<f64, E> {
            Ok(bound as f64)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<f64, E> {
            text.parse().map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
        }
    }
    deserializer.deserialize_any(BoundVisitor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Encoding;
    use alloc::vec;

    #[test]
    fn a_report_is_written_in_order() {
        let mut report = MetricsReport::new("a", 1000, 9);
        report.counters = vec![CounterMetric::new("n", 3)];
        report.gauges = vec![GaugeMetric::new("g", 0.5)];
        let bucket = HistogramBucket { le: f64::INFINITY, count: 1 };
        report.histograms = vec![HistogramMetric {
            name: "h".into(),
            sum: 2.0,
            count: 1,
            buckets: vec![HistogramBucket { le: 5.0, count: 1 }, bucket],
            ..HistogramMetric::default()
        }];
        let text = r#"{"agent_id":"a","timestamp_ms":9,"interval_ms":1000,"counters":[{"name":"n","labels":{},"value":3}],"gauges":[{"name":"g","labels":{},"value":0.5}],"histograms":[{"name":"h","labels":{},"sum":2.0,"count":1,"buckets":[{"le":5.0,"count":1},{"le":"+Inf","count":1}]}]}"#;
        assert_eq!(serde_json::to_string(&report).unwrap(), text);
        assert_eq!(Encoding::Json.decode(text.as_bytes()), Ok(report));
    }

    #[test]
    fn a_bound_is_a_number_or_a_word() {
        let le = |text: &str| {
            let json = alloc::format!(r#"{{"le":{text}}}"#);
            let bucket = Encoding::Json.decode::<HistogramBucket>(json.as_bytes());
            bucket.map(|bucket| bucket.le)
        };
        assert_eq!(le("5"), Ok(5.0));
        assert_eq!(le("-5"), Ok(-5.0));
        assert_eq!(le("0.25"), Ok(0.25));
        assert_eq!(le("\"0.25\""), Ok(0.25));
        assert_eq!(le("\"+Inf\""), Ok(f64::INFINITY));
        assert_eq!(le("\"Inf\""), Ok(f64::INFINITY));
        assert_eq!(le("\"-Inf\""), Ok(f64::NEG_INFINITY));
        assert!(le("\"much\"").is_err());
        assert!(le("null").is_err());
    }

    #[test]
    fn what_json_cannot_say_reads_as_nan() {
        let text = serde_json::to_string(&GaugeMetric::new("g", f64::INFINITY)).unwrap();
        assert_eq!(text, r#"{"name":"g","labels":{},"value":null}"#);
        let gauge: GaugeMetric = Encoding::Json.decode(text.as_bytes()).unwrap();
        assert!(gauge.value.is_nan());
    }

    #[test]
    fn a_bound_that_is_no_number_is_written_as_a_word() {
        let written = |le| serde_json::to_string(&HistogramBucket { le, count: 1 }).unwrap();
        assert_eq!(written(0.5), r#"{"le":0.5,"count":1}"#);
        assert_eq!(written(f64::INFINITY), r#"{"le":"+Inf","count":1}"#);
        assert_eq!(written(f64::NEG_INFINITY), r#"{"le":"-Inf","count":1}"#);
        assert_eq!(written(f64::NAN), r#"{"le":"NaN","count":1}"#);
        let read: HistogramBucket = Encoding::Json.decode(br#"{"le":"NaN"}"#).unwrap();
        assert!(read.le.is_nan());
        let error = Encoding::Json.decode::<HistogramBucket>(br#"{"le":[]}"#).unwrap_err();
        assert!(error.message().contains("a number or \"+Inf\""), "{error}");
    }
}

//! The events of an HTTP exchange: headers, body pieces, completion.

use alloc::string::String;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::body::Body;
use super::correlation::CorrelationId;
use super::headers::Headers;
use super::lenient::null_default;

/// The headers of a request. The first event of every request.
///
/// On the wire the correlation id stands at the top and in the metadata; here only in the metadata.
/// When the two differ in what a peer sent, the one at the top counts (X-ID-1).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestHeaders {
    /// Who asks, over what, and where to.
    pub metadata: RequestMetadata,
    /// The method, such as `GET`.
    pub method: String,
    /// The request target, as the client sent it.
    pub uri: String,
    /// Header values by name. See [`RequestHeaders::push_header`] for bytes that are not UTF-8.
    pub headers: Headers,
}

impl RequestHeaders {
    /// The headers of a request, with no header yet and empty metadata.
    #[must_use]
    pub fn new(
        correlation_id: impl Into<CorrelationId>,
        method: impl Into<String>,
        uri: impl Into<String>,
    ) -> Self {
        Self {
            metadata: RequestMetadata::new(correlation_id),
            method: method.into(),
            uri: uri.into(),
            headers: Headers::new(),
        }
    }

    /// Adds a value to a header. The name is kept as it is given.
    ///
    /// The wire holds text only (W-HEAD-1): bytes that are not UTF-8 become U+FFFD, the replacement character,
    /// and the agent cannot tell them apart. An agent that must see them cannot do so over this
    /// protocol.
    pub fn push_header(&mut self, name: &str, value: &[u8]) {
        push_header(&mut self.headers, name, value);
    }
}

/// What is known of a request besides its headers. All of it is optional but the id.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(default)]
pub struct RequestMetadata {
    /// The client's address.
    #[serde(deserialize_with = "null_default")]
    pub client_ip: String,
    /// The client's port.
    #[serde(deserialize_with = "null_default")]
    pub client_port: u16,
    /// The id that all events of this request share.
    #[serde(deserialize_with = "null_default")]
    pub correlation_id: CorrelationId,
    /// The HTTP version, such as `HTTP/1.1`.
    #[serde(deserialize_with = "null_default")]
    pub protocol: String,
    /// The proxy's own id of the request.
    #[serde(deserialize_with = "null_default")]
    pub request_id: String,
    /// The route that matched.
    pub route_id: Option<String>,
    /// The server name the client asked for.
    pub server_name: Option<String>,
    /// When the request began, RFC 3339.
    #[serde(deserialize_with = "null_default")]
    pub timestamp: String,
    /// The TLS cipher suite.
    pub tls_cipher: Option<String>,
    /// The TLS version.
    pub tls_version: Option<String>,
    /// The W3C `traceparent`. Not written when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The upstream that will be asked.
    pub upstream_id: Option<String>,
}

impl RequestMetadata {
    /// Metadata of which only the id is known.
    #[must_use]
    pub fn new(correlation_id: impl Into<CorrelationId>) -> Self {
        Self { correlation_id: correlation_id.into(), ..Self::default() }
    }
}

impl Serialize for RequestHeaders {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename = "RequestHeaders")]
        struct Wire<'a> {
            correlation_id: &'a CorrelationId,
            headers: &'a Headers,
            metadata: &'a RequestMetadata,
            method: &'a str,
            uri: &'a str,
        }
        Wire {
            correlation_id: &self.metadata.correlation_id,
            headers: &self.headers,
            metadata: &self.metadata,
            method: &self.method,
            uri: &self.uri,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RequestHeaders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "RequestHeaders")]
        struct Wire {
            #[serde(default)]
            correlation_id: Option<CorrelationId>,
            #[serde(default, deserialize_with = "null_default")]
            headers: Headers,
            #[serde(default)]
            metadata: Option<RequestMetadata>,
            method: String,
            uri: String,
        }
        let wire = Wire::deserialize(deserializer)?;
        if wire.correlation_id.is_none() && wire.metadata.is_none() {
            return Err(D::Error::missing_field("correlation_id"));
        }
        let mut metadata = wire.metadata.unwrap_or_default();
        if let Some(id) = wire.correlation_id
            && !id.is_empty()
        {
            metadata.correlation_id = id;
        }
        Ok(Self { metadata, method: wire.method, uri: wire.uri, headers: wire.headers })
    }
}

/// A piece of a request's body.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct RequestBodyChunk {
    /// Body bytes received from the client so far, this piece included.
    #[serde(default)]
    pub bytes_received: u64,
    /// The position of this piece, from 0.
    #[serde(default)]
    pub chunk_index: u32,
    /// The request.
    pub correlation_id: CorrelationId,
    /// The bytes.
    pub data: Body,
    /// Whether the body ends here.
    #[serde(default)]
    pub is_last: bool,
    /// The length of the whole body in bytes, if known.
    #[serde(default)]
    pub total_size: Option<u64>,
}

impl RequestBodyChunk {
    /// A piece at position 0 that is not the last, counted as all that was received so far.
    #[must_use]
    pub fn new(correlation_id: impl Into<CorrelationId>, data: impl Into<Body>) -> Self {
        let data = data.into();
        Self {
            bytes_received: u64::try_from(data.len()).unwrap_or(u64::MAX),
            correlation_id: correlation_id.into(),
            data,
            ..Self::default()
        }
    }
}

/// The headers of a response.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct ResponseHeaders {
    /// The request.
    pub correlation_id: CorrelationId,
    /// Header values by name. Text only, as in [`RequestHeaders::headers`].
    #[serde(default, deserialize_with = "null_default")]
    pub headers: Headers,
    /// The status code.
    pub status: u16,
}

impl ResponseHeaders {
    /// The headers of a response, with no header yet.
    #[must_use]
    pub fn new(correlation_id: impl Into<CorrelationId>, status: u16) -> Self {
        Self { correlation_id: correlation_id.into(), headers: Headers::new(), status }
    }

    /// Adds a value to a header, as [`RequestHeaders::push_header`] does.
    pub fn push_header(&mut self, name: &str, value: &[u8]) {
        push_header(&mut self.headers, name, value);
    }
}

/// A piece of a response's body.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct ResponseBodyChunk {
    /// Body bytes sent to the client so far, this piece included.
    #[serde(default)]
    pub bytes_sent: u64,
    /// The position of this piece, from 0.
    #[serde(default)]
    pub chunk_index: u32,
    /// The request.
    pub correlation_id: CorrelationId,
    /// The bytes.
    pub data: Body,
    /// Whether the body ends here.
    #[serde(default)]
    pub is_last: bool,
    /// The length of the whole body in bytes, if known.
    #[serde(default)]
    pub total_size: Option<u64>,
}

impl ResponseBodyChunk {
    /// A piece at position 0 that is not the last, counted as all that was sent so far.
    #[must_use]
    pub fn new(correlation_id: impl Into<CorrelationId>, data: impl Into<Body>) -> Self {
        let data = data.into();
        Self {
            bytes_sent: u64::try_from(data.len()).unwrap_or(u64::MAX),
            correlation_id: correlation_id.into(),
            data,
            ..Self::default()
        }
    }
}

/// A request is over, for an agent that keeps a log.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct RequestComplete {
    /// The request.
    pub correlation_id: CorrelationId,
    /// How long it took, in milliseconds.
    #[serde(default)]
    pub duration_ms: u64,
    /// What went wrong, if something did.
    #[serde(default)]
    pub error: Option<String>,
    /// The length of the request's body in bytes.
    #[serde(default)]
    pub request_body_size: u64,
    /// The length of the response's body in bytes.
    #[serde(default)]
    pub response_body_size: u64,
    /// The status the client got.
    #[serde(default)]
    pub status: u16,
    /// How often an upstream was asked.
    #[serde(default)]
    pub upstream_attempts: u32,
}

impl RequestComplete {
    /// A completion with that status, all counts zero.
    #[must_use]
    pub fn new(correlation_id: impl Into<CorrelationId>, status: u16) -> Self {
        Self { correlation_id: correlation_id.into(), status, ..Self::default() }
    }
}

/// Adds a value. Whether it was text, so that nothing of it was replaced.
pub(crate) fn push_header(headers: &mut Headers, name: &str, value: &[u8]) -> bool {
    match core::str::from_utf8(value) {
        Ok(value) => headers.push(name, value),
        Err(_) => {
            headers.push(name, &String::from_utf8_lossy(value));
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Encoding;

    fn read<'de, T: Deserialize<'de>>(json: &'de str) -> T {
        Encoding::Json.decode(json.as_bytes()).unwrap()
    }

    #[test]
    fn the_id_at_the_top_wins_unless_it_is_empty_or_missing() {
        let id = |json| read::<RequestHeaders>(json).metadata.correlation_id;
        let both = r#"{"correlation_id":"top","metadata":{"correlation_id":"m"},"method":"","uri":""}"#;
        assert_eq!(id(both).as_str(), "top");
        let empty = r#"{"correlation_id":"","metadata":{"correlation_id":"m"},"method":"","uri":""}"#;
        assert_eq!(id(empty).as_str(), "m");
        let null = r#"{"correlation_id":null,"metadata":{"correlation_id":"m"},"method":"","uri":""}"#;
        assert_eq!(id(null).as_str(), "m");
        let only = r#"{"correlation_id":"top","method":"","uri":""}"#;
        assert_eq!(id(only).as_str(), "top");
    }

    #[test]
    fn headers_without_any_id_are_an_error() {
        let error = Encoding::Json.decode::<RequestHeaders>(br#"{"method":"GET","uri":"/"}"#).unwrap_err();
        assert!(error.message().contains("correlation_id"), "{error}");
    }

    #[test]
    fn missing_optional_fields_and_unknown_fields_are_fine() {
        let headers: RequestHeaders = read(
            r#"{"metadata":{"correlation_id":"c","client_ip":null,"new":[1]},"method":"GET","uri":"/","headers":null,"x":{}}"#,
        );
        assert_eq!(headers, RequestHeaders::new("c", "GET", "/"));
        let chunk: RequestBodyChunk = read(r#"{"correlation_id":"c","data":"","exchange_id":4}"#);
        assert_eq!(chunk, RequestBodyChunk::new("c", ""));
        let chunk: ResponseBodyChunk = read(r#"{"correlation_id":"c","data":""}"#);
        assert_eq!(chunk, ResponseBodyChunk::new("c", ""));
        let response: ResponseHeaders = read(r#"{"correlation_id":"c","status":204}"#);
        assert_eq!(response, ResponseHeaders::new("c", 204));
        let complete: RequestComplete = read(r#"{"correlation_id":"c","status":204}"#);
        assert_eq!(complete, RequestComplete::new("c", 204));
    }

    #[test]
    fn the_essentials_may_not_be_missing() {
        let chunk = |json: &str| Encoding::Json.decode::<RequestBodyChunk>(json.as_bytes());
        assert!(chunk(r#"{"data":""}"#).is_err());
        assert!(chunk(r#"{"correlation_id":"c"}"#).is_err());
        assert!(chunk(r#"{"correlation_id":"c","data":"!"}"#).is_err());
        let status = Encoding::Json.decode::<ResponseHeaders>(br#"{"correlation_id":"c"}"#);
        assert!(status.is_err());
    }

    #[test]
    // Rule: W-HEAD-1.
    fn header_bytes_that_are_not_text_are_replaced() {
        let mut headers = RequestHeaders::new("c", "GET", "/");
        headers.push_header("x", b"a\xffb");
        headers.push_header("x", b"c");
        assert!(headers.headers.get_all("x").eq(["a\u{fffd}b", "c"]));
        let mut response = ResponseHeaders::new("c", 200);
        response.push_header("x", b"\xff");
        assert!(response.headers.get_all("x").eq(["\u{fffd}"]));
    }

    #[test]
    fn a_chunk_does_not_print_its_bytes() {
        let text = alloc::format!("{:?}", RequestBodyChunk::new("c", "secret"));
        assert!(!text.contains("secret") && text.contains("6 bytes"), "{text}");
    }
}

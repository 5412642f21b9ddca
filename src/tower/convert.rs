//! From `http`'s types to the wire's, and what becomes of bytes on the way.
//!
//! HTTP header values are bytes; on the wire they are text (W-HEAD-1). Going there, bytes that are not
//! UTF-8 become U+FFFD, the replacement character: the agent sees that there was something, not what.
//! [`Converted::replaced`] names the headers in which that happened, and [`NotUtf8`](super::NotUtf8) says
//! what the layer does about it. Nothing is written back: a header that no agent changes keeps its bytes.
//! Coming back, a value that an agent sets becomes its UTF-8 bytes, so one that repeats what it saw writes
//! the replacement character.
//!
//! Bodies are bytes on both sides.

use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{self, HeaderMap, HeaderName};
use http::{Version, request, response};

use crate::wire::http::push_header;
use crate::wire::{CorrelationId, Headers, RequestHeaders, RequestMetadata, ResponseHeaders};

/// An event made of an HTTP message.
#[derive(Clone, Debug, PartialEq)]
pub struct Converted<T> {
    /// The event.
    pub event: T,
    /// Headers in which bytes that are not UTF-8 were replaced, each named once.
    pub replaced: Vec<HeaderName>,
}

/// The event of a request's headers.
///
/// The URI is the path and query where there is one, else the whole target, as for `CONNECT`. A `host`
/// header is added from the target where the message has none, as in HTTP/2. `metadata` is taken as it
/// is; see [`metadata`] for one to begin with.
#[must_use]
pub fn request_headers(parts: &request::Parts, metadata: RequestMetadata) -> Converted<RequestHeaders> {
    let (mut headers, replaced) = text(&parts.headers);
    if !parts.headers.contains_key(header::HOST)
        && let Some(authority) = parts.uri.authority()
    {
        headers.push("host", authority.as_str());
    }
    let uri = parts.uri.path_and_query().map_or_else(|| parts.uri.to_string(), ToString::to_string);
    let method = parts.method.as_str().into();
    Converted { event: RequestHeaders { metadata, method, uri, headers }, replaced }
}

/// The event of a response's headers.
#[must_use]
pub fn response_headers(id: CorrelationId, parts: &response::Parts) -> Converted<ResponseHeaders> {
    let (headers, replaced) = text(&parts.headers);
    Converted {
        event: ResponseHeaders { correlation_id: id, headers, status: parts.status.as_u16() },
        replaced,
    }
}

/// What a request's head tells for its metadata: the protocol, the server's name, the trace context, and
/// the time, which is now. The rest stays empty.
#[must_use]
pub fn metadata(id: CorrelationId, parts: &request::Parts) -> RequestMetadata {
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let host = header("host").or_else(|| parts.uri.authority().map(http::uri::Authority::as_str));
    let name = host
        .map(|host| host.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(host, |(name, _)| name));
    RequestMetadata {
        request_id: id.as_str().into(),
        correlation_id: id,
        protocol: protocol(parts.version).into(),
        server_name: name.map(Into::into),
        timestamp: rfc3339(SystemTime::now()),
        traceparent: header("traceparent").map(Into::into),
        ..RequestMetadata::default()
    }
}

/// All values by lower-case name, in their order, and the names of those that were no text.
fn text(headers: &HeaderMap) -> (Headers, Vec<HeaderName>) {
    let (mut text, mut replaced) = (Headers::new(), Vec::new());
    for (name, value) in headers {
        if !push_header(&mut text, name.as_str(), value.as_bytes()) && replaced.last() != Some(name) {
            replaced.push(name.clone());
        }
    }
    (text, replaced)
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        // The type has no end to its values.
        _ => "HTTP/1.1",
    }
}

/// A time in UTC, to the millisecond. Before 1970 is taken for 1970.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let (year, month, day) = civil(seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
}

/// The date of a day that is counted from 1970-01-01, by years that begin in March.
const fn civil(days: u64) -> (u64, u64, u64) {
    // Days since 0000-03-01, for any time that a clock can tell.
    let days = days.saturating_add(719_468);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leaps = (day_of_era / 1_460).saturating_add(day_of_era / 146_096);
    let year_of_era = day_of_era.saturating_add(day_of_era / 36_524).saturating_sub(leaps) / 365;
    let before =
        year_of_era.saturating_mul(365).saturating_add(year_of_era / 4).saturating_sub(year_of_era / 100);
    let day_of_year = day_of_era.saturating_sub(before);
    let shifted = day_of_year.saturating_mul(5).saturating_add(2) / 153;
    let day = day_of_year.saturating_sub(shifted.saturating_mul(153).saturating_add(2) / 5).saturating_add(1);
    let month = if shifted < 10 { shifted.saturating_add(3) } else { shifted.saturating_sub(9) };
    let year = era.saturating_mul(400).saturating_add(year_of_era);
    (if month <= 2 { year.saturating_add(1) } else { year }, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parts(request: http::request::Builder) -> request::Parts {
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn times_are_written_as_people_expect() {
        let at = |seconds: u64| rfc3339(UNIX_EPOCH + Duration::from_millis(seconds * 1_000 + 7));
        // From `date -u -d @N`.
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_399, "2000-02-28T23:59:59.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (951_868_800, "2000-03-01T00:00:00.007Z"),
            (1_709_251_199, "2024-02-29T23:59:59.007Z"),
            (1_767_225_599, "2025-12-31T23:59:59.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            assert_eq!(at(seconds), text);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_and_named() {
        let request = http::Request::get("/a?b=c")
            .header("x", &b"a\xffb"[..])
            .header("x", "fine")
            .header("y", "gr\u{fc}n".as_bytes())
            .header("z", &b"\xc3"[..]);
        let converted = request_headers(&parts(request), RequestMetadata::new("c"));
        assert!(converted.event.headers.get_all("x").eq(["a\u{fffd}b", "fine"]));
        assert!(converted.event.headers.get_all("y").eq(["gr\u{fc}n"]));
        assert_eq!(converted.replaced, ["x", "z"]);
        assert_eq!((converted.event.method.as_str(), converted.event.uri.as_str()), ("GET", "/a?b=c"));
        let twice =
            http::Request::get("/").header("x", &b"\xff"[..]).header("y", "").header("x", &b"\xfe"[..]);
        assert_eq!(request_headers(&parts(twice), RequestMetadata::new("c")).replaced, ["x"]);
    }

    #[test]
    fn a_target_that_names_the_host_gives_the_header() {
        let two = request_headers(
            &parts(http::Request::get("https://a.example:8443/p")),
            RequestMetadata::new("c"),
        );
        assert_eq!(two.event.uri, "/p");
        assert!(two.event.headers.get_all("host").eq(["a.example:8443"]));
        let one = http::Request::get("https://a.example/").header("host", "b");
        let one = request_headers(&parts(one), RequestMetadata::new("c"));
        assert!(one.event.headers.get_all("host").eq(["b"]));
        let tunnel = request_headers(&parts(http::Request::connect("a:443")), RequestMetadata::new("c"));
        assert_eq!(tunnel.event.uri, "a:443");
    }

    #[test]
    fn metadata_tells_what_the_head_does() {
        let request = http::Request::get("/")
            .version(Version::HTTP_10)
            .header("host", "[::1]:80")
            .header("traceparent", "00-1-2-3");
        let told = metadata("c".into(), &parts(request));
        assert_eq!((told.protocol.as_str(), told.server_name.as_deref()), ("HTTP/1.0", Some("[::1]")));
        assert_eq!((told.request_id.as_str(), told.traceparent.as_deref()), ("c", Some("00-1-2-3")));
        let bare = metadata("c".into(), &parts(http::Request::get("https://[::1]/")));
        assert_eq!(bare.server_name.as_deref(), Some("[::1]"));
    }

    #[test]
    fn a_response_is_told_with_its_status() {
        let response =
            http::Response::builder().status(404).header("a", "1").header("a", "2").body(()).unwrap();
        let converted = response_headers("c".into(), &response.into_parts().0);
        assert_eq!((converted.event.status, converted.replaced.len()), (404, 0));
        assert!(converted.event.headers.get_all("a").eq(["1", "2"]));
    }
}

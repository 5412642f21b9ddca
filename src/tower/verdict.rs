//! Decisions as responses.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use http::{Response, StatusCode};

use crate::wire::{Answer, Decision, HeaderOp};

use super::config::AskConfig;
use super::guard::clip;
use super::summary::Outcome;

/// An end that a decision makes.
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    pub(super) response: Response<Bytes>,
    /// Changes to headers that the guard refused.
    pub(super) refused_changes: usize,
}

/// Makes a response of an answer that is no allow, with its changes to the response's headers; none of an
/// allow.
///
/// # Errors
/// What can't be carried out.
pub(super) fn verdict(answer: &Answer, config: &AskConfig) -> Result<Option<Verdict>, String> {
    let mut refused_changes = 0;
    let (outcome, mut response) = match &answer.decision {
        Decision::Allow => return Ok(None),
        Decision::Block { status, body, headers } => {
            let code = StatusCode::from_u16(*status).ok().filter(|code| !code.is_informational());
            let code = code.ok_or_else(|| format!("a block with status {status}, which ends no request"))?;
            let mut response = plain(code, body.clone().unwrap_or_default());
            let ops: Vec<_> =
                headers.iter().flatten().map(|(name, value)| HeaderOp::set(name, value)).collect();
            refused_changes = config.guard.apply(&ops, response.headers_mut());
            (Outcome::Blocked, response)
        }
        Decision::Redirect { url, status } => (Outcome::Redirected, redirect(url, *status)?),
        Decision::Challenge { challenge_type, params } => {
            (Outcome::Challenged, (config.hooks.challenge)(challenge_type, params))
        }
    };
    let ops = config.guard.apply(&answer.response_headers, response.headers_mut());
    refused_changes = refused_changes.saturating_add(ops);
    Ok(Some(Verdict { outcome, response, refused_changes }))
}

/// A response of plain text; without a body if there is none.
pub(super) fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Bytes> {
    let text = text.into();
    let typed = !text.is_empty();
    let mut response = Response::new(text);
    *response.status_mut() = status;
    if typed {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    response
}

fn redirect(url: &str, status: u16) -> Result<Response<Bytes>, String> {
    let location = HeaderValue::from_bytes(url.as_bytes()).ok().filter(|value| !value.is_empty());
    let location = location.ok_or_else(|| format!("a redirect to what is no URL: {:?}", clip(url)))?;
    let status = match status {
        301 | 302 | 303 | 307 | 308 => StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND),
        _ => return Err(format!("a redirect with status {status}; 301, 302, 303, 307 or 308 redirect")),
    };
    let mut response = plain(status, Bytes::new());
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// The response to a challenge, unless somebody makes another.
pub(super) fn challenge(kind: &str, params: &BTreeMap<String, String>) -> Response<Bytes> {
    let json = serde_json::json!({ "challenge_type": kind, "params": params }).to_string();
    let mut response = plain(StatusCode::UNAUTHORIZED, json);
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(value) = authenticate(kind, params) {
        headers.insert(WWW_AUTHENTICATE, value);
    }
    response
}

/// A scheme with its parameters quoted, after RFC 9110; parameters whose names are no words are left out.
fn authenticate(kind: &str, params: &BTreeMap<String, String>) -> Option<HeaderValue> {
    if !is_word(kind) {
        return None;
    }
    let mut text = kind.to_string();
    let params = params.iter().filter(|(name, _)| is_word(name));
    for (number, (name, value)) in params.enumerate() {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        let _ = write!(text, "{}{name}=\"{value}\"", if number == 0 { " " } else { ", " });
    }
    HeaderValue::from_bytes(text.as_bytes()).ok()
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(answer: &Answer) -> Verdict {
        verdict(answer, &AskConfig::default()).unwrap().unwrap()
    }

    fn error(answer: &Answer) -> String {
        verdict(answer, &AskConfig::default()).err().unwrap()
    }

    #[test]
    fn an_allow_ends_nothing() {
        assert!(verdict(&Answer::allow(), &AskConfig::default()).unwrap().is_none());
    }

    #[test]
    fn a_block_is_what_it_says() {
        let mut answer =
            Answer::block(451).with_body("no").with_response_header(HeaderOp::set("x-why", "law"));
        if let Decision::Block { headers, .. } = &mut answer.decision {
            let given = [("content-type", "text/html"), ("content-length", "9"), ("retry-after", "5")];
            *headers = Some(given.map(|(name, value)| (name.into(), value.into())).into());
        }
        let verdict = of(&answer);
        assert_eq!((verdict.outcome, verdict.refused_changes), (Outcome::Blocked, 1));
        let (parts, body) = verdict.response.into_parts();
        assert_eq!((parts.status.as_u16(), &body[..]), (451, &b"no"[..]));
        assert_eq!(
            (&parts.headers["content-type"], &parts.headers["retry-after"]),
            (&"text/html".parse().unwrap(), &"5".parse().unwrap())
        );
        assert_eq!(parts.headers["x-why"], "law");
        assert!(!parts.headers.contains_key("content-length"));
    }

    #[test]
    fn what_is_no_response_is_an_error() {
        assert!(error(&Answer::block(99)).contains("99"));
        assert!(error(&Answer::block(100)).contains("100"));
        assert!(error(&Answer::redirect("/a\r\nx: y", 302)).contains("no URL"));
        assert!(error(&Answer::redirect("", 302)).contains("no URL"));
        assert!(error(&Answer::redirect("/", 200)).contains("200"));
    }

    #[test]
    fn a_challenge_asks_in_words_that_http_has() {
        let params = BTreeMap::from([("realm".into(), "a \"b\"".into()), ("no word".into(), "x".into())]);
        let verdict = of(&Answer::challenge("Basic", params.clone()));
        assert_eq!(verdict.outcome, Outcome::Challenged);
        assert_eq!(verdict.response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(verdict.response.headers()["www-authenticate"], r#"Basic realm="a \"b\"""#);
        let verdict = of(&Answer::challenge("two words", params));
        assert!(!verdict.response.headers().contains_key("www-authenticate"));
        let json: serde_json::Value = serde_json::from_slice(verdict.response.body()).unwrap();
        assert_eq!(json["challenge_type"], "two words");
    }
}

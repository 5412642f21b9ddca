//! Rules: what they look like in a file, and what is wrong with them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use dialback::wire::{Answer, Decision, HeaderOp, RequestHeaders};
use serde::Deserialize;
use toml::Spanned;

use crate::failure::Failure;
use crate::secrets::read;

use super::pattern::Pattern;

/// Rules, in the order of the file. The first that fits a request decides on it.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    methods: Vec<String>,
    path: Option<Pattern>,
    headers: Vec<(String, Pattern)>,
    answer: Answer,
}

/// A file of rules.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<Spanned<Written>>,
}

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Option<String>,
    methods: Option<Spanned<Vec<String>>>,
    path: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    block: Option<Spanned<Block>>,
    redirect: Option<Spanned<Redirect>>,
    challenge: Option<Spanned<Challenge>>,
    #[serde(default)]
    request: Changes,
    #[serde(default)]
    response: Changes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    status: Spanned<u16>,
    body: Option<String>,
    headers: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Redirect {
    to: Spanned<String>,
    status: Option<Spanned<u16>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Challenge {
    r#type: String,
    #[serde(default)]
    params: BTreeMap<String, String>,
}

/// Changes to headers, in this order.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Changes {
    #[serde(default)]
    remove: Vec<String>,
    #[serde(default)]
    set: BTreeMap<String, String>,
    #[serde(default)]
    add: BTreeMap<String, String>,
}

/// What is wrong with a file of rules, and where.
#[derive(Debug)]
pub struct Wrong {
    line: usize,
    column: usize,
    words: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.words)
    }
}

impl Rules {
    pub fn from_file(path: &Path) -> Result<Self, Failure> {
        Self::parse(&read(path)?).map_err(|wrong| Failure::Failed(format!("{}:{wrong}", path.display())))
    }

    /// Reads rules.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        let wrong = |span: Range<usize>, words: String| {
            let (line, column) = position(text, span.start);
            Wrong { line, column, words }
        };
        let file: File = toml::from_str(text)
            .map_err(|error| wrong(error.span().unwrap_or_default(), one_line(error.message())))?;
        let rules = file.rule.into_iter().map(|rule| {
            let span = rule.span();
            rule.into_inner().rule(span).map_err(|(span, words)| wrong(span, words))
        });
        rules.collect::<Result<_, _>>().map(Self)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The answer of the first rule that fits; an allow if none does.
    pub fn answer(&self, event: &RequestHeaders) -> Answer {
        let fitting = self.0.iter().find(|rule| rule.fits(event));
        fitting.map_or_else(Answer::allow, |rule| rule.answer.clone())
    }
}

impl Rule {
    fn fits(&self, event: &RequestHeaders) -> bool {
        // A rule about a path is about the path, not about what is asked of it.
        let path = event.uri.split(['?', '#']).next().unwrap_or_default();
        (self.methods.is_empty() || self.methods.contains(&event.method))
            && self.path.as_ref().is_none_or(|pattern| pattern.matches(path))
            && self.headers.iter().all(|(name, pattern)| {
                let mut named = event.headers.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name));
                named.any(|(_, value)| pattern.matches(value))
            })
    }
}

/// What is wrong, and where.
type Complaint = (Range<usize>, String);

impl Written {
    fn rule(self, span: Range<usize>) -> Result<Rule, Complaint> {
        let decided = [
            self.block.as_ref().map(Spanned::span),
            self.redirect.as_ref().map(Spanned::span),
            self.challenge.as_ref().map(Spanned::span),
        ];
        let mut decided: Vec<_> = decided.into_iter().flatten().collect();
        decided.sort_by_key(|span| span.start);
        if let [_, second, ..] = decided.as_slice() {
            return Err((
                second.clone(),
                "a rule can decide once; give one of block, redirect and challenge, or none to allow".into(),
            ));
        }
        let mut answer = Answer::new(decision(self.block, self.redirect, self.challenge)?);
        for (changes, ops) in
            [(self.request, &mut answer.request_headers), (self.response, &mut answer.response_headers)]
        {
            ops.extend(changes.ops().map_err(|words| (span.clone(), words))?);
        }
        answer.audit.rule_ids.extend(self.name);
        Ok(Rule {
            methods: methods(self.methods)?,
            path: self.path.as_deref().map(Pattern::new),
            headers: self.headers.into_iter().map(|(name, value)| (name, Pattern::new(&value))).collect(),
            answer,
        })
    }
}

fn decision(
    block: Option<Spanned<Block>>,
    redirect: Option<Spanned<Redirect>>,
    challenge: Option<Spanned<Challenge>>,
) -> Result<Decision, Complaint> {
    if let Some(block) = block {
        let Block { status, body, headers } = block.into_inner();
        let status = within(status, 200..=599, "a block's status must be 200 to 599")?;
        return Ok(Decision::Block { status, body, headers });
    }
    if let Some(redirect) = redirect {
        let Redirect { to, status } = redirect.into_inner();
        if to.get_ref().is_empty() {
            return Err((to.span(), "a redirect needs somewhere to go".into()));
        }
        let status = match status {
            None => 302,
            Some(status) if [301, 302, 303, 307, 308].contains(status.get_ref()) => status.into_inner(),
            Some(status) => {
                let words = format!(
                    "a redirect's status must be 301, 302, 303, 307 or 308; it is {}",
                    status.get_ref()
                );
                return Err((status.span(), words));
            }
        };
        return Ok(Decision::Redirect { url: to.into_inner(), status });
    }
    if let Some(challenge) = challenge {
        let Challenge { r#type, params } = challenge.into_inner();
        return Ok(Decision::Challenge { challenge_type: r#type, params });
    }
    Ok(Decision::Allow)
}

fn within(number: Spanned<u16>, range: std::ops::RangeInclusive<u16>, words: &str) -> Result<u16, Complaint> {
    if range.contains(number.get_ref()) {
        return Ok(number.into_inner());
    }
    Err((number.span(), format!("{words}; it is {}", number.get_ref())))
}

fn methods(written: Option<Spanned<Vec<String>>>) -> Result<Vec<String>, Complaint> {
    let Some(written) = written else { return Ok(Vec::new()) };
    let bad = |method: &&String| {
        method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase() || b"-_".contains(&byte))
    };
    if let Some(method) = written.get_ref().iter().find(bad) {
        return Err((
            written.span(),
            format!("{method:?} is no method; methods are in capitals, as in \"GET\""),
        ));
    }
    if written.get_ref().is_empty() {
        return Err((
            written.span(),
            "no method fits an empty list; leave it out to fit every method".into(),
        ));
    }
    Ok(written.into_inner())
}

impl Changes {
    fn ops(self) -> Result<Vec<HeaderOp>, String> {
        let mut ops: Vec<HeaderOp> = self.remove.into_iter().map(HeaderOp::remove).collect();
        ops.extend(self.set.into_iter().map(|(name, value)| HeaderOp::set(name, value)));
        ops.extend(self.add.into_iter().map(|(name, value)| HeaderOp::add(name, value)));
        for op in &ops {
            let (HeaderOp::Set { name, .. } | HeaderOp::Add { name, .. } | HeaderOp::Remove { name }) = op;
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if name.is_empty() || !name.bytes().all(fits) {
                return Err(format!("{name:?} is no name of a header"));
            }
            if let HeaderOp::Set { value, .. } | HeaderOp::Add { value, .. } = op
                && value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t')
            {
                return Err(format!("the value of the header {name} has a control character"));
            }
        }
        Ok(ops)
    }
}

/// The line and the column of a place in a text, both counted from 1.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count().saturating_add(1);
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
    (line, column)
}

fn one_line(words: &str) -> String {
    words.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
[[rule]]
name = "no-admin"
path = "/admin*"
block = { status = 403, body = "no entry", headers = { "x-why" = "rule" } }

[[rule]]
methods = ["POST", "PUT"]
path = "/old/*"
redirect = { to = "https://new.example/", status = 308 }

[[rule]]
headers = { "User-Agent" = "*bot*" }
challenge = { type = "captcha", params = { site = "key" } }

[[rule]]
request = { set = { "x-seen" = "1" }, add = { via = "dialback" }, remove = ["cookie"] }
response.remove = ["server"]
"#;

    fn answer(method: &str, uri: &str, agent: Option<&str>) -> Answer {
        let mut event = RequestHeaders::new("id", method, uri);
        if let Some(agent) = agent {
            event.push_header("user-agent", agent.as_bytes());
        }
        Rules::parse(RULES).unwrap().answer(&event)
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let block = answer("POST", "/admin/x?y", None);
        let Decision::Block { status: 403, body: Some(body), headers: Some(headers) } = block.decision else {
            panic!("{block:?}")
        };
        assert_eq!((body.as_str(), headers["x-why"].as_str()), ("no entry", "rule"));
        assert_eq!(block.audit.rule_ids, ["no-admin"]);
        assert_eq!(
            answer("PUT", "/old/a", None).decision,
            Answer::redirect("https://new.example/", 308).decision
        );
        assert!(answer("GET", "/old/a", None).is_allow());
        let challenge = answer("GET", "/", Some("a bot it is")).decision;
        assert!(
            matches!(challenge, Decision::Challenge { challenge_type, .. } if challenge_type == "captcha")
        );
        let changed = answer("GET", "/?path=/admin", Some("curl"));
        assert_eq!(
            changed.request_headers,
            [HeaderOp::remove("cookie"), HeaderOp::set("x-seen", "1"), HeaderOp::add("via", "dialback")]
        );
        assert_eq!(changed.response_headers, [HeaderOp::remove("server")]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let cases = [
            ("[[rule]]\nblock = { status = 99 }", "2:20: a block's status must be 200 to 599; it is 99"),
            ("[[rule]]\nblok = 1", "2:1: unknown field `blok`"),
            ("\n\n[[rule]]\npath = 3", "4:8: invalid type: integer `3`, expected a string"),
            ("[[rule]]\npath = \"", "2:"),
            ("[[rule]]\nblock = {}", "missing field `status`"),
            ("[[rule]]\nredirect = { to = \"\" }", "2:19: a redirect needs"),
            ("[[rule]]\nredirect = { to = \"/\", status = 200 }", "2:33: a redirect's status"),
            ("[[rule]]\nblock = { status = 403 }\nredirect = { to = \"/\" }", "3:12: a rule can decide once"),
            ("[[rule]]\nmethods = [\"get\"]", "2:11: \"get\" is no method"),
            ("[[rule]]\nmethods = []", "2:11: no method fits"),
            ("[[rule]]\nrequest.set = { \"a b\" = \"\" }", "\"a b\" is no name"),
            ("[[rule]]\nrequest.set = { a = \"x\\ny\" }", "control character"),
            ("[rules]\n", "1:2: unknown field `rules`"),
        ];
        for (text, words) in cases {
            let wrong = Rules::parse(text).unwrap_err().to_string();
            assert!(wrong.contains(words), "{text:?}: {wrong}");
            assert!(!wrong.contains('\n'), "{wrong:?}");
        }
    }
}

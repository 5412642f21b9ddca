//! Builders for answers that do not let a request pass. Each offers what its decision has, and
//! nothing that another would ignore.

use alloc::collections::BTreeMap;
use alloc::string::String;

use super::answer::Answer;
use super::decision::Decision;

/// The request ends here, with an error of the agent's choice.
///
/// ```
/// use dialback::wire::{Answer, Block};
///
/// let answer: Answer = Block::new(429).body("slow down").header("retry-after", "5").into();
/// assert!(!answer.is_allow());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use = "an answer is nothing until it is given"]
pub struct Block {
    status: u16,
    body: Option<String>,
    headers: BTreeMap<String, String>,
}

impl Block {
    /// It ends with that status code, no body and no header.
    pub const fn new(status: u16) -> Self {
        Self { status, body: None, headers: BTreeMap::new() }
    }

    /// The body that the client gets.
    pub fn body(mut self, text: impl Into<String>) -> Self {
        self.body = Some(text.into());
        self
    }

    /// A header that the client gets. The last one of a name counts.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }
}

/// The client is sent elsewhere. There is a constructor for each status code that does this.
///
/// ```
/// use dialback::wire::{Answer, Redirect};
///
/// assert_eq!(Answer::from(Redirect::found("/login")), Answer::redirect("/login", 302));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use = "an answer is nothing until it is given"]
pub struct Redirect {
    url: String,
    status: u16,
}

impl Redirect {
    fn new(url: impl Into<String>, status: u16) -> Self {
        Self { url: url.into(), status }
    }

    /// 301: for good; the method may become GET.
    pub fn moved_permanently(url: impl Into<String>) -> Self {
        Self::new(url, 301)
    }

    /// 302: for now; the method may become GET.
    pub fn found(url: impl Into<String>) -> Self {
        Self::new(url, 302)
    }

    /// 303: to be fetched with GET.
    pub fn see_other(url: impl Into<String>) -> Self {
        Self::new(url, 303)
    }

    /// 307: for now, with the same method and body.
    pub fn temporary(url: impl Into<String>) -> Self {
        Self::new(url, 307)
    }

    /// 308: for good, with the same method and body.
    pub fn permanent(url: impl Into<String>) -> Self {
        Self::new(url, 308)
    }
}

/// The client has to prove something first.
///
/// ```
/// use dialback::wire::{Answer, Challenge};
///
/// let answer: Answer = Challenge::new("captcha").param("site_key", "abc").into();
/// assert!(!answer.is_allow());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use = "an answer is nothing until it is given"]
pub struct Challenge {
    challenge_type: String,
    params: BTreeMap<String, String>,
}

impl Challenge {
    /// What kind of proof; the proxy knows which kinds there are.
    pub fn new(challenge_type: impl Into<String>) -> Self {
        Self { challenge_type: challenge_type.into(), params: BTreeMap::new() }
    }

    /// What the kind needs to know. The last one of a name counts.
    pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.params.insert(name.into(), value.into());
        self
    }
}

impl From<Block> for Decision {
    fn from(block: Block) -> Self {
        let Block { status, body, headers } = block;
        Self::Block { status, body, headers: (!headers.is_empty()).then_some(headers) }
    }
}

impl From<Redirect> for Decision {
    fn from(redirect: Redirect) -> Self {
        Self::Redirect { url: redirect.url, status: redirect.status }
    }
}

impl From<Challenge> for Decision {
    fn from(challenge: Challenge) -> Self {
        Self::Challenge { challenge_type: challenge.challenge_type, params: challenge.params }
    }
}

macro_rules! answers {
    ($($verdict:ty,)+) => {
        $(impl From<$verdict> for Answer {
            fn from(verdict: $verdict) -> Self {
                Self::new(verdict.into())
            }
        })+
    };
}

answers! {
    Decision,
    Block,
    Redirect,
    Challenge,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_what_it_was_given_and_nothing_else() {
        assert_eq!(Answer::from(Block::new(403)), Answer::block(403));
        assert_eq!(Answer::from(Block::new(403).body("no")), Answer::block(403).with_body("no"));
        let headers = BTreeMap::from([("a".into(), "2".into())]);
        let wanted = Decision::Block { status: 429, body: None, headers: Some(headers) };
        assert_eq!(Decision::from(Block::new(429).header("a", "1").header("a", "2")), wanted);
    }

    #[test]
    fn every_redirect_has_its_status() {
        let all = [
            (Redirect::moved_permanently("/x"), 301),
            (Redirect::found("/x"), 302),
            (Redirect::see_other("/x"), 303),
            (Redirect::temporary("/x"), 307),
            (Redirect::permanent("/x"), 308),
        ];
        for (redirect, status) in all {
            assert_eq!(Answer::from(redirect), Answer::redirect("/x", status));
        }
    }

    #[test]
    fn a_challenge_names_its_kind_and_parameters() {
        let params = BTreeMap::from([("site_key".into(), "abc".into())]);
        let challenge = Challenge::new("captcha").param("site_key", "abc");
        assert_eq!(Answer::from(challenge), Answer::challenge("captcha", params));
    }
}

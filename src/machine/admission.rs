//! Who may register: a pure decision over a registration, a policy and what is connected already;
//! and how fast connections may come.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::machine::time::Timestamp;
use crate::wire::{PROTOCOL_VERSION, Registration, Token};

/// Longest agent id, in bytes.
pub const MAX_AGENT_ID: usize = 128;

/// Agent ids: one of them, or all that begin alike.
///
/// ```
/// use dialback::machine::admission::AgentPattern;
///
/// assert!(AgentPattern::new("waf-*").matches("waf-1"));
/// assert!(!AgentPattern::new("waf-*").matches("auth-1"));
/// assert!(!AgentPattern::new("waf").matches("waf-1"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AgentPattern {
    /// This id.
    Exactly(String),
    /// Every id with this beginning, the beginning itself included.
    Prefix(String),
}

impl AgentPattern {
    /// Reads a pattern: a `*` at the end stands for any ending; elsewhere it is no wildcard.
    pub fn new(pattern: &str) -> Self {
        match pattern.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.into()),
            None => Self::Exactly(pattern.into()),
        }
    }

    /// Whether `id` is meant.
    pub fn matches(&self, id: &str) -> bool {
        match self {
            Self::Exactly(wanted) => wanted == id,
            Self::Prefix(prefix) => id.starts_with(prefix.as_str()),
        }
    }
}

impl From<&str> for AgentPattern {
    fn from(pattern: &str) -> Self {
        Self::new(pattern)
    }
}

/// A token and the agents that may use it. Several may be given for one agent, for rotation.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Whose token it is.
    pub agents: AgentPattern,
    /// The secret. Never printed, compared in constant time.
    pub token: Token,
}

/// Who may register.
///
/// ```
/// use dialback::machine::admission::{AdmissionPolicy, Credential};
///
/// let policy = AdmissionPolicy {
///     allowed: vec!["waf-*".into(), "auth".into()],
///     credentials: Some(vec![Credential { agents: "waf-*".into(), token: "secret".into() }]),
///     ..AdmissionPolicy::default()
/// };
/// assert!(!format!("{policy:?}").contains("secret"));
/// ```
#[derive(Clone, Debug)]
pub struct AdmissionPolicy {
    /// Agents that may register; empty: any.
    pub allowed: Vec<AgentPattern>,
    /// The tokens, if one is demanded. An empty list then admits nobody.
    pub credentials: Option<Vec<Credential>>,
    /// Connections of one agent at once. Default 4.
    pub max_connections_per_agent: usize,
    /// Connections of all agents at once. Default 10,000.
    pub max_connections: usize,
}

impl Default for AdmissionPolicy {
    fn default() -> Self {
        Self { allowed: Vec::new(), credentials: None, max_connections_per_agent: 4, max_connections: 10_000 }
    }
}

/// What is connected at the moment of a decision, the candidate not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Connections of the candidate's agent id.
    pub of_agent: usize,
    /// Connections of all agents.
    pub total: usize,
}

/// Why a registration is refused. Its text goes onto the wire: it helps and leaks nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RegistrationRefusal {
    /// Another protocol version.
    Version {
        /// The one stated.
        stated: u32,
    },
    /// The agent id is empty.
    EmptyId,
    /// The agent id is too long.
    LongId {
        /// Bytes it has.
        length: usize,
    },
    /// The agent id has a character that is not allowed.
    BadIdCharacter {
        /// Where, in bytes from the start.
        at: usize,
    },
    /// A token is demanded, and none came, or one that is not this agent's.
    Unauthorized,
    /// The agent's certificate is not valid for a name that equals its id.
    WrongCertificate,
    /// The agent is not on the list.
    NotAllowed,
    /// The agent has as many connections as it may.
    AgentFull {
        /// How many it may have.
        limit: usize,
    },
    /// All agents together have as many connections as they may.
    Full,
    /// The proxy is shutting down.
    ShuttingDown,
    /// The application could not make up its mind, in time or at all.
    Undecided,
    /// The application's own reason, told as it is; another try would not help.
    Application(String),
    /// The application's own reason, told as it is, and when another try makes sense.
    Later {
        /// The reason.
        words: String,
        /// When to try again.
        after: Duration,
    },
}

impl RegistrationRefusal {
    /// A stable name for the cause, for counters.
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::Version { .. } => "version",
            Self::EmptyId | Self::LongId { .. } | Self::BadIdCharacter { .. } => "agent_id",
            Self::Unauthorized => "unauthorized",
            Self::WrongCertificate => "wrong_certificate",
            Self::NotAllowed => "not_allowed",
            Self::AgentFull { .. } => "agent_full",
            Self::Full => "full",
            Self::ShuttingDown => "shutting_down",
            Self::Undecided => "undecided",
            Self::Application(_) | Self::Later { .. } => "application",
        }
    }

    /// When another try makes sense without a change of configuration; `None` if it never does.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Version { .. }
            | Self::EmptyId
            | Self::LongId { .. }
            | Self::BadIdCharacter { .. }
            | Self::Unauthorized
            | Self::WrongCertificate
            | Self::NotAllowed
            | Self::Application(_) => None,
            Self::AgentFull { .. } | Self::Full | Self::ShuttingDown | Self::Undecided => {
                Some(Duration::from_secs(5))
            }
            Self::Later { after, .. } => Some(*after),
        }
    }
}

impl fmt::Display for RegistrationRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { stated } => {
                write!(
                    f,
                    "protocol version {stated} is not spoken here; register with version {PROTOCOL_VERSION}"
                )
            }
            Self::EmptyId => f.write_str("the agent id is empty; give 1 to 128 characters"),
            Self::LongId { length } => {
                write!(f, "the agent id has {length} bytes; at most {MAX_AGENT_ID} are allowed")
            }
            Self::BadIdCharacter { at } => write!(
                f,
                "the agent id has a character at byte {at} that is not allowed; use letters, digits and - _ . : @ /"
            ),
            // One text for a missing, a wrong and another agent's token: a guesser learns nothing.
            Self::Unauthorized => {
                f.write_str("registration refused: a valid auth_token for this agent is required")
            }
            Self::WrongCertificate => f.write_str(
                "the client certificate is not valid for this agent; use one with the agent id, in lower case, as a DNS name",
            ),
            Self::NotAllowed => f.write_str("this agent is not on the proxy's list of allowed agents"),
            Self::AgentFull { limit } => {
                write!(
                    f,
                    "this agent has {limit} connections already, which is all it may have; close one or retry later"
                )
            }
            Self::Full => f.write_str("the proxy has all the agent connections it may have; retry later"),
            Self::ShuttingDown => f.write_str("the proxy is shutting down; retry later"),
            Self::Undecided => f.write_str("the proxy could not decide on this registration; retry later"),
            Self::Application(words) | Self::Later { words, .. } => f.write_str(words),
        }
    }
}

impl core::error::Error for RegistrationRefusal {}

/// Checks an agent id: 1 to 128 bytes of ASCII letters, digits and `- _ . : @ /`.
///
/// # Errors
/// What is wrong with it.
pub fn check_agent_id(id: &str) -> Result<(), RegistrationRefusal> {
    let length = id.len();
    if length == 0 {
        return Err(RegistrationRefusal::EmptyId);
    }
    if length > MAX_AGENT_ID {
        return Err(RegistrationRefusal::LongId { length });
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:@/".contains(&byte);
    match id.bytes().position(|byte| !allowed(byte)) {
        Some(at) => Err(RegistrationRefusal::BadIdCharacter { at }),
        None => Ok(()),
    }
}

impl AdmissionPolicy {
    /// Decides on everything about a registration that does not depend on who is connected.
    /// The token is judged before a word is said about the list.
    ///
    /// # Errors
    /// Why the registration is refused.
    // Rule: H-REG-3.
    pub fn judge(&self, registration: &Registration) -> Result<(), RegistrationRefusal> {
        if registration.protocol_version != PROTOCOL_VERSION {
            return Err(RegistrationRefusal::Version { stated: registration.protocol_version });
        }
        let id = registration.agent_id.as_str();
        check_agent_id(id)?;
        if let Some(credentials) = &self.credentials {
            let token = registration.auth_token.as_ref().ok_or(RegistrationRefusal::Unauthorized)?;
            // Every token is compared, whoever it belongs to, so that time tells nothing either.
            let fits = credentials.iter().fold(false, |fits, credential| {
                fits | (credential.token == *token) & credential.agents.matches(id)
            });
            if !fits {
                return Err(RegistrationRefusal::Unauthorized);
            }
        }
        if !self.allowed.is_empty() && !self.allowed.iter().any(|pattern| pattern.matches(id)) {
            return Err(RegistrationRefusal::NotAllowed);
        }
        Ok(())
    }

    /// Decides whether there is room for one more connection.
    ///
    /// # Errors
    /// Which limit is reached.
    pub const fn room(&self, occupancy: Occupancy) -> Result<(), RegistrationRefusal> {
        if occupancy.of_agent >= self.max_connections_per_agent {
            return Err(RegistrationRefusal::AgentFull { limit: self.max_connections_per_agent });
        }
        if occupancy.total >= self.max_connections {
            return Err(RegistrationRefusal::Full);
        }
        Ok(())
    }
}

/// How fast something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many per second in the long run, at least 1.
    pub per_second: u32,
    /// How many at once after a quiet time, at least 1.
    pub burst: u32,
}

/// Holds something to a [`Rate`]: a token bucket.
///
/// It earns in every microsecond what that is worth and spends a million on each take, so nothing
/// is rounded. Time that goes back counts as time that stands still.
///
/// ```
/// use core::time::Duration;
/// use dialback::machine::Timestamp;
/// use dialback::machine::admission::{Rate, Throttle};
///
/// let start = Timestamp::from_micros(0);
/// let mut throttle = Throttle::new(Rate { per_second: 10, burst: 1 }, start);
/// assert_eq!(throttle.take(start), Ok(()));
/// assert_eq!(throttle.take(start), Err(Duration::from_millis(100)));
/// assert_eq!(throttle.take(start.after(Duration::from_millis(100))), Ok(()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Throttle {
    rate: Rate,
    /// What was left at `at`, in millionths of a take.
    credit: u64,
    at: Timestamp,
}

/// What a take costs.
const COST: u64 = 1_000_000;

impl Throttle {
    /// A throttle that is full.
    pub const fn new(rate: Rate, now: Timestamp) -> Self {
        Self { rate, credit: Self::most(rate), at: now }
    }

    /// Takes one.
    ///
    /// # Errors
    /// How long to wait until there is one, if nobody else takes it; rounded up to a microsecond.
    /// The throttle is as it was (P15).
    pub fn take(&mut self, now: Timestamp) -> Result<(), Duration> {
        let elapsed = now.as_micros().saturating_sub(self.at.as_micros());
        let earned = elapsed.saturating_mul(u64::from(self.rate.per_second));
        let credit = self.credit.saturating_add(earned).min(Self::most(self.rate));
        match credit.checked_sub(COST) {
            Some(rest) => {
                self.credit = rest;
                self.at = self.at.max(now);
                Ok(())
            }
            None => Err(self.wait(COST.saturating_sub(credit))),
        }
    }

    fn wait(&self, missing: u64) -> Duration {
        let per_micro = u64::from(self.rate.per_second);
        let never = per_micro == 0 || self.rate.burst == 0;
        if never { Duration::MAX } else { Duration::from_micros(missing.div_ceil(per_micro)) }
    }

    const fn most(rate: Rate) -> u64 {
        (rate.burst as u64).saturating_mul(COST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    fn registration(id: &str, token: Option<&str>) -> Registration {
        Registration {
            protocol_version: 2,
            agent_id: id.into(),
            auth_token: token.map(Token::from),
            ..Registration::default()
        }
    }

    #[test]
    fn ids_are_short_and_plain() {
        assert_eq!(check_agent_id(""), Err(RegistrationRefusal::EmptyId));
        assert_eq!(check_agent_id("a\nb"), Err(RegistrationRefusal::BadIdCharacter { at: 1 }));
        assert_eq!(check_agent_id(&"x".repeat(129)), Err(RegistrationRefusal::LongId { length: 129 }));
        assert_eq!(check_agent_id(&"x".repeat(128)), Ok(()));
    }

    #[test]
    fn a_token_is_bound_to_its_agents_and_judged_before_the_list() {
        let credential =
            |agents: &str, token: &str| Credential { agents: agents.into(), token: token.into() };
        let policy = AdmissionPolicy {
            allowed: vec!["waf-*".into()],
            credentials: Some(vec![
                credential("waf-*", "old"),
                credential("waf-*", "new"),
                credential("auth", "a"),
            ]),
            ..AdmissionPolicy::default()
        };
        assert_eq!(policy.judge(&registration("waf-1", Some("old"))), Ok(()));
        assert_eq!(policy.judge(&registration("waf-1", Some("new"))), Ok(()));
        for wrong in [None, Some(""), Some("a"), Some("newer")] {
            assert_eq!(policy.judge(&registration("waf-1", wrong)), Err(RegistrationRefusal::Unauthorized));
            assert_eq!(policy.judge(&registration("other", wrong)), Err(RegistrationRefusal::Unauthorized));
        }
        assert_eq!(policy.judge(&registration("auth", Some("a"))), Err(RegistrationRefusal::NotAllowed));
    }

    #[test]
    fn a_refusal_never_holds_the_token() {
        let policy = AdmissionPolicy { credentials: Some(vec![]), ..AdmissionPolicy::default() };
        let refusal = policy.judge(&registration("waf", Some("s3cret"))).unwrap_err();
        assert!(!refusal.to_string().contains("s3cret"));
    }

    #[test]
    fn both_caps_hold() {
        let policy = AdmissionPolicy {
            max_connections: 2,
            max_connections_per_agent: 1,
            ..AdmissionPolicy::default()
        };
        assert_eq!(
            policy.room(Occupancy { of_agent: 1, total: 1 }),
            Err(RegistrationRefusal::AgentFull { limit: 1 })
        );
        assert_eq!(policy.room(Occupancy { of_agent: 0, total: 2 }), Err(RegistrationRefusal::Full));
        assert_eq!(policy.room(Occupancy { of_agent: 0, total: 1 }), Ok(()));
    }

    #[test]
    fn patterns_have_one_wildcard_at_the_end() {
        let waf = AgentPattern::new("waf-*");
        assert!(waf.matches("waf-") && waf.matches("waf-1") && waf.matches("waf-*"));
        assert!(!waf.matches("waf") && !waf.matches("a-waf-1") && !waf.matches("WAF-1"));
        assert!(AgentPattern::new("*").matches("anybody"));
        // Elsewhere a star is a character, and one that no id has.
        assert!(!AgentPattern::new("w*f").matches("waf"));
        assert!(!AgentPattern::new("").matches("waf"));
    }

    #[test]
    fn a_wildcard_list_admits_its_agents_and_no_others() {
        let policy =
            AdmissionPolicy { allowed: vec!["waf-*".into(), "auth".into()], ..AdmissionPolicy::default() };
        for good in ["waf-1", "waf-eu/2", "auth"] {
            assert_eq!(policy.judge(&registration(good, None)), Ok(()), "{good}");
        }
        for bad in ["auth-1", "waf", "xwaf-1"] {
            assert_eq!(policy.judge(&registration(bad, None)), Err(RegistrationRefusal::NotAllowed), "{bad}");
        }
    }

    #[test]
    fn rotation_admits_old_and_new_until_the_old_is_gone() {
        let credential = |token: &str| Credential { agents: "a".into(), token: token.into() };
        let policy = |tokens: &[&str]| AdmissionPolicy {
            credentials: Some(tokens.iter().map(|token| credential(token)).collect()),
            ..AdmissionPolicy::default()
        };
        let judge = |tokens: &[&str], token| policy(tokens).judge(&registration("a", Some(token)));
        let refused = Err(RegistrationRefusal::Unauthorized);
        assert_eq!((judge(&["old"], "old"), judge(&["old"], "new")), (Ok(()), refused.clone()));
        assert_eq!((judge(&["old", "new"], "old"), judge(&["old", "new"], "new")), (Ok(()), Ok(())));
        assert_eq!((judge(&["new"], "old"), judge(&["new"], "new")), (refused, Ok(())));
    }

    /// Each refusal, a word that its text must have, and when to retry.
    #[test]
    fn refusals_help_and_say_when_to_retry() {
        use RegistrationRefusal as R;
        let soon = Some(Duration::from_secs(5));
        let minute = Duration::from_secs(60);
        let table = [
            (R::Version { stated: 3 }, "register with version 2", None),
            (R::EmptyId, "1 to 128", None),
            (R::LongId { length: 200 }, "at most 128", None),
            (R::BadIdCharacter { at: 3 }, "at byte 3", None),
            (R::Unauthorized, "auth_token", None),
            (R::WrongCertificate, "certificate", None),
            (R::NotAllowed, "list of allowed", None),
            (R::AgentFull { limit: 4 }, "4 connections", soon),
            (R::Full, "retry later", soon),
            (R::ShuttingDown, "shutting down", soon),
            (R::Undecided, "retry later", soon),
            (R::Application("in the application's words".into()), "in the application's words", None),
            (R::Later { words: "not today".into(), after: minute }, "not today", Some(minute)),
        ];
        for (refusal, word, retry) in table {
            assert!(refusal.to_string().contains(word), "{refusal}");
            assert_eq!(refusal.retry_after(), retry, "{refusal}");
        }
    }

    #[test]
    fn a_policy_prints_no_token() {
        let policy = AdmissionPolicy {
            credentials: Some(vec![Credential { agents: "a".into(), token: "s3cret".into() }]),
            ..AdmissionPolicy::default()
        };
        assert!(!alloc::format!("{policy:?}").contains("s3cret"));
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_micros(millis * 1_000)
    }

    #[test]
    fn a_burst_is_spent_and_earned_again() {
        let mut throttle = Throttle::new(Rate { per_second: 10, burst: 3 }, at(0));
        assert!((0..3).all(|_| throttle.take(at(0)).is_ok()));
        let before = throttle.clone();
        assert_eq!(throttle.take(at(0)), Err(Duration::from_millis(100)));
        assert_eq!(throttle.take(at(40)), Err(Duration::from_millis(60)));
        assert_eq!(throttle, before);
        assert_eq!(throttle.take(at(100)), Ok(()));
        assert!(throttle.take(at(199)).is_err());
        assert_eq!(throttle.take(at(200)), Ok(()));
        // A long quiet time earns no more than the burst.
        assert_eq!((0..10).filter(|_| throttle.take(at(1_000_000)).is_ok()).count(), 3);
    }

    #[test]
    fn no_rate_is_rounded_away() {
        for per_second in [1, 3, 7, 1_000, 999_983, 3_000_000] {
            let mut throttle = Throttle::new(Rate { per_second, burst: 2 }, at(0));
            let taken = (0..=1_000_000).filter(|n| throttle.take(Timestamp::from_micros(*n)).is_ok()).count();
            // The two that were there, and a second's worth; no more than one each time.
            assert_eq!(taken, (per_second as usize + 2).min(1_000_001), "{per_second}");
        }
    }

    #[test]
    fn the_wait_is_exact() {
        for per_second in [1, 3, 7, 999_983] {
            let mut throttle = Throttle::new(Rate { per_second, burst: 1 }, at(5));
            throttle.take(at(5)).unwrap();
            let wait = throttle.take(at(5)).unwrap_err();
            let early = wait - Duration::from_micros(1);
            assert!(throttle.clone().take(at(5).after(early)).is_err(), "{per_second}");
            assert_eq!(throttle.take(at(5).after(wait)), Ok(()), "{per_second}");
        }
    }

    #[test]
    fn extremes_of_time_and_rate_saturate() {
        let mut throttle = Throttle::new(Rate { per_second: u32::MAX, burst: u32::MAX }, at(9));
        assert_eq!(throttle.take(Timestamp::ZERO), Ok(()));
        assert_eq!(throttle.take(Timestamp::NEVER), Ok(()));
        // Time that went back earns nothing when it comes again.
        let mut throttle = Throttle::new(Rate { per_second: 1, burst: 2 }, at(9_000));
        assert_eq!((throttle.take(at(9_000)), throttle.take(at(1_000))), (Ok(()), Ok(())));
        assert_eq!(throttle.take(at(9_000)), Err(Duration::from_secs(1)));
        let mut never = Throttle::new(Rate { per_second: 0, burst: 1 }, at(0));
        assert_eq!((never.take(at(0)), never.take(Timestamp::NEVER)), (Ok(()), Err(Duration::MAX)));
        let mut never = Throttle::new(Rate { per_second: 1, burst: 0 }, at(0));
        assert_eq!(never.take(Timestamp::NEVER), Err(Duration::MAX));
    }

    #[test]
    fn a_token_that_two_entries_hold_is_good_for_both() {
        let credential = Credential { agents: "waf-*".into(), token: "t".into() };
        let policy = AdmissionPolicy {
            credentials: Some(vec![credential.clone(), credential]),
            ..AdmissionPolicy::default()
        };
        assert_eq!(policy.judge(&registration("waf-1", Some("t"))), Ok(()));
    }

    #[test]
    // Rule: H-REFUSE-1, H-REFUSE-2.
    fn every_refusal_has_a_name_words_and_a_time() {
        let soon = Some(Duration::from_secs(5));
        let later = RegistrationRefusal::Later { words: "at night".into(), after: Duration::from_secs(9) };
        let rows = [
            (RegistrationRefusal::Version { stated: 7 }, "version", None, "version 7 is not"),
            (RegistrationRefusal::EmptyId, "agent_id", None, "is empty"),
            (RegistrationRefusal::LongId { length: 200 }, "agent_id", None, "200 bytes; at most 128"),
            (RegistrationRefusal::BadIdCharacter { at: 3 }, "agent_id", None, "byte 3"),
            (RegistrationRefusal::Unauthorized, "unauthorized", None, "a valid auth_token"),
            (RegistrationRefusal::WrongCertificate, "wrong_certificate", None, "client certificate"),
            (RegistrationRefusal::NotAllowed, "not_allowed", None, "list of allowed agents"),
            (RegistrationRefusal::AgentFull { limit: 4 }, "agent_full", soon, "4 connections already"),
            (RegistrationRefusal::Full, "full", soon, "all the agent connections"),
            (RegistrationRefusal::ShuttingDown, "shutting_down", soon, "shutting down"),
            (RegistrationRefusal::Undecided, "undecided", soon, "could not decide"),
            (RegistrationRefusal::Application("not today".into()), "application", None, "not today"),
            (later, "application", Some(Duration::from_secs(9)), "at night"),
        ];
        for (refusal, cause, retry, words) in rows {
            assert_eq!((refusal.cause(), refusal.retry_after()), (cause, retry), "{refusal:?}");
            assert!(refusal.to_string().contains(words), "{refusal}");
        }
    }

    #[test]
    fn the_defaults_are_those_that_are_documented() {
        let policy = AdmissionPolicy::default();
        assert_eq!(policy.judge(&registration("anybody", None)), Ok(()));
        assert_eq!((policy.max_connections_per_agent, policy.max_connections), (4, 10_000));
    }
}

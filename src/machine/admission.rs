//! Who may register: a pure decision over a registration, a policy and what is connected already.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

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
    /// The application's own reason, told as it is.
    Application(String),
}

impl RegistrationRefusal {
    /// A stable name for the cause, for counters.
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::Version { .. } => "version",
            Self::EmptyId | Self::LongId { .. } | Self::BadIdCharacter { .. } => "agent_id",
            Self::Unauthorized => "unauthorized",
            Self::NotAllowed => "not_allowed",
            Self::AgentFull { .. } => "agent_full",
            Self::Full => "full",
            Self::ShuttingDown => "shutting_down",
            Self::Application(_) => "application",
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
            | Self::NotAllowed
            | Self::Application(_) => None,
            Self::AgentFull { .. } | Self::Full | Self::ShuttingDown => Some(Duration::from_secs(5)),
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
            Self::NotAllowed => f.write_str("this agent is not on the proxy's list of allowed agents"),
            Self::AgentFull { limit } => {
                write!(
                    f,
                    "this agent has {limit} connections already, which is all it may have; close one or retry later"
                )
            }
            Self::Full => f.write_str("the proxy has all the agent connections it may have; retry later"),
            Self::ShuttingDown => f.write_str("the proxy is shutting down; retry later"),
            Self::Application(words) => f.write_str(words),
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
}

//! What a row of the table is, and the words it is written with.

use std::fmt;

use dialback::machine::admission::{AdmissionPolicy, AgentPattern, Credential};

/// Who receives the bad input, and where its connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Receiver {
    /// A proxy that was dialled and awaits a registration.
    ProxyUnregistered,
    /// A proxy with a registered agent and events unanswered.
    ProxyOpen,
    /// The same, where the agent echoes exchange ids.
    ProxyExact,
    /// A proxy that dialled and awaits the answer to its forward handshake.
    ProxyDialling,
    /// An agent that dialled and awaits the answer to its registration.
    AgentUnanswered,
    /// A registered agent with events unanswered.
    AgentOpen,
    /// An agent that was dialled and awaits a forward handshake.
    AgentDialled,
}

impl Receiver {
    pub const ALL: [Self; 7] = [
        Self::ProxyUnregistered,
        Self::ProxyOpen,
        Self::ProxyExact,
        Self::ProxyDialling,
        Self::AgentUnanswered,
        Self::AgentOpen,
        Self::AgentDialled,
    ];

    pub const fn title(self) -> &'static str {
        match self {
            Self::ProxyUnregistered => "A proxy that awaits a registration",
            Self::ProxyOpen => "A proxy with a registered agent",
            Self::ProxyExact => "A proxy with an agent that echoes exchange ids",
            Self::ProxyDialling => "A proxy that dialled and awaits the handshake's answer",
            Self::AgentUnanswered => "An agent that dialled and awaits the answer to its registration",
            Self::AgentOpen => "A registered agent",
            Self::AgentDialled => "An agent that was dialled and awaits the handshake",
        }
    }
}

/// One thing that the peer does.
#[derive(Clone, Debug)]
pub enum Act {
    /// Sends this, in whatever pieces.
    Send(Vec<u8>),
    /// Ends its half of the stream.
    End,
    /// Says nothing until every deadline that could bear on it has passed.
    Silence,
    /// Waits a while, less than the silence that brings a ping.
    Breath,
}

/// The counter by which a dropped frame shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    Unknown,
    Unreadable,
    Stray,
}

impl Counter {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown_frames",
            Self::Unreadable => "unreadable_frames",
            Self::Stray => "stray_answers",
        }
    }
}

/// What the peer gets for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `success: false` on the wire with words like these, then the end of the connection.
    Refused(&'static str),
    /// The end of the connection, for a reason in words like these.
    Closed(&'static str),
    /// The frame is dropped and counted; the connection goes on.
    Dropped(Counter),
    /// The answer ends its exchange, and the caller learns that it can't be read.
    BadAnswer(&'static str),
    /// The event is handed out, and the handler's side learns that it can't be read.
    BadEvent(&'static str),
    /// It is taken as these words say; the connection goes on.
    Taken(&'static str),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(words) => write!(f, "refused: \"... {words} ...\""),
            Self::Closed(words) => write!(f, "closed: \"... {words} ...\""),
            Self::Dropped(counter) => write!(f, "dropped, counted in `{}`", counter.name()),
            Self::BadAnswer(words) => write!(f, "the caller gets an error: \"... {words} ...\""),
            Self::BadEvent(words) => {
                write!(f, "handed out unread, to be answered all the same: \"... {words} ...\"")
            }
            Self::Taken(words) => write!(f, "goes on: {words}"),
        }
    }
}

/// The rules that a registration is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Anybody.
    Open,
    /// With a token each: `raw-*` has `tok-right`, `other` has `tok-theirs`.
    Tokens,
    /// `waf-*` only, and with a token.
    ListAndTokens,
    /// `waf-*` only.
    List,
}

impl Rules {
    #[cfg(all(feature = "tokio", unix))]
    pub const ALL: [Self; 4] = [Self::Open, Self::Tokens, Self::ListAndTokens, Self::List];

    pub fn policy(self) -> AdmissionPolicy {
        let credential =
            |agents: &str, token: &str| Credential { agents: AgentPattern::new(agents), token: token.into() };
        let credentials = Vec::from([credential("raw-*", "tok-right"), credential("other", "tok-theirs")]);
        let list = Vec::from([AgentPattern::new("waf-*")]);
        let (allowed, credentials) = match self {
            Self::Open => (Vec::new(), None),
            Self::Tokens => (Vec::new(), Some(credentials)),
            Self::ListAndTokens => (list, Some(credentials)),
            Self::List => (list, None),
        };
        AdmissionPolicy {
            allowed,
            credentials,
            max_connections_per_agent: 1_000,
            ..AdmissionPolicy::default()
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Row {
    pub to: Receiver,
    pub name: &'static str,
    pub rules: Rules,
    pub acts: Vec<Act>,
    /// The peer reads nothing while it sends.
    pub deaf: bool,
    pub gets: Outcome,
}

impl Row {
    pub fn new(to: Receiver, name: &'static str, bytes: Vec<u8>, gets: Outcome) -> Self {
        Self { to, name, rules: Rules::Open, acts: Vec::from([Act::Send(bytes)]), deaf: false, gets }
    }

    pub fn acts(self, acts: impl Into<Vec<Act>>) -> Self {
        Self { acts: acts.into(), ..self }
    }

    pub fn then(mut self, act: Act) -> Self {
        self.acts.push(act);
        self
    }

    pub fn under(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    pub fn deaf(self) -> Self {
        Self { deaf: true, ..self }
    }

    /// Bytes that the row sends in all.
    pub fn size(&self) -> usize {
        let size = |act: &Act| match act {
            Act::Send(bytes) => bytes.len(),
            Act::End | Act::Silence | Act::Breath => 0,
        };
        self.acts.iter().map(size).sum()
    }

    /// The row as the page shows it.
    pub fn markdown(&self) -> String {
        format!("| {} | {} |", self.name, self.gets.to_string().replace('|', "\\|"))
    }
}

/// A frame of any type with any payload.
pub fn frame(kind: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len() + 1).unwrap();
    [&length.to_be_bytes()[..], &[kind], payload].concat()
}

/// A registration that any proxy takes, with one more field.
pub fn registration_with(field: &str) -> String {
    format!(
        r#"{{"protocol_version":2,"agent_id":"raw-1","capabilities":{{"supported_events":[1,2,3,4,5,6,7,8],"features":{{"cancellation":true}}}}{field}}}"#
    )
}

/// A registration that any proxy takes.
pub fn registration() -> String {
    registration_with("")
}

/// The least answer that says which request it is about, with more in its `custom` notes.
pub fn answer_with(custom: &str) -> String {
    format!(r#"{{"version":2,"decision":"allow","audit":{{"custom":{{{custom}}}}}}}"#)
}

/// An answer to a request.
pub fn answer(id: &str) -> String {
    answer_with(&format!(r#""correlation_id":"{id}""#))
}

/// An event about a request's headers.
pub fn headers_event(id: &str) -> String {
    format!(
        r#"{{"correlation_id":"{id}","metadata":{{"correlation_id":"{id}","request_id":"r","client_ip":"::1","client_port":1,"protocol":"HTTP/1.1","timestamp":"2026-01-01T00:00:00Z"}},"method":"GET","uri":"/","headers":{{}}}}"#
    )
}

/// An event about a piece of a request's body, its data as given.
pub fn chunk_event(id: &str, data: &str) -> String {
    format!(
        r#"{{"correlation_id":"{id}","chunk_index":0,"data":"{data}","is_last":true,"bytes_received":3}}"#
    )
}

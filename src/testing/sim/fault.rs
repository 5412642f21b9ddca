//! What goes wrong in a simulation, and how often.

use core::fmt;

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:ident = $text:literal,)+) => {
        /// One kind of thing that goes wrong, or that merely happens at a bad moment.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Fault {
            /// Every fault.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// What it is called in tables and traces.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// Whose doing it is.
            pub const fn kind(self) -> FaultKind {
                match self {
                    $(Self::$name => FaultKind::$kind,)+
                }
            }
        }
    };
}

/// Whose doing a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// The network's: no end of the connection is to blame.
    Network,
    /// An application's: allowed, and inconvenient.
    Application,
    /// Drawn when a connection is made or its registration decided, rather than later.
    Opening,
    /// A hostile peer's. Befalls the connections of hostile agents alone.
    Hostile,
}

faults! {
    /// The agent does not read for a while.
    StallAgent: Network = "agent stalls",
    /// Nothing of the agent's arrives for a while.
    StallProxy: Network = "proxy stalls",
    /// The agent reads one segment now and then.
    SlowReader: Network = "slow reader",
    /// The agent's half of the stream ends.
    HalfCloseAgent: Network = "agent half-closes",
    /// The proxy's half of the stream ends.
    HalfCloseProxy: Network = "proxy half-closes",
    /// The stream ends on both sides, and what is under way is lost.
    Disconnect: Network = "disconnect",
    /// The transport fails on both sides.
    Reset: Network = "reset",
    /// The agent's machine is gone: nothing arrives any more in either direction, and no end.
    Vanish: Network = "vanished",
    /// A caller goes away.
    CallerGone: Application = "caller gone",
    /// A caller gives up all events of a request.
    CancelRequest: Application = "request given up",
    /// The proxy gives up everything on a connection.
    CancelAll: Application = "everything given up",
    /// A caller gives up what it was never given.
    CancelUnknown: Application = "unknown given up",
    /// The agent pauses the connection for a while.
    Pause: Application = "pause",
    /// The agent pauses one request for a while.
    PauseRequest: Application = "request paused",
    /// The agent announces a small capacity, and a larger one later.
    Capacity: Application = "small capacity",
    /// The proxy drains a connection.
    DrainProxy: Application = "proxy drains",
    /// The agent drains a connection.
    DrainAgent: Application = "agent drains",
    /// The proxy closes a connection.
    CloseProxy: Application = "proxy closes",
    /// The agent closes a connection.
    CloseAgent: Application = "agent closes",
    /// Handlers of a connection take very long for a while.
    SlowHandlers: Application = "slow handlers",
    /// The agent answers an event a second time.
    AnswerAgain: Application = "answered again",
    /// The agent pings.
    AgentPing: Application = "agent pings",
    /// Both sides get a frame of a type they don't know.
    UnknownFrame: Application = "unknown frame",
    /// The agent reports that it is not well.
    HealthReport: Application = "bad health",
    /// Many requests come at once.
    Burst: Application = "burst",
    /// Nobody asks anything for a long while.
    Lull: Application = "lull",
    /// The other end can't be reached.
    Unreachable: Opening = "unreachable",
    /// A registration is turned down.
    Reject: Opening = "rejected",
    /// A registration is decided late, or too late.
    SlowDecision: Opening = "slow decision",
    /// A hostile agent's first bytes are no registration, or more than one.
    BadOpening: Opening = "bad opening",
    /// A hostile agent connects and says nothing.
    SilentOpening: Opening = "silent opening",
    /// Bytes that mean nothing, to the proxy.
    Garbage: Hostile = "garbage",
    /// A frame that is longer than any may be.
    HugeFrame: Hostile = "huge frame",
    /// A frame that only a proxy may send.
    WrongFrame: Hostile = "wrong frame",
    /// A second registration.
    SecondHandshake: Hostile = "second handshake",
    /// Pings by the dozen, and no pong is read.
    PingFlood: Hostile = "ping flood",
    /// A ping with a payload that is too long to be echoed.
    HugePing: Hostile = "huge ping",
    /// The last answer, once more.
    DuplicateAnswer: Hostile = "duplicate answer",
    /// An answer that names the ids of some other event.
    WrongAnswer: Hostile = "wrong answer",
    /// An answer to an event that never was.
    StrayAnswer: Hostile = "stray answer",
    /// A frame whose payload can't be read.
    Unreadable: Hostile = "unreadable frame",
    /// More requests are paused than may be.
    PauseFlood: Hostile = "pause flood",
    /// A correlation id longer than any may be.
    LongId: Hostile = "long id",
    /// A frame begins, and its bytes come one by one, for ever.
    HalfFrame: Hostile = "half a frame",
    /// From now on no event is answered.
    Mute: Hostile = "mute",
    /// Nonsense from a proxy to an agent.
    HostileProxy: Hostile = "hostile proxy",
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How often each fault happens, in a thousand chances. A chance is a request that begins; for the
/// faults of an opening it is a connection that opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultRates {
    rates: alloc::collections::BTreeMap<Fault, u32>,
}

impl FaultRates {
    /// Nothing goes wrong.
    pub const fn none() -> Self {
        Self { rates: alloc::collections::BTreeMap::new() }
    }

    /// Every fault of these kinds at this rate.
    #[must_use]
    pub fn with_kind(mut self, kind: FaultKind, rate: u32) -> Self {
        for fault in Fault::ALL.iter().filter(|fault| fault.kind() == kind) {
            self.rates.insert(*fault, rate);
        }
        self
    }

    /// This fault at this rate.
    #[must_use]
    pub fn with(mut self, fault: Fault, rate: u32) -> Self {
        self.rates.insert(fault, rate);
        self
    }

    /// How often it happens, in a thousand chances.
    pub fn of(&self, fault: Fault) -> u32 {
        self.rates.get(&fault).copied().unwrap_or(0)
    }
}

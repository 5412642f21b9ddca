//! What a system is set up with, and what its adversary may do: one value per exploration.

use core::num::NonZeroU32;
use core::time::Duration;

use dialback::machine::{
    AgentLimits, ControlLimits, EventSet, InboxLimits, KeepaliveLimits, Matching, OwedLimits, Patience,
    ProxyLimits, QueueLimits, Terms,
};
use dialback::wire::{CorrelationId, EventKind};

/// Who dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialled {
    /// The agent: a reverse connection.
    ByAgent,
    /// The proxy: a forward connection.
    ByProxy,
}

/// One event that the proxy's application will submit, in the order of the list.
#[derive(Clone, Copy, Debug)]
pub struct Planned {
    /// Which request: 0 or 1; its name is [`Scenario::id`].
    pub lane: u8,
    /// What kind of event.
    pub kind: EventKind,
    /// Ticks until its caller stops waiting; `None` for ever.
    pub deadline: Option<u64>,
    /// What its caller wants where it can't be written at once.
    pub patience: Patience,
}

impl Planned {
    /// A patient body chunk of the request `lane`.
    #[must_use]
    pub const fn of(lane: u8) -> Self {
        Self { lane, kind: EventKind::RequestBodyChunk, deadline: None, patience: Patience::Wait }
    }

    /// The same with a deadline, in ticks from its submission.
    #[must_use]
    pub const fn within(mut self, ticks: u64) -> Self {
        self.deadline = Some(ticks);
        self
    }

    /// The same for a caller that does not wait for a place.
    #[must_use]
    pub const fn now(mut self) -> Self {
        self.patience = Patience::Now;
        self
    }

    /// The same as the request's last word.
    #[must_use]
    pub const fn last_word(mut self) -> Self {
        self.kind = EventKind::RequestComplete;
        self
    }
}

/// What callers and the adversary may do besides what always goes on. Each at any time.
#[derive(Clone, Copy, Debug)]
pub struct Powers {
    /// Callers give up exchanges.
    pub cancel: bool,
    /// The proxy's application gives up a whole request at once.
    pub cancel_request: bool,
    /// The proxy's application drains.
    pub drain_proxy: bool,
    /// The agent's application drains.
    pub drain_agent: bool,
    /// Either application closes.
    pub close: bool,
    /// The transport breaks under both.
    pub sever: bool,
    /// Either direction of the stream ends on its own.
    pub half_close: bool,
    /// The bytes that wait for the proxy's socket pass the mark.
    pub stall: bool,
    /// Applications reject offers.
    pub reject: bool,
}

impl Powers {
    /// Nothing besides.
    pub const NONE: Self = Self {
        cancel: false,
        cancel_request: false,
        drain_proxy: false,
        drain_agent: false,
        close: false,
        sever: false,
        half_close: false,
        stall: false,
        reject: false,
    };
}

/// A frame that the adversary puts into a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Injection {
    /// Agent to proxy: pause the connection.
    Pause,
    /// Agent to proxy: pause the request of that lane.
    PauseRequest(u8),
    /// Agent to proxy: this much room.
    Capacity(u8),
    /// Agent to proxy: an answer that names nothing.
    StrayAnswer,
    /// Agent to proxy: an answer to that exchange, which it may have answered already or never seen.
    ForeignAnswer(u8),
    /// Agent to proxy: a ping.
    PingProxy,
    /// Agent to proxy: a frame of an unknown type.
    UnknownToProxy,
    /// Agent to proxy: a frame whose payload can't be read.
    UnreadableToProxy,
    /// Agent to proxy: another handshake.
    OfferToProxy,
    /// Agent to proxy: a frame that only a proxy sends.
    WrongWayToProxy,
    /// Proxy to agent: a ping.
    PingAgent,
    /// Proxy to agent: a frame of an unknown type.
    UnknownToAgent,
    /// Proxy to agent: a Cancel for that lane, whoever waits.
    ForeignCancel(u8),
    /// Proxy to agent: another handshake.
    OfferToAgent,
    /// Proxy to agent: a frame that only an agent sends.
    WrongWayToAgent,
}

impl Injection {
    /// Whether an honest agent may send it whenever it likes.
    #[must_use]
    pub const fn is_honest(self) -> bool {
        match self {
            Self::Pause
            | Self::PauseRequest(_)
            | Self::Capacity(_)
            | Self::PingProxy
            | Self::UnknownToProxy
            | Self::PingAgent
            | Self::UnknownToAgent => true,
            Self::StrayAnswer
            | Self::ForeignAnswer(_)
            | Self::UnreadableToProxy
            | Self::OfferToProxy
            | Self::WrongWayToProxy
            | Self::ForeignCancel(_)
            | Self::OfferToAgent
            | Self::WrongWayToAgent => false,
        }
    }
}

/// A system and its adversary.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Names it on the command line.
    pub name: &'static str,
    /// Who dials.
    pub dialled: Dialled,
    /// How answers find their events.
    pub matching: Matching,
    /// Whether the agent wants Cancels.
    pub cancellation: bool,
    /// The proxy's own limit on events in flight.
    pub window: u32,
    /// The concurrency that the agent states; 0 for none.
    pub stated: u32,
    /// What is submitted, in this order.
    pub plan: Vec<Planned>,
    /// Events that may wait on the proxy's side.
    pub queue: usize,
    /// Answers that may be owed.
    pub owed: usize,
    /// Ticks for which one may be owed.
    pub owed_age: u64,
    /// Events that the agent's application has at once.
    pub running: usize,
    /// Unanswered events at which the agent pauses, and at which it resumes.
    pub marks: (usize, usize),
    /// Ticks of time that pass in all.
    pub ticks: u64,
    /// Ticks that a handshake may take.
    pub handshake: u64,
    /// Ticks that a drain may take.
    pub drain: u64,
    /// Ticks that a draining agent lingers for events that are under way.
    pub linger: u64,
    /// Ticks of silence before a ping, and after it; `None` for no keepalive.
    pub keepalive: Option<u64>,
    /// What may happen.
    pub powers: Powers,
    /// Frames that may be put in.
    pub injections: Vec<Injection>,
    /// How many of them, in all.
    pub budget: u8,
}

impl Scenario {
    /// A calm system: the agent dials, answers are matched by correlation id, nobody misbehaves.
    #[must_use]
    pub fn new(name: &'static str, plan: Vec<Planned>) -> Self {
        Self {
            name,
            dialled: Dialled::ByAgent,
            matching: Matching::OneAtATime,
            cancellation: true,
            window: 2,
            stated: 0,
            plan,
            queue: 8,
            owed: 8,
            owed_age: 100,
            running: 8,
            marks: (100, 50),
            ticks: 0,
            handshake: 100,
            drain: 100,
            linger: 0,
            keepalive: None,
            powers: Powers::NONE,
            injections: Vec::new(),
            budget: 0,
        }
    }

    /// The correlation id of a lane.
    #[must_use]
    pub fn id(lane: u8) -> CorrelationId {
        CorrelationId::from(if lane == 0 { "a" } else { "b" })
    }

    /// The lane of a correlation id.
    #[must_use]
    pub fn lane(id: &CorrelationId) -> u8 {
        u8::from(id.as_str() != "a")
    }

    /// The largest window that can come about.
    #[must_use]
    pub fn limit(&self) -> u32 {
        if self.stated == 0 { self.window } else { self.window.min(self.stated) }
    }

    /// Whether nobody breaks the protocol.
    #[must_use]
    pub fn is_honest(&self) -> bool {
        self.injections.iter().all(|injection| injection.is_honest())
    }

    /// What the handshake settles.
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms {
            concurrency: NonZeroU32::new(self.stated),
            matching: self.matching,
            cancellation: self.cancellation,
            events: EventSet::all(),
        }
    }

    fn keepalive_limits(&self, defaults: KeepaliveLimits) -> KeepaliveLimits {
        KeepaliveLimits {
            interval: self.keepalive.map(Duration::from_micros),
            timeout: Duration::from_micros(self.keepalive.unwrap_or(1)),
            ..defaults
        }
    }

    /// The proxy's limits.
    #[must_use]
    pub fn proxy_limits(&self) -> ProxyLimits {
        let defaults = ProxyLimits::default();
        ProxyLimits {
            window: self.window,
            queue: QueueLimits { count: self.queue, ..defaults.queue },
            owed: OwedLimits { count: self.owed, age: Duration::from_micros(self.owed_age) },
            handshake_timeout: Duration::from_micros(self.handshake),
            peer_drain_timeout: Duration::from_micros(self.drain),
            keepalive: self.keepalive_limits(defaults.keepalive),
            control: ControlLimits { pongs: 2, paused_requests: 2, ..defaults.control },
        }
    }

    /// The agent's limits.
    #[must_use]
    pub fn agent_limits(&self) -> AgentLimits {
        let defaults = AgentLimits::default();
        let (high_mark, low_mark) = self.marks;
        AgentLimits {
            inbox: InboxLimits { running: self.running, high_mark, low_mark, ..defaults.inbox },
            handshake_timeout: Duration::from_micros(self.handshake),
            drain_linger: Duration::from_micros(self.linger),
            keepalive: self.keepalive_limits(defaults.keepalive),
            control: ControlLimits { pongs: 2, paused_requests: 2, ..defaults.control },
        }
    }
}

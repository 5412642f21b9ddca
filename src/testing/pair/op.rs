//! What can happen to a pair, and how one is set up.

use crate::machine::{AgentLimits, InboxLimits, KeepaliveLimits, OwedLimits, ProxyLimits, QueueLimits};
use crate::session::{AgentSettings, ProxySettings};
use crate::wire::{Capabilities, EventKind, Registration};

/// How a pair is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairConfig {
    /// Seeds the link.
    pub seed: u64,
    /// The proxy's window.
    pub window: u32,
    /// The concurrency that the agent states; 0 for none.
    pub stated: u32,
    /// Whether the agent echoes exchange ids.
    pub exchange_ids: bool,
    /// Whether the proxy dials, rather than the agent.
    pub forward: bool,
    /// Whether the proxy turns the registration down.
    pub reject: bool,
    /// Events that may wait at the proxy.
    pub queue: usize,
    /// Late answers that may be owed.
    pub owed: usize,
    /// Events that the agent handles at once.
    pub running: usize,
    /// Longest delay of a segment, in microseconds.
    pub max_delay: u64,
    /// Longest segment, in bytes.
    pub max_segment: usize,
}

impl Default for PairConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            window: 2,
            stated: 0,
            exchange_ids: false,
            forward: false,
            reject: false,
            queue: 8,
            owed: 4,
            running: 2,
            max_delay: 1_000,
            max_segment: 64,
        }
    }
}

/// One thing that happens to a pair. Numbers are taken modulo what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// A caller submits an event of a request, with this many microseconds of patience; 0 for no limit.
    Submit {
        /// Which request.
        id: u8,
        /// Whether the event may wait.
        wait: bool,
        /// Microseconds until the caller gives up.
        deadline: u32,
    },
    /// A caller gives one of the open exchanges up.
    Cancel(u8),
    /// A caller gives up an exchange that never was, or has ended.
    CancelUnknown,
    /// A caller gives one request up.
    CancelRequest(u8),
    /// A caller gives everything up.
    CancelAll,
    /// The agent answers one of the events that it has.
    Answer(u8),
    /// The agent answers an event a second time.
    AnswerAgain,
    /// The agent pauses the connection, or one request.
    Pause(Option<u8>),
    /// The agent resumes the connection, or one request.
    Resume(Option<u8>),
    /// The agent announces a capacity.
    Capacity(u8),
    /// The agent pings.
    Ping(u8),
    /// Both sides get a frame of a type they don't know.
    Unknown(u8),
    /// The agent answers an event that never was.
    Stray,
    /// Time passes, in microseconds.
    Advance(u32),
    /// The agent stops or goes on reading.
    StallAgent(bool),
    /// The proxy stops or goes on reading.
    StallProxy(bool),
    /// The proxy drains, with this many microseconds to go.
    DrainProxy(u32),
    /// The agent drains, with this many microseconds to go.
    DrainAgent(u32),
    /// The proxy closes.
    CloseProxy,
    /// The agent closes.
    CloseAgent,
    /// The link breaks, and loses what is under way.
    Disconnect,
    /// The agent ends its half of the stream.
    HalfCloseAgent,
    /// The proxy ends its half of the stream.
    HalfCloseProxy,
}

/// The settings of both sides.
pub(super) fn settings(config: &PairConfig) -> (ProxySettings, AgentSettings) {
    let keepalive = KeepaliveLimits::default();
    let proxy = ProxySettings {
        limits: ProxyLimits {
            window: config.window,
            queue: QueueLimits { count: config.queue, ..QueueLimits::default() },
            owed: OwedLimits { count: config.owed, ..OwedLimits::default() },
            keepalive,
            ..ProxyLimits::default()
        },
        write_mark: 4_096,
        ..ProxySettings::default()
    };
    let mut capabilities = Capabilities::new("sim", EventKind::ALL);
    capabilities.features.cancellation = true;
    capabilities.features.exchange_ids = config.exchange_ids;
    capabilities.limits.max_concurrency = config.stated;
    let running = config.running.max(1);
    let inbox = InboxLimits { running, high_mark: 1_000, low_mark: 500, ..InboxLimits::default() };
    let mut agent = AgentSettings::new(Registration::new(capabilities));
    agent.limits = AgentLimits { inbox, keepalive, ..AgentLimits::default() };
    (proxy, agent)
}

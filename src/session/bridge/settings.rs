//! How a bridge behaves.

use core::time::Duration;

use alloc::string::String;
use alloc::vec::Vec;

use serde_json::Value;

use crate::machine::ControlLimits;
use crate::machine::keepalive::{Judged, KeepaliveLimits};
use crate::session::WRITE_MARK;
use crate::wire::{Encoding, MAX_FRAME, MAX_FRAME_BEFORE_REGISTRATION, Token};

/// How a bridge behaves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BridgeSettings {
    /// What bounds it.
    pub limits: BridgeLimits,
    /// The id to register under. Default: the one that the agent states.
    pub agent_id: Option<String>,
    /// The secret to register with.
    pub auth_token: Option<Token>,
    /// What else the proxy is told in the registration.
    pub metadata: Option<Value>,
    /// What the agent is told in its handshake: the configuration that a proxy would give it.
    pub agent_config: Option<Value>,
    /// Encodings to offer to the agent besides JSON, the best first. The proxy is offered the one
    /// that the agent chose. Default: none.
    pub encodings: Vec<Encoding>,
    /// What becomes of events that the agent owes answers to when it is lost.
    pub on_agent_loss: OnAgentLoss,
}

/// What becomes of events in flight when the agent is lost. They are never allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OnAgentLoss {
    /// Each is answered with a block of status 503 and the reason code `agent_lost`, and the proxy is
    /// told that the agent drains. What it still sends is answered in the same way, until it ends the
    /// connection or the bridge does, after [`BridgeLimits::orphan_linger`]. Deployed proxies need
    /// this: they do not notice the end of a connection, and let their callers wait for the whole
    /// request timeout.
    #[default]
    Block,
    /// The connection to the proxy ends, and the proxy does with them as with those of any agent
    /// that is lost. For proxies that notice, such as this crate's, and have a policy of their own.
    Close,
}

/// What bounds a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BridgeLimits {
    /// Time for each of the two handshakes. Default 10 s.
    pub handshake_timeout: Duration,
    /// A drain with nothing left to answer still waits this long for events that were under way
    /// when it was announced. Default 250 ms.
    pub drain_linger: Duration,
    /// How long the connection to the proxy outlives the agent, to answer what still comes over it.
    /// Default 1 s.
    pub orphan_linger: Duration,
    /// Pings and half frames, towards the proxy. Deployed proxies answer no ping, so by default
    /// only the silence of one that has answered is held against it.
    pub proxy_keepalive: KeepaliveLimits,
    /// Pings and half frames, towards the agent. The silence of one that owes answers is not held
    /// against it: deployed agents answer a ping only between two events.
    pub agent_keepalive: KeepaliveLimits,
    /// What either side can make us hold for the sake of control frames.
    pub control: ControlLimits,
    /// Bytes waiting for one side at which the other is asked to pause, or is not read. Default
    /// 256 KiB.
    pub write_mark: usize,
    /// Events in flight at which the proxy is not read. Default 4,096.
    pub in_flight: usize,
    /// Longest frame, type byte included, during and after the handshakes. Default 64 KiB and 16 MiB.
    pub frames: FrameLimits,
}

/// Longest frames, type byte included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameLimits {
    /// Before a handshake is done.
    pub opening: u32,
    /// After.
    pub open: u32,
}

impl Default for BridgeLimits {
    fn default() -> Self {
        let keepalive = KeepaliveLimits::default();
        Self {
            handshake_timeout: Duration::from_secs(10),
            drain_linger: Duration::from_millis(250),
            orphan_linger: Duration::from_secs(1),
            proxy_keepalive: KeepaliveLimits { judged: Judged::WhoAnswered, ..keepalive },
            agent_keepalive: keepalive,
            control: ControlLimits::default(),
            write_mark: WRITE_MARK,
            in_flight: 4_096,
            frames: FrameLimits { opening: MAX_FRAME_BEFORE_REGISTRATION, open: MAX_FRAME },
        }
    }
}

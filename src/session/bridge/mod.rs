//! A bridge: a proxy to an agent that listens, an agent to a proxy that is dialled, and between the
//! two everything is carried through.
//!
//! An agent that can only listen joins a proxy that it cannot be reached by. The bridge performs the
//! forward handshake with it, registers at the proxy with what it said of itself, and from then on
//! passes every frame on as it came. It has one connection to each side, and the two begin and end
//! together: all events of a request thus reach one agent that has seen its beginning. What the
//! agent owed when it was lost is answered with a block, or left to the proxy, as
//! [`OnAgentLoss`] says; never with an allow.
//!
//! ```text
//!                 agent answers            register            proxy accepts
//!   greeting --------------------> greeted --------> registering ----------> open
//!      |                              |                   |                  |   | the agent is lost
//!      |                              |                   |                  |  orphaned
//!      |                              |                   |                  |   | the proxy lets go, or a deadline
//!      '------------------------------+-------------------+------------------+---+--> ended
//!        refused, deadline, lost, violation, silence, drained; both connections with it
//! ```
//!
//! It is driven as the other sessions are, with a socket for each [`Side`]. First connect to the
//! agent; at [`BridgeEvent::AgentReady`] dial the proxy and call [`BridgeSession::register`].

mod alive;
mod ending;
mod event;
mod ledger;
mod opening;
mod outgoing;
mod relay;
mod settings;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::machine::keepalive::Keepalive;
use crate::machine::{CloseReason, Tally, Timestamp, Violation};
use crate::wire::{Decoder, EncodeError, Encoding, FrameType, Registration};

use super::Intake;
pub use event::{BridgeEnd, BridgeEvent, BridgeStats, Side};
use relay::{Passed, Relay};
pub use settings::{BridgeLimits, BridgeSettings, FrameLimits, OnAgentLoss};

/// How many write marks of bytes may wait for the agent before the proxy is not read.
const MARKS_HELD: usize = 4;

/// Where a bridge stands.
#[derive(Clone, Debug, PartialEq)]
enum Stage {
    /// The agent's answer to the handshake is awaited.
    Greeting { deadline: Timestamp },
    /// The agent is there, and the proxy is being dialled; this is what it will be told.
    Greeted { registration: Box<Registration> },
    /// The proxy's answer to the registration is awaited.
    Registering { deadline: Timestamp },
    /// Everything is carried through.
    Open { drain: Option<Drain> },
    /// The agent is lost for this reason, and the proxy has not let go yet. What still comes from it
    /// is answered here.
    Orphaned { reason: CloseReason, deadline: Timestamp },
    /// Both connections have ended, or are about to.
    Ended(BridgeEnd),
}

/// A drain that was asked for here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Drain {
    deadline: Timestamp,
    /// When the last frame passed, or the drain was announced.
    quiet_since: Timestamp,
}

/// One connection's bytes as they come, and whether its peer is there.
#[derive(Clone, Debug, PartialEq)]
struct Link {
    intake: Intake,
    alive: Keepalive,
}

/// A bridge between one connection to an agent and one to a proxy: bytes in, bytes out, no I/O.
#[derive(Clone, Debug, PartialEq)]
pub struct BridgeSession {
    settings: BridgeSettings,
    stage: Stage,
    agent: Link,
    proxy: Link,
    relay: Relay,
    events: VecDeque<BridgeEvent>,
    /// How long the proxy asked us to stay away, if it refused the agent so.
    retry_after_ms: Option<u64>,
    /// The latest time heard of, for timestamps in frames, and the last ping's number.
    clock: Tally<Timestamp>,
    pings: Tally<u64>,
}

impl BridgeSession {
    /// A bridge whose agent has been connected to: the forward handshake is sent first.
    ///
    /// # Errors
    /// If the handshake, with the configuration in it, does not fit an opening frame.
    pub fn new(settings: BridgeSettings, now: Timestamp) -> Result<Self, EncodeError> {
        let limits = settings.limits;
        let link = |keepalive| Link {
            intake: Intake::new(Decoder::new(limits.frames.opening.min(limits.frames.open))),
            alive: Keepalive::new(keepalive, now),
        };
        let mut relay = Relay::new(limits.control, limits.frames.open);
        let offer = opening::offer(&settings);
        relay.to_agent.push(FrameType::HandshakeRequest, Encoding::Json, &offer, limits.frames.opening)?;
        Ok(Self {
            stage: Stage::Greeting { deadline: now.after(limits.handshake_timeout) },
            agent: link(limits.agent_keepalive),
            proxy: link(limits.proxy_keepalive),
            relay,
            events: VecDeque::new(),
            retry_after_ms: None,
            clock: Tally::new(now),
            pings: Tally::new(0),
            settings,
        })
    }

    // ---- questions ----

    /// Whether the driver should read from that side. Not from the proxy while the agent does not
    /// take its events, nor from the agent while the proxy does not take its answers.
    // Rule: F-BRIDGE-1.
    pub fn wants_bytes(&self, side: Side) -> bool {
        let limits = &self.settings.limits;
        let held = limits.write_mark.saturating_mul(MARKS_HELD);
        match (&self.stage, side) {
            (Stage::Greeting { .. }, Side::Agent) | (Stage::Registering { .. }, Side::Proxy) => true,
            (Stage::Open { .. }, Side::Agent) => self.relay.to_proxy.len() < limits.write_mark,
            (Stage::Open { .. }, Side::Proxy) => {
                self.relay.to_agent.len() < held && self.relay.ledger.len() < limits.in_flight
            }
            (Stage::Orphaned { .. }, Side::Proxy) => self.relay.to_proxy.len() < limits.write_mark,
            (Stage::Greeting { .. }, Side::Proxy)
            | (Stage::Greeted { .. }, _)
            | (Stage::Registering { .. } | Stage::Orphaned { .. }, Side::Agent)
            | (Stage::Ended(_), _) => false,
        }
    }

    /// Whether both handshakes are done and neither connection has ended.
    pub const fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open { .. })
    }

    /// Whether the agent is lost, and the proxy has not let go yet. There is nothing more to read from
    /// the agent, or to write to it.
    pub const fn is_orphaned(&self) -> bool {
        matches!(self.stage, Stage::Orphaned { .. })
    }

    /// Why the bridge ended, once it has.
    pub const fn end(&self) -> Option<&BridgeEnd> {
        match &self.stage {
            Stage::Ended(end) => Some(end),
            Stage::Greeting { .. }
            | Stage::Greeted { .. }
            | Stage::Registering { .. }
            | Stage::Open { .. }
            | Stage::Orphaned { .. } => None,
        }
    }

    /// Events that the agent owes answers to.
    pub fn in_flight(&self) -> usize {
        self.relay.ledger.len()
    }

    /// How payloads are encoded; settled by the handshakes.
    pub const fn encoding(&self) -> Encoding {
        self.relay.encoding
    }

    /// After a refusal: how long the proxy asks the agent to wait, in milliseconds, if another try
    /// makes sense at all.
    pub const fn retry_after_ms(&self) -> Option<u64> {
        self.retry_after_ms
    }

    /// Bytes allocated for what came and has not been transmitted.
    pub fn buffered_capacity(&self) -> usize {
        let incoming = self.agent.intake.capacity().saturating_add(self.proxy.intake.capacity());
        let outgoing = self.relay.to_agent.capacity().saturating_add(self.relay.to_proxy.capacity());
        incoming.saturating_add(outgoing)
    }

    /// Counters.
    pub fn stats(&self) -> BridgeStats {
        *self.relay.stats
    }

    // ---- commands ----

    /// Registers the agent: the proxy has been dialled. Does nothing unless the agent is ready
    /// and not registered.
    ///
    /// # Errors
    /// If the registration does not fit an opening frame; the bridge is then as it was (P15).
    pub fn register(&mut self, now: Timestamp) -> Result<(), EncodeError> {
        let Stage::Greeted { registration } = &self.stage else { return Ok(()) };
        let limits = &self.settings.limits;
        let (frame, most) = (FrameType::HandshakeRequest, limits.frames.opening);
        self.relay.to_proxy.push(frame, Encoding::Json, &**registration, most)?;
        self.stage = Stage::Registering { deadline: now.after(limits.handshake_timeout) };
        self.proxy.alive.handle_heard(now);
        Ok(())
    }

    /// Announces to the proxy that the agent goes, carries what is under way to its end, and ends
    /// when the last answer has passed and nothing new has come for the linger time, or at
    /// `deadline` (P9). A second call can only make it sooner.
    pub fn drain(&mut self, deadline: Timestamp, now: Timestamp) {
        *self.clock = now;
        match &mut self.stage {
            Stage::Greeting { .. } | Stage::Greeted { .. } | Stage::Registering { .. } => {
                self.finish(BridgeEnd::Bridge(CloseReason::Drained));
            }
            Stage::Open { drain: Some(drain) } => drain.deadline = drain.deadline.min(deadline),
            Stage::Open { drain } => {
                *drain = Some(Drain { deadline, quiet_since: now });
                self.announce(now);
            }
            // It ends soon, whatever is asked.
            Stage::Orphaned { .. } | Stage::Ended(_) => {}
        }
        self.review(now);
    }

    /// Ends both connections now.
    pub fn close(&mut self) {
        self.finish(BridgeEnd::Bridge(CloseReason::Closed));
    }

    // ---- facts ----

    /// Takes what the socket of that side gave, in any cut.
    pub fn handle_bytes(&mut self, side: Side, bytes: &[u8], now: Timestamp) {
        *self.clock = now;
        if bytes.is_empty() {
            return;
        }
        let mut rest = bytes;
        let mut completed = false;
        loop {
            // What an agent that was given up still says is nobody's.
            if matches!(self.stage, Stage::Ended(_)) || (self.is_orphaned() && side == Side::Agent) {
                return;
            }
            if !self.takes_frames(side) {
                if !self.link(side).intake.hold(rest) {
                    let early = Violation::EarlyFrame(FrameType::HandshakeResponse.to_byte());
                    self.lose(side, CloseReason::Violation(early), now);
                }
                return;
            }
            match self.handle_frame(side, &mut rest, now) {
                Ok(true) => completed = true,
                Ok(false) => break,
                Err(violation) => return self.lose(side, CloseReason::Violation(violation), now),
            }
        }
        let link = self.link(side);
        link.alive.handle_heard(now);
        let partial = link.intake.decoder.is_mid_frame();
        link.alive.handle_partial(partial, completed, now);
        self.review(now);
    }

    /// That side ended its half of the stream.
    pub fn handle_eof(&mut self, side: Side, now: Timestamp) {
        self.lose(side, CloseReason::PeerClosed, now);
    }

    /// The transport to that side failed.
    pub fn handle_transport_lost(&mut self, side: Side, now: Timestamp) {
        self.lose(side, CloseReason::TransportLost, now);
    }

    /// Time has passed. Early calls change nothing.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        *self.clock = now;
        match &self.stage {
            Stage::Greeting { deadline } if *deadline <= now => self.expire(Side::Agent, now),
            Stage::Registering { deadline } if *deadline <= now => self.expire(Side::Proxy, now),
            Stage::Orphaned { reason, deadline } if *deadline <= now => {
                self.finish(BridgeEnd::Peer(Side::Agent, reason.clone()));
            }
            Stage::Open { .. } => {
                for side in Side::ALL {
                    self.probe(side, now);
                }
                self.review(now);
            }
            Stage::Greeting { .. }
            | Stage::Greeted { .. }
            | Stage::Registering { .. }
            | Stage::Orphaned { .. }
            | Stage::Ended(_) => {}
        }
    }

    // ---- polls ----

    /// When [`Self::handle_timeout`] should be called next, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        match &self.stage {
            Stage::Greeting { deadline }
            | Stage::Registering { deadline }
            | Stage::Orphaned { deadline, .. } => Some(*deadline),
            Stage::Open { drain } => {
                let links = [self.agent.alive.poll_timeout(), self.proxy.alive.poll_timeout()];
                let drained = drain.map(|drain| self.drain_due(drain));
                links.into_iter().flatten().chain(drained).min()
            }
            Stage::Greeted { .. } | Stage::Ended(_) => None,
        }
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<BridgeEvent> {
        self.events.pop_front()
    }

    /// Appends to `out`, the bytes that the socket of that side has not taken yet, what may be
    /// written now. Returns whether it appended anything.
    pub fn poll_transmit(&mut self, side: Side, out: &mut Vec<u8>) -> bool {
        let mark = match self.stage {
            // Nothing more will be made, and this is the last chance.
            Stage::Ended(_) => usize::MAX,
            Stage::Greeting { .. }
            | Stage::Greeted { .. }
            | Stage::Registering { .. }
            | Stage::Open { .. }
            | Stage::Orphaned { .. } => self.settings.limits.write_mark,
        };
        let moved = match side {
            Side::Agent => self.relay.to_agent.transmit(mark, out),
            Side::Proxy => self.relay.to_proxy.transmit(mark, out),
        };
        if moved {
            self.balance();
        }
        moved
    }

    // ---- within ----

    const fn link(&mut self, side: Side) -> &mut Link {
        match side {
            Side::Agent => &mut self.agent,
            Side::Proxy => &mut self.proxy,
        }
    }

    /// Whether frames of that side have their turn; those of the agent wait until the proxy has
    /// accepted it.
    const fn takes_frames(&self, side: Side) -> bool {
        match (&self.stage, side) {
            (Stage::Greeting { .. }, Side::Agent)
            | (Stage::Registering { .. } | Stage::Orphaned { .. }, Side::Proxy)
            | (Stage::Open { .. }, _) => true,
            (Stage::Greeting { .. }, Side::Proxy)
            | (Stage::Greeted { .. }, _)
            | (Stage::Registering { .. } | Stage::Orphaned { .. }, Side::Agent)
            | (Stage::Ended(_), _) => false,
        }
    }

    /// Takes the next frame off `rest`. Whether there was a whole one.
    fn handle_frame(&mut self, side: Side, rest: &mut &[u8], now: Timestamp) -> Result<bool, Violation> {
        let link = match side {
            Side::Agent => &mut self.agent,
            Side::Proxy => &mut self.proxy,
        };
        let Some(frame) = link.intake.decoder.decode(rest).map_err(Violation::Frame)? else {
            return Ok(false);
        };
        match (&mut self.stage, side) {
            (Stage::Greeting { .. }, _) => {
                let response = opening::read_answer(frame)?;
                self.handle_greeting(response, now);
            }
            (Stage::Registering { .. }, _) => {
                let response = opening::read_response(frame)?;
                self.handle_response(response, now);
            }
            (Stage::Open { drain }, side) => {
                if let Some(drain) = drain {
                    drain.quiet_since = now;
                }
                let passed = match side {
                    Side::Agent => self.relay.handle_agent_frame(frame)?,
                    Side::Proxy => self.relay.handle_proxy_frame(frame)?,
                };
                if passed == Passed::Pong {
                    link.alive.handle_pong();
                }
            }
            (Stage::Orphaned { .. }, _) => self.relay.handle_orphan_frame(frame)?,
            (Stage::Greeted { .. } | Stage::Ended(_), _) => {}
        }
        Ok(true)
    }
}

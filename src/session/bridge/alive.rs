//! Is either side still there? And does each take what the other sends?

use crate::machine::keepalive::{Due, silence};
use crate::machine::{CloseReason, Timestamp, Violation};
use crate::wire::{FrameType, Ping};

use super::{BridgeSession, Side};

impl BridgeSession {
    /// Asks a side that has been silent whether it is there, or gives it up.
    // Rule: C-BRIDGE-1.
    pub(super) fn probe(&mut self, side: Side, now: Timestamp) {
        // An agent that works on an event may read nothing else meanwhile.
        let owing = side == Side::Agent && !self.relay.ledger.is_empty();
        let judged = self.wants_bytes(side) && !owing;
        let limits = &self.settings.limits;
        let keepalive = match side {
            Side::Agent => limits.agent_keepalive,
            Side::Proxy => limits.proxy_keepalive,
        };
        match self.link(side).alive.handle_timeout(judged, now) {
            Due::Nothing => {}
            Due::Ping => self.ping(side, now),
            Due::Silent => self.lose(side, CloseReason::Silent(silence(keepalive)), now),
            Due::StalledFrame => self.lose(side, CloseReason::Violation(Violation::StalledFrame), now),
        }
    }

    fn ping(&mut self, side: Side, now: Timestamp) {
        *self.pings = self.pings.saturating_add(1);
        let ping = Ping { sequence: *self.pings, timestamp_ms: now.as_millis() };
        let (encoding, limit) = (self.relay.encoding, self.settings.limits.frames.open);
        let out = match side {
            Side::Agent => &mut self.relay.to_agent,
            Side::Proxy => &mut self.relay.to_proxy,
        };
        let _ = out.push(FrameType::Ping, encoding, &ping, limit);
    }

    pub(super) fn balance(&mut self) {
        if self.is_open() {
            let mark = self.settings.limits.write_mark;
            // It holds nothing that an encoding could refuse.
            let _ = self.relay.balance(mark, self.clock.as_millis());
        }
    }
}

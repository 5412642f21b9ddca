//! How a bridge ends: drains, losses, and what becomes of what is in flight.

use crate::machine::{CloseReason, Timestamp};
use crate::wire::{FrameType, HealthState, HealthStatus};

use super::{BridgeEnd, BridgeEvent, BridgeSession, Drain, OnAgentLoss, Side, Stage};

impl BridgeSession {
    /// What is due now that frames have passed or time has.
    pub(super) fn review(&mut self, now: Timestamp) {
        let Stage::Open { drain } = self.stage else { return };
        self.balance();
        if drain.is_none_or(|drain| self.drain_due(drain) > now) {
            return;
        }
        let reason = match self.relay.ledger.is_empty() {
            true => CloseReason::Drained,
            false => CloseReason::DrainDeadline,
        };
        self.finish(BridgeEnd::Bridge(reason));
    }

    pub(super) fn drain_due(&self, drain: Drain) -> Timestamp {
        match self.relay.ledger.is_empty() {
            true => drain.deadline.min(drain.quiet_since.after(self.settings.limits.drain_linger)),
            false => drain.deadline,
        }
    }

    pub(super) fn announce(&mut self, now: Timestamp) {
        let health = HealthStatus {
            agent_id: self.settings.agent_id.clone().unwrap_or_default(),
            state: HealthState::Draining { eta_ms: None },
            timestamp_ms: now.as_millis(),
            ..HealthStatus::default()
        };
        let (encoding, limit) = (self.relay.encoding, self.settings.limits.frames.open);
        let _ = self.relay.to_proxy.push(FrameType::HealthStatus, encoding, &health, limit);
    }

    pub(super) fn expire(&mut self, side: Side, now: Timestamp) {
        let reason = CloseReason::HandshakeDeadline(self.settings.limits.handshake_timeout);
        self.lose(side, reason, now);
    }

    /// A side is lost. If it is the agent, the proxy is told that it goes, and gets answers to what it
    /// has sent and to what it sends before it has heard: deployed proxies never hear it.
    // Rule: X-BRIDGE-2.
    pub(super) fn lose(&mut self, side: Side, reason: CloseReason, now: Timestamp) {
        *self.clock = now;
        match (&self.stage, side, self.settings.on_agent_loss) {
            (Stage::Open { .. }, Side::Agent, OnAgentLoss::Block) => {
                self.relay.to_agent.clear();
                self.block_all();
                self.announce(now);
                let deadline = now.after(self.settings.limits.orphan_linger);
                self.events.push_back(BridgeEvent::AgentLost(reason.clone()));
                self.stage = Stage::Orphaned { reason, deadline };
            }
            // The proxy has let go; the agent is why.
            (Stage::Orphaned { reason, .. }, Side::Proxy, _) => {
                self.finish(BridgeEnd::Peer(Side::Agent, reason.clone()));
            }
            (Stage::Orphaned { .. } | Stage::Ended(_), _, _) => {}
            (
                Stage::Greeting { .. }
                | Stage::Greeted { .. }
                | Stage::Registering { .. }
                | Stage::Open { .. },
                _,
                _,
            ) => self.finish(BridgeEnd::Peer(side, reason)),
        }
    }

    /// Ends both connections. What the agent owes is answered or left to the proxy.
    pub(super) fn finish(&mut self, end: BridgeEnd) {
        if matches!(self.stage, Stage::Ended(_)) {
            return;
        }
        self.relay.to_agent.clear();
        if !end.flushes_to_proxy() {
            self.relay.ledger.clear();
            self.relay.to_proxy.clear();
        }
        match self.settings.on_agent_loss {
            OnAgentLoss::Block => self.block_all(),
            OnAgentLoss::Close => self.relay.ledger.clear(),
        }
        self.stage = Stage::Ended(end.clone());
        self.events.push_back(BridgeEvent::Ended(end));
    }

    fn block_all(&mut self) {
        let limit = self.settings.limits.frames.open;
        let out = self.relay.to_proxy.bytes();
        let blocked = self.relay.ledger.block_all(self.relay.encoding, limit, out);
        self.relay.stats.blocked = self.relay.stats.blocked.saturating_add(blocked);
    }
}

//! Connections that are kept up: dialled, let in or not, dialled again.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use crate::machine::registry::HealthRecord;
use crate::machine::{
    AgentLimits, Attempt, CloseReason, ControlLimits, InboxLimits, KeepaliveLimits, Next, OwedLimits, Pace,
    ProxyLimits, QueueLimits,
};
use crate::session::{
    AgentSession, AgentSettings, Grant, PendingForward, PendingRegistration, ProxySession, ProxySettings,
};
use crate::testing::link::Link;
use crate::testing::oracle::{Ground, Oracle, Property, Violated, demand};
use crate::testing::rng::Rng;
use crate::wire::{Capabilities, EventKind, Registration, RegistrationResponse};

use super::config::SimConfig;
use super::connection::{Connection, Serial};
use super::fault::Fault;
use super::hooks::Verdict;
use super::report::Cause;
use super::schedule::Action;
use super::trace::What;
use super::world::{Phase, World};

/// Bytes waiting for the socket at which no more is written.
const WRITE_MARK: usize = 4_096;

/// A connection that one agent keeps up.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) agent: u32,
    pub(super) honest: bool,
    exchange_ids: bool,
    cancellation: bool,
    pace: Pace,
    pub(super) health: HealthRecord,
    /// Connections it has had.
    pub(super) had: u64,
}

impl Line {
    pub(super) fn all(config: &SimConfig, rng: &mut Rng) -> Vec<Self> {
        let agents = config.agents.saturating_add(config.hostile_agents);
        let mut lines = Vec::new();
        for agent in 0..agents {
            let exchange_ids = rng.per_mille(config.agent.exchange_ids);
            let cancellation = rng.per_mille(config.agent.cancellation);
            for _ in 0..config.connections {
                lines.push(Self {
                    agent,
                    honest: agent < config.agents,
                    exchange_ids,
                    cancellation,
                    pace: Pace::new(config.agent.backoff, Some(Duration::from_secs(1))),
                    health: HealthRecord::default(),
                    had: 0,
                });
            }
        }
        lines
    }
}

impl World<'_> {
    pub(super) fn line_of(&self, serial: Serial) -> Option<&Line> {
        self.lines.get(self.connections.get(&serial)?.line)
    }

    /// Makes a line's connection, or finds that it can't be made.
    pub(super) fn dial(&mut self, index: usize) -> Result<(), Cause> {
        if self.phase != Phase::Faults {
            return Ok(());
        }
        let Some((agent, honest)) = self.lines.get(index).map(|line| (line.agent, line.honest)) else {
            return Ok(());
        };
        if self.strikes(Fault::Unreachable) {
            self.note(0, What::Unreachable { agent });
            self.redial(index, Attempt::Failed);
            return Ok(());
        }
        let serial = u32::try_from(self.report.connections.saturating_add(1)).unwrap_or(u32::MAX);
        let Some(connection) = self
            .join(index)
            .map_err(|error| Violated { property: Property::P7, detail: error.to_string() })?
        else {
            return Ok(());
        };
        self.connections.insert(serial, connection);
        self.report.connections = self.report.connections.saturating_add(1);
        if let Some(line) = self.lines.get_mut(index) {
            self.report.reconnections = self.report.reconnections.saturating_add(u64::from(line.had > 0));
            line.had = line.had.saturating_add(1);
            line.health = HealthRecord::default();
        }
        self.note(serial, What::Dialled { agent });
        if !honest {
            self.spoil_opening(serial);
        }
        self.touched.insert(serial);
        Ok(())
    }

    /// Two fresh sessions with settings of their own, and a stream between them.
    fn join(&mut self, index: usize) -> Result<Option<Connection>, crate::wire::EncodeError> {
        let Some(line) = self.lines.get(index) else { return Ok(None) };
        let (config, now, rng) = (&self.config, self.schedule.now, &mut self.rng);
        let window = u32::try_from(rng.between(1, u64::from(config.proxy.window.max(1)))).unwrap_or(1);
        let stated = u32::try_from(rng.below(u64::from(window).saturating_add(2))).unwrap_or(0);
        let ground = Ground {
            by_exchange_id: line.exchange_ids,
            cancellation: line.cancellation,
            limit: u64::from(if stated == 0 { window } else { window.min(stated) }),
        };
        let proxy = proxy_settings(config, window);
        let agent = agent_settings(config, line, stated, rng);
        let segment = rng.pick(&[3, 40, config.stream.max_segment, config.stream.max_segment]).unwrap_or(1);
        let delay = rng.up_to(config.stream.max_delay);
        let delay = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        let links = (Link::new(delay, segment), Link::new(delay, segment));
        let sessions = if rng.per_mille(config.proxy.forward) {
            (ProxySession::dial(proxy, None, now)?, AgentSession::accept(agent, now))
        } else {
            (ProxySession::accept(proxy, now), AgentSession::dial(agent, now)?)
        };
        let seed = (rng.next_u64(), now);
        let buffer = config.stream.socket_buffer;
        Ok(Some(Connection::new(index, sessions, links, Oracle::new(ground), buffer, seed)))
    }

    // ---- who is let in ----

    pub(super) fn receive_registration(
        &mut self,
        serial: Serial,
        pending: PendingRegistration,
    ) -> Result<(), Cause> {
        let verdict = match &mut self.hooks.policy {
            Some(policy) => policy(&pending.registration),
            None => Verdict::Accept,
        };
        let verdict = match self.strikes(Fault::Reject) {
            true => {
                let retry_after = self.rng.per_mille(500).then_some(Duration::from_millis(700));
                Verdict::Reject { reason: "not today".to_string(), retry_after }
            }
            false => verdict,
        };
        if self.strikes(Fault::SlowDecision) {
            let after = self.rng.up_to(Duration::from_secs(14));
            self.schedule.set(after, Action::Decide { serial, pending, verdict });
            return Ok(());
        }
        self.decide(serial, pending, verdict)
    }

    pub(super) fn decide(
        &mut self,
        serial: Serial,
        pending: PendingRegistration,
        verdict: Verdict,
    ) -> Result<(), Cause> {
        self.note(serial, What::Decided { accepted: verdict == Verdict::Accept });
        let now = self.schedule.now;
        let Some(connection) = self.connections.get_mut(&serial) else { return Ok(()) };
        let verdict = match verdict {
            Verdict::Accept => Ok(Grant { connection_id: format!("c-{serial}") }),
            Verdict::Reject { reason, retry_after } => Err(RegistrationResponse {
                error: Some(reason),
                retry_after_ms: retry_after.and_then(|span| u64::try_from(span.as_millis()).ok()),
                ..RegistrationResponse::default()
            }),
        };
        connection.decide(pending, verdict, now)?;
        self.touched.insert(serial);
        Ok(())
    }

    pub(super) fn receive_handshake(&mut self, serial: Serial, pending: PendingForward) -> Result<(), Cause> {
        let rejected = self.strikes(Fault::Reject);
        self.note(serial, What::Decided { accepted: !rejected });
        let now = self.schedule.now;
        let Some(connection) = self.connections.get_mut(&serial) else { return Ok(()) };
        let outcome = match rejected {
            true => connection.agent.reject_handshake(pending, "not today"),
            false => connection.agent.accept_handshake(pending, now),
        };
        self.touched.insert(serial);
        demand(outcome.is_ok(), Property::P7, || "the decision was not taken".to_string())?;
        Ok(())
    }

    pub(super) fn opened(&mut self, serial: Serial) {
        self.note(serial, What::Opened);
        let now = self.schedule.now;
        if let Some(connection) = self.connections.get_mut(&serial) {
            connection.opened_at = Some(now);
        }
    }

    // ---- the end of a connection ----

    /// Takes a connection away that is over on both sides, and sets the time of the next dial.
    pub(super) fn bury(&mut self, serial: Serial) -> Result<(), Cause> {
        if !self.connections.get(&serial).is_some_and(Connection::is_over) {
            return Ok(());
        }
        let Some(connection) = self.connections.remove(&serial) else { return Ok(()) };
        let left = self.callers.open_on(serial);
        demand(left == 0, Property::P1, || format!("{left} callers of connection {serial} were not told"))?;
        self.report.bytes = self.report.bytes.saturating_add(connection.traffic.bytes);
        self.report.frames = self.report.frames.saturating_add(connection.traffic.frames);
        let now = self.schedule.now;
        let refused = |session: &AgentSession| match session.close_reason() {
            Some(CloseReason::Refused(_)) => Some(session.retry_after_ms()),
            _ => None,
        };
        let attempt = match (connection.opened_at, refused(&connection.agent)) {
            (Some(at), _) => Attempt::Ended { lived: now.since(at) },
            (None, Some(Some(millis))) => Attempt::RefusedFor(Duration::from_millis(millis)),
            (None, Some(None)) => Attempt::Refused,
            (None, None) => Attempt::Failed,
        };
        self.redial(connection.line, attempt);
        Ok(())
    }

    fn redial(&mut self, index: usize, attempt: Attempt) {
        let draw = self.rng.next_u64();
        let Some(line) = self.lines.get_mut(index) else { return };
        if let Next::Wait(after) = line.pace.next(attempt, draw) {
            self.schedule.set(after, Action::Dial(index));
        }
    }
}

fn proxy_settings(config: &SimConfig, window: u32) -> ProxySettings {
    let side = &config.proxy;
    ProxySettings {
        limits: ProxyLimits {
            window,
            queue: QueueLimits { count: side.queue, ..QueueLimits::default() },
            owed: OwedLimits { count: side.owed, ..OwedLimits::default() },
            control: ControlLimits { paused_requests: 24, ..ControlLimits::default() },
            ..ProxyLimits::default()
        },
        write_mark: WRITE_MARK,
        proxy_id: "sim-proxy".to_string(),
        // Not the crate's version: a release must not change what a seed does.
        proxy_version: "1".to_string(),
        ..ProxySettings::default()
    }
}

fn agent_settings(config: &SimConfig, line: &Line, stated: u32, rng: &mut Rng) -> AgentSettings {
    let mut capabilities = Capabilities::new(format!("agent-{}", line.agent), EventKind::ALL);
    capabilities.version = "1".to_string();
    capabilities.features.cancellation = line.cancellation;
    capabilities.features.exchange_ids = line.exchange_ids;
    capabilities.limits.max_concurrency = stated;
    let most = config.agent.running.max(1) as u64;
    let running = usize::try_from(rng.between(1, most)).unwrap_or(1);
    let high_mark = usize::try_from(rng.between(2, 5)).unwrap_or(2);
    let inbox = InboxLimits { running, high_mark, low_mark: 1, ..InboxLimits::default() };
    let mut agent = AgentSettings::new(Registration::new(capabilities));
    agent.limits = AgentLimits {
        inbox,
        keepalive: KeepaliveLimits { ..AgentLimits::default().keepalive },
        ..AgentLimits::default()
    };
    agent.write_mark = WRITE_MARK;
    agent
}

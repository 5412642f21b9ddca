//! One connection: two real sessions, the stream between them, and the books beside it.

mod check;
mod transport;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use crate::machine::{CloseReason, ConnectionState, Ending, ExchangeId, Timestamp};
use crate::session::{AgentSession, Grant, PendingForward, PendingRegistration, ProxySession, Receipt};
use crate::testing::link::Link;
use crate::testing::oracle::{Oracle, Property, Tap, Violated, demand};
use crate::testing::probe::time_out;
use crate::testing::rng::Rng;
use crate::wire::{CorrelationId, HealthState, RegistrationResponse};

/// Names a connection within a run, from 1.
pub(super) type Serial = u32;

/// What a connection has to tell the two applications.
#[derive(Debug)]
pub(super) enum Notice {
    Registration(PendingRegistration),
    Handshake(PendingForward),
    Opened,
    Ended {
        exchange: ExchangeId,
        ending: Ending<Vec<u8>>,
    },
    Health(HealthState),
    Draining,
    ProxyClosed(CloseReason),
    /// An event for the agent's application; no tag where the books can't know any more which it is.
    Event {
        tag: Option<u32>,
        receipt: Receipt,
    },
    Cancelled(ExchangeId),
    AgentClosed(CloseReason),
}

/// One end of the stream: what is written and not sent, and whether it reads.
#[derive(Debug, Default)]
pub(super) struct End {
    /// Bytes that the socket has not taken yet.
    pub(super) out: Vec<u8>,
    /// What it writes, cut into frames.
    tap: Tap,
    /// It does not read before this time.
    pub(super) reads_at: Timestamp,
    /// It lets this time pass after everything it reads.
    pub(super) slowness: Duration,
    /// Nothing of what it writes is sent any more.
    pub(super) gagged: bool,
    pub(super) closed: bool,
}

/// What is the matter with a connection, apart from its sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Both ends keep to the protocol.
    Both,
    /// The agent may send anything.
    ProxyOnly,
    /// Both may.
    Neither,
}

/// Two sessions, joined.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) line: usize,
    pub(super) proxy: ProxySession,
    pub(super) agent: AgentSession,
    pub(super) at_proxy: End,
    pub(super) at_agent: End,
    pub(super) to_agent: Link,
    pub(super) to_proxy: Link,
    pub(super) oracle: Oracle,
    pub(super) trust: Trust,
    /// The agent's application answers nothing any more.
    pub(super) mute: bool,
    /// Handlers take this much longer.
    pub(super) handler_lag: Duration,
    pub(super) opened_at: Option<Timestamp>,
    pub(super) drain_deadline: Option<Timestamp>,
    /// The payload of the last answer that the agent's session wrote.
    pub(super) last_answer: Option<Vec<u8>>,
    pub(super) last_receipt: Option<Receipt>,
    /// What the agent's application works on.
    pub(super) working: BTreeMap<ExchangeId, CorrelationId>,
    /// What reaches the proxy, cut into frames.
    arrivals: Tap,
    /// When the proxy last got a byte.
    heard: Timestamp,
    notices: Vec<Notice>,
    socket_buffer: usize,
    rng: Rng,
    pub(super) traffic: Traffic,
}

/// What a connection has carried.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traffic {
    pub(super) bytes: u64,
    pub(super) frames: u64,
}

impl Connection {
    pub(super) fn new(
        line: usize,
        (proxy, agent): (ProxySession, AgentSession),
        (to_agent, to_proxy): (Link, Link),
        oracle: Oracle,
        socket_buffer: usize,
        (seed, now): (u64, Timestamp),
    ) -> Self {
        Self {
            line,
            proxy,
            agent,
            at_proxy: End::default(),
            at_agent: End::default(),
            to_agent,
            to_proxy,
            oracle,
            trust: Trust::Both,
            mute: false,
            handler_lag: Duration::ZERO,
            opened_at: None,
            drain_deadline: None,
            last_answer: None,
            last_receipt: None,
            working: BTreeMap::new(),
            arrivals: Tap::default(),
            heard: now,
            notices: Vec::new(),
            socket_buffer: socket_buffer.max(1),
            rng: Rng::new(seed),
            traffic: Traffic::default(),
        }
    }

    /// Whether both ends have told that they are closed.
    pub(super) const fn is_over(&self) -> bool {
        self.at_proxy.closed && self.at_agent.closed
    }

    /// Whether both ends keep to the protocol.
    pub(super) fn is_honest(&self) -> bool {
        self.trust == Trust::Both
    }

    pub(super) const fn distrust_agent(&mut self) {
        if let Trust::Both = self.trust {
            self.trust = Trust::ProxyOnly;
        }
        self.oracle.distrust_agent();
    }

    pub(super) const fn distrust_both(&mut self) {
        self.trust = Trust::Neither;
        self.oracle.distrust_agent();
    }

    /// When something happens here of itself.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let arrival = |link: &Link, end: &End, wants: bool| {
            let at = link.next_arrival().or_else(|| link.is_at_end().then_some(Timestamp::ZERO));
            at.filter(|_| wants).map(|at| at.max(end.reads_at))
        };
        let due = [
            arrival(&self.to_agent, &self.at_agent, self.agent.wants_bytes()),
            arrival(&self.to_proxy, &self.at_proxy, self.proxy.wants_bytes()),
            self.proxy.poll_timeout(),
            self.agent.poll_timeout(),
        ];
        due.into_iter().flatten().min()
    }

    /// Lets everything happen that is due, checks the properties, and returns what the
    /// applications must hear.
    pub(super) fn turn(&mut self, now: Timestamp) -> Result<Vec<Notice>, Violated> {
        // What costs much is checked now and then: every connection has many turns.
        let thorough = self.rng.below(16) == 0;
        self.deliver(now)?;
        time_out(&mut self.proxy, &mut self.agent, now)?;
        self.pump(now, thorough)?;
        self.check(now, thorough)?;
        Ok(core::mem::take(&mut self.notices))
    }

    /// Decides a registration.
    pub(super) fn decide(
        &mut self,
        pending: PendingRegistration,
        verdict: Result<Grant, RegistrationResponse>,
        now: Timestamp,
    ) -> Result<(), Violated> {
        let opening = self.proxy.state() == ConnectionState::Opening;
        let outcome = match verdict {
            Ok(grant) => {
                // What the agent sent behind its registration is read within this call.
                self.oracle.opened = opening;
                self.heard = now;
                self.proxy.accept_registration(pending, grant, now)
            }
            Err(no) => {
                let words = no.error.unwrap_or_default();
                self.proxy.reject_registration(pending, &words, no.retry_after_ms)
            }
        };
        demand(outcome.is_ok() == opening, Property::P7, || format!("decided while {:?}", self.proxy.state()))
    }
}

//! The two machines, open, with single bytes for payloads.

use dialback::machine::{
    AgentConnection, AgentEvent, AgentLimits, EventSet, ExchangeId, FromAgent, FromProxy, Matching, Patience,
    ProxyConnection, ProxyLimits, Submission, Terms, Timestamp,
};
use dialback::wire::{CorrelationId, EventKind};

/// The time that the machines are told.
pub const NOW: Timestamp = Timestamp::from_micros(1_000_000);
/// When exchanges are given up.
pub const DEADLINE: Timestamp = Timestamp::from_micros(61_000_000);

/// A proxy's machine.
pub fn proxy(limits: ProxyLimits, matching: Matching) -> ProxyConnection<u8> {
    let mut machine = ProxyConnection::accept(limits, NOW);
    machine.handle_frame(FromAgent::Offer(0), NOW);
    let pending = machine.poll_offer().expect("an offer came");
    let terms = Terms { concurrency: None, matching, cancellation: true, events: EventSet::all() };
    machine.accept_offer(pending, 0, terms, NOW).expect("it can be accepted");
    while machine.poll_transmit().is_some() {}
    while machine.poll_event().is_some() {}
    machine
}

/// An event for it.
pub const fn submission(number: u64, id: CorrelationId) -> Submission<u8> {
    Submission {
        exchange: ExchangeId(number),
        id,
        kind: EventKind::RequestHeaders,
        payload: 0,
        deadline: DEADLINE,
        patience: Patience::Wait,
    }
}

/// Hands it an event, which is written if it may be.
pub fn submit(machine: &mut ProxyConnection<u8>, number: u64, id: CorrelationId) {
    machine.submit(submission(number, id), NOW).expect("it is taken");
    while machine.poll_transmit().is_some() {}
}

/// An agent's machine, with a backlog that is never high.
pub fn agent() -> AgentConnection<u8> {
    let mut limits = AgentLimits::default();
    (limits.inbox.running, limits.inbox.high_mark, limits.inbox.saturated) = (1 << 20, 1 << 20, 1 << 20);
    let mut machine = AgentConnection::dial(limits, 0, NOW);
    machine.poll_transmit().expect("it registers");
    machine.handle_frame(FromProxy::HandshakeAnswer(Ok(())), NOW);
    assert!(matches!(machine.poll_event(), Some(AgentEvent::Opened)));
    machine
}

/// An event for it.
pub const fn arrival(number: u64, id: CorrelationId) -> FromProxy<u8> {
    FromProxy::Event {
        exchange: ExchangeId(number),
        kind: EventKind::RequestHeaders,
        id,
        echo: None,
        payload: 0,
    }
}

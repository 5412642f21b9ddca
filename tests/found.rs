//! What the fuzzers found, each as a small test of its own.

// A failed expectation is what a test is for.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use dialback::machine::Timestamp;
use dialback::session::{AgentSession, AgentSettings, Grant, ProxySession, ProxySessionEvent, ProxySettings};
use dialback::wire::{Capabilities, EventKind, Registration};

/// Both ends of a connection that has just opened.
fn opened(now: Timestamp) -> (ProxySession, AgentSession) {
    let registration = Registration::new(Capabilities::new("a", EventKind::ALL));
    let mut agent = AgentSession::dial(AgentSettings::new(registration), now).unwrap();
    let mut proxy = ProxySession::accept(ProxySettings::default(), now);
    let mut bytes = Vec::new();
    agent.poll_transmit(&mut bytes);
    proxy.handle_bytes(&bytes, now);
    let Some(ProxySessionEvent::Registration(pending)) = proxy.poll_event() else {
        panic!("no registration")
    };
    proxy.accept_registration(*pending, Grant { connection_id: "c".into() }, now).unwrap();
    bytes.clear();
    proxy.poll_transmit(&mut bytes);
    agent.handle_bytes(&bytes, now);
    (proxy, agent)
}

#[test]
fn a_read_of_no_bytes_is_no_sign_of_life() {
    let (mut proxy, mut agent) = opened(Timestamp::ZERO);
    let (proxy_due, agent_due) = (proxy.poll_timeout(), agent.poll_timeout());
    proxy.handle_bytes(&[], Timestamp::from_micros(5_000_000));
    agent.handle_bytes(&[], Timestamp::from_micros(5_000_000));
    assert_eq!((proxy.poll_timeout(), agent.poll_timeout()), (proxy_due, agent_due));
    proxy.handle_bytes(&[0], Timestamp::from_micros(5_000_000));
    assert!(proxy.poll_timeout() > proxy_due);
}

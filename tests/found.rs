//! What the fuzzers found, each as a small test of its own.

// A failed expectation is what a test is for.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use dialback::machine::Timestamp;
use dialback::session::{AgentSession, AgentSettings, Grant, ProxySession, ProxySessionEvent, ProxySettings};
use dialback::wire::{
    Capabilities, Encoding, EventKind, GaugeMetric, HealthState, HealthStatus, LoadMetrics, Registration,
    event_ids,
};

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

#[test]
fn a_number_is_read_as_itself_and_not_as_its_neighbour() {
    for value in [6.260011765363369e183, 5e-324, f64::MAX, 0.1] {
        let gauge = GaugeMetric::new("g", value);
        let mut bytes = Vec::new();
        Encoding::Json.encode(&gauge, &mut bytes).unwrap();
        assert_eq!(Encoding::Json.decode(&bytes), Ok(gauge));
    }
}

#[test]
fn a_load_without_a_mean_can_be_read() {
    // The mean of nothing, in the arithmetic of most languages.
    let load =
        LoadMetrics { avg_latency_ms: f32::NAN, p99_latency_ms: f32::INFINITY, ..LoadMetrics::default() };
    let health = HealthStatus { load: Some(load), ..HealthStatus::new("a", HealthState::Healthy, 1) };
    for encoding in Encoding::ALL.into_iter().filter(|encoding| encoding.is_supported()) {
        let mut bytes = Vec::new();
        encoding.encode(&health, &mut bytes).unwrap();
        let read: HealthStatus = encoding.decode(&bytes).unwrap();
        assert!(read.load.unwrap().avg_latency_ms.is_nan(), "{encoding}");
    }
}

#[cfg(feature = "msgpack")]
#[test]
fn an_event_with_its_id_under_a_number_has_no_id_that_only_one_reader_sees() {
    // {0: "c"}: the first field, says a reader of the whole.
    let error = event_ids(Encoding::MessagePack, b"\x81\x00\xa1c").unwrap_err();
    assert!(error.message().contains("a field's name"), "{error}");
    assert!(event_ids(Encoding::MessagePack, b"\x81\xa1x\x00").is_ok());
}

//! An agent that is lost, and drains.

use dialback::machine::CloseReason;
use dialback::session::bridge::{BridgeEnd, BridgeEvent, BridgeSettings, OnAgentLoss, Side};
use dialback::wire::{Answer, FrameType, HealthState, HealthStatus};

use crate::hand::{NOW, answer, end_of, event, frame, later, open, open_with, read, sent};

#[test]
// Rule: X-BRIDGE-2.
fn what_the_agent_said_before_it_went_comes_before_the_blocks() {
    let mut bridge = open();
    for id in ["a", "b"] {
        bridge.handle_bytes(Side::Proxy, &frame(FrameType::RequestHeaders, &event(id)), NOW);
    }
    bridge.handle_bytes(Side::Agent, &frame(FrameType::AgentResponse, &answer("b")), NOW);
    bridge.handle_eof(Side::Agent, NOW);
    assert_eq!(bridge.poll_event(), Some(BridgeEvent::AgentLost(CloseReason::PeerClosed)));
    let frames = sent(&mut bridge, Side::Proxy);
    assert_eq!(frames[0], (FrameType::AgentResponse, answer("b")));
    assert_eq!(blocked(&frames[1]), "a");
    let health: HealthStatus = read(&frames[2].1);
    assert!(matches!(health.state, HealthState::Draining { .. }), "{health:?}");
    assert_eq!((frames.len(), bridge.stats().blocked), (3, 1));
}

/// The request that this answer blocks because the agent is lost.
fn blocked((kind, payload): &(FrameType, Vec<u8>)) -> String {
    assert_eq!(*kind, FrameType::AgentResponse);
    let block: Answer = read(payload);
    assert_eq!(block.decision, Answer::block(503).decision);
    assert_eq!(block.audit.reason_codes, ["agent_lost"]);
    block.audit.correlation_id().unwrap().to_string()
}

#[test]
// Rule: X-BRIDGE-2.
fn what_still_comes_when_the_agent_is_lost_is_answered_until_the_proxy_lets_go() {
    for lets_go in [true, false] {
        let mut bridge = open();
        bridge.handle_transport_lost(Side::Agent, NOW);
        assert!(bridge.is_orphaned() && !bridge.is_open());
        assert!(!bridge.wants_bytes(Side::Agent) && bridge.wants_bytes(Side::Proxy));
        sent(&mut bridge, Side::Proxy);
        bridge.handle_bytes(Side::Agent, &frame(FrameType::AgentResponse, &answer("late")), NOW);
        bridge.handle_bytes(Side::Proxy, &frame(FrameType::RequestHeaders, &event("late")), NOW);
        bridge.handle_bytes(Side::Proxy, &frame(FrameType::Ping, b"{}"), NOW);
        let frames = sent(&mut bridge, Side::Proxy);
        assert_eq!((frames.len(), blocked(&frames[0])), (2, "late".to_string()));
        assert_eq!(frames[1].0, FrameType::Pong);
        assert!(sent(&mut bridge, Side::Agent).is_empty());
        assert_eq!(bridge.poll_timeout(), Some(later(1_000)));
        bridge.handle_timeout(later(999));
        assert_eq!(bridge.end(), None);
        if lets_go {
            bridge.handle_eof(Side::Proxy, later(999));
        } else {
            bridge.handle_timeout(later(1_000));
        }
        let end = BridgeEnd::Peer(Side::Agent, CloseReason::TransportLost);
        assert_eq!(end_of(&mut bridge), end);
        assert_eq!((bridge.stats().events, bridge.stats().blocked), (0, 1));
    }
}

#[test]
// Rule: X-BRIDGE-2.
fn by_choice_what_is_in_flight_is_left_to_the_proxy() {
    let mut bridge =
        open_with(BridgeSettings { on_agent_loss: OnAgentLoss::Close, ..BridgeSettings::default() });
    for id in ["a", "b"] {
        bridge.handle_bytes(Side::Proxy, &frame(FrameType::RequestHeaders, &event(id)), NOW);
    }
    bridge.handle_bytes(Side::Agent, &frame(FrameType::AgentResponse, &answer("b")), NOW);
    bridge.handle_eof(Side::Agent, NOW);
    assert_eq!(end_of(&mut bridge), BridgeEnd::Peer(Side::Agent, CloseReason::PeerClosed));
    assert_eq!(sent(&mut bridge, Side::Proxy), [(FrameType::AgentResponse, answer("b"))]);
}

#[test]
fn a_drain_tells_the_proxy_and_ends_after_a_moment() {
    let mut bridge = open();
    bridge.drain(later(30_000), NOW);
    let frames = sent(&mut bridge, Side::Proxy);
    let health: HealthStatus = read(&frames[0].1);
    assert!(matches!(health.state, HealthState::Draining { .. }) && health.agent_id == "waf", "{health:?}");
    assert_eq!(bridge.poll_timeout(), Some(later(250)));
    bridge.handle_timeout(later(249));
    assert_eq!(bridge.end(), None);
    bridge.handle_timeout(later(250));
    assert_eq!(end_of(&mut bridge), BridgeEnd::Bridge(CloseReason::Drained));
}

#[test]
fn a_drain_waits_for_the_answer_however_quiet_it_is() {
    let mut bridge = open();
    bridge.handle_bytes(Side::Proxy, &frame(FrameType::RequestHeaders, &event("a")), NOW);
    bridge.drain(later(30_000), NOW);
    bridge.handle_timeout(later(5_000));
    assert_eq!(bridge.end(), None);
    bridge.handle_bytes(Side::Agent, &frame(FrameType::AgentResponse, &answer("a")), later(6_000));
    assert_eq!(bridge.poll_timeout(), Some(later(6_250)));
    bridge.handle_timeout(later(6_250));
    assert_eq!(end_of(&mut bridge), BridgeEnd::Bridge(CloseReason::Drained));
    assert_eq!(bridge.stats().blocked, 0);
}

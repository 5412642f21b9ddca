//! Neither side is read for a peer that does not take what it says.

use dialback::session::bridge::{BridgeSession, BridgeSettings, Side};
use dialback::wire::{FlowAction, FlowControl, FrameType};

use crate::hand::{NOW, answer, event, frame, json, later, open_with, read, sent};

fn flow(action: FlowAction) -> Vec<u8> {
    json(FrameType::FlowControl, &FlowControl { correlation_id: None, action, timestamp_ms: 0 })
}

fn actions(bridge: &mut BridgeSession) -> Vec<FlowAction> {
    let frames = sent(bridge, Side::Proxy);
    frames.iter().map(|(_, payload)| read::<FlowControl>(payload).action).collect()
}

#[test]
// Rule: F-BRIDGE-1.
fn an_agent_that_does_not_take_its_events_pauses_the_proxy_and_in_the_end_is_not_read_for() {
    let mut settings = BridgeSettings::default();
    settings.limits.write_mark = 1_000;
    let mut bridge = open_with(settings);
    let mut fed = 0;
    while bridge.wants_bytes(Side::Proxy) {
        bridge.handle_bytes(Side::Proxy, &frame(FrameType::RequestHeaders, &event("a")), NOW);
        fed += 1;
        assert!(fed < 100, "it is read for ever");
    }
    assert!(bridge.buffered_capacity() < 20_000, "{}", bridge.buffered_capacity());
    assert_eq!(actions(&mut bridge), [FlowAction::Pause]);
    // The agent's own pause and resume in between must not lift ours.
    bridge.handle_bytes(Side::Agent, &flow(FlowAction::Pause), NOW);
    bridge.handle_bytes(Side::Agent, &flow(FlowAction::Resume), NOW);
    assert_eq!(actions(&mut bridge), [FlowAction::Pause]);
    assert_eq!(sent(&mut bridge, Side::Agent).len(), fed, "all of it is taken");
    assert_eq!(actions(&mut bridge), [FlowAction::Resume]);
    assert!(bridge.wants_bytes(Side::Proxy));
}

#[test]
// Rule: F-BRIDGE-1.
fn the_agents_pause_outlives_ours() {
    let mut settings = BridgeSettings::default();
    settings.limits.write_mark = 50;
    let mut bridge = open_with(settings);
    bridge.handle_bytes(Side::Proxy, &frame(FrameType::RequestHeaders, &event("a")), NOW);
    bridge.handle_bytes(Side::Agent, &flow(FlowAction::Pause), NOW);
    assert_eq!(actions(&mut bridge), [FlowAction::Pause, FlowAction::Pause]);
    sent(&mut bridge, Side::Agent);
    assert_eq!(actions(&mut bridge), []);
    bridge.handle_bytes(Side::Agent, &flow(FlowAction::Resume), NOW);
    assert_eq!(actions(&mut bridge), [FlowAction::Resume]);
}

#[test]
// Rule: F-BRIDGE-1.
fn an_agent_is_not_read_while_the_proxy_does_not_take_its_answers() {
    let mut settings = BridgeSettings::default();
    settings.limits.write_mark = 1_000;
    let mut bridge = open_with(settings);
    while bridge.wants_bytes(Side::Agent) {
        bridge.handle_bytes(Side::Agent, &frame(FrameType::AgentResponse, &answer("a")), NOW);
    }
    assert!(bridge.buffered_capacity() < 4_000, "{}", bridge.buffered_capacity());
    for second in 1..100 {
        bridge.handle_timeout(later(second * 1_000));
    }
    assert_eq!(bridge.end(), None, "who is not read can't be silent");
    let mut full = vec![0; 1_000];
    assert!(!bridge.poll_transmit(Side::Proxy, &mut full), "the socket's buffer is full");
    sent(&mut bridge, Side::Proxy);
    assert!(bridge.wants_bytes(Side::Agent));
}

//! Pings of either side, and of the bridge's own.

use dialback::machine::{CloseReason, Violation};
use dialback::session::bridge::{BridgeEnd, BridgeSession, Side};
use dialback::wire::{FrameType, Ping};
use std::time::Duration;

use crate::hand::{NOW, answer, end_of, event, frame, later, open, read, sent};

#[test]
// Rule: C-BRIDGE-1, C-PING-1.
fn each_ping_is_answered_here_and_goes_no_further() {
    for side in Side::ALL {
        let mut bridge = open();
        bridge.handle_bytes(side, &frame(FrameType::Ping, b"{\"sequence\":1,\"x\":2}"), NOW);
        assert_eq!(sent(&mut bridge, side), [(FrameType::Pong, b"{\"sequence\":1,\"x\":2}".to_vec())]);
        bridge.handle_bytes(side, &frame(FrameType::Pong, b"{}"), NOW);
        assert!(sent(&mut bridge, side.other()).is_empty());
    }
}

#[test]
// Rule: C-PING-2.
fn pings_are_not_answered_without_bound() {
    for side in Side::ALL {
        let mut bridge = open();
        bridge.handle_bytes(side, &frame(FrameType::Ping, &[b'x'; 4_097]), NOW);
        let oversize = Violation::OversizePing { length: 4_097, limit: 4_096 };
        assert_eq!(end_of(&mut bridge), BridgeEnd::Peer(side, CloseReason::Violation(oversize)));
        let mut bridge = open();
        for _ in 0..33 {
            bridge.handle_bytes(side, &frame(FrameType::Ping, b"{}"), NOW);
        }
        let flood = Violation::PingFlood { limit: 32 };
        assert_eq!(end_of(&mut bridge), BridgeEnd::Peer(side, CloseReason::Violation(flood)));
    }
}

#[test]
// Rule: C-BRIDGE-1, C-ALIVE-1.
fn an_agent_that_owes_nothing_must_answer_pings() {
    let mut bridge = open();
    bridge.handle_bytes(Side::Proxy, &frame(FrameType::RequestHeaders, &event("a")), NOW);
    for second in 1..200 {
        bridge.handle_timeout(later(second * 1_000));
    }
    assert_eq!(bridge.end(), None, "it works on an event, and the proxy answers no ping");
    sent(&mut bridge, Side::Agent);
    bridge.handle_bytes(Side::Agent, &frame(FrameType::AgentResponse, &answer("a")), later(200_000));
    bridge.handle_timeout(later(215_000));
    assert!(sent(&mut bridge, Side::Agent).iter().any(|(kind, _)| *kind == FrameType::Ping));
    bridge.handle_timeout(later(229_999));
    assert_eq!(bridge.end(), None);
    bridge.handle_timeout(later(230_000));
    let silent = CloseReason::Silent(Duration::from_secs(30));
    assert_eq!(end_of(&mut bridge), BridgeEnd::Peer(Side::Agent, silent));
}

#[test]
// Rule: C-BRIDGE-1.
fn a_proxy_that_has_answered_a_ping_must_go_on_doing_so() {
    let mut bridge = open();
    let silence = |bridge: &mut BridgeSession, from: u64| {
        for second in from..from + 40 {
            bridge.handle_bytes(Side::Agent, &frame(FrameType::Pong, b"{}"), later(second * 1_000));
            bridge.handle_timeout(later(second * 1_000));
        }
    };
    silence(&mut bridge, 0);
    assert_eq!(bridge.end(), None);
    bridge.handle_bytes(Side::Proxy, &frame(FrameType::Pong, b"{}"), later(40_000));
    silence(&mut bridge, 40);
    assert!(matches!(end_of(&mut bridge), BridgeEnd::Peer(Side::Proxy, CloseReason::Silent(_))));
}

#[test]
fn pings_of_its_own_have_rising_numbers() {
    let mut bridge = open();
    bridge.handle_timeout(later(15_000));
    let first = sent(&mut bridge, Side::Agent);
    let ping: Ping = read(&first[0].1);
    assert!(ping.sequence > 0 && ping.timestamp_ms == 16_000, "{ping:?}");
}

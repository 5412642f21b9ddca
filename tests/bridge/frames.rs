//! One frame at a time: what a bridge passes on unchanged, rewrites, skips or refuses.

use dialback::machine::CloseReason;
use dialback::session::bridge::{BridgeEnd, BridgeSession, BridgeSettings, Side};
use dialback::wire::{
    Answer, Cancel, CancelReason, Encoding, Event, ForwardResponse, FrameType, RegistrationResponse,
    RequestBodyChunk, RequestHeaders, ResponseBodyChunk, WebSocketFrame, WebSocketOpcode, append_exchange_id,
};

use crate::hand::{NOW, answer, capabilities, end_of, event, frame, greeted, json, open, sent};

#[test]
// Rule: X-BRIDGE-1.
fn frames_pass_with_their_payload_as_it_came() {
    let mut bridge = open();
    let cancel = Cancel {
        correlation_id: "a".into(),
        reason: CancelReason::Timeout,
        timestamp_ms: 1,
        exchange_id: None,
    };
    let mut cancelled = Vec::new();
    Encoding::Json.encode(&cancel, &mut cancelled).unwrap();
    let down = [(FrameType::RequestHeaders, event("a")), (FrameType::Cancel, cancelled)];
    for (kind, payload) in &down {
        bridge.handle_bytes(Side::Proxy, &frame(*kind, payload), NOW);
    }
    assert_eq!(sent(&mut bridge, Side::Agent), down);
    assert_eq!(bridge.in_flight(), 1);
    let health = br#"{"agent_id":"waf","state":{"status":"healthy"},"timestamp_ms":1, "z":0}"#.to_vec();
    let flow = br#"{"correlation_id":"a","action":{"type":"pause"},"timestamp_ms":5}"#.to_vec();
    let up = [
        (FrameType::HealthStatus, health),
        (FrameType::MetricsReport, b"{ }".to_vec()),
        (FrameType::ConfigUpdateRequest, b"[\"whatever\"]".to_vec()),
        (FrameType::FlowControl, flow),
        (FrameType::AgentResponse, answer("a")),
        (FrameType::AgentResponse, b"not an answer at all".to_vec()),
    ];
    for (kind, payload) in &up {
        bridge.handle_bytes(Side::Agent, &frame(*kind, payload), NOW);
    }
    assert_eq!(sent(&mut bridge, Side::Proxy), up);
    assert_eq!(bridge.in_flight(), 0);
    assert_eq!((bridge.stats().events, bridge.stats().answers), (1, 2));
}

/// A bridge on which both sides speak MessagePack.
fn open_in_messagepack() -> BridgeSession {
    let settings = BridgeSettings { encodings: vec![Encoding::MessagePack], ..BridgeSettings::default() };
    let mut bridge = greeted(settings, &ForwardResponse::accept(capabilities(), Encoding::MessagePack));
    bridge.register(NOW).unwrap();
    sent(&mut bridge, Side::Proxy);
    let response = RegistrationResponse {
        success: true,
        encoding: Some(Encoding::MessagePack),
        ..RegistrationResponse::default()
    };
    bridge.handle_bytes(Side::Proxy, &json(FrameType::HandshakeResponse, &response), NOW);
    assert!(bridge.is_open() && bridge.encoding() == Encoding::MessagePack);
    bridge
}

fn packed(event: &Event, exchange: Option<u64>) -> Vec<u8> {
    let mut payload = Vec::new();
    event.encode(Encoding::MessagePack, &mut payload).unwrap();
    if let Some(id) = exchange {
        append_exchange_id(Encoding::MessagePack, 0, &mut payload, id).unwrap();
    }
    payload
}

#[test]
// Rule: X-BRIDGE-3, W-BODY-2.
fn raw_bodies_become_text_which_is_all_that_deployed_agents_read() {
    let bytes: &[u8] = &[0xff, 0x00, 0x80];
    let events: [Event; 3] = [
        RequestBodyChunk { chunk_index: 7, ..RequestBodyChunk::new("a", bytes) }.into(),
        ResponseBodyChunk { is_last: true, ..ResponseBodyChunk::new("a", bytes) }.into(),
        WebSocketFrame::new("a", WebSocketOpcode::Binary, bytes).into(),
    ];
    for event in events {
        let mut bridge = open_in_messagepack();
        let kind = event.kind().frame_type();
        bridge.handle_bytes(Side::Proxy, &frame(kind, &packed(&event, Some(77))), NOW);
        let passed = sent(&mut bridge, Side::Agent);
        // A reader that knows no bytes but text.
        let text: serde_json::Value = Encoding::MessagePack.decode(&passed[0].1).unwrap();
        assert_eq!((&text["data"], &text["exchange_id"]), (&"/wCA".into(), &77.into()), "{text}");
        let again = Event::decode(event.kind(), Encoding::MessagePack, &passed[0].1).unwrap();
        assert_eq!(again, event);
    }
    let mut bridge = open_in_messagepack();
    let headers = packed(&RequestHeaders::new("a", "GET", "/").into(), None);
    bridge.handle_bytes(Side::Proxy, &frame(FrameType::RequestHeaders, &headers), NOW);
    assert_eq!(sent(&mut bridge, Side::Agent), [(FrameType::RequestHeaders, headers)], "as it came");
}

#[test]
// Rule: X-BRIDGE-3.
fn a_body_that_is_too_long_as_text_is_blocked_and_the_bridge_goes_on() {
    let mut bridge = open_in_messagepack();
    let event: Event = RequestBodyChunk::new("a", vec![0xff; 13 << 20]).into();
    let payload = packed(&event, None);
    bridge.handle_bytes(Side::Proxy, &frame(FrameType::RequestBodyChunk, &payload), NOW);
    assert!(sent(&mut bridge, Side::Agent).is_empty() && bridge.in_flight() == 0);
    let told = sent(&mut bridge, Side::Proxy);
    let block: Answer = Encoding::MessagePack.decode(&told[0].1).unwrap();
    assert_eq!(
        (block.decision, &*block.audit.reason_codes),
        (Answer::block(503).decision, &["too_large".into()][..])
    );
    assert!(bridge.is_open() && bridge.stats().blocked == 1);
}

#[test]
// Rule: W-TYPE-2.
fn unknown_frames_are_skipped_and_counted() {
    for side in Side::ALL {
        let mut bridge = open();
        bridge.handle_bytes(side, &[0, 0, 0, 3, 0x77, 1, 2], NOW);
        assert_eq!(bridge.stats().unknown_frames, 1);
        assert!(sent(&mut bridge, side.other()).is_empty() && bridge.is_open());
    }
}

#[test]
// Rule: W-TYPE-3, H-ORDER-2, X-READ-1, X-ID-2, W-FRAME-2.
fn a_broken_rule_ends_it_and_is_named() {
    let long = format!(r#"{{"correlation_id":"{}"}}"#, "i".repeat(257));
    let cases: [(Side, Vec<u8>, &str); 7] = [
        (Side::Proxy, frame(FrameType::AgentResponse, &answer("a")), "other side"),
        (Side::Agent, frame(FrameType::RequestHeaders, &event("a")), "other side"),
        (Side::Proxy, frame(FrameType::HandshakeResponse, b"{}"), "second handshake"),
        (Side::Agent, frame(FrameType::HandshakeResponse, b"{}"), "second handshake"),
        (Side::Proxy, frame(FrameType::RequestHeaders, b"{"), "can't be read"),
        (Side::Proxy, frame(FrameType::RequestHeaders, long.as_bytes()), "257 bytes"),
        (Side::Agent, vec![0, 0, 0, 0], "length 0"),
    ];
    for (side, bytes, words) in cases {
        let mut bridge = open();
        bridge.handle_bytes(side, &bytes, NOW);
        let end = end_of(&mut bridge);
        assert!(matches!(end, BridgeEnd::Peer(at, CloseReason::Violation(_)) if at == side), "{end}");
        assert!(end.to_string().contains(words), "{end}");
        assert!(!bridge.wants_bytes(Side::Agent) && !bridge.wants_bytes(Side::Proxy));
    }
}

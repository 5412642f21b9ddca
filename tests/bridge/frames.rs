//! One frame at a time: what a bridge passes on unchanged, answers itself, skips or refuses.

use std::time::Duration;

use dialback::machine::{CloseReason, Timestamp, Violation};
use dialback::session::bridge::{BridgeEnd, BridgeEvent, BridgeSession, BridgeSettings, Side};
use dialback::wire::{
    Answer, Cancel, CancelReason, Capabilities, Decoder, Encoding, Event, EventKind, FlowAction, FlowControl,
    ForwardRequest, ForwardResponse, FrameType, HealthState, HealthStatus, Kind, MAX_FRAME, Ping,
    Registration, RegistrationResponse, RequestBodyChunk, RequestHeaders, ResponseBodyChunk, Token,
    WebSocketFrame, WebSocketOpcode, append_exchange_id, encode_frame,
};
use serde::Serialize;

const NOW: Timestamp = Timestamp::from_micros(1_000_000);

fn later(millis: u64) -> Timestamp {
    NOW.after(Duration::from_millis(millis))
}

fn frame(kind: FrameType, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_frame(kind, payload, MAX_FRAME, &mut out).unwrap();
    out
}

fn json<T: Serialize>(kind: FrameType, message: &T) -> Vec<u8> {
    let mut payload = Vec::new();
    Encoding::Json.encode(message, &mut payload).unwrap();
    frame(kind, &payload)
}

/// What waits for a side, frame by frame.
fn sent(bridge: &mut BridgeSession, side: Side) -> Vec<(FrameType, Vec<u8>)> {
    let mut out = Vec::new();
    bridge.poll_transmit(side, &mut out);
    let (mut decoder, mut rest, mut frames) = (Decoder::new(MAX_FRAME), out.as_slice(), Vec::new());
    while let Some(frame) = decoder.decode(&mut rest).unwrap() {
        match frame.kind {
            Kind::Known(kind) => frames.push((kind, frame.payload.to_vec())),
            Kind::Unknown(byte) => panic!("a bridge wrote a frame of the unknown type {byte}"),
        }
    }
    frames
}

fn read<'a, T: serde::Deserialize<'a>>(payload: &'a [u8]) -> T {
    Encoding::Json.decode(payload).unwrap()
}

fn capabilities() -> Capabilities {
    Capabilities::new("waf", EventKind::ALL)
}

/// A bridge whose agent has said this.
fn greeted(settings: BridgeSettings, response: &ForwardResponse) -> BridgeSession {
    let mut bridge = BridgeSession::new(settings, NOW).unwrap();
    let offer = sent(&mut bridge, Side::Agent);
    assert_eq!(offer.len(), 1);
    assert_eq!(offer[0].0, FrameType::HandshakeRequest);
    bridge.handle_bytes(Side::Agent, &json(FrameType::HandshakeResponse, response), NOW);
    bridge
}

/// An open bridge, with nothing to be written.
fn open() -> BridgeSession {
    open_with(BridgeSettings::default())
}

fn open_with(settings: BridgeSettings) -> BridgeSession {
    let mut bridge = greeted(settings, &ForwardResponse::accept(capabilities(), Encoding::Json));
    bridge.register(NOW).unwrap();
    assert_eq!(sent(&mut bridge, Side::Proxy)[0].0, FrameType::HandshakeRequest);
    let response = RegistrationResponse { success: true, ..RegistrationResponse::default() };
    bridge.handle_bytes(Side::Proxy, &json(FrameType::HandshakeResponse, &response), NOW);
    assert!(bridge.is_open());
    while bridge.poll_event().is_some() {}
    bridge
}

/// An event in words of the proxy's own, with a field that nobody knows.
fn event(id: &str) -> Vec<u8> {
    format!(r#"{{ "correlation_id" : "{id}","x-new":[1, 2], "metadata":{{}},"uri":"/","method":"GET","headers":{{}} }}"#)
        .into_bytes()
}

fn answer(id: &str) -> Vec<u8> {
    format!(
        r#"{{"version":2,"decision":"allow", "audit":{{"custom":{{"correlation_id":"{id}"}}}},"y":null }}"#
    )
    .into_bytes()
}

fn end_of(bridge: &mut BridgeSession) -> BridgeEnd {
    let mut last = None;
    while let Some(event) = bridge.poll_event() {
        last = Some(event);
    }
    match last {
        Some(BridgeEvent::Ended(end)) => end,
        other => panic!("it has not ended: {other:?}"),
    }
}

#[test]
// Rule: H-BRIDGE-1.
fn it_registers_with_what_the_agent_said_of_itself() {
    let settings = BridgeSettings {
        auth_token: Some(Token::from("s3cret")),
        metadata: Some(serde_json::json!({"site": 7})),
        agent_config: Some(serde_json::json!({"level": 3})),
        ..BridgeSettings::default()
    };
    let mut bridge = BridgeSession::new(settings, NOW).unwrap();
    let offer = sent(&mut bridge, Side::Agent);
    let request: ForwardRequest = read(&offer[0].1);
    assert_eq!(request.config, Some(serde_json::json!({"level": 3})));
    assert_eq!(request.supported_encodings, [Encoding::Json]);
    assert!(bridge.wants_bytes(Side::Agent) && !bridge.wants_bytes(Side::Proxy));

    let mut stated = capabilities();
    stated.features.exchange_ids = true;
    stated.limits.max_concurrency = 3;
    let response = ForwardResponse::accept(stated.clone(), Encoding::Json);
    bridge.handle_bytes(Side::Agent, &json(FrameType::HandshakeResponse, &response), NOW);
    assert_eq!(bridge.poll_event(), Some(BridgeEvent::AgentReady(Box::new(stated.clone()))));
    assert!(!bridge.wants_bytes(Side::Agent), "the agent waits for the proxy");
    bridge.register(NOW).unwrap();
    let registration: Registration = read(&sent(&mut bridge, Side::Proxy)[0].1);
    assert_eq!(registration.capabilities, stated);
    assert_eq!(registration.agent_id, "waf");
    assert_eq!(registration.auth_token, Some(Token::from("s3cret")));
    assert_eq!(registration.metadata, Some(serde_json::json!({"site": 7})));
    assert!(registration.supported_encodings.is_empty(), "as today's agents register");
}

#[test]
fn another_id_is_stated_everywhere() {
    let settings = BridgeSettings { agent_id: Some("edge".into()), ..BridgeSettings::default() };
    let mut bridge = greeted(settings, &ForwardResponse::accept(capabilities(), Encoding::Json));
    bridge.register(NOW).unwrap();
    let registration: Registration = read(&sent(&mut bridge, Side::Proxy)[0].1);
    assert_eq!(
        (registration.agent_id.as_str(), registration.capabilities.agent_id.as_str()),
        ("edge", "edge")
    );
}

#[test]
fn a_refusal_of_either_side_is_told_in_its_words() {
    let mut bridge =
        greeted(BridgeSettings::default(), &ForwardResponse::refuse(capabilities(), "not today"));
    assert_eq!(end_of(&mut bridge), BridgeEnd::Peer(Side::Agent, CloseReason::Refused("not today".into())));

    let mut bridge =
        greeted(BridgeSettings::default(), &ForwardResponse::accept(capabilities(), Encoding::Json));
    bridge.register(NOW).unwrap();
    let response = RegistrationResponse {
        error: Some("full".into()),
        retry_after_ms: Some(7),
        ..RegistrationResponse::default()
    };
    bridge.handle_bytes(Side::Proxy, &json(FrameType::HandshakeResponse, &response), NOW);
    assert_eq!(end_of(&mut bridge), BridgeEnd::Peer(Side::Proxy, CloseReason::Refused("full".into())));
    assert_eq!(bridge.retry_after_ms(), Some(7));
}

#[test]
// Rule: H-FWD-2.
fn a_choice_that_was_not_offered_ends_it() {
    let version =
        ForwardResponse { protocol_version: 3, ..ForwardResponse::accept(capabilities(), Encoding::Json) };
    let encoding = ForwardResponse::accept(capabilities(), Encoding::MessagePack);
    for response in [version, encoding] {
        let mut bridge = greeted(BridgeSettings::default(), &response);
        let end = end_of(&mut bridge);
        assert!(end.to_string().contains("not offered"), "{end}");
    }
}

#[test]
// Rule: H-BRIDGE-1.
fn a_proxy_that_does_not_speak_the_agents_encoding_is_no_match() {
    let settings = BridgeSettings { encodings: vec![Encoding::MessagePack], ..BridgeSettings::default() };
    let mut bridge = greeted(settings, &ForwardResponse::accept(capabilities(), Encoding::MessagePack));
    bridge.register(NOW).unwrap();
    let registration: Registration = read(&sent(&mut bridge, Side::Proxy)[0].1);
    assert_eq!(registration.supported_encodings, [Encoding::MessagePack]);
    let response = RegistrationResponse { success: true, ..RegistrationResponse::default() };
    bridge.handle_bytes(Side::Proxy, &json(FrameType::HandshakeResponse, &response), NOW);
    assert_eq!(end_of(&mut bridge), BridgeEnd::Encoding(Encoding::MessagePack));
}

#[test]
// Rule: H-TIME-1.
fn each_handshake_has_a_deadline() {
    let mut bridge = BridgeSession::new(BridgeSettings::default(), NOW).unwrap();
    assert_eq!(bridge.poll_timeout(), Some(later(10_000)));
    bridge.handle_timeout(later(9_999));
    assert_eq!(bridge.end(), None);
    bridge.handle_timeout(later(10_000));
    let late = CloseReason::HandshakeDeadline(Duration::from_secs(10));
    assert_eq!(end_of(&mut bridge), BridgeEnd::Peer(Side::Agent, late.clone()));

    let mut bridge =
        greeted(BridgeSettings::default(), &ForwardResponse::accept(capabilities(), Encoding::Json));
    assert_eq!(bridge.poll_timeout(), None, "dialling is the driver's");
    bridge.register(later(5_000)).unwrap();
    bridge.handle_timeout(later(15_000));
    assert_eq!(end_of(&mut bridge), BridgeEnd::Peer(Side::Proxy, late));
}

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

#[test]
fn what_is_no_handshake_ends_it_before_it_is_open() {
    let mut bridge = BridgeSession::new(BridgeSettings::default(), NOW).unwrap();
    bridge.handle_bytes(Side::Agent, &frame(FrameType::Pong, b""), NOW);
    assert!(end_of(&mut bridge).to_string().contains("a handshake"));
    let mut bridge =
        greeted(BridgeSettings::default(), &ForwardResponse::accept(capabilities(), Encoding::Json));
    bridge.register(NOW).unwrap();
    bridge.handle_bytes(Side::Proxy, &frame(FrameType::HandshakeResponse, b"[1]"), NOW);
    assert!(end_of(&mut bridge).to_string().contains("JSON object"));
}

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

#[test]
// Rule: X-BRIDGE-2.
fn what_the_agent_said_before_it_went_comes_before_the_blocks() {
    let mut bridge = open();
    for id in ["a", "b"] {
        bridge.handle_bytes(Side::Proxy, &frame(FrameType::RequestHeaders, &event(id)), NOW);
    }
    bridge.handle_bytes(Side::Agent, &frame(FrameType::AgentResponse, &answer("b")), NOW);
    bridge.handle_eof(Side::Agent);
    assert_eq!(end_of(&mut bridge), BridgeEnd::Peer(Side::Agent, CloseReason::PeerClosed));
    let frames = sent(&mut bridge, Side::Proxy);
    assert_eq!(frames[0], (FrameType::AgentResponse, answer("b")));
    let block: Answer = read(&frames[1].1);
    assert_eq!(block.decision, Answer::block(503).decision);
    assert_eq!(block.audit.correlation_id(), Some("a"));
    assert_eq!((frames.len(), bridge.stats().blocked), (2, 1));
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
fn a_configuration_too_large_for_a_handshake_is_refused_at_once() {
    let settings = BridgeSettings {
        agent_config: Some(serde_json::Value::from("x".repeat(70_000))),
        ..BridgeSettings::default()
    };
    assert!(BridgeSession::new(settings, NOW).is_err());
    let settings = BridgeSettings {
        metadata: Some(serde_json::Value::from("x".repeat(70_000))),
        ..BridgeSettings::default()
    };
    let mut bridge = greeted(settings, &ForwardResponse::accept(capabilities(), Encoding::Json));
    let before = bridge.clone();
    assert!(bridge.register(NOW).is_err());
    assert_eq!(bridge, before, "and nothing has changed (P15)");
}

#[test]
fn pings_of_its_own_have_rising_numbers() {
    let mut bridge = open();
    bridge.handle_timeout(later(15_000));
    let first = sent(&mut bridge, Side::Agent);
    let ping: Ping = read(&first[0].1);
    assert!(ping.sequence > 0 && ping.timestamp_ms == 16_000, "{ping:?}");
}

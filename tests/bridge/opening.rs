//! The two handshakes of a bridge.

use dialback::machine::CloseReason;
use dialback::session::bridge::{BridgeEnd, BridgeEvent, BridgeSession, BridgeSettings, Side};
use dialback::wire::{
    Encoding, ForwardRequest, ForwardResponse, FrameType, Registration, RegistrationResponse, Token,
};
use std::time::Duration;

use crate::hand::*;

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
// Rule: H-ORDER-3.
fn what_the_agent_says_before_the_proxy_has_accepted_it_waits() {
    let mut bridge = BridgeSession::new(BridgeSettings::default(), NOW).unwrap();
    sent(&mut bridge, Side::Agent);
    let mut bytes =
        json(FrameType::HandshakeResponse, &ForwardResponse::accept(capabilities(), Encoding::Json));
    bytes.extend(frame(FrameType::MetricsReport, b"{}"));
    bridge.handle_bytes(Side::Agent, &bytes, NOW);
    bridge.handle_bytes(Side::Agent, &frame(FrameType::HealthStatus, b"{ }"), NOW);
    bridge.register(NOW).unwrap();
    assert_eq!(sent(&mut bridge, Side::Proxy).len(), 1, "the registration, and nothing else");
    let response = RegistrationResponse { success: true, ..RegistrationResponse::default() };
    bridge.handle_bytes(Side::Proxy, &json(FrameType::HandshakeResponse, &response), NOW);
    let waited = [(FrameType::MetricsReport, b"{}".to_vec()), (FrameType::HealthStatus, b"{ }".to_vec())];
    assert_eq!(sent(&mut bridge, Side::Proxy), waited);

    let mut bridge =
        greeted(BridgeSettings::default(), &ForwardResponse::accept(capabilities(), Encoding::Json));
    bridge.handle_bytes(Side::Agent, &frame(FrameType::MetricsReport, &[b' '; 70_000]), NOW);
    assert!(end_of(&mut bridge).to_string().contains("came before the registration was answered"));
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

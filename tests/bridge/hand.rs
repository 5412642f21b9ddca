//! A bridge in the hand: fed one frame at a time, with what it wrote taken out again.

use dialback::machine::Timestamp;
use dialback::session::bridge::{BridgeEnd, BridgeEvent, BridgeSession, BridgeSettings, Side};
use dialback::wire::{
    Capabilities, Decoder, Encoding, EventKind, ForwardResponse, FrameType, Kind, MAX_FRAME,
    RegistrationResponse, encode_frame,
};
use serde::Serialize;
use std::time::Duration;

pub const NOW: Timestamp = Timestamp::from_micros(1_000_000);

pub fn later(millis: u64) -> Timestamp {
    NOW.after(Duration::from_millis(millis))
}

pub fn frame(kind: FrameType, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_frame(kind, payload, MAX_FRAME, &mut out).unwrap();
    out
}

pub fn json<T: Serialize>(kind: FrameType, message: &T) -> Vec<u8> {
    let mut payload = Vec::new();
    Encoding::Json.encode(message, &mut payload).unwrap();
    frame(kind, &payload)
}

/// What waits for a side, frame by frame.
pub fn sent(bridge: &mut BridgeSession, side: Side) -> Vec<(FrameType, Vec<u8>)> {
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

pub fn read<'a, T: serde::Deserialize<'a>>(payload: &'a [u8]) -> T {
    Encoding::Json.decode(payload).unwrap()
}

pub fn capabilities() -> Capabilities {
    Capabilities::new("waf", EventKind::ALL)
}

/// A bridge whose agent has said this.
pub fn greeted(settings: BridgeSettings, response: &ForwardResponse) -> BridgeSession {
    let mut bridge = BridgeSession::new(settings, NOW).unwrap();
    let offer = sent(&mut bridge, Side::Agent);
    assert_eq!(offer.len(), 1);
    assert_eq!(offer[0].0, FrameType::HandshakeRequest);
    bridge.handle_bytes(Side::Agent, &json(FrameType::HandshakeResponse, response), NOW);
    bridge
}

/// An open bridge, with nothing to be written.
pub fn open() -> BridgeSession {
    open_with(BridgeSettings::default())
}

pub fn open_with(settings: BridgeSettings) -> BridgeSession {
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
pub fn event(id: &str) -> Vec<u8> {
    format!(r#"{{ "correlation_id" : "{id}","x-new":[1, 2], "metadata":{{}},"uri":"/","method":"GET","headers":{{}} }}"#)
        .into_bytes()
}

pub fn answer(id: &str) -> Vec<u8> {
    format!(
        r#"{{"version":2,"decision":"allow", "audit":{{"custom":{{"correlation_id":"{id}"}}}},"y":null }}"#
    )
    .into_bytes()
}

pub fn end_of(bridge: &mut BridgeSession) -> BridgeEnd {
    if bridge.is_orphaned() {
        let due = bridge.poll_timeout().unwrap();
        bridge.handle_timeout(due);
    }
    let mut last = None;
    while let Some(event) = bridge.poll_event() {
        last = Some(event);
    }
    match last {
        Some(BridgeEvent::Ended(end)) => end,
        other => panic!("it has not ended: {other:?}"),
    }
}

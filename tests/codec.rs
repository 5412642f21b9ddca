//! The codec under generated input (P10, P11): any cut gives the same frames, every message comes
//! back as it went, memory is bounded by what was received, and nothing panics.

// A failed expectation is what a test is for.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod generate;

use std::collections::BTreeMap;
use std::fmt::Debug;

use dialback::wire::*;
use generate::*;
use proptest::collection::vec;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const LIMIT: u32 = 4096;

/// A frame as it was handed out: type byte and payload.
type Cut = (u8, Vec<u8>);

/// Feeds the pieces to a decoder, one after the other, and checks its memory after each.
fn run(limit: u32, pieces: &[&[u8]]) -> (Vec<Cut>, Result<(), FrameError>, Decoder) {
    let mut decoder = Decoder::new(limit);
    let mut frames = Vec::new();
    let mut received = 0;
    for piece in pieces {
        let mut input = *piece;
        received += piece.len();
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(frame)) => frames.push((frame.kind.to_byte(), frame.payload.to_vec())),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.decode(&mut input), Err(error), "an error must stay");
                    return (frames, Err(error), decoder);
                }
            }
            check_memory(&decoder, received);
        }
        assert!(input.is_empty(), "None means that all was taken");
        check_memory(&decoder, received);
    }
    (frames, Ok(()), decoder)
}

fn check_memory(decoder: &Decoder, received: usize) {
    let capacity = decoder.buffered_capacity();
    assert!(capacity <= 2 * received + 1024, "{capacity} for {received} received");
    assert!(decoder.buffered() <= received);
}

fn cut_at<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    let mut pieces = Vec::new();
    let mut from = 0;
    for place in places {
        pieces.push(&bytes[from..place]);
        from = place;
    }
    pieces.push(&bytes[from..]);
    pieces
}

fn raw_frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 1).unwrap();
    [&length.to_be_bytes()[..], &[kind], payload].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    #[test]
    fn any_cut_gives_the_same_frames(
        sent in vec((any::<u8>(), vec(any::<u8>(), 0..600)), 0..8),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let bytes: Vec<u8> = sent.iter().flat_map(|(kind, payload)| raw_frame(*kind, payload)).collect();
        let (frames, end, decoder) = run(LIMIT, &cut_at(&bytes, &cuts));
        prop_assert_eq!(end, Ok(()));
        prop_assert_eq!(frames, sent);
        prop_assert!(!decoder.is_mid_frame());
    }

    #[test]
    fn arbitrary_bytes_end_the_same_whatever_the_cut(
        bytes in vec(prop_oneof![3 => Just(0_u8), 1 => any::<u8>(), 2 => 0..20_u8], 0..200),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
        limit in 0..64_u32,
    ) {
        let whole = run(limit, &[&bytes]);
        let pieces = run(limit, &cut_at(&bytes, &cuts));
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        let bytewise = run(limit, &single);
        prop_assert_eq!(&whole.0, &pieces.0);
        prop_assert_eq!(whole.1, pieces.1);
        prop_assert_eq!(&whole.2, &pieces.2);
        prop_assert_eq!(&whole.0, &bytewise.0);
        prop_assert_eq!(whole.1, bytewise.1);
        prop_assert_eq!(whole.2, bytewise.2);
    }

    #[test]
    fn encoded_frames_are_decoded(
        kind in any_of(&FrameType::ALL),
        payload in vec(any::<u8>(), 0..5000),
    ) {
        let mut out = Vec::new();
        let fits = payload.len() < LIMIT as usize;
        prop_assert_eq!(encode_frame(kind, &payload, LIMIT, &mut out).is_ok(), fits);
        prop_assert_eq!(out.is_empty(), !fits);
        if fits {
            let (frames, end, _) = run(LIMIT, &[&out]);
            prop_assert_eq!(end, Ok(()));
            prop_assert_eq!(frames, [(kind.to_byte(), payload)]);
        }
    }
}

/// Every input of up to two bytes, and longer headers out of the bytes that matter.
#[test]
fn all_small_inputs_end_the_same_whatever_the_cut() {
    let every: Vec<u8> = (0..=u8::MAX).collect();
    for first in 0..=u8::MAX {
        check_every_cut(&[first]);
        for second in 0..=u8::MAX {
            check_every_cut(&[first, second]);
        }
    }
    let lengths = [0, 1, 2, 3, 0xff];
    for high in [0, 1, 0xff] {
        for middle in [0, 1] {
            for low in lengths {
                for kind in &every {
                    check_every_cut(&[high, middle, 0, low, *kind, 0, 0]);
                }
            }
        }
    }
    for a in lengths {
        for b in lengths {
            for c in lengths {
                check_every_cut(&[0, 0, 0, a, 0x41, 0, 0, 0, b, 0x42, 0, 0, 0, c]);
            }
        }
    }
}

fn check_every_cut(bytes: &[u8]) {
    let whole = run(3, &[bytes]);
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        assert_eq!(run(3, &[head, tail]), whole, "{bytes:x?} cut at {cut}");
    }
}

/// The largest frame there is, in awkward pieces: memory stays within a step of what has come.
#[test]
// Rule: W-FRAME-5.
fn a_frame_of_16_mib_costs_what_has_come_of_it() {
    let payload = vec![7_u8; (MAX_FRAME - 1) as usize];
    let mut bytes = Vec::new();
    encode_frame(FrameType::RequestBodyChunk, &payload, MAX_FRAME, &mut bytes).unwrap();
    let mut decoder = Decoder::new(MAX_FRAME);
    let mut seen = 0;
    for piece in bytes.chunks(70_001) {
        let mut input = piece;
        if let Some(frame) = decoder.decode(&mut input).unwrap() {
            assert_eq!(frame.payload.len(), payload.len());
            seen += 1;
        }
        let over = decoder.buffered_capacity().saturating_sub(decoder.buffered());
        assert!(seen == 1 || over <= 256 * 1024, "{over}");
    }
    assert_eq!(seen, 1);
    assert_eq!(decoder.decode(&mut [].as_slice()), Ok(None));
    assert!(decoder.buffered_capacity() <= 8 * 1024);
    let mut over = bytes;
    over[..4].copy_from_slice(&(MAX_FRAME + 1).to_be_bytes());
    assert!(Decoder::new(MAX_FRAME).decode(&mut over.as_slice()).is_err());
}

fn supported() -> impl Iterator<Item = Encoding> {
    Encoding::ALL.into_iter().filter(|encoding| encoding.is_supported())
}

/// Through a frame and back, in every encoding; and a second writing is the first.
fn round_trip<T>(kind: FrameType, message: &T)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    for encoding in supported() {
        let mut out = Vec::new();
        encode_message(kind, encoding, message, MAX_FRAME, &mut out).unwrap();
        let mut decoder = Decoder::new(MAX_FRAME);
        let mut input = out.as_slice();
        let frame = decoder.decode(&mut input).unwrap().unwrap();
        assert_eq!(frame.kind, Kind::Known(kind));
        let read: T = encoding.decode(frame.payload).unwrap();
        assert_eq!(&read, message, "{encoding}");
        let mut again = Vec::new();
        encode_message(kind, encoding, &read, MAX_FRAME, &mut again).unwrap();
        assert_eq!(again, out, "{encoding}");
        for cut in [out.len() - 1, (out.len() + 5) / 2] {
            assert!(encoding.decode::<T>(&out[5..cut]).is_err(), "a cut message must not be read");
        }
    }
}

/// So few names that they come again, in any order.
fn header_name() -> impl Strategy<Value = String> {
    "[a-c]{0,2}"
}

fn are_the_same(headers: &Headers, map: &BTreeMap<String, Vec<String>>) -> Result<(), TestCaseError> {
    let all = map.iter().flat_map(|(name, values)| values.iter().map(move |value| (&**name, &**value)));
    prop_assert!(headers.iter().eq(all), "{:?} and {:?}", headers, map);
    for (name, values) in map {
        prop_assert!(headers.get_all(name).eq(values));
        prop_assert_eq!(headers.get(name), values.first().map(String::as_str));
    }
    prop_assert!(!headers.contains_key("d"));
    let mut json = Vec::new();
    Encoding::Json.encode(headers, &mut json).unwrap();
    prop_assert_eq!(json, serde_json::to_vec(map).unwrap());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    #[test]
    // Rule: W-HEAD-2.
    fn headers_are_a_map_of_lists(
        pushed in vec((header_name(), text()), 0..20),
        written in vec((header_name(), vec(text(), 0..3)), 0..8),
    ) {
        let mut map = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in pushed.clone() {
            map.entry(name).or_default().push(value);
        }
        let headers = Headers::from_iter(pushed);
        are_the_same(&headers, &map)?;
        for encoding in supported() {
            let mut out = Vec::new();
            encoding.encode(&headers, &mut out).unwrap();
            prop_assert_eq!(encoding.decode(&out), Ok(headers.clone()));
        }

        // What a peer may write: names twice, and names without values.
        let entries = written.iter().map(|(name, values)| format!("{name:?}:{}", serde_json::json!(values)));
        let json = format!("{{{}}}", entries.collect::<Vec<_>>().join(","));
        let mut map: BTreeMap<String, Vec<String>> = serde_json::from_str(&json).unwrap();
        map.retain(|_, values| !values.is_empty());
        are_the_same(&Encoding::Json.decode(json.as_bytes()).unwrap(), &map)?;
    }

    #[test]
    fn events_round_trip_with_their_ids(event in event(), exchange in any::<Option<u64>>()) {
        for encoding in supported() {
            let mut out = b"before".to_vec();
            event.encode(encoding, &mut out).unwrap();
            if let Some(exchange) = exchange {
                append_exchange_id(encoding, 6, &mut out, exchange).unwrap();
            }
            let payload = &out[6..];
            let ids = event_ids(encoding, payload).unwrap();
            prop_assert_eq!(&ids.correlation_id, event.correlation_id());
            prop_assert_eq!(ids.exchange_id, exchange);
            let read = Event::decode(event.kind(), encoding, payload);
            prop_assert_eq!(read.as_ref(), Ok(&event), "{}", encoding);
        }
    }

    #[test]
    fn answers_round_trip_with_their_ids(answer in answer(), id in id(), exchange in any::<Option<u64>>()) {
        let mut answer = answer;
        answer.audit.set_ids(&id, exchange);
        round_trip(FrameType::AgentResponse, &answer);
        for encoding in supported() {
            let mut out = Vec::new();
            encoding.encode(&answer, &mut out).unwrap();
            let ids = answer_ids(encoding, &out).unwrap();
            prop_assert_eq!(ids.correlation_id.as_deref(), Some(id.as_str()));
            prop_assert_eq!(ids.exchange_id, exchange);
            prop_assert_eq!(answer.audit.correlation_id(), Some(id.as_str()));
        }
    }

    #[test]
    fn control_messages_round_trip(cancel in cancel(), flow in flow(), sequence in any::<u64>(), timestamp_ms in any::<u64>()) {
        round_trip(FrameType::Cancel, &cancel);
        round_trip(FrameType::FlowControl, &flow);
        round_trip(FrameType::Ping, &Ping { sequence, timestamp_ms });
    }

    #[test]
    fn reports_round_trip(health in health(), metrics in metrics(), wish in wish()) {
        round_trip(FrameType::HealthStatus, &health);
        round_trip(FrameType::MetricsReport, &metrics);
        round_trip(FrameType::ConfigUpdateRequest, &wish);
    }

    #[test]
    fn handshakes_round_trip(
        registration in registration(),
        response in registration_response(),
        request in forward_request(),
        forward in forward_response(),
    ) {
        round_trip(FrameType::HandshakeRequest, &registration);
        round_trip(FrameType::HandshakeResponse, &response);
        round_trip(FrameType::HandshakeRequest, &request);
        round_trip(FrameType::HandshakeResponse, &forward);
    }

    #[test]
    fn no_reader_panics_on_arbitrary_bytes(bytes in vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
    }

    #[test]
    fn no_reader_panics_on_bent_messages(
        event in event(),
        answer in answer(),
        registration in registration(),
        bends in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for encoding in supported() {
            for message in [encoded(encoding, &event), encoded(encoding, &answer), encoded(encoding, &registration)] {
                let mut message = message;
                for (at, byte) in &bends {
                    let at = at.index(message.len());
                    message[at] = *byte;
                }
                read_all(&message);
            }
        }
    }

    #[test]
    fn no_reader_panics_on_any_json(value in value()) {
        for encoding in supported() {
            read_all(&encoded(encoding, &value));
        }
    }

    #[test]
    fn unknown_fields_change_nothing(event in event(), answer in answer(), extra in value()) {
        let with_extra = |message: Value| {
            let Value::Object(mut map) = message else { panic!("a message is an object") };
            map.insert("zz_unknown".into(), extra.clone());
            serde_json::to_vec(&map).unwrap()
        };
        let bytes = with_extra(serde_json::to_value(&event).unwrap());
        prop_assert_eq!(Event::decode(event.kind(), Encoding::Json, &bytes), Ok(event));
        let bytes = with_extra(serde_json::to_value(&answer).unwrap());
        let read: Answer = Encoding::Json.decode(&bytes).unwrap();
        prop_assert_eq!(read.decision, answer.decision);
        prop_assert_eq!(read.request_body_mutation, answer.request_body_mutation);
    }
}

fn encoded<T: Serialize>(encoding: Encoding, message: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encoding.encode(message, &mut out).unwrap();
    out
}

/// Every reader there is on the same bytes. Errors must be short.
fn read_all(bytes: &[u8]) {
    fn read<T: DeserializeOwned>(bytes: &[u8]) {
        for encoding in Encoding::ALL {
            short(encoding.decode::<T>(bytes).err());
        }
    }
    fn short(error: Option<DecodeError>) {
        let length = error.map_or(0, |error| error.to_string().len());
        assert!(length < 400, "{length}");
    }
    for encoding in Encoding::ALL {
        for kind in EventKind::ALL {
            short(Event::decode(kind, encoding, bytes).err());
        }
        short(answer_ids(encoding, bytes).err());
        short(event_ids(encoding, bytes).err());
        let mut out = bytes.to_vec();
        if append_exchange_id(encoding, 0, &mut out, 7).is_err() {
            assert_eq!(out, bytes);
        }
    }
    read::<Answer>(bytes);
    read::<Cancel>(bytes);
    read::<FlowControl>(bytes);
    read::<Ping>(bytes);
    read::<HealthStatus>(bytes);
    read::<MetricsReport>(bytes);
    read::<ConfigUpdateRequest>(bytes);
    read::<Registration>(bytes);
    read::<RegistrationResponse>(bytes);
    read::<ForwardRequest>(bytes);
    read::<ForwardResponse>(bytes);
    let _ = recognise(bytes);
    let _ = run(LIMIT, &[bytes]);
}

/// The bounds on a message that nests: no reader may exhaust the stack.
#[test]
// Rule: W-ENC-3.
fn deep_nesting_is_refused_and_not_followed() {
    for depth in [100, 127, 128, 129, 1000, 100_000] {
        let json = [vec![b'['; depth], vec![b']'; depth]].concat();
        read_all(&json);
        let inside = [&br#"{"correlation_id":"c","config":"#[..], &json, b"}"].concat();
        read_all(&inside);
        let packed = [vec![0x91; depth], vec![0xc0]].concat();
        read_all(&packed);
        let packed = [&b"\x81\xa6config"[..], &packed].concat();
        read_all(&packed);
    }
    let deep = [vec![b'['; 1000], vec![b']'; 1000]].concat();
    assert!(Encoding::Json.decode::<Value>(&deep).is_err());
}

//! Random mutations of valid frames, seeded, into every kind of session.

use dialback::machine::ConnectionState;
use dialback::testing::Rng;
use dialback::wire::{Answer, RequestBodyChunk, RequestHeaders};

use super::row::*;
use super::subject::{End, Subject};
use super::{open, opening};

/// Mutated frames for each kind of session.
const ROUNDS: usize = 100_000;

/// Frames that one connection gets at most.
const LIFE: usize = 24;

#[test]
fn a_proxy_that_awaits_a_registration_withstands_mutations() {
    withstand(Receiver::ProxyUnregistered, 1);
}

#[test]
fn a_proxy_with_a_registered_agent_withstands_mutations() {
    withstand(Receiver::ProxyOpen, 2);
}

#[test]
fn a_proxy_that_matches_exactly_withstands_mutations() {
    withstand(Receiver::ProxyExact, 3);
}

#[test]
fn a_proxy_that_dialled_withstands_mutations() {
    withstand(Receiver::ProxyDialling, 4);
}

#[test]
fn an_agent_that_awaits_the_response_withstands_mutations() {
    withstand(Receiver::AgentUnanswered, 5);
}

#[test]
fn a_registered_agent_withstands_mutations() {
    withstand(Receiver::AgentOpen, 6);
}

#[test]
fn an_agent_that_was_dialled_withstands_mutations() {
    withstand(Receiver::AgentDialled, 7);
}

/// Never a panic, never a hang, never more memory than what came; and every connection ends once.
/// What must hold after every step is asserted by the subject itself.
fn withstand(to: Receiver, seed: u64) {
    let mut rng = Rng::new(seed);
    let corpus = corpus(to);
    let start = Subject::new(to, Rules::Open);
    let (mut rounds, mut opened, mut closed_early) = (0, 0, 0);
    while rounds < ROUNDS {
        let mut subject = start.clone();
        for _ in 0..LIFE {
            round(&mut subject, &mut rng, &corpus);
            rounds += 1;
            if !subject.closed.is_empty() {
                closed_early += 1;
                break;
            }
        }
        opened += usize::from(subject.opened > 0);
        end(&mut subject, &mut rng);
    }
    // A generator that reaches only one of the two proves little.
    assert!(opened > 50 && closed_early > 50, "{opened} opened, {closed_early} closed by a rule");
}

fn round(subject: &mut Subject, rng: &mut Rng, corpus: &[Vec<u8>]) {
    let mut bytes = pick(rng, corpus).to_vec();
    if rng.below(8) != 0 {
        for _ in 0..=rng.below(3) {
            mutate(&mut bytes, rng, corpus);
        }
        if rng.below(4) != 0 {
            repair_length(&mut bytes);
        }
    }
    let cut = rng.below(bytes.len() as u64 + 1) as usize;
    let (left, right) = bytes.split_at(cut);
    subject.deaf = rng.below(16) == 0;
    subject.feed(left);
    if rng.below(32) == 0 {
        subject.act(&Act::Breath);
    }
    subject.feed(right);
    subject.deaf = false;
    work(subject, rng);
}

/// What the application does meanwhile.
fn work(subject: &mut Subject, rng: &mut Rng) {
    let busy = rng.below(4) == 0;
    match &subject.end {
        End::Proxy(_) if busy && subject.state() == ConnectionState::Open => match rng.below(2) {
            0 => subject.try_submit(RequestHeaders::new("one", "GET", "/")),
            _ => subject.try_submit(RequestBodyChunk::new("two", "abc")),
        },
        End::Agent(_) if busy => {
            if let Some(receipt) = subject.receipts.pop() {
                let _ = receipt.event();
                let open = subject.state() != ConnectionState::Closed;
                assert_eq!(subject.answer(&receipt, Answer::allow()).is_ok(), open);
            }
        }
        End::Proxy(_) | End::Agent(_) => {}
    }
    subject.out.clear();
}

fn end(subject: &mut Subject, rng: &mut Rng) {
    match subject.state() {
        ConnectionState::Opening => {
            subject.act(&Act::Silence);
            assert_eq!(subject.state(), ConnectionState::Closed, "a handshake without an end");
        }
        ConnectionState::Open | ConnectionState::Draining => match rng.below(2) {
            0 => subject.act(&Act::Silence),
            _ => subject.act(&Act::End),
        },
        ConnectionState::Closed => {}
    }
    subject.check_over();
}

/// What the role may receive, whole frames only.
fn corpus(to: Receiver) -> Vec<Vec<u8>> {
    let proxy = matches!(
        to,
        Receiver::ProxyUnregistered | Receiver::ProxyOpen | Receiver::ProxyExact | Receiver::ProxyDialling
    );
    let role = |row: &Row| match row.to {
        Receiver::ProxyUnregistered | Receiver::ProxyDialling => proxy && row.to == to,
        Receiver::ProxyOpen | Receiver::ProxyExact => proxy,
        Receiver::AgentUnanswered | Receiver::AgentDialled => !proxy && row.to == to,
        Receiver::AgentOpen => !proxy,
    };
    let rows = [opening::rows(), open::rows()].concat();
    let sent = rows.iter().filter(|row| role(row)).flat_map(|row| &row.acts);
    let short = sent.filter_map(|act| match act {
        Act::Send(bytes) if bytes.len() > 5 && bytes.len() < 1_000 => Some(bytes.clone()),
        Act::Send(_) | Act::End | Act::Silence | Act::Breath => None,
    });
    // Valid ones often, so that the way beyond the handshake is found.
    let valid: Vec<Vec<u8>> = if proxy {
        Vec::from([
            frame(1, registration()),
            frame(2, r#"{"protocol_version":2,"success":true,"capabilities":{"supported_events":[1,2]}}"#),
            frame(0x20, answer("one")),
            frame(0x20, answer_with(r#""correlation_id":"two","exchange_id":2"#)),
            frame(0x33, r#"{"correlation_id":null,"action":1,"timestamp_ms":1}"#),
            frame(0x33, r#"{"correlation_id":"one","action":{"type":"resume"}}"#),
            frame(0x33, r#"{"action":3,"buffer_available":1}"#),
            frame(0x30, r#"{"agent_id":"raw-1","state":3,"timestamp_ms":1}"#),
            frame(
                0x31,
                r#"{"agent_id":"a","counters":[{"name":"n","value":1}],"histograms":[{"name":"h","sum":1.5,"count":1,"buckets":[{"le":"+Inf","count":1}]}]}"#,
            ),
            frame(0x32, r#"{"update_type":{"type":"request_reload"},"request_id":"r","timestamp_ms":1}"#),
            frame(0x41, r#"{"sequence":1,"timestamp_ms":1}"#),
            frame(0x42, "{}"),
        ])
    } else {
        Vec::from([
            frame(1, r#"{"supported_versions":[2],"proxy_id":"p","supported_encodings":["json"]}"#),
            frame(2, r#"{"success":true,"error":null,"connection_id":"c"}"#),
            frame(0x10, headers_event("one")),
            frame(0x11, chunk_event("two", "YWJj")),
            frame(0x14, r#"{"correlation_id":"one","status":200,"duration_ms":1,"exchange_id":7}"#),
            frame(0x16, r#"{"correlation_id":"g","inspection_type":"pii_detection","content":"x"}"#),
            frame(0x17, r#"{"config":{"a":[1]},"correlation_id":"c"}"#),
            frame(0x40, r#"{"correlation_id":"one","reason":1,"timestamp_ms":1}"#),
            frame(0x41, r#"{"sequence":1,"timestamp_ms":1}"#),
            frame(0x42, "{}"),
        ])
    };
    short.chain(valid.iter().cloned().cycle().take(valid.len() * 4)).collect()
}

fn pick<'a>(rng: &mut Rng, corpus: &'a [Vec<u8>]) -> &'a [u8] {
    &corpus[rng.below(corpus.len() as u64) as usize]
}

/// Bytes that mean something to a reader of JSON or of frames.
const TELLING: &[u8] = b"{}[]\",:\\0123456789-+.eEtfn \x00\x01\x02\x7f\x80\xbf\xc0\xff\x10\x20\x33\x40\x41";

fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng, corpus: &[Vec<u8>]) {
    let at = rng.below(bytes.len() as u64) as usize;
    let span = (rng.below(16) as usize).min(bytes.len().saturating_sub(at));
    let Some(here) = bytes.get_mut(at) else { return };
    match rng.below(9) {
        0 => *here ^= 1 << rng.below(8),
        1 => *here = rng.next_u64() as u8,
        2 => *here = TELLING[rng.below(TELLING.len() as u64) as usize],
        3 => drop(bytes.drain(at..at + span)),
        4 => bytes.truncate(at),
        5 => bytes.insert(at, TELLING[rng.below(TELLING.len() as u64) as usize]),
        6 => {
            let copy = bytes[at..at + span].to_vec();
            bytes.splice(at..at, copy.repeat(1 + rng.below(4) as usize));
        }
        7 => {
            let other = pick(rng, corpus);
            let from = rng.below(other.len() as u64) as usize;
            bytes.truncate(at);
            bytes.extend(&other[from..]);
        }
        _ => {
            if let Some(kind) = bytes.get_mut(4) {
                *kind = TELLING[rng.below(TELLING.len() as u64) as usize];
            }
        }
    }
}

/// Makes the length true again, so that the payload is reached.
fn repair_length(bytes: &mut [u8]) {
    let length = u32::try_from(bytes.len().saturating_sub(4)).unwrap();
    if let Some(field) = bytes.first_chunk_mut::<4>() {
        *field = length.to_be_bytes();
    }
}

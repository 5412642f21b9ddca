//! Peers that do not keep to the protocol: what they send past their sessions.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::testing::rng::Rng;
use crate::wire::{
    Answer, CorrelationId, Encoding, FlowAction, FlowControl, FrameType, Registration, encode_frame,
    encode_message,
};

use super::connection::{Connection, Serial};
use super::fault::Fault;
use super::schedule::Action;
use super::world::World;

impl World<'_> {
    /// A hostile agent begins. What it does wrong is drawn once, when it dials.
    pub(super) fn spoil_opening(&mut self, serial: Serial) {
        let bad = self.strikes(Fault::BadOpening).then_some(Fault::BadOpening);
        let silent = self.strikes(Fault::SilentOpening).then_some(Fault::SilentOpening);
        if let Some(fault) = bad.or(silent) {
            self.attack(serial, fault);
        }
    }

    /// A peer breaks a rule, or comes close to it. `false` if it could not be brought about.
    pub(super) fn attack(&mut self, serial: Serial, fault: Fault) -> bool {
        let Some(connection) = self.connections.get_mut(&serial) else { return false };
        let rng = &mut self.rng;
        connection.distrust_agent();
        match fault {
            Fault::BadOpening => connection.shout(&opening(rng)),
            Fault::SilentOpening => connection.at_agent.gagged = true,
            Fault::Garbage => connection.shout(&garbage(rng)),
            Fault::HugeFrame => connection.shout(&[0xff, 0xff, 0xff, 0xff, 0x20]),
            Fault::WrongFrame => {
                let kinds = [FrameType::RequestHeaders, FrameType::Cancel, FrameType::Configure];
                connection.shout(&frame(rng.pick(&kinds).unwrap_or(FrameType::Cancel), b"{}"));
            }
            Fault::SecondHandshake => {
                let kinds = [FrameType::HandshakeRequest, FrameType::HandshakeResponse];
                connection.shout(&frame(rng.pick(&kinds).unwrap_or(FrameType::HandshakeRequest), b"{}"));
            }
            Fault::PingFlood => {
                // Who does not read its pongs makes the other side hold them.
                connection.at_agent.slowness = Duration::from_secs(5);
                self.schedule.set(Duration::from_secs(20), Action::Relieve(serial));
                let payload = [b'p'; 400];
                for _ in 0..80 {
                    connection.shout(&frame(FrameType::Ping, &payload));
                }
            }
            Fault::HugePing => connection.shout(&frame(FrameType::Ping, &[b'p'; 5_000])),
            Fault::DuplicateAnswer => {
                let Some(answer) = connection.last_answer.clone() else { return false };
                connection.shout(&frame(FrameType::AgentResponse, &answer));
            }
            Fault::WrongAnswer => {
                let Some(answer) = connection.wrong_answer(rng) else { return false };
                connection.say(FrameType::AgentResponse, &answer);
            }
            Fault::StrayAnswer => {
                let mut answer = Answer::block(403);
                answer.audit.set_ids(&CorrelationId::from("never-was"), Some(u64::MAX));
                connection.say(FrameType::AgentResponse, &answer);
            }
            Fault::Unreadable => {
                let kinds = [FrameType::AgentResponse, FrameType::FlowControl, FrameType::HealthStatus];
                let kind = rng.pick(&kinds).unwrap_or(FrameType::AgentResponse);
                let payloads: [&[u8]; 3] = [b"not json", b"[]", br#"{"action":"stop","state":9}"#];
                connection.shout(&frame(kind, rng.pick(&payloads).unwrap_or_default()));
            }
            Fault::PauseFlood => {
                for n in 0..40 {
                    let signal = FlowControl::request(format!("flood-{n}"), FlowAction::Pause, 0);
                    connection.say(FrameType::FlowControl, &signal);
                }
            }
            Fault::LongId => {
                let id: String = core::iter::repeat_n('i', 300).collect();
                connection.say(FrameType::FlowControl, &FlowControl::request(id, FlowAction::Pause, 0));
            }
            Fault::HalfFrame => {
                // It must begin where a frame may begin, and nothing else may come behind it.
                if !connection.at_agent.out.is_empty() {
                    return false;
                }
                let mut begun = Vec::from([0, 0, 1, 0, FrameType::AgentResponse.to_byte(), b'{']);
                connection.to_proxy.send(&mut begun, self.schedule.now, rng);
                connection.at_agent.gagged = true;
                self.schedule.set(Duration::from_secs(5), Action::Trickle { serial, left: 20 });
            }
            Fault::Mute => connection.mute = true,
            Fault::HostileProxy => {
                connection.distrust_both();
                connection.at_proxy.out.extend_from_slice(&from_proxy(rng));
            }
            Fault::StallAgent
            | Fault::StallProxy
            | Fault::SlowReader
            | Fault::HalfCloseAgent
            | Fault::HalfCloseProxy
            | Fault::Disconnect
            | Fault::Reset
            | Fault::Vanish
            | Fault::CallerGone
            | Fault::CancelRequest
            | Fault::CancelAll
            | Fault::CancelUnknown
            | Fault::Pause
            | Fault::PauseRequest
            | Fault::Capacity
            | Fault::DrainProxy
            | Fault::DrainAgent
            | Fault::CloseProxy
            | Fault::CloseAgent
            | Fault::SlowHandlers
            | Fault::AnswerAgain
            | Fault::AgentPing
            | Fault::UnknownFrame
            | Fault::HealthReport
            | Fault::Burst
            | Fault::Lull
            | Fault::Unreachable
            | Fault::Reject
            | Fault::SlowDecision => return false,
        }
        true
    }

    /// One more byte of a frame that is never finished.
    pub(super) fn trickle(&mut self, serial: Serial, left: u32) {
        let Some(left) = left.checked_sub(1) else { return };
        let now = self.schedule.now;
        let Some(connection) = self.connections.get_mut(&serial) else { return };
        connection.to_proxy.send(&mut Vec::from(*b" "), now, &mut self.rng);
        self.touched.insert(serial);
        self.schedule.set(Duration::from_secs(5), Action::Trickle { serial, left });
    }
}

impl Connection {
    /// Sends bytes as they are.
    fn shout(&mut self, bytes: &[u8]) {
        self.at_agent.out.extend_from_slice(bytes);
    }

    /// A block for somebody's event, with one of its ids or both.
    fn wrong_answer(&self, rng: &mut Rng) -> Option<Answer> {
        let id = rng.pick_of(self.oracle.ids())?;
        let exchange = rng.pick_of(self.oracle.on_wire()).filter(|_| rng.per_mille(700));
        let mut answer = Answer::block(403);
        answer.audit.set_ids(&CorrelationId::from(id), exchange.map(|exchange| exchange.0));
        Some(answer)
    }
}

fn frame(kind: FrameType, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    match encode_frame(kind, payload, u32::MAX, &mut bytes) {
        Ok(()) => bytes,
        Err(_) => Vec::new(),
    }
}

fn garbage(rng: &mut Rng) -> Vec<u8> {
    let length = rng.between(1, 60);
    (0..length).map(|_| rng.next_u64().to_le_bytes().first().copied().unwrap_or(0)).collect()
}

/// First bytes that are no registration.
fn opening(rng: &mut Rng) -> Vec<u8> {
    match rng.below(5) {
        0 => b"GET / HTTP/1.1\r\nhost: example.org\r\n\r\n".to_vec(),
        1 => frame(FrameType::Ping, b"{}"),
        2 => frame(FrameType::HandshakeRequest, b"[1, 2]"),
        3 => {
            // A registration, and an answer behind it that nobody asked for.
            let mut bytes = Vec::new();
            let registration = Registration::default();
            drop(encode_message(
                FrameType::HandshakeRequest,
                Encoding::Json,
                &registration,
                u32::MAX,
                &mut bytes,
            ));
            bytes.extend_from_slice(&frame(FrameType::AgentResponse, b"{}"));
            bytes
        }
        _ => garbage(rng),
    }
}

/// What a proxy must not send to an agent.
fn from_proxy(rng: &mut Rng) -> Vec<u8> {
    match rng.below(5) {
        0 => garbage(rng),
        1 => frame(FrameType::AgentResponse, b"{}"),
        2 => frame(FrameType::HandshakeResponse, b"{}"),
        // An event whose ids can be read, and nothing else of it.
        3 => frame(FrameType::RequestHeaders, br#"{"correlation_id":"odd","headers":7}"#),
        _ => frame(FrameType::RequestBodyChunk, b"{}"),
    }
}

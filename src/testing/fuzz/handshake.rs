//! Both ends before registration, and a peer that may send anything (P7).

use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use serde_json::Value;

use crate::machine::{CloseReason, ConnectionState, Timestamp};
use crate::session::{
    AgentSession, AgentSessionEvent, AgentSettings, Grant, PendingForward, PendingRegistration, ProxySession,
    ProxySessionEvent, ProxySettings,
};
use crate::testing::oracle::Tap;
use crate::wire::{Capabilities, Encoding, EventKind, Registration};

use super::feed::frame;
use super::input::Input;
use super::payload::payload;
use super::{Failure, Outcome, ensure, ensure_bounded};

/// As many operations as a run has at most.
const MOST_OPS: usize = 40;

/// Limits on opening frames.
const LIMITS: [u32; 5] = [65_536, 600, 64, 8, 1];

/// First frames that are sound, or nearly so.
const OFFERS: [&str; 8] = [
    r#"{"protocol_version":2,"agent_id":"a","capabilities":{}}"#,
    r#"{"protocol_version":2,"agent_id":"a","capabilities":{"supported_events":[1,2,99]},"supported_encodings":["msgpack","zip"]}"#,
    r#"{"supported_versions":[2,3],"supported_encodings":["msgpack"],"config":{"a":[1]}}"#,
    r#"{"supported_versions":[1]}"#,
    r#"{"success":true}"#,
    r#"{"success":true,"protocol_version":2,"encoding":"msgpack","connection_id":"c"}"#,
    r#"{"success":false,"error":"go away","retry_after_ms":7}"#,
    r#"{"protocol_version":2,"agent_id":"a","capabilities":{"handles_request_headers":true}}"#,
];

#[derive(Clone, Debug, PartialEq)]
enum End {
    Proxy(Box<ProxySession>),
    Agent(Box<AgentSession>),
}

#[derive(Debug)]
enum Offer {
    Registration(Box<PendingRegistration>),
    Forward(Box<PendingForward>),
}

struct Harness {
    end: End,
    /// Whether the peer speaks first and awaits a response.
    awaited: bool,
    limit: usize,
    now: Timestamp,
    start: Timestamp,
    received: usize,
    /// What awaits a decision.
    offer: Option<Offer>,
    offers: u32,
    opened: bool,
    closed: Option<CloseReason>,
    out: Vec<u8>,
    tap: Tap,
    responses: u32,
    refusals: u32,
    requests: u32,
}

/// One end, its application, and a peer that keeps to no rule; in the end time runs out.
///
/// # Errors
/// When more than a handshake happens before registration, or memory is not in its bounds.
pub fn handshake(data: &[u8]) -> Outcome {
    let mut input = Input::new(data);
    let mut harness = Harness::new(&mut input)?;
    harness.look()?;
    for _ in 0..MOST_OPS {
        if input.is_empty() {
            break;
        }
        harness.apply(&mut input)?;
        harness.look()?;
    }
    harness.finish()
}

impl Harness {
    fn new(input: &mut Input<'_>) -> Result<Self, Failure> {
        let flags = input.byte();
        let limit = input.one_of(&LIMITS);
        let now = Timestamp::from_micros(1_000_000);
        let encodings = if Encoding::MessagePack.is_supported() {
            Vec::from([Encoding::MessagePack, Encoding::Json])
        } else {
            Vec::new()
        };
        let proxy =
            ProxySettings { max_opening_frame: limit, encodings: encodings.clone(), ..Default::default() };
        let registration = Registration::new(Capabilities::new("a", EventKind::ALL));
        let agent = AgentSettings { max_opening_frame: limit, encodings, ..AgentSettings::new(registration) };
        let text = |error: crate::wire::EncodeError| Failure(error.to_string());
        // Our own first frame needs room.
        let roomy = limit.max(1_000);
        let end = match flags & 3 {
            0 => End::Proxy(Box::new(ProxySession::accept(proxy, now))),
            1 => End::Agent(Box::new(AgentSession::accept(agent, now))),
            2 => {
                let proxy = ProxySettings { max_opening_frame: roomy, ..proxy };
                End::Proxy(Box::new(ProxySession::dial(proxy, Some(Value::Null), now).map_err(text)?))
            }
            _ => {
                let agent = AgentSettings { max_opening_frame: roomy, ..agent };
                End::Agent(Box::new(AgentSession::dial(agent, now).map_err(text)?))
            }
        };
        let awaited = flags & 2 == 0;
        Ok(Self {
            end,
            awaited,
            limit: if awaited { limit } else { roomy } as usize,
            now,
            start: now,
            received: 0,
            offer: None,
            offers: 0,
            opened: false,
            closed: None,
            out: Vec::new(),
            tap: Tap::default(),
            responses: 0,
            refusals: 0,
            requests: 0,
        })
    }

    fn apply(&mut self, input: &mut Input<'_>) -> Outcome {
        match input.byte() % 13 {
            0..=2 => {
                let kind = if self.awaited { 0x01 } else { 0x02 };
                let bytes = frame(kind, input.one_of(&OFFERS).as_bytes());
                self.receive(&bytes, input.byte())
            }
            3..=5 => {
                let kind = input.one_of(&[0x01, 0x02, 0x03, b'{', 0x41, 0x20, 0x11, 0x99]);
                let mut own = Input::new(input.piece());
                let bytes = frame(kind, &payload(&mut own, Encoding::Json));
                self.receive(&bytes, input.byte())
            }
            6 | 7 => {
                let bytes = input.piece();
                self.receive(bytes, input.byte())
            }
            8 => self.advance(input.micros()),
            9 => self.decide(input.byte()),
            10 => {
                // A long frame, all but its last byte.
                let length = input.below(32).saturating_mul(4096);
                let mut bytes = frame(if self.awaited { 0x01 } else { 0x02 }, &vec![b' '; length]);
                bytes.pop();
                self.receive(&bytes, u8::MAX)
            }
            11 => {
                match (input.below(4), &mut self.end) {
                    (0, End::Proxy(proxy)) => proxy.close(),
                    (0, End::Agent(agent)) => agent.close(),
                    (1, End::Proxy(proxy)) => proxy.handle_eof(),
                    (1, End::Agent(agent)) => agent.handle_eof(),
                    (2, End::Proxy(proxy)) => proxy.handle_transport_lost(),
                    (2, End::Agent(agent)) => agent.handle_transport_lost(),
                    (_, End::Proxy(proxy)) => proxy.drain(self.now, self.now),
                    (_, End::Agent(agent)) => agent.drain(self.now, self.now),
                }
                Ok(())
            }
            _ => {
                self.out.clear();
                Ok(())
            }
        }
    }

    /// The end gets bytes, and a copy of it gets them in another cut.
    fn receive(&mut self, bytes: &[u8], cut: u8) -> Outcome {
        let mut copy = self.end.clone();
        self.end.handle_bytes(bytes, self.now);
        for piece in bytes.chunks(usize::from(cut).saturating_add(1)) {
            copy.handle_bytes(piece, self.now);
        }
        ensure(copy.is_like(&self.end), || "another cut of the bytes made another session".to_string())?;
        self.received = self.received.saturating_add(bytes.len());
        let held = self.end.capacity();
        ensure_bounded(held, self.received)?;
        // Half a frame in the decoder, and as much again behind an offer that is being decided.
        let bound = self.limit.saturating_mul(4).saturating_add(9 * 1024);
        let opening = self.end.state() == ConnectionState::Opening;
        ensure(!opening || held <= bound, || format!("{held} bytes held before registration"))
    }

    fn decide(&mut self, how: u8) -> Outcome {
        let Some(offer) = self.offer.take() else { return Ok(()) };
        let opening = self.end.state() == ConnectionState::Opening;
        let decided = match (offer, &mut self.end) {
            (Offer::Registration(pending), End::Proxy(proxy)) if how & 3 == 0 => {
                proxy.reject_registration(*pending, "no", Some(u64::from(how)))
            }
            (Offer::Registration(pending), End::Proxy(proxy)) => {
                proxy.accept_registration(*pending, Grant { connection_id: "c".into() }, self.now)
            }
            (Offer::Forward(pending), End::Agent(agent)) if how & 3 == 0 => {
                agent.reject_handshake(*pending, "no")
            }
            (Offer::Forward(pending), End::Agent(agent)) => agent.accept_handshake(*pending, self.now),
            (Offer::Registration(_), End::Agent(_)) | (Offer::Forward(_), End::Proxy(_)) => {
                return Err(Failure("an offer of the other sort".into()));
            }
        };
        ensure(decided.is_ok() == opening, || format!("{decided:?}, while opening: {opening}"))
    }

    fn advance(&mut self, micros: u64) -> Outcome {
        self.now = self.now.after(Duration::from_micros(micros));
        self.end.handle_timeout(self.now);
        let late = self.now.since(self.start) >= Duration::from_secs(10);
        let opening = self.end.state() == ConnectionState::Opening;
        ensure(!late || !opening, || "still opening after the deadline".to_string())
    }

    fn look(&mut self) -> Outcome {
        self.fetch()?;
        let before = self.out.len();
        let opening = self.end.state() == ConnectionState::Opening;
        self.end.transmit(&mut self.out);
        for seen in self.tap.push(self.out.get(before..).unwrap_or_default()) {
            let early = opening || !self.opened;
            match seen.kind {
                0x01 => self.requests = self.requests.saturating_add(1),
                0x02 => {
                    self.responses = self.responses.saturating_add(1);
                    let json: Value = serde_json::from_slice(&seen.payload)
                        .map_err(|error| Failure(format!("a response that is no JSON: {error}")))?;
                    if json.get("success") == Some(&Value::Bool(false)) {
                        self.refusals = self.refusals.saturating_add(1);
                        let told =
                            json.get("error").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
                        ensure(told, || "a refusal without a reason".to_string())?;
                    }
                }
                other => ensure(!early, || format!("type 0x{other:02x} written before registration"))?,
            }
        }
        let most = (u32::from(self.awaited), u32::from(!self.awaited));
        let written = (self.responses, self.requests);
        ensure(written.0 <= most.0 && written.1 <= most.1, || format!("{written:?} handshakes written"))?;
        self.fetch()
    }

    fn fetch(&mut self) -> Outcome {
        while let Some(happened) = self.end.poll() {
            ensure(self.closed.is_none(), || format!("{happened:?} after the close"))?;
            match happened {
                Happened::Offered(offer) => {
                    self.offers = self.offers.saturating_add(1);
                    ensure(self.offers == 1 && !self.opened, || "a second offer".to_string())?;
                    self.offer = Some(offer);
                }
                Happened::Opened => {
                    ensure(!self.opened, || "opened twice".to_string())?;
                    let decided = !self.awaited || (self.offers == 1 && self.offer.is_none());
                    ensure(decided, || "opened without a decision".to_string())?;
                    self.opened = true;
                }
                Happened::Closed(reason) => self.closed = Some(reason),
                Happened::Other => ensure(self.opened, || "an event before registration".to_string())?,
            }
        }
        Ok(())
    }

    /// Time runs out: the end is open or closed, and a peer that awaits a response has had one.
    fn finish(&mut self) -> Outcome {
        self.advance(10_000_000)?;
        self.look()?;
        let refused = matches!(
            self.closed,
            Some(CloseReason::Violation(_) | CloseReason::HandshakeDeadline(_) | CloseReason::Rejected)
        );
        if self.awaited && !self.opened && refused {
            ensure(self.refusals == 1, || format!("{} refusals for {:?}", self.refusals, self.closed))?;
        }
        if let End::Proxy(proxy) = &mut self.end {
            proxy.close();
        } else if let End::Agent(agent) = &mut self.end {
            agent.close();
        }
        self.look()?;
        ensure(self.closed.is_some(), || "no closed event".to_string())
    }
}

#[derive(Debug)]
enum Happened {
    Offered(Offer),
    Opened,
    Closed(CloseReason),
    Other,
}

impl End {
    fn handle_bytes(&mut self, bytes: &[u8], now: Timestamp) {
        match self {
            Self::Proxy(proxy) => proxy.handle_bytes(bytes, now),
            Self::Agent(agent) => agent.handle_bytes(bytes, now),
        }
    }

    fn handle_timeout(&mut self, now: Timestamp) {
        match self {
            Self::Proxy(proxy) => proxy.handle_timeout(now),
            Self::Agent(agent) => agent.handle_timeout(now),
        }
    }

    fn transmit(&mut self, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Proxy(proxy) => proxy.poll_transmit(out),
            Self::Agent(agent) => agent.poll_transmit(out),
        }
    }

    /// Whether another cut made the same of it. What a closed end has kept does not matter.
    fn is_like(&self, other: &Self) -> bool {
        let same = match (self, other) {
            (Self::Proxy(a), Self::Proxy(b)) => a.machine() == b.machine(),
            (Self::Agent(a), Self::Agent(b)) => a.machine() == b.machine(),
            (Self::Proxy(_), Self::Agent(_)) | (Self::Agent(_), Self::Proxy(_)) => false,
        };
        same && (self.state() == ConnectionState::Closed || self == other)
    }

    const fn capacity(&self) -> usize {
        match self {
            Self::Proxy(proxy) => proxy.buffered_capacity(),
            Self::Agent(agent) => agent.buffered_capacity(),
        }
    }

    fn state(&self) -> ConnectionState {
        match self {
            Self::Proxy(proxy) => proxy.state(),
            Self::Agent(agent) => agent.state(),
        }
    }

    fn poll(&mut self) -> Option<Happened> {
        Some(match self {
            Self::Proxy(proxy) => match proxy.poll_event()? {
                ProxySessionEvent::Registration(pending) => Happened::Offered(Offer::Registration(pending)),
                ProxySessionEvent::Opened => Happened::Opened,
                ProxySessionEvent::Closed(reason) => Happened::Closed(reason),
                ProxySessionEvent::Ended { .. }
                | ProxySessionEvent::Health(_)
                | ProxySessionEvent::Metrics(_)
                | ProxySessionEvent::ConfigUpdate(_)
                | ProxySessionEvent::Draining => Happened::Other,
            },
            Self::Agent(agent) => match agent.poll_event()? {
                AgentSessionEvent::Handshake(pending) => Happened::Offered(Offer::Forward(pending)),
                AgentSessionEvent::Opened { .. } => Happened::Opened,
                AgentSessionEvent::Closed(reason) => Happened::Closed(reason),
                AgentSessionEvent::Event(_) | AgentSessionEvent::Cancelled { .. } => Happened::Other,
            },
        })
    }
}

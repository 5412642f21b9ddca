//! A real proxy's session, a bridge, and a real agent's session, over faulty streams in virtual time.

use std::collections::BTreeMap;
use std::time::Duration;

use dialback::machine::{ConnectionState, Ending, ExchangeId, Patience, Timestamp};
use dialback::session::bridge::{BridgeEnd, BridgeEvent, BridgeSession, BridgeSettings, Side};
use dialback::session::{
    AgentSession, AgentSessionEvent, AgentSettings, EncodedEvent, Grant, ProxySession, ProxySessionEvent,
    ProxySettings, Receipt,
};
use dialback::testing::{Link, Rng};
use dialback::wire::{
    Answer, CancelReason, Capabilities, Decision, Encoding, Event, EventKind, Registration, RequestBodyChunk,
    RequestHeaders, WebSocketFrame, WebSocketOpcode,
};

/// How a run is set.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub seed: u64,
    pub messagepack: bool,
    pub exchange_ids: bool,
    pub on_loss: dialback::session::bridge::OnAgentLoss,
    pub write_mark: usize,
}

/// What is known of an exchange that the proxy submitted.
#[derive(Debug, Default)]
pub struct Exchange {
    pub kind: Option<EventKind>,
    /// The body that the agent must see, if the event has one.
    pub body: Vec<u8>,
    /// What the agent answered, if it did: a block or an allow, tagged with the marker.
    pub given: Option<Decision>,
    pub ending: Option<Ending<Vec<u8>>>,
}

pub struct World {
    pub rng: Rng,
    pub now: Timestamp,
    pub proxy: ProxySession,
    pub bridge: BridgeSession,
    pub agent: AgentSession,
    /// From the proxy to the bridge, back, from the bridge to the agent, back.
    links: [Link; 4],
    outs: [Vec<u8>; 4],
    pub receipts: Vec<Receipt>,
    pub exchanges: BTreeMap<ExchangeId, Exchange>,
    pub end: Option<BridgeEnd>,
    pub agent_closed: bool,
    pub proxy_closed: bool,
    next_marker: u64,
    markers: BTreeMap<u64, ExchangeId>,
}

const IDS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

impl World {
    pub fn new(setting: Setting) -> Self {
        let mut rng = Rng::new(setting.seed);
        let now = Timestamp::from_micros(1_000_000);
        let mut capabilities = Capabilities::new("bridged", EventKind::ALL);
        capabilities.features.cancellation = true;
        capabilities.features.exchange_ids = setting.exchange_ids;
        let encodings = if setting.messagepack { vec![Encoding::MessagePack] } else { Vec::new() };
        let agent = AgentSettings {
            encodings: encodings.clone(),
            ..AgentSettings::new(Registration::new(capabilities))
        };
        let proxy = ProxySettings { encodings: encodings.clone(), ..ProxySettings::default() };
        let mut bridge =
            BridgeSettings { encodings, on_agent_loss: setting.on_loss, ..BridgeSettings::default() };
        bridge.limits.write_mark = setting.write_mark;
        let link = |rng: &mut Rng| Link::new(rng.below(3_000), 1 + rng.below(200) as usize);
        let links = [link(&mut rng), link(&mut rng), link(&mut rng), link(&mut rng)];
        Self {
            proxy: ProxySession::accept(proxy, now),
            bridge: BridgeSession::new(bridge, now).unwrap(),
            agent: AgentSession::accept(agent, now),
            links,
            outs: Default::default(),
            receipts: Vec::new(),
            exchanges: BTreeMap::new(),
            end: None,
            agent_closed: false,
            proxy_closed: false,
            next_marker: 0,
            markers: BTreeMap::new(),
            now,
            rng,
        }
    }

    /// Submits an event of some kind, marked, with a body where the kind has one.
    pub fn submit(&mut self) {
        if self.proxy.state() != ConnectionState::Open {
            return;
        }
        self.next_marker += 1;
        let marker = self.next_marker;
        let id = self.rng.pick(&IDS).unwrap();
        let length = self.rng.below(400) as usize;
        let mut body = marker.to_be_bytes().to_vec();
        body.extend((0..length).map(|_| self.rng.next_u64() as u8));
        let event: Event = match self.rng.below(3) {
            0 => RequestBodyChunk::new(id, body.clone()).into(),
            1 => WebSocketFrame::new(id, WebSocketOpcode::Binary, body.clone()).into(),
            _ => {
                body.clear();
                RequestHeaders::new(id, "GET", marker.to_string()).into()
            }
        };
        let encoded = EncodedEvent::new(&event, self.proxy.encoding()).unwrap();
        let deadline = match self.rng.below(4) {
            0 => self.now.after(Duration::from_micros(self.rng.below(20_000))),
            _ => self.now.after(Duration::from_secs(3_600)),
        };
        if let Ok(exchange) = self.proxy.submit(encoded, deadline, Patience::Wait, self.now) {
            let known = Exchange { kind: Some(event.kind()), body, ..Exchange::default() };
            self.exchanges.insert(exchange, known);
            self.markers.insert(marker, exchange);
        }
    }

    /// The agent answers one of the events it has.
    pub fn answer(&mut self) {
        if self.receipts.is_empty() {
            return;
        }
        let at = self.rng.below(self.receipts.len() as u64) as usize;
        let receipt = self.receipts.swap_remove(at);
        let (marker, body) = match receipt.event().unwrap() {
            Event::RequestHeaders(event) => (event.uri.parse().unwrap(), Vec::new()),
            Event::RequestBodyChunk(event) => (leading(&event.data), event.data.to_vec()),
            Event::WebSocketFrame(event) => (leading(&event.data), event.data.to_vec()),
            other @ (Event::ResponseHeaders(_)
            | Event::ResponseBodyChunk(_)
            | Event::RequestComplete(_)
            | Event::GuardrailInspect(_)
            | Event::Configure(_)) => panic!("nobody sent {other:?}"),
        };
        let exchange = self.markers[&marker];
        let known = self.exchanges.get_mut(&exchange).unwrap();
        assert_eq!(known.body, body, "the agent sees the body that was sent");
        let answer = match self.rng.below(2) {
            0 => Answer::allow(),
            _ => Answer::block(403),
        }
        .with_tag(marker.to_string());
        let encoded = receipt.encode(answer.clone()).unwrap();
        if self.agent.answer(encoded, self.now).is_ok() {
            known.given = Some(answer.decision);
        }
    }

    pub fn cancel(&mut self) {
        let open: Vec<ExchangeId> =
            self.exchanges.iter().filter(|(_, e)| e.ending.is_none()).map(|(id, _)| *id).collect();
        if let Some(exchange) = self.rng.pick(&open) {
            let _ = self.proxy.cancel(exchange, CancelReason::Manual, self.now);
        }
    }

    /// The process at that side dies.
    pub fn kill(&mut self, side: Side) {
        let (links, calm) = (if side == Side::Proxy { [0, 1] } else { [2, 3] }, self.rng.per_mille(500));
        for link in links {
            if calm { self.links[link].end() } else { self.links[link].sever() }
        }
        match side {
            Side::Proxy => self.proxy.handle_transport_lost(),
            Side::Agent => self.agent.handle_transport_lost(),
        }
    }

    /// Lets up to that much time pass.
    pub fn advance(&mut self, most: Duration) {
        self.now = self.now.after(self.rng.up_to(most));
        self.settle();
    }

    /// Lets time pass until nothing is under way, an hour at most.
    pub fn run_out(&mut self) {
        let end = self.now.after(Duration::from_secs(3_600));
        while self.now < end && !(self.proxy_closed && self.end.is_some()) {
            self.settle();
            let mut due: Vec<Timestamp> = self.links.iter().filter_map(Link::next_arrival).collect();
            due.extend(self.proxy.poll_timeout());
            due.extend(self.bridge.poll_timeout());
            due.extend(self.agent.poll_timeout());
            let Some(next) = due.into_iter().min() else { break };
            self.now = self.now.after(next.since(self.now).max(Duration::from_micros(1)));
        }
        self.settle();
    }

    pub fn settle(&mut self) {
        self.proxy.handle_timeout(self.now);
        self.bridge.handle_timeout(self.now);
        self.agent.handle_timeout(self.now);
        loop {
            self.deliver();
            self.proxy_events();
            self.bridge_events();
            self.agent_events();
            let moved = [
                self.proxy.poll_transmit(&mut self.outs[0]),
                self.bridge.poll_transmit(Side::Proxy, &mut self.outs[1]),
                self.bridge.poll_transmit(Side::Agent, &mut self.outs[2]),
                self.agent.poll_transmit(&mut self.outs[3]),
            ];
            for (link, out) in self.links.iter_mut().zip(&mut self.outs) {
                // A socket that is full at times.
                if self.rng.per_mille(700) {
                    link.send(out, self.now, &mut self.rng);
                }
            }
            self.hang_up();
            let arrived = self.links.iter().any(|link| link.next_arrival().is_some_and(|at| at <= self.now));
            let readable = arrived && (self.bridge.end().is_none());
            if !moved.contains(&true) && !readable && self.outs.iter().all(Vec::is_empty) {
                break;
            }
        }
    }

    fn deliver(&mut self) {
        let now = self.now;
        if let Some(bytes) = self.links[0].receive_if(self.bridge.wants_bytes(Side::Proxy), now) {
            self.bridge.handle_bytes(Side::Proxy, &bytes, now);
        }
        if let Some(bytes) = self.links[1].receive_if(self.proxy.wants_bytes(), now) {
            self.proxy.handle_bytes(&bytes, now);
        }
        if let Some(bytes) = self.links[2].receive_if(self.agent.wants_bytes(), now) {
            self.agent.handle_bytes(&bytes, now);
        }
        if let Some(bytes) = self.links[3].receive_if(self.bridge.wants_bytes(Side::Agent), now) {
            self.bridge.handle_bytes(Side::Agent, &bytes, now);
        }
        if self.links[0].receive_end() {
            self.bridge.handle_eof(Side::Proxy, now);
        }
        if self.links[1].receive_end() {
            self.proxy.handle_eof();
        }
        if self.links[2].receive_end() {
            self.agent.handle_eof();
        }
        if self.links[3].receive_end() {
            self.bridge.handle_eof(Side::Agent, now);
        }
    }

    /// What has ended ends its streams, behind what was made for them.
    fn hang_up(&mut self) {
        if self.proxy_closed && self.outs[0].is_empty() {
            self.links[0].end();
        }
        if self.agent_closed && self.outs[3].is_empty() {
            self.links[3].end();
        }
        if self.end.is_some() && self.outs[1].is_empty() {
            self.links[1].end();
            self.links[2].end();
        }
    }

    fn proxy_events(&mut self) {
        while let Some(event) = self.proxy.poll_event() {
            match event {
                ProxySessionEvent::Registration(pending) => {
                    let grant = Grant { connection_id: "one".into() };
                    let _ = self.proxy.accept_registration(*pending, grant, self.now);
                }
                ProxySessionEvent::Ended { exchange, ending } => {
                    let known = self.exchanges.get_mut(&exchange).unwrap();
                    assert!(known.ending.is_none(), "{exchange} ends twice");
                    known.ending = Some(ending);
                }
                ProxySessionEvent::Closed(_) => self.proxy_closed = true,
                ProxySessionEvent::Opened
                | ProxySessionEvent::Health(_)
                | ProxySessionEvent::Metrics(_)
                | ProxySessionEvent::ConfigUpdate(_)
                | ProxySessionEvent::Draining => {}
            }
        }
    }

    fn bridge_events(&mut self) {
        while let Some(event) = self.bridge.poll_event() {
            assert!(self.end.is_none(), "nothing comes behind the end: {event:?}");
            match event {
                BridgeEvent::AgentReady(_) => self.bridge.register(self.now).unwrap(),
                BridgeEvent::Opened(_) => {}
                BridgeEvent::AgentLost(_) => {
                    assert!(self.bridge.is_orphaned());
                    self.links[2].end();
                }
                BridgeEvent::Ended(end) => self.end = Some(end),
            }
        }
    }

    fn agent_events(&mut self) {
        while let Some(event) = self.agent.poll_event() {
            match event {
                AgentSessionEvent::Handshake(pending) => {
                    let _ = self.agent.accept_handshake(*pending, self.now);
                }
                AgentSessionEvent::Event(receipt) => self.receipts.push(*receipt),
                AgentSessionEvent::Closed(_) => {
                    self.agent_closed = true;
                    self.receipts.clear();
                }
                AgentSessionEvent::Opened { .. } | AgentSessionEvent::Cancelled { .. } => {}
            }
        }
    }

    /// The marker of the exchange that an answer was made for, if the agent made it.
    pub fn check_endings(&self) -> Tally {
        let mut tally = Tally::default();
        for (exchange, known) in &self.exchanges {
            let ending = known.ending.as_ref().unwrap_or_else(|| panic!("{exchange} never ended: {known:?}"));
            let Ending::Answered(payload) = ending else {
                tally.unanswered += 1;
                continue;
            };
            let answer: Answer = self.proxy.encoding().decode(payload).unwrap();
            if answer.audit.reason_codes == ["agent_lost"] {
                assert!(matches!(answer.decision, Decision::Block { status: 503, .. }), "{answer:?}");
                let closes = known.kind == Some(EventKind::WebSocketFrame);
                assert_eq!(answer.websocket_decision.is_some(), closes, "{answer:?}");
                tally.blocked += 1;
                continue;
            }
            let marker: u64 = answer.audit.tags[0].parse().unwrap();
            assert_eq!(self.markers[&marker], *exchange, "an answer to its own event");
            assert_eq!(known.given.as_ref(), Some(&answer.decision), "the decision is the agent's");
            tally.answered += 1;
        }
        tally
    }
}

/// How exchanges ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub answered: usize,
    pub blocked: usize,
    pub unanswered: usize,
}

fn leading(body: &[u8]) -> u64 {
    u64::from_be_bytes(body[..8].try_into().unwrap())
}

trait ReceiveIf {
    fn receive_if(&mut self, wanted: bool, now: Timestamp) -> Option<Vec<u8>>;
}

impl ReceiveIf for Link {
    fn receive_if(&mut self, wanted: bool, now: Timestamp) -> Option<Vec<u8>> {
        wanted.then(|| self.receive(now)).flatten()
    }
}

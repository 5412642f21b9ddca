//! A proxy's and an agent's session with nothing between them but two buffers. No check beside
//! those that keep a bench from measuring something else than it says.

use std::hint::black_box;
use std::time::Duration;

use dialback::machine::{Ending, ExchangeId, Patience, Timestamp};
use dialback::session::{
    AgentSession, AgentSessionEvent, AgentSettings, EncodedEvent, Grant, ProxySession, ProxySessionEvent,
    ProxySettings, Receipt,
};
use dialback::wire::{
    Answer, AnswerReader, Capabilities, Encoding, Event, EventKind, Features, Registration,
};

use super::answers;

/// Time enough for every exchange that should be answered.
const LONG: Duration = Duration::from_secs(60);

/// How the two are set up.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Whether the agent echoes exchange ids.
    pub exchange_ids: bool,
    /// What bounds the proxy.
    pub proxy: ProxySettings,
}

/// The two sessions.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The proxy's.
    pub proxy: ProxySession,
    /// The agent's.
    pub agent: AgentSession,
    /// The time that both are told.
    pub now: Timestamp,
    to_agent: Vec<u8>,
    to_proxy: Vec<u8>,
    /// Reads the answers, as the adapter does.
    reader: AnswerReader,
}

impl Joined {
    /// Both, registered.
    pub fn open(setup: &Setup) -> Self {
        let now = Timestamp::from_micros(1_000_000);
        let features = Features {
            cancellation: true,
            flow_control: true,
            exchange_ids: setup.exchange_ids,
            concurrent_requests: 0,
            ..Features::default()
        };
        let capabilities = Capabilities { features, ..Capabilities::new("bench", EventKind::ALL) };
        let mut settings = AgentSettings::new(Registration::new(capabilities));
        // The backlog's marks are for slow handlers; here every event is answered when it is read.
        (settings.limits.inbox.running, settings.limits.inbox.high_mark) = (1 << 20, 1 << 20);
        settings.limits.inbox.saturated = 1 << 20;
        let mut joined = Self {
            proxy: ProxySession::accept(setup.proxy.clone(), now),
            agent: AgentSession::dial(settings, now).expect("the registration fits a frame"),
            now,
            to_agent: Vec::new(),
            to_proxy: Vec::new(),
            reader: AnswerReader::default(),
        };
        joined.move_to_proxy();
        let Some(ProxySessionEvent::Registration(pending)) = joined.proxy.poll_event() else {
            panic!("no registration came");
        };
        let grant = Grant { connection_id: "bench-1".into() };
        joined.proxy.accept_registration(*pending, grant, now).expect("it is accepted");
        joined.move_to_agent();
        assert!(matches!(joined.proxy.poll_event(), Some(ProxySessionEvent::Opened)));
        assert!(matches!(joined.agent.poll_event(), Some(AgentSessionEvent::Opened { .. })));
        joined
    }

    /// Encodes an event and hands it to the proxy.
    pub fn submit(&mut self, event: &Event) -> ExchangeId {
        self.submit_until(event, LONG)
    }

    /// Encodes an event and hands it to the proxy, to be answered within that time.
    pub fn submit_until(&mut self, event: &Event, within: Duration) -> ExchangeId {
        let encoded = EncodedEvent::new(event, Encoding::Json).expect("an event has a JSON form");
        self.proxy.submit(encoded, self.now.after(within), Patience::Wait, self.now).expect("it is taken")
    }

    /// What the proxy has to write, the agent reads. Returns how many bytes.
    pub fn move_to_agent(&mut self) -> usize {
        let mut moved = 0;
        while self.proxy.poll_transmit(&mut self.to_agent) {
            self.agent.handle_bytes(&self.to_agent, self.now);
            moved += self.to_agent.len();
            self.to_agent.clear();
        }
        moved
    }

    /// What the proxy has to write, nobody reads. Returns how many bytes.
    pub fn write_to_nobody(&mut self) -> usize {
        let mut moved = 0;
        while self.proxy.poll_transmit(&mut self.to_agent) {
            moved += black_box(&self.to_agent).len();
            self.to_agent.clear();
        }
        moved
    }

    /// What the agent has to write, the proxy reads.
    pub fn move_to_proxy(&mut self) {
        while self.agent.poll_transmit(&mut self.to_proxy) {
            self.proxy.handle_bytes(&self.to_proxy, self.now);
            self.to_proxy.clear();
        }
    }

    /// An agent without a library answers events of these ids, all in one piece.
    pub fn answer_raw<'a>(&mut self, ids: impl IntoIterator<Item = &'a str>) {
        for id in ids {
            self.to_proxy.extend_from_slice(&answers::frame(id));
        }
        self.proxy.handle_bytes(&self.to_proxy, self.now);
        self.to_proxy.clear();
    }

    /// The agent's events so far; cancellations are passed over.
    pub fn receipts(&mut self) -> Vec<Receipt> {
        let mut receipts = Vec::new();
        while let Some(event) = self.agent.poll_event() {
            match event {
                AgentSessionEvent::Event(receipt) => receipts.push(*receipt),
                AgentSessionEvent::Cancelled { .. } => {}
                other @ (AgentSessionEvent::Handshake(_)
                | AgentSessionEvent::Opened { .. }
                | AgentSessionEvent::Closed(_)) => panic!("an agent at work said {other:?}"),
            }
        }
        receipts
    }

    /// The agent reads an event and allows it.
    pub fn allow(&mut self, receipt: &Receipt) {
        black_box(receipt.event().expect("the event can be read"));
        let answer = receipt.encode(Answer::allow()).expect("an answer has a JSON form");
        self.agent.answer(answer, self.now).expect("it is owed");
    }

    /// The agent allows all that came.
    pub fn allow_all(&mut self) {
        for receipt in self.receipts() {
            self.allow(&receipt);
        }
    }

    /// Callers take what ended at the proxy, and read the answers. Returns how many were answered
    /// and how many ended otherwise.
    pub fn endings(&mut self) -> (usize, usize) {
        let (mut answered, mut otherwise) = (0, 0);
        while let Some(event) = self.proxy.poll_event() {
            match event {
                ProxySessionEvent::Ended { ending: Ending::Answered(payload), .. } => {
                    let answer = self.reader.read(Encoding::Json, &payload).expect("an answer can be read");
                    assert!(answer.is_allow());
                    answered += 1;
                }
                ProxySessionEvent::Ended { .. } => otherwise += 1,
                other @ (ProxySessionEvent::Registration(_)
                | ProxySessionEvent::Opened
                | ProxySessionEvent::Health(_)
                | ProxySessionEvent::Metrics(_)
                | ProxySessionEvent::ConfigUpdate(_)
                | ProxySessionEvent::Draining
                | ProxySessionEvent::Closed(_)) => panic!("a proxy at work said {other:?}"),
            }
        }
        (answered, otherwise)
    }

    /// Time passes, and both act on it.
    pub fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.proxy.handle_timeout(self.now);
        self.agent.handle_timeout(self.now);
    }
}

//! The proxy's end of a connection, in bytes.

mod commands;
mod event;
mod read;
mod settings;
mod write;

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::machine::{
    Backlog, CloseReason, ConnectionState, ExchangeId, FromAgent, Histogram, Matching, ProxyConnection,
    ProxyEvent, ProxyLatency, ProxyStats, Refusal, Shut, Tally, Terms, Timestamp, Violation,
    handshake::Stage,
};
use crate::wire::recurring::IdFinder;
use crate::wire::{
    Capabilities, Decoder, EncodeError, Encoding, EventKind, ForwardRequest, ForwardResponse, FrameType,
    PROTOCOL_VERSION, Registration, RegistrationResponse,
};

use super::Intake;
use super::message::{bounded, supported};
use super::spent::Spent;
pub use event::{Grant, PendingRegistration, ProxySessionEvent};
use read::{Incoming, read_frame, read_opening};
pub use settings::ProxySettings;

/// Room that an exchange id takes in an event: its name, its quotes, twenty digits.
const EXCHANGE_ID_ROOM: usize = 40;

/// Which handshake a session has.
#[derive(Clone, Debug, PartialEq)]
enum Peer {
    /// The agent dialled; its registration, from when it came until it is fetched.
    Dialled(Option<Box<Registration>>),
    /// We dialled.
    Listening,
}

/// The proxy's end of one connection: bytes in, bytes out, no I/O.
///
/// ```
/// use std::time::Duration;
/// use dialback::machine::{Patience, Timestamp};
/// use dialback::session::{EncodedEvent, Grant, ProxySession, ProxySessionEvent};
/// use dialback::wire::RequestHeaders;
///
/// /// What a proxy does when its connection to an agent has something to tell.
/// fn act(session: &mut ProxySession, now: Timestamp) -> Result<(), Box<dyn std::error::Error>> {
///     while let Some(event) = session.poll_event() {
///         match event {
///             ProxySessionEvent::Registration(pending) => {
///                 let grant = Grant { connection_id: "c-1".into() };
///                 session.accept_registration(*pending, grant, now)?;
///             }
///             ProxySessionEvent::Opened => {
///                 let question = RequestHeaders::new("request-1", "GET", "/");
///                 let event = EncodedEvent::new(&question, session.encoding())?;
///                 session.submit(event, now.after(Duration::from_secs(1)), Patience::Wait, now)?;
///             }
///             other => println!("{other:?}"),
///         }
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ProxySession {
    settings: ProxySettings,
    machine: ProxyConnection<Vec<u8>>,
    intake: Intake,
    peer: Peer,
    capabilities: Option<Capabilities>,
    encoding: Encoding,
    /// What it remembers changes how quickly ids are found, and nothing else.
    finder: Tally<IdFinder>,
    /// The buffers of events that are on the wire, as many as there are of these at most.
    spent: Tally<Spent>,
    /// The last exchange id given out.
    last_exchange: Tally<u64>,
    /// The latest time heard of, for timestamps in frames.
    clock: Tally<Timestamp>,
}

impl ProxySession {
    /// A connection that an agent has dialled: its registration is awaited.
    pub fn accept(settings: ProxySettings, now: Timestamp) -> Self {
        let machine = ProxyConnection::accept(settings.limits, now);
        Self::new(settings, machine, Peer::Dialled(None), now)
    }

    /// A connection to an agent that listens: the forward handshake is sent first. `config` goes
    /// to the agent in the handshake.
    ///
    /// # Errors
    /// If the handshake can't be encoded within the limit on opening frames.
    pub fn dial(
        settings: ProxySettings,
        config: Option<serde_json::Value>,
        now: Timestamp,
    ) -> Result<Self, EncodeError> {
        let request = ForwardRequest {
            supported_versions: Vec::from([PROTOCOL_VERSION]),
            proxy_id: settings.proxy_id.clone(),
            proxy_version: settings.proxy_version.clone(),
            config,
            supported_encodings: supported(&settings.encodings),
        };
        let offer = bounded(&request, settings.max_opening_frame)?;
        let machine = ProxyConnection::dial(settings.limits, offer, now);
        Ok(Self::new(settings, machine, Peer::Listening, now))
    }

    fn new(settings: ProxySettings, machine: ProxyConnection<Vec<u8>>, peer: Peer, now: Timestamp) -> Self {
        let decoder = Decoder::new(settings.max_opening_frame.min(settings.max_frame));
        Self {
            settings,
            machine,
            intake: Intake::new(decoder),
            peer,
            capabilities: None,
            encoding: Encoding::Json,
            finder: Tally::default(),
            spent: Tally::default(),
            last_exchange: Tally::new(0),
            clock: Tally::new(now),
        }
    }

    // ---- questions ----

    /// Where the connection stands.
    pub fn state(&self) -> ConnectionState {
        self.machine.state()
    }

    /// What the agent said it can do, once it is known.
    pub const fn capabilities(&self) -> Option<&Capabilities> {
        self.capabilities.as_ref()
    }

    /// How payloads are encoded on this connection; settled by the handshake.
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Whether the driver should read: not while a registration is being decided.
    pub fn wants_bytes(&self) -> bool {
        self.machine.handshake() != Some(Stage::Deciding)
    }

    /// Unanswered events on the wire, abandoned ones included.
    pub fn in_flight(&self) -> usize {
        self.machine.in_flight()
    }

    /// Events that wait to be written.
    pub fn waiting(&self) -> usize {
        self.machine.waiting()
    }

    /// Why no event could be written now; `None` if one could.
    pub fn shut(&self) -> Option<Shut> {
        self.machine.shut()
    }

    /// Bytes allocated for input that was not acted on yet: half a frame, and what came behind an
    /// offer that is being decided. At most twice what was received, plus 1 KiB.
    pub const fn buffered_capacity(&self) -> usize {
        self.intake.capacity()
    }

    /// Counters.
    pub fn stats(&self) -> ProxyStats {
        self.machine.stats()
    }

    /// How long events waited, and how long their answers took.
    pub fn latency(&self) -> &ProxyLatency {
        self.machine.latency()
    }

    /// The connection's state on one line, for a log or a console.
    pub fn dump(&self) -> String {
        let (machine, stats) = (&self.machine, self.machine.stats());
        let shut = machine.shut().map_or_else(|| "open".to_string(), |shut| shut.to_string());
        let millis = |histogram: &Histogram, share| histogram.quantile(share).as_micros() as f64 / 1_000.0;
        let answered = &machine.latency().answered;
        alloc::format!(
            "state={:?} gate={shut:?} in_flight={}/{} waiting={} owed={} admitted={} answered={} timed_out={} \
             cancelled={} refused={} lost={} late={} stray={} unknown={} unreadable={} p50_ms={:.1} p99_ms={:.1}",
            machine.state(),
            machine.in_flight(),
            machine.window(),
            machine.waiting(),
            machine.owed(),
            stats.admitted,
            stats.answered,
            stats.timed_out,
            stats.cancelled,
            stats.refused,
            stats.lost,
            stats.late_answers,
            stats.stray_answers,
            stats.unknown_frames,
            stats.unreadable_frames,
            millis(answered, 0.5),
            millis(answered, 0.99),
        )
    }

    /// Why the connection ended, once it has.
    pub const fn close_reason(&self) -> Option<&CloseReason> {
        self.machine.close_reason()
    }

    /// The machine within, to be looked at.
    pub const fn machine(&self) -> &ProxyConnection<Vec<u8>> {
        &self.machine
    }

    // ---- facts ----

    /// Takes what the socket gave: any cut of the agent's bytes.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Timestamp) {
        *self.clock = now;
        // Nothing came, so nobody was heard.
        if bytes.is_empty() {
            return;
        }
        let mut rest = bytes;
        let mut completed = false;
        loop {
            if self.state() == ConnectionState::Closed {
                return;
            }
            if !self.wants_bytes() {
                if !self.intake.hold(rest) {
                    self.machine
                        .handle_violation(Violation::EarlyFrame(FrameType::HandshakeRequest.to_byte()));
                }
                return;
            }
            let frame = match self.intake.decoder.decode(&mut rest) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return self.machine.handle_violation(Violation::Frame(error)),
            };
            completed = true;
            let outcome = match self.machine.handshake() {
                Some(stage) => read_opening(stage, frame, &mut self.peer),
                None => Ok(read_frame(self.encoding, frame, &mut self.finder)),
            };
            match outcome {
                Ok(Incoming::Frame(frame)) => self.machine.handle_frame(frame, now),
                Ok(Incoming::Response(response)) => self.handle_response(*response, now),
                Ok(Incoming::Answer { ids, payload }) => {
                    let (id, exchange) = (ids.correlation_id.as_deref(), ids.exchange_id.map(ExchangeId));
                    self.machine.handle_answer(id, exchange, self.spent.fill(payload), now);
                }
                Err(violation) => self.machine.handle_violation(violation),
            }
        }
        self.machine.handle_progress(self.intake.decoder.is_mid_frame(), completed, now);
    }

    /// The agent ended its half of the stream.
    pub fn handle_eof(&mut self) {
        self.machine.handle_eof();
    }

    /// The transport failed.
    pub fn handle_transport_lost(&mut self) {
        self.machine.handle_transport_lost();
    }

    /// Time has passed. Early calls change nothing.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        *self.clock = now;
        self.machine.handle_timeout(now);
    }

    // ---- polls ----

    /// When [`Self::handle_timeout`] should be called next, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.machine.poll_timeout()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<ProxySessionEvent> {
        if let Some(pending) = self.machine.poll_offer()
            && let Peer::Dialled(registration) = &mut self.peer
        {
            let registration = registration.take().map(|boxed| *boxed).unwrap_or_default();
            return Some(ProxySessionEvent::Registration(Box::new(PendingRegistration {
                registration,
                pending,
            })));
        }
        loop {
            return Some(match self.machine.poll_event()? {
                ProxyEvent::Opened => ProxySessionEvent::Opened,
                ProxyEvent::Ended { exchange, ending } => ProxySessionEvent::Ended { exchange, ending },
                // Both were read once when they came, so they can be read again.
                ProxyEvent::Health(payload) => match self.encoding.decode(&payload) {
                    Ok(health) => ProxySessionEvent::Health(Box::new(health)),
                    Err(_) => continue,
                },
                ProxyEvent::Report { frame, payload } => match self.read_report(frame, &payload) {
                    Some(event) => event,
                    None => continue,
                },
                ProxyEvent::Draining(_) => ProxySessionEvent::Draining,
                ProxyEvent::Closed(reason) => ProxySessionEvent::Closed(reason),
            });
        }
    }

    /// Appends to `out`, the bytes that the socket has not taken yet, what may be written now.
    /// Stops at the write mark. Returns whether it appended anything.
    // Rule: F-MARK-1.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        while out.len() < self.settings.write_mark {
            self.machine.handle_backlog(Backlog::Below);
            let Some(frame) = self.machine.poll_transmit() else { break };
            if self.encode(frame, out).is_err() {
                // Every frame was measured before it was taken, so this is not the peer's doing.
                self.machine.close();
            }
        }
        let backlog = if out.len() < self.settings.write_mark { Backlog::Below } else { Backlog::Above };
        self.machine.handle_backlog(backlog);
        out.len() > before
    }

    // ---- within ----

    fn become_open(&mut self, encoding: Encoding) {
        self.encoding = encoding;
        self.intake.decoder.set_limit(self.settings.max_frame);
    }

    fn exchange_id_room(&self) -> usize {
        match self.machine.terms().map(|terms| terms.matching) {
            Some(Matching::ByExchangeId) => EXCHANGE_ID_ROOM,
            Some(Matching::OneAtATime) | None => 0,
        }
    }

    // Rule: W-EVENT-2.
    fn terms(&self, capabilities: &Capabilities) -> Terms {
        let mut events = capabilities.events().collect::<crate::machine::EventSet>();
        if capabilities.features.config_push {
            events = events.with(EventKind::Configure);
        }
        let echoes = self.settings.exchange_ids && capabilities.features.exchange_ids;
        Terms {
            concurrency: capabilities.concurrency(),
            matching: if echoes { Matching::ByExchangeId } else { Matching::OneAtATime },
            cancellation: capabilities.features.cancellation,
            events,
        }
    }

    /// A registration's answer without the verdict.
    fn response(&self) -> RegistrationResponse {
        RegistrationResponse {
            success: false,
            error: None,
            proxy_id: self.settings.proxy_id.clone(),
            proxy_version: self.settings.proxy_version.clone(),
            connection_id: String::new(),
            retry_after_ms: None,
            encoding: None,
        }
    }

    /// The agent answered our forward handshake.
    // Rule: H-FWD-2.
    fn handle_response(&mut self, response: ForwardResponse, now: Timestamp) {
        let words = if !response.success {
            Some(response.error.unwrap_or_else(|| "no reason given".into()))
        } else if response.protocol_version != PROTOCOL_VERSION {
            Some(alloc::format!(
                "it chose protocol version {}, which was not offered",
                response.protocol_version
            ))
        } else if !(response.encoding == Encoding::Json
            || self.settings.encodings.contains(&response.encoding))
        {
            Some(alloc::format!("it chose the encoding {:?}, which was not offered", response.encoding))
        } else {
            None
        };
        if let Some(words) = words {
            return self.machine.handle_frame(FromAgent::HandshakeAnswer(Err(Refusal(words))), now);
        }
        let terms = self.terms(&response.capabilities);
        self.machine.handle_frame(FromAgent::HandshakeAnswer(Ok(terms)), now);
        self.capabilities = Some(response.capabilities);
        self.become_open(response.encoding.with_text_bodies());
    }

    fn read_report(&self, frame: FrameType, payload: &[u8]) -> Option<ProxySessionEvent> {
        if frame == FrameType::MetricsReport {
            return self
                .encoding
                .decode(payload)
                .ok()
                .map(|report| ProxySessionEvent::Metrics(Box::new(report)));
        }
        self.encoding.decode(payload).ok().map(|request| ProxySessionEvent::ConfigUpdate(Box::new(request)))
    }
}

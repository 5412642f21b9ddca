//! The agent's end of a connection, in bytes.

mod event;
mod read;
mod settings;
mod write;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use crate::machine::{
    AgentConnection, AgentEvent, AgentStats, AnswerError, CloseReason, ConnectionState, DecisionError, Tally,
    Timestamp, Violation, handshake::Stage,
};
use crate::wire::{
    ConfigUpdateRequest, Decoder, EncodeError, Encoding, ForwardRequest, ForwardResponse, FrameType,
    HealthStatus, MetricsReport, PROTOCOL_VERSION, RegistrationResponse,
};

use super::Intake;
use super::message::{EncodedAnswer, bounded, json, supported};
use super::spent::Spent;
pub use event::{AgentSessionEvent, PendingForward, Receipt};
use read::{read_frame, read_opening};
pub use settings::AgentSettings;

/// What the peer said in the handshake, from when it came until it is fetched.
#[derive(Clone, Debug, PartialEq)]
enum Peer {
    /// We dialled; the proxy's response.
    Registered(Option<Box<RegistrationResponse>>),
    /// The proxy dialled; its request.
    Dialled(Option<Box<ForwardRequest>>),
}

/// Buffers kept for events to come. As many as come at once.
const SPENT: usize = 32;

/// The agent's end of one connection: bytes in, bytes out, no I/O.
///
/// ```
/// use dialback::machine::Timestamp;
/// use dialback::session::{AgentSession, AgentSessionEvent};
/// use dialback::wire::{Answer, Event};
///
/// /// What an agent does when its connection to a proxy has something to tell.
/// fn act(session: &mut AgentSession, now: Timestamp) -> Result<(), Box<dyn std::error::Error>> {
///     while let Some(event) = session.poll_event() {
///         if let AgentSessionEvent::Event(receipt) = event {
///             let answer = match receipt.event() {
///                 Ok(Event::RequestHeaders(request)) if request.uri == "/" => Answer::allow(),
///                 Ok(_) => Answer::block(403),
///                 // What can't be read must be answered all the same.
///                 Err(_) => Answer::block(500),
///             };
///             session.answer(receipt.encode(answer)?, now)?;
///         }
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct AgentSession {
    settings: AgentSettings,
    machine: AgentConnection<Vec<u8>>,
    intake: Intake,
    peer: Peer,
    encoding: Encoding,
    /// How long the proxy asked us to stay away, if it refused us so.
    retry_after_ms: Option<u64>,
    last_exchange: Tally<u64>,
    /// The buffers of answers that are written, until nothing has happened for a while.
    spent: Tally<Spent>,
    clock: Tally<Timestamp>,
}

impl AgentSession {
    /// A connection that this agent has dialled: the registration is sent first.
    ///
    /// # Errors
    /// If the registration can't be encoded within the limit on opening frames.
    pub fn dial(settings: AgentSettings, now: Timestamp) -> Result<Self, EncodeError> {
        let mut registration = settings.registration.clone();
        registration.supported_encodings = supported(&settings.encodings);
        let offer = bounded(&registration, settings.max_opening_frame)?;
        let machine = AgentConnection::dial(settings.limits, offer, now);
        Ok(Self::new(settings, machine, Peer::Registered(None), now))
    }

    /// A connection that a proxy has dialled: its forward handshake is awaited.
    pub fn accept(settings: AgentSettings, now: Timestamp) -> Self {
        let machine = AgentConnection::accept(settings.limits, now);
        Self::new(settings, machine, Peer::Dialled(None), now)
    }

    fn new(settings: AgentSettings, machine: AgentConnection<Vec<u8>>, peer: Peer, now: Timestamp) -> Self {
        let decoder = Decoder::new(settings.max_opening_frame.min(settings.max_frame));
        Self {
            settings,
            machine,
            intake: Intake::new(decoder),
            peer,
            encoding: Encoding::Json,
            retry_after_ms: None,
            last_exchange: Tally::new(0),
            spent: Tally::default(),
            clock: Tally::new(now),
        }
    }

    // ---- questions ----

    /// Where the connection stands.
    pub fn state(&self) -> ConnectionState {
        self.machine.state()
    }

    /// How payloads are encoded on this connection; settled by the handshake.
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Whether the driver should read: not while a handshake is being decided, nor while a proxy
    /// that heeds no pause has filled the backlog.
    pub fn wants_bytes(&self) -> bool {
        self.machine.handshake() != Some(Stage::Deciding) && self.machine.wants_frames()
    }

    /// Events that came and were not answered.
    pub fn unanswered(&self) -> usize {
        self.machine.unanswered()
    }

    /// Whether the proxy has been asked to pause.
    pub fn is_pausing(&self) -> bool {
        self.machine.is_pausing()
    }

    /// Bytes allocated for input that was not acted on yet: half a frame, and what came behind an
    /// offer that is being decided. At most twice what was received, plus 1 KiB.
    pub const fn buffered_capacity(&self) -> usize {
        self.intake.capacity()
    }

    /// Counters.
    pub fn stats(&self) -> AgentStats {
        self.machine.stats()
    }

    /// Why the connection ended, once it has.
    pub const fn close_reason(&self) -> Option<&CloseReason> {
        self.machine.close_reason()
    }

    /// After a refusal: how long the proxy asks this agent to wait, in milliseconds, if another
    /// try makes sense at all.
    pub const fn retry_after_ms(&self) -> Option<u64> {
        self.retry_after_ms
    }

    /// The machine within, to be looked at.
    pub const fn machine(&self) -> &AgentConnection<Vec<u8>> {
        &self.machine
    }

    // ---- commands ----

    /// Accepts a proxy's forward handshake. One that does not offer this protocol's version is refused with a reason.
    ///
    /// # Errors
    /// [`DecisionError`] if the connection has ended meanwhile.
    pub fn accept_handshake(&mut self, pending: PendingForward, now: Timestamp) -> Result<(), DecisionError> {
        if !pending.request.supported_versions.contains(&PROTOCOL_VERSION) {
            let words =
                alloc::format!("protocol version {PROTOCOL_VERSION} is spoken here, and was not offered");
            return self.reject_handshake(pending, &words);
        }
        let PendingForward { request, pending } = pending;
        // The proxy's order counts: it names the best first.
        let ours = supported(&self.settings.encodings);
        let known = |encoding: &&Encoding| **encoding == Encoding::Json || ours.contains(encoding);
        let encoding = request.supported_encodings.iter().find(known).copied().unwrap_or_default();
        let response = ForwardResponse { success: true, encoding, ..self.forward_response() };
        self.machine.accept_offer(pending, json(&response), now)?;
        self.become_open(encoding.with_text_bodies());
        let held = mem::take(&mut self.intake.held);
        self.handle_bytes(&held, now);
        Ok(())
    }

    /// Refuses a proxy's forward handshake, with a reason for it to read.
    ///
    /// # Errors
    /// [`DecisionError`] if the connection has ended meanwhile.
    pub fn reject_handshake(&mut self, pending: PendingForward, reason: &str) -> Result<(), DecisionError> {
        let response = ForwardResponse { error: Some(reason.into()), ..self.forward_response() };
        self.machine.reject_offer(pending.pending, json(&response))
    }

    /// Answers an event.
    ///
    /// # Errors
    /// [`AnswerError`] if the event is not this side's to answer any more.
    pub fn answer(&mut self, answer: EncodedAnswer, now: Timestamp) -> Result<(), AnswerError> {
        *self.clock = now;
        self.machine.answer(answer.exchange, answer.payload, now)
    }

    /// Reports health. To announce a drain, use [`Self::drain`].
    ///
    /// # Errors
    /// [`AnswerError::NotOpen`] unless the connection is open.
    pub fn report_health(&mut self, health: &HealthStatus) -> Result<(), AnswerError> {
        self.report(FrameType::HealthStatus, health)
    }

    /// Reports metrics.
    ///
    /// # Errors
    /// [`AnswerError::NotOpen`] unless the connection is open.
    pub fn report_metrics(&mut self, report: &MetricsReport) -> Result<(), AnswerError> {
        self.report(FrameType::MetricsReport, report)
    }

    /// Asks the proxy for configuration.
    ///
    /// # Errors
    /// [`AnswerError::NotOpen`] unless the connection is open.
    pub fn request_config(&mut self, request: &ConfigUpdateRequest) -> Result<(), AnswerError> {
        self.report(FrameType::ConfigUpdateRequest, request)
    }

    fn report<T: serde::Serialize>(&mut self, frame: FrameType, message: &T) -> Result<(), AnswerError> {
        let mut payload = Vec::new();
        // Reports hold nothing that an encoding could refuse.
        match self.encoding.encode(message, &mut payload) {
            Ok(()) => self.machine.report(frame, payload),
            Err(_) => Err(AnswerError::NotOpen),
        }
    }

    /// Announces that this agent goes, answers what it has, and closes.
    pub fn drain(&mut self, deadline: Timestamp, now: Timestamp) {
        *self.clock = now;
        self.machine.drain(deadline, now);
    }

    /// Ends the connection now.
    pub fn close(&mut self) {
        self.machine.close();
    }

    // ---- facts ----

    /// Takes what the socket gave: any cut of the proxy's bytes.
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
            if self.machine.handshake() == Some(Stage::Deciding) {
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
                Some(stage) => read_opening(stage, frame, &self.settings.encodings, &mut self.peer),
                None => read_frame(self.encoding, frame, &mut self.last_exchange, &mut self.spent),
            };
            match outcome {
                Ok(frame) => self.machine.handle_frame(frame, now),
                Err(violation) => self.machine.handle_violation(violation),
            }
            self.settle_registration();
        }
        self.machine.handle_progress(self.intake.decoder.is_mid_frame(), completed, now);
    }

    /// The proxy ended its half of the stream.
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
        self.spent.clear();
        self.machine.handle_timeout(now);
    }

    // ---- polls ----

    /// When [`Self::handle_timeout`] should be called next, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.machine.poll_timeout()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<AgentSessionEvent> {
        if let Some(pending) = self.machine.poll_offer()
            && let Peer::Dialled(request) = &mut self.peer
        {
            let request = request.take().map(|boxed| *boxed).unwrap_or_default();
            return Some(AgentSessionEvent::Handshake(Box::new(PendingForward { request, pending })));
        }
        Some(match self.machine.poll_event()? {
            AgentEvent::Opened => AgentSessionEvent::Opened {
                response: match &mut self.peer {
                    Peer::Registered(response) => response.take(),
                    Peer::Dialled(_) => None,
                },
            },
            AgentEvent::Event { exchange, kind, id, echo, payload } => {
                AgentSessionEvent::Event(Box::new(Receipt {
                    exchange,
                    kind,
                    id,
                    echo,
                    encoding: self.encoding,
                    max_frame: self.settings.max_frame,
                    payload,
                }))
            }
            AgentEvent::Cancelled { exchange, reason } => AgentSessionEvent::Cancelled { exchange, reason },
            AgentEvent::Closed(reason) => AgentSessionEvent::Closed(reason),
        })
    }

    /// Appends to `out`, the bytes that the socket has not taken yet, what may be written now.
    /// Stops at the write mark. Returns whether it appended anything.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        while out.len() < self.settings.write_mark {
            let Some(frame) = self.machine.poll_transmit() else { break };
            if self.encode(frame, out).is_err() {
                // Every frame was measured before it was taken, so this is not the peer's doing.
                self.machine.close();
            }
        }
        out.len() > before
    }

    // ---- within ----

    /// Takes over what a registration's response settled, once the machine has opened on it.
    fn settle_registration(&mut self) {
        let Peer::Registered(Some(response)) = &self.peer else { return };
        self.retry_after_ms = response.retry_after_ms;
        if self.machine.handshake().is_none() && response.success {
            let encoding = response.encoding.unwrap_or_default();
            if self.encoding != encoding || self.intake.decoder.limit() != self.settings.max_frame {
                self.become_open(encoding);
            }
        }
    }

    fn become_open(&mut self, encoding: Encoding) {
        self.encoding = encoding;
        self.intake.decoder.set_limit(self.settings.max_frame);
    }

    /// A forward handshake's answer without the verdict.
    fn forward_response(&self) -> ForwardResponse {
        ForwardResponse {
            protocol_version: PROTOCOL_VERSION,
            capabilities: self.settings.registration.capabilities.clone(),
            success: false,
            error: None,
            encoding: Encoding::Json,
        }
    }
}

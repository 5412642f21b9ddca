//! The proxy's end of the conversation: what is asked in which order, and what must come of it.

use std::collections::BTreeMap;
use std::time::Duration;

use dialback::machine::{CloseReason, Ending, ExchangeId, Patience, Shut, SubmitError, Timestamp};
use dialback::session::{EncodedEvent, Grant, ProxySession, ProxySessionEvent, ProxySettings, SendError};
use dialback::wire::{Answer, CancelReason, Event, RequestBodyChunk, RequestHeaders};

use crate::{Application, words};

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// After everything else, the agent's process dies with requests in flight.
    Dies,
    /// The proxy drains.
    Drained,
    /// The agent drains.
    Leaves,
}

/// Where the conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Registering,
    Meeting,
    Body,
    /// As many are held as make the agent ask for a pause.
    Pausing,
    /// It was asked for; some events wait, and one that is held has been given up.
    Paused,
    /// An event times out.
    Late,
    /// Its late answer is awaited.
    Settling,
    Dying,
    /// Some are held, to be in flight when the drain begins.
    Holding,
    Draining,
    Leaving,
    Over,
}

/// What must become of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    Allow,
    Block,
    /// The piece of the body, in capitals.
    Capitals(u32),
    Cancelled,
    TimedOut,
    Lost,
}

/// The proxy's end of one connection.
pub struct Proxy {
    script: Script,
    step: Step,
    open: BTreeMap<ExchangeId, Expected>,
    look: Option<Timestamp>,
    requests: u32,
    failure: Option<String>,
}

impl Proxy {
    /// A conversation that has not begun.
    pub const fn new(script: Script) -> Self {
        Self {
            script,
            step: Step::Registering,
            open: BTreeMap::new(),
            look: None,
            requests: 0,
            failure: None,
        }
    }

    fn ask(
        &mut self,
        uri: &str,
        expected: Expected,
        session: &mut ProxySession,
        now: Timestamp,
    ) -> ExchangeId {
        self.requests += 1;
        let request = RequestHeaders::new(format!("request-{}", self.requests), "GET", uri);
        self.submit(request.into(), expected, words::PATIENCE, session, now)
    }

    fn submit(
        &mut self,
        event: Event,
        expected: Expected,
        within: Duration,
        session: &mut ProxySession,
        now: Timestamp,
    ) -> ExchangeId {
        let event = EncodedEvent::new(&event, session.encoding()).expect("an event has a form");
        let exchange = session.submit(event, now.after(within), Patience::Wait, now).expect("it is taken");
        self.open.insert(exchange, expected);
        exchange
    }

    /// What a question is told that would not wait.
    fn refusal(session: &mut ProxySession, now: Timestamp) -> Option<SendError> {
        let event = RequestHeaders::new("refused", "GET", "/").into();
        let event = EncodedEvent::new(&event, session.encoding()).expect("an event has a form");
        session.submit(event, now.after(words::PATIENCE), Patience::Now, now).err()
    }

    /// Goes on to the next step.
    fn enter(&mut self, step: Step, session: &mut ProxySession, now: Timestamp) {
        println!("  {:?}: {:?} -> {step:?}", self.script, self.step);
        self.step = step;
        match step {
            Step::Meeting => {
                for _ in 0..words::MEETING {
                    self.ask(words::MEET, Expected::Allow, session, now);
                }
                self.ask(words::BLOCK, Expected::Block, session, now);
            }
            Step::Body => {
                let headers = RequestHeaders::new("upload", "POST", "/upload");
                self.submit(headers.into(), Expected::Allow, words::PATIENCE, session, now);
                for index in 0..words::CHUNKS {
                    let mut chunk = RequestBodyChunk::new("upload", vec![letter(index); words::CHUNK]);
                    chunk.chunk_index = index;
                    self.submit(chunk.into(), Expected::Capitals(index), words::PATIENCE, session, now);
                }
            }
            Step::Pausing => self.hold(words::HIGH_MARK, session, now),
            Step::Paused => {
                for _ in 0..4 {
                    self.ask("/after-the-pause", Expected::Allow, session, now);
                }
                let refusal = Self::refusal(session, now);
                let wanted = Some(SendError::Refused(SubmitError::WouldWait(Shut::Paused)));
                self.demand(refusal == wanted, || format!("asked in a pause: {refusal:?}"));
                self.demand(session.waiting() == 4, || format!("{} wait in a pause", session.waiting()));
                self.give_up_one(session, now);
            }
            Step::Late => {
                let request = RequestHeaders::new("late", "GET", words::HOLD);
                self.submit(request.into(), Expected::TimedOut, words::IMPATIENCE, session, now);
            }
            Step::Dying => {
                for uri in [words::HOLD, words::HOLD, words::HOLD, words::DIE] {
                    self.ask(uri, Expected::Lost, session, now);
                }
            }
            Step::Holding => self.hold(3, session, now),
            Step::Draining => {
                session.drain(now.after(words::PATIENCE), now);
                let refusal = Self::refusal(session, now);
                let wanted = Some(SendError::Refused(SubmitError::Draining));
                self.demand(refusal == wanted, || format!("asked while draining: {refusal:?}"));
                self.give_up_one(session, now);
            }
            Step::Leaving => drop(self.ask(words::LEAVE, Expected::Allow, session, now)),
            Step::Registering | Step::Settling | Step::Over => {}
        }
        self.look = Some(now);
    }

    fn hold(&mut self, count: usize, session: &mut ProxySession, now: Timestamp) {
        for _ in 0..count {
            self.ask(words::HOLD, Expected::Allow, session, now);
        }
    }

    /// Cancels the first that is held.
    fn give_up_one(&mut self, session: &mut ProxySession, now: Timestamp) {
        let Some(mut first) = self.open.first_entry() else { return };
        *first.get_mut() = Expected::Cancelled;
        let cancelled = session.cancel(*first.key(), CancelReason::ClientDisconnect, now);
        self.demand(cancelled.is_ok(), || format!("cancelled: {cancelled:?}"));
    }

    /// The step after this one, once it is done.
    fn next(&self, session: &ProxySession) -> Option<Step> {
        let held = session.in_flight() == self.open.len();
        let quiet = self.open.is_empty();
        match self.step {
            Step::Meeting if quiet => Some(match self.script {
                Script::Dies => Step::Body,
                Script::Drained => Step::Holding,
                Script::Leaves => Step::Leaving,
            }),
            Step::Body if quiet => Some(Step::Pausing),
            Step::Pausing if session.shut() == Some(Shut::Paused) => Some(Step::Paused),
            Step::Paused if quiet => Some(Step::Late),
            Step::Late if quiet => Some(Step::Settling),
            Step::Settling if session.in_flight() == 0 => Some(Step::Dying),
            Step::Holding if held => Some(Step::Draining),
            Step::Registering
            | Step::Meeting
            | Step::Body
            | Step::Pausing
            | Step::Paused
            | Step::Late
            | Step::Settling
            | Step::Dying
            | Step::Holding
            | Step::Draining
            | Step::Leaving
            | Step::Over => None,
        }
    }

    fn handle_end(&mut self, exchange: ExchangeId, ending: &Ending<Vec<u8>>, session: &ProxySession) {
        let Some(expected) = self.open.remove(&exchange) else {
            return self.demand(false, || format!("{exchange} ended twice, or was never asked"));
        };
        let answer = match ending {
            Ending::Answered(payload) => session.encoding().decode::<Answer>(payload).ok(),
            Ending::Expired
            | Ending::TimedOut
            | Ending::Cancelled { .. }
            | Ending::Refused
            | Ending::Lost { .. } => None,
        };
        let fulfilled = match expected {
            Expected::Allow => answer.is_some_and(|answer| answer.is_allow()),
            Expected::Block => answer.is_some_and(|answer| answer.decision == Answer::block(403).decision),
            Expected::Capitals(index) => answer.is_some_and(|answer| is_capitals(&answer, index)),
            Expected::Cancelled => matches!(ending, Ending::Cancelled { written: true, .. }),
            Expected::TimedOut => *ending == Ending::TimedOut,
            Expected::Lost => *ending == (Ending::Lost { written: true }),
        };
        self.demand(fulfilled, || match ending {
            // A payload would fill the screen.
            Ending::Answered(payload) => {
                format!("{exchange}: {} bytes, expected {expected:?}", payload.len())
            }
            Ending::Expired
            | Ending::TimedOut
            | Ending::Cancelled { .. }
            | Ending::Refused
            | Ending::Lost { .. } => format!("{exchange} ended with {ending:?}, expected {expected:?}"),
        });
    }

    fn handle_close(&mut self, reason: &CloseReason) {
        let fulfilled = match self.step {
            Step::Dying => matches!(reason, CloseReason::PeerClosed | CloseReason::TransportLost),
            Step::Draining => *reason == CloseReason::Drained,
            Step::Leaving => *reason == CloseReason::PeerDrained,
            Step::Registering
            | Step::Meeting
            | Step::Body
            | Step::Pausing
            | Step::Paused
            | Step::Late
            | Step::Settling
            | Step::Holding
            | Step::Over => false,
        };
        let step = self.step;
        self.demand(fulfilled, || format!("closed in {step:?}: {reason}"));
        let left = self.open.len();
        self.demand(left == 0, || format!("{left} were not told of the end"));
        println!("  {:?}: {reason}", self.script);
        self.step = Step::Over;
        self.look = None;
    }

    fn demand(&mut self, fulfilled: bool, otherwise: impl FnOnce() -> String) {
        if !fulfilled {
            self.failure.get_or_insert_with(otherwise);
        }
    }
}

fn letter(index: u32) -> u8 {
    b"abcdefghijklmnopqrstuvwxyz"[index as usize % 26]
}

fn is_capitals(answer: &Answer, index: u32) -> bool {
    let capital = letter(index).to_ascii_uppercase();
    answer.request_body_mutation.as_ref().is_some_and(|mutation| {
        let data = mutation.data.as_deref().unwrap_or_default();
        mutation.chunk_index == index
            && data.len() == words::CHUNK
            && data.iter().all(|byte| *byte == capital)
    })
}

impl Application for Proxy {
    type Session = ProxySession;

    fn begin(&mut self, now: Timestamp) -> ProxySession {
        ProxySession::accept(ProxySettings::default(), now)
    }

    fn handle_event(&mut self, event: ProxySessionEvent, session: &mut ProxySession, now: Timestamp) {
        match event {
            ProxySessionEvent::Registration(pending) => {
                let id = pending.registration.agent_id.clone();
                self.demand(id == words::AGENT, || format!("{id:?} has registered"));
                let grant = Grant { connection_id: format!("{:?}", self.script) };
                let accepted = session.accept_registration(*pending, grant, now);
                self.demand(accepted.is_ok(), || format!("accepting: {accepted:?}"));
            }
            ProxySessionEvent::Opened => self.enter(Step::Meeting, session, now),
            ProxySessionEvent::Ended { exchange, ending } => self.handle_end(exchange, &ending, session),
            ProxySessionEvent::Closed(reason) => self.handle_close(&reason),
            ProxySessionEvent::Health(_)
            | ProxySessionEvent::Metrics(_)
            | ProxySessionEvent::ConfigUpdate(_)
            | ProxySessionEvent::Draining => {}
        }
        if self.failure.is_some() {
            session.close();
        }
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.look
    }

    fn handle_timeout(&mut self, session: &mut ProxySession, now: Timestamp) {
        if self.look.is_some_and(|look| look <= now) {
            self.look = Some(now.after(Duration::from_millis(2)));
            if let Some(step) = self.next(session) {
                self.enter(step, session, now);
            }
        }
        if self.failure.is_some() {
            session.close();
        }
    }

    fn verdict(&self) -> Result<(), String> {
        match &self.failure {
            Some(failure) => Err(failure.clone()),
            None if self.step == Step::Over => Ok(()),
            None => Err(format!("it stopped in {:?}", self.step)),
        }
    }
}

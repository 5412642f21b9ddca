//! The agent's end of the conversation.

use std::process;

use dialback::machine::{AgentLimits, CloseReason, InboxLimits, Timestamp};
use dialback::session::{AgentSession, AgentSessionEvent, AgentSettings, Receipt};
use dialback::wire::{
    Answer, BodyMutation, Capabilities, Event, EventKind, Registration, RequestBodyChunk, RequestHeaders,
};

use crate::{Application, words};

/// Answers what [`words`] says.
#[derive(Default)]
pub struct Agent {
    meeting: Vec<Receipt>,
    held: Vec<Receipt>,
    closed: Option<CloseReason>,
}

impl Agent {
    /// How an agent of this conversation behaves.
    pub fn settings() -> AgentSettings {
        let kinds = [EventKind::RequestHeaders, EventKind::RequestBodyChunk];
        let mut capabilities = Capabilities::new(words::AGENT, kinds);
        capabilities.features.cancellation = true;
        capabilities.features.flow_control = true;
        capabilities.features.exchange_ids = true;
        let inbox =
            InboxLimits { high_mark: words::HIGH_MARK, low_mark: words::LOW_MARK, ..InboxLimits::default() };
        AgentSettings {
            limits: AgentLimits { inbox, ..AgentLimits::default() },
            ..AgentSettings::new(Registration::new(capabilities))
        }
    }

    /// A piece of a body, in capitals.
    pub fn capitals(chunk: &RequestBodyChunk) -> Answer {
        let data = chunk.data.to_ascii_uppercase();
        Answer::allow().with_request_body(BodyMutation::replace(chunk.chunk_index, data))
    }

    fn handle_headers(
        &mut self,
        request: &RequestHeaders,
        receipt: Receipt,
        session: &mut AgentSession,
        now: Timestamp,
    ) {
        match request.uri.as_str() {
            words::MEET => {
                self.meeting.push(receipt);
                if self.meeting.len() == words::MEETING {
                    for receipt in self.meeting.drain(..) {
                        answer(session, &receipt, Answer::allow(), now);
                    }
                }
            }
            words::HOLD => self.held.push(receipt),
            words::DIE => process::exit(words::DEATH),
            words::LEAVE => {
                answer(session, &receipt, Answer::allow(), now);
                session.drain(now.after(words::PATIENCE), now);
            }
            words::BLOCK => answer(session, &receipt, Answer::block(403), now),
            _ => answer(session, &receipt, Answer::allow(), now),
        }
    }
}

fn answer(session: &mut AgentSession, receipt: &Receipt, answer: Answer, now: Timestamp) {
    let encoded = receipt.encode(answer).expect("the answer fits a frame");
    // Fails only if the connection has ended; then nobody waits.
    let _ = session.answer(encoded, now);
}

impl Application for Agent {
    type Session = AgentSession;

    fn begin(&mut self, now: Timestamp) -> AgentSession {
        AgentSession::dial(Self::settings(), now).expect("the registration fits a frame")
    }

    fn handle_event(&mut self, event: AgentSessionEvent, session: &mut AgentSession, now: Timestamp) {
        match event {
            AgentSessionEvent::Event(receipt) => match receipt.event() {
                Ok(Event::RequestHeaders(request)) => self.handle_headers(&request, *receipt, session, now),
                Ok(Event::RequestBodyChunk(chunk)) => answer(session, &receipt, Self::capitals(&chunk), now),
                // An event that can't be read must be answered all the same, and not be let through.
                _ => answer(session, &receipt, Answer::block(500), now),
            },
            AgentSessionEvent::Cancelled { exchange, .. } => {
                if self.held.iter().any(|receipt| receipt.exchange == exchange) {
                    for receipt in self.held.drain(..) {
                        answer(session, &receipt, Answer::allow(), now);
                    }
                }
            }
            AgentSessionEvent::Closed(reason) => self.closed = Some(reason),
            // Nobody dials this agent.
            AgentSessionEvent::Handshake(pending) => drop(session.reject_handshake(*pending, "not here")),
            AgentSessionEvent::Opened { .. } => {}
        }
    }

    fn verdict(&self) -> Result<(), String> {
        match &self.closed {
            Some(CloseReason::PeerClosed | CloseReason::Drained) => Ok(()),
            other => Err(format!("the agent's connection ended otherwise: {other:?}")),
        }
    }
}

//! The proxy's role in a driver: who is let in, and what becomes of the session's events.

use std::mem;
use std::task::Waker;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::Instrument;

use crate::machine::admission::{RegistrationRefusal, check_agent_id};
use crate::machine::{CloseReason, Ending, Timestamp};
use crate::session::{Grant, PendingRegistration, ProxySession, ProxySessionEvent};

use super::accept::{AcceptError, Entry};
use super::admission::Seat;
use super::denied::millis;
use super::driver::Role;
use super::handle::{AgentHandle, Connection, Identity};
use super::hook::{Peer, Question, Task};
use super::names::connection_id;
use super::shared::{Core, Shared};
use super::side::{Notice, Report};
use super::slot::Outcome;
use super::sync::{Arc, oneshot, spawn, watch};

/// Where a registered agent's handle goes.
pub(crate) enum Delivery {
    /// To whoever calls `accept` on the listener next.
    Queue(mpsc::Sender<AgentHandle>),
    /// To the one who brought the stream.
    Caller(oneshot::Sender<Result<AgentHandle, AcceptError>>),
}

/// A place that is kept for a handle from before the agent is told "success".
enum Place {
    Queue(mpsc::OwnedPermit<AgentHandle>),
    Caller(oneshot::Sender<Result<AgentHandle, AcceptError>>),
}

impl Place {
    /// Back to where it came from, for the news that there will be no handle. It is not dropped
    /// here, with the lock held: that may wake who waits for it.
    fn give_up(self) -> Progress {
        match self {
            Self::Queue(permit) => Progress::Opening(Delivery::Queue(permit.release())),
            Self::Caller(caller) => Progress::Opening(Delivery::Caller(caller)),
        }
    }
}

/// A registration for which everything is reserved, before it is told.
struct Candidate {
    pending: PendingRegistration,
    seat: Seat,
    place: Place,
    identity: Box<Identity>,
}

/// How far a connection has come.
enum Progress {
    /// An agent's registration, or its answer to our handshake, is awaited.
    Opening(Delivery),
    /// The hook is being asked.
    Deciding(Box<Candidate>),
    /// A registration was accepted.
    Admitted(Place, Box<Identity>),
    /// The handle is on its way, or the connection has ended.
    Told,
}

/// What is to be told to the accepting side once the lock is free.
enum News {
    Asked(Box<Question>),
    Opened(Place, Box<Identity>),
    Failed(Delivery, AcceptError),
}

/// The proxy's role.
pub(crate) struct ProxyRole {
    request_timeout: Duration,
    progress: Progress,
    // Before `entry`, so that whoever sees the last entry go finds no seat taken.
    seat: Option<Seat>,
    /// The acceptor through which the agent came; `None` where we dialled.
    entry: Option<Entry>,
    /// The hook's task, while it is wanted.
    hook: Option<Task>,
    refusal: Option<RegistrationRefusal>,
    news: Option<News>,
    notices: Vec<Notice>,
    closed: watch::Sender<Option<CloseReason>>,
    reason: Option<CloseReason>,
}

impl ProxyRole {
    pub(crate) fn new(entry: Option<Entry>, delivery: Delivery, request_timeout: Duration) -> Self {
        Self {
            request_timeout,
            progress: Progress::Opening(delivery),
            seat: None,
            entry,
            hook: None,
            refusal: None,
            news: None,
            notices: Vec::new(),
            closed: watch::Sender::new(None),
            reason: None,
        }
    }

    /// Everything a registration needs is reserved first; then the agent is told "success".
    fn handle_registration(
        &mut self,
        pending: PendingRegistration,
        session: &mut ProxySession,
        now: Timestamp,
    ) {
        let agent_id = pending.registration.agent_id.clone();
        let reserved = self.reserve(&pending);
        let (seat, place) = match reserved {
            Ok(reserved) => reserved,
            Err(refusal) => return self.refuse(pending, refusal, session),
        };
        let registration = &pending.registration;
        let question = self.entry.as_ref().and_then(|entry| entry.question(registration));
        let identity = Box::new(Identity {
            connection_id: connection_id(&agent_id, now),
            agent_id,
            capabilities: registration.capabilities.clone(),
            metadata: registration.metadata.clone(),
            peer: self.entry.as_ref().map_or(Peer::Other, |entry| entry.peer().clone()),
        });
        let candidate = Candidate { pending, seat, place, identity };
        match question {
            None => self.admit(candidate, session, now),
            Some(question) => {
                self.progress = Progress::Deciding(Box::new(candidate));
                self.news = Some(News::Asked(Box::new(question)));
            }
        }
    }

    fn admit(&mut self, candidate: Candidate, session: &mut ProxySession, now: Timestamp) {
        let Candidate { pending, seat, place, identity } = candidate;
        let grant = Grant { connection_id: identity.connection_id.clone() };
        if session.accept_registration(pending, grant, now).is_ok() {
            self.seat = Some(seat);
            self.progress = Progress::Admitted(place, identity);
        } else {
            // The connection has ended, which is told on its own.
            self.progress = place.give_up();
        }
    }

    fn refuse(
        &mut self,
        pending: PendingRegistration,
        refusal: RegistrationRefusal,
        session: &mut ProxySession,
    ) {
        let words = refusal.to_string();
        // An id that was refused may hold anything; the log quotes it.
        let agent_id = clip(&pending.registration.agent_id);
        tracing::info!(?agent_id, reason = %words, "registration refused");
        // Fails only if the connection has ended, which is told on its own.
        let _ = session.reject_registration(pending, &words, refusal.retry_after().map(millis));
        if let Some(entry) = &self.entry {
            entry.count(&refusal);
        }
        self.refusal = Some(refusal);
    }

    fn reserve(&mut self, pending: &PendingRegistration) -> Result<(Seat, Place), RegistrationRefusal> {
        let Some(entry) = &self.entry else { return Err(RegistrationRefusal::ShuttingDown) };
        let seat = entry.judge(&pending.registration)?;
        let place = match mem::replace(&mut self.progress, Progress::Told) {
            Progress::Opening(Delivery::Queue(queue)) => {
                Place::Queue(queue.clone().try_reserve_owned().map_err(|error| {
                    self.progress = Progress::Opening(Delivery::Queue(queue));
                    match error {
                        mpsc::error::TrySendError::Full(_) => RegistrationRefusal::Full,
                        mpsc::error::TrySendError::Closed(_) => RegistrationRefusal::ShuttingDown,
                    }
                })?)
            }
            Progress::Opening(Delivery::Caller(caller)) => Place::Caller(caller),
            Progress::Admitted(place, _) => place,
            Progress::Deciding(candidate) => candidate.place,
            Progress::Told => return Err(RegistrationRefusal::ShuttingDown),
        };
        Ok((seat, place))
    }

    fn ask(&mut self, question: Question, shared: &Arc<Shared<ProxySession>>) {
        let shared = Arc::clone(shared);
        let asking = async move {
            let verdict = question.answer().await;
            shared.command(|core, _| core.side.verdict = Some(verdict));
        };
        self.hook = Some(Task(spawn(asking.in_current_span()).abort_handle()));
    }

    fn handle_opened(&mut self, session: &ProxySession, now: Timestamp) {
        match mem::replace(&mut self.progress, Progress::Told) {
            Progress::Admitted(place, identity) => {
                tracing::Span::current()
                    .record("agent_id", identity.agent_id.as_str())
                    .record("connection_id", identity.connection_id.as_str());
                tracing::info!("agent registered");
                self.news = Some(News::Opened(place, identity));
            }
            Progress::Opening(Delivery::Caller(caller)) => {
                let capabilities = session.capabilities().cloned().unwrap_or_default();
                let agent_id = capabilities.agent_id.clone();
                // A listening agent's id is not judged, so it goes into no name unless it could.
                let known = if check_agent_id(&agent_id).is_ok() { agent_id.as_str() } else { "agent" };
                let connection_id = connection_id(known, now);
                tracing::Span::current().record("connection_id", connection_id.as_str());
                tracing::info!(agent_id = ?clip(&agent_id), "agent connected");
                let identity =
                    Identity { agent_id, connection_id, capabilities, metadata: None, peer: Peer::Other };
                self.news = Some(News::Opened(Place::Caller(caller), Box::new(identity)));
            }
            Progress::Opening(Delivery::Queue(_)) | Progress::Deciding(_) | Progress::Told => {}
        }
        if let Some(entry) = &mut self.entry {
            entry.leave_opening();
        }
    }

    fn handle_closed(&mut self, reason: CloseReason, core: &mut Core<ProxySession>) {
        tracing::info!(%reason, "connection closed");
        self.notices.push(core.side.close());
        let progress = match mem::replace(&mut self.progress, Progress::Told) {
            Progress::Deciding(candidate) => {
                // Not asked yet, perhaps; then it need not be.
                self.news = None;
                candidate.place.give_up()
            }
            Progress::Admitted(place, _) => place.give_up(),
            progress @ (Progress::Opening(_) | Progress::Told) => progress,
        };
        if let Progress::Opening(delivery) = progress {
            let error = match self.refusal.take() {
                Some(refusal) => AcceptError::Refused(refusal),
                None => AcceptError::Closed(reason.clone()),
            };
            self.news = Some(News::Failed(delivery, error));
        }
        self.reason = Some(reason);
    }
}

impl Role for ProxyRole {
    type Session = ProxySession;

    fn resume(&mut self, core: &mut Core<ProxySession>, now: Timestamp) {
        let Some(verdict) = core.side.verdict.take() else { return };
        let candidate = match mem::replace(&mut self.progress, Progress::Told) {
            Progress::Deciding(candidate) => *candidate,
            progress @ (Progress::Opening(_) | Progress::Admitted(..) | Progress::Told) => {
                self.progress = progress;
                return;
            }
        };
        match verdict {
            Ok(()) => self.admit(candidate, &mut core.session, now),
            Err(refusal) => {
                self.progress = candidate.place.give_up();
                self.refuse(candidate.pending, refusal, &mut core.session);
            }
        }
    }

    fn handle_event(
        &mut self,
        event: ProxySessionEvent,
        core: &mut Core<ProxySession>,
        now: Timestamp,
        wakers: &mut Vec<Waker>,
    ) {
        match event {
            ProxySessionEvent::Registration(pending) => {
                self.handle_registration(*pending, &mut core.session, now);
            }
            ProxySessionEvent::Opened => self.handle_opened(&core.session, now),
            ProxySessionEvent::Ended { exchange, ending } => {
                let reason = match ending {
                    Ending::Lost { .. } => core.session.close_reason().cloned(),
                    Ending::Answered(_)
                    | Ending::Expired
                    | Ending::TimedOut
                    | Ending::Cancelled { .. }
                    | Ending::Refused => None,
                };
                // No slot: the caller has gone, and needs no telling.
                let slot = core.side.slots.remove(&exchange);
                wakers.extend(slot.and_then(|slot| slot.finish(Outcome { ending, reason })));
            }
            ProxySessionEvent::Health(health) => core.side.set_health(health, &mut self.notices),
            ProxySessionEvent::Metrics(report) => {
                core.side.report(Report::Metrics(Arc::from(report)), &mut self.notices);
            }
            ProxySessionEvent::ConfigUpdate(request) => {
                core.side.report(Report::ConfigUpdate(Arc::from(request)), &mut self.notices);
            }
            ProxySessionEvent::Draining => tracing::info!("connection drains"),
            ProxySessionEvent::Closed(reason) => self.handle_closed(reason, core),
        }
    }

    fn settle(&mut self, core: &mut Core<ProxySession>, wakers: &mut Vec<Waker>) {
        core.side.gate.settle(&core.session, wakers);
    }

    fn act(&mut self, shared: &Arc<Shared<ProxySession>>) -> usize {
        if !matches!(self.progress, Progress::Deciding(_)) {
            self.hook = None;
        }
        for notice in self.notices.drain(..) {
            notice.tell();
        }
        match self.news.take() {
            None => {}
            Some(News::Asked(question)) => self.ask(*question, shared),
            Some(News::Failed(Delivery::Queue(_), _)) => {}
            Some(News::Failed(Delivery::Caller(caller), error)) => {
                // Whoever brought the stream may have gone.
                let _ = caller.send(Err(error));
            }
            Some(News::Opened(place, identity)) => {
                let encoding = shared.look(|core| core.session.encoding());
                let handle = AgentHandle {
                    connection: Arc::new(Connection {
                        shared: Arc::clone(shared),
                        identity: *identity,
                        encoding,
                        request_timeout: self.request_timeout,
                        closed: self.closed.subscribe(),
                    }),
                };
                // A handle that nobody takes is dropped here, which closes the connection.
                match place {
                    Place::Queue(permit) => drop(permit.send(handle)),
                    Place::Caller(caller) => drop(caller.send(Ok(handle))),
                }
            }
        }
        if let Some(reason) = self.reason.take() {
            self.closed.send_replace(Some(reason));
        }
        0
    }
}

/// The beginning of a text from the peer, short enough for a log.
pub(super) fn clip(text: &str) -> &str {
    const LONGEST: usize = 128;
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default()
}

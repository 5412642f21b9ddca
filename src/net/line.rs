//! One connection that is kept up: dialled, driven, and dialled again.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::time::Duration;

use tracing::Instrument;

use crate::machine::{AgentStats, Attempt, Blame, CloseReason, ConnectionState, Histogram, Next, Pace};
use crate::session::AgentSession;
use crate::wire::LoadMetrics;

use super::agent::{AgentConfig, AgentError};
use super::clock::Clock;
use super::crew::Crew;
use super::driver::{Driver, Stream};
use super::handler::Handler;
use super::shared::Shared;
use super::sync::{Arc, Mutex, lock};
use super::worker::{AgentRole, AgentSide, guard};

/// Where a connection that is kept up stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// The proxy is dialled, or about to be.
    Dialling,
    /// There is a connection; where it stands.
    Connected(ConnectionState),
    /// There is none, and after a while the proxy is dialled again.
    Waiting {
        /// The proxy's words, if it was a refusal that ended the last attempt.
        refused: Option<String>,
    },
    /// Shut down.
    Stopped,
    /// Ended for good, and why.
    Failed(AgentError),
}

/// A connection that is kept up, as those see it who stop and question it.
pub(super) struct Line {
    target: usize,
    desk: Mutex<Desk>,
}

struct Desk {
    state: LinkState,
    /// The present connection, or the last.
    connection: Option<Arc<Shared<AgentSession>>>,
    /// What the connections before it had seen.
    past: Tally,
}

/// What connections have seen, and what is under way on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) stats: AgentStats,
    pub(super) running: usize,
    pub(super) unanswered: usize,
    latency: Histogram,
    timed_out: u64,
}

impl Tally {
    pub(super) fn plus(mut self, other: Self) -> Self {
        self.latency.merge(&other.latency);
        Self {
            stats: self.stats.plus(other.stats),
            running: self.running.saturating_add(other.running),
            unanswered: self.unanswered.saturating_add(other.unanswered),
            latency: self.latency,
            timed_out: self.timed_out.saturating_add(other.timed_out),
        }
    }

    fn of(shared: &Shared<AgentSession>) -> Self {
        shared.look(|core| Self {
            stats: core.session.stats(),
            running: core.session.machine().running(),
            unanswered: core.session.unanswered(),
            latency: core.side.latency,
            timed_out: core.side.timed_out,
        })
    }

    /// The same as it goes into a report. This side refuses no event, so none are told of.
    pub(super) fn load(&self) -> LoadMetrics {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let millis = |span: Duration| span.as_secs_f32() * 1_000.0;
        LoadMetrics {
            in_flight: count(self.running),
            queue_depth: count(self.unanswered.saturating_sub(self.running)),
            avg_latency_ms: millis(self.latency.mean()),
            p50_latency_ms: millis(self.latency.quantile(0.5)),
            p95_latency_ms: millis(self.latency.quantile(0.95)),
            p99_latency_ms: millis(self.latency.quantile(0.99)),
            requests_processed: self.stats.answered.saturating_add(self.stats.answered_unseen),
            requests_rejected: 0,
            requests_timed_out: self.timed_out,
        }
    }
}

impl Line {
    /// A line to the proxy of this number.
    pub(super) fn new(target: usize) -> Arc<Self> {
        let desk = Desk { state: LinkState::Dialling, connection: None, past: Tally::default() };
        Arc::new(Self { target, desk: Mutex::new(desk) })
    }

    pub(super) const fn target(&self) -> usize {
        self.target
    }

    /// The present connection, or the last.
    pub(super) fn connection(&self) -> Option<Arc<Shared<AgentSession>>> {
        lock(&self.desk).connection.clone()
    }

    /// Where it stands.
    pub(super) fn state(&self) -> LinkState {
        let desk = lock(&self.desk);
        let (state, connection) = (desk.state.clone(), desk.connection.clone());
        drop(desk);
        match (state, connection) {
            (LinkState::Connected(_), Some(shared)) => {
                LinkState::Connected(shared.look(|core| core.session.state()))
            }
            (state, _) => state,
        }
    }

    /// What all its connections have seen.
    pub(super) fn tally(&self) -> Tally {
        let desk = lock(&self.desk);
        let (past, connection) = (desk.past, desk.connection.clone());
        drop(desk);
        connection.map_or(past, |shared| past.plus(Tally::of(&shared)))
    }

    pub(super) fn attach(&self, shared: &Arc<Shared<AgentSession>>) {
        let before = lock(&self.desk).connection.clone();
        let seen = before.map(|shared| Tally::of(&shared)).unwrap_or_default();
        let mut desk = lock(&self.desk);
        desk.past = desk.past.plus(Tally { running: 0, unanswered: 0, ..seen });
        let before = desk.connection.replace(Arc::clone(shared));
        desk.state = LinkState::Connected(ConnectionState::Opening);
        drop(desk);
        // With the lock free: what hangs on it, its driver's waker for instance, is not known here.
        drop(before);
    }

    fn set(&self, state: LinkState) {
        lock(&self.desk).state = state;
    }
}

/// What keeps one line up.
pub(super) struct Keeper<H> {
    pub(super) config: AgentConfig,
    pub(super) handler: Arc<H>,
    pub(super) crew: Arc<Crew>,
    pub(super) line: Arc<Line>,
    /// The proxy's name on this side; empty where there is only one.
    pub(super) to: Arc<str>,
}

/// How a connection ended, as far as dialling again is concerned.
struct End {
    reason: CloseReason,
    retry_after: Option<Duration>,
    /// How long it was open, if it ever was.
    lived: Option<Duration>,
}

impl End {
    fn result(self) -> Result<(), AgentError> {
        if let CloseReason::Refused(words) = self.reason {
            return Err(AgentError::Refused(words));
        }
        match self.reason.blame() {
            Blame::Local => Ok(()),
            Blame::Peer | Blame::Transport => Err(AgentError::Lost(self.reason)),
        }
    }

    fn attempt(&self) -> Attempt {
        match (&self.reason, self.retry_after, self.lived) {
            (CloseReason::Refused(_), Some(asked), _) => Attempt::RefusedFor(asked),
            (CloseReason::Refused(_), None, _) => Attempt::Refused,
            (_, _, Some(lived)) => Attempt::Ended { lived },
            (_, _, None) => Attempt::Failed,
        }
    }
}

impl<H: Handler> Keeper<H> {
    /// Dials until it is told not to, or refused for good.
    pub(super) async fn keep<C, F, IO>(self, connect: C) -> Result<(), AgentError>
    where
        C: Fn() -> F + Send + Sync,
        F: Future<Output = io::Result<IO>> + Send,
        IO: Stream,
    {
        let result = self.dial_and_dial_again(connect).await;
        self.settle(&result);
        result
    }

    /// Drives the one connection that a session was made for.
    pub(super) async fn serve<IO: Stream>(
        self,
        session: AgentSession,
        clock: Clock,
        io: IO,
    ) -> Result<(), AgentError> {
        let result = self.drive(session, clock, io).await.result();
        self.settle(&result);
        result
    }

    fn settle(&self, result: &Result<(), AgentError>) {
        self.line.set(match result {
            Ok(()) => LinkState::Stopped,
            Err(error) => LinkState::Failed(error.clone()),
        });
    }

    async fn dial_and_dial_again<C, F, IO>(&self, connect: C) -> Result<(), AgentError>
    where
        C: Fn() -> F + Send + Sync,
        F: Future<Output = io::Result<IO>> + Send,
        IO: Stream,
    {
        let mut pace = Pace::new(self.config.reconnect, self.config.retry_refusals);
        let limit = self.config.agent.limits.handshake_timeout;
        while !self.crew.is_stopping() {
            self.line.set(LinkState::Dialling);
            let dialled = tokio::select! {
                biased;
                () = self.crew.stopping() => return Ok(()),
                dialled = tokio::time::timeout(limit, connect()) => dialled,
            };
            let end = match dialled.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(io) => {
                    let clock = Clock::start();
                    let session = AgentSession::dial(self.config.agent.clone(), clock.now())?;
                    Some(self.drive(session, clock, io).await)
                }
                Err(error) => {
                    tracing::info!(to = &*self.to, %error, "can't reach the proxy");
                    None
                }
            };
            if self.crew.is_stopping() {
                break;
            }
            let attempt = end.as_ref().map_or(Attempt::Failed, End::attempt);
            let wait = match (pace.next(attempt, random()), end) {
                (Next::Wait(wait), _) => wait,
                (Next::GiveUp, Some(end)) => return end.result(),
                // Only a refusal is given up on.
                (Next::GiveUp, None) => return Ok(()),
            };
            tracing::debug!(to = &*self.to, ?wait, "dialling again after a while");
            tokio::select! {
                biased;
                () = self.crew.stopping() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        Ok(())
    }

    /// Drives one connection to its end.
    async fn drive<IO: Stream>(&self, session: AgentSession, clock: Clock, io: IO) -> End {
        let shared = Arc::new(Shared::new(session, AgentSide::default(), clock));
        self.line.attach(&shared);
        self.crew.handle_attached(&shared);
        let role =
            AgentRole::new(Arc::clone(&self.handler), self.config.cancel_grace, Arc::clone(&self.crew));
        let span = tracing::info_span!(
            "proxy",
            to = &*self.to,
            agent_id = self.config.agent.registration.agent_id.as_str(),
            connection_id = tracing::field::Empty
        );
        Driver::new(Arc::clone(&shared), role, io, self.config.linger).instrument(span).await;
        let now = clock.now();
        let end = shared.look(|core| End {
            reason: core.session.close_reason().cloned().unwrap_or(CloseReason::TransportLost),
            retry_after: core.session.retry_after_ms().map(Duration::from_millis),
            lived: core.side.opened.map(|opened| now.since(opened)),
        });
        self.handle_ended(&end);
        end
    }

    fn handle_ended(&self, end: &End) {
        let CloseReason::Refused(words) = &end.reason else {
            return self.line.set(LinkState::Waiting { refused: None });
        };
        self.line.set(LinkState::Waiting { refused: Some(words.clone()) });
        let to = &*self.to;
        match end.retry_after {
            Some(asked) => tracing::info!(to, reason = %words, ?asked, "refused for now"),
            None => {
                tracing::warn!(to, reason = %words, retry = ?self.config.retry_refusals, "refused");
                guard(|| self.handler.on_refused(words));
            }
        }
    }
}

/// A number that differs between agents, connections and calls. Nothing secret hangs on it.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ_and_spread() {
        let numbers: std::collections::BTreeSet<u64> = (0..100).map(|_| random()).collect();
        assert_eq!(numbers.len(), 100);
        assert!(numbers.iter().any(|n| *n < u64::MAX / 4) && numbers.iter().any(|n| *n > u64::MAX / 4 * 3));
    }

    #[test]
    fn a_tally_is_a_load() {
        let mut latency = Histogram::default();
        latency.record(Duration::from_millis(4));
        let stats = AgentStats { answered: 5, answered_unseen: 2, ..AgentStats::default() };
        let tally = Tally { stats, running: 3, unanswered: 10, latency, timed_out: 1 };
        let load = tally.plus(tally).load();
        assert_eq!((load.in_flight, load.queue_depth), (6, 14));
        assert_eq!((load.requests_processed, load.requests_timed_out), (14, 2));
        assert!((load.avg_latency_ms - 4.0).abs() < 0.001);
        assert!(load.p99_latency_ms >= 4.0 && load.p99_latency_ms < 8.2);
        assert_eq!(Tally::default().load(), LoadMetrics::default());
    }

    #[test]
    fn an_end_says_how_the_attempt_came_out() {
        let end = |reason, retry_after, lived| End { reason, retry_after, lived }.attempt();
        let (no, second) = (|| CloseReason::Refused("no".into()), Duration::from_secs(1));
        assert_eq!(end(no(), Some(second), None), Attempt::RefusedFor(second));
        assert_eq!(end(no(), None, None), Attempt::Refused);
        assert_eq!(end(CloseReason::PeerClosed, None, Some(second)), Attempt::Ended { lived: second });
        assert_eq!(end(CloseReason::PeerClosed, None, None), Attempt::Failed);
    }
}

//! One end of a connection with all that a driver needs beside its socket.

use core::time::Duration;

use crate::machine::Timestamp;

use super::Session;
use super::outgoing::Outgoing;

/// A session, the bytes that its socket has not taken yet, and the orderly end of the stream:
/// what every driver would otherwise write for itself. No I/O and no clock.
///
/// ```text
/// running --the session closes--> closing --all written, shut, and the peer's end seen--> done
///    |                               '--linger over, or the transport lost----------------^
///    |--the session closes, and nothing is to be written any more-------------------------|
///    '--a write fails--> deaf --the peer's end, or linger over: the session closes--------'
/// ```
///
/// A driver does this, in any order, until [`Self::is_done`]:
///
/// 1. Reads while [`Self::wants_bytes`], and tells what came by `handle_bytes`, `handle_eof` or
///    `handle_transport_lost`.
/// 2. Calls [`Self::poll_event`] until it returns `None`, and acts on each event through
///    [`Self::session_mut`].
/// 3. Writes what [`Self::unwritten`] gives, and tells how much the socket took by
///    [`Self::handle_written`].
/// 4. Ends its half of the stream when [`Self::wants_shutdown`], and says so by
///    [`Self::handle_shutdown`].
/// 5. Waits for the socket, for a command, or until [`Self::poll_timeout`], and calls
///    [`Self::handle_timeout`].
///
/// ```
/// use std::time::Duration;
/// use dialback::machine::Timestamp;
/// use dialback::session::{AgentSession, AgentSettings, Endpoint, ProxySession, ProxySettings};
/// use dialback::session::{AgentSessionEvent, Grant, ProxySessionEvent};
/// use dialback::wire::{Capabilities, EventKind, Registration};
///
/// let now = Timestamp::ZERO;
/// let linger = Duration::from_secs(1);
/// let registration = Registration::new(Capabilities::new("a", [EventKind::RequestHeaders]));
/// let mut agent = Endpoint::new(AgentSession::dial(AgentSettings::new(registration), now)?, linger);
/// let mut proxy = Endpoint::new(ProxySession::accept(ProxySettings::default(), now), linger);
///
/// // The agent's bytes travel to the proxy, which grants what they ask for.
/// let bytes = agent.unwritten(now).to_vec();
/// agent.handle_written(bytes.len());
/// proxy.handle_bytes(&bytes, now);
/// let Some(ProxySessionEvent::Registration(pending)) = proxy.poll_event() else { panic!() };
/// let grant = Grant { connection_id: "c-1".into() };
/// proxy.session_mut().accept_registration(*pending, grant, now)?;
///
/// // And back.
/// agent.handle_bytes(proxy.unwritten(now), now);
/// assert!(matches!(agent.poll_event(), Some(AgentSessionEvent::Opened { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Endpoint<S> {
    session: S,
    outgoing: Outgoing,
    linger: Duration,
    stage: Stage,
    /// Whether the application has been told everything, the end included.
    told: bool,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Running,
    /// Nothing can be written any more. What the peer said before it went is still read.
    Deaf {
        until: Timestamp,
    },
    /// The session has closed; its last frames go out. Our half of the stream, and the peer's, end.
    Closing {
        until: Timestamp,
        shut: bool,
        ended: bool,
    },
    Done,
}

impl<S: Session> Endpoint<S> {
    /// An end of a new connection. `linger` bounds the time for the last frames and the peer's end
    /// of the stream after the session has closed; a few seconds are usual.
    pub fn new(session: S, linger: Duration) -> Self {
        Self { session, outgoing: Outgoing::default(), linger, stage: Stage::Running, told: false }
    }

    /// The session, to be asked.
    pub const fn session(&self) -> &S {
        &self.session
    }

    /// The session, for commands. What they led to is seen by the next [`Self::poll_event`] and
    /// [`Self::unwritten`]. Its `poll_transmit` and `poll_event` are best left to this type.
    pub const fn session_mut(&mut self) -> &mut S {
        &mut self.session
    }

    /// Whether everything was written or given up and everything was told: the socket may be
    /// dropped.
    pub const fn is_done(&self) -> bool {
        self.told && matches!(self.stage, Stage::Done)
    }

    /// Whether the driver should read. Also after the session has closed, until the peer's end:
    /// unread bytes would make some systems discard what was written, the reason for the end among
    /// it.
    pub fn wants_bytes(&self) -> bool {
        match self.stage {
            Stage::Running | Stage::Deaf { .. } => self.session.wants_bytes(),
            Stage::Closing { ended, .. } => !ended,
            Stage::Done => false,
        }
    }

    /// Takes what the socket gave. An empty slice is no end of the stream: see [`Self::handle_eof`].
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Timestamp) {
        match self.stage {
            Stage::Running | Stage::Deaf { .. } => self.session.handle_bytes(bytes, now),
            Stage::Closing { .. } | Stage::Done => {}
        }
        self.settle(now);
    }

    /// The peer ended its half of the stream.
    pub fn handle_eof(&mut self, now: Timestamp) {
        match &mut self.stage {
            Stage::Running | Stage::Deaf { .. } => self.session.handle_eof(),
            Stage::Closing { ended, .. } => *ended = true,
            Stage::Done => {}
        }
        self.settle(now);
    }

    /// Reading failed, or the transport as a whole.
    pub fn handle_transport_lost(&mut self, now: Timestamp) {
        self.session.handle_transport_lost();
        self.stage = Stage::Done;
        self.settle(now);
    }

    /// Writing failed. What the peer said before it went, why it ended the connection for
    /// instance, is still read: for the time of `linger`, or until reading ends too.
    pub fn handle_write_failed(&mut self, now: Timestamp) {
        self.stage = match self.stage {
            Stage::Running => Stage::Deaf { until: now.after(self.linger) },
            Stage::Deaf { until } => Stage::Deaf { until },
            Stage::Closing { .. } | Stage::Done => Stage::Done,
        };
        self.settle(now);
    }

    /// Time has passed. Early calls change nothing.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        match self.stage {
            Stage::Running => self.session.handle_timeout(now),
            Stage::Deaf { until } if now >= until => self.handle_transport_lost(now),
            Stage::Deaf { .. } => self.session.handle_timeout(now),
            Stage::Closing { until, .. } if now >= until => self.stage = Stage::Done,
            Stage::Closing { .. } | Stage::Done => {}
        }
        self.settle(now);
    }

    /// When [`Self::handle_timeout`] should be called next, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        match self.stage {
            Stage::Running => self.session.poll_timeout(),
            Stage::Deaf { until } => Some(self.session.poll_timeout().map_or(until, |due| due.min(until))),
            Stage::Closing { until, .. } => Some(until),
            Stage::Done => None,
        }
    }

    /// The next thing that happened. The session's `Closed` is the last.
    pub fn poll_event(&mut self) -> Option<S::Event> {
        let event = self.session.poll_event();
        self.told = event.is_none() && self.session.close_reason().is_some();
        event
    }

    /// The bytes to be written now, those first that the socket has not taken yet.
    pub fn unwritten(&mut self, now: Timestamp) -> &[u8] {
        self.collect();
        self.settle(now);
        self.outgoing.rest()
    }

    /// The socket has taken so many of the bytes that [`Self::unwritten`] gave.
    pub fn handle_written(&mut self, count: usize) {
        self.outgoing.take(count);
        if let Stage::Closing { .. } = self.stage {
            self.collect();
        }
    }

    /// Whether our half of the stream is to be ended now: the session has closed, and its last
    /// frames are written.
    pub fn wants_shutdown(&self) -> bool {
        matches!(self.stage, Stage::Closing { shut: false, .. }) && self.outgoing.rest().is_empty()
    }

    /// Our half of the stream has been ended.
    pub fn handle_shutdown(&mut self, now: Timestamp) {
        if let Stage::Closing { shut, .. } = &mut self.stage {
            *shut = true;
        }
        self.settle(now);
    }

    /// Fetches what the session would write, up to its write mark.
    fn collect(&mut self) {
        match self.stage {
            Stage::Running | Stage::Closing { .. } => {
                self.session.poll_transmit(self.outgoing.buffer());
            }
            Stage::Deaf { .. } | Stage::Done => self.outgoing.clear(),
        }
    }

    /// Follows the session's end, and the stream's.
    fn settle(&mut self, now: Timestamp) {
        let reason = self.session.close_reason();
        self.stage = match (self.stage, reason) {
            (Stage::Running, Some(reason)) if reason.flushes() => {
                Stage::Closing { until: now.after(self.linger), shut: false, ended: false }
            }
            (Stage::Running | Stage::Deaf { .. }, Some(_)) => Stage::Done,
            (Stage::Closing { shut: true, ended: true, .. }, _) => Stage::Done,
            (stage, _) => stage,
        };
        match self.stage {
            // Frames that the session made on closing, the reason for it among them.
            Stage::Closing { shut: false, .. } => self.collect(),
            Stage::Deaf { .. } | Stage::Done => self.outgoing.clear(),
            Stage::Running | Stage::Closing { shut: true, .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::CloseReason;
    use crate::session::{
        AgentSession, AgentSessionEvent, AgentSettings, Grant, ProxySession, ProxySessionEvent, ProxySettings,
    };
    use crate::wire::{Capabilities, EventKind, Registration};
    use alloc::vec::Vec;

    const NOW: Timestamp = Timestamp::ZERO;
    const LINGER: Duration = Duration::from_secs(2);

    type Ends = (Endpoint<ProxySession>, Endpoint<AgentSession>);

    /// Two ends, the agent's registration handed to the proxy's.
    fn ends(settings: ProxySettings) -> Ends {
        let registration = Registration::new(Capabilities::new("a", [EventKind::RequestHeaders]));
        let agent = AgentSession::dial(AgentSettings::new(registration), NOW).unwrap();
        let mut agent = Endpoint::new(agent, LINGER);
        let mut proxy = Endpoint::new(ProxySession::accept(settings, NOW), LINGER);
        proxy.handle_bytes(&written(&mut agent), NOW);
        (proxy, agent)
    }

    fn written<S: Session>(end: &mut Endpoint<S>) -> Vec<u8> {
        let bytes = end.unwritten(NOW).to_vec();
        end.handle_written(bytes.len());
        bytes
    }

    fn open() -> Ends {
        let (mut proxy, mut agent) = ends(ProxySettings::default());
        let Some(ProxySessionEvent::Registration(pending)) = proxy.poll_event() else { panic!() };
        let grant = Grant { connection_id: "c".into() };
        proxy.session_mut().accept_registration(*pending, grant, NOW).unwrap();
        agent.handle_bytes(&written(&mut proxy), NOW);
        assert!(matches!(agent.poll_event(), Some(AgentSessionEvent::Opened { .. })));
        assert!(matches!(proxy.poll_event(), Some(ProxySessionEvent::Opened)));
        (proxy, agent)
    }

    /// Refuses the registration; what the proxy has to say is not written yet.
    fn refused(words: &str) -> Ends {
        let (mut proxy, agent) = ends(ProxySettings::default());
        let Some(ProxySessionEvent::Registration(pending)) = proxy.poll_event() else { panic!() };
        proxy.session_mut().reject_registration(*pending, words, None).unwrap();
        (proxy, agent)
    }

    #[test]
    fn last_frames_go_out_then_the_stream_ends_then_the_peers() {
        let (mut proxy, mut agent) = refused("not today");
        assert!(!proxy.unwritten(NOW).is_empty());
        assert!(!proxy.wants_shutdown(), "not before all is written");
        let bytes = written(&mut proxy);
        assert!(proxy.wants_shutdown() && proxy.wants_bytes() && !proxy.is_done());
        proxy.handle_shutdown(NOW);
        assert!(!proxy.wants_shutdown() && proxy.wants_bytes());
        proxy.handle_bytes(b"what is still under way is dropped", NOW);
        proxy.handle_eof(NOW);
        assert!(!proxy.is_done(), "the application does not know yet");
        assert!(matches!(proxy.poll_event(), Some(ProxySessionEvent::Closed(CloseReason::Rejected))));
        assert!(proxy.poll_event().is_none() && proxy.is_done());
        assert_eq!((proxy.wants_bytes(), proxy.poll_timeout()), (false, None));

        agent.handle_bytes(&bytes, NOW);
        let closed = agent.poll_event();
        assert!(
            matches!(&closed, Some(AgentSessionEvent::Closed(CloseReason::Refused(words))) if words == "not today")
        );
        assert!(agent.poll_event().is_none() && agent.is_done(), "nothing is to be said to who refuses");
    }

    #[test]
    fn a_peer_that_does_not_end_its_half_is_waited_for_so_long() {
        let (mut proxy, _agent) = refused("no");
        written(&mut proxy);
        proxy.handle_shutdown(NOW);
        while proxy.poll_event().is_some() {}
        let due = NOW.after(LINGER);
        assert_eq!(proxy.poll_timeout(), Some(due));
        proxy.handle_timeout(Timestamp::from_micros(due.as_micros() - 1));
        assert!(!proxy.is_done());
        proxy.handle_timeout(due);
        assert!(proxy.is_done());
    }

    #[test]
    fn a_peer_that_takes_nothing_is_waited_for_so_long() {
        let (mut proxy, _agent) = refused("no");
        while proxy.poll_event().is_some() {}
        assert!(!proxy.unwritten(NOW).is_empty());
        proxy.handle_timeout(NOW.after(LINGER));
        assert!(proxy.is_done() && proxy.unwritten(NOW).is_empty());
    }

    #[test]
    fn after_a_failed_write_the_peers_last_words_are_read() {
        let (mut proxy, mut agent) = refused("no room");
        let words = written(&mut proxy);
        agent.handle_write_failed(NOW);
        assert!(agent.wants_bytes() && agent.unwritten(NOW).is_empty());
        agent.handle_bytes(&words, NOW);
        assert!(matches!(agent.poll_event(), Some(AgentSessionEvent::Closed(CloseReason::Refused(_)))));
    }

    #[test]
    fn after_a_failed_write_silence_is_a_lost_transport() {
        let (_proxy, mut agent) = open();
        agent.handle_write_failed(NOW);
        agent.handle_write_failed(NOW.after(LINGER / 2));
        assert_eq!(agent.poll_timeout(), Some(NOW.after(LINGER)), "the first failure counts");
        agent.handle_timeout(NOW.after(LINGER));
        assert!(matches!(agent.poll_event(), Some(AgentSessionEvent::Closed(CloseReason::TransportLost))));
        assert!(agent.poll_event().is_none() && agent.is_done());
    }

    #[test]
    fn a_lost_transport_ends_it_in_any_stage() {
        let (mut proxy, mut agent) = open();
        agent.handle_transport_lost(NOW);
        assert!(matches!(agent.poll_event(), Some(AgentSessionEvent::Closed(CloseReason::TransportLost))));
        assert!(agent.poll_event().is_none() && agent.is_done());
        proxy.session_mut().close();
        let _ = proxy.unwritten(NOW);
        proxy.handle_transport_lost(NOW);
        while proxy.poll_event().is_some() {}
        assert!(proxy.is_done());
    }

    #[test]
    fn a_command_that_closes_is_followed_at_the_next_call() {
        let (mut proxy, mut agent) = open();
        agent.session_mut().close();
        assert!(agent.unwritten(NOW).is_empty() && agent.wants_shutdown());
        proxy.handle_eof(NOW);
        assert!(matches!(proxy.poll_event(), Some(ProxySessionEvent::Closed(CloseReason::PeerClosed))));
        assert!(proxy.poll_event().is_none() && proxy.is_done());
    }

    #[test]
    // Rule: F-MARK-1.
    fn no_more_than_the_write_mark_waits_for_the_socket() {
        let settings = ProxySettings { write_mark: 1, ..ProxySettings::default() };
        let (mut proxy, _agent) = ends(settings);
        let Some(ProxySessionEvent::Registration(pending)) = proxy.poll_event() else { panic!() };
        let grant = Grant { connection_id: "c".into() };
        proxy.session_mut().accept_registration(*pending, grant, NOW).unwrap();
        let first = proxy.unwritten(NOW).len();
        assert_eq!(proxy.unwritten(NOW).len(), first);
        proxy.handle_written(first - 1);
        assert_eq!(proxy.unwritten(NOW).len(), 1);
    }
}

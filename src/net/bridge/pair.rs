//! One bridge from its first byte to its last: two sockets and the session between them.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::machine::{CloseReason, Timestamp};
use crate::net::clock::Clock;
use crate::net::target::Target;
use crate::session::bridge::{BridgeEnd, BridgeEvent, BridgeSession, BridgeSettings, BridgeStats, Side};
use crate::wire::EncodeError;

use super::pipe::{Moved, Pipe};

/// How a bridge came out.
pub(super) struct Outcome {
    pub(super) end: End,
    pub(super) stats: BridgeStats,
    /// How long it was open, if it ever was.
    pub(super) lived: Option<Duration>,
    pub(super) retry_after: Option<Duration>,
}

/// Why there is no bridge, or none any more.
pub(super) enum End {
    /// That side could not be reached.
    Unreached(Side, io::Error),
    /// The session ended.
    Session(BridgeEnd),
    /// The proxy could not be told what the agent said of itself.
    Encode(EncodeError),
}

/// What surrounds a bridge.
pub(super) struct Surroundings<'a> {
    pub(super) agent: &'a Target,
    pub(super) proxy: &'a Target,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) drain_timeout: Duration,
    pub(super) linger: Duration,
    /// Called when the bridge is open.
    pub(super) opened: &'a (dyn Fn() + Send + Sync),
    /// Called when the agent is lost and the proxy has not let go yet.
    pub(super) lost: &'a (dyn Fn(&CloseReason) + Send + Sync),
}

struct Pair<'a> {
    surroundings: Surroundings<'a>,
    session: BridgeSession,
    clock: Clock,
    /// Until it is lost.
    agent: Option<Pipe>,
    /// Once it was dialled.
    proxy: Option<Pipe>,
    opened: Option<Timestamp>,
}

/// Connects both sides and carries until one of them ends.
pub(super) async fn bridge(settings: BridgeSettings, surroundings: Surroundings<'_>) -> Outcome {
    let nothing = |end| Outcome { end, stats: BridgeStats::default(), lived: None, retry_after: None };
    let limit = settings.limits.handshake_timeout;
    let io = match dial(surroundings.agent, limit, surroundings.stop.clone()).await {
        Ok(Some(io)) => io,
        Ok(None) => return nothing(End::Session(BridgeEnd::Bridge(CloseReason::Drained))),
        Err(error) => return nothing(End::Unreached(Side::Agent, error)),
    };
    let clock = Clock::start();
    let session = match BridgeSession::new(settings, clock.now()) {
        Ok(session) => session,
        Err(error) => return nothing(End::Encode(error)),
    };
    let mut pair =
        Pair { surroundings, session, clock, agent: Some(Pipe::new(io)), proxy: None, opened: None };
    let end = pair.run(limit).await;
    let now = clock.now();
    let outcome = Outcome {
        stats: pair.session.stats(),
        lived: pair.opened.map(|opened| now.since(opened)),
        retry_after: pair.session.retry_after_ms().map(Duration::from_millis),
        end,
    };
    pair.hang_up().await;
    outcome
}

/// `None` if it was told to stop meanwhile.
async fn dial(
    target: &Target,
    limit: Duration,
    mut stop: watch::Receiver<bool>,
) -> io::Result<Option<Box<dyn crate::net::driver::Stream>>> {
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => Ok(None),
        dialled = tokio::time::timeout(limit, target.connect()) => {
            dialled.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(Some)
        }
    }
}

/// What comes of a socket, if there is one.
async fn moved(pipe: &mut Option<Pipe>, wanted: bool) -> Moved {
    match pipe {
        Some(pipe) => poll_fn(|cx| pipe.poll(cx, wanted)).await,
        None => std::future::pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

impl Pair<'_> {
    async fn run(&mut self, limit: Duration) -> End {
        let mut stopping = false;
        loop {
            while let Some(event) = self.session.poll_event() {
                match event {
                    BridgeEvent::AgentReady(_) => match self.register(limit).await {
                        Ok(()) => {}
                        Err(end) => return end,
                    },
                    BridgeEvent::Opened(response) => {
                        tracing::info!(
                            connection_id = %response.connection_id,
                            encoding = %self.session.encoding(),
                            "registered with the proxy"
                        );
                        self.opened = Some(self.clock.now());
                        for pipe in [&mut self.agent, &mut self.proxy].into_iter().flatten() {
                            pipe.widen();
                        }
                        (self.surroundings.opened)();
                    }
                    BridgeEvent::AgentLost(reason) => {
                        tracing::warn!(%reason, "the agent is lost");
                        self.agent = None;
                        (self.surroundings.lost)(&reason);
                    }
                    BridgeEvent::Ended(end) => return End::Session(end),
                }
            }
            self.collect();
            self.turn(&mut stopping).await;
        }
    }

    /// Dials the proxy and registers the agent.
    async fn register(&mut self, limit: Duration) -> Result<(), End> {
        tracing::debug!("the agent has answered");
        let dialled = dial(self.surroundings.proxy, limit, self.surroundings.stop.clone()).await;
        match dialled {
            Ok(Some(io)) => self.proxy = Some(Pipe::new(io)),
            Ok(None) => return Err(End::Session(BridgeEnd::Bridge(CloseReason::Drained))),
            Err(error) => return Err(End::Unreached(Side::Proxy, error)),
        }
        self.session.register(self.clock.now()).map_err(End::Encode)
    }

    fn collect(&mut self) {
        if let Some(agent) = &mut self.agent {
            self.session.poll_transmit(Side::Agent, agent.out());
        }
        if let Some(proxy) = &mut self.proxy {
            self.session.poll_transmit(Side::Proxy, proxy.out());
        }
    }

    /// Waits for something to happen, and tells the session.
    async fn turn(&mut self, stopping: &mut bool) {
        let due = self.session.poll_timeout().and_then(|due| self.clock.instant_of(due));
        let wants = [Side::Agent, Side::Proxy].map(|side| self.session.wants_bytes(side));
        let Self { session, clock, agent, proxy, surroundings, .. } = self;
        let moved = tokio::select! {
            moved = moved(agent, wants[0]) => Some((Side::Agent, moved)),
            moved = moved(proxy, wants[1]) => Some((Side::Proxy, moved)),
            () = until(due) => None,
            _ = surroundings.stop.wait_for(|stop| *stop), if !*stopping => {
                *stopping = true;
                let now = clock.now();
                session.drain(now.after(surroundings.drain_timeout), now);
                None
            }
        };
        let now = clock.now();
        match moved {
            Some((side, Moved::Read(length))) => {
                let pipe = match side {
                    Side::Agent => agent,
                    Side::Proxy => proxy,
                };
                if let Some(pipe) = pipe {
                    session.handle_bytes(side, pipe.input(length), now);
                }
            }
            Some((side, Moved::Eof)) => session.handle_eof(side, now),
            Some((side, Moved::Lost)) => session.handle_transport_lost(side, now),
            Some((_, Moved::Wrote)) | None => {}
        }
        if session.poll_timeout().is_some_and(|due| due <= now) {
            session.handle_timeout(now);
        }
    }

    /// Lets the proxy have what is left for it, and lets go of both.
    async fn hang_up(mut self) {
        let Some(mut proxy) = self.proxy.take() else { return };
        self.session.poll_transmit(Side::Proxy, proxy.out());
        let flushes = self.session.end().is_some_and(BridgeEnd::flushes_to_proxy);
        drop(self.agent);
        if flushes {
            // A proxy that does not read is not waited for.
            let _ = tokio::time::timeout(self.surroundings.linger, proxy.finish()).await;
        }
    }
}

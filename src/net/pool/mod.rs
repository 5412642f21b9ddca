//! A pool: agents by id, several connections each, and one of them for every request.
//!
//! A request is *begun* on the pool and from then on belongs to one connection. The value that
//! [`Pool::begin`] returns is what pins it there: there is no table of requests, so none can be
//! left in it, and no event of a request can reach another agent or another connection.

mod request;
mod view;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::machine::Timestamp;
use crate::machine::registry::{Balance, Candidate, Fitness, HealthLimits, HealthRecord, Sign, choose_among};
use crate::wire::{CorrelationId, EventKind, HealthState};

use super::clock::Clock;
use super::handle::{AgentHandle, Closed};
use super::listener::Listener;
use super::sync::{Arc, AtomicU64, Mutex, Ordering, RwLock, Weak, lock, read, spawn, watch, write};
pub use request::{Request, RequestAnswer, RequestAsk};
pub use view::{AgentView, ConnectionView, Totals};

/// How a pool chooses and forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Which connection gets the next request. Default: the one with the fewest events in flight.
    pub balance: Balance,
    /// When a connection rests, and for how long.
    pub health: HealthLimits,
    /// How long an agent without a connection stays known. Default 60 s.
    pub grace: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self { balance: Balance::default(), health: HealthLimits::default(), grace: Duration::from_secs(60) }
    }
}

/// Connected agents, by id. Cheap to clone.
///
/// ```
/// use dialback::net::{Pool, PoolConfig};
/// use dialback::wire::{EventKind, RequestBodyChunk, RequestHeaders};
///
/// # async fn ask(pool: &Pool) -> Result<(), Box<dyn std::error::Error>> {
/// // All events of a request go to the connection that it began on.
/// let kinds = [EventKind::RequestHeaders, EventKind::RequestBodyChunk];
/// let request = pool.begin("waf", "request-1", &kinds)?;
/// let headers = request.ask(RequestHeaders::new("request-1", "POST", "/upload")).await?;
/// let chunk = request.ask(RequestBodyChunk::new("request-1", "a=b")).await?;
/// # drop((headers, chunk));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    config: PoolConfig,
    clock: Clock,
    agents: RwLock<BTreeMap<Arc<str>, Arc<Group>>>,
}

/// One agent's connections. Members change seldom; they are replaced as a whole, so that a reader
/// holds the lock only to clone a pointer.
struct Group {
    members: RwLock<Members>,
    /// Grows with every choice; see [`choose_among`].
    ticket: AtomicU64,
    /// What the connections that have left had seen.
    departed: Mutex<Totals>,
}

type Members = Arc<[Arc<Member>]>;

struct Member {
    handle: AgentHandle,
    health: Mutex<HealthRecord>,
}

impl Member {
    fn candidate(&self, needs: &[EventKind], config: &PoolConfig, now: Timestamp) -> Candidate {
        let load = self.handle.load();
        let able = needs.iter().all(|kind| self.handle.capabilities().supports(*kind));
        let fitness = match able && load.serving {
            true => lock(&self.health).fitness(config.health, now),
            false => Fitness::Unfit,
        };
        // On a paused connection events wait, which is better than none.
        let fitness = if load.paused { fitness.max(Fitness::Degraded) } else { fitness };
        Candidate { fitness, load: load.events as usize }
    }

    fn sign(&self, sign: Sign, limits: HealthLimits, now: Timestamp) {
        let mut health = lock(&self.health);
        let before = health.health();
        health.handle_sign(sign, limits, now);
        let after = health.health();
        drop(health);
        if before != after {
            let (agent_id, connection_id) = (self.handle.agent_id(), self.handle.connection_id());
            tracing::info!(agent_id, connection_id, from = ?before, to = ?after, cause = ?sign, "health");
        }
    }
}

impl Pool {
    /// An empty pool.
    pub fn new(config: PoolConfig) -> Self {
        let inner = Inner { config, clock: Clock::start(), agents: RwLock::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Takes in every agent that registers with `listener`, until it is shut down.
    pub async fn serve(&self, listener: &Listener) {
        listener.serve(|handle| self.add(handle)).await;
    }

    /// Takes a connection in. It leaves by itself when it ends.
    ///
    /// Must be called within a tokio runtime: a task watches the connection.
    pub fn add(&self, handle: AgentHandle) {
        let id: Arc<str> = handle.agent_id().into();
        let member = Arc::new(Member { handle, health: Mutex::default() });
        let mut agents = write(&self.inner.agents);
        let group = agents.entry(Arc::clone(&id)).or_insert_with(|| Arc::new(Group::new()));
        let before = group.change(|members| members.push(Arc::clone(&member)));
        drop(agents);
        drop(before);
        // The task holds no handle: a pool that is dropped lets go of its connections.
        let connection = &member.handle.connection;
        let health = connection.shared.command(|core, _| core.side.watch_health());
        let closed = connection.closed.clone();
        let watcher = Watcher { pool: Arc::downgrade(&self.inner), id, member: Arc::downgrade(&member) };
        drop(spawn(watcher.run(health, closed)));
    }

    /// Begins a request: chooses the connection that gets all its events.
    ///
    /// `needs` names the kinds of event that the request will have; connections whose agent does
    /// not take them are passed over.
    ///
    /// # Errors
    /// Why no connection can be had; another agent, or another moment, may do.
    pub fn begin(
        &self,
        agent_id: &str,
        correlation_id: impl Into<CorrelationId>,
        needs: &[EventKind],
    ) -> Result<Request, PoolError> {
        let group = read(&self.inner.agents).get(agent_id).cloned().ok_or(PoolError::UnknownAgent)?;
        let members = group.members();
        if members.is_empty() {
            return Err(PoolError::NotConnected);
        }
        let (config, now) = (&self.inner.config, self.inner.clock.now());
        let look = |index: usize| match members.get(index) {
            Some(member) => member.candidate(needs, config, now),
            // There is none past the last.
            None => Candidate { fitness: Fitness::Unfit, load: 0 },
        };
        let ticket = group.ticket.fetch_add(1, Ordering::Relaxed);
        let chosen =
            choose_among(members.len(), look, config.balance, ticket).and_then(|index| members.get(index));
        let member = Arc::clone(chosen.ok_or(PoolError::NoneFit { connections: members.len() })?);
        lock(&member.health).handle_chosen(now);
        Ok(Request { member, limits: config.health, clock: self.inner.clock, id: correlation_id.into() })
    }

    /// What the pool knows of each agent, in order of id.
    pub fn agents(&self) -> Vec<AgentView> {
        let agents = read(&self.inner.agents);
        let view = |(id, group): (&Arc<str>, &Arc<Group>)| {
            let departed = lock(&group.departed);
            let connections = group.members().iter().map(|member| member.view()).collect();
            AgentView { agent_id: id.to_string(), departed: *departed, connections }
        };
        agents.iter().map(view).collect()
    }

    /// Connections of all agents.
    pub fn connections(&self) -> usize {
        read(&self.inner.agents).values().map(|group| read(&group.members).len()).sum()
    }

    /// Drains every connection, all at the same time, and waits until they have ended, for `within` at most.
    pub async fn shutdown(&self, within: Duration) {
        let groups: Vec<Arc<Group>> = read(&self.inner.agents).values().cloned().collect();
        let mut drains = tokio::task::JoinSet::new();
        for member in groups.iter().flat_map(|group| group.members().to_vec()) {
            drains.spawn(async move { member.handle.drain(within).await });
        }
        while drains.join_next().await.is_some() {}
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("config", &self.inner.config).field("agents", &self.agents()).finish()
    }
}

impl Group {
    fn new() -> Self {
        Self {
            members: RwLock::new(Arc::from(Vec::new())),
            ticket: AtomicU64::new(0),
            departed: Mutex::default(),
        }
    }

    fn members(&self) -> Members {
        Arc::clone(&read(&self.members))
    }

    /// Returns the members before, to be dropped with no lock held: the last of a connection's
    /// handles may be among them, whose end is a command.
    #[must_use = "to be dropped when no lock is held"]
    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Member>>)) -> Members {
        let mut members = write(&self.members);
        let mut list = members.to_vec();
        change(&mut list);
        std::mem::replace(&mut members, Arc::from(list))
    }
}

impl Member {
    fn view(&self) -> ConnectionView {
        ConnectionView {
            connection_id: self.handle.connection_id().into(),
            state: self.handle.state(),
            health: lock(&self.health).health(),
            stats: self.handle.stats(),
            latency: self.handle.latency(),
        }
    }
}

/// Follows one connection: its health while it lives, its place in the pool when it has ended, its
/// agent's entry when the grace is over and nobody has come.
struct Watcher {
    pool: Weak<Inner>,
    id: Arc<str>,
    member: Weak<Member>,
}

impl Watcher {
    async fn run(self, mut health: watch::Receiver<Option<HealthState>>, mut closed: Closed) {
        while health.changed().await.is_ok() {
            let state = health.borrow_and_update().clone();
            if let Some(state) = state {
                self.health(&state);
            }
        }
        // An error says that the sender is gone, and the connection with it.
        let _ = closed.wait_for(Option::is_some).await;
        if let Some(grace) = self.leave() {
            tokio::time::sleep(grace).await;
            self.forget();
        }
    }

    fn health(&self, state: &HealthState) {
        let (Some(pool), Some(member)) = (self.pool.upgrade(), self.member.upgrade()) else { return };
        let sign = match state {
            HealthState::Healthy => Sign::SaidHealthy,
            HealthState::Degraded { .. } => Sign::SaidDegraded,
            // The connection itself drains; nothing is begun on it any more.
            HealthState::Draining { .. } => return,
            HealthState::Unhealthy { .. } => Sign::SaidUnhealthy,
        };
        member.sign(sign, pool.config.health, pool.clock.now());
    }

    /// Takes the connection out. Returns the grace if it was the agent's last.
    fn leave(&self) -> Option<Duration> {
        let pool = self.pool.upgrade()?;
        let group = read(&pool.agents).get(&self.id).cloned()?;
        // One lock for both, so that nobody sees the connection twice, or not at all.
        let member = self.member.upgrade();
        let mut departed = lock(&group.departed);
        if let Some(member) = &member {
            *departed = departed.plus(&member.view().totals());
        }
        let before =
            group.change(|members| members.retain(|other| Arc::as_ptr(other) != self.member.as_ptr()));
        drop(departed);
        drop((before, member));
        group.members().is_empty().then_some(pool.config.grace)
    }

    /// Forgets the agent if it has not come back. One that came back and went again has a grace of
    /// its own, but whoever wakes first and finds nobody may forget it.
    fn forget(&self) {
        let Some(pool) = self.pool.upgrade() else { return };
        let mut agents = write(&pool.agents);
        if agents.get(&self.id).is_some_and(|group| read(&group.members).is_empty()) {
            agents.remove(&self.id);
        }
    }
}

/// Why no request could be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolError {
    /// No agent of this id has been here, or not for a while.
    UnknownAgent,
    /// The agent is known and has no connection at the moment.
    NotConnected,
    /// None of its connections may be chosen now: they drain, are paused, rest, or the agent does
    /// not take the events.
    NoneFit {
        /// How many connections there are.
        connections: usize,
    },
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownAgent => f.write_str("no agent of this id is known; it must register first"),
            Self::NotConnected => f.write_str("the agent has no connection at the moment; it may come back"),
            Self::NoneFit { connections } => write!(
                f,
                "none of the agent's {connections} connections can take the request: they drain, are paused, rest \
                 after failures, or the agent did not register for these events"
            ),
        }
    }
}

impl std::error::Error for PoolError {}

//! One agent, many connections: several to each of several proxies.

use std::fmt;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::machine::{AgentStats, ConnectionState};
use crate::wire::{HealthState, HealthStatus, LoadMetrics, MetricsReport};

use super::agent::{AgentConfig, AgentError};
use super::config::{ConfigError, at_least_one};
use super::crew::Crew;
use super::handler::Handler;
use super::line::{Keeper, Line, LinkState, Tally};
use super::reporting::report;
use super::signal::run_until;
use super::sync::Arc;
use super::target::Target;

/// An agent that keeps connections to several proxies, or several to one, all answered by one
/// handler.
///
/// Each connection is dialled, lost and dialled again on its own, at its own pace: what one proxy
/// does or refuses does not touch the connections to another.
///
/// ```no_run
/// use dialback::net::{AgentConfig, Fleet, Handler, Target, shutdown_signal};
/// # async fn run(config: AgentConfig, handler: impl Handler) -> Result<(), Box<dyn std::error::Error>> {
/// let signal = shutdown_signal()?;
/// let fleet = Fleet::new(config, handler)
///     .target(Target::unix("/run/proxy/agents.sock").connections(2))
///     .target(Target::tcp("10.0.0.7:9000".parse()?));
/// fleet.run()?.run_until(signal).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Fleet<H> {
    config: AgentConfig,
    handler: Arc<H>,
    targets: Vec<Target>,
}

impl<H: Handler> Fleet<H> {
    /// An agent that answers with `handler`, and has nobody to dial yet.
    pub fn new(config: AgentConfig, handler: H) -> Self {
        Self { config, handler: Arc::new(handler), targets: Vec::new() }
    }

    /// Adds a proxy.
    #[must_use]
    pub fn target(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }

    /// Adds proxies.
    #[must_use]
    pub fn targets(mut self, targets: impl IntoIterator<Item = Target>) -> Self {
        self.targets.extend(targets);
        self
    }

    /// Makes the future that does the work: it keeps every connection up until the fleet is shut
    /// down, or refused for good everywhere. A runner that is dropped drops its connections.
    ///
    /// # Errors
    /// If there is no target, or one with no connections.
    pub fn run(self) -> Result<FleetRunner, ConfigError> {
        at_least_one("the number of targets", self.targets.len())?;
        for target in &self.targets {
            at_least_one(&format!("the number of connections to {}", target.name), target.connections)?;
        }
        let dials: Vec<(Target, Arc<Line>)> = (self.targets.iter().enumerate())
            .flat_map(|(number, target)| {
                (0..target.connections).map(move |_| (target.clone(), Line::new(number)))
            })
            .collect();
        let lines = dials.iter().map(|(_, line)| Arc::clone(line)).collect();
        let crew = Arc::new(Crew::new(&self.config, lines));
        let names = self.targets.iter().map(|target| Arc::clone(&target.name)).collect();
        let (done, ended) = watch::channel(false);
        let controller = FleetController { crew: Arc::clone(&crew), names, ended };
        let view = controller.clone();
        let work = async move {
            // Dropped with this future, however it ends.
            let _done = done;
            let reporting = report(Arc::clone(&crew), self.config.clone());
            tokio::select! {
                () = keep_all(&self, &crew, dials) => {}
                never = reporting => match never {},
            }
            if crew.is_stopping() { Ok(()) } else { Err(view.error()) }
        };
        Ok(FleetRunner { work: Box::pin(work), controller })
    }
}

/// Keeps every line up, each in a task of its own, until all have ended.
async fn keep_all<H: Handler>(fleet: &Fleet<H>, crew: &Arc<Crew>, dials: Vec<(Target, Arc<Line>)>) {
    let mut tasks = JoinSet::new();
    for (target, line) in dials {
        let keeper = Keeper {
            config: fleet.config.clone(),
            handler: Arc::clone(&fleet.handler),
            crew: Arc::clone(crew),
            line,
            to: Arc::clone(&target.name),
        };
        tasks.spawn(async move {
            let result = keeper.keep(|| target.connect()).await;
            if let Err(error) = result {
                tracing::warn!(to = &*target.name, %error, "this connection is given up");
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended
            && error.is_panic()
        {
            // Only a connector of the application's can panic there.
            resume_unwind(error.into_panic());
        }
    }
}

/// A running fleet, as a future: await it, or [`FleetRunner::spawn`] it.
#[must_use = "a fleet does nothing unless its runner is awaited or spawned"]
pub struct FleetRunner {
    work: Pin<Box<dyn Future<Output = Result<(), FleetError>> + Send>>,
    controller: FleetController,
}

impl FleetRunner {
    /// What stops and questions the fleet while it runs.
    pub fn controller(&self) -> FleetController {
        self.controller.clone()
    }

    /// Runs the fleet in a task of its own. Must be called within a runtime.
    pub fn spawn(self) -> (FleetController, JoinHandle<Result<(), FleetError>>) {
        let controller = self.controller();
        (controller, tokio::spawn(self))
    }

    /// Runs the fleet until `signal` resolves, and then as after [`FleetController::shutdown`]. With
    /// [`shutdown_signal`](super::shutdown_signal), until the process is asked to end.
    ///
    /// # Errors
    /// As the runner itself, if it ends before the signal.
    pub async fn run_until(self, signal: impl Future<Output = ()>) -> Result<(), FleetError> {
        let controller = self.controller();
        run_until(self, || controller.shutdown(), signal).await
    }
}

impl Future for FleetRunner {
    type Output = Result<(), FleetError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.work.as_mut().poll(cx)
    }
}

impl fmt::Debug for FleetRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetRunner").field("controller", &self.controller).finish_non_exhaustive()
    }
}

/// Stops and questions a running fleet. Cheap to clone.
#[derive(Clone)]
pub struct FleetController {
    crew: Arc<Crew>,
    names: Arc<[Arc<str>]>,
    /// Its sender is dropped when the runner is.
    ended: watch::Receiver<bool>,
}

impl FleetController {
    /// Tells every proxy at once that this agent goes, answers what it owes, closes, and dials no
    /// more. The runner resolves when that is done, at the latest after the drain timeout and the
    /// linger time.
    pub fn shutdown(&self) {
        self.crew.shutdown();
    }

    /// Waits until the fleet has ended, for whatever reason.
    pub async fn ended(&self) {
        // The sender never says yes; what is awaited is that it goes.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    /// How it stands with each proxy, in the order in which they were added.
    pub fn targets(&self) -> Vec<TargetView> {
        let view = |(number, name): (usize, &Arc<str>)| {
            let lines = || self.crew.lines().iter().filter(move |line| line.target() == number);
            let tally = lines().fold(Tally::default(), |sum, line| sum.plus(line.tally()));
            TargetView {
                name: Arc::clone(name),
                links: lines().map(|line| line.state()).collect(),
                stats: tally.stats,
                unanswered: tally.unanswered,
            }
        };
        self.names.iter().enumerate().map(view).collect()
    }

    /// Connections that are open, to all proxies.
    pub fn open(&self) -> usize {
        let open = LinkState::Connected(ConnectionState::Open);
        self.crew.lines().iter().filter(|line| line.state() == open).count()
    }

    /// Counters of all connections so far.
    pub fn stats(&self) -> AgentStats {
        self.tally().stats
    }

    /// Events that are not answered, on all connections.
    pub fn unanswered(&self) -> usize {
        self.tally().unanswered
    }

    /// How busy the agent is, as it goes into health reports: what is under way now, and over all
    /// connections so far how many events were answered and how long that took.
    pub fn load(&self) -> LoadMetrics {
        self.crew.load()
    }

    /// Sets how the agent is, and tells every proxy now, with the load, and on every schedule and
    /// connection from now on. Without a `message` the detail of `state`, which is not on the wire,
    /// takes its place. Returns how many connections were open to take it.
    ///
    /// To announce that the agent goes, use [`Self::shutdown`].
    pub fn set_health(&self, state: HealthState, message: Option<String>) -> usize {
        self.crew.set_health(state, message)
    }

    /// Reports health on every open connection, once. Returns how many took it.
    pub fn report_health(&self, health: &HealthStatus) -> usize {
        self.crew.report_health(health)
    }

    /// Reports metrics to every proxy, on one open connection of each, lest they be counted twice.
    /// Returns how many proxies took it.
    pub fn report_metrics(&self, report: &MetricsReport) -> usize {
        self.crew.report_metrics(report)
    }

    fn tally(&self) -> Tally {
        self.crew.lines().iter().fold(Tally::default(), |sum, line| sum.plus(line.tally()))
    }

    /// Why the fleet ended, target by target.
    fn error(&self) -> FleetError {
        let failed = |view: TargetView| view.failure().cloned().map(|error| (view.name.to_string(), error));
        FleetError { targets: self.targets().into_iter().filter_map(failed).collect() }
    }
}

impl fmt::Debug for FleetController {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetController").field("targets", &self.targets()).finish_non_exhaustive()
    }
}

/// How it stands with one proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetView {
    name: Arc<str>,
    /// Where each of its connections stands.
    pub links: Vec<LinkState>,
    /// Counters of all its connections so far.
    pub stats: AgentStats,
    /// Events from it that are not answered.
    pub unanswered: usize,
}

impl TargetView {
    /// What the proxy is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        let open = LinkState::Connected(ConnectionState::Open);
        self.links.iter().filter(|link| **link == open).count()
    }

    /// Why the first of its connections that was given up was; `None` if none was.
    pub fn failure(&self) -> Option<&AgentError> {
        self.links.iter().find_map(|link| match link {
            LinkState::Failed(error) => Some(error),
            LinkState::Dialling
            | LinkState::Connected(_)
            | LinkState::Waiting { .. }
            | LinkState::Stopped => None,
        })
    }

    /// Whether none of its connections is kept up any more.
    pub fn is_over(&self) -> bool {
        self.links.iter().all(|link| matches!(link, LinkState::Failed(_) | LinkState::Stopped))
    }
}

/// Why a fleet ended without being told to: every proxy has refused it for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetError {
    /// The proxies by name, and what each has said.
    pub targets: Vec<(String, AgentError)>,
}

impl fmt::Display for FleetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no proxy is left to dial")?;
        for (name, error) in &self.targets {
            write!(f, "; {name}: {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for FleetError {}

//! A simulator: one proxy and many agents, real sessions throughout, in virtual time and under faults.
//!
//! For whoever builds on this crate. An agent's author brings a handler and sees it run under
//! cuts, stalls, cancels, disconnects and reconnections, thousands of times a minute; whoever
//! embeds the core sees how a driver of many sessions is written ([`Sim`] is one) and what it may
//! rely on. Everything follows from one seed, and a seed that fails can be played again.
//!
//! ```
//! use dialback::testing::sim::{Sim, SimConfig, Told};
//! use dialback::wire::{Answer, Decision, Event};
//!
//! // The handler under test: nobody may look at /admin.
//! fn no_admin(event: &Event) -> Answer {
//!     match event {
//!         Event::RequestHeaders(request) if request.uri.starts_with("/admin") => Answer::block(403),
//!         _ => Answer::allow(),
//!     }
//! }
//!
//! // What must hold of everything that a caller is told, whatever goes wrong around it.
//! fn judge(told: &Told<'_>) -> Result<(), String> {
//!     let (Event::RequestHeaders(request), Some(answer)) = (told.event, &told.answer) else { return Ok(()) };
//!     let blocked = matches!(answer.decision, Decision::Block { .. });
//!     match told.honest && request.uri.starts_with("/admin") && !blocked {
//!         true => Err(format!("{} was let through", request.uri)),
//!         false => Ok(()),
//!     }
//! }
//!
//! for seed in 0..20 {
//!     let sim = Sim::new(SimConfig::default()).with_handler(no_admin).with_judge(judge);
//!     let report = sim.play(seed).unwrap_or_else(|failure| panic!("{failure}"));
//!     assert!(report.exchanges > 0);
//! }
//! ```
//!
//! The oracle that watches every connection keeps books of its own: it compares what went over the
//! wire with what the callers were told, after every step. Every run ends with a fair drain: the
//! faults stop, every caller must be told, and every connection must close.

mod callers;
mod config;
mod connection;
mod fault;
mod finish;
mod hooks;
mod hostile;
mod inject;
mod lines;
mod report;
mod schedule;
mod trace;
mod world;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::rng::Rng;
use crate::wire::{Event, Registration};

pub use config::{AgentSide, ProxySide, SimConfig, StreamConfig};
pub use fault::{Fault, FaultKind, FaultRates};
pub use hooks::{HandlerContext, Reply, SimHandler, Told, Verdict};
pub use report::{Cause, End, Failure, Report};
pub use trace::{Step, What};

use hooks::Hooks;
use world::World;

/// One run to be: a configuration, and what its user brings.
pub struct Sim<'a> {
    config: SimConfig,
    hooks: Hooks<'a>,
}

impl<'a> Sim<'a> {
    /// A run with agents that allow everything.
    pub fn new(config: SimConfig) -> Self {
        Self { config, hooks: Hooks::default() }
    }

    /// Plays one seed with agents that allow everything.
    ///
    /// # Errors
    /// The first thing that did not hold, and what led to it.
    pub fn run(config: &SimConfig, seed: u64) -> Result<Report, Failure> {
        Self::new(config.clone()).play(seed)
    }

    /// The agents' application.
    #[must_use]
    pub fn with_handler(mut self, handler: impl SimHandler + 'a) -> Self {
        self.hooks.handler = Box::new(handler);
        self
    }

    /// The events of the n-th request, in the order in which they are asked. Without this, requests
    /// have headers, bodies and whatever else the protocol has, and now and then share an id.
    #[must_use]
    pub fn with_workload(mut self, workload: impl FnMut(u64, &mut Rng) -> Vec<Event> + 'a) -> Self {
        self.hooks.workload = Some(Box::new(workload));
        self
    }

    /// The proxy's decision on registrations.
    #[must_use]
    pub fn with_policy(mut self, policy: impl FnMut(&Registration) -> Verdict + 'a) -> Self {
        self.hooks.policy = Some(Box::new(policy));
        self
    }

    /// Looks at everything that a caller is told. An error ends the run as failed.
    #[must_use]
    pub fn with_judge(mut self, judge: impl FnMut(&Told<'_>) -> Result<(), String> + 'a) -> Self {
        self.hooks.judge = Some(Box::new(judge));
        self
    }

    /// Sees every step as it happens.
    #[must_use]
    pub fn with_watch(mut self, watch: impl FnMut(&Step) + 'a) -> Self {
        self.hooks.watch = Some(Box::new(watch));
        self
    }

    /// Plays one seed. A handler that keeps state is part of what a seed replays, so it is used up.
    ///
    /// # Errors
    /// The first thing that did not hold, and what led to it.
    pub fn play(self, seed: u64) -> Result<Report, Failure> {
        let mut world = World::new(self.config, self.hooks, seed);
        match world.run() {
            Ok(()) => Ok(world.into_report()),
            Err(cause) => Err(world.into_failure(seed, cause)),
        }
    }
}

//! What all connections of a running agent have in common: when to stop, and how the agent is.

use std::fmt;
use std::time::Duration;

use crate::machine::{AnswerError, ConnectionState, Timestamp};
use crate::session::AgentSession;
use crate::wire::{HealthState, HealthStatus, LoadMetrics, MetricsReport};

use super::agent::AgentConfig;
use super::line::{Line, Tally};
use super::shared::Shared;
use super::sync::{Arc, Mutex, lock, watch};

/// The connections of one agent, to however many proxies.
pub(super) struct Crew {
    agent_id: String,
    drain_timeout: Duration,
    stop: watch::Sender<bool>,
    lines: Vec<Arc<Line>>,
    /// What the application has said; `None` while it has said nothing.
    health: Mutex<Option<Health>>,
}

/// How the agent is, by its own account.
#[derive(Clone, Debug, Default, PartialEq)]
struct Health {
    state: HealthState,
    message: Option<String>,
}

impl Health {
    /// What a state means beyond its number is not on the wire, so it goes into the message.
    fn new(state: HealthState, message: Option<String>) -> Self {
        let detail = || match &state {
            HealthState::Degraded { disabled_features, .. } if !disabled_features.is_empty() => {
                Some(format!("without {}", disabled_features.join(", ")))
            }
            HealthState::Unhealthy { reason, .. } if !reason.is_empty() => Some(reason.clone()),
            HealthState::Healthy
            | HealthState::Degraded { .. }
            | HealthState::Draining { .. }
            | HealthState::Unhealthy { .. } => None,
        };
        let message = message.or_else(detail);
        Self { state, message }
    }
}

impl Crew {
    pub(super) fn new(config: &AgentConfig, lines: Vec<Arc<Line>>) -> Self {
        Self {
            agent_id: config.agent.registration.agent_id.clone(),
            drain_timeout: config.drain_timeout,
            stop: watch::Sender::new(false),
            lines,
            health: Mutex::new(None),
        }
    }

    pub(super) fn lines(&self) -> &[Arc<Line>] {
        &self.lines
    }

    // ---- stopping ----

    pub(super) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    pub(super) async fn stopping(&self) {
        // The sender lives as long as `self`.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Dials no more, and drains every connection there is.
    pub(super) fn shutdown(&self) {
        self.stop.send_replace(true);
        for line in &self.lines {
            if let Some(shared) = line.connection() {
                self.drain(&shared);
            }
        }
    }

    /// A line has a connection. A stop that came since it dialled found none to drain.
    pub(super) fn handle_attached(&self, shared: &Shared<AgentSession>) {
        if self.is_stopping() {
            self.drain(shared);
        }
    }

    fn drain(&self, shared: &Shared<AgentSession>) {
        shared.command(|core, now| core.session.drain(now.after(self.drain_timeout), now));
    }

    // ---- reporting ----

    /// Remembers how the agent is, and tells every proxy. Returns how many connections took it.
    pub(super) fn set_health(&self, state: HealthState, message: Option<String>) -> usize {
        *lock(&self.health) = Some(Health::new(state, message));
        self.announce_health()
    }

    /// Tells a proxy that has just been reached what the others were told.
    pub(super) fn greet(&self, shared: &Shared<AgentSession>) {
        if lock(&self.health).is_some() {
            self.announce_health_to(shared, self.load());
        }
    }

    /// Tells how the agent is on every open connection. Returns how many took it.
    pub(super) fn announce_health(&self) -> usize {
        let load = self.load();
        self.each(|shared| self.announce_health_to(shared, load))
    }

    fn announce_health_to(&self, shared: &Shared<AgentSession>, load: LoadMetrics) -> bool {
        // The health is read with the connection locked: whichever of two reports that cross is
        // written last, it tells the latest.
        shared.command(|core, now| {
            // One that drains has said so, and must not be taken to be back.
            core.session.state() == ConnectionState::Open
                && core.session.report_health(&self.status(load, now)).is_ok()
        })
    }

    fn status(&self, load: LoadMetrics, now: Timestamp) -> HealthStatus {
        let Health { state, message } = lock(&self.health).clone().unwrap_or_default();
        HealthStatus {
            message,
            load: Some(load),
            ..HealthStatus::new(self.agent_id.clone(), state, now.as_millis())
        }
    }

    /// Sends a report of the application's on every open connection. Returns how many took it.
    pub(super) fn report_health(&self, status: &HealthStatus) -> usize {
        self.each(|shared| {
            shared.command(|core, _| {
                core.session.state() == ConnectionState::Open && core.session.report_health(status).is_ok()
            })
        })
    }

    /// Sends a report to every proxy, on one connection of each: a second copy would be counted
    /// twice. What it leaves out of agent and time is filled in. Returns how many proxies took it.
    pub(super) fn report_metrics(&self, report: &MetricsReport) -> usize {
        let mut told: Vec<usize> = Vec::new();
        for line in &self.lines {
            if told.contains(&line.target()) {
                continue;
            }
            let taken = line.connection().is_some_and(|shared| {
                shared
                    .command(|core, now| {
                        if core.session.state() != ConnectionState::Open {
                            return Err(AnswerError::NotOpen);
                        }
                        core.session.report_metrics(&self.completed(report.clone(), now))
                    })
                    .is_ok()
            });
            if taken {
                told.push(line.target());
            }
        }
        told.len()
    }

    fn completed(&self, mut report: MetricsReport, now: Timestamp) -> MetricsReport {
        if report.agent_id.is_empty() {
            report.agent_id.clone_from(&self.agent_id);
        }
        if report.timestamp_ms == 0 {
            report.timestamp_ms = now.as_millis();
        }
        report
    }

    fn each(&self, tell: impl Fn(&Shared<AgentSession>) -> bool) -> usize {
        self.lines.iter().filter_map(|line| line.connection()).filter(|shared| tell(shared)).count()
    }

    // ---- questions ----

    /// How busy the agent is, over all its connections.
    pub(super) fn load(&self) -> LoadMetrics {
        let tally = self.lines.iter().fold(Tally::default(), |sum, line| sum.plus(line.tally()));
        tally.load()
    }
}

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew")
            .field("agent_id", &self.agent_id)
            .field("lines", &self.lines.len())
            .field("stopping", &self.is_stopping())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_number_can_not_tell_goes_into_the_message() {
        let message = |state, message: Option<&str>| Health::new(state, message.map(Into::into)).message;
        let degraded = HealthState::Degraded {
            disabled_features: vec!["a".into(), "b".into()],
            timeout_multiplier: 2.0,
        };
        let unhealthy = HealthState::Unhealthy { reason: "no database".into(), recoverable: true };
        assert_eq!(message(HealthState::Healthy, None), None);
        assert_eq!(message(degraded.clone(), None).as_deref(), Some("without a, b"));
        assert_eq!(message(unhealthy, None).as_deref(), Some("no database"));
        assert_eq!(message(degraded, Some("slow")).as_deref(), Some("slow"));
    }
}

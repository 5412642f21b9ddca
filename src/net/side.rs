//! What lies beside a proxy's session: its callers' places, the agent's reports.

use std::collections::BTreeMap;
use std::mem;

use crate::machine::ExchangeId;
use crate::machine::admission::RegistrationRefusal;
use crate::wire::{ConfigUpdateRequest, HealthState, HealthStatus, MetricsReport};

use super::gate::Waiting;
use super::slot::Slot;
use super::sync::{Arc, broadcast, watch};

/// Reports that wait for a reader.
const REPORTS: usize = 64;

/// What an agent reports of its own accord.
#[derive(Clone, Debug)]
pub enum Report {
    /// How it is.
    Health(Arc<HealthStatus>),
    /// What it counted.
    Metrics(Arc<MetricsReport>),
    /// It asks for configuration.
    ConfigUpdate(Arc<ConfigUpdateRequest>),
}

/// An agent's reports, as they come.
///
/// ```
/// # use dialback::net::{AgentHandle, Report};
/// # async fn watch(agent: &AgentHandle) {
/// let mut reports = agent.reports();
/// while let Some(report) = reports.next().await {
///     if let Report::Health(health) = report {
///         println!("{}: {:?}", health.agent_id, health.state);
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Reports {
    receiver: Option<broadcast::Receiver<Report>>,
    missed: u64,
}

impl Reports {
    /// The next report; `None` once the connection has ended and all were read.
    pub async fn next(&mut self) -> Option<Report> {
        loop {
            match self.receiver.as_mut()?.recv().await {
                Ok(report) => return Some(report),
                Err(broadcast::error::RecvError::Lagged(count)) => {
                    self.missed = self.missed.saturating_add(count);
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// Reports that were dropped because they were not read in time.
    pub const fn missed(&self) -> u64 {
        self.missed
    }
}

/// What those who read reports are to be told once the lock is free, since to tell is to wake.
pub(super) enum Notice {
    Health(watch::Sender<Option<HealthState>>, HealthState),
    Report(broadcast::Sender<Report>, Report),
    /// No more will come: a sender says so when it is dropped.
    End(Option<watch::Sender<Option<HealthState>>>, Option<broadcast::Sender<Report>>),
}

impl Notice {
    pub(super) fn tell(self) {
        match self {
            Self::Health(watch, state) => drop(watch.send_replace(Some(state))),
            // Nobody reads: that is theirs to decide.
            Self::Report(sender, report) => drop(sender.send(report)),
            Self::End(watch, sender) => drop((watch, sender)),
        }
    }
}

/// What lies beside a proxy's session.
#[derive(Default)]
pub(crate) struct ProxySide {
    /// The callers that wait, by exchange.
    pub(crate) slots: BTreeMap<ExchangeId, Arc<Slot>>,
    /// The agent's latest health.
    pub(crate) health: Option<Box<HealthStatus>>,
    /// Who watches it, if anybody does. Smaller than a queue of reports, of which a pool reads no other.
    pub(super) health_watch: Option<watch::Sender<Option<HealthState>>>,
    /// What the hook said, until the role acts on it.
    pub(super) verdict: Option<Result<(), RegistrationRefusal>>,
    /// Those who wait to ask.
    pub(super) gate: Waiting,
    reports: Mailbox,
}

/// The channel of reports, made when it is first needed.
#[derive(Default)]
enum Mailbox {
    #[default]
    Unused,
    /// Reports came, and nobody has asked for them.
    Unread(broadcast::Sender<Report>, broadcast::Receiver<Report>),
    Read(broadcast::Sender<Report>),
    /// The connection has ended; perhaps with unread reports.
    Closed(Option<broadcast::Receiver<Report>>),
}

impl ProxySide {
    /// The agent's health as it changes, what is known of it first. Ends with the connection.
    pub(crate) fn watch_health(&mut self) -> watch::Receiver<Option<HealthState>> {
        let known = self.health.as_ref().map(|health| health.state.clone());
        let sender = self.health_watch.take().unwrap_or_else(|| watch::Sender::new(known));
        let mut receiver = sender.subscribe();
        receiver.mark_changed();
        match self.reports {
            Mailbox::Unused | Mailbox::Unread(..) | Mailbox::Read(_) => self.health_watch = Some(sender),
            // Nothing will come any more.
            Mailbox::Closed(_) => {}
        }
        receiver
    }

    pub(super) fn set_health(&mut self, health: Box<HealthStatus>, notices: &mut Vec<Notice>) {
        if let Some(watch) = &self.health_watch {
            notices.push(Notice::Health(watch.clone(), health.state.clone()));
        }
        self.report(Report::Health(Arc::new((*health).clone())), notices);
        self.health = Some(health);
    }

    pub(crate) fn subscribe(&mut self) -> Reports {
        let receiver = match mem::take(&mut self.reports) {
            Mailbox::Unused => {
                let (sender, receiver) = broadcast::channel(REPORTS);
                self.reports = Mailbox::Read(sender);
                Some(receiver)
            }
            Mailbox::Unread(sender, receiver) => {
                self.reports = Mailbox::Read(sender);
                Some(receiver)
            }
            Mailbox::Read(sender) => {
                let receiver = sender.subscribe();
                self.reports = Mailbox::Read(sender);
                Some(receiver)
            }
            Mailbox::Closed(receiver) => {
                self.reports = Mailbox::Closed(None);
                receiver
            }
        };
        Reports { receiver, missed: 0 }
    }

    pub(super) fn report(&mut self, report: Report, notices: &mut Vec<Notice>) {
        if let Mailbox::Unused = self.reports {
            let (sender, receiver) = broadcast::channel(REPORTS);
            self.reports = Mailbox::Unread(sender, receiver);
        }
        match &self.reports {
            Mailbox::Unread(sender, _) | Mailbox::Read(sender) => {
                notices.push(Notice::Report(sender.clone(), report));
            }
            Mailbox::Unused | Mailbox::Closed(_) => {}
        }
    }

    pub(super) fn close(&mut self) -> Notice {
        let (sender, unread) = match mem::take(&mut self.reports) {
            Mailbox::Unread(sender, receiver) => (Some(sender), Some(receiver)),
            Mailbox::Read(sender) => (Some(sender), None),
            Mailbox::Unused => (None, None),
            Mailbox::Closed(receiver) => (None, receiver),
        };
        self.reports = Mailbox::Closed(unread);
        Notice::End(self.health_watch.take(), sender)
    }
}

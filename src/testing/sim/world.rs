//! The run: what is due happens, what it brings about is passed on, in virtual time.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use core::time::Duration;

use crate::machine::{CloseReason, ExchangeId, Timestamp};
use crate::session::Receipt;
use crate::testing::oracle::{Property, Violated, demand};
use crate::testing::rng::Rng;
use crate::wire::{Answer, FlowAction, HealthState};

use super::callers::Callers;
use super::config::SimConfig;
use super::connection::{Connection, Notice, Serial};
use super::hooks::{HandlerContext, Hooks, Reply};
use super::lines::Line;
use super::report::{Cause, FOLD_START, Failure, Report, close_name, fold};
use super::schedule::{Action, Schedule};
use super::trace::{Step, Trace, What};

/// More moments than any run has: time that does not move on is seen by this.
const MOST_STEPS: u64 = 5_000_000;

/// Both applications and everything between them.
pub(super) struct World<'a> {
    pub(super) config: SimConfig,
    pub(super) hooks: Hooks<'a>,
    pub(super) rng: Rng,
    pub(super) schedule: Schedule,
    pub(super) lines: alloc::vec::Vec<Line>,
    pub(super) connections: BTreeMap<Serial, Connection>,
    pub(super) callers: Callers,
    /// Connections where something was done that has not had its effect yet.
    pub(super) touched: BTreeSet<Serial>,
    pub(super) phase: Phase,
    /// When the last fault was over.
    pub(super) healed_at: Option<Timestamp>,
    pub(super) report: Report,
    trace: Trace,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Requests begin, faults happen.
    Faults,
    /// No more of either; every caller is to be told.
    Healed,
    /// Nobody is let in any more, everything drains.
    Drain,
}

impl<'a> World<'a> {
    pub(super) fn new(config: SimConfig, hooks: Hooks<'a>, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let lines = Line::all(&config, &mut rng);
        let trace = Trace::new(config.trace.max(1));
        Self {
            config,
            hooks,
            rng,
            schedule: Schedule::new(Timestamp::from_micros(1_000_000)),
            lines,
            connections: BTreeMap::new(),
            callers: Callers::default(),
            touched: BTreeSet::new(),
            phase: Phase::Faults,
            healed_at: None,
            report: Report { runs: 1, path: FOLD_START, ..Report::default() },
            trace,
        }
    }

    /// The whole run.
    pub(super) fn run(&mut self) -> Result<(), Cause> {
        for line in 0..self.lines.len() {
            self.schedule.set(Duration::ZERO, Action::Dial(line));
        }
        self.schedule.set(Duration::from_millis(10), Action::Begin);
        while self.callers.begun() < u64::from(self.config.requests) {
            self.step(Timestamp::NEVER)?;
        }
        self.finish()
    }

    pub(super) fn into_report(mut self) -> Report {
        self.report.virtual_time = self.schedule.now.since(Timestamp::from_micros(1_000_000));
        self.report
    }

    pub(super) fn into_failure(self, seed: u64, cause: Cause) -> Failure {
        let (step, at) = (self.report.steps, self.schedule.now);
        Failure { seed, step, at, cause, trace: self.trace.into_steps() }
    }

    /// Goes to the next moment at which something is due, if it comes by `until`. `false` if not.
    pub(super) fn step(&mut self, until: Timestamp) -> Result<bool, Cause> {
        let due =
            self.connections.values().filter_map(Connection::next_due).chain(self.schedule.next()).min();
        let Some(due) = due.filter(|due| *due <= until) else { return Ok(false) };
        self.schedule.now = self.schedule.now.max(due);
        self.report.steps = self.report.steps.saturating_add(1);
        if self.report.steps > MOST_STEPS {
            let detail = format!("{MOST_STEPS} steps and no end, now {}", self.schedule.now);
            return Err(Cause::Property(Violated { property: Property::P13, detail }));
        }
        let now = self.schedule.now;
        let ready = |connection: &Connection| connection.next_due().is_some_and(|at| at <= now);
        let ready = self.connections.iter().filter(|(_, connection)| ready(connection));
        self.touched.extend(ready.map(|(serial, _)| *serial));
        self.settle()?;
        while let Some(action) = self.schedule.due() {
            self.act(action)?;
            self.settle()?;
        }
        Ok(true)
    }

    /// Lets everything happen that follows from what was done.
    pub(super) fn settle(&mut self) -> Result<(), Cause> {
        while let Some(serial) = self.touched.pop_first() {
            let now = self.schedule.now;
            let Some(connection) = self.connections.get_mut(&serial) else { continue };
            for notice in connection.turn(now)? {
                self.touched.insert(serial);
                self.react(serial, notice)?;
            }
            if !self.touched.contains(&serial) {
                self.bury(serial)?;
            }
        }
        Ok(())
    }

    /// Enters a step into the trace.
    pub(super) fn note(&mut self, connection: Serial, what: What) {
        let step = Step { at: self.schedule.now, connection, what };
        for part in [step.at.as_micros(), u64::from(connection), step.what.code()] {
            self.report.path = fold(self.report.path, part);
        }
        if let Some(watch) = &mut self.hooks.watch {
            watch(&step);
        }
        self.trace.push(step);
    }

    fn act(&mut self, action: Action) -> Result<(), Cause> {
        match action {
            Action::Begin => self.begin()?,
            Action::Dial(line) => self.dial(line)?,
            Action::Decide { serial, pending, verdict } => self.decide(serial, pending, verdict)?,
            Action::Answer { serial, tag, receipt, answer } => self.answer(serial, tag, receipt, answer)?,
            Action::Resume { serial, id } => drop(self.signal(serial, id, FlowAction::Resume)),
            Action::Widen(serial) => drop(self.announce(serial, 1_000)),
            Action::Relieve(serial) => self.relieve(serial),
            Action::Recover(serial) => drop(self.report_health(serial, HealthState::Healthy)),
            Action::Trickle { serial, left } => self.trickle(serial, left),
        }
        Ok(())
    }

    /// What the two applications do about what they are told.
    fn react(&mut self, serial: Serial, notice: Notice) -> Result<(), Cause> {
        match notice {
            Notice::Registration(pending) => self.receive_registration(serial, pending)?,
            Notice::Handshake(pending) => self.receive_handshake(serial, pending)?,
            Notice::Opened => self.opened(serial),
            Notice::Ended { exchange, ending } => self.told(serial, exchange, &ending)?,
            Notice::Health(state) => self.hear_health(serial, &state),
            Notice::Draining => self.note(serial, What::Draining),
            Notice::ProxyClosed(reason) => self.lost_agent(serial, reason)?,
            Notice::AgentClosed(reason) => self.note(serial, What::AgentClosed(reason)),
            Notice::Event { tag, receipt } => self.handle(serial, tag, receipt),
            Notice::Cancelled(exchange) => self.tell_handler(serial, exchange),
        }
        Ok(())
    }

    fn context(&self, serial: Serial) -> HandlerContext {
        let agent = self.line_of(serial).map_or(0, |line| line.agent);
        HandlerContext { agent, connection: serial, now: self.schedule.now }
    }

    /// The proxy's side of a connection has ended.
    fn lost_agent(&mut self, serial: Serial, reason: CloseReason) -> Result<(), Cause> {
        let count = self.report.closes.entry(close_name(&reason)).or_default();
        *count = count.saturating_add(1);
        // Long after the last fault an agent that is there has paid all its debts.
        let owes = matches!(reason, CloseReason::Unresponsive { .. });
        let healed = self.healed_at.is_some_and(|at| self.schedule.now.since(at) > Duration::from_secs(5));
        let there = self.connections.get(&serial).is_some_and(|it| it.is_honest() && !it.at_agent.gagged);
        demand(!(owes && healed && there), Property::P3, || {
            format!("an honest agent left answers out: {reason}")
        })?;
        self.note(serial, What::ProxyClosed(reason));
        Ok(())
    }

    /// The agent's application hears that nobody waits any more.
    fn tell_handler(&mut self, serial: Serial, exchange: ExchangeId) {
        let id = self.connections.get(&serial).and_then(|it| it.working.get(&exchange)).cloned();
        let context = self.context(serial);
        if let Some(id) = id {
            self.hooks.handler.cancelled(&id, &context);
        }
    }

    /// The agent's application is given an event.
    fn handle(&mut self, serial: Serial, tag: Option<u32>, receipt: Receipt) {
        self.note(serial, What::Given { tag: tag.unwrap_or(0) });
        let context = self.context(serial);
        let reply = match receipt.event() {
            Ok(event) => self.hooks.handler.handle(&event, &context),
            // As the adapter does: what can't be read is not let through.
            Err(_) => Reply::from(Answer::block(400)),
        };
        let after = reply.after.unwrap_or_else(|| self.rng.up_to(self.config.agent.handling));
        let Some(connection) = self.connections.get_mut(&serial) else { return };
        connection.working.insert(receipt.exchange, receipt.id.clone());
        if connection.mute {
            return;
        }
        let after = after.saturating_add(connection.handler_lag);
        self.schedule.set(after, Action::Answer { serial, tag, receipt, answer: reply.answer });
    }
}

//! The real machines of both roles, joined by two streams, and an adversary.
//!
//! A [`Sys`] is one state: both connections as the library has them, the frames between them, the
//! time, and the [`books`] of an observer. An [`Action`] is one atomic step; [`Sys::step`] carries
//! it out on a copy and checks the properties on the way. What a machine tells its application is
//! fetched at once after every call; frames are fetched one by one, by an action of their own.

mod action;
pub mod books;
mod checks;
mod reads;
mod sight;
mod stream;
mod writes;

use dialback::machine::{
    AgentConnection, AgentEvent, Backlog, ConnectionState, ExchangeId, FromAgent, FromProxy, ProxyConnection,
    ProxyEvent, Submission, Timestamp,
};
use dialback::testing::{Property, Violated, demand};
use dialback::wire::{CancelReason, FlowAction, FrameType};

use crate::scenario::{Dialled, Injection, Scenario};

pub use action::Action;
use books::{AtAgent, Books, FOREIGN};
pub use sight::{Sight, Sights};
pub use stream::{Flowing, Stream};

/// One state of everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sys {
    /// The proxy's machine.
    pub proxy: ProxyConnection<u8>,
    /// The agent's machine.
    pub agent: AgentConnection<u8>,
    /// Frames on their way to the agent.
    pub to_agent: Stream<FromProxy<u8>>,
    /// Frames on their way to the proxy.
    pub to_proxy: Stream<FromAgent<u8>>,
    /// What the observer knows.
    pub books: Books,
    /// Ticks that have passed.
    pub clock: u64,
    /// Whether the proxy's socket is stuck.
    pub stalled: bool,
}

/// Payload of a handshake that says yes.
const YES: u8 = 1;
/// Payload of a handshake that says no.
const NO: u8 = 0;

/// What an action came to: the next state, unless nothing happened, and what was seen.
pub type Outcome = Result<(Option<Sys>, Sights), Violated>;

impl Sys {
    /// Both sides set up, nothing sent.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        let start = Timestamp::ZERO;
        let (proxy_limits, agent_limits) = (scenario.proxy_limits(), scenario.agent_limits());
        let (proxy, agent) = match scenario.dialled {
            Dialled::ByAgent => (
                ProxyConnection::accept(proxy_limits, start),
                AgentConnection::dial(agent_limits, YES, start),
            ),
            Dialled::ByProxy => (
                ProxyConnection::dial(proxy_limits, YES, start),
                AgentConnection::accept(agent_limits, start),
            ),
        };
        Self {
            proxy,
            agent,
            to_agent: Stream::new(),
            to_proxy: Stream::new(),
            books: Books::new(&scenario.plan, scenario.budget),
            clock: 0,
            stalled: false,
        }
    }

    pub(crate) const fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock)
    }

    /// Everything that might happen next. [`Sys::step`] says of each whether it can.
    #[must_use]
    pub fn actions(&self, scenario: &Scenario) -> Vec<Action> {
        let powers = scenario.powers;
        let mut actions =
            vec![Action::ProxyWrites, Action::AgentWrites, Action::AgentReads, Action::ProxyReads];
        let exchanges = 0..u8::try_from(scenario.plan.len()).unwrap_or(u8::MAX);
        let lanes = [0u8, 1];
        actions.push(Action::Accept);
        actions.extend(exchanges.clone().map(Action::Answer));
        actions.push(Action::Resume);
        actions.extend(lanes.map(Action::ResumeRequest));
        actions.extend([Action::Restore, Action::Unstall, Action::Tick, Action::Submit]);
        if powers.cancel {
            actions.extend(exchanges.map(Action::Cancel));
        }
        let optional = [
            (powers.cancel_request, Action::CancelRequest(0)),
            (powers.cancel_request, Action::CancelRequest(1)),
            (powers.drain_proxy, Action::DrainProxy),
            (powers.drain_agent, Action::DrainAgent),
            (powers.close, Action::CloseProxy),
            (powers.close, Action::CloseAgent),
            (powers.reject, Action::Reject),
            (powers.sever, Action::Sever),
            (powers.half_close, Action::EndToAgent),
            (powers.half_close, Action::EndToProxy),
            (powers.stall, Action::Stall),
        ];
        actions.extend(optional.into_iter().filter(|(allowed, _)| *allowed).map(|(_, action)| action));
        actions.extend(scenario.injections.iter().copied().map(Action::Inject));
        actions
    }

    /// Whether there is any point in trying an action: saves most of the work of [`Sys::step`].
    fn may(&self, action: Action) -> bool {
        let readable = |flowing| matches!(flowing, Flowing::Ended | Flowing::Broken);
        let both_closed = self.books.proxy.closed && self.books.agent.closed;
        match action {
            Action::ProxyWrites | Action::AgentWrites => true,
            Action::AgentReads => !self.to_agent.frames.is_empty() || readable(self.to_agent.flowing),
            Action::ProxyReads => !self.to_proxy.frames.is_empty() || readable(self.to_proxy.flowing),
            Action::Accept | Action::Reject => !(self.books.proxy.opened && self.books.agent.opened),
            Action::Answer(number) => self
                .books
                .entries
                .get(usize::from(number))
                .is_some_and(|entry| matches!(entry.at_agent, AtAgent::Delivered | AtAgent::Told)),
            Action::Cancel(number) => self.books.untold().any(|other| other == number),
            Action::CancelRequest(_) => self.books.untold().next().is_some(),
            Action::Resume => self.books.sent.paused,
            Action::ResumeRequest(lane) => self.books.sent.lanes & (1 << lane) != 0,
            Action::Restore => self.books.sent.capacity.is_some(),
            Action::Submit => usize::from(self.books.submitted) < self.books.entries.len(),
            Action::Inject(_) => self.books.budget > 0,
            Action::Stall => !self.stalled,
            Action::Unstall => self.stalled,
            Action::Tick
            | Action::DrainProxy
            | Action::DrainAgent
            | Action::CloseProxy
            | Action::CloseAgent
            | Action::Sever
            | Action::EndToAgent
            | Action::EndToProxy => !both_closed,
        }
    }

    /// Carries out one action. No next state if it can't happen, or would change nothing.
    ///
    /// # Errors
    /// The first property that does not hold.
    pub fn step(&self, scenario: &Scenario, action: Action) -> Outcome {
        if !self.may(action) {
            return Ok((None, Sights::default()));
        }
        let mut next = self.clone();
        let mut sights = Sights::default();
        let happened = match action {
            Action::ProxyWrites => next.proxy_writes(scenario, &mut sights)?,
            Action::AgentWrites => next.agent_writes(scenario, &mut sights)?,
            Action::AgentReads => next.agent_reads(&mut sights)?,
            Action::ProxyReads => next.proxy_reads(scenario, &mut sights)?,
            Action::Accept => next.decide(scenario, true),
            Action::Reject => next.decide(scenario, false),
            Action::Answer(number) => next.answer(number)?,
            Action::Resume => next.books.sent.paused && next.put(Injection::Pause, false),
            Action::ResumeRequest(lane) => {
                next.books.sent.lanes & (1 << lane) != 0 && next.put(Injection::PauseRequest(lane), false)
            }
            Action::Restore => next.restore(scenario),
            Action::Stall | Action::Unstall => next.stall(action == Action::Stall),
            Action::Tick => next.tick(scenario)?,
            Action::Submit => next.submit(scenario, &mut sights)?,
            Action::Cancel(number) => next.cancel(number)?,
            Action::CancelRequest(lane) => next.cancel_request(lane)?,
            Action::DrainProxy => next.drain_proxy(scenario),
            Action::DrainAgent => next.drain_agent(scenario),
            Action::CloseProxy => next.close_proxy(),
            Action::CloseAgent => next.close_agent(),
            Action::Sever => next.sever(),
            Action::EndToAgent => next.half_close(true),
            Action::EndToProxy => next.half_close(false),
            Action::Inject(injection) => next.inject(injection),
        };
        if !happened {
            return Ok((None, sights));
        }
        if scenario.plan.len() <= 2 {
            next.check_polls_commute()?;
        }
        next.listen(&mut sights)?;
        if let Action::Cancel(number) = action {
            let told = next.books.untold().all(|other| other != number);
            demand(told, Property::P1, || format!("{number} was given up, and its caller not told"))?;
        }
        next.settle();
        if next == *self {
            return Ok((None, sights));
        }
        next.check(scenario, &mut sights)?;
        Ok((Some(next), sights))
    }

    /// Fetches what the machines have to tell their applications.
    fn listen(&mut self, sights: &mut Sights) -> Result<(), Violated> {
        while let Some(event) = self.proxy.poll_event() {
            let life = self.books.proxy;
            demand(!life.closed, Property::P8, || format!("{event:?} behind the proxy's close"))?;
            match event {
                ProxyEvent::Opened => {
                    demand(!life.opened, Property::P7, || "the proxy opened twice".to_string())?;
                    self.books.proxy.opened = true;
                }
                ProxyEvent::Ended { exchange, ending } => {
                    self.books.ended(number(exchange), &ending, sights)?;
                }
                ProxyEvent::Draining(_) => self.books.draining = true,
                ProxyEvent::Closed(reason) => {
                    sights.note_close(&reason);
                    self.books.proxy_closed()?;
                }
                ProxyEvent::Health(_) | ProxyEvent::Report { .. } => {}
            }
        }
        while let Some(event) = self.agent.poll_event() {
            let life = self.books.agent;
            demand(!life.closed, Property::P8, || format!("{event:?} behind the agent's close"))?;
            match event {
                AgentEvent::Opened => {
                    demand(!life.opened, Property::P7, || "the agent opened twice".to_string())?;
                    self.books.agent.opened = true;
                }
                AgentEvent::Event { exchange, payload, .. } => {
                    demand(number(exchange) == payload, Property::P3, || "a foreign payload".to_string())?;
                    self.books.delivered(payload)?;
                }
                AgentEvent::Cancelled { exchange, .. } => {
                    sights.add(Sight::ToldCancelled);
                    self.books.told_cancelled(number(exchange))?;
                }
                AgentEvent::Closed(reason) => {
                    sights.note_close(&reason);
                    self.books.agent_closed()?;
                }
            }
        }
        Ok(())
    }

    /// Who has ended reads no more.
    fn settle(&mut self) {
        if self.proxy.state() == ConnectionState::Closed {
            self.to_proxy.abandon();
        }
        if self.agent.state() == ConnectionState::Closed {
            self.to_agent.abandon();
        }
    }

    // ---- applications and callers ----

    fn decide(&mut self, scenario: &Scenario, yes: bool) -> bool {
        let (now, answer) = (self.now(), if yes { YES } else { NO });
        match scenario.dialled {
            Dialled::ByAgent => match self.proxy.poll_offer() {
                None => false,
                Some(offer) if yes => self.proxy.accept_offer(offer, answer, scenario.terms(), now).is_ok(),
                Some(offer) => self.proxy.reject_offer(offer, answer).is_ok(),
            },
            Dialled::ByProxy => match self.agent.poll_offer() {
                None => false,
                Some(offer) if yes => self.agent.accept_offer(offer, answer, now).is_ok(),
                Some(offer) => self.agent.reject_offer(offer, answer).is_ok(),
            },
        }
    }

    fn submit(&mut self, scenario: &Scenario, sights: &mut Sights) -> Result<bool, Violated> {
        let number = self.books.submitted;
        let Some(planned) = scenario.plan.get(usize::from(number)) else { return Ok(false) };
        let submission = Submission {
            exchange: ExchangeId(u64::from(number)),
            id: Scenario::id(planned.lane),
            kind: planned.kind,
            payload: number,
            deadline: planned
                .deadline
                .map_or(Timestamp::NEVER, |ticks| Timestamp::from_micros(self.clock + ticks)),
            patience: planned.patience,
        };
        let before = self.proxy.clone();
        match self.proxy.submit(submission, self.now()) {
            Ok(()) => {
                self.books.admitted(number)?;
                Ok(true)
            }
            Err(refusal) => {
                sights.note_refusal(&refusal);
                demand(self.proxy == before, Property::P15, || format!("submit: {refusal}"))?;
                Ok(false)
            }
        }
    }

    fn cancel(&mut self, number: u8) -> Result<bool, Violated> {
        let live = self.books.untold().any(|other| other == number);
        let before = self.proxy.clone();
        let outcome =
            self.proxy.cancel(ExchangeId(u64::from(number)), CancelReason::ClientDisconnect, self.now());
        demand(outcome.is_ok() == live, Property::P1, || format!("cancel of {number}: {outcome:?}"))?;
        demand(live || self.proxy == before, Property::P15, || format!("cancel of {number}"))?;
        Ok(live)
    }

    fn cancel_request(&mut self, lane: u8) -> Result<bool, Violated> {
        let of = |number: &u8| self.books.entries.get(usize::from(*number)).map(|entry| entry.lane);
        let live = self.books.untold().filter(|number| of(number) == Some(lane)).count();
        let given_up = self.proxy.cancel_request(&Scenario::id(lane), CancelReason::Manual, self.now());
        // The owed limit may close the connection on the way, which ends the rest.
        let all = given_up == live || self.proxy.state() == ConnectionState::Closed;
        demand(all, Property::P1, || format!("{given_up} of {live} given up"))?;
        Ok(given_up > 0)
    }

    fn answer(&mut self, number: u8) -> Result<bool, Violated> {
        let at_agent = self.books.entry(number)?.at_agent;
        let has_it = matches!(at_agent, AtAgent::Delivered | AtAgent::Told);
        let before = self.agent.clone();
        let outcome = self.agent.answer(ExchangeId(u64::from(number)), number, self.now());
        let closed = self.agent.close_reason().is_some() && before.close_reason().is_some();
        demand(outcome.is_ok() == (has_it && !closed), Property::P3, || {
            format!("answer to {number} at {at_agent:?}: {outcome:?}")
        })?;
        if outcome.is_err() {
            demand(self.agent == before, Property::P15, || format!("answer to {number}"))?;
            return Ok(false);
        }
        self.books.entry(number)?.at_agent = AtAgent::Done;
        Ok(true)
    }

    fn drain_proxy(&mut self, scenario: &Scenario) -> bool {
        let deadline = self.clock + scenario.drain;
        if self.books.draining || self.books.proxy.closed || deadline > scenario.ticks {
            return false;
        }
        self.books.draining |= self.books.proxy.opened;
        self.proxy.drain(Timestamp::from_micros(deadline), self.now());
        true
    }

    fn drain_agent(&mut self, scenario: &Scenario) -> bool {
        let deadline = self.clock + scenario.drain;
        let state = self.agent.state();
        if state == ConnectionState::Draining || state == ConnectionState::Closed || deadline > scenario.ticks
        {
            return false;
        }
        self.agent.drain(Timestamp::from_micros(deadline), self.now());
        true
    }

    fn close_proxy(&mut self) -> bool {
        let open = !self.books.proxy.closed;
        self.proxy.close();
        open
    }

    fn close_agent(&mut self) -> bool {
        let open = !self.books.agent.closed;
        self.agent.close();
        open
    }

    // ---- time and transport ----

    fn tick(&mut self, scenario: &Scenario) -> Result<bool, Violated> {
        if self.clock >= scenario.ticks || (self.books.proxy.closed && self.books.agent.closed) {
            return Ok(false);
        }
        self.clock += 1;
        let now = self.now();
        self.proxy.handle_timeout(now);
        self.agent.handle_timeout(now);
        for due in [self.proxy.poll_timeout(), self.agent.poll_timeout()] {
            demand(due.is_none_or(|due| due > now), Property::P13, || {
                format!("at {now} still due: {due:?}")
            })?;
        }
        Ok(true)
    }

    fn sever(&mut self) -> bool {
        let whole = self.to_agent.flowing == Flowing::On || self.to_proxy.flowing == Flowing::On;
        self.to_agent.sever();
        self.to_proxy.sever();
        whole
    }

    fn half_close(&mut self, to_agent: bool) -> bool {
        let flowing = if to_agent { self.to_agent.flowing } else { self.to_proxy.flowing };
        if to_agent {
            self.to_agent.end()
        } else {
            self.to_proxy.end()
        }
        flowing == Flowing::On
    }

    fn stall(&mut self, stall: bool) -> bool {
        let changes = self.stalled != stall && !self.books.proxy.closed && self.books.proxy.opened;
        if changes {
            self.stalled = stall;
            self.proxy.handle_backlog(if stall { Backlog::Above } else { Backlog::Below });
        }
        changes
    }

    // ---- the adversary's frames ----

    fn inject(&mut self, injection: Injection) -> bool {
        let Some(budget) = self.books.budget.checked_sub(1) else { return false };
        self.books.budget = budget;
        self.put(injection, true)
    }

    fn restore(&mut self, scenario: &Scenario) -> bool {
        let least = u8::try_from(scenario.limit()).unwrap_or(u8::MAX);
        self.books.sent.capacity.is_some_and(|sent| sent < least)
            && self.put(Injection::Capacity(least), true)
    }

    /// Puts a frame into its stream. `on`: a pause, or the taking back of one.
    fn put(&mut self, injection: Injection, on: bool) -> bool {
        let action = if on { FlowAction::Pause } else { FlowAction::Resume };
        let flow = |id, action| Some(FromAgent::Flow { id, action });
        let answer = |exchange: Option<ExchangeId>, lane: Option<u8>| {
            Some(FromAgent::Answer { id: lane.map(Scenario::id), exchange, payload: FOREIGN })
        };
        let sent = &mut self.books.sent;
        let to_proxy = match injection {
            Injection::Pause => {
                if sent.paused == on {
                    return false;
                }
                sent.paused = on;
                flow(None, action)
            }
            Injection::PauseRequest(lane) => {
                if (sent.lanes & (1 << lane) != 0) == on {
                    return false;
                }
                sent.lanes ^= 1 << lane;
                flow(Some(Scenario::id(lane)), action)
            }
            Injection::Capacity(room) => {
                if sent.capacity == Some(room) {
                    return false;
                }
                sent.capacity = Some(room);
                flow(None, FlowAction::UpdateCapacity { buffer_available: u64::from(room) })
            }
            Injection::StrayAnswer => answer(None, None),
            Injection::ForeignAnswer(number) => {
                let lane = self.lane_of_written(number);
                if lane.is_none() {
                    return false;
                }
                answer(Some(ExchangeId(u64::from(number))), lane)
            }
            Injection::PingProxy => Some(FromAgent::Ping(self.books.budget)),
            Injection::UnknownToProxy => Some(FromAgent::Unknown(0x7f)),
            Injection::UnreadableToProxy => Some(FromAgent::Unreadable(FrameType::HealthStatus)),
            Injection::OfferToProxy => Some(FromAgent::Offer(YES)),
            Injection::WrongWayToProxy => Some(FromAgent::WrongDirection(FrameType::Cancel)),
            Injection::PingAgent
            | Injection::UnknownToAgent
            | Injection::ForeignCancel(_)
            | Injection::OfferToAgent
            | Injection::WrongWayToAgent => None,
        };
        if let Some(frame) = to_proxy {
            // An honest agent says nothing of this before it has opened.
            let speaks =
                self.to_proxy.flowing == Flowing::On && (self.books.agent.opened || !injection.is_honest());
            self.to_proxy.write(frame);
            return speaks;
        }
        let frame = match injection {
            Injection::PingAgent => FromProxy::Ping(self.books.budget),
            Injection::UnknownToAgent => FromProxy::Unknown(0x7f),
            Injection::ForeignCancel(lane) => {
                // The agent believes it, and answers what it skips.
                self.books.forged = true;
                FromProxy::Cancel { id: Scenario::id(lane), echo: None, reason: CancelReason::Manual }
            }
            Injection::OfferToAgent => FromProxy::Offer(YES),
            Injection::WrongWayToAgent => FromProxy::WrongDirection(FrameType::AgentResponse),
            Injection::Pause
            | Injection::PauseRequest(_)
            | Injection::Capacity(_)
            | Injection::StrayAnswer
            | Injection::ForeignAnswer(_)
            | Injection::PingProxy
            | Injection::UnknownToProxy
            | Injection::UnreadableToProxy
            | Injection::OfferToProxy
            | Injection::WrongWayToProxy => return false,
        };
        let speaks =
            self.to_agent.flowing == Flowing::On && (self.books.proxy.opened || !injection.is_honest());
        self.to_agent.write(frame);
        speaks
    }

    fn lane_of_written(&self, number: u8) -> Option<u8> {
        let entry = self.books.entries.get(usize::from(number))?;
        entry.written.then_some(entry.lane)
    }
}

/// The number of the plan that an exchange id stands for.
pub(crate) fn number(exchange: ExchangeId) -> u8 {
    u8::try_from(exchange.0).unwrap_or(u8::MAX)
}

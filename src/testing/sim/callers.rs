//! The proxy's application: requests, the connection each is given, and what their callers are told.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use crate::machine::registry::{Candidate, Fitness, HealthLimits, Sign, choose};
use crate::machine::{CancelError, ConnectionState, Ending, ExchangeId, Patience, Shut, Timestamp};
use crate::session::EncodedEvent;
use crate::testing::encoded;
use crate::testing::oracle::{Property, demand};
use crate::testing::rng::Rng;
use crate::wire::{
    Answer, CancelReason, CorrelationId, Event, GuardrailInspect, HealthState, RequestBodyChunk,
    RequestComplete, RequestHeaders, ResponseBodyChunk, ResponseHeaders, WebSocketFrame, WebSocketOpcode,
};

use super::connection::Serial;
use super::fault::Fault;
use super::hooks::Told;
use super::report::{Cause, End};
use super::schedule::Action;
use super::trace::What;
use super::world::{Phase, World};

/// One request: its events go to one connection, one after the other or several at once.
#[derive(Debug)]
struct Request {
    agent: u32,
    connection: Option<Serial>,
    events: VecDeque<Event>,
    /// Whether the next event waits for the answer to the one before.
    in_turn: bool,
    patience: Patience,
    deadline: Duration,
    retries: u32,
}

/// What somebody waits for.
#[derive(Debug)]
struct Call {
    request: u32,
    event: Event,
}

/// Everybody who asks, and what they wait for.
#[derive(Debug, Default)]
pub(super) struct Callers {
    requests: Vec<Request>,
    calls: BTreeMap<(Serial, ExchangeId), Call>,
    /// Grows with every choice of a connection.
    ticket: u64,
}

impl Callers {
    pub(super) fn begun(&self) -> u64 {
        self.requests.len() as u64
    }

    /// How many wait for something on this connection.
    pub(super) fn open_on(&self, serial: Serial) -> usize {
        self.calls.keys().filter(|(other, _)| *other == serial).count()
    }

    pub(super) fn open(&self) -> usize {
        self.calls.len()
    }

    /// The requests of those who wait on this connection.
    pub(super) fn ids_on(&self, serial: Serial) -> Vec<CorrelationId> {
        let here = self.calls.iter().filter(|((other, _), _)| *other == serial);
        here.map(|(_, call)| call.event.correlation_id().clone()).collect()
    }

    fn pick(&self, rng: &mut Rng) -> Option<(Serial, ExchangeId)> {
        let keys: Vec<(Serial, ExchangeId)> = self.calls.keys().copied().collect();
        rng.pick(&keys)
    }
}

impl World<'_> {
    /// The next request begins, or several do.
    pub(super) fn begin(&mut self) -> Result<(), Cause> {
        if self.phase != Phase::Faults {
            return Ok(());
        }
        self.faults()?;
        let many = if self.strikes(Fault::Burst) { self.rng.between(5, 15) } else { 1 };
        for _ in 0..many {
            if self.callers.begun() < u64::from(self.config.requests) {
                self.begin_one()?;
            }
        }
        let longest = if self.strikes(Fault::Lull) { self.config.proxy.lull } else { self.config.proxy.gap };
        let gap = self.rng.up_to(longest);
        self.schedule.set(gap, Action::Begin);
        Ok(())
    }

    fn begin_one(&mut self) -> Result<(), Cause> {
        let number = self.callers.begun();
        let agents = self.config.agents.saturating_add(self.config.hostile_agents);
        let (side, rng) = (&self.config.proxy, &mut self.rng);
        let events = match &mut self.hooks.workload {
            Some(workload) => workload(number, rng),
            None => usual(number, rng),
        };
        let request = Request {
            agent: u32::try_from(rng.below(u64::from(agents))).unwrap_or(0),
            connection: None,
            events: events.into(),
            in_turn: rng.per_mille(600),
            patience: if rng.per_mille(850) { Patience::Wait } else { Patience::Now },
            deadline: match rng.per_mille(333) {
                true => Duration::MAX,
                false => rng.up_to(side.deadline).max(Duration::from_micros(1)),
            },
            retries: side.retries,
        };
        self.callers.requests.push(request);
        self.report.requests = self.report.requests.saturating_add(1);
        self.advance(u32::try_from(number).unwrap_or(u32::MAX))
    }

    /// Submits the next event of a request, or all of them.
    fn advance(&mut self, number: u32) -> Result<(), Cause> {
        loop {
            let Some(request) = self.callers.requests.get_mut(number as usize) else { return Ok(()) };
            let in_turn = request.in_turn;
            let Some(event) = request.events.pop_front() else { return Ok(()) };
            let taken = self.ask(number, event)?;
            if in_turn || !taken {
                return Ok(());
            }
        }
    }

    /// Submits one event on the request's connection, chosen now if it has none. `false` if it was not
    /// taken anywhere; the request is over then.
    fn ask(&mut self, number: u32, event: Event) -> Result<bool, Cause> {
        loop {
            let Some(serial) = self.connection_for(number) else {
                self.report.unserved = self.report.unserved.saturating_add(1);
                self.note(0, What::Unserved { request: number });
                return Ok(false);
            };
            if self.submit(serial, number, &event)? {
                return Ok(true);
            }
            if !self.retry(number) {
                return Ok(false);
            }
        }
    }

    /// Whether a request may try another connection; if so it is unpinned from its own.
    fn retry(&mut self, number: u32) -> bool {
        let Some(request) = self.callers.requests.get_mut(number as usize) else { return false };
        let Some(left) = request.retries.checked_sub(1) else { return false };
        request.retries = left;
        request.connection = None;
        self.report.retries = self.report.retries.saturating_add(1);
        true
    }

    /// The connection that a request is pinned to, or the one that the registry chooses for it.
    fn connection_for(&mut self, number: u32) -> Option<Serial> {
        let request = self.callers.requests.get(number as usize)?;
        if request.connection.is_some() {
            return request.connection.filter(|serial| self.connections.contains_key(serial));
        }
        let agent = request.agent;
        let now = self.schedule.now;
        let mut serials = Vec::new();
        let mut candidates = Vec::new();
        for (serial, connection) in &self.connections {
            let Some(line) = self.lines.get(connection.line).filter(|line| line.agent == agent) else {
                continue;
            };
            let fitness = match connection.proxy.state() {
                ConnectionState::Open => line.health.fitness(HealthLimits::default(), now),
                ConnectionState::Opening | ConnectionState::Draining | ConnectionState::Closed => {
                    Fitness::Unfit
                }
            };
            // On a paused connection events wait, which is better than none.
            let paused = connection.proxy.shut() == Some(Shut::Paused);
            let fitness = if paused { fitness.max(Fitness::Degraded) } else { fitness };
            let load = connection.proxy.in_flight().saturating_add(connection.proxy.waiting());
            serials.push(*serial);
            candidates.push(Candidate { fitness, load });
        }
        self.callers.ticket = self.callers.ticket.saturating_add(1);
        let index = choose(&candidates, self.config.proxy.balance, self.callers.ticket)?;
        let serial = serials.get(index).copied()?;
        let line = self.connections.get(&serial)?.line;
        self.lines.get_mut(line)?.health.handle_chosen(now);
        self.callers.requests.get_mut(number as usize)?.connection = Some(serial);
        Some(serial)
    }

    fn submit(&mut self, serial: Serial, number: u32, event: &Event) -> Result<bool, Cause> {
        let now = self.schedule.now;
        let Some(request) = self.callers.requests.get(number as usize) else { return Ok(false) };
        let (patience, deadline) = (request.patience, now.after(request.deadline));
        let Some(connection) = self.connections.get_mut(&serial) else { return Ok(false) };
        let Ok(message) = EncodedEvent::new(event, connection.proxy.encoding()) else { return Ok(false) };
        let (tag, kind) = (connection.oracle.next_tag(), message.kind());
        self.touched.insert(serial);
        let before = connection.proxy.clone();
        match connection.proxy.submit(message, deadline, patience, now) {
            Ok(exchange) => {
                let id = event.correlation_id().as_str();
                connection.oracle.admitted(tag, (kind, id), encoded(event), exchange)?;
                self.callers.calls.insert((serial, exchange), Call { request: number, event: event.clone() });
                self.report.exchanges = self.report.exchanges.saturating_add(1);
                self.note(serial, What::Submitted { request: number, tag, exchange, kind });
                Ok(true)
            }
            Err(error) => {
                demand(connection.proxy == before, Property::P15, || format!("submit: {error}"))?;
                self.report.turned_away = self.report.turned_away.saturating_add(1);
                self.note(serial, What::Refused { request: number, why: error.to_string() });
                Ok(false)
            }
        }
    }

    /// A caller is told how its event ended.
    pub(super) fn told(
        &mut self,
        serial: Serial,
        exchange: ExchangeId,
        ending: &Ending<Vec<u8>>,
    ) -> Result<(), Cause> {
        let end = End::of(ending);
        self.note(serial, What::Ended { exchange, end });
        let call = self.callers.calls.remove(&(serial, exchange));
        demand(call.is_some(), Property::P1, || format!("{exchange} ended, and nobody waited for it"))?;
        let Some(Call { request, event }) = call else { return Ok(()) };
        let count = self.report.ends.entry(end).or_default();
        *count = count.saturating_add(1);
        self.judge(serial, &event, end, ending)?;
        match end {
            End::Answered => self.sign(serial, Sign::Answered),
            End::TimedOut => self.sign(serial, Sign::Failed),
            End::Expired
            | End::CancelledWritten
            | End::CancelledUnwritten
            | End::Refused
            | End::LostWritten
            | End::LostUnwritten => {}
        }
        match end {
            End::Answered => self.advance(request),
            // The agent has not seen it, so it may be asked elsewhere.
            End::Refused | End::LostUnwritten if self.retry(request) => self.ask(request, event).map(|_| ()),
            End::Refused
            | End::LostUnwritten
            | End::Expired
            | End::TimedOut
            | End::CancelledWritten
            | End::CancelledUnwritten
            | End::LostWritten => Ok(()),
        }
    }

    fn judge(
        &mut self,
        serial: Serial,
        event: &Event,
        end: End,
        ending: &Ending<Vec<u8>>,
    ) -> Result<(), Cause> {
        let Some(judge) = &mut self.hooks.judge else { return Ok(()) };
        let Some(connection) = self.connections.get(&serial) else { return Ok(()) };
        let Some(line) = self.lines.get(connection.line) else { return Ok(()) };
        let answer = match ending {
            Ending::Answered(payload) => connection.proxy.encoding().decode::<Answer>(payload).ok(),
            Ending::Expired
            | Ending::TimedOut
            | Ending::Cancelled { .. }
            | Ending::Refused
            | Ending::Lost { .. } => None,
        };
        let told = Told { agent: line.agent, honest: line.honest, event, end, answer };
        judge(&told).map_err(Cause::Judge)
    }

    fn sign(&mut self, serial: Serial, sign: Sign) {
        let (now, Some(connection)) = (self.schedule.now, self.connections.get(&serial)) else { return };
        if let Some(line) = self.lines.get_mut(connection.line) {
            line.health.handle_sign(sign, HealthLimits::default(), now);
        }
    }

    pub(super) fn hear_health(&mut self, serial: Serial, state: &HealthState) {
        match state {
            HealthState::Healthy => self.sign(serial, Sign::SaidHealthy),
            HealthState::Degraded { .. } => self.sign(serial, Sign::SaidDegraded),
            HealthState::Unhealthy { .. } => self.sign(serial, Sign::SaidUnhealthy),
            HealthState::Draining { .. } => {}
        }
    }

    // ---- callers who give up ----

    /// Somebody goes away. `false` if nobody is there.
    pub(super) fn give_up_one(&mut self) -> Result<bool, Cause> {
        let Some((serial, exchange)) = self.callers.pick(&mut self.rng) else { return Ok(false) };
        let now = self.schedule.now;
        let Some(connection) = self.connections.get_mut(&serial) else { return Ok(false) };
        let outcome = connection.proxy.cancel(exchange, CancelReason::ClientDisconnect, now);
        self.touched.insert(serial);
        demand(outcome.is_ok(), Property::P1, || format!("{exchange} has no end, yet can't be given up"))?;
        Ok(true)
    }

    pub(super) fn give_up_request(&mut self) -> bool {
        let Some(key) = self.callers.pick(&mut self.rng) else { return false };
        let Some(id) = self.callers.calls.get(&key).map(|call| call.event.correlation_id().clone()) else {
            return false;
        };
        let now = self.schedule.now;
        let Some(connection) = self.connections.get_mut(&key.0) else { return false };
        connection.proxy.cancel_request(&id, CancelReason::Manual, now);
        self.touched.insert(key.0);
        true
    }

    pub(super) fn give_up_unknown(&mut self, serial: Serial) -> Result<bool, Cause> {
        let now = self.schedule.now;
        let Some(connection) = self.connections.get_mut(&serial) else { return Ok(false) };
        let before = connection.proxy.clone();
        let outcome = connection.proxy.cancel(ExchangeId(u64::MAX), CancelReason::Manual, now);
        let pure = outcome == Err(CancelError::Unknown) && connection.proxy == before;
        demand(pure, Property::P15, || "the unknown could be given up".to_string())?;
        Ok(true)
    }

    /// The time by which every caller must have been told, on a healed network.
    pub(super) fn patience_ends(&self) -> Timestamp {
        self.schedule.now.after(Duration::from_secs(120))
    }
}

/// The events of a request where the user brings none: headers, bodies, and what else there is.
fn usual(number: u64, rng: &mut Rng) -> Vec<Event> {
    // Now and then two requests share an id, as a client that chooses them itself may make them.
    let id = match rng.per_mille(250) {
        true => CorrelationId::from(format!("shared-{}", rng.below(2))),
        false => CorrelationId::from(format!("request-{number}")),
    };
    let uri = rng.pick(&["/", "/admin/users", "/search?q=1", "/upload"]).unwrap_or("/");
    let method = rng.pick(&["GET", "POST"]).unwrap_or("GET");
    let mut headers = RequestHeaders::new(id.clone(), method, uri);
    headers.metadata.request_id = format!("{number}");
    headers.push_header("host", b"example.org");
    let mut events = Vec::from([Event::from(headers)]);
    for index in 0..u32::try_from(rng.below(3)).unwrap_or(0) {
        let longest = if rng.per_mille(100) { 3_000 } else { 60 };
        let data = alloc::vec![b'x'; usize::try_from(rng.below(longest)).unwrap_or(0)];
        events.push(Event::from(RequestBodyChunk {
            chunk_index: index,
            ..RequestBodyChunk::new(id.clone(), data)
        }));
    }
    match rng.below(6) {
        0 => events.push(Event::from(GuardrailInspect {
            content: format!("prompt of {number}"),
            correlation_id: id.clone(),
            ..GuardrailInspect::default()
        })),
        1 => events.push(Event::from(WebSocketFrame::new(id.clone(), WebSocketOpcode::Text, "hello"))),
        2 => events.push(Event::from(ResponseBodyChunk::new(id.clone(), "body"))),
        3 => events.push(Event::from(ResponseHeaders::new(id.clone(), 200))),
        _ => {}
    }
    if rng.per_mille(600) {
        events.push(Event::from(RequestComplete::new(id, 200)));
    }
    events
}

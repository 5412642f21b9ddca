//! The invariant of the unbounded proof, on states of the real machines.
//!
//! `proofs/smt/invariant.py` proves these clauses for any number of exchanges, of a model that is built
//! from the machines' tables. Here the same clauses, under the same names, are evaluated in every
//! state that the explorer reaches: a clause that says something else of the code than of the model
//! shows as a fault, and so does a step that the model forgot.

use dialback::machine::exchange::Stage;
use dialback::machine::inbox::Work;
use dialback::machine::{
    Backlog, ConnectionState, ExchangeId, FromAgent, FromProxy, Matching, ToAgent, ToProxy,
};
use dialback::testing::{Property, Violated};
use dialback::wire::FlowAction;

use crate::scenario::{Injection, Scenario};
use crate::system::books::{AtAgent, UNSEEN};
use crate::system::{Flowing, Sys};

/// What a clause speaks of.
#[derive(Clone, Copy)]
enum Holds {
    State(fn(&View) -> bool),
    Each(fn(&View, &Exchange) -> bool),
    Pair(fn(&View, &Exchange, &Exchange) -> bool),
}

/// A clause of the invariant.
#[derive(Clone, Copy)]
pub struct Clause {
    /// As in the proof.
    pub name: &'static str,
    /// The property that it serves first.
    pub property: Property,
    holds: Holds,
}

/// Where an exchange stands, before and after its life among the tables too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    New,
    Queued,
    InFlight,
    Abandoned,
    Gone,
}

/// Where an event stands at the agent, before and after its life in the inbox too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Absent,
    Waiting,
    Skipped,
    Running,
    Told,
    Done,
}

/// What a clause may ask of one exchange. What was said of it is the observer's; where it stands is
/// the machines'.
#[derive(Clone, Copy, Debug)]
struct Exchange {
    number: u8,
    lane: u8,
    place: Place,
    told: bool,
    written: bool,
    cancels: usize,
    /// Where its event is on the way to the agent.
    event: Option<usize>,
    /// Where its Cancel is on the way to the agent.
    cancel: Option<usize>,
    at: At,
    handed: bool,
    unseen: bool,
    /// Its answer is on the way to the proxy.
    answer: bool,
    request_paused: bool,
}

/// What a clause may ask of a state.
#[derive(Debug)]
struct View {
    exchanges: Vec<Exchange>,
    open: bool,
    draining: bool,
    paused: bool,
    in_flight: usize,
    limit: usize,
    alive: bool,
    whole: bool,
    jobs: usize,
    pausing: bool,
    /// Pauses and resumes on the way to the proxy: whether each is a pause.
    signals: Vec<bool>,
    exact: bool,
    cancellation: bool,
    hostile: bool,
    manual: bool,
    marks: (usize, usize),
}

impl Exchange {
    const fn queued(&self) -> bool {
        matches!(self.place, Place::Queued)
    }

    const fn on_wire(&self) -> bool {
        matches!(self.place, Place::InFlight | Place::Abandoned)
    }

    const fn has_job(&self) -> bool {
        matches!(self.at, At::Waiting | At::Skipped | At::Running | At::Told)
    }

    const fn owed(&self) -> bool {
        self.event.is_some() || self.has_job() || self.answer
    }

    const fn untouched(&self) -> bool {
        let said = self.told || self.written || self.cancels > 0;
        let moved =
            self.event.is_some() || self.cancel.is_some() || self.answer || self.handed || self.unseen;
        !said && !moved && matches!(self.at, At::Absent)
    }
}

/// Whether `then` holds where `given` does.
const fn implies(given: bool, then: bool) -> bool {
    !given || then
}

const fn each(name: &'static str, property: Property, holds: fn(&View, &Exchange) -> bool) -> Clause {
    Clause { name, property, holds: Holds::Each(holds) }
}

const fn pair(
    name: &'static str,
    property: Property,
    holds: fn(&View, &Exchange, &Exchange) -> bool,
) -> Clause {
    Clause { name, property, holds: Holds::Pair(holds) }
}

const fn state(name: &'static str, property: Property, holds: fn(&View) -> bool) -> Clause {
    Clause { name, property, holds: Holds::State(holds) }
}

/// Every clause, in the order of the proof.
pub const CLAUSES: [Clause; 23] = [
    each("nothing_before_admission", Property::P1, |_, x| implies(x.place == Place::New, x.untouched())),
    each("nothing_of_what_waits", Property::P1, |_, x| implies(x.queued(), x.untouched())),
    each("in_flight_is_open", Property::P1, |_, x| {
        implies(x.place == Place::InFlight, x.written && !x.told && x.cancels == 0)
    }),
    each("abandoned_is_settled", Property::P1, |s, x| {
        implies(x.place == Place::Abandoned, x.written && x.told && x.cancels == usize::from(s.cancellation))
    }),
    each("gone_is_told_once", Property::P1, |_, x| implies(x.place == Place::Gone, x.told)),
    each("closed_is_empty", Property::P1, |s, x| implies(!s.open, !x.queued() && !x.on_wire())),
    each("one_cancel", Property::P6, |s, x| {
        let rightly = x.cancels == 1 && s.cancellation && x.written && x.told;
        (x.cancels == 0 || rightly) && implies(x.cancel.is_some(), x.cancels == 1)
    }),
    each("cancel_behind_its_event", Property::P6, |_, x| match (x.event, x.cancel) {
        (Some(event), Some(cancel)) => event < cancel,
        (None, _) | (_, None) => true,
    }),
    each("stamps_are_past", Property::P6, |_, x| implies(x.event.is_some(), x.written)),
    pair("one_at_a_time", Property::P2, |s, x, y| {
        implies(x.lane == y.lane && !s.exact, !(x.on_wire() && y.on_wire()))
    }),
    each("owed_has_its_slot", Property::P2, |s, x| implies(s.open && !s.hostile && x.owed(), x.on_wire())),
    each("slot_is_owed", Property::P4, |s, x| {
        implies(s.open && s.alive && s.whole && !s.hostile && x.on_wire(), x.owed())
    }),
    each("in_one_place", Property::P2, |_, x| {
        implies(x.event.is_some(), x.at == At::Absent)
            && implies(x.answer, x.at == At::Done)
            && implies(x.at != At::Absent, x.written)
    }),
    pair("cancel_before_the_next_event", Property::P6, |s, x, y| match (x.cancel, y.event) {
        (Some(cancel), Some(event)) => implies(x.lane == y.lane && !s.exact && !s.hostile, cancel < event),
        (None, _) | (_, None) => true,
    }),
    pair("cancel_finds_its_own", Property::P6, |s, x, y| {
        implies(x.lane == y.lane && !s.exact && !s.hostile, !(x.cancel.is_some() && y.has_job()))
    }),
    each("spared_is_unwanted", Property::P2, |_, x| {
        implies(matches!(x.at, At::Skipped | At::Told) || x.unseen, x.told)
    }),
    each("handed_is_running", Property::P1, |_, x| match x.at {
        At::Running | At::Told => x.handed && !x.unseen,
        At::Absent | At::Waiting | At::Skipped => !x.handed && !x.unseen,
        At::Done => x.handed != x.unseen,
    }),
    state("in_flight_within_limit", Property::P4, |s| s.in_flight <= s.limit),
    each("draining_has_no_queue", Property::P9, |s, x| implies(s.draining, !x.queued())),
    state("draining_has_some_left", Property::P9, |s| implies(s.open && s.draining, s.in_flight >= 1)),
    state("signal_follows_backlog", Property::P5, |s| {
        let (high, low) = s.marks;
        let marks = if s.pausing { s.jobs > low } else { s.jobs < high };
        implies(s.alive && !s.hostile, marks)
    }),
    state("last_signal_counts", Property::P5, |s| {
        let heard = s.signals.last().map_or(s.paused, |pause| *pause) == s.pausing;
        implies(s.open && s.alive && s.whole && !s.manual, heard)
    }),
    each("requests_are_not_paused", Property::P5, |s, x| implies(!s.manual, !x.request_paused)),
];

/// Asks every clause of a state.
///
/// # Errors
/// The first clause that does not hold.
pub fn check(scenario: &Scenario, sys: &Sys) -> Result<(), Violated> {
    // The proof is about proxies that are this crate's: no Cancel is forged.
    if scenario.injections.iter().any(|injection| matches!(injection, Injection::ForeignCancel(_))) {
        return Ok(());
    }
    let view = View::of(scenario, sys);
    for clause in CLAUSES {
        if let Some(whom) = view.exception(clause) {
            let detail = format!("the invariant's clause {} does not hold of {whom}", clause.name);
            return Err(Violated { property: clause.property, detail });
        }
    }
    Ok(())
}

impl View {
    /// Of whom the clause does not hold, if of anybody.
    fn exception(&self, clause: Clause) -> Option<String> {
        match clause.holds {
            Holds::State(holds) => (!holds(self)).then(|| "the connection".to_string()),
            Holds::Each(holds) => {
                let bad = self.exchanges.iter().find(|x| !holds(self, x));
                bad.map(|x| format!("{x:?}"))
            }
            Holds::Pair(holds) => {
                let others = |x| self.exchanges.iter().filter(move |y: &&Exchange| y.number != x);
                let pairs = self.exchanges.iter().flat_map(|x| others(x.number).map(move |y| (x, y)));
                let mut bad = pairs.filter(|(x, y)| !holds(self, x, y));
                bad.next().map(|(x, y)| format!("{x:?} and {y:?}"))
            }
        }
    }

    fn of(scenario: &Scenario, sys: &Sys) -> Self {
        let open = sys.proxy.state() != ConnectionState::Closed;
        let hostile = !scenario.is_honest();
        let pauses =
            |injection: &Injection| matches!(injection, Injection::Pause | Injection::PauseRequest(_));
        let mut view = Self {
            exchanges: (0_u8..).zip(&sys.books.entries).map(|(number, _)| exchange(sys, number)).collect(),
            open,
            draining: sys.proxy.state() == ConnectionState::Draining,
            paused: sys.proxy.is_paused(),
            in_flight: sys.proxy.in_flight(),
            limit: scenario.limit() as usize,
            alive: sys.agent.state() != ConnectionState::Closed,
            whole: sys.to_agent.flowing == Flowing::On && sys.to_proxy.flowing == Flowing::On,
            jobs: sys.agent.unanswered(),
            pausing: sys.agent.is_pausing(),
            signals: Vec::new(),
            exact: scenario.matching == Matching::ByExchangeId,
            cancellation: scenario.cancellation,
            hostile,
            manual: hostile || scenario.injections.iter().any(pauses),
            marks: scenario.marks,
        };
        view.read_to_agent(sys);
        view.read_to_proxy(sys);
        view.note_hands(sys);
        view
    }

    fn at(&mut self, number: u8) -> Option<&mut Exchange> {
        self.exchanges.get_mut(usize::from(number))
    }

    /// What is on its way to the agent: the stream, and behind it what the machine has not given out.
    fn read_to_agent(&mut self, sys: &Sys) {
        let mut cancels = Vec::new();
        let mut position = 0;
        for frame in &sys.to_agent.frames {
            match frame {
                FromProxy::Event { payload, .. } => {
                    if let Some(x) = self.at(*payload) {
                        x.event = Some(position);
                    }
                }
                FromProxy::Cancel { id, echo, .. } => cancels.push((position, Scenario::lane(id), *echo)),
                FromProxy::Offer(_)
                | FromProxy::HandshakeAnswer(_)
                | FromProxy::Ping(_)
                | FromProxy::Pong
                | FromProxy::WrongDirection(_)
                | FromProxy::Unreadable(_)
                | FromProxy::Unknown(_) => {}
            }
            position += 1;
        }
        // With its gate shut, the machine gives out what needs none.
        let mut proxy = sys.proxy.clone();
        proxy.handle_backlog(Backlog::Above);
        let in_stream = cancels.len();
        while let Some(frame) = proxy.poll_transmit() {
            if let ToAgent::Cancel { id, exchange, .. } = frame {
                cancels.push((position, Scenario::lane(&id), exchange));
            }
            position += 1;
        }
        for (index, (position, lane, named)) in cancels.into_iter().enumerate() {
            let meant = match named {
                Some(exchange) => u8::try_from(exchange.0).ok(),
                // Events that are written behind the end of a stream are gone, and so is the order to go by.
                None if index < in_stream && sys.to_agent.flowing != Flowing::On => None,
                None => self.last_before(lane, position),
            };
            if let Some(x) = meant.and_then(|number| self.at(number)) {
                x.cancel = Some(position);
                // The observer counts what was given out.
                x.cancels += usize::from(index >= in_stream);
            }
        }
    }

    /// The event of a lane that was written last before this place in the queue.
    fn last_before(&self, lane: u8, position: usize) -> Option<u8> {
        let before =
            |x: &&Exchange| x.written && x.lane == lane && x.event.is_none_or(|event| event < position);
        self.exchanges.iter().filter(before).map(|x| x.number).next_back()
    }

    /// What is on its way to the proxy, likewise.
    fn read_to_proxy(&mut self, sys: &Sys) {
        let owing = |lane, exchange: Option<ExchangeId>| {
            let exchange = exchange.and_then(|exchange| u8::try_from(exchange.0).ok());
            sys.books.find(exchange.is_some(), Some(lane), exchange)
        };
        for frame in &sys.to_proxy.frames {
            match frame {
                FromAgent::Answer { id: Some(id), exchange, payload: UNSEEN } => {
                    self.answered(owing(Scenario::lane(id), *exchange), true);
                }
                FromAgent::Answer { payload, .. } => self.answered(Some(*payload), false),
                FromAgent::Flow { id: None, action } => self.signalled(*action),
                FromAgent::Offer(_)
                | FromAgent::HandshakeAnswer(_)
                | FromAgent::Flow { .. }
                | FromAgent::Health { .. }
                | FromAgent::Report { .. }
                | FromAgent::Ping(_)
                | FromAgent::Pong
                | FromAgent::WrongDirection(_)
                | FromAgent::Unreadable(_)
                | FromAgent::Unknown(_) => {}
            }
        }
        let mut agent = sys.agent.clone();
        while let Some(frame) = agent.poll_transmit() {
            match frame {
                ToProxy::Answer { payload, .. } => self.answered(Some(payload), false),
                ToProxy::AnswerUnseen { id, echo } => self.answered(owing(Scenario::lane(&id), echo), true),
                ToProxy::Flow(action) => self.signalled(action),
                ToProxy::Offer(_)
                | ToProxy::HandshakeAnswer(_)
                | ToProxy::Refuse(_)
                | ToProxy::Draining
                | ToProxy::Report { .. }
                | ToProxy::Ping { .. }
                | ToProxy::Pong(_) => {}
            }
        }
    }

    fn answered(&mut self, number: Option<u8>, unseen: bool) {
        if let Some(x) = number.and_then(|number| self.at(number)) {
            x.answer = true;
            x.unseen |= unseen;
            if unseen {
                // The observer takes note of it when it is written; the machine was done with it before.
                x.at = At::Done;
            }
        }
    }

    fn signalled(&mut self, action: FlowAction) {
        match action {
            FlowAction::Pause => self.signals.push(true),
            FlowAction::Resume => self.signals.push(false),
            FlowAction::UpdateCapacity { .. } => {}
        }
    }

    /// Who had the event: what the observer saw given out. Of an answer that has gone, it remembers no more
    /// than that there was one.
    fn note_hands(&mut self, sys: &Sys) {
        for (x, entry) in self.exchanges.iter_mut().zip(&sys.books.entries) {
            x.unseen |= x.at == At::Done && entry.at_agent == AtAgent::Skipped;
            x.handed = match entry.at_agent {
                AtAgent::Delivered | AtAgent::Told => true,
                AtAgent::Done => !x.unseen,
                AtAgent::No | AtAgent::Arrived | AtAgent::Skipped => false,
            };
        }
    }
}

fn exchange(sys: &Sys, number: u8) -> Exchange {
    let entry = sys.books.entries.get(usize::from(number)).copied().unwrap_or_default();
    let name = ExchangeId(u64::from(number));
    let place = match sys.proxy.stage(name) {
        Some(Stage::Queued) => Place::Queued,
        Some(Stage::InFlight) => Place::InFlight,
        Some(Stage::Abandoned) => Place::Abandoned,
        None if entry.admitted => Place::Gone,
        None => Place::New,
    };
    let at = if sys.agent.state() == ConnectionState::Closed {
        // The machine has dropped what it had; the observer knows how far that had come.
        match entry.at_agent {
            AtAgent::No => At::Absent,
            AtAgent::Arrived => At::Waiting,
            AtAgent::Skipped => At::Skipped,
            AtAgent::Delivered => At::Running,
            AtAgent::Told => At::Told,
            AtAgent::Done => At::Done,
        }
    } else {
        match sys.agent.work(name) {
            Some(Work::Waiting) => At::Waiting,
            Some(Work::Skipped) => At::Skipped,
            Some(Work::Running) => At::Running,
            Some(Work::Told) => At::Told,
            None if entry.at_agent == AtAgent::No => At::Absent,
            None => At::Done,
        }
    };
    Exchange {
        number,
        lane: entry.lane,
        place,
        told: entry.told.is_some(),
        written: entry.written,
        cancels: usize::from(entry.cancels),
        event: None,
        cancel: None,
        at,
        handed: false,
        unseen: false,
        answer: false,
        request_paused: sys.proxy.is_request_paused(&Scenario::id(entry.lane)),
    }
}

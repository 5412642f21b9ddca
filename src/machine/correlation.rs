//! Which answer belongs to which event.
//!
//! Nothing on the wire says which event of a correlation id an answer belongs to, unless the
//! agent echoes exchange ids. So each id is a lane: without the echo at most one unanswered event
//! of a lane is on the wire and the rest wait behind it in order; with it, events of a lane are
//! pipelined and answers match exactly. An abandoned exchange keeps its place in the lane until
//! its late answer has come, so that the answer meets no other event.

mod lane;

use alloc::collections::BTreeSet;
use alloc::collections::btree_map::{BTreeMap, Entry};
use alloc::vec::Vec;

use crate::wire::{CorrelationId, EventKind};

use super::Payload;
use super::cancellation::{Owed, OwedLimits};
use super::exchange::{End, ExchangeId, Fact, Stage, Step, step};
use super::flow::{Flow, Gate, Shut};
use super::handshake::Matching;
use super::tally::Tally;
use super::time::{Timestamp, earliest};
use lane::Lane;

/// Whether a lane's next event may be written, as far as the lane is concerned (P2, P3, P5):
/// total over how answers match, whether an unanswered event of the lane is on the wire, and
/// whether the agent paused the request.
// Rule: X-MATCH-1.
pub const fn lane_gate(matching: Matching, unanswered: bool, paused: bool) -> Gate {
    match (paused, matching, unanswered) {
        (true, Matching::OneAtATime | Matching::ByExchangeId, true | false) => {
            Gate::Shut(Shut::RequestPaused)
        }
        (false, Matching::OneAtATime, true) => Gate::Shut(Shut::Behind),
        (false, Matching::OneAtATime, false) | (false, Matching::ByExchangeId, true | false) => Gate::Open,
    }
}

/// An event to be sent and the terms on which it waits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Submission<P> {
    /// Names the exchange; never used twice on a connection.
    pub exchange: ExchangeId,
    /// The request that the event belongs to.
    pub id: CorrelationId,
    /// What kind of event it is.
    pub kind: EventKind,
    /// The event itself, encoded.
    pub payload: P,
    /// When its caller stops waiting: covers queueing, writing and answering.
    /// [`Timestamp::NEVER`] for no limit.
    // Rule: X-TIME-1.
    pub deadline: Timestamp,
    /// What to do where it can't be written at once.
    pub patience: Patience,
}

/// What a caller wants where an event can't be written at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
// Rule: F-WAIT-1.
pub enum Patience {
    /// Refuse it.
    Now,
    /// Let it wait, in bounds, until its deadline.
    Wait,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Waiting<P> {
    id: CorrelationId,
    kind: EventKind,
    payload: P,
    deadline: Timestamp,
    /// When it was submitted. Measured by, not acted upon.
    since: Tally<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct OnWire {
    id: CorrelationId,
    kind: EventKind,
    claim: Claim,
}

/// Who waits for the answer to an event that is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Claim {
    Caller { deadline: Timestamp, since: Tally<Timestamp> },
    Nobody { since: Timestamp },
}

/// Whose exchange it was, what kind of event, and the event where it was taken out of the queue.
type Told<P> = (CorrelationId, EventKind, Option<P>);

/// What an answer turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Matched {
    /// The answer of an exchange somebody waits for; it has ended.
    Ended(ExchangeId),
    /// The late answer of an abandoned one; the debt is paid.
    Late,
    /// Nobody's.
    Stray,
}

/// What an applied fact did to an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Applied<P> {
    pub(crate) exchange: ExchangeId,
    pub(crate) step: Step,
    pub(crate) was: Stage,
    pub(crate) id: CorrelationId,
    pub(crate) kind: EventKind,
    /// The event, where it had been waiting and the step took it out of the queue.
    pub(crate) payload: Option<P>,
    /// When it was submitted; for an abandoned one, when it was abandoned.
    pub(crate) since: Timestamp,
}

/// Every live exchange of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Correlation<P> {
    matching: Matching,
    waiting: BTreeMap<ExchangeId, Waiting<P>>,
    on_wire: BTreeMap<ExchangeId, OnWire>,
    lanes: BTreeMap<CorrelationId, Lane>,
    /// Heads of lanes whose lane gate is open. Follows from the lanes and the flow.
    ready: BTreeSet<ExchangeId>,
    /// When callers stop waiting. Follows from the two tables.
    deadlines: BTreeSet<(Timestamp, ExchangeId)>,
    owed: Owed,
    /// Sum of the waiting payloads' sizes.
    waiting_bytes: usize,
}

impl<P: Payload> Correlation<P> {
    pub(crate) const fn new(matching: Matching) -> Self {
        Self {
            matching,
            waiting: BTreeMap::new(),
            on_wire: BTreeMap::new(),
            lanes: BTreeMap::new(),
            ready: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            owed: Owed::new(),
            waiting_bytes: 0,
        }
    }

    /// Unanswered events on the wire, abandoned ones included: what the window counts (P4).
    pub(crate) fn in_flight(&self) -> usize {
        self.on_wire.len()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) const fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    pub(crate) fn owed(&self) -> &Owed {
        &self.owed
    }

    pub(crate) fn stage(&self, exchange: ExchangeId) -> Option<Stage> {
        self.look(exchange).map(|(stage, _)| stage)
    }

    /// Where an exchange stands, and since when it has been under way, or abandoned.
    fn look(&self, exchange: ExchangeId) -> Option<(Stage, Timestamp)> {
        if let Some(waiting) = self.waiting.get(&exchange) {
            return Some((Stage::Queued, *waiting.since));
        }
        self.on_wire.get(&exchange).map(|entry| match entry.claim {
            Claim::Caller { since, .. } => (Stage::InFlight, *since),
            Claim::Nobody { since } => (Stage::Abandoned, since),
        })
    }

    /// Why an event of `id` given now would have to wait for others of its id, if it would.
    pub(crate) fn lane_shut(&self, id: &CorrelationId, flow: &Flow) -> Option<Shut> {
        let lane = self.lanes.get(id);
        if lane.is_some_and(|lane| !lane.waiting.is_empty()) {
            return Some(Shut::Behind);
        }
        let unanswered = lane.is_some_and(|lane| !lane.on_wire.is_empty());
        match lane_gate(self.matching, unanswered, flow.is_paused_id(id)) {
            Gate::Open => None,
            Gate::Shut(shut) => Some(shut),
        }
    }

    /// Takes an event in. The caller has made sure that its id is not live.
    pub(crate) fn admit(&mut self, submission: Submission<P>, flow: &Flow, now: Timestamp) {
        let Submission { exchange, id, kind, payload, deadline, patience: _ } = submission;
        self.waiting_bytes = self.waiting_bytes.saturating_add(payload.size());
        self.deadlines.insert((deadline, exchange));
        let lane = self.lanes.entry(id.clone()).or_default();
        lane.waiting.push(exchange);
        lane.settle(self.matching, flow.is_paused_id(&id), &mut self.ready);
        self.waiting.insert(exchange, Waiting { id, kind, payload, deadline, since: Tally::new(now) });
    }

    /// The exchange whose event goes next, if any lane has one ready.
    pub(crate) fn next_ready(&self) -> Option<ExchangeId> {
        self.ready.first().copied()
    }

    /// Live exchanges, waiting ones first, each in order of id.
    pub(crate) fn live(&self) -> Vec<ExchangeId> {
        self.waiting.keys().chain(self.on_wire.keys()).copied().collect()
    }

    /// Exchanges in flight that somebody waits for, and their requests.
    pub(crate) fn claimed(&self) -> Vec<(ExchangeId, CorrelationId)> {
        let claimed = self.on_wire.iter().filter(|(_, entry)| matches!(entry.claim, Claim::Caller { .. }));
        claimed.map(|(exchange, entry)| (*exchange, entry.id.clone())).collect()
    }

    /// Waiting exchanges in order of id.
    pub(crate) fn all_waiting(&self) -> Vec<ExchangeId> {
        self.waiting.keys().copied().collect()
    }

    /// The live exchanges of one request.
    pub(crate) fn of_request(&self, id: &CorrelationId) -> Vec<ExchangeId> {
        self.lanes
            .get(id)
            .map_or_else(Vec::new, |lane| lane.waiting.iter().chain(lane.on_wire.iter()).collect())
    }

    pub(crate) fn poll_timeout(&self, limits: OwedLimits) -> Option<Timestamp> {
        let first = self.deadlines.first().map(|(at, _)| *at).filter(|at| *at < Timestamp::NEVER);
        earliest(first, self.owed.poll_timeout(limits))
    }

    /// The exchange whose deadline has passed, if one has: the oldest deadline first.
    pub(crate) fn overdue(&self, now: Timestamp) -> Option<ExchangeId> {
        let (at, exchange) = self.deadlines.first()?;
        (*at <= now && *at < Timestamp::NEVER).then_some(*exchange)
    }

    /// Finds the exchange an answer belongs to (P2).
    // Rule: X-ECHO-2.
    pub(crate) fn find(&self, id: Option<&str>, exchange: Option<ExchangeId>) -> Option<ExchangeId> {
        match self.matching {
            Matching::OneAtATime => self.lanes.get(id?)?.on_wire.first(),
            Matching::ByExchangeId => {
                let exchange = exchange?;
                let entry = self.on_wire.get(&exchange)?;
                // An answer that names both must name a pair that exists.
                id.is_none_or(|id| id == entry.id.as_str()).then_some(exchange)
            }
        }
    }

    /// Applies a fact to a live exchange: asks the table, then does what it says.
    /// `None` if the exchange is not live.
    pub(crate) fn apply(
        &mut self,
        exchange: ExchangeId,
        fact: Fact,
        flow: &Flow,
        now: Timestamp,
    ) -> Option<Applied<P>> {
        let (was, since) = self.look(exchange)?;
        let step = step(was, fact);
        let (id, kind, payload) = match step {
            Step::Stay | Step::Stray => self.describe(exchange)?,
            Step::Write => self.write(exchange, flow)?,
            Step::Finish(_) | Step::Forget => match was {
                Stage::Queued => self.withdraw(exchange, flow)?,
                Stage::InFlight | Stage::Abandoned => self.resolve(exchange, flow)?,
            },
            Step::Abandon(_) => self.abandon(exchange, now)?,
        };
        Some(Applied { exchange, step, was, id, kind, payload, since })
    }

    /// The agent said something of this request: see whether its lane opens or shuts.
    // Rule: F-PAUSE-3.
    pub(crate) fn settle(&mut self, id: &CorrelationId, flow: &Flow) {
        if let Some(lane) = self.lanes.get(id) {
            lane.settle(self.matching, flow.is_paused_id(id), &mut self.ready);
        }
    }

    fn describe(&self, exchange: ExchangeId) -> Option<Told<P>> {
        let waiting = self.waiting.get(&exchange).map(|entry| (entry.id.clone(), entry.kind, None));
        waiting.or_else(|| self.on_wire.get(&exchange).map(|entry| (entry.id.clone(), entry.kind, None)))
    }

    fn write(&mut self, exchange: ExchangeId, flow: &Flow) -> Option<Told<P>> {
        let Waiting { id, kind, payload, deadline, since } = self.take_waiting(exchange)?;
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.waiting.remove(exchange);
            lane.on_wire.insert(exchange);
            lane.settle(self.matching, flow.is_paused_id(&id), &mut self.ready);
        }
        let claim = Claim::Caller { deadline, since };
        self.on_wire.insert(exchange, OnWire { id: id.clone(), kind, claim });
        Some((id, kind, Some(payload)))
    }

    // Rule: X-MATCH-2.
    fn abandon(&mut self, exchange: ExchangeId, now: Timestamp) -> Option<Told<P>> {
        let entry = self.on_wire.get_mut(&exchange)?;
        if let Claim::Caller { deadline, .. } = entry.claim {
            self.deadlines.remove(&(deadline, exchange));
        }
        entry.claim = Claim::Nobody { since: now };
        self.owed.add(now, exchange);
        Some((entry.id.clone(), entry.kind, None))
    }

    /// Takes a waiting exchange out.
    fn withdraw(&mut self, exchange: ExchangeId, flow: &Flow) -> Option<Told<P>> {
        let Waiting { id, kind, payload, deadline, .. } = self.take_waiting(exchange)?;
        self.deadlines.remove(&(deadline, exchange));
        self.leave_lane(&id, flow, |lane| lane.waiting.remove(exchange));
        Some((id, kind, Some(payload)))
    }

    /// Takes an exchange out whose event is on the wire.
    fn resolve(&mut self, exchange: ExchangeId, flow: &Flow) -> Option<Told<P>> {
        let OnWire { id, kind, claim } = self.on_wire.remove(&exchange)?;
        match claim {
            Claim::Caller { deadline, .. } => {
                self.deadlines.remove(&(deadline, exchange));
            }
            Claim::Nobody { since } => self.owed.remove(since, exchange),
        }
        self.leave_lane(&id, flow, |lane| lane.on_wire.remove(exchange));
        Some((id, kind, None))
    }

    fn take_waiting(&mut self, exchange: ExchangeId) -> Option<Waiting<P>> {
        let entry = self.waiting.remove(&exchange)?;
        self.waiting_bytes = self.waiting_bytes.saturating_sub(entry.payload.size());
        self.ready.remove(&exchange);
        Some(entry)
    }

    /// One exchange leaves its lane, and a lane that is empty then goes.
    fn leave_lane(&mut self, id: &CorrelationId, flow: &Flow, leave: impl FnOnce(&mut Lane)) {
        let Entry::Occupied(mut lane) = self.lanes.entry(id.clone()) else { return };
        leave(lane.get_mut());
        if lane.get().is_empty() {
            lane.remove();
        } else {
            lane.get().settle(self.matching, flow.is_paused_id(id), &mut self.ready);
        }
    }

    /// Says what is wrong with the tables, if anything is: what is kept twice must agree.
    pub(crate) fn inconsistency(&self, flow: &Flow) -> Option<&'static str> {
        let bytes: usize = self.waiting.values().map(|entry| entry.payload.size()).sum();
        if bytes != self.waiting_bytes {
            return Some("waiting bytes");
        }
        let in_lanes: usize = self.lanes.values().map(Lane::len).sum();
        if in_lanes != self.waiting.len().saturating_add(self.on_wire.len()) {
            return Some("lanes and tables differ in number");
        }
        let mut ready = BTreeSet::new();
        for (id, lane) in &self.lanes {
            if lane.is_empty() {
                return Some("an empty lane");
            }
            if self.matching == Matching::OneAtATime && lane.on_wire.iter().count() > 1 {
                return Some("two unanswered events of one id");
            }
            ready.extend(lane.ready(self.matching, flow.is_paused_id(id)));
        }
        if ready != self.ready {
            return Some("ready heads");
        }
        let claims = self.on_wire.iter().map(|(exchange, entry)| (*exchange, entry.claim));
        let waiting = self.waiting.iter().map(|(exchange, entry)| {
            (*exchange, Claim::Caller { deadline: entry.deadline, since: entry.since })
        });
        let mut deadlines = BTreeSet::new();
        let mut owed = Owed::new();
        for (exchange, claim) in waiting.chain(claims) {
            match claim {
                Claim::Caller { deadline, .. } => {
                    deadlines.insert((deadline, exchange));
                }
                Claim::Nobody { since } => owed.add(since, exchange),
            }
        }
        (deadlines != self.deadlines || owed != self.owed).then_some("deadlines or debts")
    }
}

impl Matched {
    /// What a step on an answer means.
    pub(crate) const fn from_step(exchange: ExchangeId, step: Step) -> Self {
        match step {
            Step::Finish(End::Answered) => Self::Ended(exchange),
            Step::Forget => Self::Late,
            Step::Finish(End::Expired | End::TimedOut | End::Cancelled | End::Refused | End::Lost)
            | Step::Stay
            | Step::Write
            | Step::Abandon(_)
            | Step::Stray => Self::Stray,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::FlowAction;

    fn flow() -> Flow {
        Flow::new(8, None, 8)
    }

    fn submission(exchange: u64, id: &str) -> Submission<u8> {
        Submission {
            exchange: ExchangeId(exchange),
            id: CorrelationId::from(id),
            kind: EventKind::RequestHeaders,
            payload: exchange as u8,
            deadline: Timestamp::NEVER,
            patience: Patience::Wait,
        }
    }

    fn write_next(table: &mut Correlation<u8>, flow: &Flow) -> Option<ExchangeId> {
        let exchange = table.next_ready()?;
        table.apply(exchange, Fact::Written, flow, Timestamp::ZERO)?;
        assert_eq!(table.inconsistency(flow), None);
        Some(exchange)
    }

    #[test]
    // Rule: X-MATCH-1.
    fn events_of_one_id_wait_for_each_other() {
        let (mut table, flow) = (Correlation::new(Matching::OneAtATime), flow());
        for exchange in 1..=2 {
            table.admit(submission(exchange, "a"), &flow, Timestamp::ZERO);
        }
        table.admit(submission(3, "b"), &flow, Timestamp::ZERO);
        assert_eq!(write_next(&mut table, &flow), Some(ExchangeId(1)));
        assert_eq!(write_next(&mut table, &flow), Some(ExchangeId(3)));
        assert_eq!(write_next(&mut table, &flow), None);
        let found = table.find(Some("a"), None).unwrap();
        assert_eq!(found, ExchangeId(1));
        table.apply(found, Fact::Answered, &flow, Timestamp::ZERO).unwrap();
        assert_eq!(write_next(&mut table, &flow), Some(ExchangeId(2)));
    }

    #[test]
    fn an_abandoned_exchange_keeps_its_id_shut_until_its_answer() {
        let (mut table, flow) = (Correlation::new(Matching::OneAtATime), flow());
        table.admit(submission(1, "a"), &flow, Timestamp::ZERO);
        table.admit(submission(2, "a"), &flow, Timestamp::ZERO);
        write_next(&mut table, &flow);
        let applied = table.apply(ExchangeId(1), Fact::DeadlinePassed, &flow, Timestamp::ZERO).unwrap();
        assert_eq!(applied.step, Step::Abandon(End::TimedOut));
        assert_eq!(write_next(&mut table, &flow), None);
        assert_eq!(table.in_flight(), 1);
        let late = table.find(Some("a"), None).unwrap();
        let applied = table.apply(late, Fact::Answered, &flow, Timestamp::ZERO).unwrap();
        assert_eq!(Matched::from_step(late, applied.step), Matched::Late);
        assert_eq!(write_next(&mut table, &flow), Some(ExchangeId(2)));
    }

    #[test]
    // Rule: X-ECHO-2.
    fn exchange_ids_let_events_of_one_id_overtake() {
        let (mut table, flow) = (Correlation::new(Matching::ByExchangeId), flow());
        table.admit(submission(1, "a"), &flow, Timestamp::ZERO);
        table.admit(submission(2, "a"), &flow, Timestamp::ZERO);
        write_next(&mut table, &flow);
        write_next(&mut table, &flow);
        assert_eq!(table.find(Some("a"), Some(ExchangeId(2))), Some(ExchangeId(2)));
        assert_eq!(table.find(Some("b"), Some(ExchangeId(2))), None);
        assert_eq!(table.find(Some("a"), None), None);
    }

    #[test]
    // Rule: F-PAUSE-3.
    fn a_paused_request_waits_and_others_do_not() {
        let (mut table, mut flow) = (Correlation::new(Matching::OneAtATime), flow());
        flow.handle_request_signal(&"a".into(), FlowAction::Pause).unwrap();
        table.admit(submission(1, "a"), &flow, Timestamp::ZERO);
        table.admit(submission(2, "b"), &flow, Timestamp::ZERO);
        assert_eq!(write_next(&mut table, &flow), Some(ExchangeId(2)));
        assert_eq!(write_next(&mut table, &flow), None);
        flow.handle_request_signal(&"a".into(), FlowAction::Resume).unwrap();
        table.settle(&"a".into(), &flow);
        assert_eq!(write_next(&mut table, &flow), Some(ExchangeId(1)));
    }

    /// A table with #1 of "a" abandoned, #2 of "a" behind it, #3 of "b" claimed, #4 of "c" ready.
    fn mixed() -> (Correlation<Vec<u8>>, Flow) {
        let (mut table, flow) = (Correlation::new(Matching::OneAtATime), flow());
        for (exchange, id) in [(1, "a"), (2, "a"), (3, "b"), (4, "c")] {
            let Submission { exchange, id, kind, deadline, patience, .. } = submission(exchange, id);
            let payload = alloc::vec![0; 10];
            let deadline = if exchange.0 == 3 { at(50) } else { deadline };
            table.admit(Submission { exchange, id, kind, payload, deadline, patience }, &flow, at(1));
        }
        for exchange in [1, 3] {
            table.apply(ExchangeId(exchange), Fact::Written, &flow, at(2)).unwrap();
        }
        table.apply(ExchangeId(1), Fact::Cancelled, &flow, at(9)).unwrap();
        assert_eq!(table.inconsistency(&flow), None);
        (table, flow)
    }

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    // Rule: X-MATCH-2.
    fn what_is_where_is_told() {
        let (table, _) = mixed();
        assert_eq!((table.in_flight(), table.waiting(), table.waiting_bytes()), (2, 2, 20));
        assert_eq!(table.owed().len(), 1);
        let stages = [1, 2, 3, 4, 5].map(|exchange| table.stage(ExchangeId(exchange)));
        let (queued, in_flight) = (Some(Stage::Queued), Some(Stage::InFlight));
        assert_eq!(stages, [Some(Stage::Abandoned), queued, in_flight, queued, None]);
        assert_eq!(table.next_ready(), Some(ExchangeId(4)));
        assert_eq!(table.live(), [2, 4, 1, 3].map(ExchangeId));
        assert_eq!(table.all_waiting(), [2, 4].map(ExchangeId));
        assert_eq!(table.claimed(), [(ExchangeId(3), "b".into())]);
        assert_eq!(table.of_request(&"a".into()), [2, 1].map(ExchangeId));
        assert_eq!(table.of_request(&"x".into()), []);
    }

    #[test]
    fn what_stands_in_the_way_of_a_lane_is_told() {
        let (table, mut flow) = mixed();
        let shut = |id: &str, flow: &Flow| table.lane_shut(&id.into(), flow);
        // Another waits; one is unanswered; one is ready to go first; nobody is there.
        let behind = Some(Shut::Behind);
        assert_eq!(["a", "b", "c", "x"].map(|id| shut(id, &flow)), [behind, behind, behind, None]);
        flow.handle_request_signal(&"x".into(), FlowAction::Pause).unwrap();
        assert_eq!(shut("x", &flow), Some(Shut::RequestPaused));
    }

    #[test]
    fn a_fact_says_since_when() {
        let (mut table, flow) = mixed();
        let mut since =
            |exchange, fact| table.apply(ExchangeId(exchange), fact, &flow, at(20)).unwrap().since;
        // Waiting and in flight since the submission, abandoned since it was given up.
        assert_eq!(since(4, Fact::Cancelled), at(1));
        assert_eq!(since(3, Fact::Answered), at(1));
        assert_eq!(since(1, Fact::Answered), at(9));
    }

    #[test]
    fn a_fact_that_changes_nothing_changes_nothing() {
        let (table, flow) = mixed();
        for (exchange, fact, step) in [
            (1, Fact::Cancelled, Step::Stay),
            (2, Fact::Answered, Step::Stray),
            (3, Fact::DrainBegan, Step::Stay),
        ] {
            let mut after = table.clone();
            let applied = after.apply(ExchangeId(exchange), fact, &flow, at(30)).unwrap();
            assert_eq!((applied.step, applied.payload, &after), (step, None, &table));
        }
        assert_eq!(table.clone().apply(ExchangeId(5), Fact::Answered, &flow, at(30)), None);
    }

    #[test]
    // Rule: X-TIME-1, X-OWED-1.
    fn deadlines_and_debts_ask_for_attention() {
        let limits = OwedLimits { count: 9, age: core::time::Duration::from_micros(100) };
        let (mut table, flow) = mixed();
        assert_eq!(table.poll_timeout(limits), Some(at(50)));
        assert_eq!((table.overdue(at(49)), table.overdue(at(50))), (None, Some(ExchangeId(3))));
        table.apply(ExchangeId(3), Fact::Answered, &flow, at(20)).unwrap();
        assert_eq!(table.poll_timeout(limits), Some(at(109)));
        assert_eq!(table.overdue(Timestamp::NEVER), None);
        table.apply(ExchangeId(1), Fact::Answered, &flow, at(20)).unwrap();
        assert_eq!(table.poll_timeout(limits), None);
    }

    #[test]
    fn one_that_waits_in_the_middle_can_go() {
        let (mut table, flow) = (Correlation::new(Matching::OneAtATime), flow());
        for exchange in 1..=4 {
            table.admit(submission(exchange, "a"), &flow, Timestamp::ZERO);
        }
        table.apply(ExchangeId(3), Fact::Cancelled, &flow, Timestamp::ZERO).unwrap();
        assert_eq!(table.inconsistency(&flow), None);
        assert_eq!(table.of_request(&"a".into()), [1, 2, 4].map(ExchangeId));
        table.apply(ExchangeId(1), Fact::Cancelled, &flow, Timestamp::ZERO).unwrap();
        assert_eq!(table.inconsistency(&flow), None);
        assert_eq!(write_next(&mut table, &flow), Some(ExchangeId(2)));
    }

    /// The checker itself: each way in which the tables may disagree is seen.
    #[test]
    fn tables_that_disagree_are_found() {
        type Harm = fn(&mut Correlation<Vec<u8>>);
        let harms: [(Harm, &str); 9] = [
            (|table| table.waiting_bytes += 1, "waiting bytes"),
            (|table| drop(table.on_wire.remove(&ExchangeId(3))), "lanes and tables differ in number"),
            (|table| drop(table.lanes.remove("b")), "lanes and tables differ in number"),
            (|table| drop(table.lanes.insert("x".into(), Lane::default())), "an empty lane"),
            (|table| assert!(table.ready.pop_first().is_some()), "ready heads"),
            (|table| assert!(table.ready.insert(ExchangeId(2))), "ready heads"),
            (|table| assert!(table.deadlines.pop_first().is_some()), "deadlines or debts"),
            (|table| assert!(table.deadlines.insert((at(9), ExchangeId(1)))), "deadlines or debts"),
            (|table| table.owed.remove(at(9), ExchangeId(1)), "deadlines or debts"),
        ];
        for (harm, words) in harms {
            let (mut table, flow) = mixed();
            harm(&mut table);
            assert_eq!(table.inconsistency(&flow), Some(words));
        }
        // Two of one id are right where answers match exactly, and only there.
        let (mut table, flow) = (Correlation::new(Matching::ByExchangeId), flow());
        for exchange in 1..=2 {
            table.admit(submission(exchange, "a"), &flow, Timestamp::ZERO);
            write_next(&mut table, &flow).unwrap();
        }
        table.matching = Matching::OneAtATime;
        assert_eq!(table.inconsistency(&flow), Some("two unanswered events of one id"));
    }

    #[test]
    fn only_an_answer_that_ends_or_pays_belongs_to_an_exchange() {
        let one = ExchangeId(1);
        assert_eq!(Matched::from_step(one, Step::Finish(End::Answered)), Matched::Ended(one));
        assert_eq!(Matched::from_step(one, Step::Forget), Matched::Late);
        assert_eq!(Matched::from_step(one, Step::Stray), Matched::Stray);
        assert_eq!(Matched::from_step(one, Step::Finish(End::Lost)), Matched::Stray);
    }
}

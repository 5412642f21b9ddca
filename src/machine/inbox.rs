//! The agent's side of an exchange: events come in, each is answered exactly once.
//!
//! Events of one correlation id are handled one after the other, in the order they came; events
//! of different ids side by side, up to a limit. What is cancelled before its turn is answered
//! with the least possible answer and shown to nobody.
//!
//! ```text
//! waiting --turn--> running --answered--> gone
//!    |                 '--cancelled--> running, told so --answered--> gone
//!    '--cancelled--> skipped --turn--> answered unseen, gone
//! ```

use alloc::collections::BTreeSet;
use alloc::collections::btree_map::{BTreeMap, Entry};
use alloc::vec::Vec;

use crate::wire::{CorrelationId, EventKind, FlowAction};

use super::Payload;
use super::exchange::ExchangeId;
use super::rows::Queue;

/// Where an event stands on the agent's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// It waits for its turn.
    Waiting,
    /// It was cancelled before its turn.
    Skipped,
    /// The application has it.
    Running,
    /// The application has it, and was told that nobody waits any more.
    Told,
}

impl Work {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Skipped, Self::Running, Self::Told];
}

/// What can happen to an event on the agent's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkFact {
    /// It is first of its id, and there is room to run it.
    Turn,
    /// The proxy cancelled it.
    Cancelled,
    /// The application answered it.
    Answered,
}

impl WorkFact {
    /// Every fact.
    pub const ALL: [Self; 3] = [Self::Turn, Self::Cancelled, Self::Answered];
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WorkStep {
    /// Nothing.
    Stay,
    /// Hand it to the application.
    Deliver,
    /// Answer it with the least possible answer; nobody has seen it.
    AnswerUnseen,
    /// Remember that it need not be handled.
    Skip,
    /// Tell the application that nobody waits any more.
    Tell,
    /// Write the application's answer.
    Answer,
    /// The application answers what it was not given: an error for it alone.
    Misuse,
}

impl WorkStep {
    /// Every step.
    pub const ALL: [Self; 7] =
        [Self::Stay, Self::Deliver, Self::AnswerUnseen, Self::Skip, Self::Tell, Self::Answer, Self::Misuse];
}

/// The agent's table (P1, P3): total over every state and fact.
// Rule: X-ONCE-1.
pub const fn step(work: Work, fact: WorkFact) -> WorkStep {
    match work {
        Work::Waiting => match fact {
            WorkFact::Turn => WorkStep::Deliver,
            WorkFact::Cancelled => WorkStep::Skip,
            WorkFact::Answered => WorkStep::Misuse,
        },
        Work::Skipped => match fact {
            WorkFact::Turn => WorkStep::AnswerUnseen,
            WorkFact::Cancelled => WorkStep::Stay,
            WorkFact::Answered => WorkStep::Misuse,
        },
        Work::Running => match fact {
            WorkFact::Turn => WorkStep::Stay,
            WorkFact::Cancelled => WorkStep::Tell,
            WorkFact::Answered => WorkStep::Answer,
        },
        Work::Told => match fact {
            WorkFact::Turn | WorkFact::Cancelled => WorkStep::Stay,
            WorkFact::Answered => WorkStep::Answer,
        },
    }
}

/// What the agent last told the proxy about its backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// Events are welcome.
    Resumed,
    /// No more, please.
    Paused,
}

impl Signal {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Resumed, Self::Paused];
}

/// How full the backlog is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// At the low mark or under it.
    Low,
    /// Between the marks.
    Between,
    /// At the high mark or over it.
    High,
}

impl Level {
    /// Every level.
    pub const ALL: [Self; 3] = [Self::Low, Self::Between, Self::High];
}

/// When to pause and when to resume (P5 from the agent's side): two marks, so that one event
/// more or less does not make the signal flap.
// Rule: F-AGENT-1.
pub const fn backpressure(signal: Signal, level: Level) -> Option<FlowAction> {
    match signal {
        Signal::Resumed => match level {
            Level::High => Some(FlowAction::Pause),
            Level::Low | Level::Between => None,
        },
        Signal::Paused => match level {
            Level::Low => Some(FlowAction::Resume),
            Level::Between | Level::High => None,
        },
    }
}

/// What bounds an agent's backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InboxLimits {
    /// Events the application has at once. Default 100. At least 1.
    pub running: usize,
    /// Unanswered events at which the agent pauses the proxy. Default 256.
    pub high_mark: usize,
    /// Unanswered events at which it resumes. Default 64.
    pub low_mark: usize,
    /// Unanswered events, or unwritten answers, at which it stops reading: for a proxy that heeds no
    /// pause, or takes no answer. Default 4,096.
    pub saturated: usize,
    /// Bytes of waiting events, or of unwritten answers, at which it stops reading. Default 64 MiB.
    pub saturated_bytes: usize,
}

impl Default for InboxLimits {
    fn default() -> Self {
        Self { running: 100, high_mark: 256, low_mark: 64, saturated: 4_096, saturated_bytes: 64 << 20 }
    }
}

/// An event that has come in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Arrival<P> {
    pub(crate) exchange: ExchangeId,
    pub(crate) id: CorrelationId,
    pub(crate) echo: Option<ExchangeId>,
    pub(crate) kind: EventKind,
    pub(crate) payload: P,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Job<P> {
    id: CorrelationId,
    echo: Option<ExchangeId>,
    state: JobState<P>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum JobState<P> {
    Waiting { kind: EventKind, payload: P },
    Skipped,
    Running,
    Told,
}

impl<P> JobState<P> {
    const fn work(&self) -> Work {
        match self {
            Self::Waiting { .. } => Work::Waiting,
            Self::Skipped => Work::Skipped,
            Self::Running => Work::Running,
            Self::Told => Work::Told,
        }
    }
}

/// An event whose turn has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn<P> {
    Deliver(Arrival<P>),
    AnswerUnseen { id: CorrelationId, echo: Option<ExchangeId> },
}

/// Every unanswered event of an agent's connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Inbox<P> {
    limits: InboxLimits,
    jobs: BTreeMap<ExchangeId, Job<P>>,
    /// Per id, in the order they came (P3); the first runs or has its turn next.
    lanes: BTreeMap<CorrelationId, Queue>,
    /// Heads of lanes that the application does not have yet. Follows from the lanes.
    heads: BTreeSet<ExchangeId>,
    /// Those of them that nobody waits for any more. Follows from the heads.
    unseen: BTreeSet<ExchangeId>,
    running: BTreeSet<ExchangeId>,
    signal: Signal,
    /// Sum of the waiting payloads' sizes.
    waiting_bytes: usize,
}

impl<P: Payload> Inbox<P> {
    pub(crate) const fn new(limits: InboxLimits) -> Self {
        Self {
            limits,
            jobs: BTreeMap::new(),
            lanes: BTreeMap::new(),
            heads: BTreeSet::new(),
            unseen: BTreeSet::new(),
            running: BTreeSet::new(),
            signal: Signal::Resumed,
            waiting_bytes: 0,
        }
    }

    pub(crate) fn unanswered(&self) -> usize {
        self.jobs.len()
    }

    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    pub(crate) const fn signal(&self) -> Signal {
        self.signal
    }

    /// Whether an event of this request is unanswered.
    pub(crate) fn has(&self, id: &CorrelationId) -> bool {
        self.lanes.contains_key(id)
    }

    /// Whether no more should be read: the pause was not heeded.
    pub(crate) fn is_saturated(&self) -> bool {
        self.jobs.len() >= self.limits.saturated || self.waiting_bytes >= self.limits.saturated_bytes
    }

    pub(crate) fn work(&self, exchange: ExchangeId) -> Option<Work> {
        self.jobs.get(&exchange).map(|job| job.state.work())
    }

    /// Takes an event in. `false` if its exchange id is live, which nothing follows from.
    pub(crate) fn arrive(&mut self, arrival: Arrival<P>) -> bool {
        let Arrival { exchange, id, echo, kind, payload } = arrival;
        if self.jobs.contains_key(&exchange) {
            return false;
        }
        self.waiting_bytes = self.waiting_bytes.saturating_add(payload.size());
        let lane = self.lanes.entry(id.clone()).or_default();
        if lane.is_empty() {
            self.heads.insert(exchange);
        }
        lane.push(exchange);
        self.jobs.insert(exchange, Job { id, echo, state: JobState::Waiting { kind, payload } });
        true
    }

    /// Cancels one event by the id to be echoed, or all of a request. Returns those whose handler is to be told.
    pub(crate) fn cancel(&mut self, id: &CorrelationId, echo: Option<ExchangeId>) -> Vec<ExchangeId> {
        let lane: Vec<ExchangeId> = self.lanes.get(id).into_iter().flat_map(Queue::iter).collect();
        lane.into_iter().filter(|exchange| self.cancel_one(*exchange, echo)).collect()
    }

    // Rule: C-CANCEL-3.
    fn cancel_one(&mut self, exchange: ExchangeId, echo: Option<ExchangeId>) -> bool {
        let Some(job) = self.jobs.get_mut(&exchange) else { return false };
        if echo.is_some() && echo != job.echo {
            return false;
        }
        match step(job.state.work(), WorkFact::Cancelled) {
            WorkStep::Skip => {
                if let JobState::Waiting { payload, .. } = &job.state {
                    self.waiting_bytes = self.waiting_bytes.saturating_sub(payload.size());
                }
                job.state = JobState::Skipped;
                if self.heads.contains(&exchange) {
                    self.unseen.insert(exchange);
                }
                false
            }
            WorkStep::Tell => {
                job.state = JobState::Told;
                true
            }
            WorkStep::Stay
            | WorkStep::Deliver
            | WorkStep::AnswerUnseen
            | WorkStep::Answer
            | WorkStep::Misuse => false,
        }
    }

    /// The next event whose turn has come, if there is room to run it.
    pub(crate) fn next_turn(&mut self) -> Option<Turn<P>> {
        let exchange = self.heads.first().copied()?;
        let work = self.work(exchange)?;
        match step(work, WorkFact::Turn) {
            WorkStep::Deliver => {
                if self.running.len() >= self.limits.running.max(1) {
                    return self.next_unseen();
                }
                self.deliver(exchange)
            }
            WorkStep::AnswerUnseen => self.skip(exchange),
            WorkStep::Stay | WorkStep::Skip | WorkStep::Tell | WorkStep::Answer | WorkStep::Misuse => None,
        }
    }

    /// What needs no room to run: a cancelled event at the head of its lane.
    fn next_unseen(&mut self) -> Option<Turn<P>> {
        let exchange = self.unseen.first().copied()?;
        self.skip(exchange)
    }

    fn deliver(&mut self, exchange: ExchangeId) -> Option<Turn<P>> {
        let job = self.jobs.get_mut(&exchange)?;
        let JobState::Waiting { kind, payload } = core::mem::replace(&mut job.state, JobState::Running)
        else {
            return None;
        };
        let (id, echo) = (job.id.clone(), job.echo);
        self.waiting_bytes = self.waiting_bytes.saturating_sub(payload.size());
        self.heads.remove(&exchange);
        self.running.insert(exchange);
        Some(Turn::Deliver(Arrival { exchange, id, echo, kind, payload }))
    }

    // Rule: C-CANCEL-4.
    fn skip(&mut self, exchange: ExchangeId) -> Option<Turn<P>> {
        let (id, echo) = self.finish(exchange)?;
        Some(Turn::AnswerUnseen { id, echo })
    }

    /// The application answered: the event is gone, the next of its lane has its turn.
    pub(crate) fn answer(&mut self, exchange: ExchangeId) -> Option<(CorrelationId, Option<ExchangeId>)> {
        match step(self.work(exchange)?, WorkFact::Answered) {
            WorkStep::Answer => self.finish(exchange),
            WorkStep::Stay
            | WorkStep::Deliver
            | WorkStep::AnswerUnseen
            | WorkStep::Skip
            | WorkStep::Tell
            | WorkStep::Misuse => None,
        }
    }

    fn finish(&mut self, exchange: ExchangeId) -> Option<(CorrelationId, Option<ExchangeId>)> {
        let Job { id, echo, .. } = self.jobs.remove(&exchange)?;
        self.heads.remove(&exchange);
        self.unseen.remove(&exchange);
        self.running.remove(&exchange);
        let Entry::Occupied(mut lane) = self.lanes.entry(id.clone()) else { return Some((id, echo)) };
        lane.get_mut().remove(exchange);
        match lane.get().first() {
            Some(next) => {
                self.heads.insert(next);
                if self.jobs.get(&next).is_some_and(|job| job.state.work() == Work::Skipped) {
                    self.unseen.insert(next);
                }
            }
            None => drop(lane.remove()),
        }
        Some((id, echo))
    }

    /// The signal to send, if the backlog has crossed a mark since the last one.
    pub(crate) fn signal_due(&mut self) -> Option<FlowAction> {
        let unanswered = self.jobs.len();
        let level = if unanswered >= self.limits.high_mark {
            Level::High
        } else if unanswered <= self.limits.low_mark {
            Level::Low
        } else {
            Level::Between
        };
        let action = backpressure(self.signal, level)?;
        self.signal = match action {
            FlowAction::Pause => Signal::Paused,
            FlowAction::Resume | FlowAction::UpdateCapacity { .. } => Signal::Resumed,
        };
        Some(action)
    }

    /// Says what is wrong with the tables, if anything is: what is kept twice must agree.
    pub(crate) fn inconsistency(&self) -> Option<&'static str> {
        let in_lanes: usize = self.lanes.values().map(|lane| lane.iter().count()).sum();
        if in_lanes != self.jobs.len() {
            return Some("lanes and jobs differ in number");
        }
        let bytes: usize = self.jobs.values().map(|job| job.state.bytes()).sum();
        if bytes != self.waiting_bytes {
            return Some("waiting bytes");
        }
        let mut heads: BTreeSet<ExchangeId> = self.lanes.values().filter_map(Queue::first).collect();
        heads.retain(|head| !self.running.contains(head));
        if heads != self.heads {
            return Some("heads");
        }
        heads.retain(|head| self.work(*head) == Some(Work::Skipped));
        if heads != self.unseen {
            return Some("unseen heads");
        }
        let run = |job: &Job<P>| matches!(job.state.work(), Work::Running | Work::Told);
        let running: BTreeSet<ExchangeId> =
            self.jobs.iter().filter(|(_, job)| run(job)).map(|(exchange, _)| *exchange).collect();
        (running != self.running).then_some("running")
    }
}

impl<P: Payload> JobState<P> {
    fn bytes(&self) -> usize {
        match self {
            Self::Waiting { payload, .. } => payload.size(),
            Self::Skipped | Self::Running | Self::Told => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(exchange: u64, id: &str) -> Arrival<u8> {
        Arrival {
            exchange: ExchangeId(exchange),
            id: CorrelationId::from(id),
            echo: Some(ExchangeId(exchange)),
            kind: EventKind::RequestHeaders,
            payload: 0,
        }
    }

    fn turn(inbox: &mut Inbox<u8>) -> Option<u64> {
        let turn = inbox.next_turn();
        assert_eq!(inbox.inconsistency(), None);
        match turn {
            Some(Turn::Deliver(arrival)) => Some(arrival.exchange.0),
            Some(Turn::AnswerUnseen { echo, .. }) => echo.map(|echo| echo.0 + 100),
            None => None,
        }
    }

    #[test]
    // Rule: X-ORDER-1.
    fn events_of_one_id_have_their_turn_in_order() {
        let mut inbox = Inbox::new(InboxLimits::default());
        for (exchange, id) in [(1, "a"), (2, "a"), (3, "b")] {
            assert!(inbox.arrive(arrival(exchange, id)));
        }
        assert_eq!(turn(&mut inbox), Some(1));
        assert_eq!(turn(&mut inbox), Some(3));
        assert_eq!(turn(&mut inbox), None);
        assert!(inbox.answer(ExchangeId(2)).is_none());
        assert!(inbox.answer(ExchangeId(1)).is_some());
        assert!(inbox.answer(ExchangeId(1)).is_none());
        assert_eq!(turn(&mut inbox), Some(2));
    }

    #[test]
    // Rule: C-CANCEL-4.
    fn what_is_cancelled_before_its_turn_is_answered_unseen() {
        let mut inbox = Inbox::new(InboxLimits { running: 1, ..InboxLimits::default() });
        for (exchange, id) in [(1, "a"), (2, "b"), (3, "c")] {
            inbox.arrive(arrival(exchange, id));
        }
        assert_eq!(turn(&mut inbox), Some(1));
        assert_eq!(turn(&mut inbox), None);
        assert!(inbox.cancel(&"c".into(), None).is_empty());
        assert_eq!(turn(&mut inbox), Some(103));
        assert_eq!(inbox.cancel(&"a".into(), None), [ExchangeId(1)]);
        assert!(inbox.cancel(&"a".into(), None).is_empty());
        assert!(inbox.answer(ExchangeId(1)).is_some());
        assert_eq!(turn(&mut inbox), Some(2));
    }

    #[test]
    // Rule: C-CANCEL-3.
    fn a_cancel_by_exchange_id_spares_the_others() {
        let mut inbox = Inbox::new(InboxLimits::default());
        inbox.arrive(arrival(1, "a"));
        inbox.arrive(arrival(2, "a"));
        assert_eq!(turn(&mut inbox), Some(1));
        assert!(inbox.cancel(&"a".into(), Some(ExchangeId(2))).is_empty());
        assert_eq!(inbox.work(ExchangeId(1)), Some(Work::Running));
        inbox.answer(ExchangeId(1));
        assert_eq!(turn(&mut inbox), Some(102));
        assert_eq!(inbox.unanswered(), 0);
    }

    #[test]
    // Rule: F-AGENT-1.
    fn the_marks_pause_and_resume_without_flapping() {
        let mut inbox =
            Inbox::new(InboxLimits { running: 9, high_mark: 3, low_mark: 1, ..InboxLimits::default() });
        let mut signals = Vec::new();
        for exchange in 1..=4 {
            inbox.arrive(arrival(exchange, "a"));
            signals.extend(inbox.signal_due());
        }
        for exchange in 1..=4 {
            turn(&mut inbox);
            inbox.answer(ExchangeId(exchange));
            signals.extend(inbox.signal_due());
        }
        assert_eq!(signals, [FlowAction::Pause, FlowAction::Resume]);
    }

    fn limited(saturated: usize, saturated_bytes: usize) -> Inbox<Vec<u8>> {
        Inbox::new(InboxLimits { running: 1, saturated, saturated_bytes, ..InboxLimits::default() })
    }

    fn bytes(exchange: u64, id: &str, payload: usize) -> Arrival<Vec<u8>> {
        let Arrival { exchange, id, echo, kind, .. } = arrival(exchange, id);
        Arrival { exchange, id, echo, kind, payload: alloc::vec![0; payload] }
    }

    #[test]
    // Rule: F-AGENT-1.
    fn it_is_saturated_by_number_or_by_bytes_that_wait() {
        let mut inbox = limited(2, 1_000);
        inbox.arrive(bytes(1, "a", 1));
        assert!(!inbox.is_saturated());
        inbox.arrive(bytes(2, "a", 1));
        assert!(inbox.is_saturated());
        let mut inbox = limited(100, 10);
        inbox.arrive(bytes(1, "a", 9));
        assert!(!inbox.is_saturated());
        inbox.arrive(bytes(2, "a", 1));
        assert!(inbox.is_saturated());
        // What runs, or is cancelled, waits no more.
        assert!(inbox.next_turn().is_some());
        assert!(!inbox.is_saturated());
        inbox.arrive(bytes(3, "b", 9));
        assert!(inbox.is_saturated());
        inbox.cancel(&"b".into(), None);
        assert!(!inbox.is_saturated());
        assert_eq!(inbox.inconsistency(), None);
    }

    #[test]
    fn what_is_where_is_told() {
        let mut inbox = limited(100, 1_000);
        for (exchange, id) in [(1, "a"), (2, "a"), (3, "b"), (4, "c")] {
            assert!(inbox.arrive(bytes(exchange, id, 5)));
        }
        assert!(!inbox.arrive(bytes(3, "z", 5)), "its id is live");
        assert_eq!((inbox.has(&"b".into()), inbox.has(&"z".into())), (true, false));
        assert!(inbox.next_turn().is_some() && inbox.next_turn().is_none());
        assert_eq!(inbox.cancel(&"a".into(), None), [ExchangeId(1)]);
        assert_eq!((inbox.unanswered(), inbox.running()), (4, 1));
        let work = [1, 2, 3, 5].map(|exchange| inbox.work(ExchangeId(exchange)));
        assert_eq!(work, [Some(Work::Told), Some(Work::Skipped), Some(Work::Waiting), None]);
        assert_eq!(inbox.inconsistency(), None);
        // Answering lets the skipped one behind it go, and then the next lane.
        assert!(inbox.answer(ExchangeId(1)).is_some());
        assert!(matches!(inbox.next_turn(), Some(Turn::AnswerUnseen { .. })));
        assert!(!inbox.has(&"a".into()));
        assert!(matches!(inbox.next_turn(), Some(Turn::Deliver(Arrival { exchange: ExchangeId(3), .. }))));
        assert_eq!(inbox.inconsistency(), None);
    }

    #[test]
    fn at_least_one_event_runs() {
        let mut inbox = Inbox::new(InboxLimits { running: 0, ..InboxLimits::default() });
        inbox.arrive(arrival(1, "a"));
        inbox.arrive(arrival(2, "b"));
        assert_eq!((turn(&mut inbox), turn(&mut inbox)), (Some(1), None));
    }

    #[test]
    fn the_signal_is_the_last_one_sent() {
        let mut inbox = Inbox::new(InboxLimits { high_mark: 2, low_mark: 0, ..InboxLimits::default() });
        assert_eq!((inbox.signal(), inbox.signal_due()), (Signal::Resumed, None));
        inbox.arrive(arrival(1, "a"));
        assert_eq!(inbox.signal_due(), None);
        inbox.arrive(arrival(2, "b"));
        assert_eq!((inbox.signal_due(), inbox.signal()), (Some(FlowAction::Pause), Signal::Paused));
        assert_eq!(inbox.signal_due(), None);
    }

    impl<P> Inbox<P> {
        /// Makes the tables disagree, for tests of those who ask.
        pub(crate) fn harm(&mut self) {
            self.waiting_bytes += 1;
        }
    }

    /// The checker itself: each way in which the tables may disagree is seen.
    #[test]
    fn tables_that_disagree_are_found() {
        type Harm = fn(&mut Inbox<Vec<u8>>);
        let harms: [(Harm, &str); 8] = [
            (Inbox::harm, "waiting bytes"),
            (|inbox| drop(inbox.lanes.pop_first()), "lanes and jobs differ in number"),
            (|inbox| drop(inbox.jobs.pop_first()), "lanes and jobs differ in number"),
            (|inbox| assert!(inbox.heads.pop_first().is_some()), "heads"),
            (|inbox| assert!(inbox.heads.insert(ExchangeId(2))), "heads"),
            (|inbox| assert!(inbox.unseen.insert(ExchangeId(2))), "unseen heads"),
            (|inbox| assert!(inbox.running.pop_first().is_some()), "heads"),
            (|inbox| assert!(inbox.running.insert(ExchangeId(2))), "running"),
        ];
        for (harm, words) in harms {
            let mut inbox = limited(100, 1_000);
            for (exchange, id) in [(1, "a"), (2, "a"), (3, "b")] {
                inbox.arrive(bytes(exchange, id, 5));
            }
            assert!(inbox.next_turn().is_some());
            assert_eq!(inbox.inconsistency(), None);
            harm(&mut inbox);
            assert_eq!(inbox.inconsistency(), Some(words));
        }
    }
}

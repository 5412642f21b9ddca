//! What a user of the simulator brings: a handler, a workload, a policy, a judge.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::machine::Timestamp;
use crate::testing::rng::Rng;
use crate::wire::{Answer, CorrelationId, Event, Registration};

use super::report::End;
use super::trace::Step;

/// An agent's application, as the simulator runs it.
///
/// Any `FnMut(&Event) -> Answer` is one. Its answers come after a delay that the simulator draws;
/// implement the trait to name the delay, or to hear of cancellations.
pub trait SimHandler {
    /// Decides about an event. It is called when the event's turn has come.
    fn handle(&mut self, event: &Event, context: &HandlerContext) -> Reply;

    /// Nobody waits any more for the answer to an event of this request. It is sent all the same.
    fn cancelled(&mut self, id: &CorrelationId, context: &HandlerContext) {
        let _ = (id, context);
    }
}

impl<F: FnMut(&Event) -> Answer> SimHandler for F {
    fn handle(&mut self, event: &Event, _: &HandlerContext) -> Reply {
        Reply::from(self(event))
    }
}

/// Where and when a handler is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandlerContext {
    /// Which agent, from 0.
    pub agent: u32,
    /// Which of the run's connections, from 1.
    pub connection: u32,
    /// The virtual time.
    pub now: Timestamp,
}

/// What a handler decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The answer. The simulator adds a reason code of its own to it, by which it knows it again.
    pub answer: Answer,
    /// How long the handler took; `None`: the simulator draws a time. Below 20 s: one that takes longer
    /// counts, like one that never answers, as an agent that leaves its answers out.
    pub after: Option<Duration>,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self { answer, after: None }
    }
}

/// What the proxy's application says to a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Accept,
    /// No, in these words.
    Reject {
        /// The words.
        reason: String,
        /// When to come again.
        retry_after: Option<Duration>,
    },
}

/// What a caller was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Told<'a> {
    /// Which agent was asked, from 0.
    pub agent: u32,
    /// Whether that agent keeps to the protocol. A hostile one may answer anything.
    pub honest: bool,
    /// The event.
    pub event: &'a Event,
    /// How it ended.
    pub end: End,
    /// The answer, if there was one and it can be read.
    pub answer: Option<Answer>,
}

type Workload<'a> = dyn FnMut(u64, &mut Rng) -> Vec<Event> + 'a;
type Policy<'a> = dyn FnMut(&Registration) -> Verdict + 'a;
type Judge<'a> = dyn FnMut(&Told<'_>) -> Result<(), String> + 'a;
type Watch<'a> = dyn FnMut(&Step) + 'a;

/// All of them, with the simulator's own in the places that are left free.
pub(super) struct Hooks<'a> {
    pub(super) handler: Box<dyn SimHandler + 'a>,
    pub(super) workload: Option<Box<Workload<'a>>>,
    pub(super) policy: Option<Box<Policy<'a>>>,
    pub(super) judge: Option<Box<Judge<'a>>>,
    pub(super) watch: Option<Box<Watch<'a>>>,
}

impl Default for Hooks<'_> {
    fn default() -> Self {
        let allow = |_: &Event| Answer::allow();
        Self { handler: Box::new(allow), workload: None, policy: None, judge: None, watch: None }
    }
}

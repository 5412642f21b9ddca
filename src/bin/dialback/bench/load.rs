//! The load: so many events under way at once, and how long each took.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dialback::net::AgentHandle;
use dialback::wire::{Body, Event, EventKind, RequestBodyChunk, RequestHeaders};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::failure::Failure;

/// Longest time that is told apart, in microseconds: an hour.
const LONGEST: u64 = 3_600_000_000;

/// What to ask, and for how long.
#[derive(Clone)]
pub struct Plan {
    pub events: u64,
    pub until: Option<Instant>,
    pub timeout: Duration,
    pub body: Option<u32>,
}

impl Plan {
    pub const fn kind(&self) -> EventKind {
        match self.body {
            Some(_) => EventKind::RequestBodyChunk,
            None => EventKind::RequestHeaders,
        }
    }

    fn event(&self, number: u64, body: &Body) -> Event {
        let id = format!("bench-{number}");
        if self.body.is_some() {
            return RequestBodyChunk { is_last: true, ..RequestBodyChunk::new(id, body.clone()) }.into();
        }
        let mut event = RequestHeaders::new(id, "GET", "/bench");
        event.push_header("host", b"bench.example");
        event.push_header("user-agent", b"dialback");
        event.into()
    }
}

/// What was begun and answered so far.
#[derive(Default)]
pub struct Counts {
    begun: AtomicU64,
    answered: AtomicU64,
}

impl Counts {
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

/// What came of it.
pub struct Load {
    /// Times to answers, in microseconds.
    pub times: Histogram<u64>,
    /// What came instead of an answer, and how often.
    pub failures: BTreeMap<String, u64>,
}

impl Load {
    /// With times told apart by three digits.
    fn new() -> Result<Self, Failure> {
        let times = Histogram::new_with_max(LONGEST, 3).map_err(Failure::failed)?;
        Ok(Self { times, failures: BTreeMap::new() })
    }

    /// Asks with so many workers.
    pub async fn run(
        agent: &AgentHandle,
        plan: &Plan,
        workers: u16,
        counts: &Arc<Counts>,
    ) -> Result<Self, Failure> {
        let mut tasks = JoinSet::new();
        for _ in 0..workers {
            tasks.spawn(work(agent.clone(), plan.clone(), Arc::clone(counts)));
        }
        let mut total = Self::new()?;
        while let Some(ended) = tasks.join_next().await {
            total.add(ended.map_err(Failure::failed)??);
        }
        Ok(total)
    }

    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    fn add(&mut self, other: Self) {
        // Both have one range.
        let _ = self.times.add(other.times);
        for (words, count) in other.failures {
            let known = self.failures.entry(words).or_default();
            *known = known.saturating_add(count);
        }
    }
}

/// Asks one event after the other.
async fn work(agent: AgentHandle, plan: Plan, counts: Arc<Counts>) -> Result<Load, Failure> {
    let mut load = Load::new()?;
    let length = usize::try_from(plan.body.unwrap_or(0)).unwrap_or(0);
    let body = Body::from(vec![b'x'; length]);
    loop {
        let number = counts.begun.fetch_add(1, Ordering::Relaxed);
        if number >= plan.events || plan.until.is_some_and(|until| Instant::now() >= until) {
            return Ok(load);
        }
        let began = Instant::now();
        let answer = agent.ask(plan.event(number, &body)).timeout(plan.timeout).await;
        match answer {
            Ok(_) => {
                let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(LONGEST);
                load.times.saturating_record(micros.min(LONGEST));
                counts.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                let known = load.failures.entry(error.to_string()).or_default();
                *known = known.saturating_add(1);
                // A connection that has ended answers nothing any more.
                if agent.is_closed() {
                    return Ok(load);
                }
            }
        }
    }
}

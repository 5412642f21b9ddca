//! What is counted and remembered, and the snapshot that the page shows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dialback::net::{AgentView, ConnectionView, Listener, Pool};
use dialback::tower::{Outcome, Summary};
use serde_json::{Value, json};

use super::handlers::{EDITOR, GUARD};

/// Seconds that the charts show.
const SECONDS: usize = 60;
/// Requests and comings and goings that are remembered.
const RECENT: usize = 12;

/// Everything that the page shows and the pool does not know.
pub struct Book {
    began: Instant,
    pool: Pool,
    listener: Arc<Listener>,
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    totals: BTreeMap<&'static str, u64>,
    /// The last seconds that had a request, by number since the beginning.
    seconds: VecDeque<(u64, Second)>,
    recent: VecDeque<Value>,
    log: VecDeque<Value>,
    /// Grows with every request or note, so that the page knows them again.
    number: u64,
}

/// What one second saw.
#[derive(Clone, Default)]
struct Second {
    verdicts: BTreeMap<&'static str, u64>,
    /// How long answers took, in microseconds.
    answers: Vec<u64>,
}

impl Second {
    fn show(&self) -> Value {
        let mut answers = self.answers.clone();
        answers.sort_unstable();
        let at = |percent: usize| {
            answers.get((answers.len() * percent / 100).min(answers.len().saturating_sub(1)))
        };
        json!({ "verdicts": self.verdicts, "p50_us": at(50), "p99_us": at(99) })
    }
}

impl Book {
    pub fn new(pool: Pool, listener: Arc<Listener>) -> Self {
        Self { began: Instant::now(), pool, listener, pages: Mutex::default() }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Notes that an agent's connection came or left.
    pub fn note_agent(&self, who: &str, connection: &str, what: &str, why: String) {
        let at_ms = self.now_ms();
        let mut pages = self.pages();
        pages.number += 1;
        let entry = json!({
            "n": pages.number, "at_ms": at_ms, "who": who, "connection": connection, "what": what, "why": why,
        });
        push(&mut pages.log, entry);
    }

    /// Notes what became of a request, as the layer of `agent` saw it. The guard's is the outer one.
    pub fn note_request(&self, agent: &str, summary: &Summary) {
        let at_ms = self.now_ms();
        let mut pages = self.pages();
        if agent == EDITOR {
            let edited = u64::from(summary.changed_pieces > 0);
            let unasked = u64::from(summary.failure.is_some() && summary.outcome == Outcome::Allowed);
            *pages.totals.entry("edited").or_default() += edited;
            *pages.totals.entry("unasked").or_default() += unasked;
        }
        let verdict = summary.outcome.name();
        let (asked, took) = summary.asked;
        let second = pages.second(at_ms / 1_000);
        if let Some(mean) = took.checked_div(asked) {
            second.answers.push(u64::try_from(mean.as_micros()).unwrap_or(u64::MAX));
        }
        if agent != GUARD {
            return;
        }
        *second.verdicts.entry(verdict).or_default() += 1;
        *pages.totals.entry("requests").or_default() += 1;
        *pages.totals.entry(verdict).or_default() += 1;
        pages.number += 1;
        let entry = json!({
            "n": pages.number, "at_ms": at_ms, "method": summary.method.as_str(),
            "path": summary.uri.path(), "verdict": verdict,
            "cause": summary.failure.map(dialback::tower::Cause::name),
            "status": summary.status.map(|status| status.as_u16()), "whole": summary.whole,
            "took_us": micros(summary.took), "asked": asked,
        });
        push(&mut pages.recent, entry);
    }

    /// All of it, for the page.
    pub fn snapshot(&self) -> Value {
        let now_ms = self.now_ms();
        let agents: Vec<Value> = self.pool.agents().iter().map(show_agent).collect();
        let pages = self.pages();
        let now = now_ms / 1_000;
        let first = (now + 1).saturating_sub(SECONDS as u64);
        let mut seconds = vec![Second::default().show(); SECONDS];
        for (number, second) in &pages.seconds {
            // Before the first minute is over, the chart begins with what has not been.
            let shift = (SECONDS as u64).saturating_sub(now + 1);
            if let Some(place) = number.checked_sub(first).and_then(|at| usize::try_from(at + shift).ok())
                && let Some(place) = seconds.get_mut(place)
            {
                *place = second.show();
            }
        }
        json!({
            "now_ms": now_ms, "agents": agents, "refusals": self.listener.refusals().counts(),
            "totals": pages.totals, "seconds": seconds, "recent": pages.recent, "log": pages.log,
        })
    }
}

impl Pages {
    fn second(&mut self, number: u64) -> &mut Second {
        if self.seconds.back().is_none_or(|(last, _)| *last < number) {
            self.seconds.push_back((number, Second::default()));
        }
        while self.seconds.len() > SECONDS {
            self.seconds.pop_front();
        }
        // Whoever comes late, with the clock read before another's, counts to the last.
        let last = self.seconds.len() - 1;
        &mut self.seconds[last].1
    }
}

fn push(list: &mut VecDeque<Value>, entry: Value) {
    list.push_front(entry);
    list.truncate(RECENT);
}

fn show_agent(agent: &AgentView) -> Value {
    let totals = agent.totals();
    json!({
        "id": agent.agent_id,
        "connections": agent.connections.iter().map(show_connection).collect::<Vec<_>>(),
        "in_flight": agent.in_flight(),
        "answered": totals.stats.answered,
        "timed_out": totals.stats.timed_out,
        "cancelled": totals.stats.cancelled,
        "lost": totals.stats.lost,
        "bytes": totals.traffic.received.saturating_add(totals.traffic.sent),
    })
}

fn show_connection(connection: &ConnectionView) -> Value {
    let answered = &connection.latency.answered;
    json!({
        "id": connection.connection_id,
        "state": format!("{:?}", connection.state).to_lowercase(),
        "health": format!("{:?}", connection.health).to_lowercase(),
        "in_flight": connection.stats.in_flight,
        "waiting": connection.stats.waiting,
        "answered": connection.stats.totals.answered,
        "p50_us": micros(answered.quantile(0.5)),
        "p99_us": micros(answered.quantile(0.99)),
    })
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

//! What a pool and a listener know, through the `metrics` facade. Feature `metrics`.

use std::time::Duration;

use metrics::{counter, gauge};

use crate::machine::Histogram;

use super::pool::{Pool, Totals};
use super::refusals::Refusals;

/// Publishes counters and gauges once; call it as often as they are scraped.
///
/// | name | kind | labels |
/// |---|---|---|
/// | `dialback_connections` | gauge | `agent` |
/// | `dialback_in_flight`, `dialback_waiting`, `dialback_owed` | gauge | `agent` |
/// | `dialback_exchanges_total` | counter | `agent`, `end`: answered, timed_out, cancelled, refused, lost |
/// | `dialback_events_written_total` | counter | `agent` |
/// | `dialback_dropped_frames_total` | counter | `agent`, `cause`: late, stray, unknown, unreadable |
/// | `dialback_bytes_total` | counter | `agent`, `direction`: received, sent |
/// | `dialback_queue_seconds`, `dialback_answer_seconds` | gauge | `agent`, `quantile`: 0.5, 0.9, 0.99 |
/// | `dialback_refusals_total` | counter | `cause` |
///
/// The names are part of the public interface. An agent's series end with its entry in the pool.
///
/// ```
/// # use dialback::net::{Listener, Pool, publish};
/// # fn scrape(pool: &Pool, listener: &Listener) {
/// publish(pool, Some(&listener.refusals()));
/// # }
/// ```
pub fn publish(pool: &Pool, refusals: Option<&Refusals>) {
    for agent in pool.agents() {
        let id = &agent.agent_id;
        let sum = |of: fn(&super::handle::Stats) -> usize| -> f64 {
            agent.connections.iter().map(|connection| of(&connection.stats) as f64).sum()
        };
        gauge!("dialback_connections", "agent" => id.clone()).set(agent.connections.len() as f64);
        gauge!("dialback_in_flight", "agent" => id.clone()).set(sum(|stats| stats.in_flight));
        gauge!("dialback_waiting", "agent" => id.clone()).set(sum(|stats| stats.waiting));
        gauge!("dialback_owed", "agent" => id.clone()).set(sum(|stats| stats.owed));
        publish_totals(id, &agent.totals());
    }
    for (cause, count) in refusals.map(Refusals::counts).unwrap_or_default() {
        counter!("dialback_refusals_total", "cause" => cause).absolute(count);
    }
}

fn publish_totals(id: &str, totals: &Totals) {
    let stats = &totals.stats;
    let ends = [
        ("answered", stats.answered),
        ("timed_out", stats.timed_out),
        ("cancelled", stats.cancelled),
        ("refused", stats.refused),
        ("lost", stats.lost),
    ];
    for (end, count) in ends {
        counter!("dialback_exchanges_total", "agent" => id.to_owned(), "end" => end).absolute(count);
    }
    counter!("dialback_events_written_total", "agent" => id.to_owned()).absolute(stats.written);
    let dropped = [
        ("late", stats.late_answers),
        ("stray", stats.stray_answers),
        ("unknown", stats.unknown_frames),
        ("unreadable", stats.unreadable_frames),
    ];
    for (cause, count) in dropped {
        counter!("dialback_dropped_frames_total", "agent" => id.to_owned(), "cause" => cause).absolute(count);
    }
    for (direction, bytes) in [("received", totals.traffic.received), ("sent", totals.traffic.sent)] {
        counter!("dialback_bytes_total", "agent" => id.to_owned(), "direction" => direction).absolute(bytes);
    }
    publish_quantiles("dialback_queue_seconds", id, &totals.latency.queued);
    publish_quantiles("dialback_answer_seconds", id, &totals.latency.answered);
}

fn publish_quantiles(name: &'static str, id: &str, histogram: &Histogram) {
    for (label, share) in [("0.5", 0.5), ("0.9", 0.9), ("0.99", 0.99)] {
        let span: Duration = histogram.quantile(share);
        gauge!(name, "agent" => id.to_owned(), "quantile" => label).set(span.as_secs_f64());
    }
}

//! What an agent reports on a schedule.

use std::convert::Infallible;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::wire::MetricsReport;

use super::agent::AgentConfig;
use super::crew::Crew;
use super::sync::Arc;

/// The shortest schedule.
const SHORTEST: Duration = Duration::from_millis(10);
/// What stands for a schedule too long to be told: a hundred years.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What metrics an agent reports, and how often.
///
/// ```
/// use std::time::Duration;
/// use dialback::net::{Handlers, MetricsExport};
/// use dialback::wire::{CounterMetric, MetricsReport};
///
/// let mut config = Handlers::new().config("waf");
/// config.metrics = Some(MetricsExport::new(Duration::from_secs(15), || {
///     let blocked = CounterMetric { name: "blocked".into(), value: 7, ..CounterMetric::default() };
///     MetricsReport { counters: vec![blocked], ..MetricsReport::default() }
/// }));
/// ```
#[derive(Clone)]
pub struct MetricsExport {
    /// How often. Less than 10 ms is taken for 10 ms.
    pub every: Duration,
    collect: Arc<dyn Fn() -> MetricsReport + Send + Sync>,
}

impl MetricsExport {
    /// Reports what `collect` returns. It must return soon. An agent id, a time or an interval that
    /// it leaves empty is filled in; a panic is logged, and nothing is reported that time.
    pub fn new(every: Duration, collect: impl Fn() -> MetricsReport + Send + Sync + 'static) -> Self {
        Self { every, collect: Arc::new(collect) }
    }

    fn collect(&self) -> Option<MetricsReport> {
        let Ok(mut report) = catch_unwind(AssertUnwindSafe(|| (self.collect)())) else {
            tracing::error!("collecting metrics panicked");
            return None;
        };
        if report.interval_ms == 0 {
            report.interval_ms = u64::try_from(self.every.as_millis()).unwrap_or(u64::MAX);
        }
        Some(report)
    }
}

impl fmt::Debug for MetricsExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsExport").field("every", &self.every).finish_non_exhaustive()
    }
}

/// Two are equal if they share their function.
impl PartialEq for MetricsExport {
    fn eq(&self, other: &Self) -> bool {
        self.every == other.every && Arc::ptr_eq(&self.collect, &other.collect)
    }
}

/// Reports as the configuration says, for ever.
pub(super) async fn report(crew: Arc<Crew>, config: AgentConfig) -> Infallible {
    let told = config.agent.registration.capabilities.features.health_reporting;
    let health = async {
        let Some(every) = config.health.filter(|_| told) else { return std::future::pending().await };
        let mut ticks = ticks(every);
        loop {
            ticks.tick().await;
            crew.announce_health();
        }
    };
    let metrics = async {
        let Some(export) = &config.metrics else { return std::future::pending().await };
        let mut ticks = ticks(export.every);
        loop {
            ticks.tick().await;
            if let Some(report) = export.collect() {
                crew.report_metrics(&report);
            }
        }
    };
    tokio::select! {
        never = health => never,
        never = metrics => never,
    }
}

/// Ticks from one interval on.
fn ticks(every: Duration) -> Interval {
    let every = every.clamp(SHORTEST, LONGEST);
    let first = Instant::now().checked_add(every).unwrap_or_else(Instant::now);
    let mut ticks = interval_at(first, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn schedules_have_bounds() {
        let start = Instant::now();
        ticks(Duration::ZERO).tick().await;
        assert!(start.elapsed() >= SHORTEST);
        drop(ticks(Duration::MAX));
    }

    #[test]
    fn a_panic_is_no_report() {
        let export = MetricsExport::new(Duration::from_secs(7), || panic!("on purpose"));
        assert_eq!(export.collect(), None);
        let export = MetricsExport::new(Duration::from_secs(7), MetricsReport::default);
        assert_eq!(export.collect().unwrap().interval_ms, 7_000);
        assert_eq!(export, export.clone());
    }
}

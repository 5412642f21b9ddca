//! What an agent reports, and those who read it.

use super::far::answering;
use super::*;
use crate::net::side::Report;
use crate::wire::{HealthState, HealthStatus, MetricsReport};

fn unwell() -> HealthState {
    HealthState::Unhealthy { reason: String::new(), recoverable: true }
}

#[test]
fn the_first_reader_gets_every_report() {
    explore("the_first_reader_gets_every_report", Bound::Preemptions, || {
        let (handle, far, running) = Near::new(answering()).start();
        let other = run(move || {
            far.act(|session, _| session.report_metrics(&MetricsReport::new("guard", 1, 1)).unwrap());
            far.act(|session, _| session.close());
        });
        let mut reports = handle.reports();
        assert!(matches!(block_on(reports.next()), Some(Report::Metrics(_))));
        assert!(block_on(reports.next()).is_none());
        other.join().unwrap();
        drop(handle);
        running.end();
    });
}

#[test]
fn whoever_watches_the_health_sees_the_last() {
    explore("whoever_watches_the_health_sees_the_last", Bound::Preemptions, || {
        let (handle, far, running) = Near::new(answering()).start();
        let other = run(move || {
            far.act(|session, _| session.report_health(&HealthStatus::new("guard", unwell(), 1)).unwrap());
            far.act(|session, _| session.close());
        });
        let mut health = handle.connection.shared.command(|core, _| core.side.watch_health());
        let mut last = None;
        while block_on(health.changed()).is_ok() {
            last.clone_from(&health.borrow_and_update());
        }
        assert_eq!(last, Some(unwell()));
        assert_eq!(handle.health().map(|health| health.state), Some(unwell()));
        other.join().unwrap();
        drop(handle);
        running.end();
    });
}

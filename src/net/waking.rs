//! Whoever is woken finds the connection unlocked, whatever executor it is that wakes.

use std::future::Future;
use std::pin::pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::task::{Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use tokio::io::duplex;

use super::sync::Arc;
use super::tests::{agent_config, headers, pair, until};
use super::*;
use crate::machine::ConnectionState;
use crate::wire::{Answer, CancelReason, HealthState, HealthStatus, RequestHeaders};

/// Tells, when it is woken, whether the connection can be locked then.
struct Probe<F> {
    look: F,
    found: Mutex<Sender<bool>>,
}

impl<F: Fn() + Clone + Send + Sync + 'static> Wake for Probe<F> {
    fn wake(self: Arc<Self>) {
        let (look, (done, looked)) = (self.look.clone(), channel());
        thread::spawn(move || {
            look();
            let _ = done.send(());
        });
        let free = looked.recv_timeout(Duration::from_secs(2)).is_ok();
        let _ = self.found.lock().unwrap().send(free);
    }
}

fn probe(look: impl Fn() + Clone + Send + Sync + 'static) -> (Waker, Receiver<bool>) {
    let (sender, found) = channel();
    (Waker::from(Arc::new(Probe { look, found: Mutex::new(sender) })), found)
}

/// Polls with `waker` until it is woken once; the first poll must find nothing.
async fn is_woken_unlocked<F: Future>(future: F, waker: Waker, found: Receiver<bool>, cause: impl FnOnce()) {
    let mut future = pin!(future);
    let first = future.as_mut().poll(&mut std::task::Context::from_waker(&waker));
    assert!(matches!(first, Poll::Pending));
    cause();
    let unlocked = tokio::task::spawn_blocking(move || found.recv_timeout(Duration::from_secs(10)));
    assert_eq!(unlocked.await.unwrap(), Ok(true), "woken with the connection locked");
}

fn look(handle: &AgentHandle) -> impl Fn() + Clone + Send + Sync + 'static {
    let handle = handle.clone();
    move || _ = handle.stats()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_reports() {
    let pair = pair().await;
    until("the agent knows that it is admitted", || pair.agent.state() == Some(ConnectionState::Open)).await;
    let mut reports = pair.handle.reports();
    let (waker, found) = probe(look(&pair.handle));
    let health = HealthStatus::new("guard", HealthState::Healthy, 1);
    is_woken_unlocked(reports.next(), waker, found, || pair.agent.report_health(&health).unwrap()).await;
    assert!(matches!(reports.next().await, Some(Report::Health(_))));

    let (waker, found) = probe(look(&pair.handle));
    is_woken_unlocked(reports.next(), waker, found, || pair.handle.close()).await;
    assert!(reports.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_watches_the_health() {
    let pair = pair().await;
    let mut health = pair.handle.connection.shared.command(|core, _| core.side.watch_health());
    health.borrow_and_update();
    let (waker, found) = probe(look(&pair.handle));
    is_woken_unlocked(health.changed(), waker, found, || pair.handle.close()).await;
}

/// Polls what tells of the cancellation with a waker of the test's.
#[derive(Default)]
struct Inline {
    agent: OnceLock<AgentController>,
    found: Mutex<Option<Receiver<bool>>>,
}

impl Handler for Arc<Inline> {
    async fn on_request_headers(&self, _: RequestHeaders, cx: Context) -> Answer {
        let agent = self.agent.get().unwrap().clone();
        let (waker, found) = probe(move || _ = agent.stats());
        let mut cancelled = pin!(cx.cancelled());
        assert!(cancelled.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        *self.found.lock().unwrap() = Some(found);
        std::future::pending().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_handles_an_event_that_is_given_up() {
    let (ours, theirs) = duplex(64 << 10);
    let inline = Arc::new(Inline::default());
    let mut config = agent_config("guard");
    config.cancel_grace = Duration::from_secs(60);
    let (agent, _task) = Agent::new(config, Arc::clone(&inline)).serve_stream(theirs).spawn();
    inline.agent.set(agent).unwrap();
    let handle = Acceptor::new(ListenerConfig::default()).unwrap().accept(ours).await.unwrap();
    for (id, cancels) in [("a", true), ("b", false)] {
        let _pending = handle.request_headers(headers(id, "/")).send().unwrap();
        let found = loop {
            if let Some(found) = inline.found.lock().unwrap().take() {
                break found;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        if cancels {
            assert_eq!(handle.cancel_request(id, CancelReason::Timeout), 1);
        } else {
            handle.close();
        }
        let unlocked = tokio::task::spawn_blocking(move || found.recv_timeout(Duration::from_secs(10)));
        assert_eq!(unlocked.await.unwrap(), Ok(true), "woken with the connection locked");
    }
}

//! Models of what callers, handles and drivers share, for loom and shuttle. `proofs/loom/run` runs them.
//!
//! What runs is the real code: the driver with either role, sessions, handles, questions, reports, the
//! acceptor with its hook, the pool with its watchers, handlers in tasks of their own, crew and line.
//! At the other end of the connection is the other role's real session, without a socket. What every
//! model asserts besides its own claim: it ends (a wake-up that is lost is a deadlock), nobody is woken
//! with a lock held, and where a connection has ended ([`End`]) no slot is left, every event that was
//! admitted has ended once, the reason was told, and the gauge says what the session says.
//!
//! | file | what is shared |
//! |---|---|
//! | `ask` | session, slots, wakers, gauge: asking, answering, dropping, cancelling, closing, draining |
//! | `reports` | the agent's reports and its health, first reader and last word |
//! | `door` | seats, accept rate, refusals, roster, hook, shutdown |
//! | `pool` | members, tickets, totals, leaving, forgetting |
//! | `agents` | events being handled, stop, health, tallies |
//! | `large` | four callers with three questions each; shuttle only |
//!
//! Bounds. loom tries every interleaving of two threads; of more threads, and of two that do much, those
//! with at most as many preemptions as `LOOM_MAX_PREEMPTIONS` says, 3 if it says nothing. shuttle draws
//! interleavings.
//!
//! Not covered. Time stands still, so that no timer fires; the one model with a deadline moves the clock
//! by hand and wakes the driver in the timer's place. tokio's channels are taken for indivisible and
//! correct, `Arc` and `Weak` likewise; tokio's queue of handles and its semaphores are not seen at all.
//! Sockets, signals, the loops that dial again and the listener are not run. loom's memory model is C11's
//! without what loom leaves out of it; shuttle's is sequentially consistent.

mod agents;
mod ask;
mod door;
mod far;
mod gate;
#[cfg(dialback_shuttle)]
mod large;
mod pool;
mod reports;

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::session::{AgentSession, ProxySession, ProxySettings};
use crate::wire::{Capabilities, EventKind, Registration, RequestHeaders};

use super::clock::Clock;
use super::driver::Driver;
use super::handle::{AgentHandle, Closed};
use super::proxy::{Delivery, ProxyRole};
use super::shared::{Drive, Shared};
use super::side::ProxySide;
use super::sync::model::{Thread, block_on, run};
use super::sync::{Arc, oneshot};
use far::{Far, Wire};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// How many preemptions are tried.
#[derive(Clone, Copy)]
enum Bound {
    /// Any number; for two threads.
    None,
    /// Three, or what `LOOM_MAX_PREEMPTIONS` says; for more threads, or two that do much.
    Preemptions,
}

/// Runs a model in every way that the bound allows, with time standing still.
#[cfg(dialback_loom)]
fn explore(name: &str, bound: Bound, model: impl Fn() + Send + Sync + 'static) {
    let mut checker = loom::model::Builder::new();
    checker.max_branches = 100_000;
    checker.preemption_bound = match bound {
        Bound::None => None,
        Bound::Preemptions => checker.preemption_bound.or(Some(3)),
    };
    let model = Arc::new(model);
    measured(name, move |count| {
        checker.check(move || {
            count();
            let model = Arc::clone(&model);
            // In a thread of its own, for the sake of its stack.
            run(move || model()).join().unwrap();
        });
    });
}

/// Runs a model in as many ways as `DIALBACK_ITERATIONS` says, drawn at random and then, where few
/// changes of thread at the wrong moments are what it takes, by PCT.
#[cfg(dialback_shuttle)]
fn explore(name: &str, _: Bound, model: impl Fn() + Send + Sync + 'static) {
    use shuttle::scheduler::{PctScheduler, RandomScheduler};

    /// Where the draws begin, so that a run can be had again.
    const SEED: u64 = 0xd1a1_bacc;
    /// Changes of thread that PCT places.
    const DEPTH: usize = 3;

    let iterations = std::env::var("DIALBACK_ITERATIONS").map_or(1_000, |count| count.parse().unwrap());
    let mut config = shuttle::Config::new();
    config.stack_size = 0x8_0000;
    config.silence_warnings = true;
    let model = Arc::new(model);
    measured(name, move |count| {
        let body = Arc::new(move || {
            count();
            model();
        });
        let (random, pct) = (Arc::clone(&body), body);
        let scheduler = RandomScheduler::new_from_seed(SEED, iterations);
        shuttle::Runner::new(scheduler, config.clone()).run(move || random());
        let scheduler = PctScheduler::new_from_seed(SEED, DEPTH, iterations);
        shuttle::Runner::new(scheduler, config).run(move || pct());
    });
}

/// Runs a check in the context of a runtime whose time stands still, and says what it took.
fn measured(name: &str, check: impl FnOnce(Box<dyn Fn() + Send + Sync>)) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let _context = runtime.enter();
    let executions = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&executions);
    let start = Instant::now();
    check(Box::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    println!("{name}: {} executions, {:.1?}", executions.load(Ordering::Relaxed), start.elapsed());
}

/// What a future gives at once.
fn now<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn registration() -> Registration {
    let mut capabilities = Capabilities::new("guard", EventKind::ALL);
    capabilities.features.cancellation = true;
    capabilities.features.flow_control = true;
    Registration::new(capabilities)
}

fn headers(id: &str) -> RequestHeaders {
    RequestHeaders::new(id, "GET", "/")
}

/// A connection that is open, before its driver runs: the proxy's end, and the agent's session at
/// the other.
struct Near {
    handle: AgentHandle,
    driver: Driver<ProxyRole, Wire<AgentSession>>,
    far: Far<AgentSession>,
    end: End,
}

/// What is left of a connection.
struct End {
    shared: Arc<Shared<ProxySession>>,
    closed: Closed,
}

impl Near {
    fn new(far: Far<AgentSession>) -> Self {
        Self::with(ProxySettings::default(), far)
    }

    fn with(settings: ProxySettings, far: Far<AgentSession>) -> Self {
        let clock = Clock::start();
        let session = ProxySession::dial(settings, None, clock.now()).unwrap();
        let shared = Arc::new(Shared::new(session, ProxySide::default(), clock));
        let (sender, mut receiver) = oneshot::channel();
        let role = ProxyRole::new(None, Delivery::Caller(sender), SECOND);
        let mut driver = Driver::new(Arc::clone(&shared), role, far.wire(), SECOND);
        assert!(now(&mut driver).is_none());
        let handle = now(&mut receiver).unwrap().unwrap().unwrap();
        let closed = handle.connection.closed.clone();
        Self { handle, driver, far, end: End { shared, closed } }
    }

    /// Drives it in a thread of its own.
    fn start(self) -> (AgentHandle, Far<AgentSession>, Running) {
        let Self { handle, driver, far, end } = self;
        (handle, far, Running { driver: run(move || block_on(driver)), end })
    }
}

struct Running {
    driver: Thread<()>,
    end: End,
}

impl Running {
    /// Waits for the driver and looks at what it has left.
    fn end(self) {
        self.driver.join().unwrap();
        self.end.check();
    }
}

impl End {
    fn check(&self) {
        let Self { shared, closed } = self;
        assert!(closed.borrow().is_some(), "nobody was told why it ended");
        shared.look(|core| {
            assert!(core.session.close_reason().is_some(), "the connection has not ended");
            assert!(core.side.slots.is_empty(), "somebody is awaited who has gone");
            assert!(core.side.gate.is_empty(), "somebody waits at a gate that will not open");
            assert_eq!(shared.load(), core.session.load(), "the gauge is stale");
            let stats = core.session.stats();
            let ends = stats.answered + stats.timed_out + stats.cancelled + stats.refused + stats.lost;
            assert_eq!(stats.admitted, ends, "not every event ended once: {stats:?}");
        });
    }
}

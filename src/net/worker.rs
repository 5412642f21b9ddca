//! The agent's role in a driver: each event is handled in a task of its own.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Poll, Waker};
use std::time::Duration;

use tracing::Instrument;

use crate::machine::{CloseReason, ConnectionState, ExchangeId, Histogram, Timestamp};
use crate::session::{AgentSession, AgentSessionEvent, PendingForward, Receipt};
use crate::wire::{Answer, CancelReason, RegistrationResponse};

use super::cancellation::Cancellation;
use super::crew::Crew;
use super::driver::Role;
use super::handler::{Context, Handler, dispatch};
use super::shared::{Core, Drive, Load, Shared};
use super::sync::{Arc, Handle};

impl Drive for AgentSession {
    type Side = AgentSide;

    fn load(&self) -> Load {
        Load {
            serving: self.state() == ConnectionState::Open,
            paused: self.is_pausing(),
            events: u32::try_from(self.unanswered()).unwrap_or(u32::MAX),
        }
    }
}

/// What an agent answers where the handler can't: not to be let through.
const FAILED: u16 = 500;

/// What lies beside an agent's session.
#[derive(Default)]
pub(crate) struct AgentSide {
    /// Events being handled, and how to tell them that nobody waits any more.
    running: BTreeMap<ExchangeId, Running>,
    /// When the handshake was done.
    pub(super) opened: Option<Timestamp>,
    /// From an event's turn to its answer.
    pub(super) latency: Histogram,
    /// Events that the proxy gave up because of the time they took.
    pub(super) timed_out: u64,
}

/// An event being handled.
struct Running {
    since: Timestamp,
    cancellation: Arc<Cancellation>,
}

/// What is to be done once the lock is free.
enum Errand {
    Decide(Box<PendingForward>),
    Opened(Option<Box<RegistrationResponse>>),
    Handle(Box<Receipt>, Arc<Cancellation>),
    /// To tell a handler is to wake it.
    Cancel(Arc<Cancellation>, CancelReason),
    Closed(CloseReason),
}

/// The agent's role.
pub(crate) struct AgentRole<H> {
    handler: Arc<H>,
    cancel_grace: Duration,
    crew: Arc<Crew>,
    runtime: Handle,
    errands: Vec<Errand>,
}

impl<H: Handler> AgentRole<H> {
    /// Must be called within a runtime.
    pub(super) fn new(handler: Arc<H>, cancel_grace: Duration, crew: Arc<Crew>) -> Self {
        Self { handler, cancel_grace, crew, runtime: Handle::current(), errands: Vec::new() }
    }

    /// Asks the handler whether a proxy that dialled is welcome.
    fn decide(&self, shared: &Arc<Shared<AgentSession>>, pending: PendingForward) {
        let verdict = guard(|| self.handler.on_forward_handshake(&pending.request));
        // Deciding fails only if the connection has ended, which is told on its own.
        shared.command(|core, now| match verdict {
            Some(Ok(())) => drop(core.session.accept_handshake(pending, now)),
            Some(Err(reason)) => drop(core.session.reject_handshake(pending, &reason)),
            None => drop(core.session.reject_handshake(pending, "the agent failed to decide")),
        });
    }

    fn spawn(
        &self,
        shared: &Arc<Shared<AgentSession>>,
        receipt: Box<Receipt>,
        cancellation: Arc<Cancellation>,
    ) {
        let work = Work {
            shared: Arc::clone(shared),
            handler: Arc::clone(&self.handler),
            cancel_grace: self.cancel_grace,
            receipt,
            cancellation,
        };
        drop(self.runtime.spawn(work.run().in_current_span()));
    }
}

impl<H: Handler> Role for AgentRole<H> {
    type Session = AgentSession;

    fn handle_event(
        &mut self,
        event: AgentSessionEvent,
        core: &mut Core<AgentSession>,
        now: Timestamp,
        _: &mut Vec<Waker>,
    ) {
        match event {
            AgentSessionEvent::Handshake(pending) => self.errands.push(Errand::Decide(pending)),
            AgentSessionEvent::Opened { response } => {
                core.side.opened = Some(now);
                self.errands.push(Errand::Opened(response));
            }
            AgentSessionEvent::Event(receipt) => {
                let cancellation = Arc::new(Cancellation::default());
                let running = Running { since: now, cancellation: Arc::clone(&cancellation) };
                core.side.running.insert(receipt.exchange, running);
                self.errands.push(Errand::Handle(receipt, cancellation));
            }
            AgentSessionEvent::Cancelled { exchange, reason } => {
                if reason == CancelReason::Timeout {
                    core.side.timed_out = core.side.timed_out.saturating_add(1);
                }
                if let Some(running) = core.side.running.get(&exchange) {
                    self.errands.push(Errand::Cancel(Arc::clone(&running.cancellation), reason));
                }
            }
            AgentSessionEvent::Closed(reason) => {
                for running in std::mem::take(&mut core.side.running).into_values() {
                    self.errands.push(Errand::Cancel(running.cancellation, CancelReason::ProxyShutdown));
                }
                self.errands.push(Errand::Closed(reason));
            }
        }
    }

    fn act(&mut self, shared: &Arc<Shared<AgentSession>>) -> usize {
        let mut handlers = 0_usize;
        for errand in std::mem::take(&mut self.errands) {
            match errand {
                Errand::Decide(pending) => self.decide(shared, *pending),
                Errand::Opened(response) => {
                    let connection_id = response.as_ref().map(|response| response.connection_id.as_str());
                    tracing::Span::current().record("connection_id", connection_id);
                    tracing::info!("connected to the proxy");
                    guard(|| self.handler.on_opened(response.as_deref()));
                    self.crew.greet(shared);
                }
                Errand::Handle(receipt, cancellation) => {
                    handlers = handlers.saturating_add(1);
                    self.spawn(shared, receipt, cancellation);
                }
                Errand::Cancel(cancellation, reason) => cancellation.cancel(reason),
                Errand::Closed(reason) => {
                    tracing::info!(%reason, "connection closed");
                    guard(|| self.handler.on_closed(&reason));
                }
            }
        }
        handlers
    }
}

/// Calls a hook, whose panic is not to take the connection with it.
pub(super) fn guard<T>(hook: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(hook)).ok();
    if result.is_none() {
        tracing::error!("a hook of the handler panicked");
    }
    result
}

/// One event being handled.
struct Work<H> {
    shared: Arc<Shared<AgentSession>>,
    handler: Arc<H>,
    cancel_grace: Duration,
    receipt: Box<Receipt>,
    cancellation: Arc<Cancellation>,
}

impl<H: Handler> Work<H> {
    async fn run(mut self) {
        let answer = {
            let answering = pin!(self.answer());
            // Dropping a handler's future may panic too.
            catch(answering).await.unwrap_or_else(|_| failed("handler_panicked"))
        };
        let encoded = match self.receipt.encode_over(answer) {
            Ok(encoded) => Ok(encoded),
            Err(error) => {
                tracing::warn!(%error, "an answer could not be sent; blocked instead");
                self.receipt.encode_over(failed("answer_too_large"))
            }
        };
        let exchange = self.receipt.exchange;
        let done = self.shared.command(|core, now| {
            match encoded {
                // Fails only if the connection has ended; then nobody waits.
                Ok(encoded) => drop(core.session.answer(encoded, now)),
                // Not even that fits: an event without an answer would shut its request for ever.
                Err(_) => core.session.close(),
            }
            let running = core.side.running.remove(&exchange)?;
            core.side.latency.record(now.since(running.since));
            Some(running)
        });
        drop(done);
    }

    /// What to answer: what the handler says, or what stands for it.
    async fn answer(&self) -> Answer {
        let event = match self.receipt.event() {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(kind = self.receipt.kind.name(), %error, "an event can't be read; blocked");
                return failed("unreadable_event");
            }
        };
        let cx = Context::new(self.receipt.id.clone(), Arc::clone(&self.cancellation));
        let handling = catch_unwind(AssertUnwindSafe(|| dispatch(&*self.handler, event, cx)));
        let handled = async {
            match handling {
                Ok(mut handling) => catch(handling.as_mut()).await,
                Err(_) => Err(Panicked),
            }
        };
        let given_up = async {
            self.cancellation.cancelled().await;
            tokio::time::sleep(self.cancel_grace).await;
        };
        tokio::select! {
            biased;
            answer = handled => answer.unwrap_or_else(|_| {
                tracing::error!(kind = self.receipt.kind.name(), "the handler panicked; blocked");
                failed("handler_panicked")
            }),
            () = given_up => Answer::allow().with_reason_code("cancelled"),
        }
    }
}

fn failed(code: &str) -> Answer {
    Answer::block(FAILED).with_reason_code(code)
}

pub(super) struct Panicked;

/// Runs a future where it lies, and catches its panic.
pub(super) async fn catch<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Result<F::Output, Panicked> {
    poll_fn(|cx| {
        // A future that has panicked is not polled again.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    })
    .await
}

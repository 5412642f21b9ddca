//! Asking an agent about an event: the request, the wait, and what can come of it.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::machine::{CloseReason, Ending, ExchangeId, Patience, SubmitError};
use crate::session::{EncodedEvent, SendError};
use crate::wire::{
    Answer, AnswerReader, AnyEvent, CancelReason, CorrelationId, DecodeError, EncodeError, Encoding,
};

use super::handle::Connection;
use super::slot::{Outcome, Slot};
use super::sync::Arc;

/// An event that is about to be asked about. Await it for the answer, or [`Ask::send`] it now and
/// await the answer later.
///
/// ```
/// # use dialback::net::{AgentHandle, AskError};
/// use dialback::wire::RequestHeaders;
///
/// # async fn ask(agent: &AgentHandle) {
/// match agent.request_headers(RequestHeaders::new("request-1", "GET", "/")).fail_fast().await {
///     Ok(answer) => println!("{:?}", answer.decision),
///     Err(error) if !error.was_written() => println!("another agent may be asked: {error}"),
///     Err(error) => println!("this agent may have seen it: {error}"),
/// }
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is asked until this is awaited or sent"]
pub struct Ask {
    connection: Arc<Connection>,
    event: Result<EncodedEvent, EncodeError>,
    timeout: Duration,
    patience: Patience,
}

impl Ask {
    pub(super) fn new<E: AnyEvent>(connection: Arc<Connection>, event: &E) -> Self {
        let event = EncodedEvent::new(event, connection.encoding);
        let timeout = connection.request_timeout;
        Self { connection, event, timeout, patience: Patience::Wait }
    }

    /// The request that the event belongs to, if the event could be encoded.
    pub(super) fn correlation_id(&self) -> Option<&CorrelationId> {
        self.event.as_ref().ok().map(EncodedEvent::correlation_id)
    }

    /// How long to wait in all: for a place on the wire, for the writing, for the answer.
    /// Default: the `request_timeout` that the connection was accepted with.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Fails at once where the event can't be written at once.
    pub const fn fail_fast(mut self) -> Self {
        self.patience = Patience::Now;
        self
    }

    /// Waits, in a bounded queue, where the event can't be written at once. This is the default.
    pub const fn wait(mut self) -> Self {
        self.patience = Patience::Wait;
        self
    }

    /// Hands the event over now and returns what its answer will come from.
    ///
    /// # Errors
    /// Why the event was not taken; nothing was written then.
    pub fn send(self) -> Result<PendingAnswer, AskError> {
        self.submit(None)
    }

    /// `waker`: who waits for the answer already.
    fn submit(self, waker: Option<Waker>) -> Result<PendingAnswer, AskError> {
        let Self { connection, event, timeout, patience } = self;
        let event = event?;
        let slot = Arc::new(Slot::new(waker));
        let exchange = connection.shared.command(|core, now| {
            let exchange = core.session.submit(event, now.after(timeout), patience, now)?;
            core.side.slots.insert(exchange, Arc::clone(&slot));
            core.side.gate.take();
            Ok::<_, SendError>(exchange)
        })?;
        Ok(PendingAnswer { connection, exchange, slot, done: false })
    }
}

impl IntoFuture for Ask {
    type Output = Result<Answer, AskError>;
    type IntoFuture = AnswerFuture;

    fn into_future(self) -> AnswerFuture {
        AnswerFuture { state: Asking::Unsent(Some(self)) }
    }
}

/// What an awaited [`Ask`] becomes. The event is handed over when this is polled first.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct AnswerFuture {
    state: Asking,
}

#[derive(Debug)]
enum Asking {
    /// Nothing, once the event was not taken.
    Unsent(Option<Ask>),
    Sent(PendingAnswer),
}

impl Future for AnswerFuture {
    type Output = Result<Answer, AskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let ask = match &mut this.state {
            Asking::Sent(pending) => return Pin::new(pending).poll(cx),
            Asking::Unsent(ask) => ask.take(),
        };
        // Only a future that is polled after its end has none.
        let Some(ask) = ask else { return Poll::Ready(Err(AskError::Refused(SubmitError::Closed))) };
        match ask.submit(Some(cx.waker().clone())) {
            Ok(pending) => {
                this.state = Asking::Sent(pending);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

/// An answer that is awaited. Dropping it before the answer has come gives the question up and
/// tells the agent so, with [`CancelReason::ClientDisconnect`].
#[must_use = "dropping this cancels the question"]
pub struct PendingAnswer {
    connection: Arc<Connection>,
    exchange: ExchangeId,
    slot: Arc<Slot>,
    done: bool,
}

impl PendingAnswer {
    /// The exchange's name within its connection.
    pub const fn exchange(&self) -> ExchangeId {
        self.exchange
    }

    /// Gives the question up. No answer will be told.
    pub fn cancel(mut self, reason: CancelReason) {
        self.give_up(reason);
    }

    /// Lets the question run without anybody who waits for it: no answer will be told, and nothing is
    /// given up. For events whose answer decides nothing, such as a request's completion.
    pub fn detach(mut self) {
        self.done = true;
        let slot = self.connection.shared.command(|core, _| core.side.slots.remove(&self.exchange));
        drop(slot);
    }

    fn give_up(&mut self, reason: CancelReason) {
        if self.done {
            return;
        }
        self.done = true;
        let exchange = self.exchange;
        let slot = self.connection.shared.command(|core, now| {
            let slot = core.side.slots.remove(&exchange);
            // It may have ended meanwhile; then there is nothing to give up.
            let _ = core.session.cancel(exchange, reason, now);
            slot
        });
        drop(slot);
    }
}

impl Future for PendingAnswer {
    type Output = Result<Answer, AskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let outcome = std::task::ready!(this.slot.poll(cx));
        this.done = true;
        Poll::Ready(match outcome {
            Some(outcome) => read(outcome, this.connection.encoding),
            // Only a future that is polled after its end comes here.
            None => Err(AskError::ConnectionLost { written: true, reason: None }),
        })
    }
}

/// Reads an exchange's end, in the task of its caller.
fn read(outcome: Outcome, encoding: Encoding) -> Result<Answer, AskError> {
    let Outcome { ending, reason } = outcome;
    match ending {
        Ending::Answered(payload) => decode(&payload, encoding).map_err(AskError::MalformedAnswer),
        Ending::Expired => Err(AskError::Expired),
        Ending::TimedOut => Err(AskError::TimedOut),
        Ending::Cancelled { reason, written } => Err(AskError::Cancelled { reason, written }),
        Ending::Refused => Err(AskError::Draining),
        Ending::Lost { written } => Err(AskError::ConnectionLost { written, reason }),
    }
}

thread_local! {
    /// One for all callers of a thread, so that none waits for another.
    static READER: RefCell<AnswerReader> = RefCell::default();
}

fn decode(payload: &[u8], encoding: Encoding) -> Result<Answer, DecodeError> {
    READER
        .try_with(|reader| reader.borrow_mut().read(encoding, payload))
        // The thread is about to end, and has let go of its reader.
        .unwrap_or_else(|_| encoding.decode(payload))
}

impl Drop for PendingAnswer {
    fn drop(&mut self) {
        self.give_up(CancelReason::ClientDisconnect);
    }
}

impl fmt::Debug for PendingAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingAnswer").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("connection_id", &self.identity.connection_id)
            .finish_non_exhaustive()
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskError {
    /// The event can't be encoded. Nothing was written.
    Encode(EncodeError),
    /// The connection did not take the event. Nothing was written.
    Refused(SubmitError),
    /// The event is longer than a frame may be. Nothing was written.
    TooLarge {
        /// Bytes the frame would have.
        length: usize,
        /// Bytes it may have.
        limit: u32,
    },
    /// The event was encoded for another connection. Nothing was written.
    WrongEncoding {
        /// How it is encoded.
        given: Encoding,
        /// What the connection speaks.
        wanted: Encoding,
    },
    /// The event bears another request's id than the request it was given for. Nothing was written.
    WrongRequest {
        /// The event's.
        given: CorrelationId,
        /// The request's.
        wanted: CorrelationId,
    },
    /// The time was over before the event could be written.
    Expired,
    /// The agent had the event and did not answer in time.
    TimedOut,
    /// It was given up.
    Cancelled {
        /// Why.
        reason: CancelReason,
        /// Whether the agent had the event.
        written: bool,
    },
    /// The connection began to drain before the event was written.
    Draining,
    /// The connection ended first.
    ConnectionLost {
        /// Whether the agent may have had the event.
        written: bool,
        /// Why it ended.
        reason: Option<CloseReason>,
    },
    /// The agent's answer can't be read.
    MalformedAnswer(DecodeError),
}

impl AskError {
    /// Whether the agent may have seen the event. If not, it can be asked again elsewhere, as if
    /// it had never been asked.
    pub const fn was_written(&self) -> bool {
        match self {
            Self::Encode(_)
            | Self::Refused(_)
            | Self::TooLarge { .. }
            | Self::WrongEncoding { .. }
            | Self::WrongRequest { .. }
            | Self::Expired
            | Self::Draining => false,
            Self::TimedOut | Self::MalformedAnswer(_) => true,
            Self::Cancelled { written, .. } | Self::ConnectionLost { written, .. } => *written,
        }
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(error) => write!(f, "the event can't be encoded: {error}"),
            Self::Refused(error) => write!(f, "the event was not taken: {error}"),
            Self::TooLarge { length, limit } => SendError::TooLarge { length: *length, limit: *limit }.fmt(f),
            Self::WrongEncoding { given, wanted } => {
                SendError::WrongEncoding { given: *given, wanted: *wanted }.fmt(f)
            }
            Self::WrongRequest { given, wanted } => {
                write!(f, "an event of {given:?} was given for the request {wanted:?}")
            }
            Self::Expired => f.write_str(
                "the time was over before the event could be written; the agent is busy, allow more time or ask another",
            ),
            Self::TimedOut => f.write_str("the agent did not answer in time; it has been told to stop"),
            Self::Cancelled { reason, .. } => write!(f, "given up: {}", reason.name()),
            Self::Draining => f.write_str("the connection began to drain before the event was written; ask another"),
            Self::ConnectionLost { written, reason } => {
                f.write_str("the connection ended ")?;
                f.write_str(if *written { "before the answer" } else { "before the event was written" })?;
                match reason {
                    Some(reason) => write!(f, ": {reason}"),
                    None => Ok(()),
                }
            }
            Self::MalformedAnswer(error) => write!(f, "the agent's answer can't be read: {error}"),
        }
    }
}

impl std::error::Error for AskError {}

impl From<EncodeError> for AskError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl From<SendError> for AskError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Refused(error) => Self::Refused(error),
            SendError::TooLarge { length, limit } => Self::TooLarge { length, limit },
            SendError::WrongEncoding { given, wanted } => Self::WrongEncoding { given, wanted },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_whether_the_agent_saw_the_event() {
        assert!(!AskError::Expired.was_written());
        assert!(AskError::TimedOut.was_written());
        assert!(!AskError::ConnectionLost { written: false, reason: None }.was_written());
    }

    #[test]
    fn errors_say_why() {
        let error = AskError::ConnectionLost { written: true, reason: Some(CloseReason::PeerClosed) };
        assert_eq!(error.to_string(), "the connection ended before the answer: the peer ended the stream");
        assert!(
            AskError::from(SendError::TooLarge { length: 9, limit: 8 })
                .to_string()
                .contains("smaller chunks")
        );
    }
}

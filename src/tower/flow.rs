//! How a body flows past an agent.
//!
//! ```text
//! inner frame --cut into pieces--> asked about, one at a time --> held, while more is needed --> given
//! ```

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::net::AskError;
use crate::wire::{Answer, BodyMutation, Event, EventKind, RequestBodyChunk, ResponseBodyChunk};

use super::body::CutOff;
use super::conversation::{Conversation, Step};
use super::failure::Failure;
use super::line::Asked;

/// An error of any kind.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Whose body it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

impl Side {
    const fn kind(self) -> EventKind {
        match self {
            Self::Request => EventKind::RequestBodyChunk,
            Self::Response => EventKind::ResponseBodyChunk,
        }
    }
}

/// How far the inner body has been read.
enum Inner<B> {
    /// With what was read while a question was under way.
    Reading(B, Option<Next>),
    Ended(Option<HeaderMap>),
    Failed,
}

/// A frame, or the end.
type Next = Option<Frame<Bytes>>;

/// A body under way.
pub(super) struct Flow<B> {
    talk: Arc<Conversation>,
    side: Side,
    inner: Inner<B>,
    asking: Option<Asking>,
    /// Of the inner body's last frame, what was not decided on.
    rest: Bytes,
    /// What may be given, once nothing is provisional.
    held: VecDeque<Bytes>,
    held_bytes: usize,
    /// Whether the last answer wants more.
    provisional: bool,
}

/// What asking about a body needs to know.
struct Asking {
    question: Option<Question>,
    /// The next piece's number.
    index: u32,
    /// Bytes asked about so far.
    seen: u64,
    total: Option<u64>,
    piece_size: usize,
    max_size: u64,
    /// Whether the agent has been told that the body has ended.
    ended: bool,
}

/// A piece that is being asked about: the first `length` bytes of the rest.
struct Question {
    asked: Asked,
    began: Instant,
    length: usize,
    last: bool,
}

impl<B: Body> Flow<B> {
    pub(super) fn new(inner: B, side: Side, talk: &Arc<Conversation>, ask: bool, provisional: bool) -> Self {
        let empty = inner.is_end_stream();
        let asking = (ask && !empty).then(|| Asking::new(talk, side, inner.size_hint().exact())).flatten();
        if empty && side == Side::Response {
            talk.handle_whole();
        }
        Self {
            talk: Arc::clone(talk),
            side,
            inner: if empty { Inner::Ended(None) } else { Inner::Reading(inner, None) },
            // Where nothing more is to be seen, an allow is an allow.
            provisional: provisional && asking.is_some(),
            asking,
            rest: Bytes::new(),
            held: VecDeque::new(),
            held_bytes: 0,
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let here = self.held_bytes.saturating_add(self.rest.len()) as u64;
        let asked = self.asking.as_ref().is_some_and(|asking| !asking.ended);
        match &self.inner {
            _ if asked => SizeHint::new(),
            Inner::Ended(_) => SizeHint::with_exact(here),
            // What was read ahead is in neither.
            Inner::Failed | Inner::Reading(_, Some(_)) => SizeHint::new(),
            Inner::Reading(inner, None) => {
                let hint = inner.size_hint();
                let mut sum = SizeHint::new();
                sum.set_lower(hint.lower().saturating_add(here));
                if let Some(upper) = hint.upper() {
                    sum.set_upper(upper.saturating_add(here));
                }
                sum
            }
        }
    }
}

impl Asking {
    fn new(talk: &Conversation, side: Side, total: Option<u64>) -> Option<Self> {
        let line = talk.wants(side.kind())?;
        let limits = line.handle().capabilities().limits;
        let stated = |number: u64| if number > 0 { number } else { u64::MAX };
        let preferred = usize::try_from(stated(limits.preferred_chunk_size)).unwrap_or(usize::MAX);
        Some(Self {
            question: None,
            index: 0,
            seen: 0,
            total,
            piece_size: talk.config.piece_size.min(preferred).max(1),
            max_size: stated(limits.max_body_size),
            ended: false,
        })
    }

    fn event(&self, talk: &Conversation, side: Side, data: &[u8], is_last: bool) -> Event {
        let (correlation_id, chunk_index, total_size) = (talk.id.clone(), self.index, self.total);
        let so_far = self.seen.saturating_add(data.len() as u64);
        let data = data.into();
        match side {
            Side::Request => Event::RequestBodyChunk(RequestBodyChunk {
                bytes_received: so_far,
                chunk_index,
                correlation_id,
                data,
                is_last,
                total_size,
            }),
            Side::Response => Event::ResponseBodyChunk(ResponseBodyChunk {
                bytes_sent: so_far,
                chunk_index,
                correlation_id,
                data,
                is_last,
                total_size,
            }),
        }
    }
}

impl<B> Flow<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    /// Reads, asks and holds until nothing is provisional any more.
    pub(super) fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        while self.provisional {
            ready!(self.poll_step(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// One step: an answer, a question, a frame read, or the end.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.talk.is_stopped() {
            return Poll::Ready(Err(self.cut_off()));
        }
        if let Some(Asking { question: Some(question), .. }) = &mut self.asking {
            return match Pin::new(&mut question.asked).poll(cx) {
                Poll::Ready(result) => Poll::Ready(self.conclude(result)),
                Poll::Pending => self.poll_ahead(cx),
            };
        }
        let ended = !matches!(self.inner, Inner::Reading(..));
        match &self.asking {
            Some(asking) if !self.rest.is_empty() || (ended && !asking.ended) => {
                Poll::Ready(self.ask(ended && !self.has_trailers()))
            }
            Some(_) | None if !self.rest.is_empty() => {
                let rest = std::mem::take(&mut self.rest);
                self.hold(rest);
                Poll::Ready(Ok(()))
            }
            Some(_) | None => self.poll_read(cx),
        }
    }

    fn has_trailers(&self) -> bool {
        matches!(self.inner, Inner::Ended(Some(_)))
    }

    /// Asks about the next piece. `ended` if nothing comes after the rest.
    fn ask(&mut self, ended: bool) -> Result<(), BoxError> {
        let Some(asking) = &mut self.asking else { return Ok(()) };
        let length = self.rest.len().min(asking.piece_size);
        let piece = self.rest.get(..length).unwrap_or_default();
        if asking.seen.saturating_add(length as u64) > asking.max_size {
            let failure = Failure::TooMuch { limit: asking.max_size };
            return self.fail(&failure);
        }
        // Whatever follows the rest: with trailers to come the end is told by itself.
        let last = length == self.rest.len() && (ended || self.rest.is_empty());
        let event = asking.event(&self.talk, self.side, piece, last);
        match self.talk.ask(event) {
            Some(asked) => {
                asking.question = Some(Question { asked, began: Instant::now(), length, last });
            }
            // The other body has had no verdict, and both go on unasked.
            None => self.leave(),
        }
        Ok(())
    }

    /// Takes what came of the question.
    fn conclude(&mut self, result: Result<Answer, AskError>) -> Result<(), BoxError> {
        let Some(asking) = &mut self.asking else { return Ok(()) };
        let Some(Question { length, last, began, .. }) = asking.question.take() else { return Ok(()) };
        if let Err(AskError::TooLarge { .. }) = &result
            && length > 1
        {
            // Nothing was written. Smaller pieces may fit.
            asking.piece_size = length / 2;
            return Ok(());
        }
        let answer = match self.talk.conclude(result, began) {
            Step::Stop => return Err(self.cut_off()),
            Step::Go(None) => {
                self.leave();
                return Ok(());
            }
            Step::Go(Some(answer)) => answer,
        };
        let index = asking.index;
        asking.index = index.saturating_add(1);
        asking.seen = asking.seen.saturating_add(length as u64);
        asking.ended = last;
        self.provisional = answer.needs_more && !last;
        let piece = self.rest.split_to(length.min(self.rest.len()));
        let mutation = match self.side {
            Side::Request => answer.request_body_mutation,
            Side::Response => answer.response_body_mutation,
        };
        match mutation {
            None | Some(BodyMutation { data: None, .. }) => self.hold(piece),
            Some(BodyMutation { data: Some(_), chunk_index }) if chunk_index != index => {
                // The piece was decided on and yet can't be: it goes on only where the policy is open.
                let why = format!("a change to piece {chunk_index} in the answer about piece {index}");
                self.fail(&Failure::Unusable(why))?;
                self.hold(piece);
            }
            Some(BodyMutation { data: Some(data), .. }) => {
                self.talk.count_changed_piece();
                self.hold(data.into_vec().into());
            }
        }
        if self.provisional && self.held_bytes > self.talk.config.hold_limit {
            let limit = self.talk.config.hold_limit as u64;
            return self.fail(&Failure::TooMuch { limit });
        }
        Ok(())
    }

    fn fail(&mut self, failure: &Failure) -> Result<(), BoxError> {
        match self.talk.fail(failure) {
            Step::Stop => Err(self.cut_off()),
            Step::Go(_) => {
                self.leave();
                Ok(())
            }
        }
    }

    /// What is left goes on unasked.
    fn leave(&mut self) {
        self.asking = None;
        self.provisional = false;
    }

    fn hold(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.held_bytes = self.held_bytes.saturating_add(bytes.len());
            self.held.push_back(bytes);
        }
    }

    /// Reads one frame while the agent thinks: a server looks for the end of a client only where
    /// somebody wants its bytes, and the agent is not to think for nobody.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if let Inner::Reading(inner, ahead @ None) = &mut self.inner
            && self.side == Side::Request
            && let Poll::Ready(next) = poll_inner(inner, cx)
        {
            match next {
                Ok(next) => *ahead = Some(next),
                Err(error) => return Poll::Ready(Err(self.broken(error))),
            }
        }
        Poll::Pending
    }

    fn broken(&mut self, error: BoxError) -> BoxError {
        self.inner = Inner::Failed;
        self.leave();
        error
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let Inner::Reading(inner, ahead) = &mut self.inner else { return Poll::Ready(Ok(())) };
        let next = match ahead.take() {
            Some(next) => next,
            None => match ready!(poll_inner(inner, cx)) {
                Ok(next) => next,
                Err(error) => return Poll::Ready(Err(self.broken(error))),
            },
        };
        let ended = next.is_none() || inner.is_end_stream();
        match next.map(Frame::into_data) {
            Some(Ok(data)) => {
                if self.side == Side::Request {
                    self.talk.count(self.side, data.len());
                }
                self.rest = data;
                if ended {
                    self.inner = Inner::Ended(None);
                }
            }
            // Of a frame that is neither data nor trailers nothing is known that could be passed on.
            Some(Err(frame)) => {
                if let Ok(trailers) = frame.into_trailers() {
                    self.inner = Inner::Ended(Some(trailers));
                }
            }
            None => self.inner = Inner::Ended(None),
        }
        Poll::Ready(Ok(()))
    }

    fn cut_off(&mut self) -> BoxError {
        self.inner = Inner::Failed;
        self.held.clear();
        self.rest.clear();
        self.asking = None;
        Box::new(CutOff { outcome: self.talk.outcome() })
    }

    /// Whether everything was given but trailers.
    fn is_drained(&self) -> bool {
        let told = self.asking.as_ref().is_none_or(|asking| asking.ended);
        let ended = !matches!(self.inner, Inner::Reading(..));
        ended && told && self.rest.is_empty() && self.held.is_empty()
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // The request's body may be decided on after the response has begun.
        if self.side == Side::Response && self.talk.poll_stopped(cx) && !matches!(self.inner, Inner::Failed) {
            return Poll::Ready(Some(Err(self.cut_off())));
        }
        loop {
            if !self.provisional
                && let Some(bytes) = self.held.pop_front()
            {
                self.held_bytes = self.held_bytes.saturating_sub(bytes.len());
                if self.side == Side::Response {
                    self.talk.count(self.side, bytes.len());
                    self.note_end();
                }
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if self.is_drained() {
                let trailers = match &mut self.inner {
                    Inner::Ended(trailers) => trailers.take(),
                    Inner::Reading(..) | Inner::Failed => None,
                };
                self.note_end();
                return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
            }
            if let Err(error) = ready!(self.poll_step(cx)) {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    fn note_end(&self) {
        if self.side == Side::Response && self.is_end_stream() {
            self.talk.handle_whole();
        }
    }
}

fn poll_inner<B>(inner: &mut B, cx: &mut Context<'_>) -> Poll<Result<Next, BoxError>>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    let next = ready!(Pin::new(inner).poll_frame(cx)).transpose().map_err(Into::into)?;
    Poll::Ready(Ok(next.map(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))))
}

impl<B> Flow<B> {
    pub(super) const fn is_asked_about(&self) -> bool {
        self.asking.is_some()
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let told = self.asking.as_ref().is_none_or(|asking| asking.ended);
        matches!(self.inner, Inner::Ended(None)) && told && self.rest.is_empty() && self.held.is_empty()
    }
}

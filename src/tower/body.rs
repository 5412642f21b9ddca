//! A body that is asked about piece by piece while it is read, or that was put in its place.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::conversation::Conversation;
use super::flow::{BoxError, Flow, Side};
use super::summary::Outcome;

/// A body that passes by an agent, or what an agent has put in its place.
///
/// Holds one frame of the inner body and one that was read ahead, a piece of it in an event, and what is
/// held back; see [`AskConfig`](super::AskConfig) for both sizes. It reads on only when it is polled.
pub struct AskBody<B>(Kind<B>);

enum Kind<B> {
    Whole(Option<Bytes>),
    Flow(Box<Flow<B>>),
}

impl<B> AskBody<B> {
    pub(super) const fn whole(bytes: Bytes) -> Self {
        Self(Kind::Whole(Some(bytes)))
    }
}

impl<B: Body> AskBody<B> {
    /// A body that is asked about where the agent wants that and `ask` says so. `provisional` if the
    /// agent wants to see of it before its head goes on.
    pub(super) fn new(inner: B, side: Side, talk: &Arc<Conversation>, ask: bool, provisional: bool) -> Self {
        Self(Kind::Flow(Box::new(Flow::new(inner, side, talk, ask, provisional))))
    }

    /// Whether pieces are asked about, so that nobody knows how long it will be.
    pub(super) fn is_asked_about(&self) -> bool {
        match &self.0 {
            Kind::Whole(_) => false,
            Kind::Flow(flow) => flow.is_asked_about(),
        }
    }
}

impl<B> AskBody<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    /// Reads, asks and holds until nothing is provisional any more.
    pub(super) fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match &mut self.0 {
            Kind::Whole(_) => Poll::Ready(Ok(())),
            Kind::Flow(flow) => flow.poll_settled(cx),
        }
    }
}

impl<B> Body for AskBody<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Whole(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            Kind::Flow(flow) => flow.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Kind::Flow(flow) => flow.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Flow(flow) => flow.size_hint(),
        }
    }
}

impl<B> Default for AskBody<B> {
    /// An empty body.
    fn default() -> Self {
        Self(Kind::Whole(None))
    }
}

impl<B> fmt::Debug for AskBody<B> {
    // Bodies are large and private.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskBody").finish_non_exhaustive()
    }
}

/// The error with which a body ends that may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutOff {
    /// What ended it.
    pub outcome: Outcome,
}

impl fmt::Display for CutOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the body may not go on: its request was {}", self.outcome.name())
    }
}

impl std::error::Error for CutOff {}

//! tokio's oneshot channel, with a [`Point`].

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot as tokio;

use super::Point;

pub(crate) use tokio::error;

pub(crate) struct Sender<T> {
    // An `Option`, because what has a `Drop` can't be taken apart.
    inner: Option<tokio::Sender<T>>,
    point: Point,
}

impl<T> Sender<T> {
    pub(crate) fn send(mut self, value: T) -> Result<(), T> {
        self.point.touch();
        self.inner.take().map_or(Ok(()), |inner| inner.send(value))
    }
}

// Whoever waits is told.
impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.point.touch();
    }
}

pub(crate) struct Receiver<T> {
    inner: tokio::Receiver<T>,
    point: Point,
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, error::RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.point.touch();
        Pin::new(&mut self.inner).poll(cx)
    }
}

// What is sent afterwards comes back to the sender.
impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.point.touch();
    }
}

pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = tokio::channel();
    let point = Point::default();
    (Sender { inner: Some(sender), point: point.clone() }, Receiver { inner: receiver, point })
}

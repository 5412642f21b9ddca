//! tokio's broadcast channel, with a [`Point`].

use tokio::sync::broadcast as tokio;

use super::Point;
use super::task::indivisible;

pub(crate) use tokio::error;

pub(crate) struct Sender<T> {
    /// There until it is dropped.
    inner: Option<tokio::Sender<T>>,
    point: Point,
}

impl<T: Clone> Sender<T> {
    pub(crate) fn subscribe(&self) -> Receiver<T> {
        self.point.touch();
        Receiver { inner: self.inner().subscribe(), point: self.point.clone() }
    }

    pub(crate) fn send(&self, value: T) -> Result<usize, error::SendError<T>> {
        self.point.touch();
        indivisible(|| self.inner().send(value))
    }
}

impl<T> Sender<T> {
    fn inner(&self) -> &tokio::Sender<T> {
        self.inner.as_ref().unwrap()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), point: self.point.clone() }
    }
}

// Whoever waits is told.
impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.point.touch();
        indivisible(|| drop(self.inner.take()));
    }
}

#[derive(Debug)]
pub(crate) struct Receiver<T> {
    inner: tokio::Receiver<T>,
    point: Point,
}

impl<T: Clone> Receiver<T> {
    pub(crate) async fn recv(&mut self) -> Result<T, error::RecvError> {
        self.point.around(self.inner.recv()).await
    }
}

pub(crate) fn channel<T: Clone>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = tokio::channel(capacity);
    let point = Point::default();
    (Sender { inner: Some(sender), point: point.clone() }, Receiver { inner: receiver, point })
}

//! tokio's watch channel, with a [`Point`].

use tokio::sync::watch as tokio;

use super::Point;
use super::task::indivisible;

pub(crate) use tokio::{Ref, error};

#[derive(Debug)]
pub(crate) struct Sender<T> {
    /// There until it is dropped.
    inner: Option<tokio::Sender<T>>,
    point: Point,
}

impl<T> Sender<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { inner: Some(tokio::Sender::new(value)), point: Point::default() }
    }

    pub(crate) fn subscribe(&self) -> Receiver<T> {
        self.point.touch();
        Receiver { inner: self.inner().subscribe(), point: self.point.clone() }
    }

    pub(crate) fn send_replace(&self, value: T) -> T {
        self.point.touch();
        indivisible(|| self.inner().send_replace(value))
    }

    pub(crate) fn borrow(&self) -> Ref<'_, T> {
        self.point.touch();
        self.inner().borrow()
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

#[derive(Clone, Debug)]
pub(crate) struct Receiver<T> {
    inner: tokio::Receiver<T>,
    point: Point,
}

impl<T> Receiver<T> {
    pub(crate) async fn wait_for(
        &mut self,
        condition: impl FnMut(&T) -> bool,
    ) -> Result<Ref<'_, T>, error::RecvError> {
        self.point.around(self.inner.wait_for(condition)).await
    }

    pub(crate) async fn changed(&mut self) -> Result<(), error::RecvError> {
        self.point.around(self.inner.changed()).await
    }

    pub(crate) fn borrow(&self) -> Ref<'_, T> {
        self.point.touch();
        self.inner.borrow()
    }

    pub(crate) fn borrow_and_update(&mut self) -> Ref<'_, T> {
        self.point.touch();
        self.inner.borrow_and_update()
    }

    pub(crate) fn mark_changed(&mut self) {
        self.inner.mark_changed();
    }
}

pub(crate) fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(value);
    let receiver = sender.subscribe();
    (sender, receiver)
}

//! Tasks, each a thread of the checker.

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::{Point, assert_no_lock_is_held, checker, thread};

/// A thread of the checker with room enough for a driver.
pub(crate) type Thread<T> = thread::JoinHandle<T>;

/// Runs `work` in a thread of its own.
pub(crate) fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Thread<T> {
    // loom counts in words; shuttle is told the size once for all threads.
    #[cfg(dialback_loom)]
    return thread::Builder::new().stack_size(0x1_0000).spawn(work).unwrap();
    #[cfg(dialback_shuttle)]
    return thread::spawn(work);
}

/// What a sleeping thread waits for. Not loom's `Notify`: its spurious wake-ups yield, and with bounded
/// preemptions an execution may yield for ever.
#[derive(Default)]
struct Bell {
    rung: checker::sync::Mutex<bool>,
    heard: checker::sync::Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.heard.notify_one();
    }

    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.heard.wait(rung).unwrap();
        }
        *rung = false;
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        assert_no_lock_is_held();
        let now = LATER.with_borrow_mut(|later| match later {
            Some(later) => {
                later.push(Arc::clone(&self));
                false
            }
            None => true,
        });
        if now {
            self.ring();
        }
    }
}

std::thread_local! {
    /// Whom an indivisible operation has woken. Of all the checker's threads, which take turns on one of
    /// the system's: none of them gets a turn in such an operation.
    static LATER: RefCell<Option<Vec<Arc<Bell>>>> = const { RefCell::new(None) };
}

/// Runs an operation on a channel, and only then rings those whom it wakes. tokio's watch channel
/// chooses at random in what order it wakes, and no checker could follow it if it were interrupted.
pub(super) fn indivisible<R>(operation: impl FnOnce() -> R) -> R {
    LATER.set(Some(Vec::new()));
    let result = operation();
    for bell in LATER.take().unwrap_or_default() {
        bell.ring();
    }
    result
}

/// Polls in this thread until the future is done.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        bell.wait();
    }
}

/// Ends a task at its next poll, and wakes it for that.
#[derive(Clone, Default)]
pub(crate) struct AbortHandle(Arc<Abort>);

#[derive(Default)]
struct Abort {
    point: Point,
    aborted: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl AbortHandle {
    pub(crate) fn abort(&self) {
        self.0.point.touch();
        self.0.aborted.store(true, Ordering::Relaxed);
        let task = self.0.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.wake();
        }
    }
}

pub(crate) struct JoinHandle(AbortHandle);

impl JoinHandle {
    pub(crate) fn abort_handle(&self) -> AbortHandle {
        self.0.clone()
    }
}

struct Abortable<F> {
    work: Option<Pin<Box<F>>>,
    abort: AbortHandle,
}

impl<F: Future> Future for Abortable<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let abort = Arc::clone(&self.abort.0);
        abort.point.touch();
        if abort.aborted.load(Ordering::Relaxed) {
            self.work = None;
        } else {
            *abort.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        }
        match &mut self.work {
            Some(work) => work.as_mut().poll(cx).map(drop),
            None => Poll::Ready(()),
        }
    }
}

/// In the place of the runtime's.
pub(crate) fn spawn<F>(future: F) -> JoinHandle
where
    F: Future<Output: Send> + Send + 'static,
{
    let abort = AbortHandle::default();
    let task = Abortable { work: Some(Box::pin(future)), abort: abort.clone() };
    drop(run(move || block_on(task)));
    JoinHandle(abort)
}

/// In the place of the runtime's handle.
#[derive(Clone)]
pub(crate) struct Handle;

impl Handle {
    pub(crate) const fn current() -> Self {
        Self
    }

    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle
    where
        F: Future<Output: Send> + Send + 'static,
    {
        spawn(future)
    }
}

//! Who is measured: something that can be asked about an event, in a process of its own.

pub mod bare;
pub mod ours;
pub mod tonic;
pub mod upstream;

use std::future::Future;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::event;
use crate::slice::{Allocations, Answered, Load, Making, Reading, Slice, Window};

/// How long anything of the set-up may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Where to listen or to dial, and for how many connections.
#[derive(Clone, Debug)]
pub struct Place {
    /// The socket.
    pub socket: PathBuf,
    /// How many connections the load is spread over.
    pub connections: usize,
}

/// Something that can be asked.
pub trait Target: Send + Sync + Sized + 'static {
    /// The event as it takes it.
    type Event: Clone + Send + Sync;

    /// Listens, and returns when as many agents are there as there should be.
    fn open(place: Place) -> impl Future<Output = Result<Self, String>> + Send;

    /// The event, to be cloned.
    fn template() -> Self::Event;

    /// Gives the event the id of another request.
    fn rename(event: &mut Self::Event, id: String);

    /// Asks, and sees that the answer allows the request.
    fn ask(&self, caller: usize, event: &Self::Event) -> impl Future<Output = Result<(), String>> + Send;
}

/// A caller's events.
struct Maker<T: Target> {
    making: Making,
    caller: usize,
    number: u64,
    template: T::Event,
    event: T::Event,
}

impl<T: Target> Maker<T> {
    fn new(making: Making, caller: usize) -> Self {
        Self { making, caller, number: 0, template: T::template(), event: T::template() }
    }

    fn next(&mut self) -> &T::Event {
        if self.making == Making::Anew {
            self.event = self.template.clone();
        }
        T::rename(&mut self.event, event::id(self.caller, self.number));
        self.number += 1;
        &self.event
    }
}

/// As many callers as there should be requests in flight, each asking one thing after the other.
pub fn measure<T: Target>(
    runtime: &Runtime,
    target: &Arc<T>,
    load: &Load,
    allocations: Allocations,
) -> Result<Slice, String> {
    let window = Window::of(load);
    let callers: Vec<_> = (0..load.in_flight)
        .map(|caller| runtime.spawn(call(Arc::clone(target), Maker::new(load.making, caller), window)))
        .collect();
    let readings = window.watch(allocations);
    let mut seen = Answered::default();
    for caller in callers {
        seen.extend(runtime.block_on(caller).map_err(|error| error.to_string())??);
    }
    let (event_cpu, event_allocations) = measure_making::<T>(load.making, allocations);
    Ok(Slice { event_cpu, event_allocations, ..Slice::of(seen, load, readings) })
}

async fn call<T: Target>(target: Arc<T>, mut maker: Maker<T>, window: Window) -> Result<Answered, String> {
    let mut seen = Answered::default();
    loop {
        let caller = maker.caller;
        let event = maker.next();
        let asked = Instant::now();
        target.ask(caller, event).await?;
        let answered = Instant::now();
        window.note(&mut seen, asked, answered);
        if answered >= window.end {
            return Ok(seen);
        }
    }
}

/// What making an event costs without asking anybody.
fn measure_making<T: Target>(making: Making, allocations: Allocations) -> (f64, f64) {
    const COUNT: u32 = 2_000;
    let mut maker = Maker::<T>::new(making, 0);
    let before = Reading::now(allocations);
    for _ in 0..COUNT {
        black_box(maker.next());
    }
    Reading::now(allocations).each_since(&before, f64::from(COUNT))
}

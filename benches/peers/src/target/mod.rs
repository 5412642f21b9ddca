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
use crate::slice::{Allocations, Load, Reading, Slice, Window};

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
    fn ask(&self, caller: usize, event: Self::Event) -> impl Future<Output = Result<(), String>> + Send;
}

/// A proxy makes every event anew, so each caller does.
fn make<T: Target>(template: &T::Event, caller: usize, number: u64) -> T::Event {
    let mut event = template.clone();
    T::rename(&mut event, event::id(caller, number));
    event
}

/// As many callers as there should be requests in flight, each asking one thing after the other.
pub fn measure<T: Target>(
    runtime: &Runtime,
    target: &Arc<T>,
    load: &Load,
    allocations: Allocations,
) -> Result<Slice, String> {
    let window = Window::of(load);
    let callers: Vec<_> =
        (0..load.in_flight).map(|caller| runtime.spawn(call(Arc::clone(target), caller, window))).collect();
    let readings = window.watch(allocations);
    let mut latencies = Vec::new();
    for caller in callers {
        latencies.extend(runtime.block_on(caller).map_err(|error| error.to_string())??);
    }
    let (event_cpu, event_allocations) = measure_making::<T>(allocations);
    Ok(Slice { event_cpu, event_allocations, ..Slice::of(latencies, load, readings) })
}

async fn call<T: Target>(target: Arc<T>, caller: usize, window: Window) -> Result<Vec<u32>, String> {
    let template = T::template();
    let mut latencies = Vec::new();
    for number in 0.. {
        let event = make::<T>(&template, caller, number);
        let asked = Instant::now();
        target.ask(caller, event).await?;
        let answered = Instant::now();
        if answered >= window.end {
            break;
        }
        window.note(&mut latencies, asked, answered);
    }
    Ok(latencies)
}

/// What making and dropping an event costs without asking anybody.
fn measure_making<T: Target>(allocations: Allocations) -> (f64, f64) {
    const COUNT: u32 = 2_000;
    let template = T::template();
    let before = Reading::now(allocations);
    for number in 0..COUNT {
        drop(black_box(make::<T>(&template, 0, number.into())));
    }
    Reading::now(allocations).each_since(&before, f64::from(COUNT))
}

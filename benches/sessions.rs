//! Requests through the sessions, bytes and all. The number is how many are written before the
//! first is answered; what is told is for all of them. Making the event is measured by itself, to
//! be taken off. `cargo bench --bench sessions`

mod common;

use common::event::{chunk, headers, id};
use common::joined::{Joined, Setup};
use dialback::session::EncodedEvent;
use dialback::wire::{Encoding, Event};
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};

#[global_allocator]
static HEAP: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const WINDOWS: [usize; 4] = [1, 16, 64, 256];

/// Events of different requests.
fn events(count: usize) -> Vec<Event> {
    (0..count).map(|number| headers(&id(number)).into()).collect()
}

/// An event encoded, as a caller does it.
#[divan::bench]
fn encoding_alone(bencher: Bencher<'_, '_>) {
    let event = Event::from(headers(&id(1)));
    bencher.bench_local(|| EncodedEvent::new(black_box(&event), Encoding::Json).expect("it has a form"));
}

fn both(bencher: Bencher<'_, '_>, window: usize, setup: &Setup) {
    let mut joined = Joined::open(setup);
    let events = events(window);
    bencher.counter(ItemsCount::new(window)).bench_local(|| {
        for event in &events {
            joined.submit(event);
        }
        joined.move_to_agent();
        joined.allow_all();
        joined.move_to_proxy();
        assert_eq!(joined.endings(), (window, 0));
    });
}

#[divan::bench(args = WINDOWS)]
fn both_ends(bencher: Bencher<'_, '_>, window: usize) {
    both(bencher, window, &Setup::default());
}

#[divan::bench(args = WINDOWS)]
fn both_ends_by_exchange_id(bencher: Bencher<'_, '_>, window: usize) {
    both(bencher, window, &Setup { exchange_ids: true, ..Setup::default() });
}

/// The answers were made beforehand.
#[divan::bench(args = WINDOWS)]
fn proxy_alone(bencher: Bencher<'_, '_>, window: usize) {
    let mut joined = Joined::open(&Setup::default());
    let events = events(window);
    let ids: Vec<String> = (0..window).map(id).collect();
    bencher.counter(ItemsCount::new(window)).bench_local(|| {
        for event in &events {
            joined.submit(event);
        }
        joined.write_to_nobody();
        joined.answer_raw(ids.iter().map(String::as_str));
        assert_eq!(joined.endings(), (window, 0));
    });
}

/// A piece of 4 KiB of a body, from end to end and back.
#[divan::bench]
fn body_of_4_kib(bencher: Bencher<'_, '_>) {
    let mut joined = Joined::open(&Setup::default());
    let event = chunk(&id(1), 0);
    bencher.counter(divan::counter::BytesCount::new(4_usize << 10)).bench_local(|| {
        joined.submit(&event);
        joined.move_to_agent();
        joined.allow_all();
        joined.move_to_proxy();
        assert_eq!(joined.endings(), (1, 0));
    });
}

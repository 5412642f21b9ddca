//! Finds a message's ids, beside reading the whole message. `cargo bench --bench ids`

mod common;

use common::answers;
use common::event::{chunk, headers, id};
use dialback::wire::{Answer, AnswerReader, Encoding, Event, EventKind, answer_ids, event_ids};
use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher, black_box};

#[global_allocator]
static HEAP: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Those that were compiled in.
fn encodings() -> impl Iterator<Item = Encoding> {
    [Encoding::Json, Encoding::MessagePack].into_iter().filter(|encoding| encoding.is_supported())
}

fn over<T>(bencher: Bencher<'_, '_>, payload: &[u8], mut work: impl FnMut(&[u8]) -> T) {
    bencher.counter(BytesCount::new(payload.len())).bench_local(|| work(black_box(payload)));
}

/// An answer with every field that a deployed agent writes.
fn answer(encoding: Encoding) -> Vec<u8> {
    let json = answers::payload(&id(1));
    if encoding == Encoding::Json {
        return json;
    }
    let answer: Answer = Encoding::Json.decode(&json).expect("it is an answer");
    let mut out = Vec::new();
    encoding.encode(&answer, &mut out).expect("it has a form");
    out
}

fn encoded(event: &Event, encoding: Encoding) -> Vec<u8> {
    let mut out = Vec::new();
    event.encode(encoding, &mut out).expect("it has a form");
    out
}

#[divan::bench(args = encodings())]
fn answer_by_its_ids(bencher: Bencher<'_, '_>, encoding: Encoding) {
    over(bencher, &answer(encoding), |payload| answer_ids(encoding, payload).expect("it is well-formed"));
}

#[divan::bench(args = encodings())]
fn answer_in_full(bencher: Bencher<'_, '_>, encoding: Encoding) {
    over(bencher, &answer(encoding), |payload| encoding.decode::<Answer>(payload).expect("it is an answer"));
}

#[divan::bench]
fn answer_like_the_one_before(bencher: Bencher<'_, '_>) {
    let mut reader = AnswerReader::default();
    over(bencher, &answer(Encoding::Json), |payload| {
        reader.read(Encoding::Json, payload).expect("it is an answer")
    });
}

#[divan::bench(args = encodings())]
fn event_by_its_ids(bencher: Bencher<'_, '_>, encoding: Encoding) {
    let payload = encoded(&headers(&id(1)).into(), encoding);
    over(bencher, &payload, |payload| event_ids(encoding, payload).expect("it is well-formed"));
}

#[divan::bench(args = encodings())]
fn event_in_full(bencher: Bencher<'_, '_>, encoding: Encoding) {
    let payload = encoded(&headers(&id(1)).into(), encoding);
    over(bencher, &payload, |payload| {
        Event::decode(EventKind::RequestHeaders, encoding, payload).expect("it is an event")
    });
}

#[divan::bench(args = encodings())]
fn body_of_4_kib_by_its_ids(bencher: Bencher<'_, '_>, encoding: Encoding) {
    let payload = encoded(&chunk(&id(1), 0), encoding);
    over(bencher, &payload, |payload| event_ids(encoding, payload).expect("it is well-formed"));
}

#[divan::bench(args = encodings())]
fn body_of_4_kib_in_full(bencher: Bencher<'_, '_>, encoding: Encoding) {
    let payload = encoded(&chunk(&id(1), 0), encoding);
    over(bencher, &payload, |payload| {
        Event::decode(EventKind::RequestBodyChunk, encoding, payload).expect("it is an event")
    });
}

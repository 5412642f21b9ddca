//! Writes messages and frames, beside a copy of the same bytes. `cargo bench --bench encoder`

mod common;

use common::event::{chunk, headers, id};
use dialback::wire::{Answer, Encoding, Event, FrameType, MAX_FRAME, encode_frame, encode_message};
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

fn message<T: serde::Serialize>(bencher: Bencher<'_, '_>, kind: FrameType, encoding: Encoding, message: &T) {
    let mut out = Vec::new();
    encode_message(kind, encoding, message, MAX_FRAME, &mut out).expect("it fits a frame");
    bencher.counter(BytesCount::new(out.len())).bench_local(move || {
        out.clear();
        encode_message(kind, encoding, black_box(message), MAX_FRAME, &mut out).expect("it fits a frame");
        black_box(&out).len()
    });
}

#[divan::bench(args = encodings())]
fn event(bencher: Bencher<'_, '_>, encoding: Encoding) {
    message(bencher, FrameType::RequestHeaders, encoding, &headers(&id(1)));
}

#[divan::bench(args = encodings())]
fn body_of_4_kib(bencher: Bencher<'_, '_>, encoding: Encoding) {
    let Event::RequestBodyChunk(chunk) = chunk(&id(1), 0) else { unreachable!("a chunk was made") };
    message(bencher, FrameType::RequestBodyChunk, encoding, &chunk);
}

#[divan::bench(args = encodings())]
fn answer(bencher: Bencher<'_, '_>, encoding: Encoding) {
    message(bencher, FrameType::AgentResponse, encoding, &Answer::allow());
}

/// A payload that was encoded before: header and copy.
#[divan::bench(args = [64, 720, 16 << 10])]
fn frame(bencher: Bencher<'_, '_>, length: usize) {
    let payload = vec![b'x'; length];
    let mut out = Vec::with_capacity(length + 5);
    bencher.counter(BytesCount::new(length)).bench_local(|| {
        out.clear();
        encode_frame(FrameType::RequestHeaders, black_box(&payload), MAX_FRAME, &mut out)
            .expect("it fits a frame");
        black_box(&out).len()
    });
}

#[divan::bench(args = [64, 720, 16 << 10])]
fn memcpy(bencher: Bencher<'_, '_>, length: usize) {
    let payload = vec![b'x'; length];
    let mut out = vec![0; length];
    bencher
        .counter(BytesCount::new(length))
        .bench_local(|| black_box(&mut out).copy_from_slice(black_box(&payload)));
}

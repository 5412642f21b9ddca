//! Reads a stream of frames, beside a copy of the same bytes: a frame that came in one piece is lent
//! and not copied, one that was cut is put together. `cargo bench --bench decoder`

mod common;

use common::event::{chunk, headers, id};
use dialback::wire::{Decoder, Encoding, Event, FrameType, MAX_FRAME, encode_frame, encode_message};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

/// About a megabyte of a kind of frame, and how many that are.
fn stream(frame: &[u8]) -> (usize, Vec<u8>) {
    let count = (1 << 20) / frame.len() + 1;
    (count, frame.repeat(count))
}

/// An event of about 720 bytes.
fn event() -> Vec<u8> {
    let mut frame = Vec::new();
    let event = headers(&id(1));
    encode_message(FrameType::RequestHeaders, Encoding::Json, &event, MAX_FRAME, &mut frame)
        .expect("it fits a frame");
    frame
}

/// A piece of 4 KiB of a body.
fn body() -> Vec<u8> {
    let mut frame = Vec::new();
    let Event::RequestBodyChunk(chunk) = chunk(&id(1), 0) else { unreachable!("a chunk was made") };
    encode_message(FrameType::RequestBodyChunk, Encoding::Json, &chunk, MAX_FRAME, &mut frame)
        .expect("it fits a frame");
    frame
}

/// The smallest that carries anything.
fn ping() -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(FrameType::Ping, b"{}", MAX_FRAME, &mut frame).expect("it fits a frame");
    frame
}

/// A kind of frame, and how the stream of them is cut.
struct Case {
    name: &'static str,
    frame: fn() -> Vec<u8>,
    cut: usize,
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.cut {
            usize::MAX => write!(f, "{}, whole", self.name),
            cut => write!(f, "{}, cut at {cut}", self.name),
        }
    }
}

/// Not at all, as a socket's buffer gives it, and small.
const CUTS: [usize; 3] = [usize::MAX, 64 << 10, 512];

fn cases() -> impl Iterator<Item = Case> {
    CUTS.into_iter().flat_map(|cut| {
        [
            Case { name: "event", frame: event, cut },
            Case { name: "body", frame: body, cut },
            Case { name: "ping", frame: ping, cut },
        ]
    })
}

#[divan::bench(args = cases())]
fn decode(bencher: Bencher<'_, '_>, case: &Case) {
    let (frames, stream) = stream(&(case.frame)());
    bencher.counter(BytesCount::new(stream.len())).counter(ItemsCount::new(frames)).bench_local(|| {
        let mut decoder = Decoder::new(MAX_FRAME);
        let mut read = 0_usize;
        for mut piece in stream.chunks(case.cut.min(stream.len())) {
            while let Some(frame) = decoder.decode(&mut piece).expect("well-formed frames") {
                black_box(frame);
                read += 1;
            }
        }
        assert_eq!(read, frames);
    });
}

#[divan::bench]
fn memcpy(bencher: Bencher<'_, '_>) {
    let (_, stream) = stream(&event());
    let mut copy = vec![0; stream.len()];
    bencher
        .counter(BytesCount::new(stream.len()))
        .bench_local(|| black_box(&mut copy).copy_from_slice(black_box(&stream)));
}

//! The socket alone: the same frames over the same socket, written and read by the asking task
//! itself, with no protocol between. What no proxy in user space can be faster than.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::Instant;

use dialback::wire::{
    AnswerReader, Encoding, FrameType, RegistrationResponse, RequestHeaders, encode_message,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::{PATIENCE, Place};
use crate::event;
use crate::slice::{Allocations, Answered, Load, Making, Slice, Window};

/// What the task does beside writing and reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Nothing: the frame was encoded beforehand, the answer is not looked at.
    None,
    /// Makes each event, encodes it, and parses each answer.
    Json,
}

/// Connections to raw agents.
#[derive(Debug)]
pub struct Bare {
    streams: Vec<UnixStream>,
}

impl Bare {
    /// Listens, and answers registrations until as many are there as there should be.
    pub async fn open(place: Place) -> Result<Self, String> {
        let listener = UnixListener::bind(&place.socket).map_err(|error| error.to_string())?;
        let mut streams = Vec::new();
        while streams.len() < place.connections {
            let accepted = timeout(PATIENCE, listener.accept()).await.map_err(|_| "no agent came")?;
            let (mut stream, _) = accepted.map_err(|error| error.to_string())?;
            welcome(&mut stream).await.map_err(|error| error.to_string())?;
            streams.push(stream);
        }
        Ok(Self { streams })
    }

    /// Keeps as many frames on the wire as there should be requests in flight.
    pub fn measure(
        &mut self,
        runtime: &Runtime,
        work: Work,
        load: &Load,
        allocations: Allocations,
    ) -> Result<Slice, String> {
        let window = Window::of(load);
        let connections = self.streams.len().min(load.in_flight);
        let idle = self.streams.split_off(connections);
        let lanes: Vec<_> = std::mem::take(&mut self.streams)
            .into_iter()
            .enumerate()
            .map(|(index, stream)| {
                let share = load.in_flight / connections + usize::from(index < load.in_flight % connections);
                runtime.spawn(Lane::new(stream, index, (work, load.making), share).run(window))
            })
            .collect();
        let readings = window.watch(allocations);
        let mut seen = Answered::default();
        for lane in lanes {
            let (stream, answered) = runtime
                .block_on(lane)
                .map_err(|error| error.to_string())?
                .map_err(|error| error.to_string())?;
            seen.extend(answered);
            self.streams.push(stream);
        }
        self.streams.extend(idle);
        Ok(Slice::of(seen, load, readings))
    }
}

async fn welcome(stream: &mut UnixStream) -> io::Result<()> {
    let length = stream.read_u32().await?;
    let mut registration = vec![0; length as usize];
    stream.read_exact(&mut registration).await?;
    let response = RegistrationResponse { success: true, ..RegistrationResponse::default() };
    let mut frame = Vec::new();
    encode_message(FrameType::HandshakeResponse, Encoding::Json, &response, u32::MAX, &mut frame)
        .map_err(io::Error::other)?;
    stream.write_all(&frame).await
}

/// One connection's task.
struct Lane {
    stream: UnixStream,
    index: usize,
    work: Work,
    share: usize,
    making: Making,
    template: RequestHeaders,
    event: RequestHeaders,
    encoded: Vec<u8>,
    number: u64,
    /// The JSON work that ours has is done as ours does it.
    reader: AnswerReader,
    /// When each unanswered frame was made; answers come in order.
    asked: VecDeque<Instant>,
}

impl Lane {
    fn new(stream: UnixStream, index: usize, (work, making): (Work, Making), share: usize) -> Self {
        let template = event::ours(&event::id(index, 0));
        let mut encoded = Vec::new();
        encode(&template, &mut encoded);
        Self {
            stream,
            index,
            work,
            share,
            making,
            event: template.clone(),
            template,
            encoded,
            number: 0,
            reader: AnswerReader::default(),
            asked: VecDeque::new(),
        }
    }

    async fn run(mut self, window: Window) -> io::Result<(UnixStream, Answered)> {
        let (mut output, mut written) = (Vec::new(), 0);
        let mut input = vec![0; 64 << 10];
        let mut filled = 0;
        let mut seen = Answered::default();
        loop {
            while self.asked.len() < self.share && Instant::now() < window.end {
                self.put(&mut output);
            }
            if self.asked.is_empty() {
                return Ok((self.stream, seen));
            }
            let mut idle = true;
            if written < output.len() {
                if let Some(count) = ready(self.stream.try_write(&output[written..]))? {
                    written += count;
                    idle = false;
                }
                if written == output.len() {
                    output.clear();
                    written = 0;
                }
            }
            if let Some(count) = ready(self.stream.try_read(&mut input[filled..]))? {
                if count == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                filled += count;
                let taken = self.take(&input[..filled], window, &mut seen)?;
                input.copy_within(taken..filled, 0);
                filled -= taken;
                idle = false;
            }
            if idle {
                let interest = if output.is_empty() {
                    Interest::READABLE
                } else {
                    Interest::READABLE | Interest::WRITABLE
                };
                self.stream.ready(interest).await?;
            }
        }
    }

    fn put(&mut self, output: &mut Vec<u8>) {
        match self.work {
            Work::None => {
                self.asked.push_back(Instant::now());
                output.extend_from_slice(&self.encoded);
            }
            Work::Json => {
                if self.making == Making::Anew {
                    self.event = self.template.clone();
                }
                self.event.metadata.correlation_id = event::id(self.index, self.number).into();
                self.number += 1;
                self.asked.push_back(Instant::now());
                encode(&self.event, output);
            }
        }
    }

    /// Takes whole answers, and returns how many bytes they had.
    fn take(&mut self, input: &[u8], window: Window, seen: &mut Answered) -> io::Result<usize> {
        let mut rest = input;
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let Some((frame, next)) = behind.split_at_checked(u32::from_be_bytes(*length) as usize) else {
                break;
            };
            if self.work == Work::Json {
                let answer = self.reader.read(Encoding::Json, &frame[1..]).map_err(io::Error::other)?;
                if !answer.is_allow() {
                    return Err(io::Error::other("the answer is no allow"));
                }
            }
            let asked = self.asked.pop_front().ok_or_else(|| io::Error::other("an answer to nothing"))?;
            window.note(seen, asked, Instant::now());
            rest = next;
        }
        Ok(input.len() - rest.len())
    }
}

fn encode(event: &RequestHeaders, out: &mut Vec<u8>) {
    encode_message(FrameType::RequestHeaders, Encoding::Json, event, u32::MAX, out)
        .expect("the event is encoded");
}

/// What a read or write did, or `None` if it has to wait.
fn ready(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

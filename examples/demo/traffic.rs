//! Requests with bodies, what must become of each, and what became of it.

use std::time::{Duration, Instant};

use dialback::net::{AgentHandle, AskError};
use dialback::wire::{Answer, Decision, HeaderOp, RequestBodyChunk, RequestHeaders};

use crate::agents::{BAD_BODY, BAD_TARGET, CARD};

/// Pieces of every body, and how long each is at least, in bytes.
const CHUNKS: usize = 3;
const CHUNK: usize = 2_048;

/// What a request is made to be, so that its verdict is known before it is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    Harmless,
    /// A card number stands in its body.
    Card,
    BadTarget,
    BadBody,
}

/// A request of the demo.
pub struct Request {
    pub id: String,
    pub nature: Nature,
    headers: RequestHeaders,
    chunks: Vec<Chunk>,
}

/// A piece of a body, and what it must become. The two are made side by side, so that the editor
/// is not checked by its own work.
struct Chunk {
    bytes: Vec<u8>,
    rewritten: Option<Vec<u8>>,
}

impl Request {
    /// The request of that number. Every seventh is bad in one way, every eleventh in another.
    pub fn new(number: usize) -> Self {
        let nature = match (number % 7, number % 11, number % 3) {
            (0, _, _) => Nature::BadTarget,
            (_, 0, _) => Nature::BadBody,
            (_, _, 0) => Nature::Card,
            (_, _, _) => Nature::Harmless,
        };
        let id = format!("request-{number}");
        let uri = match nature {
            Nature::BadTarget => format!("/files/{BAD_TARGET}{BAD_TARGET}etc/passwd?{number}"),
            Nature::Harmless | Nature::Card | Nature::BadBody => format!("/orders/{number}"),
        };
        let mut headers = RequestHeaders::new(id.as_str(), "POST", uri);
        headers.push_header("host", b"shop.example");
        headers.push_header("cookie", b"session=1");
        let chunks = (0..CHUNKS).map(|index| chunk(number, index, nature)).collect();
        Self { id, nature, headers, chunks }
    }

    /// Body bytes.
    pub fn body_len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.bytes.len()).sum()
    }

    fn event(&self, index: usize) -> RequestBodyChunk {
        let mut event = RequestBodyChunk::new(self.id.as_str(), self.chunks[index].bytes.as_slice());
        event.chunk_index = u32::try_from(index).unwrap_or(u32::MAX);
        event.is_last = index + 1 == self.chunks.len();
        event
    }
}

/// A piece of a body: bytes of every value, and in the middle piece what makes it special.
fn chunk(number: usize, index: usize, nature: Nature) -> Chunk {
    let filler: Vec<u8> = (0..CHUNK).map(|at| ((number + index + at) % 256) as u8).collect();
    let (start, end) = filler.split_at(100);
    match nature {
        Nature::Card if index == 1 => Chunk {
            bytes: [start, CARD, end, CARD].concat(),
            rewritten: Some([start, b"[card]", end, b"[card]"].concat()),
        },
        Nature::BadBody if index == 1 => Chunk { bytes: [&filler, BAD_BODY].concat(), rewritten: None },
        Nature::Harmless | Nature::BadTarget | Nature::Card | Nature::BadBody => {
            Chunk { bytes: filler, rewritten: None }
        }
    }
}

/// What became of a request.
#[derive(Default)]
pub struct Outcome {
    pub blocked_by: Option<u16>,
    /// Whether the verdict, and every change, is what it must be.
    pub as_expected: bool,
    /// Pieces of the body that were rewritten.
    pub rewritten: usize,
    pub guard_headers: Vec<Duration>,
    pub guard_body: Vec<Duration>,
    pub editor_headers: Vec<Duration>,
    pub editor_body: Vec<Duration>,
}

/// Takes one request through the guard and, if it lets it pass, through the editor.
pub async fn carry(
    request: &Request,
    guard: &AgentHandle,
    editor: &AgentHandle,
) -> Result<Outcome, AskError> {
    let mut outcome = Outcome::default();
    let (answer, took) = timed(guard.request_headers(request.headers.clone())).await?;
    outcome.guard_headers.push(took);
    if !answer.is_allow() {
        outcome.blocked_by = blocked(&answer);
        outcome.as_expected = request.nature == Nature::BadTarget && outcome.blocked_by == Some(403);
        return Ok(outcome);
    }
    for index in 0..request.chunks.len() {
        let (answer, took) = timed(guard.request_body_chunk(request.event(index))).await?;
        outcome.guard_body.push(took);
        if !answer.is_allow() {
            outcome.blocked_by = blocked(&answer);
            outcome.as_expected =
                request.nature == Nature::BadBody && outcome.blocked_by == Some(400) && index == 1;
            return Ok(outcome);
        }
    }
    let (answer, took) = timed(editor.request_headers(request.headers.clone())).await?;
    outcome.editor_headers.push(took);
    let wanted = [HeaderOp::set("x-request-id", request.id.as_str()), HeaderOp::remove("cookie")];
    outcome.as_expected = answer.is_allow()
        && answer.request_headers == wanted
        && matches!(request.nature, Nature::Harmless | Nature::Card);
    rewrite(request, editor, &mut outcome).await?;
    Ok(outcome)
}

/// The whole body at once: the editor's answers are matched exactly, so no piece waits for another.
async fn rewrite(request: &Request, editor: &AgentHandle, outcome: &mut Outcome) -> Result<(), AskError> {
    let mut pending = Vec::new();
    for index in 0..request.chunks.len() {
        pending.push((Instant::now(), editor.request_body_chunk(request.event(index)).send()?));
    }
    for (index, (begun, answer)) in pending.into_iter().enumerate() {
        let answer = answer.await?;
        outcome.editor_body.push(begun.elapsed());
        let mutation = answer.request_body_mutation.as_ref();
        let bytes = mutation.and_then(|mutation| mutation.data.as_deref());
        // Byte for byte, and for the very piece that was asked about.
        outcome.as_expected &= bytes == request.chunks[index].rewritten.as_deref()
            && mutation.is_none_or(|mutation| mutation.chunk_index as usize == index);
        outcome.rewritten += usize::from(bytes.is_some());
    }
    Ok(())
}

fn blocked(answer: &Answer) -> Option<u16> {
    match &answer.decision {
        Decision::Block { status, .. } => Some(*status),
        Decision::Allow | Decision::Redirect { .. } | Decision::Challenge { .. } => None,
    }
}

/// Asks, and takes the time.
pub async fn timed(ask: dialback::net::Ask) -> Result<(Answer, Duration), AskError> {
    let begun = Instant::now();
    let answer = ask.await?;
    Ok((answer, begun.elapsed()))
}

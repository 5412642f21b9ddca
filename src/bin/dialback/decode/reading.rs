//! Frames out of bytes, one after the other, and why no more can be had.

use std::fmt;
use std::io::{self, Read};

use dialback::wire::{
    Answer, Cancel, ConfigUpdateRequest, DecodeError, Decoder, Encoding, Event, EventKind, FlowControl,
    ForwardRequest, ForwardResponse, Frame, FrameType, HealthStatus, Kind, MAX_FRAME, MetricsReport, Ping,
    Registration, RegistrationResponse,
};
use serde::de::{DeserializeOwned, IgnoredAny};

use super::Assumed;

/// Bytes read at once.
const READ: usize = 64 << 10;

/// A frame, or what is wrong behind the last one.
pub enum Item<'a> {
    Frame(Seen<'a>),
    End(Damage),
}

/// A whole frame, where it lay, and what it says.
pub struct Seen<'a> {
    /// Counted from 1.
    pub number: u64,
    /// Where its length field began.
    pub offset: u64,
    pub kind: Kind,
    pub payload: &'a [u8],
    pub encoding: Encoding,
    pub message: Result<Message, Unread>,
}

/// Why a frame was not read.
pub enum Unread {
    /// Its type is unknown, which is no damage: an end would skip it.
    Unknown,
    /// Its payload is not what its type says.
    Unreadable(DecodeError),
}

/// What a frame says.
pub enum Message {
    Registration(Box<Registration>),
    Registered(Box<RegistrationResponse>),
    Forward(Box<ForwardRequest>),
    Forwarded(Box<ForwardResponse>),
    Event(Box<Event>),
    Answer(Box<Answer>),
    Health(Box<HealthStatus>),
    Metrics(Box<MetricsReport>),
    Config(Box<ConfigUpdateRequest>),
    Flow(FlowControl),
    Cancel(Cancel),
    Ping(Ping),
    Pong(Option<Ping>),
}

/// What is wrong, and where.
#[derive(Clone, Debug)]
pub struct Damage {
    pub offset: u64,
    pub words: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "damaged at byte {}: {}", self.offset, self.words)
    }
}

impl Seen<'_> {
    /// What is wrong with this frame, if something is.
    pub fn damage(&self) -> Option<Damage> {
        match &self.message {
            Err(Unread::Unreadable(error)) => Some(Damage {
                offset: self.offset,
                words: format!("frame {}, {}: {error}", self.number, self.kind),
            }),
            Err(Unread::Unknown) | Ok(_) => None,
        }
    }
}

/// Reads frames until the input ends or is damaged, and hands each to `show`.
///
/// # Errors
/// Those of `show`. What is wrong with the input is handed to it.
pub fn read_frames(
    mut input: impl Read,
    assumed: Assumed,
    mut show: impl FnMut(Item<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let mut decoder = Decoder::new(MAX_FRAME);
    let (mut number, mut offset) = (0_u64, 0_u64);
    let mut buffer = vec![0; READ];
    loop {
        let length = match input.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let at = offset.saturating_add(decoder.buffered() as u64);
                return show(Item::End(Damage { offset: at, words: error.to_string() }));
            }
        };
        if length == 0 {
            break;
        }
        let mut rest = buffer.get(..length).unwrap_or_default();
        loop {
            match decoder.decode(&mut rest) {
                Ok(Some(frame)) => {
                    number = number.saturating_add(1);
                    let whole = (frame.payload.len() as u64).saturating_add(5);
                    show(Item::Frame(see(frame, number, offset, assumed)))?;
                    offset = offset.saturating_add(whole);
                }
                Ok(None) => break,
                Err(error) => {
                    let words = format!("frame {}: {error}", number.saturating_add(1));
                    return show(Item::End(Damage { offset, words }));
                }
            }
        }
    }
    if decoder.is_mid_frame() {
        let words = format!(
            "the input ends within frame {}, after {} bytes of it",
            number.saturating_add(1),
            decoder.buffered()
        );
        show(Item::End(Damage { offset, words }))?;
    }
    Ok(())
}

fn see(frame: Frame<'_>, number: u64, offset: u64, assumed: Assumed) -> Seen<'_> {
    let Frame { kind, payload } = frame;
    let encoding = match kind {
        Kind::Known(FrameType::HandshakeRequest | FrameType::HandshakeResponse) => Encoding::Json,
        Kind::Known(_) | Kind::Unknown(_) => assumed.of(payload),
    };
    let message = match kind {
        Kind::Known(known) => read(known, encoding, payload).map_err(Unread::Unreadable),
        Kind::Unknown(_) => Err(Unread::Unknown),
    };
    Seen { number, offset, kind, payload, encoding, message }
}

fn read(kind: FrameType, encoding: Encoding, payload: &[u8]) -> Result<Message, DecodeError> {
    fn boxed<T: DeserializeOwned>(encoding: Encoding, payload: &[u8]) -> Result<Box<T>, DecodeError> {
        encoding.decode(payload).map(Box::new)
    }
    let event = |kind| Event::decode(kind, encoding, payload).map(|event| Message::Event(Box::new(event)));
    Ok(match kind {
        FrameType::HandshakeRequest if has(payload, "supported_versions") => {
            Message::Forward(boxed(encoding, payload)?)
        }
        FrameType::HandshakeRequest => Message::Registration(boxed(encoding, payload)?),
        FrameType::HandshakeResponse if has(payload, "capabilities") => {
            Message::Forwarded(boxed(encoding, payload)?)
        }
        FrameType::HandshakeResponse => Message::Registered(boxed(encoding, payload)?),
        FrameType::AgentResponse => Message::Answer(boxed(encoding, payload)?),
        FrameType::HealthStatus => Message::Health(boxed(encoding, payload)?),
        FrameType::MetricsReport => Message::Metrics(boxed(encoding, payload)?),
        FrameType::ConfigUpdateRequest => Message::Config(boxed(encoding, payload)?),
        FrameType::FlowControl => Message::Flow(encoding.decode(payload)?),
        FrameType::Cancel => Message::Cancel(encoding.decode(payload)?),
        FrameType::Ping => Message::Ping(encoding.decode(payload)?),
        // A pong holds whatever the ping did.
        FrameType::Pong => Message::Pong(encoding.decode(payload).ok()),
        FrameType::RequestHeaders => event(EventKind::RequestHeaders)?,
        FrameType::RequestBodyChunk => event(EventKind::RequestBodyChunk)?,
        FrameType::ResponseHeaders => event(EventKind::ResponseHeaders)?,
        FrameType::ResponseBodyChunk => event(EventKind::ResponseBodyChunk)?,
        FrameType::RequestComplete => event(EventKind::RequestComplete)?,
        FrameType::WebSocketFrame => event(EventKind::WebSocketFrame)?,
        FrameType::GuardrailInspect => event(EventKind::GuardrailInspect)?,
        FrameType::Configure => event(EventKind::Configure)?,
    })
}

/// Whether a JSON object has that field, by which the two handshakes are told apart.
fn has(payload: &[u8], field: &str) -> bool {
    let fields: Result<std::collections::BTreeMap<String, IgnoredAny>, _> = serde_json::from_slice(payload);
    fields.is_ok_and(|fields| fields.contains_key(field))
}

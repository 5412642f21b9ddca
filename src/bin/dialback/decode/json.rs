//! Frames as JSON, one on a line.

use std::io::{self, Write};

use dialback::wire::{Encoding, Token};
use serde::Serialize;
use serde_json::{Value, json};

use super::reading::{Item, Message, Seen, Unread};
use super::summary::{Way, way};

/// What stands in the place of a token.
const HIDDEN: &str = "(hidden)";

pub fn row(item: &Item<'_>, out: &mut dyn Write) -> io::Result<()> {
    let line = match item {
        Item::Frame(frame) => frame_line(frame),
        Item::End(damage) => json!({"offset": damage.offset, "damage": damage.words}),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

fn frame_line(frame: &Seen<'_>) -> Value {
    let (payload, error) = match &frame.message {
        Ok(message) => (payload(frame, message), Value::Null),
        Err(Unread::Unknown) => (Value::Null, "the type is not known; the frame is skipped".into()),
        Err(Unread::Unreadable(error)) => (Value::Null, error.to_string().into()),
    };
    json!({
        "offset": frame.offset,
        "length": frame.payload.len().saturating_add(1),
        "type": frame.kind.to_string(),
        "byte": frame.kind.to_byte(),
        "from": match way(frame) {
            Way::ToAgent => "proxy".into(),
            Way::ToProxy => "agent".into(),
            Way::Either => Value::Null,
        },
        "encoding": frame.encoding.name(),
        "payload": payload,
        "error": error,
    })
}

/// The payload as it came where it is JSON, else as this crate would write it in JSON.
fn payload(frame: &Seen<'_>, message: &Message) -> Value {
    match (message, frame.encoding) {
        (Message::Registration(registration), _) => {
            let mut registration = (**registration).clone();
            if registration.auth_token.is_some() {
                registration.auth_token = Some(Token::from(HIDDEN));
            }
            value(&registration)
        }
        (_, Encoding::Json) => Encoding::Json.decode(frame.payload).unwrap_or(Value::Null),
        (message, Encoding::MessagePack | Encoding::MessagePackText) => again(message),
    }
}

fn again(message: &Message) -> Value {
    match message {
        Message::Registration(message) => value(message),
        Message::Registered(message) => value(message),
        Message::Forward(message) => value(message),
        Message::Forwarded(message) => value(message),
        Message::Event(message) => value(message),
        Message::Answer(message) => value(message),
        Message::Health(message) => value(message),
        Message::Metrics(message) => value(message),
        Message::Config(message) => value(message),
        Message::Flow(message) => value(message),
        Message::Cancel(message) => value(message),
        Message::Ping(message) => value(message),
        Message::Pong(message) => value(message),
    }
}

fn value<T: Serialize>(message: &T) -> Value {
    serde_json::to_value(message).unwrap_or(Value::Null)
}

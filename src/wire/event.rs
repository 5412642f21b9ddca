//! Events: what the proxy asks an agent about.

use core::fmt;

use alloc::vec::Vec;

use serde::{Serialize, Serializer};

use super::body::Body;
use super::correlation::CorrelationId;
use super::encoder::EncodeError;
use super::encoding::{DecodeError, Encoding};
use super::frame::FrameType;
use super::http::{RequestBodyChunk, RequestComplete, RequestHeaders, ResponseBodyChunk, ResponseHeaders};
use super::inspection::{Configure, GuardrailInspect, WebSocketFrame};

/// One of the eight kinds of events.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum EventKind {
    /// [`RequestHeaders`]
    RequestHeaders,
    /// [`RequestBodyChunk`]
    RequestBodyChunk,
    /// [`ResponseHeaders`]
    ResponseHeaders,
    /// [`ResponseBodyChunk`]
    ResponseBodyChunk,
    /// [`RequestComplete`]
    RequestComplete,
    /// [`WebSocketFrame`]
    WebSocketFrame,
    /// [`GuardrailInspect`]
    GuardrailInspect,
    /// [`Configure`]
    Configure,
}

impl EventKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::RequestHeaders,
        Self::RequestBodyChunk,
        Self::ResponseHeaders,
        Self::ResponseBodyChunk,
        Self::RequestComplete,
        Self::WebSocketFrame,
        Self::GuardrailInspect,
        Self::Configure,
    ];

    /// The type of the frames that carry it.
    #[must_use]
    pub const fn frame_type(self) -> FrameType {
        match self {
            Self::RequestHeaders => FrameType::RequestHeaders,
            Self::RequestBodyChunk => FrameType::RequestBodyChunk,
            Self::ResponseHeaders => FrameType::ResponseHeaders,
            Self::ResponseBodyChunk => FrameType::ResponseBodyChunk,
            Self::RequestComplete => FrameType::RequestComplete,
            Self::WebSocketFrame => FrameType::WebSocketFrame,
            Self::GuardrailInspect => FrameType::GuardrailInspect,
            Self::Configure => FrameType::Configure,
        }
    }

    /// The kind that frames of this type carry, if they carry events.
    #[must_use]
    pub const fn from_frame_type(frame_type: FrameType) -> Option<Self> {
        match frame_type {
            FrameType::RequestHeaders => Some(Self::RequestHeaders),
            FrameType::RequestBodyChunk => Some(Self::RequestBodyChunk),
            FrameType::ResponseHeaders => Some(Self::ResponseHeaders),
            FrameType::ResponseBodyChunk => Some(Self::ResponseBodyChunk),
            FrameType::RequestComplete => Some(Self::RequestComplete),
            FrameType::WebSocketFrame => Some(Self::WebSocketFrame),
            FrameType::GuardrailInspect => Some(Self::GuardrailInspect),
            FrameType::Configure => Some(Self::Configure),
            FrameType::HandshakeRequest
            | FrameType::HandshakeResponse
            | FrameType::AgentResponse
            | FrameType::HealthStatus
            | FrameType::MetricsReport
            | FrameType::ConfigUpdateRequest
            | FrameType::FlowControl
            | FrameType::Cancel
            | FrameType::Ping
            | FrameType::Pong => None,
        }
    }

    /// The number in `supported_events`, 1 to 8 (W-EVENT-1).
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::RequestHeaders => 1,
            Self::RequestBodyChunk => 2,
            Self::ResponseHeaders => 3,
            Self::ResponseBodyChunk => 4,
            Self::RequestComplete => 5,
            Self::WebSocketFrame => 6,
            Self::GuardrailInspect => 7,
            Self::Configure => 8,
        }
    }

    /// The kind of that number in `supported_events`. 0 is in use for [`EventKind::Configure`] too.
    #[must_use]
    pub const fn from_number(number: i32) -> Option<Self> {
        match number {
            1 => Some(Self::RequestHeaders),
            2 => Some(Self::RequestBodyChunk),
            3 => Some(Self::ResponseHeaders),
            4 => Some(Self::ResponseBodyChunk),
            5 => Some(Self::RequestComplete),
            6 => Some(Self::WebSocketFrame),
            7 => Some(Self::GuardrailInspect),
            0 | 8 => Some(Self::Configure),
            _ => None,
        }
    }

    /// The name, as the protocol spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.frame_type().name()
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A message of one kind of event.
pub trait EventMessage: AnyEvent {
    /// Which kind.
    const KIND: EventKind;
}

/// An event of one kind or any: it has a kind, and it names the request it is about.
///
/// A reference to an event is one too, so that an event can be asked about without being given away.
pub trait AnyEvent: Serialize {
    /// Which kind of event this is.
    fn kind(&self) -> EventKind;

    /// The id of the request that the event is about.
    fn correlation_id(&self) -> &CorrelationId;

    /// Bytes that hold the payload of a usual event like this one, in any encoding. A hint: what it is
    /// too low by is found when the event is encoded.
    fn room(&self) -> usize;
}

/// Bytes that hold what stands beside a body, or an event without one.
const BESIDE: usize = 256;

/// Bytes that hold a usual set of headers.
const HEADERS: usize = 1 << 10;

/// Bytes that hold an event with that body in it, as base64.
fn with_body(body: &Body) -> usize {
    body.len().div_ceil(3).saturating_mul(4).saturating_add(BESIDE)
}

impl<E: AnyEvent + ?Sized> AnyEvent for &E {
    fn kind(&self) -> EventKind {
        (**self).kind()
    }

    fn correlation_id(&self) -> &CorrelationId {
        (**self).correlation_id()
    }

    fn room(&self) -> usize {
        (**self).room()
    }
}

impl AnyEvent for Event {
    fn kind(&self) -> EventKind {
        self.kind()
    }

    fn correlation_id(&self) -> &CorrelationId {
        self.correlation_id()
    }

    fn room(&self) -> usize {
        self.room()
    }
}

macro_rules! events {
    ($($name:ident,)+) => {
        /// An event of any kind.
        #[derive(Clone, Debug, PartialEq)]
        #[expect(clippy::large_enum_variant, reason = "the largest is the one that nearly all are")]
        pub enum Event {
            $(
                #[doc = concat!("[`", stringify!($name), "`]")]
                $name($name),
            )+
        }

        impl Event {
            /// Which kind of event this is.
            #[must_use]
            pub const fn kind(&self) -> EventKind {
                match self {
                    $(Self::$name(_) => EventKind::$name,)+
                }
            }

            /// The id of the request that the event is about.
            #[must_use]
            pub fn correlation_id(&self) -> &CorrelationId {
                match self {
                    $(Self::$name(event) => event.correlation_id(),)+
                }
            }

            /// Bytes that hold the payload of a usual event like this one, in any encoding.
            fn room(&self) -> usize {
                match self {
                    $(Self::$name(event) => event.room(),)+
                }
            }

            /// Reads an event of that kind from exactly these bytes.
            ///
            /// # Errors
            ///
            /// [`DecodeError`] when the bytes are not such an event.
            pub fn decode(
                kind: EventKind,
                encoding: Encoding,
                payload: &[u8],
            ) -> Result<Self, DecodeError> {
                match kind {
                    $(EventKind::$name => encoding.decode(payload).map(Self::$name),)+
                }
            }
        }

        impl Serialize for Event {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$name(event) => event.serialize(serializer),)+
                }
            }
        }

        $(
            impl From<$name> for Event {
                fn from(event: $name) -> Self {
                    Self::$name(event)
                }
            }

            /// Fails with the event itself if it is of another kind.
            impl TryFrom<Event> for $name {
                type Error = Event;

                fn try_from(event: Event) -> Result<Self, Event> {
                    if let Event::$name(event) = event { Ok(event) } else { Err(event) }
                }
            }
        )+
    };
}

events! {
    RequestHeaders,
    RequestBodyChunk,
    ResponseHeaders,
    ResponseBodyChunk,
    RequestComplete,
    WebSocketFrame,
    GuardrailInspect,
    Configure,
}

macro_rules! event_messages {
    ($($name:ident: $room:expr,)+) => {
        $(
            impl EventMessage for $name {
                const KIND: EventKind = EventKind::$name;
            }

            impl AnyEvent for $name {
                fn kind(&self) -> EventKind {
                    EventKind::$name
                }

                fn correlation_id(&self) -> &CorrelationId {
                    &self.correlation_id
                }

                fn room(&self) -> usize {
                    let room: fn(&Self) -> usize = $room;
                    room(self)
                }
            }
        )+
    };
}

event_messages! {
    RequestBodyChunk: |chunk| with_body(&chunk.data),
    ResponseHeaders: |_| HEADERS,
    ResponseBodyChunk: |chunk| with_body(&chunk.data),
    RequestComplete: |_| BESIDE,
    WebSocketFrame: |frame| with_body(&frame.data),
    GuardrailInspect: |_| BESIDE,
    Configure: |_| BESIDE,
}

impl EventMessage for RequestHeaders {
    const KIND: EventKind = EventKind::RequestHeaders;
}

impl AnyEvent for RequestHeaders {
    fn kind(&self) -> EventKind {
        EventKind::RequestHeaders
    }

    fn correlation_id(&self) -> &CorrelationId {
        &self.metadata.correlation_id
    }

    fn room(&self) -> usize {
        HEADERS
    }
}

impl Event {
    /// Appends the payload of this event to `out`.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the event has no form in the encoding; `out` is then as it was.
    pub fn encode(&self, encoding: Encoding, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.reserve(self.room());
        encoding.encode(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    // Rule: W-EVENT-1.
    fn kinds_numbers_and_frame_types_agree() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::from_number(kind.number()), Some(kind));
            assert_eq!(EventKind::from_frame_type(kind.frame_type()), Some(kind));
            assert_eq!(kind.name(), kind.frame_type().name());
        }
        assert_eq!(EventKind::from_number(0), Some(EventKind::Configure));
        assert_eq!(EventKind::from_number(9), None);
        assert_eq!(EventKind::from_number(-1), None);
        let carriers = FrameType::ALL.into_iter().filter_map(EventKind::from_frame_type);
        assert!(carriers.eq(EventKind::ALL));
    }

    #[test]
    fn an_event_knows_its_kind_and_id() {
        let event = Event::from(RequestHeaders::new("c", "GET", "/"));
        assert_eq!(event.kind(), EventKind::RequestHeaders);
        assert_eq!(event.correlation_id().as_str(), "c");
        let event = Event::from(ResponseHeaders::new("d", 200));
        assert_eq!(event.kind(), EventKind::ResponseHeaders);
        assert_eq!(event.correlation_id().as_str(), "d");
        let borrowed: &dyn Fn(&Event) -> EventKind = &|event| AnyEvent::kind(&event);
        assert_eq!(borrowed(&event), EventKind::ResponseHeaders);
    }

    /// Kind, id and the text that is written.
    fn told<E: AnyEvent>(event: E) -> (EventKind, CorrelationId, Vec<u8>) {
        let mut text = Vec::with_capacity(event.room());
        Encoding::Json.encode(&event, &mut text).unwrap();
        (event.kind(), event.correlation_id().clone(), text)
    }

    #[test]
    fn an_event_is_the_same_by_itself_among_others_and_borrowed() {
        let headers = ResponseHeaders::new("d", 200);
        let event = Event::from(headers.clone());
        assert_eq!(told(&headers), told(&event));
        assert_eq!(told(&headers), told(event));
        let chunk = RequestBodyChunk::new("e", "body");
        assert_eq!(told(&chunk), told(Event::from(chunk.clone())));
        assert!(chunk.room() > chunk.data.len());
        let lent: &dyn Fn(&RequestBodyChunk) -> usize = &|chunk| AnyEvent::room(&chunk);
        assert_eq!(lent(&chunk), chunk.room());
    }

    #[test]
    fn an_event_of_another_kind_comes_back_whole() {
        let event = Event::from(ResponseHeaders::new("d", 200));
        assert_eq!(RequestHeaders::try_from(event.clone()), Err(event.clone()));
        assert_eq!(ResponseHeaders::try_from(event), Ok(ResponseHeaders::new("d", 200)));
    }

    #[test]
    fn decoding_follows_the_kind() {
        let event = Event::from(ResponseHeaders::new("d", 200));
        let mut out = Vec::new();
        event.encode(Encoding::Json, &mut out).unwrap();
        let read = Event::decode(EventKind::ResponseHeaders, Encoding::Json, &out);
        assert_eq!(read, Ok(event));
        assert!(Event::decode(EventKind::RequestBodyChunk, Encoding::Json, &out).is_err());
    }

    #[test]
    fn a_kind_prints_its_name() {
        for kind in EventKind::ALL {
            assert_eq!(alloc::format!("{kind}"), kind.name());
        }
        assert_eq!(EventKind::WebSocketFrame.name(), "WebSocketFrame");
    }
}

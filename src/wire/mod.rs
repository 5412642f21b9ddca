//! The wire: bytes to typed frames and back. Knows nothing of state, time or sockets.
//!
//! A frame is a big-endian `u32` length, one type byte and a payload. The length counts the type
//! byte. [`Decoder`] takes the bytes in any cut and gives [`Frame`]s; [`encode_frame`] and
//! [`encode_message`] write them. The payload of every frame type is a type of this module, read
//! and written by an [`Encoding`].
//!
//! Reading is lenient: unknown fields are ignored (P11), optional fields may be missing, and both
//! spellings in use of a value are understood. Writing is strict: what deployed peers emit, byte for
//! byte, and never anything they could not read.
//!
//! ```
//! use dialback::wire::{Decoder, Encoding, FrameType, Kind, MAX_FRAME, Ping, encode_message};
//!
//! let mut bytes = Vec::new();
//! let ping = Ping { sequence: 7, timestamp_ms: 1 };
//! encode_message(FrameType::Ping, Encoding::Json, &ping, MAX_FRAME, &mut bytes)?;
//!
//! let mut decoder = Decoder::new(MAX_FRAME);
//! let mut input = bytes.as_slice();
//! let frame = decoder.decode(&mut input)?.ok_or("half a frame")?;
//! assert_eq!(frame.kind, Kind::Known(FrameType::Ping));
//! assert_eq!(Encoding::Json.decode::<Ping>(frame.payload)?, ping);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod answer;
pub mod audit;
pub mod body;
pub mod control;
pub mod correlation;
pub mod decision;
pub mod decoder;
pub mod dialect;
pub mod encoder;
pub mod encoding;
pub mod event;
pub mod forward;
pub mod frame;
pub mod headers;
pub mod http;
pub mod ids;
pub mod inspection;
pub(crate) mod json;
mod lenient;
pub mod metrics;
pub mod recurring;
pub mod registration;
pub mod report;
pub mod token;
pub mod verdict;

pub use answer::{Answer, BodyMutation, PROTOCOL_VERSION};
pub use audit::Audit;
pub use body::Body;
pub use control::{Cancel, CancelReason, FlowAction, FlowControl, Ping};
pub use correlation::CorrelationId;
pub use decision::{Decision, HeaderOp, WebSocketDecision};
pub use decoder::Decoder;
pub use dialect::{Dialect, recognise};
pub use encoder::{EncodeError, encode_frame, encode_frame_with, encode_message};
pub use encoding::{DecodeError, Encoding};
pub use event::{AnyEvent, Event, EventKind, EventMessage};
pub use forward::{ForwardRequest, ForwardResponse};
pub use frame::{Frame, FrameError, FrameType, HEADER_LEN, Kind, MAX_FRAME, MAX_FRAME_BEFORE_REGISTRATION};
pub use headers::Headers;
pub use http::{
    RequestBodyChunk, RequestComplete, RequestHeaders, RequestMetadata, ResponseBodyChunk, ResponseHeaders,
};
pub use ids::{AnswerIds, EventIds, answer_ids, append_exchange_id, event_ids};
pub use inspection::{Configure, GuardrailInspect, InspectionType, WebSocketFrame, WebSocketOpcode};
pub use metrics::{CounterMetric, GaugeMetric, HistogramBucket, HistogramMetric, MetricsReport};
pub use recurring::AnswerReader;
pub use registration::{Capabilities, Features, Limits, Registration, RegistrationResponse};
pub use report::{
    ConfigUpdateRequest, ConfigUpdateType, HealthState, HealthStatus, LoadMetrics, ResourceMetrics,
    RuleDefinition,
};
pub use token::Token;
pub use verdict::{Block, Challenge, Redirect};

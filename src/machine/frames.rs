//! What the two machines exchange: frames with their payloads left opaque.
//!
//! A session turns bytes into these and these into bytes. The machines see of a message only
//! what the rules are about; everything else stays in the payload `P`.

use crate::wire::{CancelReason, CorrelationId, EventKind, FlowAction, FrameType};

use super::Payload;
use super::closing::CloseReason;
use super::exchange::ExchangeId;
use super::handshake::Terms;
use super::outbox::Weigh;

/// What a proxy may receive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FromAgent<P> {
    /// The agent's registration, on a reverse connection.
    Offer(P),
    /// The agent's answer to a forward handshake.
    HandshakeAnswer(Result<Terms, Refusal>),
    /// A verdict on an event.
    Answer {
        /// The correlation id it names.
        id: Option<CorrelationId>,
        /// The exchange id it echoes.
        exchange: Option<ExchangeId>,
        /// The answer itself.
        payload: P,
    },
    /// Pause, resume or capacity: of one request, or of the connection.
    Flow {
        /// The request, or `None` for the whole connection.
        id: Option<CorrelationId>,
        /// What the agent says.
        action: FlowAction,
    },
    /// The agent's health.
    Health {
        /// Whether the agent says that it is about to go.
        draining: bool,
        /// The report itself.
        payload: P,
    },
    /// Metrics, or a request for configuration.
    Report {
        /// Which of the two.
        frame: FrameType,
        /// The report itself.
        payload: P,
    },
    /// A ping, to be echoed.
    Ping(P),
    /// A pong.
    Pong,
    /// A known frame of ours to send, not the agent's.
    WrongDirection(FrameType),
    /// A frame whose payload can't be read, where that costs nothing but the frame.
    Unreadable(FrameType),
    /// A frame of a type that this version doesn't know.
    Unknown(u8),
}

/// What a proxy sends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ToAgent<P> {
    /// The forward handshake's request.
    Offer(P),
    /// The answer to a registration.
    HandshakeAnswer(P),
    /// A refusal that the machine itself decided on: say why.
    Refuse(CloseReason),
    /// An event to be answered.
    Event {
        /// What kind of event.
        kind: EventKind,
        /// The request it belongs to.
        id: CorrelationId,
        /// Written into the event where the agent echoes exchange ids.
        exchange: Option<ExchangeId>,
        /// The event itself.
        payload: P,
    },
    /// Nobody waits for this answer any more.
    Cancel {
        /// The request.
        id: CorrelationId,
        /// Which exchange of it, where the agent knows exchange ids.
        exchange: Option<ExchangeId>,
        /// Why.
        reason: CancelReason,
    },
    /// A question whether the peer is there.
    Ping {
        /// Counts this connection's pings.
        sequence: u64,
    },
    /// A ping's payload, echoed.
    Pong(P),
}

/// The peer's no to a handshake, in its words.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Refusal(pub alloc::string::String);

/// What an agent may receive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FromProxy<P> {
    /// The proxy's forward handshake.
    Offer(P),
    /// The proxy's answer to the registration.
    HandshakeAnswer(Result<(), Refusal>),
    /// An event to be answered.
    Event {
        /// Names the event on this side. Handed out by who drives the machine, never twice.
        exchange: ExchangeId,
        /// What kind of event.
        kind: EventKind,
        /// The request it belongs to.
        id: CorrelationId,
        /// The exchange id that the proxy wants echoed.
        echo: Option<ExchangeId>,
        /// The event itself.
        payload: P,
    },
    /// Nobody waits for the answer any more.
    Cancel {
        /// The request.
        id: CorrelationId,
        /// Which event of it, by the id to be echoed; all of them where there is none.
        echo: Option<ExchangeId>,
        /// Why.
        reason: CancelReason,
    },
    /// A ping, to be echoed.
    Ping(P),
    /// A pong.
    Pong,
    /// A known frame of ours to send, not the proxy's.
    WrongDirection(FrameType),
    /// A frame whose payload can't be read, where that costs nothing but the frame.
    Unreadable(FrameType),
    /// A frame of a type that this version doesn't know.
    Unknown(u8),
}

/// What an agent sends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ToProxy<P> {
    /// The registration.
    Offer(P),
    /// The answer to a forward handshake.
    HandshakeAnswer(P),
    /// A refusal that the machine itself decided on: say why.
    Refuse(CloseReason),
    /// An answer from the application.
    Answer {
        /// The request.
        id: CorrelationId,
        /// The exchange id to be echoed.
        echo: Option<ExchangeId>,
        /// The answer itself.
        payload: P,
    },
    /// The least possible answer, to an event that was cancelled before anybody looked at it.
    AnswerUnseen {
        /// The request.
        id: CorrelationId,
        /// The exchange id to be echoed.
        echo: Option<ExchangeId>,
    },
    /// Pause or resume of the whole connection.
    Flow(FlowAction),
    /// The announcement that this agent is about to go.
    Draining,
    /// Health, metrics or a configuration request from the application.
    Report {
        /// Which of the three.
        frame: FrameType,
        /// The report itself.
        payload: P,
    },
    /// A question whether the peer is there.
    Ping {
        /// Counts this connection's pings.
        sequence: u64,
    },
    /// A ping's payload, echoed.
    Pong(P),
}

impl<P> FromAgent<P> {
    /// The type byte under which the frame came.
    pub const fn type_byte(&self) -> u8 {
        match self {
            Self::Offer(_) => FrameType::HandshakeRequest.to_byte(),
            Self::HandshakeAnswer(_) => FrameType::HandshakeResponse.to_byte(),
            Self::Answer { .. } => FrameType::AgentResponse.to_byte(),
            Self::Flow { .. } => FrameType::FlowControl.to_byte(),
            Self::Health { .. } => FrameType::HealthStatus.to_byte(),
            Self::Report { frame, .. } | Self::WrongDirection(frame) | Self::Unreadable(frame) => {
                frame.to_byte()
            }
            Self::Ping(_) => FrameType::Ping.to_byte(),
            Self::Pong => FrameType::Pong.to_byte(),
            Self::Unknown(byte) => *byte,
        }
    }
}

impl<P> FromProxy<P> {
    /// The type byte under which the frame came.
    pub const fn type_byte(&self) -> u8 {
        match self {
            Self::Offer(_) => FrameType::HandshakeRequest.to_byte(),
            Self::HandshakeAnswer(_) => FrameType::HandshakeResponse.to_byte(),
            Self::Event { kind, .. } => kind.frame_type().to_byte(),
            Self::Cancel { .. } => FrameType::Cancel.to_byte(),
            Self::WrongDirection(frame) | Self::Unreadable(frame) => frame.to_byte(),
            Self::Ping(_) => FrameType::Ping.to_byte(),
            Self::Pong => FrameType::Pong.to_byte(),
            Self::Unknown(byte) => *byte,
        }
    }
}

impl<P: Payload> Weigh for ToAgent<P> {
    fn weight(&self) -> usize {
        match self {
            Self::Offer(payload) | Self::HandshakeAnswer(payload) | Self::Pong(payload) => payload.size(),
            Self::Event { payload, .. } => payload.size(),
            Self::Refuse(_) | Self::Cancel { .. } | Self::Ping { .. } => 0,
        }
    }

    fn is_pong(&self) -> bool {
        matches!(self, Self::Pong(_))
    }
}

impl<P: Payload> Weigh for ToProxy<P> {
    fn weight(&self) -> usize {
        match self {
            Self::Offer(payload) | Self::HandshakeAnswer(payload) | Self::Pong(payload) => payload.size(),
            Self::Answer { payload, .. } | Self::Report { payload, .. } => payload.size(),
            Self::Refuse(_)
            | Self::AnswerUnseen { .. }
            | Self::Flow(_)
            | Self::Draining
            | Self::Ping { .. } => 0,
        }
    }

    fn is_pong(&self) -> bool {
        matches!(self, Self::Pong(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{CancelReason, EventKind};
    use alloc::vec;

    const ONE: ExchangeId = ExchangeId(1);

    #[test]
    fn a_frame_weighs_what_its_payload_does_and_only_a_pong_is_one() {
        let (three, id, echo) = (vec![0_u8; 3], CorrelationId::from("r"), Some(ONE));
        let (kind, frame, reason) = (EventKind::Configure, FrameType::HealthStatus, CancelReason::Manual);
        for (frame, weight, pong) in [
            (ToAgent::Offer(three.clone()), 3, false),
            (ToAgent::HandshakeAnswer(three.clone()), 3, false),
            (ToAgent::Event { kind, id: id.clone(), exchange: echo, payload: three.clone() }, 3, false),
            (ToAgent::Pong(three.clone()), 3, true),
            (ToAgent::Refuse(CloseReason::Drained), 0, false),
            (ToAgent::Cancel { id: id.clone(), exchange: echo, reason }, 0, false),
            (ToAgent::Ping { sequence: 9 }, 0, false),
        ] {
            assert_eq!((frame.weight(), frame.is_pong()), (weight, pong), "{frame:?}");
        }
        for (frame, weight, pong) in [
            (ToProxy::Offer(three.clone()), 3, false),
            (ToProxy::HandshakeAnswer(three.clone()), 3, false),
            (ToProxy::Answer { id: id.clone(), echo, payload: three.clone() }, 3, false),
            (ToProxy::Report { frame, payload: three.clone() }, 3, false),
            (ToProxy::Pong(three), 3, true),
            (ToProxy::Refuse(CloseReason::Drained), 0, false),
            (ToProxy::AnswerUnseen { id, echo }, 0, false),
            (ToProxy::Flow(FlowAction::Pause), 0, false),
            (ToProxy::Draining, 0, false),
            (ToProxy::Ping { sequence: 9 }, 0, false),
        ] {
            assert_eq!((frame.weight(), frame.is_pong()), (weight, pong), "{frame:?}");
        }
    }

    #[test]
    // Rule: W-TYPE-1.
    fn every_frame_knows_the_type_it_came_under() {
        let (id, refusal) = (CorrelationId::from("r"), || Refusal("no".into()));
        let (kind, reason, action) = (EventKind::Configure, CancelReason::Manual, FlowAction::Pause);
        for (frame, byte) in [
            (FromAgent::Offer(0_u8), 0x01),
            (FromAgent::HandshakeAnswer(Err(refusal())), 0x02),
            (FromAgent::Answer { id: None, exchange: None, payload: 0 }, 0x20),
            (FromAgent::Health { draining: false, payload: 0 }, 0x30),
            (FromAgent::Report { frame: FrameType::MetricsReport, payload: 0 }, 0x31),
            (FromAgent::Flow { id: None, action }, 0x33),
            (FromAgent::Ping(0), 0x41),
            (FromAgent::Pong, 0x42),
            (FromAgent::WrongDirection(FrameType::Cancel), 0x40),
            (FromAgent::Unreadable(FrameType::HealthStatus), 0x30),
            (FromAgent::Unknown(0x77), 0x77),
        ] {
            assert_eq!(frame.type_byte(), byte, "{frame:?}");
        }
        for (frame, byte) in [
            (FromProxy::Offer(0_u8), 0x01),
            (FromProxy::HandshakeAnswer(Err(refusal())), 0x02),
            (FromProxy::Event { exchange: ONE, kind, id: id.clone(), echo: None, payload: 0 }, 0x17),
            (FromProxy::Cancel { id, echo: None, reason }, 0x40),
            (FromProxy::Ping(0), 0x41),
            (FromProxy::Pong, 0x42),
            (FromProxy::WrongDirection(FrameType::AgentResponse), 0x20),
            (FromProxy::Unreadable(FrameType::Cancel), 0x40),
            (FromProxy::Unknown(0x77), 0x77),
        ] {
            assert_eq!(frame.type_byte(), byte, "{frame:?}");
        }
    }
}

//! What a frame says, on one line, and which way it goes.

use std::fmt::Write;

use dialback::wire::{
    Answer, Capabilities, Decision, Event, FlowAction, FrameType, HealthState, Kind, WebSocketDecision,
};

use super::reading::{Message, Seen, Unread};

/// Longest line of what a frame says, in characters.
const LONGEST: usize = 160;

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToAgent,
    ToProxy,
    /// Its type does not say.
    Either,
}

/// Which way a frame goes, as far as it says so itself.
pub fn way(frame: &Seen<'_>) -> Way {
    match (frame.kind, &frame.message) {
        (_, Ok(Message::Registration(_) | Message::Forwarded(_))) => Way::ToProxy,
        (_, Ok(Message::Registered(_) | Message::Forward(_))) => Way::ToAgent,
        (Kind::Known(kind), _) => way_of(kind),
        (Kind::Unknown(_), _) => Way::Either,
    }
}

const fn way_of(kind: FrameType) -> Way {
    match kind {
        FrameType::RequestHeaders
        | FrameType::RequestBodyChunk
        | FrameType::ResponseHeaders
        | FrameType::ResponseBodyChunk
        | FrameType::RequestComplete
        | FrameType::WebSocketFrame
        | FrameType::GuardrailInspect
        | FrameType::Configure
        | FrameType::Cancel => Way::ToAgent,
        FrameType::AgentResponse
        | FrameType::HealthStatus
        | FrameType::MetricsReport
        | FrameType::ConfigUpdateRequest
        | FrameType::FlowControl => Way::ToProxy,
        FrameType::HandshakeRequest | FrameType::HandshakeResponse | FrameType::Ping | FrameType::Pong => {
            Way::Either
        }
    }
}

/// What a frame says, on one line without control characters.
pub fn summary(frame: &Seen<'_>) -> String {
    let words = match &frame.message {
        Ok(message) => words(message),
        Err(Unread::Unknown) => {
            format!("a type that is not known; {} bytes are skipped", frame.payload.len())
        }
        Err(Unread::Unreadable(error)) => error.to_string(),
    };
    plain(&words)
}

/// The text without what would move a terminal's cursor, and not too long.
pub fn plain(text: &str) -> String {
    let mut out = String::new();
    for (count, letter) in text.chars().enumerate() {
        if count >= LONGEST {
            out.push_str("...");
            break;
        }
        if letter.is_control() {
            out.extend(letter.escape_default());
        } else {
            out.push(letter);
        }
    }
    out
}

fn words(message: &Message) -> String {
    match message {
        Message::Registration(registration) => {
            let token = if registration.auth_token.is_some() { ", with a token" } else { "" };
            format!("registers {:?}{token}, {}", registration.agent_id, can(&registration.capabilities))
        }
        Message::Registered(response) if response.success => format!(
            "accepted by {:?} as {:?}{}",
            response.proxy_id,
            response.connection_id,
            response.encoding.map(|encoding| format!(", encoding {encoding}")).unwrap_or_default()
        ),
        Message::Registered(response) => format!(
            "refused: {}{}",
            response.error.as_deref().unwrap_or("no reason given"),
            response.retry_after_ms.map(|ms| format!("; retry after {ms} ms")).unwrap_or_default()
        ),
        Message::Forward(request) => {
            let encodings: Vec<&str> = request.supported_encodings.iter().map(|known| known.name()).collect();
            format!("proxy {:?} offers {}", request.proxy_id, encodings.join(" "))
        }
        Message::Forwarded(response) if response.success => format!(
            "agent {:?} agrees, encoding {}, {}",
            response.capabilities.agent_id,
            response.encoding,
            can(&response.capabilities)
        ),
        Message::Forwarded(response) => {
            format!("refused: {}", response.error.as_deref().unwrap_or("no reason given"))
        }
        Message::Event(event) => event_words(event),
        Message::Answer(answer) => answer_words(answer),
        Message::Health(health) => format!("{} is {}", health.agent_id, health_words(&health.state)),
        Message::Metrics(report) => format!(
            "{}: {} counters, {} gauges, {} histograms",
            report.agent_id,
            report.counters.len(),
            report.gauges.len(),
            report.histograms.len()
        ),
        Message::Config(request) => format!("{:?}", request.update_type),
        Message::Flow(flow) => {
            let scope = flow.correlation_id.as_ref().map_or("all", |id| id.as_str());
            match flow.action {
                FlowAction::Pause => format!("{scope}: pause"),
                FlowAction::Resume => format!("{scope}: resume"),
                FlowAction::UpdateCapacity { buffer_available } => {
                    format!("{scope}: room for {buffer_available}")
                }
            }
        }
        Message::Cancel(cancel) => format!("{}: {}", cancel.correlation_id, cancel.reason),
        Message::Ping(ping) | Message::Pong(Some(ping)) => format!("number {}", ping.sequence),
        Message::Pong(None) => "a payload of the peer's own".into(),
    }
}

fn can(capabilities: &Capabilities) -> String {
    let events: Vec<&str> = capabilities.events().map(|kind| kind.name()).collect();
    format!("takes {}", if events.is_empty() { "no events".into() } else { events.join(" ") })
}

const fn health_words(state: &HealthState) -> &'static str {
    match state {
        HealthState::Healthy => "healthy",
        HealthState::Degraded { .. } => "degraded",
        HealthState::Draining { .. } => "draining",
        HealthState::Unhealthy { .. } => "unhealthy",
    }
}

fn event_words(event: &Event) -> String {
    let id = event.correlation_id();
    let last = |is_last: bool| if is_last { ", the last" } else { "" };
    match event {
        Event::RequestHeaders(event) => {
            format!("{id}: {} {}, {} headers", event.method, event.uri, event.headers.len())
        }
        Event::RequestBodyChunk(event) => {
            format!("{id}: chunk {}, {} bytes{}", event.chunk_index, event.data.len(), last(event.is_last))
        }
        Event::ResponseHeaders(event) => format!("{id}: {}, {} headers", event.status, event.headers.len()),
        Event::ResponseBodyChunk(event) => {
            format!("{id}: chunk {}, {} bytes{}", event.chunk_index, event.data.len(), last(event.is_last))
        }
        Event::RequestComplete(event) => format!("{id}: {} after {} ms", event.status, event.duration_ms),
        Event::WebSocketFrame(event) => {
            let from = if event.client_to_server { "client" } else { "server" };
            format!("{id}: {:?} from the {from}, {} bytes", event.opcode, event.data.len())
        }
        Event::GuardrailInspect(event) => {
            format!("{id}: {:?}, {} bytes of content", event.inspection_type, event.content.len())
        }
        Event::Configure(event) => {
            format!("version {}", event.config_version.as_deref().unwrap_or("not told"))
        }
    }
}

/// An answer in words, after its request.
fn answer_words(answer: &Answer) -> String {
    format!("{}: {}", answer.audit.correlation_id().unwrap_or("?"), verdict(answer))
}

/// An answer in words.
pub fn verdict(answer: &Answer) -> String {
    let mut out = match &answer.decision {
        Decision::Allow => "allow".to_string(),
        Decision::Block { status, .. } => format!("block {status}"),
        Decision::Redirect { url, status } => format!("redirect {status} to {url}"),
        Decision::Challenge { challenge_type, .. } => format!("challenge {challenge_type}"),
    };
    // Writing to a string does not fail.
    if !answer.request_headers.is_empty() || !answer.response_headers.is_empty() {
        let (request, response) = (answer.request_headers.len(), answer.response_headers.len());
        let _ = write!(out, ", changes {request} request and {response} response headers");
    }
    for (what, mutation) in
        [("request", &answer.request_body_mutation), ("response", &answer.response_body_mutation)]
    {
        match mutation.as_ref().map(|mutation| mutation.data.as_ref().map(|data| data.len())) {
            None => {}
            Some(None) => drop(write!(out, ", leaves the {what} chunk")),
            Some(Some(0)) => drop(write!(out, ", drops the {what} chunk")),
            Some(Some(length)) => drop(write!(out, ", {what} chunk becomes {length} bytes")),
        }
    }
    match &answer.websocket_decision {
        None => {}
        Some(WebSocketDecision::Allow) => out.push_str(", frame passes"),
        Some(WebSocketDecision::Drop) => out.push_str(", frame is dropped"),
        Some(WebSocketDecision::Close { code, .. }) => drop(write!(out, ", WebSocket closes with {code}")),
    }
    if answer.needs_more {
        out.push_str(", needs more");
    }
    if !answer.audit.reason_codes.is_empty() {
        let _ = write!(out, " ({})", answer.audit.reason_codes.join(" "));
    }
    out
}

//! Every decision table, and what each composed machine does with each input in each state, as
//! golden files to be read in review. `UPDATE_GOLDEN=1 cargo test --test matrix` writes them anew.

use std::fmt::{Debug, Write};
use std::path::PathBuf;

use dialback::machine::closing::{DrainCause, Left, drain_step};
use dialback::machine::correlation::lane_gate;
use dialback::machine::flow::{Pause, Room, Serving, gate};
use dialback::machine::inbox::{Level, Signal, Work, WorkFact, backpressure};
use dialback::machine::keepalive::{Probe, Sign, Standing};
use dialback::machine::{
    AgentConnection, AgentLimits, Backlog, EventSet, ExchangeId, FromAgent, FromProxy, Matching, Patience,
    ProxyConnection, ProxyLimits, Refusal, Submission, Terms, Timestamp, Violation, exchange, handshake,
    inbox, keepalive, registry,
};
use dialback::wire::{CancelReason, CorrelationId, EventKind, FlowAction, FrameType};

fn golden(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    for (line, (is, should)) in text.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(is, should, "{name}, line {}", line + 1);
    }
    assert_eq!(text.lines().count(), wanted.lines().count(), "{name} has another length");
}

fn row(out: &mut String, inputs: &[&dyn Debug], result: &dyn Debug) {
    let inputs: Vec<String> = inputs.iter().map(|input| format!("{input:?}")).collect();
    writeln!(out, "  {:<58} -> {result:?}", inputs.join(" x ")).unwrap();
}

#[test]
fn decision_tables() {
    let mut out = String::new();
    out.push_str("exchange::step, the proxy's side of an exchange (P1, P2, P6)\n");
    for stage in exchange::Stage::ALL {
        for fact in exchange::Fact::ALL {
            row(&mut out, &[&stage, &fact], &exchange::step(stage, fact));
        }
    }
    out.push_str("\ninbox::step, the agent's side of an exchange (P1, P3)\n");
    for work in Work::ALL {
        for fact in WorkFact::ALL {
            row(&mut out, &[&work, &fact], &inbox::step(work, fact));
        }
    }
    out.push_str(
        "\ncorrelation::lane_gate: matching x unanswered on the wire x request paused (P2, P3, P5)\n",
    );
    for matching in [Matching::OneAtATime, Matching::ByExchangeId] {
        for unanswered in [false, true] {
            for paused in [false, true] {
                row(&mut out, &[&matching, &unanswered, &paused], &lane_gate(matching, unanswered, paused));
            }
        }
    }
    out.push_str("\nflow::gate: serving x pause x room x backlog (P4, P5, P9)\n");
    for serving in [Serving::Yes, Serving::Draining] {
        for pause in [Pause::Running, Pause::Paused] {
            for room in [Room::Some, Room::None] {
                for backlog in [Backlog::Below, Backlog::Above] {
                    row(&mut out, &[&serving, &pause, &room, &backlog], &gate(serving, pause, room, backlog));
                }
            }
        }
    }
    out.push_str("\ninbox::backpressure (P5)\n");
    for signal in [Signal::Resumed, Signal::Paused] {
        for level in [Level::Low, Level::Between, Level::High] {
            row(&mut out, &[&signal, &level], &backpressure(signal, level));
        }
    }
    out.push_str("\nhandshake::step (P7)\n");
    for stage in handshake::Stage::ALL {
        for input in handshake::Input::ALL {
            row(&mut out, &[&stage, &input], &handshake::step(stage, input));
        }
    }
    out.push_str("\nclosing::drain_step: cause x left x deadline passed (P9)\n");
    for cause in [DrainCause::Local, DrainCause::Peer] {
        for left in [Left::Some, Left::None] {
            for passed in [false, true] {
                row(&mut out, &[&cause, &left, &passed], &drain_step(cause, left, passed));
            }
        }
    }
    out.push_str("\nkeepalive::step (P12)\n");
    for probe in Probe::ALL {
        for standing in Standing::ALL {
            for sign in Sign::ALL {
                row(&mut out, &[&probe, &standing, &sign], &keepalive::step(probe, standing, sign));
            }
        }
    }
    out.push_str("\nregistry::health_step\n");
    for health in registry::Health::ALL {
        for sign in registry::Sign::ALL {
            row(&mut out, &[&health, &sign], &registry::health_step(health, sign));
        }
    }
    golden("tables.txt", &out);
}

const NOW: Timestamp = Timestamp::from_micros(1_000_000);

fn id() -> CorrelationId {
    CorrelationId::from("r")
}

fn terms() -> Terms {
    Terms { concurrency: None, matching: Matching::OneAtATime, cancellation: true, events: EventSet::all() }
}

fn submission(exchange: u64) -> Submission<u8> {
    Submission {
        exchange: ExchangeId(exchange),
        id: id(),
        kind: EventKind::RequestHeaders,
        payload: 7,
        deadline: Timestamp::NEVER,
        patience: Patience::Wait,
    }
}

/// The states of a proxy's connection that differ in what they do.
fn proxies() -> Vec<(&'static str, ProxyConnection<u8>)> {
    let limits = ProxyLimits::default();
    let awaiting = ProxyConnection::accept(limits, NOW);
    let mut deciding = awaiting.clone();
    deciding.handle_frame(FromAgent::Offer(1), NOW);
    let mut open = deciding.clone();
    let offer = open.poll_offer().unwrap();
    open.accept_offer(offer, 2, terms(), NOW).unwrap();
    while open.poll_transmit().is_some() {}
    while open.poll_event().is_some() {}
    let mut paused = open.clone();
    paused.handle_frame(FromAgent::Flow { id: None, action: FlowAction::Pause }, NOW);
    paused.submit(submission(1), NOW).unwrap();
    let mut busy = open.clone();
    busy.submit(submission(1), NOW).unwrap();
    busy.poll_transmit().unwrap();
    busy.submit(submission(2), NOW).unwrap();
    let mut owed = busy.clone();
    owed.cancel(ExchangeId(1), CancelReason::Manual, NOW).unwrap();
    owed.poll_transmit().unwrap();
    while owed.poll_event().is_some() {}
    let mut draining = busy.clone();
    draining.drain(Timestamp::NEVER, NOW);
    while draining.poll_event().is_some() {}
    let mut closed = open.clone();
    closed.close();
    while closed.poll_event().is_some() {}
    vec![
        ("awaiting registration", awaiting),
        ("deciding", deciding),
        ("awaiting answer", ProxyConnection::dial(limits, 1, NOW)),
        ("open, idle", open),
        ("open, paused, #1 waits", paused),
        ("open, #1 in flight, #2 behind it", busy),
        ("open, #1 abandoned, #2 behind it", owed),
        ("draining, #1 in flight", draining),
        ("closed", closed),
    ]
}

type ProxyInput = Box<dyn Fn(&mut ProxyConnection<u8>) -> String>;

fn frame(frame: FromAgent<u8>) -> ProxyInput {
    Box::new(move |proxy| {
        proxy.handle_frame(frame.clone(), NOW);
        String::new()
    })
}

fn said<T: Debug>(result: T) -> String {
    format!("{result:?}; ")
}

fn proxy_inputs() -> Vec<(&'static str, ProxyInput)> {
    let answer =
        |id: Option<&str>| FromAgent::Answer { id: id.map(CorrelationId::from), exchange: None, payload: 9 };
    let flow = |action| FromAgent::Flow { id: None, action };
    vec![
        ("Offer", frame(FromAgent::Offer(3))),
        ("HandshakeAnswer yes", frame(FromAgent::HandshakeAnswer(Ok(terms())))),
        ("HandshakeAnswer no", frame(FromAgent::HandshakeAnswer(Err(Refusal("no".into()))))),
        ("Answer to r", frame(answer(Some("r")))),
        ("Answer to another", frame(answer(Some("x")))),
        ("Answer to none", frame(answer(None))),
        ("Pause", frame(flow(FlowAction::Pause))),
        ("Resume", frame(flow(FlowAction::Resume))),
        ("Capacity 0", frame(flow(FlowAction::UpdateCapacity { buffer_available: 0 }))),
        ("Health", frame(FromAgent::Health { draining: false, payload: 4 })),
        ("Health, draining", frame(FromAgent::Health { draining: true, payload: 4 })),
        ("Report", frame(FromAgent::Report { frame: FrameType::MetricsReport, payload: 5 })),
        ("Ping", frame(FromAgent::Ping(6))),
        ("Pong", frame(FromAgent::Pong)),
        ("Unknown", frame(FromAgent::Unknown(0x77))),
        ("Unreadable", frame(FromAgent::Unreadable(FrameType::AgentResponse))),
        ("WrongDirection", frame(FromAgent::WrongDirection(FrameType::Cancel))),
        ("submit #3", Box::new(|proxy| said(proxy.submit(submission(3), NOW)))),
        (
            "submit #3 now",
            Box::new(|proxy| {
                said(proxy.submit(Submission { patience: Patience::Now, ..submission(3) }, NOW))
            }),
        ),
        ("cancel #1", Box::new(|proxy| said(proxy.cancel(ExchangeId(1), CancelReason::Manual, NOW)))),
        ("cancel #2", Box::new(|proxy| said(proxy.cancel(ExchangeId(2), CancelReason::Manual, NOW)))),
        ("cancel r", Box::new(|proxy| said(proxy.cancel_request(&id(), CancelReason::Manual, NOW)))),
        ("cancel all", Box::new(|proxy| said(proxy.cancel_all(CancelReason::Manual, NOW)))),
        (
            "drain",
            Box::new(|proxy| {
                proxy.drain(Timestamp::from_micros(2_000_000), NOW);
                String::new()
            }),
        ),
        (
            "close",
            Box::new(|proxy| {
                proxy.close();
                String::new()
            }),
        ),
        (
            "eof",
            Box::new(|proxy| {
                proxy.handle_eof();
                String::new()
            }),
        ),
        (
            "transport lost",
            Box::new(|proxy| {
                proxy.handle_transport_lost();
                String::new()
            }),
        ),
        (
            "violation",
            Box::new(|proxy| {
                proxy.handle_violation(Violation::StalledFrame);
                String::new()
            }),
        ),
        (
            "an hour passes",
            Box::new(|proxy| {
                proxy.handle_timeout(Timestamp::from_micros(3_600_000_000));
                String::new()
            }),
        ),
    ]
}

#[test]
fn proxy_connection() {
    let mut out =
        String::from("The proxy's connection: state x input -> result; state after; frames; events\n");
    for (state, proxy) in proxies() {
        writeln!(out, "\n{state}").unwrap();
        for (name, input) in proxy_inputs() {
            let mut after = proxy.clone();
            let result = input(&mut after);
            assert_eq!(after.inconsistency(), None, "{state} x {name}");
            let mut frames = Vec::new();
            while let Some(frame) = after.poll_transmit() {
                frames.push(format!("{frame:?}"));
            }
            let mut events = Vec::new();
            while let Some(event) = after.poll_event() {
                events.push(format!("{event:?}"));
            }
            let line = format!(
                "  {name:<20} -> {result}{:?}; [{}]; [{}]",
                after.state(),
                frames.join(", "),
                events.join(", ")
            );
            writeln!(out, "{}", line.replace("CorrelationId", "")).unwrap();
        }
    }
    golden("proxy.txt", &out);
}

fn event(exchange: u64) -> FromProxy<u8> {
    FromProxy::Event {
        exchange: ExchangeId(exchange),
        kind: EventKind::RequestHeaders,
        id: id(),
        echo: None,
        payload: 7,
    }
}

/// The states of an agent's connection that differ in what they do.
fn agents() -> Vec<(&'static str, AgentConnection<u8>)> {
    let limits = AgentLimits::default();
    let awaiting_answer = AgentConnection::dial(limits, 1, NOW);
    let mut open = awaiting_answer.clone();
    open.handle_frame(FromProxy::HandshakeAnswer(Ok(())), NOW);
    while open.poll_transmit().is_some() {}
    while open.poll_event().is_some() {}
    let mut busy = open.clone();
    busy.handle_frame(event(1), NOW);
    busy.handle_frame(event(2), NOW);
    while busy.poll_event().is_some() {}
    let mut told = busy.clone();
    told.handle_frame(FromProxy::Cancel { id: id(), echo: None, reason: CancelReason::Timeout }, NOW);
    while told.poll_event().is_some() {}
    let mut draining = busy.clone();
    draining.drain(Timestamp::NEVER, NOW);
    while draining.poll_transmit().is_some() {}
    let mut closed = open.clone();
    closed.close();
    while closed.poll_event().is_some() {}
    let mut deciding = AgentConnection::accept(limits, NOW);
    deciding.handle_frame(FromProxy::Offer(1), NOW);
    vec![
        ("awaiting answer", awaiting_answer),
        ("awaiting offer", AgentConnection::accept(limits, NOW)),
        ("deciding", deciding),
        ("open, idle", open),
        ("open, #1 runs, #2 behind it", busy),
        ("open, #1 told, #2 skipped", told),
        ("draining, #1 runs, #2 behind it", draining),
        ("closed", closed),
    ]
}

type AgentInput = Box<dyn Fn(&mut AgentConnection<u8>) -> String>;

fn agent_inputs() -> Vec<(&'static str, AgentInput)> {
    fn frame(frame: FromProxy<u8>) -> AgentInput {
        Box::new(move |agent| {
            agent.handle_frame(frame.clone(), NOW);
            String::new()
        })
    }
    fn fact(fact: fn(&mut AgentConnection<u8>)) -> AgentInput {
        Box::new(move |agent| {
            fact(agent);
            String::new()
        })
    }
    let cancel = |of: &str| FromProxy::Cancel {
        id: CorrelationId::from(of),
        echo: None,
        reason: CancelReason::Timeout,
    };
    vec![
        ("Offer", frame(FromProxy::Offer(3))),
        ("HandshakeAnswer yes", frame(FromProxy::HandshakeAnswer(Ok(())))),
        ("HandshakeAnswer no", frame(FromProxy::HandshakeAnswer(Err(Refusal("no".into()))))),
        ("Event #3 of r", frame(event(3))),
        ("Event #1 again", frame(event(1))),
        ("Cancel r", frame(cancel("r"))),
        ("Cancel another", frame(cancel("x"))),
        ("Ping", frame(FromProxy::Ping(6))),
        ("Pong", frame(FromProxy::Pong)),
        ("Unknown", frame(FromProxy::Unknown(0x77))),
        ("Unreadable", frame(FromProxy::Unreadable(FrameType::Cancel))),
        ("WrongDirection", frame(FromProxy::WrongDirection(FrameType::AgentResponse))),
        ("answer #1", Box::new(|agent| said(agent.answer(ExchangeId(1), 8, NOW)))),
        ("answer #2", Box::new(|agent| said(agent.answer(ExchangeId(2), 8, NOW)))),
        ("report", Box::new(|agent| said(agent.report(FrameType::MetricsReport, 8)))),
        ("drain", fact(|agent| agent.drain(Timestamp::from_micros(2_000_000), NOW))),
        ("close", fact(AgentConnection::close)),
        ("eof", fact(AgentConnection::handle_eof)),
        ("transport lost", fact(AgentConnection::handle_transport_lost)),
        ("violation", fact(|agent| agent.handle_violation(Violation::StalledFrame))),
        ("an hour passes", fact(|agent| agent.handle_timeout(Timestamp::from_micros(3_600_000_000)))),
    ]
}

#[test]
fn agent_connection() {
    let mut out =
        String::from("The agent's connection: state x input -> result; state after; frames; events\n");
    for (state, agent) in agents() {
        writeln!(out, "\n{state}").unwrap();
        for (name, input) in agent_inputs() {
            let mut after = agent.clone();
            let result = input(&mut after);
            assert_eq!(after.inconsistency(), None, "{state} x {name}");
            let mut frames = Vec::new();
            while let Some(frame) = after.poll_transmit() {
                frames.push(format!("{frame:?}"));
            }
            let mut events = Vec::new();
            while let Some(event) = after.poll_event() {
                events.push(format!("{event:?}"));
            }
            let line = format!(
                "  {name:<20} -> {result}{:?}; [{}]; [{}]",
                after.state(),
                frames.join(", "),
                events.join(", ")
            );
            writeln!(out, "{}", line.replace("CorrelationId", "")).unwrap();
        }
    }
    golden("agent.txt", &out);
}

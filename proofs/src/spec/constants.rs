//! A scenario, as the specification's constants have it.

use dialback::machine::Matching;
use dialback::wire::EventKind;

use crate::scenario::{Dialled, Injection, Scenario};

use super::state::{lane, lanes};
use super::value::Value;

/// What the specification must be set up with to speak of a scenario, as definitions of TLA+.
#[must_use]
pub fn constants(scenario: &Scenario) -> Vec<(&'static str, Value)> {
    let powers = scenario.powers;
    let mut names = vec![
        (powers.cancel, "cancel"),
        (powers.drain_proxy, "drainProxy"),
        (powers.drain_agent, "drainAgent"),
        (powers.close, "close"),
        (powers.reject, "reject"),
        (powers.sever, "sever"),
        (powers.half_close, "halfClose"),
        (powers.stall, "stall"),
    ];
    let (mut paused, mut rooms) = (0, Vec::new());
    for injection in &scenario.injections {
        match injection {
            Injection::Pause => names.push((true, "pause")),
            Injection::PauseRequest(lane) => paused |= 1 << lane,
            Injection::Capacity(room) => rooms.push(Value::Number((*room).into())),
            Injection::StrayAnswer
            | Injection::ForeignAnswer(_)
            | Injection::PingProxy
            | Injection::UnknownToProxy
            | Injection::UnreadableToProxy
            | Injection::OfferToProxy
            | Injection::WrongWayToProxy
            | Injection::PingAgent
            | Injection::UnknownToAgent
            | Injection::ForeignCancel(_)
            | Injection::OfferToAgent
            | Injection::WrongWayToAgent => {}
        }
    }
    let number = |number: usize| Value::Number(u64::try_from(number).unwrap_or(u64::MAX));
    let last_words =
        (1..).zip(&scenario.plan).filter(|(_, planned)| planned.kind == EventKind::RequestComplete);
    vec![
        ("Lane", Value::sequence(scenario.plan.iter().map(|planned| lane(planned.lane)))),
        (
            "Within",
            Value::sequence(scenario.plan.iter().map(|planned| Value::Number(planned.deadline.unwrap_or(0)))),
        ),
        ("LastWord", Value::Set(last_words.map(|(n, _)| Value::Number(n)).collect())),
        ("AgentDials", Value::Truth(scenario.dialled == Dialled::ByAgent)),
        ("Exact", Value::Truth(scenario.matching == Matching::ByExchangeId)),
        ("Cancellation", Value::Truth(scenario.cancellation)),
        ("Window", Value::Number(scenario.limit().into())),
        ("Queue", number(scenario.queue)),
        ("OwedLimit", number(scenario.owed)),
        ("Running", number(scenario.running)),
        ("High", number(scenario.marks.0)),
        ("Low", number(scenario.marks.1)),
        ("Ticks", Value::Number(scenario.ticks)),
        ("HandshakeTicks", Value::Number(scenario.handshake)),
        ("DrainTicks", Value::Number(scenario.drain)),
        (
            "Powers",
            Value::Set(
                names.into_iter().filter(|(has, _)| *has).map(|(_, name)| Value::word(name)).collect(),
            ),
        ),
        ("PauseLanes", lanes(paused)),
        ("Rooms", Value::Set(rooms)),
        ("Budget", Value::Number(scenario.budget.into())),
    ]
}

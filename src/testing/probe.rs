//! What must hold of a session at any moment: tried out on clones, so that nothing is disturbed.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use crate::machine::Timestamp;
use crate::session::{AgentSession, ProxySession};

use super::oracle::{Property, Violated, demand};
use super::rng::Rng;

/// Events before frames or frames before events: it is all the same.
pub(super) fn polls_commute(
    (proxy, proxy_out): (&ProxySession, &[u8]),
    (agent, agent_out): (&AgentSession, &[u8]),
) -> Result<(), Violated> {
    let (mut a, mut b) = (proxy.clone(), proxy.clone());
    let (mut a_out, mut b_out) = (proxy_out.to_vec(), proxy_out.to_vec());
    let mut a_events = VecDeque::new();
    let mut b_events = VecDeque::new();
    while a.poll_transmit(&mut a_out) {}
    while let Some(event) = a.poll_event() {
        a_events.push_back(format!("{event:?}"));
    }
    while let Some(event) = b.poll_event() {
        b_events.push_back(format!("{event:?}"));
    }
    while b.poll_transmit(&mut b_out) {}
    demand(a_out == b_out && a_events == b_events && a == b, Property::P14, || {
        "the proxy's polls".to_string()
    })?;
    let (mut a, mut b) = (agent.clone(), agent.clone());
    let (mut a_out, mut b_out): (Vec<u8>, Vec<u8>) = (agent_out.to_vec(), agent_out.to_vec());
    while a.poll_transmit(&mut a_out) {}
    while a.poll_event().is_some() {}
    while b.poll_event().is_some() {}
    while b.poll_transmit(&mut b_out) {}
    demand(a_out == b_out && a == b, Property::P14, || "the agent's polls".to_string())
}

/// Acting before the time changes nothing.
pub(super) fn early_is_idle(
    proxy: &ProxySession,
    agent: &AgentSession,
    now: Timestamp,
    rng: &mut Rng,
) -> Result<(), Violated> {
    if let Some(early) = before(proxy.poll_timeout(), now, rng) {
        let mut acted = proxy.clone();
        acted.handle_timeout(early);
        demand(acted == *proxy, Property::P13, || format!("the proxy acted early, at {early}"))?;
    }
    if let Some(early) = before(agent.poll_timeout(), now, rng) {
        let mut acted = agent.clone();
        acted.handle_timeout(early);
        demand(acted == *agent, Property::P13, || format!("the agent acted early, at {early}"))?;
    }
    Ok(())
}

/// A time from now on that is earlier than `due`.
fn before(due: Option<Timestamp>, now: Timestamp, rng: &mut Rng) -> Option<Timestamp> {
    let span = u64::try_from(due?.since(now).as_micros()).ok()?;
    let early = now.after(Duration::from_micros(rng.below(span)));
    (early < due?).then_some(early)
}

/// Tells both sides that time has passed. Who asked for that moment must do something in it.
pub(super) fn time_out(
    proxy: &mut ProxySession,
    agent: &mut AgentSession,
    now: Timestamp,
) -> Result<(), Violated> {
    let due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
    if due(proxy.poll_timeout()) {
        let before = proxy.clone();
        proxy.handle_timeout(now);
        demand(*proxy != before, Property::P13, || "the proxy asked for time and did nothing".to_string())?;
    }
    if due(agent.poll_timeout()) {
        let before = agent.clone();
        agent.handle_timeout(now);
        demand(*agent != before, Property::P13, || "the agent asked for time and did nothing".to_string())?;
    }
    Ok(())
}

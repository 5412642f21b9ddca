//! The machines alone.

use std::collections::VecDeque;
use std::hint::black_box;

use dialback::machine::{
    AgentConnection, AgentEvent, ExchangeId, FromAgent, Matching, OwedLimits, ProxyConnection, ProxyEvent,
    ProxyLimits, QueueLimits,
};
use dialback::wire::{CancelReason, CorrelationId};

use crate::common::event;
use crate::common::machine::{DEADLINE, NOW, agent, arrival, proxy, submit};
use crate::cost::{Measured, measured, repeat};

/// What must not be in the way.
pub fn limits(window: u32) -> ProxyLimits {
    ProxyLimits {
        window,
        queue: QueueLimits { count: 1 << 20, bytes: usize::MAX },
        owed: OwedLimits { count: 1 << 20, ..OwedLimits::default() },
        ..ProxyLimits::default()
    }
}

const WIDE: u32 = 1 << 20;

fn id(number: usize) -> CorrelationId {
    event::id(number).into()
}

/// A machine with so many exchanges under way, and their ids, the oldest first.
fn filled(
    window: u32,
    matching: Matching,
    count: usize,
) -> (ProxyConnection<u8>, VecDeque<(u64, CorrelationId)>) {
    let mut machine = proxy(limits(window), matching);
    let mut under_way = VecDeque::new();
    for number in 0..count {
        submit(&mut machine, number as u64, id(number));
        under_way.push_back((number as u64, id(number)));
    }
    (machine, under_way)
}

/// One comes, the oldest in flight is answered, and what may be written now is.
fn replace(
    machine: &mut ProxyConnection<u8>,
    under_way: &mut VecDeque<(u64, CorrelationId)>,
    matching: Matching,
    number: usize,
) {
    submit(machine, number as u64, id(number));
    under_way.push_back((number as u64, id(number)));
    let Some((oldest, id)) = under_way.pop_front() else { return };
    let exchange = (matching == Matching::ByExchangeId).then_some(ExchangeId(oldest));
    machine.handle_frame(FromAgent::Answer { id: Some(id), exchange, payload: 1 }, NOW);
    while machine.poll_transmit().is_some() {}
    let event = machine.poll_event();
    assert!(matches!(event, Some(ProxyEvent::Ended { exchange, .. }) if exchange.0 == oldest));
    black_box(machine.poll_timeout());
}

/// So many in flight.
pub fn in_flight(count: usize, matching: Matching) -> Measured {
    let (mut machine, mut under_way) = filled(WIDE, matching, count);
    let measured = repeat(&mut |step| replace(&mut machine, &mut under_way, matching, count + step));
    assert_eq!((machine.in_flight(), machine.waiting()), (count, 0));
    measured
}

/// So many queued behind a window of 16.
pub fn queued(count: usize) -> Measured {
    let (mut machine, mut under_way) = filled(16, Matching::OneAtATime, 16 + count);
    let measured =
        repeat(&mut |step| replace(&mut machine, &mut under_way, Matching::OneAtATime, 16 + count + step));
    assert_eq!((machine.in_flight(), machine.waiting()), (16, count));
    measured
}

/// So many given up, and not answered since.
pub fn abandoned(count: usize) -> Measured {
    let (mut machine, _) = filled(WIDE, Matching::OneAtATime, count);
    machine.cancel_all(CancelReason::Manual, NOW);
    while machine.poll_transmit().is_some() {}
    while machine.poll_event().is_some() {}
    let mut under_way = VecDeque::new();
    let measured =
        repeat(&mut |step| replace(&mut machine, &mut under_way, Matching::OneAtATime, count + step));
    assert_eq!(machine.owed(), count);
    measured
}

/// So many deadlines pass at once.
pub fn expiring(count: usize) -> Measured {
    let (mut machine, _) = filled(WIDE, Matching::OneAtATime, count);
    let mut ended = 0;
    let measured = measured(count, &mut || {
        machine.handle_timeout(DEADLINE);
        while let Some(event) = machine.poll_event() {
            ended += usize::from(matches!(event, ProxyEvent::Ended { .. }));
        }
        while machine.poll_transmit().is_some() {}
    });
    assert_eq!((ended, machine.owed()), (count, count));
    measured
}

/// The agent's machine with so many unanswered.
pub fn unanswered(count: usize) -> Measured {
    let mut machine = agent();
    let take = |machine: &mut AgentConnection<u8>, number: usize| {
        machine.handle_frame(arrival(number as u64, id(number)), NOW);
        assert!(matches!(machine.poll_event(), Some(AgentEvent::Event { .. })));
    };
    (0..count).for_each(|number| take(&mut machine, number));
    let measured = repeat(&mut |step| {
        take(&mut machine, count + step);
        machine.answer(ExchangeId(step as u64), 1, NOW).expect("it is owed");
        black_box(machine.poll_transmit()).expect("it is written");
        black_box(machine.poll_timeout());
    });
    assert_eq!(machine.unanswered(), count);
    measured
}

//! A step of each machine, without the wire: payloads are single bytes. The number is how many
//! exchanges are under way beside the one that is measured. `cargo bench --bench machines`

mod common;

use common::machine::{self, NOW, arrival, submission};
use dialback::machine::{
    AgentEvent, Ending, ExchangeId, FromAgent, Matching, ProxyConnection, ProxyEvent, ProxyLimits,
};
use dialback::wire::{CancelReason, CorrelationId};
use divan::{AllocProfiler, Bencher, black_box};

#[global_allocator]
static HEAP: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const UNDER_WAY: [u64; 4] = [0, 10, 100, 1_000];

/// A proxy's machine with so many exchanges in flight.
fn proxy(matching: Matching, under_way: u64) -> ProxyConnection<u8> {
    let limits = ProxyLimits { window: 1 << 20, ..ProxyLimits::default() };
    let mut machine = machine::proxy(limits, matching);
    (0..under_way).for_each(|number| machine::submit(&mut machine, number, other(number)));
    machine
}

fn other(number: u64) -> CorrelationId {
    format!("other-{number:08}").into()
}

/// Submitted, written, answered, told.
fn answered(bencher: Bencher<'_, '_>, matching: Matching, under_way: u64) {
    let mut machine = proxy(matching, under_way);
    let id = CorrelationId::from("request-00000001");
    let mut number = under_way;
    bencher.bench_local(|| {
        number += 1;
        machine.submit(submission(number, id.clone()), NOW).expect("it is taken");
        black_box(machine.poll_transmit()).expect("it is written");
        let exchange = (matching == Matching::ByExchangeId).then_some(ExchangeId(number));
        machine.handle_frame(FromAgent::Answer { id: Some(id.clone()), exchange, payload: 1 }, NOW);
        let event = machine.poll_event();
        assert!(matches!(event, Some(ProxyEvent::Ended { ending: Ending::Answered(1), .. })));
        machine.poll_timeout()
    });
}

#[divan::bench(args = UNDER_WAY)]
fn proxy_answered(bencher: Bencher<'_, '_>, under_way: u64) {
    answered(bencher, Matching::OneAtATime, under_way);
}

#[divan::bench(args = UNDER_WAY)]
fn proxy_answered_by_exchange_id(bencher: Bencher<'_, '_>, under_way: u64) {
    answered(bencher, Matching::ByExchangeId, under_way);
}

/// Submitted, written, cancelled, the cancel written, the late answer dropped.
#[divan::bench(args = UNDER_WAY)]
fn proxy_cancelled(bencher: Bencher<'_, '_>, under_way: u64) {
    let mut machine = proxy(Matching::OneAtATime, under_way);
    let id = CorrelationId::from("request-00000001");
    let mut number = under_way;
    bencher.bench_local(|| {
        number += 1;
        machine.submit(submission(number, id.clone()), NOW).expect("it is taken");
        black_box(machine.poll_transmit()).expect("it is written");
        machine.cancel(ExchangeId(number), CancelReason::Manual, NOW).expect("it is under way");
        black_box(machine.poll_transmit()).expect("the agent is told");
        machine.handle_frame(FromAgent::Answer { id: Some(id.clone()), exchange: None, payload: 1 }, NOW);
        let event = machine.poll_event();
        assert!(matches!(event, Some(ProxyEvent::Ended { ending: Ending::Cancelled { .. }, .. })));
        machine.poll_timeout()
    });
}

/// An event comes, is given out, is answered, the answer is written.
#[divan::bench(args = UNDER_WAY)]
fn agent_answers(bencher: Bencher<'_, '_>, under_way: u64) {
    let mut machine = machine::agent();
    for number in 0..under_way {
        machine.handle_frame(arrival(number, other(number)), NOW);
        machine.poll_event().expect("it is given out");
    }
    let id = CorrelationId::from("request-00000001");
    let mut number = under_way;
    bencher.bench_local(|| {
        number += 1;
        machine.handle_frame(arrival(number, id.clone()), NOW);
        assert!(matches!(machine.poll_event(), Some(AgentEvent::Event { .. })));
        machine.answer(ExchangeId(number), 1, NOW).expect("it is owed");
        black_box(machine.poll_transmit()).expect("it is written");
        machine.poll_timeout()
    });
}

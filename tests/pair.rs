//! Two real sessions over a faulty link, under generated operations. P1 to P15 hold after every step.

use dialback::testing::{Op, Pair, PairConfig};
use proptest::prelude::*;

fn config() -> impl Strategy<Value = PairConfig> {
    let sizes = (1u32..5, prop_oneof![Just(0u32), 1u32..4], 1usize..10, 1usize..6, 1usize..4);
    let flags = (any::<bool>(), prop::bool::weighted(0.3), prop::bool::weighted(0.03));
    (any::<u64>(), sizes, flags, 0u64..5_000, 1usize..300).prop_map(
        |(seed, sizes, flags, max_delay, max_segment)| {
            let (window, stated, queue, owed, running) = sizes;
            let (exchange_ids, forward, reject) = flags;
            PairConfig {
                seed,
                window,
                stated,
                exchange_ids,
                forward,
                reject,
                queue,
                owed,
                running,
                max_delay,
                max_segment,
            }
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let id = || prop::option::weighted(0.5, 0u8..3);
    let deadline = prop_oneof![3 => Just(0u32), 2 => 1u32..20_000];
    prop_oneof![
        20 => (0u8..3, prop::bool::weighted(0.8), deadline)
            .prop_map(|(id, wait, deadline)| Op::Submit { id, wait, deadline }),
        16 => any::<u8>().prop_map(Op::Answer),
        6 => any::<u8>().prop_map(Op::Cancel),
        16 => (0u32..8_000).prop_map(Op::Advance),
        1 => (0u32..40_000_000).prop_map(Op::Advance),
        2 => (0u8..3).prop_map(Op::CancelRequest),
        1 => Just(Op::CancelAll),
        1 => Just(Op::CancelUnknown),
        2 => Just(Op::AnswerAgain),
        4 => id().prop_map(Op::Pause),
        5 => id().prop_map(Op::Resume),
        2 => (0u8..4).prop_map(Op::Capacity),
        2 => any::<u8>().prop_map(Op::Ping),
        2 => any::<u8>().prop_map(Op::Unknown),
        2 => Just(Op::Stray),
        1 => any::<bool>().prop_map(Op::StallAgent),
        1 => any::<bool>().prop_map(Op::StallProxy),
        1 => (0u32..50_000).prop_map(Op::DrainProxy),
        1 => (0u32..50_000).prop_map(Op::DrainAgent),
    ]
}

fn ending() -> impl Strategy<Value = Option<Op>> {
    prop::option::of(prop_oneof![
        Just(Op::CloseProxy),
        Just(Op::CloseAgent),
        Just(Op::Disconnect),
        Just(Op::HalfCloseAgent),
        Just(Op::HalfCloseProxy),
        (0u32..50_000).prop_map(Op::DrainProxy),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    #[test]
    // Rule: C-CLOSE-2, C-DRAIN-3, F-WAIT-1, X-ONCE-1.
    fn all_properties_hold_after_every_step(
        config in config(),
        before in prop::collection::vec(op(), 1..50),
        ending in ending(),
        after in prop::collection::vec(op(), 0..10),
    ) {
        let ops: Vec<Op> = before.into_iter().chain(ending).chain(after).collect();
        if let Err(violated) = Pair::run(&config, &ops) {
            return Err(TestCaseError::fail(violated.to_string()));
        }
    }
}

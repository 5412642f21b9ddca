//! The systems whose graphs are kept, told to the machines. `proofs/tla` tells each to the model checker
//! in a file of the same name; where the two did not mean the same, the graphs would not match.

use dialback::machine::Matching;

use crate::scenario::{Dialled, Injection, Planned, Powers, Scenario};

const A: Planned = Planned::of(0);
const B: Planned = Planned::of(1);

/// Every one.
#[must_use]
pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            window: 1,
            powers: Powers { cancel: true, sever: true, ..Powers::NONE },
            injections: vec![Injection::Pause],
            budget: 1,
            ..Scenario::new("reverse", vec![A, A, B])
        },
        Scenario {
            dialled: Dialled::ByProxy,
            matching: Matching::ByExchangeId,
            running: 1,
            ticks: 2,
            handshake: 2,
            drain: 1,
            powers: Powers { cancel: true, drain_proxy: true, drain_agent: true, ..Powers::NONE },
            ..Scenario::new("forward", vec![A, A])
        },
        Scenario {
            owed: 1,
            running: 1,
            marks: (2, 1),
            ticks: 2,
            powers: Powers { stall: true, ..Powers::NONE },
            ..Scenario::new("late", vec![A.within(1), A.within(2), B])
        },
        Scenario {
            matching: Matching::ByExchangeId,
            injections: vec![Injection::Pause, Injection::PauseRequest(0), Injection::Capacity(0)],
            budget: 1,
            ..Scenario::new("flow", vec![A.last_word(), A, B])
        },
        Scenario {
            dialled: Dialled::ByProxy,
            ticks: 1,
            handshake: 1,
            powers: Powers {
                cancel: true,
                close: true,
                half_close: true,
                sever: true,
                reject: true,
                ..Powers::NONE
            },
            ..Scenario::new("ends", vec![A, A])
        },
    ]
}

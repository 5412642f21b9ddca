//! `check`: every scenario, a table.

use dialback_proofs::explorer::explore;
use dialback_proofs::scenario::{Injection, Planned, Powers, Scenario};

fn main() {
    let n: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(2);
    let plan = (0..n).map(|k| if k % 3 == 2 { Planned::of(1) } else { Planned::of(0) }.within(2)).collect();
    let scenario = Scenario {
        ticks: 3,
        powers: Powers { cancel: true, sever: true, ..Powers::default() },
        injections: vec![Injection::Pause, Injection::UnknownToProxy, Injection::PingProxy],
        budget: 1,
        ..Scenario::new("calm", plan)
    };
    match explore(&scenario) {
        Ok(explored) => println!("{explored:?} {:?}", explored.sights.iter().collect::<Vec<_>>()),
        Err(fault) => println!("{fault}"),
    }
}

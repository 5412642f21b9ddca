//! tmp
use dialback_proofs::catalogue::catalogue;
use dialback_proofs::explorer::explore;

fn main() {
    let want: Vec<String> = std::env::args().skip(1).collect();
    for case in catalogue() {
        let d = format!("{:?}", case.dose);
        if !want.iter().any(|w| *w == case.scenario.name || *w == d) {
            continue;
        }
        match explore(&case.scenario) {
            Ok(explored) => {
                let missing: Vec<_> = case.sights.iter().filter(|s| !explored.sights.has(**s)).collect();
                println!(
                    "{} {d} {} steps {} depth {} rests {} {:?} missing {missing:?}",
                    case.scenario.name,
                    explored.states,
                    explored.steps,
                    explored.depth,
                    explored.rests,
                    explored.took
                )
            }
            Err(fault) => println!("{} FAULT {fault}", case.scenario.name),
        }
    }
}

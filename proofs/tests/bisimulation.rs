//! The machines and their specification in TLA+ can do the same: in every state, every step, both ways.

use std::io::Read;

use dialback_proofs::spec::bisimulation::compare;
use dialback_proofs::spec::graph::Graph;
use dialback_proofs::spec::scenarios::scenarios;
use flate2::read::GzDecoder;

fn graph(name: &str) -> Graph {
    let path = format!("{}/tla/graphs/{name}.gz", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).unwrap_or_else(|error| panic!("{path}: {error}"));
    Graph::parse(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Fails where the two differ.
fn same(name: &str) {
    let scenario =
        scenarios().into_iter().find(|scenario| scenario.name == name).expect("a scenario of that name");
    match compare(&scenario, &graph(name)) {
        Ok(matched) => println!("{name:12} {matched:?}, unmatched 0/0"),
        Err(difference) => panic!("{name}: {difference}"),
    }
}

/// A test for each scenario.
macro_rules! scenarios {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            same(stringify!($name));
        })*

        #[test]
        fn every_scenario_has_its_test() {
            let names: Vec<&str> = scenarios().iter().map(|scenario| scenario.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

scenarios!(reverse forward late flow ends);

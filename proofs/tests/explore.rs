//! The small dose of the exploration, by both explorers.

use dialback_proofs::catalogue::{Case, Dose, catalogue};
use dialback_proofs::explorer::explore;
use dialback_proofs::second_opinion;
use dialback_proofs::system::Sight;

/// Few enough that a build without optimisation is done in seconds.
const FEW: usize = 3_000;

fn small() -> impl Iterator<Item = Case> {
    catalogue().into_iter().filter(|case| case.dose == Dose::Small)
}

#[test]
fn every_property_holds_in_every_state_and_every_scenario_shows_what_it_is_for() {
    for case in small() {
        let name = case.scenario.name;
        let explored = explore(&case.scenario).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        assert_eq!(explored.states, case.states, "{name}");
        let missing: Vec<&Sight> = case.sights.iter().filter(|sight| !explored.sights.has(**sight)).collect();
        assert!(missing.is_empty(), "{name}: never seen: {missing:?}");
    }
}

#[test]
fn a_second_explorer_counts_the_same_states() {
    let few: Vec<Case> = small().filter(|case| case.states <= FEW).collect();
    assert!(few.len() >= 6, "{} scenarios are few enough", few.len());
    for case in few {
        assert_eq!(second_opinion::count(&case.scenario, 1), Ok(case.states), "{}", case.scenario.name);
    }
}

#[test]
fn names_are_unique_and_every_sight_is_demanded_somewhere() {
    let cases = catalogue();
    let mut names: Vec<&str> = cases.iter().map(|case| case.scenario.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), cases.len());
    for sight in Sight::ALL {
        assert!(cases.iter().any(|case| case.sights.contains(&sight)), "no scenario must show {sight:?}");
    }
}

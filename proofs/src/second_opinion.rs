//! The same systems under an explorer that somebody else wrote: stateright.
//!
//! It must count the same states as [`crate::explorer`]. It names a state by 64 bits of hash where
//! ours compares states whole, and it has a page to walk through them by hand. Its notion of
//! "eventually" is not used: what is left for ever is a question about states here as it is there.

use dialback::testing::{Property, Violated};
use stateright::{Checker, Model, Property as Claim};

use crate::scenario::Scenario;
use crate::system::books::{AtAgent, Told};
use crate::system::{Action, Sys};

/// A state, and the property that the step into it broke.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watched {
    /// The state; the one before, where a property broke.
    pub sys: Sys,
    /// What broke, and how.
    pub broken: Option<(Property, String)>,
}

/// A scenario as a model of stateright's.
#[derive(Clone, Debug)]
pub struct Joined(pub Scenario);

impl Model for Joined {
    type State = Watched;
    type Action = Action;

    fn init_states(&self) -> Vec<Watched> {
        vec![Watched { sys: Sys::new(&self.0), broken: None }]
    }

    fn actions(&self, state: &Watched, actions: &mut Vec<Action>) {
        if state.broken.is_none() {
            actions.extend(state.sys.actions(&self.0));
        }
    }

    fn next_state(&self, state: &Watched, action: Action) -> Option<Watched> {
        match state.sys.step(&self.0, action) {
            Ok((next, _)) => next.map(|sys| Watched { sys, broken: None }),
            Err(Violated { property, detail }) => {
                Some(Watched { sys: state.sys.clone(), broken: Some((property, detail)) })
            }
        }
    }

    fn properties(&self) -> Vec<Claim<Self>> {
        let mut claims = vec![
            Claim::always("every step keeps every property", |_, state: &Watched| state.broken.is_none()),
            Claim::always("nothing is left where nothing goes on", |model: &Self, state: &Watched| {
                model.goes_on(&state.sys) || state.sys.check_rest().is_ok()
            }),
        ];
        if self.0.powers.cancel {
            claims.push(Claim::sometimes(
                "a late answer meets its abandoned exchange",
                |_, state: &Watched| {
                    let abandoned = |told| matches!(told, Told::Cancelled(true) | Told::TimedOut);
                    state
                        .sys
                        .books
                        .entries
                        .iter()
                        .any(|entry| entry.resolved && entry.told.is_some_and(abandoned))
                },
            ));
        }
        claims.push(Claim::sometimes("an application has an event", |_, state: &Watched| {
            state.sys.books.entries.iter().any(|entry| entry.at_agent == AtAgent::Delivered)
        }));
        claims
    }
}

impl Joined {
    /// Whether something goes on by itself in this state.
    fn goes_on(&self, sys: &Sys) -> bool {
        let fair = sys.actions(&self.0).into_iter().filter(|action| action.is_fair());
        fair.into_iter().any(|action| matches!(sys.step(&self.0, action), Ok((Some(_), _)) | Err(_)))
    }
}

/// Counts the states of a scenario and checks the claims on `threads` threads.
///
/// # Errors
/// The claims that do not hold, with the ways to where they do not.
pub fn count(scenario: &Scenario, threads: usize) -> Result<usize, String> {
    let checker = Joined(scenario.clone()).checker().threads(threads).spawn_bfs().join();
    let model = Joined(scenario.clone());
    let mut wrong = String::new();
    let found = checker.discoveries();
    for claim in model.properties() {
        let discovery = found.get(claim.name);
        let holds = match claim.expectation {
            stateright::Expectation::Always => discovery.is_none(),
            stateright::Expectation::Sometimes | stateright::Expectation::Eventually => discovery.is_some(),
        };
        if !holds {
            let way = discovery.map(|path| path.clone().into_actions());
            wrong.push_str(&format!("{}: does not hold: {way:?}\n", claim.name));
        }
    }
    if wrong.is_empty() { Ok(checker.unique_state_count()) } else { Err(wrong) }
}

/// Serves the page on which a scenario's states can be walked through, until the process ends.
pub fn serve(scenario: &Scenario, address: &str) {
    let _ = Joined(scenario.clone()).checker().serve(address);
}

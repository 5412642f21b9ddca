//! Whether the machines and the specification can do the same, step by step.
//!
//! Every state of the machines is read as one of the specification's. From each, every step that the
//! machines can take must be a step of the specification of the same name, to the state that the
//! machines' next state is read as; and every step of the specification must be one that the machines
//! can take from there. Nothing is allowed to stutter.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::explorer::{Fault, explore_with};
use crate::scenario::Scenario;
use crate::system::{Action, Sys};

use super::graph::{Graph, Step};
use super::{name, state};

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Matched {
    /// The machines' states.
    pub machine_states: usize,
    /// The machines' steps.
    pub machine_steps: usize,
    /// The specification's states that were read.
    pub states: usize,
    /// The specification's steps that were taken.
    pub edges: usize,
}

/// Where the two differ.
#[derive(Debug)]
pub enum Difference {
    /// A property did not hold on the way.
    Fault(Box<Fault>),
    /// The machines took a step that the specification doesn't have.
    Unspecified {
        /// Which, and what leads to it.
        way: Vec<Action>,
        /// The state before.
        from: String,
        /// The state after.
        to: String,
    },
    /// The machines can't take a step that the specification has.
    Impossible {
        /// What leads to where it should be possible.
        way: Vec<Action>,
        /// Its name.
        action: String,
        /// The state before.
        from: String,
        /// The state after.
        to: String,
    },
    /// States are not told in the same way.
    Shape {
        /// The machines'.
        machine: String,
        /// The specification's.
        specification: String,
    },
    /// The specification has states that the machines never get to.
    Unreached(usize),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => write!(f, "{fault}"),
            Self::Unspecified { way, from, to } => {
                write!(f, "the last of {way:?} is no step of the specification\nfrom {from}\nto   {to}")
            }
            Self::Impossible { way, action, from, to } => {
                write!(f, "after {way:?} the machines can't take {action}\nfrom {from}\nto   {to}")
            }
            Self::Shape { machine, specification } => {
                write!(f, "states are\n{machine} here, and\n{specification} there")
            }
            Self::Unreached(count) => write!(f, "{count} states of the specification were never reached"),
        }
    }
}

/// Compares them.
///
/// # Errors
/// The first difference.
pub fn compare(scenario: &Scenario, graph: &Graph) -> Result<Matched, Difference> {
    let first = Sys::new(scenario);
    let shape = state::state(&first, scenario).shape();
    if shape != graph.shape {
        return Err(Difference::Shape { machine: shape, specification: graph.shape.clone() });
    }
    let walk = RefCell::new(Walk::new(scenario, graph, &first));
    let explored = explore_with(
        scenario,
        |sys| {
            walk.borrow_mut().turn_to(sys);
            Ok(())
        },
        |_, action, next| walk.borrow_mut().step(action, next),
    );
    let mut walk = walk.into_inner();
    walk.leave();
    // A difference explains more than the property that fails because of it.
    if let Some(difference) = walk.difference {
        return Err(difference);
    }
    let explored = explored.map_err(Difference::Fault)?;
    let (states, edges) = (walk.read.len(), walk.taken);
    if states != graph.len() || edges != graph.edges() {
        return Err(Difference::Unreached(graph.len() - states));
    }
    Ok(Matched { machine_states: explored.states, machine_steps: explored.steps, states, edges })
}

struct Walk<'a> {
    scenario: &'a Scenario,
    graph: &'a Graph,
    /// States of the machines that were turned to.
    seen: usize,
    /// The present state's text, its number, and the steps that the machines took from it.
    at: String,
    number: Option<u32>,
    steps: BTreeSet<Step>,
    /// The specification's states that were read, and the steps out of them.
    read: FxHashSet<u32>,
    taken: usize,
    /// How each text was reached first.
    origins: FxHashMap<String, (String, Action)>,
    difference: Option<Difference>,
}

impl<'a> Walk<'a> {
    fn new(scenario: &'a Scenario, graph: &'a Graph, first: &Sys) -> Self {
        let at = state::state(first, scenario).compact();
        let mut walk = Self {
            scenario,
            graph,
            seen: 0,
            number: graph.number(&at),
            at,
            steps: BTreeSet::new(),
            read: FxHashSet::default(),
            taken: 0,
            origins: FxHashMap::default(),
            difference: None,
        };
        if walk.number != Some(graph.initial) {
            let (from, to) = (graph.state(graph.initial).to_string(), walk.at.clone());
            walk.difference = Some(Difference::Unspecified { way: Vec::new(), from, to });
        }
        walk
    }

    /// The machines' next state is looked at; what the one before could do is known now.
    fn turn_to(&mut self, sys: &Sys) {
        if self.seen > 0 {
            self.leave();
        }
        self.seen += 1;
        self.at = state::state(sys, self.scenario).compact();
        self.number = self.graph.number(&self.at);
    }

    fn step(&mut self, action: Action, next: &Sys) {
        let to = state::state(next, self.scenario).compact();
        if to != self.at && !self.origins.contains_key(&to) {
            self.origins.insert(to.clone(), (self.at.clone(), action));
        }
        let number = self.graph.number(&to);
        let step = name(action).zip(number).map(|(name, number)| (name.to_string(), number));
        match (self.number, step) {
            (Some(at), Some(step)) if self.graph.steps(at).contains(&step) => {
                self.steps.insert(step);
            }
            // States behind a difference differ too.
            (None, _) => {}
            (Some(_), _) if self.difference.is_none() => {
                let mut way = self.way(&self.at);
                way.push(action);
                self.difference = Some(Difference::Unspecified { way, from: self.at.clone(), to });
            }
            (Some(_), _) => {}
        }
    }

    fn leave(&mut self) {
        let steps = std::mem::take(&mut self.steps);
        let Some(number) = self.number else { return };
        let specified = self.graph.steps(number);
        if self.read.insert(number) {
            self.taken += specified.len();
        }
        if self.difference.is_none()
            && let Some((action, target)) = specified.difference(&steps).next()
        {
            self.difference = Some(Difference::Impossible {
                way: self.way(&self.at),
                action: action.clone(),
                from: self.at.clone(),
                to: self.graph.state(*target).to_string(),
            });
        }
    }

    fn way(&self, to: &str) -> Vec<Action> {
        let (mut at, mut way) = (to, Vec::new());
        while let Some((before, action)) = self.origins.get(at) {
            way.push(*action);
            at = before;
        }
        way.reverse();
        way
    }
}

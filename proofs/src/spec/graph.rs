//! The specification's states and steps, as the model checker found them.
//!
//! A text of lines: the shape of a state, the number of the first state, and one line for each state, in
//! order: the state, and its steps as `Action>number`. `proofs/tla/graph.py` writes it.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

/// One step: its action's name, and the number of the state it leads to.
pub type Step = (String, u32);

/// All of them.
#[derive(Debug)]
pub struct Graph {
    /// The keys that the states' texts leave out.
    pub shape: String,
    /// The number of the first state.
    pub initial: u32,
    states: Vec<String>,
    numbers: FxHashMap<String, u32>,
    steps: Vec<BTreeSet<Step>>,
}

impl Graph {
    /// Reads the text.
    ///
    /// # Errors
    /// The line that can't be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let mut head = |key: &str| {
            let line = lines.next().unwrap_or_default();
            line.strip_prefix(key).map(str::to_string).ok_or_else(|| format!("no {key:?} in {line:?}"))
        };
        let shape = head("shape ")?;
        let initial = head("initial ")?.parse().map_err(|error| format!("initial: {error}"))?;
        let mut graph =
            Self { shape, initial, states: Vec::new(), numbers: FxHashMap::default(), steps: Vec::new() };
        for (number, line) in (0..).zip(lines) {
            let mut words = line.split(' ');
            let state = words.next().unwrap_or_default().to_string();
            let steps = words.map(|word| {
                let (action, target) = word.split_once('>').ok_or_else(|| format!("{word:?}"))?;
                Ok((action.to_string(), target.parse().map_err(|error| format!("{word:?}: {error}"))?))
            });
            let steps = steps.collect::<Result<BTreeSet<Step>, String>>();
            graph.steps.push(steps.map_err(|error| format!("state {number}: {error}"))?);
            if graph.numbers.insert(state.clone(), number).is_some() {
                return Err(format!("twice: {state}"));
            }
            graph.states.push(state);
        }
        Ok(graph)
    }

    /// The number of a state, if the specification can get there.
    #[must_use]
    pub fn number(&self, state: &str) -> Option<u32> {
        self.numbers.get(state).copied()
    }

    /// The text of a state.
    #[must_use]
    pub fn state(&self, number: u32) -> &str {
        &self.states[number as usize]
    }

    /// The steps out of a state.
    #[must_use]
    pub fn steps(&self, number: u32) -> &BTreeSet<Step> {
        &self.steps[number as usize]
    }

    /// Distinct states.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.states.len()
    }

    /// Whether there are no states.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// Distinct steps.
    #[must_use]
    pub fn edges(&self) -> usize {
        self.steps.iter().map(BTreeSet::len).sum()
    }
}

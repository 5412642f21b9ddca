//! Every reachable state of a scenario, breadth first: exact states, shortest ways, nothing sampled.
//!
//! A state's parts (two machines, two streams, the observer's books) recur in very many states. Each
//! distinct part is kept once, and a state is five numbers. No hash stands for a state: two are the
//! same only if their parts are equal.
//!
//! What should happen sooner or later is checked without a notion of time. Fair actions
//! ([`Action::is_fair`]) form a graph of their own. If it has no cycle, every run in which they go on
//! ends in a state where none is possible; and in each such state nothing may be left over.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash};
use std::rc::Rc;
use std::time::{Duration, Instant};

use dialback::testing::{Property, Violated};
use rustc_hash::FxHasher;

use crate::invariant;
use crate::scenario::Scenario;
use crate::system::{Action, Sights, Sys};

type Map<K, V> = HashMap<K, V, BuildHasherDefault<FxHasher>>;

/// What an exploration came to.
#[derive(Clone, Copy, Debug)]
pub struct Explored {
    /// Distinct states.
    pub states: usize,
    /// Steps between them, those back to known states included.
    pub steps: usize,
    /// Length of the longest shortest way.
    pub depth: usize,
    /// States in which nothing goes on by itself any more.
    pub rests: usize,
    /// What was seen on the way.
    pub sights: Sights,
    /// How long it took.
    pub took: Duration,
}

/// A property that does not hold, and the shortest way to where it does not.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Which, and what was seen.
    pub violated: Violated,
    /// From the beginning.
    pub path: Vec<Action>,
    /// The state before the last action, or the one that is wrong by itself where the way ends in it.
    pub state: Box<Sys>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.violated)?;
        for (number, action) in self.path.iter().enumerate() {
            writeln!(f, "{:4}. {action:?}", number + 1)?;
        }
        let Sys { proxy, agent, to_agent, to_proxy, books, .. } = &*self.state;
        writeln!(f, "before the last: proxy {:?}, agent {:?}", proxy.state(), agent.state())?;
        write!(f, "to the agent {to_agent:?}\nto the proxy {to_proxy:?}\n{books:#?}")
    }
}

/// Each distinct part, once.
struct Parts<T> {
    numbers: Map<Rc<T>, u32>,
    parts: Vec<Rc<T>>,
}

impl<T: Eq + Hash> Parts<T> {
    fn new() -> Self {
        Self { numbers: Map::default(), parts: Vec::new() }
    }

    fn number(&mut self, part: T) -> u32 {
        if let Some(number) = self.numbers.get(&part) {
            return *number;
        }
        let number = u32::try_from(self.parts.len()).expect("fewer than 2^32 parts");
        let part = Rc::new(part);
        self.parts.push(Rc::clone(&part));
        self.numbers.insert(part, number);
        number
    }

    fn get(&self, number: u32) -> &T {
        &self.parts[number as usize]
    }
}

type Packed = [u32; 5];

/// All states, packed.
struct Store {
    proxies: Parts<dialback::machine::ProxyConnection<u8>>,
    agents: Parts<dialback::machine::AgentConnection<u8>>,
    to_agent: Parts<crate::system::Stream<dialback::machine::FromProxy<u8>>>,
    to_proxy: Parts<crate::system::Stream<dialback::machine::FromAgent<u8>>>,
    rest: Parts<(crate::system::books::Books, u64, bool)>,
    numbers: Map<Packed, u32>,
    states: Vec<Packed>,
    /// By which action, from which state, each was reached first.
    origins: Vec<(u32, Option<Action>)>,
}

impl Store {
    fn new() -> Self {
        Self {
            proxies: Parts::new(),
            agents: Parts::new(),
            to_agent: Parts::new(),
            to_proxy: Parts::new(),
            rest: Parts::new(),
            numbers: Map::default(),
            states: Vec::new(),
            origins: Vec::new(),
        }
    }

    /// The state's number, and whether it is new.
    fn number(&mut self, sys: Sys, origin: (u32, Option<Action>)) -> u32 {
        let Sys { proxy, agent, to_agent, to_proxy, books, clock, stalled } = sys;
        let packed = [
            self.proxies.number(proxy),
            self.agents.number(agent),
            self.to_agent.number(to_agent),
            self.to_proxy.number(to_proxy),
            self.rest.number((books, clock, stalled)),
        ];
        if let Some(number) = self.numbers.get(&packed) {
            return *number;
        }
        let number = u32::try_from(self.states.len()).expect("fewer than 2^32 states");
        self.numbers.insert(packed, number);
        self.states.push(packed);
        self.origins.push(origin);
        number
    }

    fn get(&self, number: u32) -> Sys {
        let [proxy, agent, to_agent, to_proxy, rest] = self.states[number as usize];
        let (books, clock, stalled) = self.rest.get(rest).clone();
        Sys {
            proxy: self.proxies.get(proxy).clone(),
            agent: self.agents.get(agent).clone(),
            to_agent: self.to_agent.get(to_agent).clone(),
            to_proxy: self.to_proxy.get(to_proxy).clone(),
            books,
            clock,
            stalled,
        }
    }

    fn path(&self, mut number: u32) -> Vec<Action> {
        let mut path = Vec::new();
        while let (before, Some(action)) = self.origins[number as usize] {
            path.push(action);
            number = before;
        }
        path.reverse();
        path
    }

    fn fault(&self, number: u32, last: Option<Action>, violated: Violated) -> Fault {
        let mut path = self.path(number);
        path.extend(last);
        Fault { violated, path, state: Box::new(self.get(number)) }
    }
}

/// Explores everything, and asks the [`invariant`] of every state.
///
/// # Errors
/// The first fault in the order of distance from the beginning.
pub fn explore(scenario: &Scenario) -> Result<Explored, Box<Fault>> {
    explore_with(scenario, |sys| invariant::check(scenario, sys), |_, _, _| {})
}

/// Explores everything; asks `holds` of every state and shows every step to `walked`.
///
/// # Errors
/// The first fault in the order of distance from the beginning.
pub fn explore_with(
    scenario: &Scenario,
    holds: impl Fn(&Sys) -> Result<(), Violated>,
    mut walked: impl FnMut(&Sys, Action, &Sys),
) -> Result<Explored, Box<Fault>> {
    let began = Instant::now();
    let mut store = Store::new();
    let mut sights = Sights::default();
    let mut fair = Edges::default();
    let (mut steps, mut rests) = (0_usize, 0_usize);
    store.number(Sys::new(scenario), (0, None));
    let mut at = 0_u32;
    while (at as usize) < store.states.len() {
        let sys = store.get(at);
        holds(&sys).map_err(|violated| Box::new(store.fault(at, None, violated)))?;
        for action in sys.actions(scenario) {
            let outcome = sys.step(scenario, action);
            let outcome = outcome.map_err(|violated| Box::new(store.fault(at, Some(action), violated)))?;
            let (next, seen) = outcome;
            sights = sights.and(seen);
            let Some(next) = next else { continue };
            steps += 1;
            walked(&sys, action, &next);
            let number = store.number(next, (at, Some(action)));
            if action.is_fair() {
                fair.targets.push(number);
            }
        }
        if fair.ends_without_new() {
            rests += 1;
            sys.check_rest().map_err(|violated| Box::new(store.fault(at, None, violated)))?;
        }
        fair.close();
        at += 1;
    }
    if let Some(on_cycle) = fair.cycle() {
        let violated =
            Violated { property: Property::P13, detail: "what goes on by itself need not end".to_string() };
        return Err(Box::new(store.fault(on_cycle, None, violated)));
    }
    let last = u32::try_from(store.states.len() - 1).expect("fewer than 2^32 states");
    let depth = store.path(last).len();
    Ok(Explored { states: store.states.len(), steps, depth, rests, sights, took: began.elapsed() })
}

/// The fair steps: for each state in turn, where they lead.
#[derive(Default)]
struct Edges {
    targets: Vec<u32>,
    ends: Vec<usize>,
}

impl Edges {
    fn ends_without_new(&self) -> bool {
        self.ends.last().copied().unwrap_or(0) == self.targets.len()
    }

    fn close(&mut self) {
        self.ends.push(self.targets.len());
    }

    fn of(&self, state: usize) -> &[u32] {
        let begin = state.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.targets[begin..self.ends[state]]
    }

    /// A state on a cycle or behind one, if there is a cycle: states whose predecessors are all gone are taken away,
    /// again and again; what stays is kept by a cycle.
    fn cycle(&self) -> Option<u32> {
        let states = self.ends.len();
        let mut incoming = vec![0_u32; states];
        for target in &self.targets {
            incoming[*target as usize] += 1;
        }
        let mut free: Vec<usize> = (0..states).filter(|state| incoming[*state] == 0).collect();
        let mut gone = 0;
        while let Some(state) = free.pop() {
            gone += 1;
            for target in self.of(state) {
                incoming[*target as usize] -= 1;
                if incoming[*target as usize] == 0 {
                    free.push(*target as usize);
                }
            }
        }
        let kept = incoming.iter().position(|count| *count > 0)?;
        (gone < states).then(|| u32::try_from(kept).unwrap_or(u32::MAX))
    }
}

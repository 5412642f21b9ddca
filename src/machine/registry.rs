//! Which of an agent's connections gets the next request, and which are fit to get one.
//!
//! Pure decisions: who is connected, how loaded and how healthy comes in as values, the choice
//! goes out. What a pool adds is only where the values are kept.

use alloc::vec::Vec;
use core::time::Duration;

use super::time::Timestamp;

/// How many connections are looked at together; see [`choose_among`].
pub const GROUP: usize = 32;

/// How the next connection is chosen among those that are fit. Ties rotate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Balance {
    /// One after the other.
    RoundRobin,
    /// The one with the fewest events in flight; among more than [`GROUP`], the one of a group.
    #[default]
    LeastInFlight,
    /// The less loaded of two drawn at random: nearly as even, and blind to herds.
    PowerOfTwo {
        /// Seeds the draws.
        seed: u64,
    },
    /// Any, at random.
    Random {
        /// Seeds the draws.
        seed: u64,
    },
}

/// How fit a connection is for a new request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fitness {
    /// Healthy.
    Fit,
    /// It said that it is degraded, or it is on trial: taken where nothing better is there.
    Degraded,
    /// Not to be chosen: closed, draining, unhealthy, or unable to take the event.
    Unfit,
}

/// One connection, as a choice sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Whether it may be chosen.
    pub fitness: Fitness,
    /// Unanswered and waiting events.
    pub load: usize,
}

/// Chooses among `candidates`; returns an index. `ticket` is a number that grows by one with each
/// choice; it makes ties rotate and, with the seed, makes draws repeat.
///
/// `None` if no candidate is better than [`Fitness::Unfit`].
///
/// ```
/// use dialback::machine::registry::{Balance, Candidate, Fitness, choose};
///
/// let candidate = |load| Candidate { fitness: Fitness::Fit, load };
/// let candidates = [candidate(3), candidate(1), candidate(1)];
/// let picks: Vec<_> = (0..4).map(|ticket| choose(&candidates, Balance::LeastInFlight, ticket)).collect();
/// assert_eq!(picks, [Some(1), Some(2), Some(1), Some(2)]);
/// ```
pub fn choose(candidates: &[Candidate], balance: Balance, ticket: u64) -> Option<usize> {
    let best = candidates.iter().map(|candidate| candidate.fitness).min()?;
    if best == Fitness::Unfit {
        return None;
    }
    let fit = |(_, candidate): &(usize, &Candidate)| candidate.fitness == best;
    let pool = || candidates.iter().enumerate().filter(fit);
    let nth = |n: u64| {
        let index = usize::try_from(n.checked_rem(pool().count() as u64)?).ok()?;
        pool().nth(index)
    };
    match balance {
        Balance::RoundRobin => nth(ticket),
        Balance::Random { seed } => nth(mix(seed, ticket)),
        Balance::LeastInFlight => {
            let least = pool().map(|(_, candidate)| candidate.load).min()?;
            let ties = || pool().filter(|(_, candidate)| candidate.load == least);
            let turn = usize::try_from(ticket.checked_rem(ties().count() as u64)?).ok()?;
            ties().nth(turn)
        }
        Balance::PowerOfTwo { seed } => {
            let (first, second) = (nth(mix(seed, ticket))?, nth(mix(!seed, ticket))?);
            Some(if second.1.load < first.1.load { second } else { first })
        }
    }
    .map(|(index, _)| index)
}

/// Chooses among `count` connections, of which `look` tells what a choice sees. Up to [`GROUP`] connections are
/// all looked at, as by [`choose`]. More are looked at in groups of so many, one after another from a place
/// that moves on with the ticket, until a group has somebody of [`Fitness::Fit`]; of that group one is chosen. So what
/// a choice costs does not grow with the connections while most are fit, and the fittest is found wherever
/// it is. With the [`Balance`] of the fewest in flight it is then the fewest of a group, not of all.
///
/// `None` if nobody is better than [`Fitness::Unfit`].
///
/// ```
/// use dialback::machine::registry::{Balance, Candidate, Fitness, choose_among};
///
/// let mut looked = 0;
/// let chosen = choose_among(
///     1_000,
///     |_| {
///         looked += 1;
///         Candidate { fitness: Fitness::Fit, load: 0 }
///     },
///     Balance::LeastInFlight,
///     7,
/// );
/// assert_eq!((chosen, looked), (Some(7), 32));
/// ```
pub fn choose_among(
    count: usize,
    mut look: impl FnMut(usize) -> Candidate,
    balance: Balance,
    ticket: u64,
) -> Option<usize> {
    let mut group = Vec::with_capacity(count.min(GROUP));
    if count <= GROUP {
        group.extend((0..count).map(look));
        return choose(&group, balance, ticket);
    }
    // Within a group the first comes first, so that each has its turn as the place moves on.
    let (place, turn) = match balance {
        Balance::RoundRobin | Balance::LeastInFlight => (ticket, 0),
        Balance::Random { seed } | Balance::PowerOfTwo { seed } => {
            (mix(seed.rotate_left(32), ticket), ticket)
        }
    };
    let start = usize::try_from(place.checked_rem(count as u64)?).ok()?;
    let mut best = None;
    let mut seen = 0_usize;
    while seen < count {
        let size = GROUP.min(count.saturating_sub(seen));
        let first = start.wrapping_add(seen).checked_rem(count)?;
        let member = |offset: usize| first.wrapping_add(offset).checked_rem(count).unwrap_or_default();
        group.clear();
        group.extend((0..size).map(|offset| look(member(offset))));
        seen = seen.saturating_add(size);
        let Some(offset) = choose(&group, balance, turn) else { continue };
        let fitness = group.get(offset).map(|candidate| candidate.fitness)?;
        if best.is_none_or(|(found, _)| fitness < found) {
            best = Some((fitness, member(offset)));
        }
        if fitness == Fitness::Fit {
            break;
        }
    }
    best.map(|(_, index)| index)
}

/// Spreads a seed and a ticket over 64 bits (the finisher of SplitMix64).
const fn mix(seed: u64, ticket: u64) -> u64 {
    let mut z = seed.wrapping_add(ticket.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// When a connection counts as unhealthy, and for how long at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HealthLimits {
    /// Time-outs in a row after which a connection rests. Default 5.
    pub failures: u32,
    /// How long it rests before one request is tried on it. Default 10 s.
    pub rest: Duration,
}

impl Default for HealthLimits {
    fn default() -> Self {
        Self { failures: 5, rest: Duration::from_secs(10) }
    }
}

/// What a proxy holds of a connection's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// Nothing speaks against it.
    Healthy,
    /// The agent said that it is degraded.
    Degraded,
    /// The agent said that it is unhealthy, or too many answers in a row did not come.
    Resting,
    /// The rest is over: one request is on trial.
    Trial,
}

impl Health {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Healthy, Self::Degraded, Self::Resting, Self::Trial];
}

/// What bears on a connection's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sign {
    /// The agent reports that it is healthy.
    SaidHealthy,
    /// The agent reports that it is degraded.
    SaidDegraded,
    /// The agent reports that it is unhealthy.
    SaidUnhealthy,
    /// An answer came.
    Answered,
    /// An answer did not come in time, fewer in a row than the limit.
    Failed,
    /// An answer did not come in time, and the limit is reached.
    FailedTooOften,
    /// The rest is over and a request asks for a connection.
    Tried,
}

impl Sign {
    /// Every sign.
    pub const ALL: [Self; 7] = [
        Self::SaidHealthy,
        Self::SaidDegraded,
        Self::SaidUnhealthy,
        Self::Answered,
        Self::Failed,
        Self::FailedTooOften,
        Self::Tried,
    ];
}

/// The table of health: total over every state and sign. No state is for ever: a rest ends with a
/// trial, a trial with an answer or another rest.
pub const fn health_step(health: Health, sign: Sign) -> Health {
    match health {
        Health::Healthy => match sign {
            Sign::SaidHealthy | Sign::Answered | Sign::Failed | Sign::Tried => Health::Healthy,
            Sign::SaidDegraded => Health::Degraded,
            Sign::SaidUnhealthy | Sign::FailedTooOften => Health::Resting,
        },
        Health::Degraded => match sign {
            Sign::SaidHealthy => Health::Healthy,
            Sign::SaidDegraded | Sign::Answered | Sign::Failed | Sign::Tried => Health::Degraded,
            Sign::SaidUnhealthy | Sign::FailedTooOften => Health::Resting,
        },
        Health::Resting => match sign {
            // An answer to an event from before the rest is a sign of life.
            Sign::SaidHealthy | Sign::Answered => Health::Healthy,
            Sign::SaidDegraded => Health::Degraded,
            Sign::SaidUnhealthy | Sign::Failed | Sign::FailedTooOften => Health::Resting,
            Sign::Tried => Health::Trial,
        },
        Health::Trial => match sign {
            Sign::SaidHealthy | Sign::Answered => Health::Healthy,
            Sign::SaidDegraded => Health::Degraded,
            Sign::SaidUnhealthy | Sign::Failed | Sign::FailedTooOften => Health::Resting,
            Sign::Tried => Health::Trial,
        },
    }
}

/// One connection's health over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HealthRecord {
    health: Health,
    failures: u32,
    /// When the present rest or trial began.
    since: Timestamp,
}

impl Default for HealthRecord {
    fn default() -> Self {
        Self { health: Health::Healthy, failures: 0, since: Timestamp::ZERO }
    }
}

impl HealthRecord {
    /// What is held of the connection.
    pub const fn health(&self) -> Health {
        self.health
    }

    /// Whether the connection may be chosen now. A rest that is over makes it fit for a trial; a
    /// trial that brought neither answer nor failure for as long as a rest may be repeated.
    pub fn fitness(&self, limits: HealthLimits, now: Timestamp) -> Fitness {
        match self.health {
            Health::Healthy => Fitness::Fit,
            Health::Degraded => Fitness::Degraded,
            Health::Resting | Health::Trial if self.since.after(limits.rest) <= now => Fitness::Degraded,
            Health::Resting | Health::Trial => Fitness::Unfit,
        }
    }

    /// The connection was chosen for a request.
    pub const fn handle_chosen(&mut self, now: Timestamp) {
        match self.health {
            Health::Resting | Health::Trial => {
                self.health = health_step(self.health, Sign::Tried);
                self.since = now;
            }
            Health::Healthy | Health::Degraded => {}
        }
    }

    /// Something that bears on the health was seen. [`Sign::Failed`] is counted here.
    pub const fn handle_sign(&mut self, sign: Sign, limits: HealthLimits, now: Timestamp) {
        let sign = match sign {
            Sign::Failed | Sign::FailedTooOften => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= limits.failures { Sign::FailedTooOften } else { Sign::Failed }
            }
            Sign::Answered | Sign::SaidHealthy => {
                self.failures = 0;
                sign
            }
            Sign::SaidDegraded | Sign::SaidUnhealthy | Sign::Tried => sign,
        };
        let before = self.health;
        self.health = health_step(before, sign);
        if let Health::Resting = self.health
            && !matches!(before, Health::Resting)
        {
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn candidates(loads: &[usize]) -> Vec<Candidate> {
        loads.iter().map(|load| Candidate { fitness: Fitness::Fit, load: *load }).collect()
    }

    #[test]
    fn ties_rotate() {
        let all = candidates(&[0, 0, 0]);
        for balance in [Balance::RoundRobin, Balance::LeastInFlight] {
            let picks: Vec<_> = (0..6).filter_map(|ticket| choose(&all, balance, ticket)).collect();
            assert_eq!(picks, [0, 1, 2, 0, 1, 2], "{balance:?}");
        }
    }

    #[test]
    fn draws_repeat_with_the_seed_and_reach_everyone() {
        let all = candidates(&[1, 1, 1, 1]);
        for balance in [Balance::Random { seed: 7 }, Balance::PowerOfTwo { seed: 7 }] {
            let draw = || (0..200).filter_map(|ticket| choose(&all, balance, ticket)).collect::<Vec<_>>();
            assert_eq!(draw(), draw());
            for index in 0..4 {
                assert!(draw().iter().filter(|pick| **pick == index).count() > 25, "{balance:?} {index}");
            }
        }
    }

    #[test]
    fn two_draws_prefer_the_lighter() {
        let all = candidates(&[9, 0]);
        let heavy =
            (0..1_000).filter(|ticket| choose(&all, Balance::PowerOfTwo { seed: 1 }, *ticket) == Some(0));
        assert!(heavy.count() < 350);
    }

    const EVERY_BALANCE: [Balance; 4] = [
        Balance::RoundRobin,
        Balance::LeastInFlight,
        Balance::Random { seed: 3 },
        Balance::PowerOfTwo { seed: 3 },
    ];

    #[test]
    fn of_many_a_bounded_number_is_looked_at_and_each_has_its_turn() {
        const MANY: usize = 1_000;
        for balance in EVERY_BALANCE {
            let mut chosen = alloc::vec![0_u32; MANY];
            for ticket in 0..MANY as u64 {
                let mut looked = 0;
                let look = |_| {
                    looked += 1;
                    Candidate { fitness: Fitness::Fit, load: 4 }
                };
                chosen[choose_among(MANY, look, balance, ticket).unwrap()] += 1;
                assert_eq!(looked, GROUP, "{balance:?}");
            }
            match balance {
                Balance::RoundRobin | Balance::LeastInFlight => {
                    assert!(chosen.iter().all(|times| *times == 1))
                }
                Balance::Random { .. } | Balance::PowerOfTwo { .. } => {
                    let reached = chosen.iter().filter(|times| **times > 0).count();
                    assert!(reached > MANY / 2 && chosen.iter().all(|times| *times < 12), "{balance:?}");
                }
            }
        }
    }

    #[test]
    fn of_many_the_least_loaded_of_a_group_is_chosen() {
        let look = |index| Candidate { fitness: Fitness::Fit, load: if index == 50 { 0 } else { 9 } };
        assert_eq!(choose_among(1_000, look, Balance::LeastInFlight, 40), Some(50));
        assert_eq!(choose_among(GROUP, look, Balance::LeastInFlight, 3), Some(3));
    }

    #[test]
    fn of_many_the_fittest_is_found_wherever_it_is() {
        for balance in EVERY_BALANCE {
            for count in [1, GROUP, GROUP + 1, 3 * GROUP, 100] {
                for place in 0..count {
                    let but_one = |rest: Fitness, one: Fitness| {
                        let fitness = move |index| if index == place { one } else { rest };
                        choose_among(
                            count,
                            |index| Candidate { fitness: fitness(index), load: 0 },
                            balance,
                            77,
                        )
                    };
                    assert_eq!(but_one(Fitness::Degraded, Fitness::Fit), Some(place), "{balance:?} {count}");
                    assert_eq!(
                        but_one(Fitness::Unfit, Fitness::Degraded),
                        Some(place),
                        "{balance:?} {count}"
                    );
                    assert_eq!(but_one(Fitness::Unfit, Fitness::Unfit), None, "{balance:?} {count}");
                }
            }
        }
    }

    #[test]
    fn of_groups_that_are_as_fit_the_first_is_taken() {
        let look = |_| Candidate { fitness: Fitness::Degraded, load: 0 };
        assert_eq!(choose_among(100, look, Balance::RoundRobin, 40), Some(40));
    }

    #[test]
    fn nobody_is_chosen_of_none() {
        let look = |_| Candidate { fitness: Fitness::Fit, load: 0 };
        assert_eq!(choose_among(0, look, Balance::RoundRobin, 0), None);
    }

    #[test]
    fn the_unfit_are_never_chosen_and_the_degraded_last() {
        let of = |fitness| Candidate { fitness, load: 0 };
        for balance in EVERY_BALANCE {
            for ticket in 0..50 {
                let mixed = [of(Fitness::Unfit), of(Fitness::Degraded), of(Fitness::Fit)];
                assert_eq!(choose(&mixed, balance, ticket), Some(2));
                assert_eq!(choose(&mixed[..2], balance, ticket), Some(1));
                assert_eq!(choose(&mixed[..1], balance, ticket), None);
            }
            assert_eq!(choose(&[], balance, 0), None);
        }
    }

    #[test]
    fn unhealthy_is_never_for_ever() {
        for health in Health::ALL {
            let tried = health_step(health, Sign::Tried);
            assert_eq!(health_step(tried, Sign::SaidHealthy), Health::Healthy);
            assert_ne!(health_step(tried, Sign::Answered), Health::Resting);
        }
    }

    #[test]
    fn a_rest_ends_with_one_trial_at_a_time() {
        let limits = HealthLimits { failures: 2, rest: Duration::from_secs(10) };
        let mut record = HealthRecord::default();
        record.handle_sign(Sign::Failed, limits, at(1));
        assert_eq!(record.fitness(limits, at(1)), Fitness::Fit);
        record.handle_sign(Sign::Failed, limits, at(2));
        assert_eq!(record.fitness(limits, at(11)), Fitness::Unfit);
        assert_eq!(record.fitness(limits, at(12)), Fitness::Degraded);
        record.handle_chosen(at(12));
        assert_eq!(record.fitness(limits, at(13)), Fitness::Unfit);
        record.handle_sign(Sign::Failed, limits, at(14));
        assert_eq!(record.fitness(limits, at(23)), Fitness::Unfit);
        assert_eq!(record.fitness(limits, at(24)), Fitness::Degraded);
        record.handle_chosen(at(24));
        record.handle_sign(Sign::Answered, limits, at(25));
        assert_eq!(record.health(), Health::Healthy);
    }

    #[test]
    fn a_rest_is_told_by_the_agent_too_and_counts_from_its_beginning() {
        let limits = HealthLimits { failures: 2, rest: Duration::from_secs(10) };
        let mut record = HealthRecord::default();
        record.handle_sign(Sign::SaidDegraded, limits, at(1));
        assert_eq!(record.fitness(limits, at(1)), Fitness::Degraded);
        record.handle_chosen(at(1));
        assert_eq!(record.health(), Health::Degraded);
        record.handle_sign(Sign::SaidUnhealthy, limits, at(2));
        assert_eq!(record.health(), Health::Resting);
        // Told again, the rest goes on from where it began.
        record.handle_sign(Sign::SaidUnhealthy, limits, at(8));
        assert_eq!(
            (record.fitness(limits, at(11)), record.fitness(limits, at(12))),
            (Fitness::Unfit, Fitness::Degraded)
        );
    }

    #[test]
    fn only_time_outs_in_a_row_count() {
        let limits = HealthLimits { failures: 2, ..HealthLimits::default() };
        for relief in [Sign::Answered, Sign::SaidHealthy] {
            let mut record = HealthRecord::default();
            for sign in [Sign::Failed, relief, Sign::Failed] {
                record.handle_sign(sign, limits, at(1));
            }
            assert_eq!(record.health(), Health::Healthy);
            record.handle_sign(Sign::FailedTooOften, limits, at(1));
            assert_eq!(record.health(), Health::Resting);
        }
        // What the agent says of being degraded makes no failure undone.
        let mut record = HealthRecord::default();
        for sign in [Sign::Failed, Sign::SaidDegraded, Sign::Failed] {
            record.handle_sign(sign, limits, at(1));
        }
        assert_eq!(record.health(), Health::Resting);
    }

    #[test]
    fn draws_are_those_of_the_published_generator() {
        // SplitMix64 with the state 1234567, its first three outputs.
        let outputs = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([1, 2, 3].map(|ticket| mix(1_234_567, ticket)), outputs);
    }

    #[test]
    fn of_two_draws_the_lighter_is_taken_and_the_first_of_equals() {
        let all = candidates(&[5, 1, 3]);
        for ticket in 0..200 {
            let one = |seed| choose(&all, Balance::Random { seed }, ticket).unwrap();
            let (first, second) = (one(4), one(!4));
            let lighter = if all[second].load < all[first].load { second } else { first };
            assert_eq!(choose(&all, Balance::PowerOfTwo { seed: 4 }, ticket), Some(lighter));
        }
        let equal = candidates(&[2, 2, 2]);
        for ticket in 0..50 {
            let first = choose(&equal, Balance::Random { seed: 4 }, ticket);
            assert_eq!(choose(&equal, Balance::PowerOfTwo { seed: 4 }, ticket), first);
        }
    }
}

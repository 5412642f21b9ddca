//! A seeded generator, so that a run replays from one number.

use core::time::Duration;

/// SplitMix64: small, fast, and the same everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rng(u64);

impl Rng {
    /// A generator that tells the same story for the same seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; zero if `bound` is zero.
    pub const fn below(&mut self, bound: u64) -> u64 {
        match self.next_u64().checked_rem(bound) {
            Some(value) => value,
            None => 0,
        }
    }

    /// Whether a thing happens that happens this many times in a thousand.
    pub const fn per_mille(&mut self, rate: u32) -> bool {
        self.below(1_000) < rate as u64
    }

    /// A time from zero to `longest`.
    pub fn up_to(&mut self, longest: Duration) -> Duration {
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.below(micros.saturating_add(1)))
    }

    /// A number from `least` to `most`.
    pub const fn between(&mut self, least: u64, most: u64) -> u64 {
        let choices = most.saturating_sub(least).saturating_add(1);
        least.saturating_add(self.below(choices))
    }

    /// One of these; `None` if there are none.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let index = usize::try_from(self.below(from.len() as u64)).ok()?;
        from.get(index).copied()
    }

    /// One of these, to keep; `None` if there are none.
    pub fn pick_of<T>(
        &mut self,
        from: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    ) -> Option<T> {
        let mut from = from.into_iter();
        let index = usize::try_from(self.below(from.len() as u64)).ok()?;
        from.nth(index)
    }
}

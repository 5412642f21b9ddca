//! Latencies, counted in buckets of powers of two.

use core::time::Duration;

/// Buckets: 1 us, 2 us, 4 us ... about 150 hours.
const BUCKETS: usize = 40;

/// How long things took, in 40 buckets whose bounds double from one microsecond on.
///
/// A fixed 344 bytes, whatever it has seen. A quantile is off by less than a factor of two.
///
/// ```
/// use std::time::Duration;
/// use dialback::machine::Histogram;
///
/// let mut answers = Histogram::default();
/// for millis in [1, 1, 1, 9] {
///     answers.record(Duration::from_millis(millis));
/// }
/// assert_eq!(answers.count(), 4);
/// assert_eq!(answers.mean(), Duration::from_millis(3));
/// assert!(answers.quantile(0.5) < Duration::from_millis(2));
/// assert!(answers.quantile(1.0) >= Duration::from_millis(9));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    count: u64,
    micros: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], count: 0, micros: 0 }
    }
}

impl Histogram {
    /// Counts one span.
    pub fn record(&mut self, span: Duration) {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get_mut(Self::bucket_of(micros)) {
            *bucket = bucket.saturating_add(1);
        }
        self.count = self.count.saturating_add(1);
        self.micros = self.micros.saturating_add(micros);
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine = mine.saturating_add(theirs);
        }
        self.count = self.count.saturating_add(other.count);
        self.micros = self.micros.saturating_add(other.micros);
    }

    /// Spans counted.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// All spans together.
    pub const fn sum(&self) -> Duration {
        Duration::from_micros(self.micros)
    }

    /// The mean; zero if nothing was counted.
    pub fn mean(&self) -> Duration {
        Duration::from_micros(self.micros.checked_div(self.count).unwrap_or(0))
    }

    /// A bound that at least this share of the spans keeps, 0.0 to 1.0; zero if nothing was counted.
    pub fn quantile(&self, share: f64) -> Duration {
        if self.count == 0 {
            return Duration::ZERO;
        }
        let wanted = share.clamp(0.0, 1.0) * self.count as f64;
        let mut seen = 0_u64;
        for (bound, count) in self.buckets() {
            seen = seen.saturating_add(count);
            if seen as f64 >= wanted && seen > 0 {
                return bound;
            }
        }
        Duration::MAX
    }

    /// Each bucket's upper bound, and how many spans are above the bound before and at most this one.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let bound = |index: usize| Duration::from_micros(1_u64.checked_shl(index as u32).unwrap_or(u64::MAX));
        self.buckets.iter().enumerate().map(move |(index, count)| (bound(index), *count))
    }

    /// The first bucket whose bound is not exceeded; the last takes all the rest.
    pub(crate) fn bucket_of(micros: u64) -> usize {
        let bits = u64::BITS.saturating_sub(micros.saturating_sub(1).leading_zeros());
        (if micros == 0 { 0 } else { bits as usize }).min(BUCKETS.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_span_is_within_its_bucket() {
        for micros in (0..5_000).chain([u64::MAX / 2, u64::MAX, 1 << 39]) {
            let index = Histogram::bucket_of(micros);
            let above = index == 0 || micros > 1 << (index - 1);
            let within = micros <= 1 << index || index == BUCKETS - 1;
            assert!(above && within, "{micros} is not in bucket {index}");
        }
    }

    #[test]
    fn quantiles_grow_and_merging_adds() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), Duration::ZERO);
        for micros in 1..=1_000 {
            histogram.record(Duration::from_micros(micros));
        }
        let [p50, p90, p100] = [0.5, 0.9, 1.0].map(|share| histogram.quantile(share));
        assert!(p50 <= p90 && p90 <= p100);
        assert_eq!((p50, p100), (Duration::from_micros(512), Duration::from_micros(1_024)));
        let half = histogram;
        histogram.merge(&half);
        assert_eq!((histogram.count(), histogram.mean()), (2_000, half.mean()));
    }

    #[test]
    fn the_smallest_and_the_longest_have_buckets() {
        let mut histogram = Histogram::default();
        histogram.record(Duration::ZERO);
        histogram.record(Duration::from_micros(1));
        histogram.record(Duration::from_micros(2));
        histogram.record(Duration::from_micros(3));
        histogram.record(Duration::MAX);
        let counted: alloc::vec::Vec<_> = histogram.buckets().filter(|(_, count)| *count > 0).collect();
        let last = Duration::from_micros(1 << 39);
        let micros = Duration::from_micros;
        assert_eq!(counted, [(micros(1), 2), (micros(2), 1), (micros(4), 1), (last, 1)]);
        assert_eq!((histogram.buckets().count(), histogram.count()), (BUCKETS, 5));
        assert_eq!(histogram.sum(), Duration::from_micros(u64::MAX));
    }

    #[test]
    fn a_share_of_none_is_bounded_by_the_first_bucket_with_anything_in_it() {
        let mut histogram = Histogram::default();
        histogram.record(Duration::from_micros(100));
        assert_eq!(histogram.quantile(0.0), Duration::from_micros(128));
        assert_eq!(histogram.quantile(-1.0), Duration::from_micros(128));
        assert_eq!(histogram.quantile(9.0), Duration::from_micros(128));
        assert_eq!(histogram.quantile(f64::NAN), Duration::MAX);
        assert_eq!(histogram.sum(), Duration::from_micros(100));
    }

    #[test]
    fn the_mean_is_of_all_that_was_counted() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.mean(), Duration::ZERO);
        for micros in [1, 1, 1, 9] {
            histogram.record(Duration::from_micros(micros));
        }
        assert_eq!(histogram.mean(), Duration::from_micros(3));
    }
}

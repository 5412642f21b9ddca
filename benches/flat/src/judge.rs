//! Whether a cost grows faster than the logarithm.

use std::fmt;

/// How far the cost at the largest count may lie above the line, of the line.
const TOLERANCE: f64 = 0.15;

/// The largest count is held against a line through those up to a tenth of it.
const SHARE: f64 = 0.1;

/// Below this what happens once, however many there are, hides what grows.
const FEW: f64 = 10.0;

/// What was found.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    /// At the largest count.
    seen: f64,
    /// What `a + b log n` gives there.
    line: f64,
}

impl Verdict {
    /// Fits `a + b log n`, with `b` not below zero, to the smaller counts and looks how far above
    /// it the largest is.
    pub fn on(points: &[(f64, f64)]) -> Self {
        let Some((most, seen)) = points.last().copied() else { return Self { seen: 0.0, line: 0.0 } };
        let smaller: Vec<_> = points.iter().filter(|(count, _)| *count <= most * SHARE).collect();
        let many: Vec<_> = smaller.iter().copied().filter(|(count, _)| *count >= FEW).collect();
        let smaller = if many.len() < 2 { smaller } else { many };
        let number = smaller.len() as f64;
        let mean = |value: &dyn Fn(&(f64, f64)) -> f64| {
            smaller.iter().map(|point| value(point)).sum::<f64>() / number
        };
        let (log, cost) = (mean(&|point| point.0.ln()), mean(&|point| point.1));
        let spread = mean(&|point| (point.0.ln() - log).powi(2));
        let slope = mean(&|point| (point.0.ln() - log) * (point.1 - cost)) / spread;
        // A cost that falls at first is no licence to rise later, nor a reason to judge harder.
        let slope = if slope.is_finite() { slope.max(0.0) } else { 0.0 };
        Self { seen, line: cost + slope * (most.ln() - log) }
    }

    /// Whether it grows no faster.
    pub fn holds(&self) -> bool {
        self.seen <= self.line * (1.0 + TOLERANCE)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let above = (self.seen / self.line - 1.0) * 100.0;
        let word = if self.holds() { "no faster than log n" } else { "FASTER THAN log n" };
        write!(f, "{word}: {above:+.1} % beside the line through the smaller counts")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(cost: impl Fn(f64) -> f64) -> bool {
        let counts = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0];
        Verdict::on(&counts.map(|count| (count, cost(count)))).holds()
    }

    #[test]
    fn what_is_level_falls_or_grows_as_the_logarithm_passes() {
        assert!(holds(|_| 100.0));
        assert!(holds(f64::ln_1p));
        assert!(holds(|count| 1_000.0 + 40.0 * count.ln()));
        assert!(holds(|count| 1_000.0 + 500.0 / count));
        // As a tree whose nodes hold eleven grows: by steps.
        assert!(holds(|count| 1_000.0 + 60.0 * (count.ln() / 11_f64.ln()).ceil()));
    }

    #[test]
    fn what_grows_faster_does_not() {
        assert!(!holds(|count| count));
        assert!(!holds(|count| 1_000.0 + 0.05 * count));
        assert!(!holds(|count| 1_000.0 + count * count / 10_000.0));
        assert!(!holds(|count| 1_000.0 + 10.0 * count.sqrt()));
        assert!(!holds(|count| count * count.ln()));
    }
}

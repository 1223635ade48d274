//! Tests of what an observer sees, with stated error probabilities.
//!
//! Kolmogorov–Smirnov with the asymptotic critical value √(−ln(α/2)/2n) (Smirnov 1948), which is
//! conservative for the sample sizes used here; a count test for rates, which KS is weak against.

/// Probability of calling one honest sample dishonest, for each test made.
pub const ALPHA: f64 = 1e-4;

/// Largest distance between the sample's distribution and the exponential of `rate` per second.
/// `gaps` are seconds.
pub fn ks_exponential(gaps: &[f64], rate: f64) -> f64 {
    ks(gaps, |x| 1.0 - (-rate * x).exp())
}

/// Largest distance between the sample's distribution and `cdf`.
pub fn ks(sample: &[f64], cdf: impl Fn(f64) -> f64) -> f64 {
    let sorted = sorted(sample);
    let n = sorted.len() as f64;
    let distance = |(i, x): (usize, &f64)| {
        let f = cdf(*x);
        (f - i as f64 / n).abs().max(((i + 1) as f64 / n - f).abs())
    };
    sorted.iter().enumerate().map(distance).fold(0.0, f64::max)
}

/// Largest distance between two samples' distributions.
pub fn ks_two(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (sorted(a), sorted(b));
    let (mut i, mut j, mut most) = (0, 0, 0.0f64);
    while i < a.len() && j < b.len() {
        let x = a[i].min(b[j]);
        while i < a.len() && a[i] <= x {
            i += 1;
        }
        while j < b.len() && b[j] <= x {
            j += 1;
        }
        most = most.max((i as f64 / a.len() as f64 - j as f64 / b.len() as f64).abs());
    }
    most
}

/// The distance that one honest sample of `n` exceeds with probability [`ALPHA`].
pub fn ks_critical(n: usize) -> f64 {
    (-(ALPHA / 2.0).ln() / (2.0 * n as f64)).sqrt()
}

/// The distance that two honest samples exceed with probability [`ALPHA`].
pub fn ks_two_critical(n: usize, m: usize) -> f64 {
    let (n, m) = (n as f64, m as f64);
    (-(ALPHA / 2.0).ln() / 2.0 * (n + m) / (n * m)).sqrt()
}

/// How many standard deviations `count` events in `seconds` are from a Poisson process of `rate`.
pub fn rate_deviation(count: usize, seconds: f64, rate: f64) -> f64 {
    let expected = rate * seconds;
    (count as f64 - expected) / expected.sqrt()
}

/// [`rate_deviation`] beyond this has probability [`ALPHA`], both sides together (normal quantile).
pub const RATE_CRITICAL: f64 = 3.891;

fn sorted(sample: &[f64]) -> Vec<f64> {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use wire::rng::{Purpose, TrafficRng};

    fn exponential(seed: u8, n: u64, rate: f64) -> Vec<f64> {
        let rng = TrafficRng::from_seed([seed; 32]);
        let mean = Duration::from_secs_f64(1.0 / rate);
        let draw = |k| {
            rng.tick(Purpose::Simulation, k)
                .draw_exponential(mean)
                .as_secs_f64()
        };
        (0..n).map(draw).collect()
    }

    #[test]
    fn honest_samples_pass_and_planted_faults_are_found() {
        let (a, b) = (exponential(1, 2_000, 12.0), exponential(2, 2_000, 12.0));
        assert!(ks_exponential(&a, 12.0) < ks_critical(a.len()));
        assert!(ks_two(&a, &b) < ks_two_critical(a.len(), b.len()));
        let uniform: Vec<f64> = (0..2_000).map(|i| f64::from(i) / 12_000.0).collect();
        assert!(ks_exponential(&uniform, 12.0) > ks_critical(uniform.len()));
        assert!(ks_two(&a, &uniform) > ks_two_critical(a.len(), uniform.len()));
    }

    #[test]
    fn the_distance_of_two_equal_samples_is_zero_and_of_two_apart_is_one() {
        assert!(ks_two(&[1.0, 2.0], &[1.0, 2.0]) < 1e-12);
        assert!((ks_two(&[1.0, 2.0], &[3.0]) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_tenth_more_is_many_deviations() {
        assert!(rate_deviation(11_880, 900.0, 12.0) > RATE_CRITICAL);
        assert!(rate_deviation(10_800, 900.0, 12.0).abs() < 1e-9);
    }
}

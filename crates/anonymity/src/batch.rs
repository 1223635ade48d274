//! Mixes that send in batches (Serjantov, Dingledine and Syverson 2002; simulation.md §2.6 of the notes has
//! the comparison): threshold, timed, and threshold pool. λ·d is the arrival rate times the mean delay, so
//! that designs can be compared at equal delay.

use crate::special::poisson_pmf;
use crate::value::{NOT_POSITIVE, Value, positive};

/// Threshold mix of `n`: it sends when `n` have come. Entropy log₂ n bits; exact.
pub fn threshold_entropy(n: u64) -> Value {
    if n == 0 {
        return Value::undefined(NOT_POSITIVE);
    }
    Value::exact((n as f64).log2())
}

/// Threshold mix: the best guess succeeds with 1/n; exact.
pub fn threshold_best_guess(n: u64) -> Value {
    if n == 0 {
        return Value::undefined(NOT_POSITIVE);
    }
    Value::exact(1.0 / n as f64)
}

/// Threshold mix fed at `rate`: mean wait (n − 1)/(2λ) seconds; exact for Poisson arrivals.
pub fn threshold_wait(n: u64, rate: f64) -> Value {
    if n == 0 || !positive(&[rate]) {
        return Value::undefined(NOT_POSITIVE);
    }
    Value::exact((n as f64 - 1.0) / (2.0 * rate))
}

/// Timed mix whose mean delay is d, so that its interval is 2d: E log₂(1 + Poisson(2λd)) bits, the mean
/// over packets; exact.
pub fn timed_entropy(rate_times_delay: f64) -> Value {
    if !positive(&[rate_times_delay]) {
        return Value::undefined(NOT_POSITIVE);
    }
    let mean = 2.0 * rate_times_delay;
    let spread = 14.0 * mean.sqrt() + 40.0;
    let (low, high) = ((mean - spread).max(0.0) as u64, (mean + spread) as u64);
    if high - low > 4_000_000 {
        // E log₂(1 + X) ≈ log₂(1 + m) − m log₂ e/(2(1 + m)²).
        let one = 1.0 + mean;
        let bend = mean * std::f64::consts::LOG2_E / (2.0 * one * one);
        return Value::approximate(one.log2() - bend);
    }
    let sum = (low..=high).map(|k| poisson_pmf(k, mean) * (k as f64 + 1.0).log2());
    Value::exact(sum.sum())
}

/// Timed mix whose mean delay is d: the best guess succeeds with (1 − e^(−2λd))/(2λd); exact.
pub fn timed_best_guess(rate_times_delay: f64) -> Value {
    if !positive(&[rate_times_delay]) {
        return Value::undefined(NOT_POSITIVE);
    }
    let mean = 2.0 * rate_times_delay;
    Value::exact(-(-mean).exp_m1() / mean)
}

/// Threshold pool mix: it sends `new` of its `new + kept` whenever `new` have come. Entropy
/// (1 + N/n)·log₂(N + n) − (N/n)·log₂ N bits after many rounds; exact.
pub fn pool_entropy(new: u64, kept: u64) -> Value {
    if new == 0 {
        return Value::undefined(NOT_POSITIVE);
    }
    let (n, kept) = (new as f64, kept as f64);
    let old = if kept > 0.0 { kept * kept.log2() } else { 0.0 };
    Value::exact((1.0 + kept / n) * (n + kept).log2() - old / n)
}

/// Threshold pool mix: the best guess is one of the newest, 1/(N + n); exact.
pub fn pool_best_guess(new: u64, kept: u64) -> Value {
    if new == 0 {
        return Value::undefined(NOT_POSITIVE);
    }
    Value::exact(1.0 / (new as f64 + kept as f64))
}

/// Threshold pool mix: a packet stays N/n rounds longer than without a pool, on average; exact.
pub fn pool_extra_rounds(new: u64, kept: u64) -> Value {
    if new == 0 {
        return Value::undefined(NOT_POSITIVE);
    }
    Value::exact(kept as f64 / new as f64)
}

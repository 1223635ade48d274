//! How long packets take: the sum of k exponential delays of rate μ is Erlang(k, μ). Constants (links, δ) are
//! the caller's to add.

use crate::special::{LOG2_E, digamma, gamma_cdf, gamma_quantile, ln_gamma};
use crate::value::{NOT_A_SHARE, NOT_POSITIVE, Value, positive, share};

/// Mean k/μ seconds; exact.
pub fn mean(hops: u32, mu: f64) -> Value {
    if hops == 0 || !positive(&[mu]) {
        return Value::undefined(NOT_POSITIVE);
    }
    Value::exact(f64::from(hops) / mu)
}

/// Standard deviation √k/μ seconds; exact.
pub fn sd(hops: u32, mu: f64) -> Value {
    if hops == 0 || !positive(&[mu]) {
        return Value::undefined(NOT_POSITIVE);
    }
    Value::exact(f64::from(hops).sqrt() / mu)
}

/// P(latency ≤ `seconds`); exact.
pub fn cdf(hops: u32, mu: f64, seconds: f64) -> Value {
    if hops == 0 || !positive(&[mu]) {
        return Value::undefined(NOT_POSITIVE);
    }
    Value::exact(gamma_cdf(f64::from(hops), mu * seconds))
}

/// The latency that a share `q` of packets stays below, in seconds; exact.
pub fn quantile(hops: u32, mu: f64, q: f64) -> Value {
    if hops == 0 || !positive(&[mu]) {
        return Value::undefined(NOT_POSITIVE);
    }
    if !share(q) || q == 1.0 {
        return Value::undefined(NOT_A_SHARE);
    }
    Value::exact(gamma_quantile(f64::from(hops), q) / mu)
}

/// Differential entropy h(Erlang(k, μ)) in bits of a second:
/// \[k − ln μ + ln Γ(k) + (1 − k)·ψ(k)\]/ln 2; exact.
pub fn entropy(hops: u32, mu: f64) -> Value {
    if hops == 0 || !positive(&[mu]) {
        return Value::undefined(NOT_POSITIVE);
    }
    let k = f64::from(hops);
    let nats = k - mu.ln() + ln_gamma(k) + (1.0 - k) * digamma(k);
    Value::exact(nats * LOG2_E)
}

/// Mean seconds until the last of `packets` that leave together has arrived: ∫ 1 − F(t)ⁿ dt; exact up to
/// 10⁻⁶ relative.
pub fn last_of(packets: u64, hops: u32, mu: f64) -> Value {
    if packets == 0 || hops == 0 || !positive(&[mu]) {
        return Value::undefined(NOT_POSITIVE);
    }
    let (k, n) = (f64::from(hops), packets as f64);
    let end = gamma_quantile(k, 1.0 - 1e-12) + 2.0 * n.ln() + 10.0;
    let steps = 4_000;
    let width = end / f64::from(steps);
    // Simpson.
    let mut sum = 0.0;
    for i in 0..=steps {
        let weight = match i {
            0 => 1.0,
            _ if i == steps => 1.0,
            _ if i % 2 == 1 => 4.0,
            _ => 2.0,
        };
        sum += weight * (1.0 - gamma_cdf(k, width * f64::from(i)).powf(n));
    }
    Value::exact(sum * width / 3.0 / mu)
}

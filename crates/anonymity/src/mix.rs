//! One Poisson mix, whose every packet waits an exponential time of mean 1/μ, fed by Poisson arrivals
//! of rate λ; ρ = λ/μ is the mean number of packets in it.
//!
//! The observer sees every arrival and departure. The posterior of *which arrival left just now* gives
//! each of the k packets that came since the last departure 1/n, and spreads l/n over what the posterior
//! was then (n = k + l packets were in the mix). So
//! H_t = h₂(k/n) + (k/n)·log₂ k + (l/n)·H_{t−1}: linear, and E\[H\] is the solution of a linear system over
//! the number left behind, which is Poisson(ρ). (Loopix §4.1.1 has the recurrence; Danezis 2004 the dense
//! limit.) The newest packet is always the best guess.

use crate::special::{LOG2_E, poisson_pmf};
use crate::value::{NOT_POSITIVE, Value, positive};

/// Above, the expansion for large ρ has an error below 10⁻⁵ bit, and the system grows.
const CHAIN_MOST: f64 = 300.0;

/// E\[H\]: mean Shannon entropy, in bits, of the posterior of a departing packet.
///
/// Exact for ρ ≤ 300, where the system is solved; log₂(eρ) − 1/(12 ln 2·ρ²) above.
pub fn entropy(rho: f64) -> Value {
    if rho == 0.0 {
        return Value::exact(0.0);
    }
    if !positive(&[rho]) {
        return Value::undefined(NOT_POSITIVE);
    }
    if rho > CHAIN_MOST {
        let first = LOG2_E / 12.0 / (rho * rho);
        return Value::approximate(entropy_dense(rho).value - first);
    }
    let fresh = |new: f64, all: f64| {
        let share = new / all;
        let binary = -plog(share) - plog(1.0 - share);
        let among = if new > 0.0 { share * new.log2() } else { 0.0 };
        binary + among
    };
    Value::exact(solve(rho, fresh, |left, all| left / all))
}

/// log₂(eρ) bits: what [`entropy`] tends to (Danezis 2004, §3). Off by 0.01 bit at ρ = 5, by 0.42 at 0.5.
pub fn entropy_dense(rho: f64) -> Value {
    let value = rho.log2() + LOG2_E;
    match rho {
        _ if !positive(&[rho]) => Value::undefined(NOT_POSITIVE),
        _ if rho < 5.0 => Value::doubtful(value, "ρ below 5: too few packets for the dense limit"),
        _ => Value::approximate(value),
    }
}

/// E\[H_min\]: mean of −log₂ of the best guess' probability, in bits.
///
/// If anything came since the last departure, the newest has 1/n and nobody more; else it is what it was.
/// Exact for ρ ≤ 300; log₂ ρ + 3 log₂ e/(2ρ) above.
pub fn min_entropy(rho: f64) -> Value {
    if rho == 0.0 {
        return Value::exact(0.0);
    }
    if !positive(&[rho]) {
        return Value::undefined(NOT_POSITIVE);
    }
    if rho > CHAIN_MOST {
        return Value::approximate(rho.log2() + 1.5 * LOG2_E / rho);
    }
    let fresh = |new: f64, all: f64| if new > 0.0 { all.log2() } else { 0.0 };
    let carried = |left: f64, all: f64| if left < all { 0.0 } else { 1.0 };
    Value::exact(solve(rho, fresh, carried))
}

/// Probability that the best single guess names the right arrival: exactly 1/(1 + ρ).
pub fn best_guess(rho: f64) -> Value {
    if !(rho.is_finite() && rho >= 0.0) {
        return Value::undefined(NOT_POSITIVE);
    }
    Value::exact(1.0 / (1.0 + rho))
}

/// Probability that the next departure is one given packet of the pool, on average over pools with a
/// packet in them: (1 − e^−ρ)/ρ.
pub fn given_packet_next(rho: f64) -> Value {
    if !positive(&[rho]) {
        return Value::undefined(NOT_POSITIVE);
    }
    Value::exact(-(-rho).exp_m1() / rho)
}

/// Posterior of one packet (Loopix, theorems 1 and 2, with the lines of theorem 2 in the order of its
/// appendix). `before` packets were in the mix after the last departure but one, of which `left` remain, and
/// `new` came since; the mix itself sends loops at `loops` times μ. Returns (an older packet, a newer one).
pub fn loopix_posterior(before: u64, left: u64, new: u64, loops: f64) -> (f64, f64) {
    let (n, k, l) = (before as f64, left as f64, new as f64);
    let real = (k + l) / (k + l + loops);
    (k / (n * (k + l)) * real, real / (k + l))
}

fn plog(p: f64) -> f64 {
    if p > 0.0 { p * p.log2() } else { 0.0 }
}

/// Stationary mean of X_t = fresh(k, n) + carried(l, n)·X_{t−1} over departures.
///
/// With g(i) = E\[X | i left behind\] and n = i + 1: g(i) = Σ_l q(i, l)·(fresh(n − l, n) + carried(l, n)·g(l)),
/// where q(i, n) = ρ/(ρ + n) and q(i, l − 1) = q(i, l)·l/(ρ + l − 1) by reversing the chain. Only g(i + 1)
/// stands above the diagonal, so eliminating from the top leaves a triangle; the matrix is an M-matrix,
/// no pivots are needed.
fn solve(rho: f64, fresh: impl Fn(f64, f64) -> f64, carried: impl Fn(f64, f64) -> f64) -> f64 {
    let spread = 12.0 * rho.sqrt() + 30.0;
    let low = (rho - spread).floor().max(0.0);
    let size = (rho + spread - low).ceil() as usize;
    // Of the row above, after elimination: coefficients of g(0..=its index), its constant.
    let mut above: Option<(Vec<f64>, f64)> = None;
    let mut rows = Vec::with_capacity(size);
    for i in (0..size).rev() {
        let n = low + i as f64 + 1.0;
        let mut row = vec![0.0; i + 1];
        let mut constant = 0.0;
        let (mut q, mut l) = (rho / (rho + n), n);
        let mut over = 0.0;
        while l >= 0.0 && q > 1e-20 {
            constant += q * fresh(n - l, n);
            let weight = q * carried(l, n);
            // What lies below the window, or above it, counts as its edge.
            if l == n && above.is_some() {
                over = weight;
            } else {
                row[((l - low).max(0.0) as usize).min(i)] += weight;
            }
            q *= l / (rho + l - 1.0);
            l -= 1.0;
        }
        if let Some((upper, upper_constant)) = above.take() {
            // g(i + 1) = (constant + Σ_{j ≤ i} upper_j g(j)) / (1 − upper_{i+1}).
            let scale = over / (1.0 - upper[i + 1]);
            for (mine, theirs) in row.iter_mut().zip(&upper) {
                *mine += scale * theirs;
            }
            constant += scale * upper_constant;
            rows.push((upper, upper_constant));
        }
        above = Some((row, constant));
    }
    rows.extend(above);
    let mut g: Vec<f64> = Vec::with_capacity(size);
    let (mut mean, mut mass) = (0.0, 0.0);
    for (i, (row, constant)) in rows.iter().rev().enumerate() {
        let sum: f64 = row.iter().zip(&g).map(|(a, b)| a * b).sum();
        let value = (constant + sum) / (1.0 - row[i]);
        g.push(value);
        let weight = poisson_pmf(low as u64 + i as u64, rho);
        mean += weight * value;
        mass += weight;
    }
    mean / mass
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_pools_join_the_chain() {
        let spread = |f: fn(f64) -> Value| (f(300.0).value, f(300.000_001).value);
        let (chain, expansion) = spread(entropy);
        assert!((chain - expansion).abs() < 1e-5, "{chain} {expansion}");
        let (chain, expansion) = spread(min_entropy);
        assert!((chain - expansion).abs() < 1e-4, "{chain} {expansion}");
    }

    #[test]
    fn an_empty_network_hides_nothing() {
        assert_eq!(entropy(0.0).value, 0.0);
        assert_eq!(best_guess(0.0).value, 1.0);
        assert!(entropy(-1.0).value.is_nan() && entropy(f64::NAN).value.is_nan());
    }
}

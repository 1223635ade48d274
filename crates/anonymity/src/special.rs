//! Special functions, from `statrs`: the one file that names it.
//!
//! Arguments are the caller's business here: nonsense gives NaN, never a panic.

use statrs::function::{beta, erf, gamma};

/// log₂ e.
pub const LOG2_E: f64 = std::f64::consts::LOG2_E;

/// ln Γ(x), x > 0.
pub fn ln_gamma(x: f64) -> f64 {
    gamma::ln_gamma(x)
}

/// ψ(x), x > 0.
pub fn digamma(x: f64) -> f64 {
    gamma::digamma(x)
}

/// P(Γ(shape, 1) ≤ x).
pub fn gamma_cdf(shape: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x.is_infinite() {
        return 1.0;
    }
    gamma::checked_gamma_lr(shape, x).unwrap_or(f64::NAN)
}

/// The x with P(Γ(shape, 1) ≤ x) = p, by bisection.
pub fn gamma_quantile(shape: f64, p: f64) -> f64 {
    if !(p > 0.0 && p < 1.0 && shape > 0.0 && shape.is_finite()) {
        return if p == 0.0 { 0.0 } else { f64::NAN };
    }
    let mut high = shape + 10.0 * shape.sqrt() + 10.0;
    while gamma_cdf(shape, high) < p {
        high *= 2.0;
    }
    bisect(0.0, high, |x| gamma_cdf(shape, x) < p)
}

/// P(Poisson(mean) = k).
pub fn poisson_pmf(k: u64, mean: f64) -> f64 {
    if mean == 0.0 {
        return if k == 0 { 1.0 } else { 0.0 };
    }
    let k = k as f64;
    (k * mean.ln() - mean - ln_gamma(k + 1.0)).exp()
}

/// P(Poisson(mean) ≤ k).
pub fn poisson_cdf(k: u64, mean: f64) -> f64 {
    1.0 - gamma_cdf(k as f64 + 1.0, mean)
}

/// P(N(0, 1) ≤ x).
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * erf::erfc(-x / std::f64::consts::SQRT_2)
}

/// The x with P(N(0, 1) ≤ x) = p.
pub fn normal_quantile(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    -std::f64::consts::SQRT_2 * erf::erfc_inv(2.0 * p)
}

/// P(Beta(a, b) ≤ x).
pub fn beta_cdf(a: f64, b: f64, x: f64) -> f64 {
    beta::checked_beta_reg(a, b, x.clamp(0.0, 1.0)).unwrap_or(f64::NAN)
}

/// The x with P(Beta(a, b) ≤ x) = p, by bisection.
pub fn beta_quantile(a: f64, b: f64, p: f64) -> f64 {
    if !(a > 0.0 && b > 0.0 && (0.0..=1.0).contains(&p)) {
        return f64::NAN;
    }
    bisect(0.0, 1.0, |x| beta_cdf(a, b, x) < p)
}

/// The x with P(Student's t with `freedom` degrees ≤ x) = p, for p ≥ 1/2.
pub fn student_quantile(freedom: f64, p: f64) -> f64 {
    let x = beta_quantile(freedom / 2.0, 0.5, 2.0 * (1.0 - p));
    (freedom * (1.0 / x - 1.0)).sqrt()
}

fn bisect(mut low: f64, mut high: f64, below: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_tables() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-6 * b.abs().max(1.0), "{a} {b}");
        close(normal_quantile(0.975), 1.959_963_985);
        close(normal_quantile(0.999), 3.090_232_306);
        close(normal_cdf(-1.0), 0.158_655_254);
        close(gamma_quantile(3.0, 0.99), 8.405_947_4);
        close(student_quantile(4.0, 0.975), 2.776_445_105);
        close(student_quantile(1.0, 0.975), 12.706_204_7);
        close(beta_quantile(2.0, 3.0, 0.5), 0.385_727_568);
        close(poisson_cdf(0, 10.0), (-10.0f64).exp());
        close((0..200).map(|k| poisson_pmf(k, 40.0)).sum(), 1.0);
        close(digamma(3.0), 1.5 - 0.577_215_664_9);
    }

    #[test]
    fn nonsense_gives_nan() {
        assert!(gamma_quantile(-1.0, 0.5).is_nan());
        assert!(beta_quantile(0.0, 1.0, 0.5).is_nan());
        assert!(normal_quantile(2.0).is_nan());
    }
}

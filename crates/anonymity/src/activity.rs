//! Telling that somebody uses the network, from the number of packets on their link, when cover is *added* to
//! what they write. (Where cover is replaced by what they write, the answer is 0.)

use crate::special::{normal_cdf, poisson_pmf};
use crate::value::{NOT_POSITIVE, Value, not_negative};

/// Advantage (2·accuracy − 1, the total variation distance) of the best rule that sees `seconds` of a link
/// which carries `cover` packets a second, and `real` more if its owner is active; 0 … 1.
///
/// Exact: ½Σ|Poisson(aT) − Poisson((a + r)T)|. The count is sufficient, as both are Poisson processes. With
/// more than 10⁷ packets by the normal law.
pub fn advantage(cover: f64, real: f64, seconds: f64) -> Value {
    if !not_negative(&[cover, real, seconds]) {
        return Value::undefined(NOT_POSITIVE);
    }
    let (idle, active) = (cover * seconds, (cover + real) * seconds);
    if !active.is_finite() {
        return Value::undefined(NOT_POSITIVE);
    }
    if active > 1e7 {
        let distance = (active - idle) / (2.0 * active.sqrt());
        return Value::approximate(2.0 * normal_cdf(distance) - 1.0);
    }
    // The active one is likelier above one threshold, so the distance is that of the lower tails.
    let spread = |mean: f64| 14.0 * f64::sqrt(mean) + 40.0;
    let low = (idle - spread(idle)).max(0.0) as u64;
    let high = (active + spread(active)) as u64;
    let sum = (low..=high).map(|k| (poisson_pmf(k, idle) - poisson_pmf(k, active)).abs());
    Value::exact((0.5 * sum.sum::<f64>()).min(1.0))
}

/// Count above which the better guess is *active*: r·T/ln(1 + r/a).
pub fn threshold(cover: f64, real: f64, seconds: f64) -> f64 {
    if cover == 0.0 {
        0.0
    } else {
        real * seconds / (real / cover).ln_1p()
    }
}

//! n−1 attacks and loops as alarm: to watch one packet alone in a mix, the adversary keeps everybody else's
//! out until the mix is empty but for a remainder; loops that the mix sends to itself go missing meanwhile.

use crate::special::{gamma_quantile, poisson_cdf};
use crate::value::{NOT_A_SHARE, NOT_POSITIVE, Value, not_negative, positive, share};

/// Seconds for which a mix of mean pool ρ must be blocked until `left` others are in it on average:
/// ln(ρ/left)/μ; exact, 0 if there are no more to begin with.
pub fn blocking_time(rho: f64, left: f64, mu: f64) -> Value {
    if !positive(&[rho, left, mu]) {
        return Value::undefined(NOT_POSITIVE);
    }
    Value::exact((rho / left).ln().max(0.0) / mu)
}

/// Probability that at least one own loop is missed in `seconds` of blocking: 1 − e^(−λM·T); exact when every
/// missing loop is noticed and none is lost otherwise. `loops` counts those whose return crosses the mix.
pub fn detection(loops: f64, seconds: f64) -> Value {
    if !not_negative(&[loops, seconds]) {
        return Value::undefined(NOT_POSITIVE);
    }
    Value::exact(-(-loops * seconds).exp_m1())
}

/// Loopix §4.2.1: probability that the target is alone when a fraction of 1/s of other traffic (λR) is let
/// through: sμ/(sλM + λR).
///
/// Capped at 1. Approximate: it counts the mix's loops and the rest that is let through as a race.
pub fn isolation(s: f64, mu: f64, loops: f64, rest: f64) -> Value {
    if !positive(&[s, mu]) || !positive(&[s * loops + rest]) || !not_negative(&[loops, rest]) {
        return Value::undefined(NOT_POSITIVE);
    }
    Value::approximate((s * mu / (s * loops + rest)).min(1.0))
}

/// When to raise the alarm, if `expected` loops should come back in a window and a share `loss` is lost anyway.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LoopAlarm {
    /// The alarm is raised when fewer than this came back.
    pub threshold: u64,
    /// Probability of an alarm without an attack.
    pub false_alarm: f64,
    /// Loops that come back on average.
    pub returning: f64,
}

impl LoopAlarm {
    /// The highest threshold whose false alarms are at most `false_alarm` in a window (lower tail of a Poisson
    /// distribution; exact, as loops are sent by a Poisson clock). A threshold of 0 never alarms.
    pub fn new(expected: f64, loss: f64, false_alarm: f64) -> Option<Self> {
        if !(positive(&[expected]) && share(loss) && share(false_alarm) && false_alarm < 1.0) {
            return None;
        }
        let returning = expected * (1.0 - loss);
        let mut threshold = 0;
        // P(fewer than t) = P(at most t − 1) grows with t.
        while poisson_cdf(threshold, returning) <= false_alarm {
            threshold += 1;
        }
        let false_alarm = match threshold {
            0 => 0.0,
            t => poisson_cdf(t - 1, returning),
        };
        Some(Self {
            threshold,
            false_alarm,
            returning,
        })
    }

    /// Probability of the alarm when a share `block` of the loops that would have come back does not; exact.
    pub fn detection(&self, block: f64) -> Value {
        if !share(block) {
            return Value::undefined(NOT_A_SHARE);
        }
        Value::exact(match self.threshold {
            0 => 0.0,
            t => poisson_cdf(t - 1, self.returning * (1.0 - block)),
        })
    }
}

/// Seconds until loops at rate λ notice that a share `dropped` of them is lost, with certainty 1 − `miss`:
/// ln(1/miss)/(λ·q); exact when one lost loop is enough.
pub fn time_to_notice(loops: f64, dropped: f64, miss: f64) -> Value {
    if !positive(&[loops, dropped, miss]) || dropped > 1.0 || miss > 1.0 {
        return Value::undefined(NOT_POSITIVE);
    }
    Value::exact(-miss.ln() / (loops * dropped))
}

/// Seconds in which `in_a_row` loops at rate λ have been sent, with certainty 1 − `miss`: how long everything must be
/// dropped until so many in a row are lost. Exact: the quantile of a Γ distribution over λ.
pub fn time_to_lose(in_a_row: u32, loops: f64, miss: f64) -> Value {
    if in_a_row == 0 || !positive(&[loops, miss]) || miss >= 1.0 {
        return Value::undefined(NOT_POSITIVE);
    }
    Value::exact(gamma_quantile(f64::from(in_a_row), 1.0 - miss) / loops)
}

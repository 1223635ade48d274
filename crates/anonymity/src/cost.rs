//! What it costs: load of mixes, bandwidth of clients, and the wait at a send clock.

use crate::value::{NOT_POSITIVE, Value, not_negative, positive};

/// Seconds in a day.
pub const DAY: f64 = 86_400.0;

/// Packets a second through each mix: (entering packets)/W, plus what the nodes' own loops bring.
///
/// `entering` counts every packet that enters the first layer, `loops` every loop of a node that crosses a
/// layer, both a second and over the whole network; exact for a uniform choice of mixes.
pub fn mix_load(entering: f64, loops: f64, width: u32) -> Value {
    if width == 0 || !not_negative(&[entering, loops]) {
        return Value::undefined(NOT_POSITIVE);
    }
    Value::exact((entering + loops) / f64::from(width))
}

/// Bytes a second of a constant stream of `rate` packets of `bytes`; exact.
pub fn bandwidth(rate: f64, bytes: f64) -> Value {
    if !not_negative(&[rate, bytes]) {
        return Value::undefined(NOT_POSITIVE);
    }
    Value::exact(rate * bytes)
}

/// Packets sent for each that carries something: λ/r; exact.
pub fn overhead(sent: f64, real: f64) -> Value {
    if !positive(&[sent, real]) {
        return Value::undefined(NOT_POSITIVE);
    }
    Value::exact(sent / real)
}

/// Mean seconds from being written to being sent, for a first-in-first-out queue fed by Poisson(r) and drained
/// by a Poisson clock of rate λP: M/M/1, 1/(λP − r); exact for Poisson arrivals.
///
/// Real people are burstier: with a clock of mean 30 s a chat trace waits 37 s and office mail 95 s where the
/// formula says 30 s.
pub fn clock_wait(clock: f64, real: f64) -> Value {
    if !(positive(&[clock]) && real >= 0.0 && real.is_finite()) {
        return Value::undefined(NOT_POSITIVE);
    }
    if real >= clock {
        return Value::limit(f64::INFINITY, "more is written than the clock sends");
    }
    Value::exact(1.0 / (clock - real))
}

/// The wait that a share `q` stays below: −ln(1 − q)/(λP − r) seconds; exact for Poisson arrivals.
pub fn clock_wait_quantile(clock: f64, real: f64, q: f64) -> Value {
    if !(0.0..1.0).contains(&q) {
        return Value::undefined(crate::value::NOT_A_SHARE);
    }
    clock_wait(clock, real).map(|mean| -mean * (-q).ln_1p())
}

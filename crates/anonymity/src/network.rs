//! L layers of W Poisson mixes each, free choice of one mix in each layer, Poisson traffic of Λ packets a
//! second in all; the mean delay of a hop is m = 1/μ. What is hidden: which output is the target's, before an
//! observer of all links (entropy over *messages*, in bits).
//!
//! In dense traffic an input's mass spreads over the outputs as its delay does: H = log₂ Λ + h(Erlang(L, m))
//! for L ≥ 2, and what one mix gives for L = 1. It hits the published points of Ben Guirat and Diaz (PETS
//! 2022, fig. 7) within 0.03 bit. Where few packets pass a link in a delay, the mass is uneven and the
//! formula promises too much.

use crate::latency;
use crate::mix;
use crate::special::{LOG2_E, ln_gamma};
use crate::value::{NOT_A_SHARE, NOT_POSITIVE, Validity, Value, positive, share};

const SPARSE: &str = "few packets on each link during a delay (W²/(Λm) above 0.1, or 0.3 from three layers on): the true value is lower";
const FEW_LAYERS: &str = "needs a layer and a mix in it";

/// The numbers that decide.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Layers {
    /// Λ: packets a second that enter the network, cover included.
    pub rate: f64,
    /// W: mixes in each layer.
    pub width: u32,
    /// L: layers.
    pub layers: u32,
    /// m = 1/μ: mean delay of one hop, in seconds.
    pub mean_hop: f64,
}

impl Layers {
    /// W²/(Λm): relative variance of the mass in a mix of the second layer.
    pub fn sparseness(&self) -> f64 {
        f64::from(self.width).powi(2) / (self.rate * self.mean_hop)
    }

    /// ρ: mean number of packets in one mix, Λm/W.
    pub fn pool(&self) -> f64 {
        self.rate * self.mean_hop / f64::from(self.width)
    }

    fn sound(&self) -> Option<&'static str> {
        if self.layers == 0 || self.width == 0 {
            Some(FEW_LAYERS)
        } else if !positive(&[self.rate, self.mean_hop]) {
            Some(NOT_POSITIVE)
        } else {
            None
        }
    }

    fn validity(&self) -> Validity {
        let most = if self.layers == 2 { 0.1 } else { 0.3 };
        if self.layers > 1 && self.width > 1 && self.sparseness() > most {
            Validity::Doubtful(SPARSE)
        } else if self.pool() < 5.0 {
            Validity::Doubtful("ρ below 5 in a mix: too few packets for the dense limit")
        } else {
            Validity::Approximate
        }
    }

    /// Dense entropy over `span` honest layers in a row.
    fn dense(&self, span: u32) -> f64 {
        if span == 1 {
            // One mix sees 1/W of the traffic.
            mix::entropy(self.pool()).value
        } else {
            let shape = latency::entropy(span, 1.0 / self.mean_hop).value;
            let uneven = if span == 2 && self.width > 1 {
                (0.5 * LOG2_E * self.sparseness()).min(1.0)
            } else {
                0.0
            };
            (self.rate.log2() + shape - uneven).max(0.0)
        }
    }
}

/// E\[H\] over messages with honest mixes, in bits.
///
/// L = 1: one mix at Λ/W. L ≥ 2: log₂ Λ + h(Erlang(L, m)), less (log₂ e/2)·W²/(Λm) for L = 2 (some 1/W of
/// that for more layers, which is left out). Holds within 0.05 bit for W²/(Λm) ≤ 0.1,
/// or 0.3 from three layers on.
pub fn entropy(layers: &Layers) -> Value {
    corrupt_entropy(layers, 0.0)
}

/// E\[H\] when a share `corrupt` of each layer's mixes tells the observer everything, in bits.
///
/// With f the first honest layer on the target's path (probability b^(f−1)·(1 − b)) and outputs grouped by
/// their own last honest layer g: E\[H | f\] = q_f·(log₂(Λ/W) + log₂(em)) + Σ_{g>f} q_g·(log₂ Λ +
/// h(Erlang(g − f + 1, m))), q_f = b^(L−f), q_g = (1 − b)·b^(L−g). No honest layer: 0. The distribution has
/// several modes: see [`exposed`] beside it.
pub fn corrupt_entropy(layers: &Layers, corrupt: f64) -> Value {
    if let Some(reason) = layers.sound() {
        return Value::undefined(reason);
    }
    if !share(corrupt) {
        return Value::undefined(NOT_A_SHARE);
    }
    let (b, last) = (corrupt, layers.layers);
    let mut mean = 0.0;
    for first in 1..=last {
        let mut given = b.powi((last - first) as i32) * layers.dense(1);
        for own in first + 1..=last {
            let group = (1.0 - b) * b.powi((last - own) as i32);
            given += group * layers.dense(own - first + 1);
        }
        mean += b.powi(first as i32 - 1) * (1.0 - b) * given;
    }
    Value {
        value: mean,
        validity: layers.validity(),
    }
}

/// P(H = 0): every mix of the path is corrupt, b^L; exact.
pub fn exposed(layers: u32, corrupt: f64) -> Value {
    if !share(corrupt) {
        return Value::undefined(NOT_A_SHARE);
    }
    Value::exact(corrupt.powi(layers.min(i32::MAX as u32) as i32))
}

/// −log₂ of the largest posterior in dense traffic, in bits: log₂(Λm/f*), where
/// f* = ((L − 1)/e)^(L−1)/(L − 1)! is the mode of Erlang(L, 1); for L = 1 what one mix gives.
///
/// Doubtful where [`entropy`] is; simulated values lie up to 0.1 bit below.
pub fn min_entropy(layers: &Layers) -> Value {
    if let Some(reason) = layers.sound() {
        return Value::undefined(reason);
    }
    let value = if layers.layers == 1 {
        mix::min_entropy(layers.pool()).value
    } else {
        let k = f64::from(layers.layers) - 1.0;
        let mode = (k * (k.ln() - 1.0) - ln_gamma(k + 1.0)).exp();
        (layers.rate * layers.mean_hop / mode).log2()
    };
    Value {
        value: value.max(0.0),
        validity: layers.validity(),
    }
}

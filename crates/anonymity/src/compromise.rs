//! Paths of corrupt mixes only. Cover counts as messages for the *route*, not for the *content*: only payload
//! paths give a pair away.

use crate::value::{NOT_A_SHARE, NOT_POSITIVE, Value, share};

/// Probability that a path is fully corrupt when a share b of each layer is: b^L; exact for choices of mixes
/// that are uniform or as much weighted as the corruption.
pub fn path(corrupt: f64, layers: u32) -> Value {
    crate::network::exposed(layers, corrupt)
}

/// The same when `corrupt` of `mixes` mixes are chosen at random over all layers: Π_{i<L} (B − i)/(N − i); exact.
///
/// (Ben Guirat and Diaz' fig. 3 is 34/33 too high at L = 3, where 100 mixes do not divide by three.)
pub fn path_random(mixes: u64, corrupt: u64, layers: u32) -> Value {
    if corrupt > mixes || u64::from(layers) > mixes {
        return Value::undefined("more corrupt mixes, or layers, than mixes");
    }
    let factor = |i: u32| {
        let i = f64::from(i);
        ((corrupt as f64 - i) / (mixes as f64 - i)).max(0.0)
    };
    Value::exact((0..layers).map(factor).product())
}

/// Messages until a share `q` of all users has sent one over a fully corrupt path of probability `path` each:
/// ln(1 − q)/ln(1 − path); exact (geometric).
pub fn messages_until(q: f64, path: f64) -> Value {
    if !share(q) || q == 1.0 || !share(path) {
        return Value::undefined(NOT_A_SHARE);
    }
    if path == 0.0 {
        return Value::limit(f64::INFINITY, "no path is corrupt");
    }
    if path == 1.0 {
        return Value::exact(1.0);
    }
    Value::exact((-q).ln_1p() / (-path).ln_1p())
}

/// Share of users compromised after so many messages: 1 − (1 − path)ⁿ; exact.
pub fn compromised_after(messages: f64, path: f64) -> Value {
    if !share(path) {
        return Value::undefined(NOT_A_SHARE);
    }
    if messages.is_nan() || messages < 0.0 {
        return Value::undefined(NOT_POSITIVE);
    }
    Value::exact(-(messages * (-path).ln_1p()).exp_m1())
}

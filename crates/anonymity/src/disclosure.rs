//! Long-term attacks: statistical disclosure (Danezis 2003), its least-squares form (Pérez-González and
//! Troncoso), and intersection of who was online.

use crate::value::{NOT_A_SHARE, NOT_POSITIVE, Value, not_negative, positive, share};

/// A population under statistical disclosure.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Disclosure {
    /// N: recipients.
    pub recipients: f64,
    /// b: messages in a round, one of them the target's.
    pub batch: f64,
    /// m: friends of the target, all equally dear.
    pub friends: f64,
}

/// Rounds until friends stand `l` standard deviations apart from others:
/// \[m·l·(√((b−1)(N−1)/N²) + √((m−1)/m² + (b−1)(N−1)/N²))\]².
///
/// Danezis 2003, eq. 4. Approximate: l = 2 finds some 0.8 to 0.9 of the friends, l = 3 more than 0.98.
pub fn rounds(d: &Disclosure, l: f64) -> Value {
    if !positive(&[d.recipients, d.batch, d.friends, l]) {
        return Value::undefined(NOT_POSITIVE);
    }
    if d.friends < 1.0 || d.batch < 1.0 || d.friends > d.recipients {
        return Value::undefined(
            "needs a friend, a message in a round, and no more friends than recipients",
        );
    }
    let n = d.recipients;
    let noise = (d.batch - 1.0) * (n - 1.0) / (n * n);
    let signal = (d.friends - 1.0) / (d.friends * d.friends);
    let root = d.friends * l * (noise.sqrt() + (signal + noise).sqrt());
    Value::approximate(root * root)
}

/// Mean squared error of one entry P_ij of a least-squares profile after `rounds` batches of `batch` messages:
/// (1/R)·(1/f_i − 1 + 1/t)·Σ_k f_k·P_kj·(1 − P_kj).
///
/// `sender_share` is f_i, the share of messages that i sends; `variance` is the sum. Approximate: the inverse
/// of the observed traffic is taken as that of its mean; 1 to 2 % low from some thousand rounds on, and far too
/// low with fewer rounds than 20 per sender (the caller knows the number of senders).
pub fn least_squares_error(rounds: f64, batch: f64, sender_share: f64, variance: f64) -> Value {
    if !positive(&[rounds, batch, sender_share]) || sender_share > 1.0 || variance.is_nan() {
        return Value::undefined(NOT_POSITIVE);
    }
    Value::approximate((1.0 / sender_share - 1.0 + 1.0 / batch) / rounds * variance)
}

/// Σ_k f_k·P_kj·(1 − P_kj), on average over j, for `users` equal senders that each write to one recipient out
/// of `recipients` with the probabilities of `squares` = Σ_j P_kj²: (1 − squares)/recipients.
pub fn profile_variance(squares: f64, recipients: f64) -> f64 {
    (1.0 - squares) / recipients
}

/// Others who were online in each of `epochs` epochs, of `users` who are online with probability `online`
/// independently: (N − 1)·p^t; exact.
pub fn intersection_left(users: f64, online: f64, epochs: f64) -> Value {
    if users.is_nan() || users < 1.0 || !not_negative(&[epochs]) || !share(online) {
        return Value::undefined(NOT_A_SHARE);
    }
    Value::exact((users - 1.0) * online.powf(epochs))
}

/// Epochs until one other is left on average: ln(N − 1)/ln(1/p); exact.
pub fn intersection_epochs(users: f64, online: f64) -> Value {
    if !positive(&[users, online]) || users < 2.0 || !share(online) {
        return Value::undefined(NOT_A_SHARE);
    }
    if online == 1.0 {
        return Value::limit(
            f64::INFINITY,
            "everybody is always online: nothing to intersect",
        );
    }
    Value::exact((users - 1.0).ln() / -online.ln())
}

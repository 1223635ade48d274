//! Entropies of posteriors, in bits.

use std::collections::BTreeMap;

/// Shannon entropy of weights that need not sum to one.
pub fn shannon(weights: impl Iterator<Item = f64> + Clone) -> f64 {
    let total: f64 = weights.clone().sum();
    if total <= 0.0 {
        return 0.0;
    }
    let bits = |w: f64| {
        if w > 0.0 {
            -w / total * (w / total).log2()
        } else {
            0.0
        }
    };
    weights.map(bits).sum::<f64>().max(0.0)
}

/// Probability of the likeliest.
pub fn best_guess(weights: impl Iterator<Item = f64> + Clone) -> f64 {
    let total: f64 = weights.clone().sum();
    let most = weights.fold(0.0, f64::max);
    if total > 0.0 { most / total } else { 0.0 }
}

/// −log2 of the likeliest's probability.
pub fn min_entropy(weights: impl Iterator<Item = f64> + Clone) -> f64 {
    -best_guess(weights).log2()
}

/// All that is said of one target's posterior.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Posterior {
    /// H over messages.
    pub messages: f64,
    /// Hmin over messages.
    pub messages_min: f64,
    /// V over messages.
    pub messages_best: f64,
    /// H over users.
    pub users: f64,
    /// Hmin over users.
    pub users_min: f64,
    /// V over users.
    pub users_best: f64,
}

impl Posterior {
    /// Of weights by message, each with its user.
    pub fn of(weights: &[(f64, usize)]) -> Self {
        let messages = weights.iter().map(|w| w.0);
        let mut by_user: BTreeMap<usize, f64> = BTreeMap::new();
        for (weight, user) in weights {
            *by_user.entry(*user).or_default() += weight;
        }
        let users = by_user.values().copied();
        Self {
            messages: shannon(messages.clone()),
            messages_min: min_entropy(messages.clone()),
            messages_best: best_guess(messages),
            users: shannon(users.clone()),
            users_min: min_entropy(users.clone()),
            users_best: best_guess(users),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_one_user_are_one_candidate() {
        let weights = [(0.25, 7), (0.25, 7), (0.25, 8), (0.25, 8)];
        let p = Posterior::of(&weights);
        assert!((p.messages - 2.0).abs() < 1e-12 && (p.users - 1.0).abs() < 1e-12);
        assert!((p.messages_best - 0.25).abs() < 1e-12 && (p.users_best - 0.5).abs() < 1e-12);
        assert!((p.users_min - 1.0).abs() < 1e-12);
    }

    #[test]
    fn one_candidate_is_no_entropy_and_weights_need_not_sum_to_one() {
        assert_eq!(shannon([3.0].into_iter()), 0.0);
        assert!((shannon([2.0, 2.0].into_iter()) - 1.0).abs() < 1e-12);
        assert_eq!(shannon([].into_iter()), 0.0);
    }
}

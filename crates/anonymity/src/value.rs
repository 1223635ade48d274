//! A number and how far it can be trusted.

use std::fmt;

/// How far a closed form can be trusted for the numbers it was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Validity {
    /// The model's exact value.
    Exact,
    /// An approximation, inside of the range where its error is known to be small.
    Approximate,
    /// Outside of that range; the reason.
    Doubtful(&'static str),
    /// No such thing for these numbers; the value is NaN or a limit. The reason.
    Undefined(&'static str),
}

impl Validity {
    /// The less trustworthy of the two; the first of two that are alike.
    pub fn and(self, other: Self) -> Self {
        if other.rank() > self.rank() {
            other
        } else {
            self
        }
    }

    /// Whether a decision may rest on it.
    pub fn holds(self) -> bool {
        matches!(self, Self::Exact | Self::Approximate)
    }

    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Approximate => "approximate",
            Self::Doubtful(_) => "doubtful",
            Self::Undefined(_) => "undefined",
        }
    }

    /// Why not, if not.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Exact | Self::Approximate => None,
            Self::Doubtful(reason) | Self::Undefined(reason) => Some(reason),
        }
    }

    fn rank(self) -> u8 {
        match self {
            Self::Exact => 0,
            Self::Approximate => 1,
            Self::Doubtful(_) => 2,
            Self::Undefined(_) => 3,
        }
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason() {
            None => f.write_str(self.as_str()),
            Some(reason) => write!(f, "{}: {reason}", self.as_str()),
        }
    }
}

/// A number and how far it can be trusted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Value {
    /// The number, in the unit that the function says.
    pub value: f64,
    /// How far it can be trusted.
    pub validity: Validity,
}

impl Value {
    /// The model's exact value.
    pub fn exact(value: f64) -> Self {
        Self {
            value,
            validity: Validity::Exact,
        }
    }

    /// An approximation where it is good.
    pub fn approximate(value: f64) -> Self {
        Self {
            value,
            validity: Validity::Approximate,
        }
    }

    /// An approximation where it is not good.
    pub fn doubtful(value: f64, reason: &'static str) -> Self {
        Self {
            value,
            validity: Validity::Doubtful(reason),
        }
    }

    /// No such thing.
    pub fn undefined(reason: &'static str) -> Self {
        Self {
            value: f64::NAN,
            validity: Validity::Undefined(reason),
        }
    }

    /// A limit, where the formula itself has no value.
    pub fn limit(value: f64, reason: &'static str) -> Self {
        Self {
            value,
            validity: Validity::Undefined(reason),
        }
    }

    /// The same trust, another number.
    pub fn map(self, f: impl FnOnce(f64) -> f64) -> Self {
        Self {
            value: f(self.value),
            validity: self.validity,
        }
    }
}

/// Whether all are numbers above zero.
pub(crate) fn positive(numbers: &[f64]) -> bool {
    numbers.iter().all(|&x| x.is_finite() && x > 0.0)
}

/// Whether all are numbers, and none is below zero.
pub(crate) fn not_negative(numbers: &[f64]) -> bool {
    numbers.iter().all(|&x| x >= 0.0)
}

/// Whether `x` is a probability.
pub(crate) fn share(x: f64) -> bool {
    (0.0..=1.0).contains(&x)
}

pub(crate) const NOT_POSITIVE: &str = "needs numbers above zero";
pub(crate) const NOT_A_SHARE: &str = "needs a share between 0 and 1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_less_trustworthy_wins() {
        let (a, d) = (Validity::Approximate, Validity::Doubtful("x"));
        assert_eq!(Validity::Exact.and(a), a);
        assert_eq!(d.and(a), d);
        assert!(!d.holds() && a.holds());
        assert_eq!(d.to_string(), "doubtful: x");
    }
}

//! Numbers with units, as scenario files hold them: `"50ms"`, `"1/30s"`, `"0.1/s"`.

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A time in seconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Seconds(pub f64);

/// A rate per second.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PerSecond(pub f64);

const UNITS: [(&str, f64); 8] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("ms", 1e-3),
    ("min", 60.0),
    ("s", 1.0),
    ("h", 3600.0),
    ("d", 86_400.0),
    ("week", 604_800.0),
];

/// Reads a time.
pub fn seconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    let number: f64 = digits.trim_end().parse().ok()?;
    let seconds = number * factor;
    (seconds.is_finite() && seconds >= 0.0).then_some(seconds)
}

/// Reads a rate: a number, a slash, and a time whose number may be left out.
pub fn per_second(text: &str) -> Option<f64> {
    let (count, time) = text.split_once('/')?;
    let time = time.trim();
    let named = time.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let time = if named {
        seconds(time)?
    } else {
        seconds(&format!("1{time}"))?
    };
    let count: f64 = count.trim().parse().ok()?;
    let rate = count / time;
    (rate.is_finite() && rate >= 0.0).then_some(rate)
}

struct Text {
    read: fn(&str) -> Option<f64>,
    wanted: &'static str,
}

impl Visitor<'_> for Text {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.wanted)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<f64, E> {
        (self.read)(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = "a time with its unit, in quotes, like \"50ms\", \"2s\" or \"10min\"";
        let text = Text {
            read: seconds,
            wanted,
        };
        deserializer.deserialize_str(text).map(Self)
    }
}

impl<'de> Deserialize<'de> for PerSecond {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = "a rate with its unit, in quotes, like \"0.5/s\", \"1/30s\" or \"2/h\"";
        let text = Text {
            read: per_second,
            wanted,
        };
        deserializer.deserialize_str(text).map(Self)
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}s", self.0))
    }
}

impl Serialize for PerSecond {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}/s", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_needed() {
        for (text, value) in [
            ("50ms", 0.05),
            ("2s", 2.0),
            ("1.5 min", 90.0),
            ("1h", 3600.0),
            ("20us", 2e-5),
        ] {
            assert!((seconds(text).unwrap() - value).abs() < 1e-12, "{text}");
        }
        for (text, value) in [("1/30s", 1.0 / 30.0), ("0.1/s", 0.1), ("2/h", 2.0 / 3600.0)] {
            assert!((per_second(text).unwrap() - value).abs() < 1e-12, "{text}");
        }
        for text in ["50", "s", "-1s", "1e400s", "5 parsecs", "", "1/s"] {
            assert_eq!(seconds(text), None, "{text}");
        }
        for text in ["1", "1s", "1/", "1/0s", "-1/s", "/s"] {
            assert_eq!(per_second(text), None, "{text}");
        }
    }
}

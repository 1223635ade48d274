//! Numbers in JSON, which has no infinity: "inf", "-inf" and "nan" stand there as text.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number, or its name.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Any {
    Number(f64),
    Name(String),
}

pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    let any = if value.is_finite() {
        Any::Number(*value)
    } else {
        Any::Name(value.to_string().to_lowercase())
    };
    any.serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    match Any::deserialize(deserializer)? {
        Any::Number(value) => Ok(value),
        Any::Name(name) => name.parse().map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::{Measure, Metric, exact};

    #[test]
    fn what_is_no_number_comes_back_as_it_was() {
        for value in [0.1, f64::INFINITY, f64::NEG_INFINITY, 1e-300] {
            let measure = Measure::new(Metric::TimeToLink, "t", exact(value, 3));
            let text = serde_json::to_string(&measure).unwrap();
            assert_eq!(serde_json::from_str::<Measure>(&text).unwrap(), measure);
        }
        let nan = Measure::new(Metric::TimeToLink, "t", exact(f64::NAN, 3));
        let text = serde_json::to_string(&nan).unwrap();
        assert!(
            serde_json::from_str::<Measure>(&text)
                .unwrap()
                .value
                .is_nan()
        );
    }
}

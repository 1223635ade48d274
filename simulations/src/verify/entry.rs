//! Files of acceptance numbers: a JSON array of objects with `id`, `what`, `params`, `metric`, `expected`, `tol`,
//! `tol_kind` and `source`. What is wrong with one is said with its id, or its place.

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;

/// Most entries in a file.
const ENTRIES_MAX: usize = 100_000;

/// What is wrong with a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyError(pub String);

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for VerifyError {}

/// A number to reproduce.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// Its name.
    pub id: String,
    /// What it is.
    pub what: String,
    /// Of which setting.
    pub params: BTreeMap<String, f64>,
    /// Of which measure.
    pub metric: String,
    /// The number.
    pub expected: Expected,
    /// How far off is right.
    pub tol: f64,
    /// Whether relative, and against which of several numbers.
    pub tol_kind: String,
    /// Where it is from.
    pub source: String,
}

/// One number, or several for the same thing.
#[derive(Clone, PartialEq, Debug)]
pub enum Expected {
    /// One.
    One(f64),
    /// Several, by name.
    Several(BTreeMap<String, f64>),
}

impl Entry {
    /// The number that decides and, of several, its name: the one that `tol_kind` names, or the metric's first word;
    /// else the published one; else one that is simulated with no error of its own, or the closed form.
    pub fn decides(&self) -> (Option<String>, f64) {
        let all = match &self.expected {
            Expected::One(value) => return (None, *value),
            Expected::Several(all) => all,
        };
        let named = self.tol_kind.split_whitespace().skip(1);
        let named = named.chain(self.metric.split_whitespace().take(1));
        // A simulated number with a standard error of its own is less sure than a closed form.
        let rest = if all.contains_key("se") {
            ["published", "closed", "ours", "mc"]
        } else {
            ["published", "ours", "mc", "closed"]
        };
        let key = named
            .chain(rest)
            .find(|key| all.contains_key(*key))
            .map(str::to_owned)
            .or_else(|| all.keys().next().cloned());
        let value = key.as_ref().and_then(|k| all.get(k)).copied();
        (key, value.unwrap_or(f64::NAN))
    }

    /// In the unit of the expected value.
    pub fn tolerance(&self, expected: f64) -> f64 {
        if self.tol_kind.starts_with("rel") {
            self.tol * expected.abs()
        } else {
            self.tol
        }
    }
}

/// Reads a file.
pub fn parse(text: &str) -> Result<Vec<Entry>, VerifyError> {
    let root: Value = serde_json::from_str(text)
        .map_err(|e| VerifyError(format!("line {}, column {}: {e}", e.line(), e.column())))?;
    let Value::Array(items) = root else {
        return Err(VerifyError("line 1: needs an array of entries".into()));
    };
    if items.is_empty() || items.len() > ENTRIES_MAX {
        let why = format!(
            "{} entries: from 1 to {ENTRIES_MAX} can be checked",
            items.len()
        );
        return Err(VerifyError(why));
    }
    let mut entries = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        entries.push(entry(item).map_err(|why| {
            let id = item.get("id").and_then(Value::as_str);
            let line = id.and_then(|id| line_of(text, id));
            let place = match (id, line) {
                (Some(id), Some(line)) => format!("line {line}, entry {id}"),
                (Some(id), None) => format!("entry {id}"),
                (None, _) => format!("entry number {}", i + 1),
            };
            VerifyError(format!("{place}: {why}"))
        })?);
    }
    Ok(entries)
}

fn line_of(text: &str, id: &str) -> Option<usize> {
    let quoted = Value::from(id).to_string();
    let at = text.find(&quoted)?;
    Some(text[..at].matches('\n').count() + 1)
}

fn entry(item: &Value) -> Result<Entry, String> {
    let Value::Object(fields) = item else {
        return Err("is no object".into());
    };
    let known = [
        "id", "what", "params", "metric", "expected", "tol", "tol_kind", "source",
    ];
    if let Some(key) = fields.keys().find(|k| !known.contains(&k.as_str())) {
        return Err(format!(
            "unknown field {key:?}; there are {}",
            known.join(", ")
        ));
    }
    let expected = match fields.get("expected") {
        Some(Value::Object(several)) => {
            let several = numbers("expected", several)?;
            if several.is_empty() {
                return Err("\"expected\" is empty".into());
            }
            Expected::Several(several)
        }
        Some(value) => Expected::One(number("expected", value)?),
        None => return Err("has no \"expected\"".into()),
    };
    let params = match fields.get("params") {
        Some(Value::Object(params)) => numbers("params", params)?,
        _ => return Err("needs \"params\", an object of numbers".into()),
    };
    let tol = fields.get("tol").ok_or("has no \"tol\"")?;
    let tol = number("tol", tol)?;
    if tol <= 0.0 {
        return Err("\"tol\" must be above zero".into());
    }
    let tol_kind = text(fields, "tol_kind")?;
    if !(tol_kind.starts_with("abs") || tol_kind.starts_with("rel")) {
        return Err(format!(
            "\"tol_kind\" is {tol_kind:?}: needs \"abs\" or \"rel\""
        ));
    }
    Ok(Entry {
        id: text(fields, "id")?,
        what: text(fields, "what")?,
        params,
        metric: text(fields, "metric")?,
        expected,
        tol,
        tol_kind,
        source: match fields.get("source") {
            None => String::new(),
            Some(_) => text(fields, "source")?,
        },
    })
}

fn text(fields: &Map<String, Value>, key: &str) -> Result<String, String> {
    match fields.get(key) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        Some(_) => Err(format!("{key:?} must be a text")),
        None => Err(format!("has no {key:?}")),
    }
}

fn numbers(what: &str, fields: &Map<String, Value>) -> Result<BTreeMap<String, f64>, String> {
    let pair = |(key, value): (&String, &Value)| {
        Ok((key.clone(), number(&format!("{what}.{key}"), value)?))
    };
    fields.iter().map(pair).collect()
}

fn number(what: &str, value: &Value) -> Result<f64, String> {
    match value.as_f64() {
        Some(x) if x.is_finite() => Ok(x),
        _ => Err(format!("{what:?} must be a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_numbers_can_be_read() {
        assert_eq!(parse(crate::verify::OWN).unwrap().len(), 184);
    }

    #[test]
    fn the_number_that_decides_is_the_one_that_is_named() {
        let text = |expected: &str, kind: &str, metric: &str| {
            let text = format!(
                r#"[{{"id":"x","what":"w","params":{{}},"metric":"{metric}","expected":{expected},"tol":0.1,"tol_kind":"{kind}"}}]"#
            );
            parse(&text).unwrap()[0].decides()
        };
        let key = |k: &str, v| (Some(k.to_owned()), v);
        assert_eq!(text("3", "rel", "bits"), (None, 3.0));
        assert_eq!(
            text(r#"{"theory":1,"mc":2}"#, "abs vs mc", "TPR"),
            key("mc", 2.0)
        );
        assert_eq!(
            text(r#"{"t":1,"share":2}"#, "abs share", "r"),
            key("share", 2.0)
        );
        assert_eq!(
            text(r#"{"mean":1,"sd":2}"#, "abs", "mean eps"),
            key("mean", 1.0)
        );
        let all = r#"{"published":1,"ours":2,"closed":3}"#;
        assert_eq!(text(all, "abs", "bits"), key("published", 1.0));
        assert_eq!(
            text(r#"{"closed":1,"ours":2,"se":3}"#, "abs", "bits"),
            key("closed", 1.0)
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let says = |text: &str, what: &str| {
            let error = parse(text).unwrap_err().0;
            assert!(error.contains(what), "{error}");
        };
        says("[\n{]", "line 2");
        says("{}", "array");
        says("[]", "0 entries");
        says("[{}]", "entry number 1");
        let broken = |field: &str| {
            let mut all = vec![
                r#""id":"A-1""#,
                r#""what":"w""#,
                r#""params":{"rho":1}"#,
                r#""metric":"m""#,
                r#""expected":1"#,
                r#""tol":1"#,
                r#""tol_kind":"abs""#,
            ];
            all.push(field);
            format!("[\n{{{}}}]", all.join(","))
        };
        says(
            &broken(r#""tol":-1"#),
            "line 2, entry A-1: \"tol\" must be above zero",
        );
        says(&broken(r#""params":{"rho":"x"}"#), "params.rho");
        says(&broken(r#""expected":null"#), "expected");
        says(&broken(r#""tol_kind":"about""#), "tol_kind");
        says(&broken(r#""tolerance":1"#), "unknown field");
    }
}

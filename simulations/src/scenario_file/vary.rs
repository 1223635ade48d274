//! The points of a sweep: a grid, or a Latin hypercube.

use super::{Case, File, PerSecond, ScenarioError, Seconds};
use crate::random::{Purpose, Stream, ln};
use serde::{Deserialize, Serialize};

/// No sweep has more.
const POINTS_MAX: usize = 1_000_000;

/// A key, and what it becomes.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Vary {
    /// Like `network.width`.
    pub key: String,
    /// One after the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<toml::Value>>,
    /// Least of a hypercube's, with its unit if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<toml::Value>,
    /// Most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<toml::Value>,
    /// Whether it is the logarithm that is uniform.
    #[serde(default)]
    pub logarithmic: bool,
}

/// One point of a study.
#[derive(Clone, Debug)]
pub struct Point {
    /// The keys that are varied, and their values here.
    pub keys: Vec<(String, String)>,
    /// The file with those values.
    pub file: File,
    /// The same, ready to run.
    pub case: Case,
}

type Result<T> = std::result::Result<T, ScenarioError>;

/// All of them, checked.
pub(super) fn points(text: &str, file: &File) -> Result<Vec<Point>> {
    let Some(sweep) = &file.sweep else {
        let case = Case::of(text, file)?;
        return Ok(vec![Point {
            keys: Vec::new(),
            file: file.clone(),
            case,
        }]);
    };
    let wrong = |what: String| ScenarioError::at(text, "sweep.mode", what);
    if sweep.vary.is_empty() {
        return Err(wrong("a sweep needs at least one [[sweep.vary]]".into()));
    }
    let settings = match sweep.mode.as_str() {
        "grid" => grid(text, file)?,
        "latin-hypercube" => hypercube(text, file)?,
        other => {
            let what = format!("mode = {other:?} is not known: grid, latin-hypercube");
            return Err(wrong(what));
        }
    };
    let base: toml::Table = toml::from_str(text).map_err(|e| super::from_toml(text, &e))?;
    settings
        .into_iter()
        .map(|setting| point(text, &base, setting))
        .collect()
}

fn point(text: &str, base: &toml::Table, setting: Vec<(String, toml::Value)>) -> Result<Point> {
    let mut table = base.clone();
    let mut keys = Vec::new();
    for (key, value) in setting {
        keys.push((key.clone(), shown(&value)));
        put(&mut table, &key, value)
            .ok_or_else(|| ScenarioError::at(text, "sweep.vary", format!("{key:?} is no key")))?;
    }
    let here = |what: String| {
        let values: Vec<_> = keys.iter().map(|(k, v)| format!("{k} = {v}")).collect();
        format!("{what} (at {})", values.join(", "))
    };
    let file: File = toml::Value::Table(table)
        .try_into()
        .map_err(|error: toml::de::Error| {
            ScenarioError::at(text, "sweep.vary", here(error.message().to_owned()))
        })?;
    let case = Case::of(text, &file).map_err(|error| ScenarioError {
        line: error.line,
        what: here(error.what),
    })?;
    Ok(Point { keys, file, case })
}

/// Without the quotes of a text.
fn shown(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| plain(value), str::to_owned)
}

fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => format!("{text:?}"),
        toml::Value::Integer(n) => n.to_string(),
        toml::Value::Float(x) => x.to_string(),
        toml::Value::Boolean(b) => b.to_string(),
        toml::Value::Datetime(d) => d.to_string(),
        toml::Value::Array(all) => {
            let all: Vec<_> = all.iter().map(plain).collect();
            format!("[{}]", all.join(" "))
        }
        toml::Value::Table(_) => "{…}".into(),
    }
}

fn put(table: &mut toml::Table, path: &str, value: toml::Value) -> Option<()> {
    let (first, rest) = match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    match rest {
        None => {
            table.insert(first.to_owned(), value);
            Some(())
        }
        Some(rest) => {
            let inner = table
                .entry(first.to_owned())
                .or_insert_with(|| toml::Value::Table(toml::Table::new()));
            put(inner.as_table_mut()?, rest, value)
        }
    }
}

fn grid(text: &str, file: &File) -> Result<Vec<Vec<(String, toml::Value)>>> {
    let mut all = vec![Vec::new()];
    for vary in file.sweep.iter().flat_map(|s| &s.vary) {
        let wrong =
            |what: &str| ScenarioError::at(text, "sweep.vary", format!("{}: {what}", vary.key));
        if vary.from.is_some() || vary.to.is_some() || vary.logarithmic {
            return Err(wrong("a grid takes values, not from and to"));
        }
        let values = vary.values.as_deref().unwrap_or_default();
        if values.is_empty() {
            return Err(wrong("values is missing or empty"));
        }
        if all.len() * values.len() > POINTS_MAX {
            return Err(wrong("more than 1000000 points"));
        }
        all = all
            .into_iter()
            .flat_map(|setting| {
                values.iter().map(move |value| {
                    let mut setting = setting.clone();
                    setting.push((vary.key.clone(), value.clone()));
                    setting
                })
            })
            .collect();
    }
    Ok(all)
}

/// Each key's range is cut into as many strips as there are points; each strip is used once.
fn hypercube(text: &str, file: &File) -> Result<Vec<Vec<(String, toml::Value)>>> {
    let Some(sweep) = &file.sweep else {
        return Ok(Vec::new());
    };
    let wrong = |what: String| ScenarioError::at(text, "sweep.points", what);
    let points = match sweep.points {
        Some(points) if points > 0 && points as usize <= POINTS_MAX => points,
        Some(_) | None => return Err(wrong("a hypercube needs points, at most 1000000".into())),
    };
    let mut all = vec![Vec::new(); points as usize];
    for (dimension, vary) in sweep.vary.iter().enumerate() {
        let mut random = Stream::new(file.seed, Purpose::HYPERCUBE, dimension as u64);
        let mut strips: Vec<_> = (0..points).collect();
        random.shuffle(&mut strips);
        if let (Some(values), None, None) = (&vary.values, &vary.from, &vary.to) {
            if values.is_empty() {
                return Err(wrong(format!("{}: values is empty", vary.key)));
            }
            for (setting, strip) in all.iter_mut().zip(strips) {
                let value = strip as usize * values.len() / points as usize;
                setting.push((vary.key.clone(), values[value].clone()));
            }
            continue;
        }
        let range = match (&vary.values, &vary.from, &vary.to) {
            (None, Some(from), Some(to)) => Range::of(from, to),
            _ => None,
        };
        let range = range
            .filter(|r| r.from < r.to && (!vary.logarithmic || r.from > 0.0))
            .ok_or_else(|| {
                let what = "needs from and to of one kind, the first the smaller, and positive if logarithmic";
                wrong(format!("{}: {what}", vary.key))
            })?;
        for (setting, strip) in all.iter_mut().zip(strips) {
            let at = (f64::from(strip) + random.uniform()) / f64::from(points);
            setting.push((vary.key.clone(), range.at(at, vary.logarithmic)));
        }
    }
    Ok(all)
}

#[derive(Clone, Copy)]
enum Kind {
    Count,
    Number,
    Time,
    Rate,
}

struct Range {
    kind: Kind,
    from: f64,
    to: f64,
}

impl Range {
    fn of(from: &toml::Value, to: &toml::Value) -> Option<Self> {
        let (kind, from) = number(from)?;
        let (other, to) = number(to)?;
        let same = std::mem::discriminant(&kind) == std::mem::discriminant(&other);
        same.then_some(Self { kind, from, to })
    }

    fn at(&self, share: f64, logarithmic: bool) -> toml::Value {
        let x = if logarithmic {
            let (from, to) = (ln(self.from), ln(self.to));
            libm::exp(from + share * (to - from))
        } else {
            self.from + share * (self.to - self.from)
        };
        // Four figures are enough, and short enough for a table.
        let x = rounded(x);
        match self.kind {
            Kind::Count => toml::Value::Integer(x.round() as i64),
            Kind::Number => toml::Value::Float(x),
            Kind::Time => toml::Value::String(format!("{x}s")),
            Kind::Rate => toml::Value::String(format!("{x}/s")),
        }
    }
}

fn rounded(x: f64) -> f64 {
    format!("{x:.3e}").parse().unwrap_or(x)
}

fn number(value: &toml::Value) -> Option<(Kind, f64)> {
    if let Some(n) = value.as_integer() {
        return Some((Kind::Count, n as f64));
    }
    if let Some(x) = value.as_float() {
        return Some((Kind::Number, x));
    }
    if let Ok(Seconds(x)) = value.clone().try_into::<Seconds>() {
        return Some((Kind::Time, x));
    }
    let rate = value.clone().try_into::<PerSecond>().ok()?;
    Some((Kind::Rate, rate.0))
}

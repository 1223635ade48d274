//! The tables of a finished study: the same bytes whoever ran which cell when.

use super::cell::TRACKED;
use super::{CellResult, MEASURES, SCHEMA, StudyError};
use crate::scenario_file::{Point, Study};
use crate::stats::Welford;
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::Write;

/// The three files.
#[derive(Clone, PartialEq, Debug)]
pub struct Assembled {
    /// A line for each measure of each cell.
    pub measures: String,
    /// A line for each tracked message.
    pub tracked: String,
    /// Everything but single messages, with definitions and intervals.
    pub summary: String,
    /// For the eye.
    pub text: String,
    /// `measures` as Parquet.
    #[cfg(feature = "parquet")]
    pub measures_parquet: Vec<u8>,
    /// `tracked` as Parquet.
    #[cfg(feature = "parquet")]
    pub tracked_parquet: Vec<u8>,
}

#[derive(Serialize)]
struct Summary<'a> {
    schema: u32,
    program: &'static str,
    version: &'static str,
    seed: u64,
    scenario: &'a crate::scenario_file::File,
    points: Vec<SummaryPoint<'a>>,
}

#[derive(Serialize)]
struct SummaryPoint<'a> {
    point: usize,
    varied: Vec<(&'a str, &'a str)>,
    scenario: Option<&'a crate::scenario_file::File>,
    measures: Vec<SummaryMeasure>,
}

#[derive(Serialize)]
struct SummaryMeasure {
    name: &'static str,
    unit: &'static str,
    definition: &'static str,
    value: f64,
    /// 95 %.
    low: Option<f64>,
    high: Option<f64>,
    /// Of runs, or of samples within the only run.
    interval_from: &'static str,
    replications: u64,
    samples: u64,
}

impl Assembled {
    /// All cells, in the order of their numbers.
    pub fn of(study: &Study, cells: &[CellResult]) -> Result<Self, StudyError> {
        let scenario = serde_json::to_string(&study.file).map_err(|e| StudyError(e.to_string()))?;
        let head = format!(
            "simulations {}, schema {SCHEMA}, seed {}, scenario {scenario}",
            env!("CARGO_PKG_VERSION"),
            study.file.seed
        );
        let keys = study.points.iter().take(1).flat_map(|p| &p.keys);
        let place: Vec<&str> = ["point"]
            .into_iter()
            .chain(keys.map(|(key, _)| &**key))
            .chain(["replication"])
            .collect();
        let with_place = |more: &[&'static str]| [&place[..], more].concat();
        let mut measures = Rows::new(with_place(&MEASURED));
        let mut tracked = Rows::new(with_place(&TRACKED.split(',').collect::<Vec<_>>()));
        for result in cells {
            let cell = &result.cell;
            let mut place = vec![cell.point.to_string()];
            place.extend(study.points[cell.point].keys.iter().map(|(_, v)| v.clone()));
            place.push(cell.replication.to_string());
            for m in &result.measures {
                let error = m.error.map(|e| e.to_string()).unwrap_or_default();
                let (name, unit) = (&m.name, unit_of(&m.name));
                let rest = format!("{name},{},{error},{},{unit}", m.value, m.count);
                measures.push(&place, rest);
            }
            for line in &result.tracked {
                tracked.push(&place, line.clone());
            }
        }
        let replications = study.file.replications as usize;
        let points: Vec<_> = study
            .points
            .iter()
            .enumerate()
            .map(|(i, point)| {
                let cells = &cells[i * replications..(i + 1) * replications];
                SummaryPoint {
                    point: i,
                    varied: point.keys.iter().map(|(k, v)| (&**k, &**v)).collect(),
                    scenario: (study.points.len() > 1).then_some(&point.file),
                    measures: summarize(cells),
                }
            })
            .collect();
        let text = text(&study.points, &points);
        let summary = Summary {
            schema: SCHEMA,
            program: "simulations",
            version: env!("CARGO_PKG_VERSION"),
            seed: study.file.seed,
            scenario: &study.file,
            points,
        };
        let mut summary =
            serde_json::to_string_pretty(&summary).map_err(|e| StudyError(e.to_string()))?;
        summary.push('\n');
        Ok(Self {
            measures: measures.csv(&head),
            tracked: tracked.csv(&head),
            summary,
            text,
            #[cfg(feature = "parquet")]
            measures_parquet: super::parquet::encode(&measures, &head)?,
            #[cfg(feature = "parquet")]
            tracked_parquet: super::parquet::encode(&tracked, &head)?,
        })
    }
}

/// The columns of `measures.csv` after those that say which cell.
const MEASURED: [&str; 5] = ["measure", "value", "standard_error", "samples", "unit"];

/// A table. Its first columns say of which cell a row is, and are shared by many rows.
pub(super) struct Rows<'a> {
    pub(super) columns: Vec<&'a str>,
    places: Vec<Vec<String>>,
    /// Index of the place, and the other columns, none of which needs quotes.
    rows: Vec<(usize, String)>,
}

impl<'a> Rows<'a> {
    fn new(columns: Vec<&'a str>) -> Self {
        Self {
            columns,
            places: Vec::new(),
            rows: Vec::new(),
        }
    }

    fn push(&mut self, place: &[String], rest: String) {
        if self.places.last().is_none_or(|last| last != place) {
            self.places.push(place.to_vec());
        }
        self.rows.push((self.places.len() - 1, rest));
    }

    fn csv(&self, head: &str) -> String {
        let columns: Vec<_> = self.columns.iter().map(|c| quoted(c)).collect();
        let mut out = format!("# {head}\n{}\n", columns.join(","));
        let places = self.places.iter();
        let places: Vec<_> = places
            .map(|place| {
                place
                    .iter()
                    .map(|v| quoted(v))
                    .collect::<Vec<_>>()
                    .join(",")
            })
            .collect();
        for (place, rest) in &self.rows {
            let _ = writeln!(out, "{},{rest}", places[*place]);
        }
        out
    }

    /// Of the first columns, how many from the second one on are what was varied.
    #[cfg(feature = "parquet")]
    pub(super) fn varied(&self) -> usize {
        self.places.first().map_or(0, |place| place.len() - 2)
    }

    #[cfg(feature = "parquet")]
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The text of a cell, unquoted.
    #[cfg(feature = "parquet")]
    pub(super) fn cell(&self, row: usize, column: usize) -> &str {
        let (place, rest) = &self.rows[row];
        let place = &self.places[*place];
        match place.get(column) {
            Some(cell) => cell,
            None => rest.split(',').nth(column - place.len()).unwrap_or(""),
        }
    }
}

fn unit_of(name: &str) -> &'static str {
    MEASURES
        .iter()
        .find(|m| m.name == name)
        .map_or("", |m| m.unit)
}

/// As CSV wants it.
pub(super) fn quoted(text: &str) -> Cow<'_, str> {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\"")).into()
    } else {
        text.into()
    }
}

fn summarize(cells: &[CellResult]) -> Vec<SummaryMeasure> {
    let of = |named: &'static super::Named| {
        let mut all = Welford::default();
        let (mut samples, mut error) = (0, None);
        for m in cells.iter().flat_map(|c| &c.measures) {
            if m.name == named.name {
                all.push(m.value);
                samples += m.count;
                error = m.error;
            }
        }
        if all.count() == 0 {
            return None;
        }
        let value = all.mean();
        let (low, high, interval_from) = if all.count() > 1 {
            let interval = all.interval();
            (Some(interval.low), Some(interval.high), "replications")
        } else if let Some(error) = error {
            (
                Some(value - 1.96 * error),
                Some(value + 1.96 * error),
                "samples",
            )
        } else {
            (None, None, "none")
        };
        Some(SummaryMeasure {
            name: named.name,
            unit: named.unit,
            definition: named.definition,
            value,
            low: low.filter(|x| x.is_finite()),
            high: high.filter(|x| x.is_finite()),
            interval_from,
            replications: all.count(),
            samples,
        })
    };
    MEASURES.iter().filter_map(of).collect()
}

/// Few enough points are shown whole; of many, the entropy of each.
fn text(points: &[Point], summaries: &[SummaryPoint<'_>]) -> String {
    let mut out = String::new();
    let many = points.len() > 4;
    for (point, summary) in points.iter().zip(summaries) {
        if !point.keys.is_empty() {
            let keys: Vec<_> = point
                .keys
                .iter()
                .map(|(k, v)| format!("{k} = {v}"))
                .collect();
            let _ = writeln!(out, "{}", keys.join(", "));
        }
        for m in &summary.measures {
            let headline = [
                "entropy",
                "user_entropy",
                "best_guess",
                "to_reader_p95",
                "up_packets",
            ];
            if many && !headline.contains(&m.name) {
                continue;
            }
            let interval = match (m.low, m.high) {
                (Some(low), Some(high)) => format!("[{}, {}]", short(low), short(high)),
                _ => String::new(),
            };
            let _ = writeln!(
                out,
                "  {:<22} {:>11} {:<12} {interval:<24} {}",
                m.name,
                short(m.value),
                m.unit,
                m.definition
            );
        }
    }
    out
}

/// Five figures.
fn short(x: f64) -> String {
    let size = x.abs();
    if x == 0.0 {
        "0".into()
    } else if (1e-3..1e6).contains(&size) {
        let places = (4 - size.log10().floor() as i32).max(0) as usize;
        format!("{x:.places$}")
    } else {
        format!("{x:.4e}")
    }
}

//! The tables of a finished study: the same bytes whoever ran which cell when.

use super::cell::TRACKED;
use super::{CellResult, MEASURES, SCHEMA, StudyError};
use crate::scenario_file::{Point, Study};
use crate::stats::Welford;
use serde::Serialize;
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
            "# simulations {}, schema {SCHEMA}, seed {}, scenario {scenario}\n",
            env!("CARGO_PKG_VERSION"),
            study.file.seed
        );
        let keys: String = study
            .points
            .iter()
            .take(1)
            .flat_map(|p| &p.keys)
            .fold(String::new(), |all, (key, _)| all + &quoted(key) + ",");
        let mut measures =
            format!("{head}point,{keys}replication,measure,value,standard_error,samples,unit\n");
        let mut tracked = format!("{head}point,{keys}replication,{TRACKED}\n");
        for result in cells {
            let cell = &result.cell;
            let values = &study.points[cell.point].keys;
            let values = values
                .iter()
                .fold(String::new(), |all, (_, v)| all + &quoted(v) + ",");
            let place = format!("{},{values}{}", cell.point, cell.replication);
            for m in &result.measures {
                let error = m.error.map(|e| e.to_string()).unwrap_or_default();
                let unit = unit_of(&m.name);
                let _ = writeln!(
                    measures,
                    "{place},{},{},{error},{},{unit}",
                    m.name, m.value, m.count
                );
            }
            for line in &result.tracked {
                let _ = writeln!(tracked, "{place},{line}");
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
            measures,
            tracked,
            summary,
            text,
        })
    }
}

fn unit_of(name: &str) -> &'static str {
    MEASURES
        .iter()
        .find(|m| m.name == name)
        .map_or("", |m| m.unit)
}

/// As CSV wants it.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
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

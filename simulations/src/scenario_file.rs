//! Scenario files: TOML that says what a study is. Everything has a default but the workload; unknown keys, numbers
//! without a unit, and values that contradict each other are refused, with the line.
//!
//! `docs/researchers.md` has all keys; `simulations/scenarios/` has examples.

mod resolve;
mod units;
mod vary;

pub use resolve::{Case, Engine, WorkloadKind};
pub use units::{PerSecond, Seconds, per_second, seconds};
pub use vary::{Point, Vary};

use serde::{Deserialize, Serialize};
use std::fmt;

/// A file, as written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// For titles.
    pub name: String,
    /// Which engine runs it.
    #[serde(default)]
    pub engine: Engine,
    /// Everything random follows from it.
    pub seed: u64,
    /// Independent runs of each point.
    #[serde(default = "one")]
    pub replications: u32,
    /// The mixes and gateways.
    #[serde(default)]
    pub network: Network,
    /// Who emits how much.
    #[serde(default)]
    pub rates: Rates,
    /// What users do.
    pub workload: Workload,
    /// Who watches.
    #[serde(default)]
    pub adversary: Adversary,
    /// What is measured.
    #[serde(default)]
    pub measure: Measure,
    /// What is varied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<Sweep>,
}

fn one() -> u32 {
    1
}

/// The mixes and gateways. What is left out is as in `design`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// mizzle, loopix, nym, katzenpost, onion or bare.
    pub design: Option<String>,
    /// stratified, cascade or free-route.
    pub topology: Option<String>,
    /// Layers, mixes of a cascade, or mixes of a free route.
    pub hops: Option<u32>,
    /// Mixes of each layer, cascades, or all mixes of free routes.
    pub width: Option<u32>,
    /// Mixes of each layer, where they differ.
    pub widths: Option<Vec<u32>>,
    /// How much routes prefer the mixes of each layer, one after the other and again from the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<Vec<f64>>,
    /// How many gateways.
    pub gateways: Option<u32>,
    /// poisson, threshold, timed, pool or none.
    pub mixing: Option<String>,
    /// 1/μ of a Poisson mix.
    pub mean_delay: Option<Seconds>,
    /// Of a timed mix.
    pub period: Option<Seconds>,
    /// Packets that leave a threshold or pool mix.
    pub batch: Option<u32>,
    /// Packets that stay in a pool mix.
    pub kept: Option<u32>,
    /// δ.
    pub allowance: Option<Seconds>,
    /// Latency of each link.
    pub link: Option<Seconds>,
    /// Whether entry gateways hold packets back.
    pub entry_mixes: Option<bool>,
    /// bare, echo, provider or push.
    pub delivery: Option<String>,
    /// Frames down to each client, of an echo design.
    pub downlink_rate: Option<PerSecond>,
    /// Among how many places a fetch draws, of an echo design.
    pub places: Option<u32>,
    /// Between two pulls, of a provider.
    pub pull_interval: Option<Seconds>,
    /// Bytes of a packet.
    pub packet_bytes: Option<u32>,
}

/// Who emits how much. What is left out is as in `network.design`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rates {
    /// λP.
    pub payload: Option<PerSecond>,
    /// Share of its ticks that ask an inbox.
    pub fetch_share: Option<f64>,
    /// λL.
    pub client_loops: Option<PerSecond>,
    /// λD.
    pub client_drops: Option<PerSecond>,
    /// substitute, add or none.
    pub cover: Option<String>,
    /// λM of each mix.
    pub mix_loops: Option<PerSecond>,
    /// λM of each gateway.
    pub gateway_loops: Option<PerSecond>,
}

/// What users do.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// nothing, saturated, poisson or trace.
    pub kind: String,
    /// How many; of a trace, as many as it has.
    pub users: Option<u32>,
    /// How long they do it.
    pub duration: Option<Seconds>,
    /// Messages of each user, if Poisson.
    pub rate: Option<PerSecond>,
    /// Whom each writes to, if Poisson; 0 for anybody.
    pub contacts: Option<u32>,
    /// A trace's file, beside the scenario: lines `from to seconds`.
    pub file: Option<String>,
    /// A trace's time runs so many times faster.
    pub speed_up: Option<f64>,
}

/// Who watches.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Adversary {
    /// Share of mixes.
    pub corrupt_mixes: f64,
    /// random, per-layer or adaptive.
    pub placement: Option<String>,
    /// Share of gateways.
    pub corrupt_gateways: f64,
}

/// What is measured.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Measure {
    /// Messages whose posterior is followed, in each run; it ends when it has them.
    pub targets: u32,
    /// none, senders or receivers.
    pub users: String,
    /// Before anything is measured.
    pub warm_up: Option<Seconds>,
    /// Whether posteriors count that were complete only after the workload's end.
    pub drain: bool,
    /// Whether the run goes on for its whole duration when it has all its targets.
    pub whole_duration: bool,
}

impl Default for Measure {
    fn default() -> Self {
        Self {
            targets: 200,
            users: "senders".into(),
            warm_up: None,
            drain: false,
            whole_duration: false,
        }
    }
}

/// What is varied.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// grid or latin-hypercube.
    pub mode: String,
    /// Points of a hypercube.
    pub points: Option<u32>,
    /// Keys and what they become.
    #[serde(default)]
    pub vary: Vec<Vary>,
}

/// Why a scenario cannot be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScenarioError {
    /// Line of the file, from 1, if it is about one.
    pub line: Option<usize>,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for ScenarioError {}

impl ScenarioError {
    fn at(text: &str, key: &str, what: impl Into<String>) -> Self {
        Self {
            line: line_of(text, key),
            what: what.into(),
        }
    }
}

/// A study: a file, its text, and its points.
#[derive(Clone, Debug)]
pub struct Study {
    /// As written.
    pub text: String,
    /// As read.
    pub file: File,
    /// What is run; one point if nothing is varied.
    pub points: Vec<Point>,
}

impl Study {
    /// Reads and checks all of it, every point included.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let file: File = toml::from_str(text).map_err(|error| from_toml(text, &error))?;
        if !(1..=1_000_000).contains(&file.replications) {
            let what = "replications must lie between 1 and 1000000";
            return Err(ScenarioError::at(text, "replications", what));
        }
        let points = vary::points(text, &file)?;
        Ok(Self {
            text: text.into(),
            file,
            points,
        })
    }
}

fn from_toml(text: &str, error: &toml::de::Error) -> ScenarioError {
    let line = error
        .span()
        .map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    ScenarioError {
        line,
        what: error.message().to_owned(),
    }
}

/// The line of `table.key`, or of the table, or `None`.
fn line_of(text: &str, path: &str) -> Option<usize> {
    let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
    let (mut here, mut header) = (String::new(), None);
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[') {
            here = name.trim_matches(['[', ']', ' ']).to_owned();
            if here == table || here == path {
                header = header.or(Some(i + 1));
            }
        } else if here == table
            && line
                .strip_prefix(key)
                .is_some_and(|rest| rest.trim_start().starts_with('='))
        {
            return Some(i + 1);
        }
    }
    header
}

#[cfg(test)]
mod tests;

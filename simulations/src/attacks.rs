//! Adversaries: what each one sees, by which rule it decides, and how well that works.
//!
//! Every attack has the truth beside it, which the adversary never asks; a null run, in which the adversary
//! sees nothing and must sit at chance; and an interval on every number. What is said about Mizzle itself is
//! measured on the shipped `Client`, `Gateway` and `Mix` ([`shipped`]); other designs are models of their
//! authors' descriptions ([`links`]).
//!
//! The catalogue is [`ALL`]; each attack is one file of `attacks/`.

pub mod activity;
pub mod blocking;
pub mod challengers;
pub mod combined;
pub mod conformance;
pub mod corruption;
pub mod dropping;
pub mod epochs;
pub mod gateways;
pub mod intersection;
pub mod links;
pub mod matching;
pub mod polling;
pub mod profiles;
pub mod scores;
pub mod shipped;
pub mod startup;
pub mod tracing;

use crate::metrics::Measure;
use crate::plot::Figure;
use crate::replay::Conversation;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Of the files that an attack writes; another one where a field changes its meaning.
pub const SCHEMA: u32 = 1;

/// How much work to put into it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effort {
    /// Seconds: whether there is an effect at all.
    Quick,
    /// Minutes: the figures of `docs/anonymity.md`.
    Full,
}

impl Effort {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        self.pick("quick", "full")
    }

    /// One of two, by effort.
    pub fn pick<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// What an attack is run with.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Everything random follows from it.
    pub seed: u64,
    /// How much work.
    pub effort: Effort,
    /// Who writes to whom; made-up people where there is no trace.
    pub people: Option<Conversation>,
}

impl Setting {
    /// Without a trace.
    pub fn new(seed: u64, effort: Effort) -> Self {
        Self {
            seed,
            effort,
            people: None,
        }
    }

    /// The busiest stretch of the trace, or made-up people of the same number for the same time.
    pub fn people(&self, users: usize, seconds: f64) -> Conversation {
        match &self.people {
            Some(trace) => trace.busiest(seconds, users),
            None => Conversation::made_up(self.seed, users, seconds),
        }
    }
}

/// An attack cannot be run as asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttackError(pub String);

impl fmt::Display for AttackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AttackError {}

/// Told how far an attack is: done, of how much, doing what.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64, &str);

/// One attack.
pub struct Attack {
    /// As in the literature's list: A1 to A14.
    pub id: &'static str,
    /// In a few words.
    pub title: &'static str,
    /// What the adversary sees.
    pub sees: &'static str,
    /// By which rule it decides, and whether that is the best one.
    pub rule: &'static str,
    /// How the truth is known.
    pub truth: &'static str,
    /// Runs it.
    pub run: fn(&Setting, Progress<'_>) -> Result<Findings, AttackError>,
}

/// What came of an attack.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Findings {
    /// Numbers.
    pub measures: Vec<Measure>,
    /// Numbers of an adversary who sees nothing, which must sit at chance.
    pub null: Vec<Measure>,
    /// Curves.
    pub figures: Vec<Figure>,
    /// What a reader has to know.
    pub notes: Vec<String>,
}

impl Findings {
    /// Null runs that do not sit at chance within their intervals.
    pub fn off_chance(&self) -> impl Iterator<Item = &Measure> {
        self.null.iter().filter(|m| !m.at_chance())
    }

    /// The number of a metric of something; `None` where there is none.
    pub fn get(&self, metric: crate::metrics::Metric, of: &str) -> Option<&Measure> {
        let all = self.measures.iter().chain(&self.null);
        all.into_iter().find(|m| m.metric == metric && m.of == of)
    }
}

/// All attacks.
pub const ALL: [Attack; 14] = [
    tracing::ATTACK,
    challengers::ATTACK,
    corruption::ATTACK,
    matching::ATTACK,
    profiles::ATTACK,
    intersection::ATTACK,
    activity::ATTACK,
    polling::ATTACK,
    blocking::ATTACK,
    dropping::ATTACK,
    epochs::ATTACK,
    startup::ATTACK,
    conformance::ATTACK,
    combined::ATTACK,
];

/// The attack with an id, in whatever case.
pub fn find(id: &str) -> Option<&'static Attack> {
    ALL.iter().find(|a| a.id.eq_ignore_ascii_case(id))
}

/// The file that an attack leaves, complete enough to make it again.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of the program.
    pub version: String,
    /// Which attack.
    pub attack: String,
    /// In a few words.
    pub title: String,
    /// What the adversary sees.
    pub sees: String,
    /// By which rule it decides.
    pub rule: String,
    /// How the truth is known.
    pub truth: String,
    /// Everything random follows from it.
    pub seed: u64,
    /// How much work.
    pub effort: Effort,
    /// Who wrote to whom.
    pub people: String,
    /// Numbers.
    pub measures: Vec<Measure>,
    /// Null runs.
    pub null: Vec<Measure>,
    /// Curves.
    pub figures: Vec<Figure>,
    /// What a reader has to know.
    pub notes: Vec<String>,
}

impl Record {
    /// Of an attack that was run.
    pub fn new(attack: &Attack, setting: &Setting, findings: Findings) -> Self {
        let people = setting.people.as_ref();
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").into(),
            attack: attack.id.into(),
            title: attack.title.into(),
            sees: attack.sees.into(),
            rule: attack.rule.into(),
            truth: attack.truth.into(),
            seed: setting.seed,
            effort: setting.effort,
            people: people.map_or("made-up people".into(), |p| p.name.clone()),
            measures: findings.measures,
            null: findings.null,
            figures: findings.figures,
            notes: findings.notes,
        }
    }

    /// Tidy table: one row for each number.
    pub fn csv(&self) -> String {
        let mut out = String::from(
            "attack,seed,version,run,metric,of,value,low,high,samples,chance,reference,unit\n",
        );
        let rows = self.measures.iter().map(|m| ("attack", m));
        for (run, m) in rows.chain(self.null.iter().map(|m| ("null", m))) {
            let optional = |x: Option<f64>| x.map_or(String::new(), |x| x.to_string());
            let (name, unit, _) = m.metric.words();
            let fields = [
                self.attack.clone(),
                self.seed.to_string(),
                self.version.clone(),
                run.into(),
                quoted(name),
                quoted(&m.of),
                m.value.to_string(),
                m.low.to_string(),
                m.high.to_string(),
                m.samples.to_string(),
                optional(m.chance),
                optional(m.reference),
                quoted(unit),
            ];
            out.push_str(&fields.join(","));
            out.push('\n');
        }
        out
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

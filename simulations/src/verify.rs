//! Proves the measuring right: numbers that are known from elsewhere (published, or worked out independently)
//! beside what the engines of this crate measure.
//!
//! The verdict is on the *simulated* value. A closed form from [`anonymity`] stands beside it, and decides nothing
//! unless the tolerance is far below what any sampling can reach; then both must hold, and the line says so.
//! An entry's family follows from the shape of its parameters ([`family`]), never from its name, so that a file
//! may bring other numbers of the same kinds. Effort follows the tolerance: a measurement goes on until its 95 %
//! interval is narrow against it, or a limit is reached.
//!
//! [`entry`] reads files · [`family`] knows what is asked · `mixes`, `layers`, `users`, `loopix`, `paths`,
//! `alarms`, `clients`, `disclosure`, `flow` measure.

mod alarms;
mod clients;
mod disclosure;
pub mod entry;
pub mod family;
mod flow;
mod layers;
mod loopix;
mod mixes;
mod paths;
mod users;

#[cfg(test)]
mod tests;

pub use entry::{Entry, Expected, VerifyError, parse};
pub use family::Family;

use crate::random::Keyed;
use crate::random::Purpose;
use crate::stats::{Interval, StopRule};
use anonymity::Value;

/// The project's own numbers.
pub const OWN: &str = include_str!("../acceptance.json");

/// What a test breaks on purpose, to see it found. Nothing outside of tests can ask for it.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) enum Fault {
    /// Nothing is broken.
    #[default]
    None,
    /// No delay is longer than twice its mean.
    #[cfg(test)]
    TruncatedDelay,
    /// The first node of a stage is chosen more often than it should be.
    #[cfg(test)]
    BiasedRoute,
    /// A departing packet takes more than its share of a pool's mass.
    #[cfg(test)]
    WrongPosterior,
}

/// What an experiment is run with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    /// Everything random follows from it.
    pub(crate) seed: u64,
    /// Half-width of the 95 % interval at which to stop.
    pub(crate) half_width: f64,
    /// What is broken on purpose.
    pub(crate) fault: Fault,
}

impl Task {
    /// The rule when to stop: between so many independent observations.
    pub(crate) fn rule(&self, least: u64, most: u64) -> StopRule {
        StopRule {
            half_width: self.half_width,
            least,
            most,
        }
    }
}

/// What came out.
#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    /// Measured by simulation.
    pub simulated: Interval,
    /// By closed form, where there is one.
    pub closed: Option<Value>,
    /// What else must hold, and did not.
    pub objection: Option<String>,
    /// How it was measured, or what is to be known about it.
    pub note: &'static str,
}

impl Answer {
    pub(crate) fn new(simulated: Interval, closed: Option<Value>, note: &'static str) -> Self {
        Self {
            simulated,
            closed,
            objection: None,
            note,
        }
    }
}

/// One entry, judged.
#[derive(Clone, PartialEq, Debug)]
pub struct Verdict {
    /// The entry.
    pub entry: Entry,
    /// What decides, and where that is from if the entry has several.
    pub expected: f64,
    /// The key of the expected value that decides, if there are several.
    pub decides: Option<String>,
    /// What was measured; or why nothing could be.
    pub answer: Result<Answer, String>,
    /// Whether it holds.
    pub pass: bool,
}

impl Verdict {
    /// Why it failed, if it did.
    pub fn reason(&self) -> Option<String> {
        match &self.answer {
            Err(why) => Some(why.clone()),
            Ok(_) if self.pass => None,
            Ok(Answer {
                objection: Some(why),
                ..
            }) => Some(why.clone()),
            Ok(answer) => Some(format!(
                "off by {:.4}, tolerance {:.4}",
                (answer.simulated.value - self.expected).abs(),
                self.entry.tolerance(self.expected)
            )),
        }
    }
}

/// Below this relative tolerance no sampling can decide.
const BEYOND_SAMPLING: f64 = 1e-5;

/// Measures an entry and judges it.
pub fn check(entry: &Entry, seed: u64) -> Verdict {
    check_with(entry, seed, Fault::None)
}

pub(crate) fn check_with(entry: &Entry, seed: u64, fault: Fault) -> Verdict {
    let (decides, expected) = entry.decides();
    let tolerance = entry.tolerance(expected);
    let mut verdict = Verdict {
        entry: entry.clone(),
        expected,
        decides,
        answer: Err(String::new()),
        pass: false,
    };
    let beyond = tolerance < BEYOND_SAMPLING * expected.abs();
    // A quarter, so that a value that is right passes; of a value beyond sampling, a hundredth of it.
    let half_width = if beyond {
        0.03 * expected.abs()
    } else {
        tolerance / 4.0
    };
    let task = Task {
        seed: Keyed::new(seed, Purpose::REPLICATION).block(name_hash(&entry.id), 1)[0],
        half_width,
        fault,
    };
    verdict.answer = Family::of(entry).and_then(|family| family.measure(entry, &task));
    if let Ok(answer) = &mut verdict.answer {
        let off = (answer.simulated.value - expected).abs();
        verdict.pass = if beyond {
            let closed = answer.closed.map_or(f64::NAN, |c| c.value);
            // Four standard errors: a right value fails once in 16,000 times.
            let reach = 2.04 * answer.simulated.half_width();
            (closed - expected).abs() <= tolerance && off <= reach
        } else {
            off <= tolerance
        };
        if answer.objection.is_some() || answer.simulated.half_width() > tolerance.max(half_width) {
            verdict.pass = false;
            answer.objection.get_or_insert_with(|| {
                "the interval is wider than the tolerance: nothing can be said".into()
            });
        }
    }
    verdict
}

/// Of equal names equal seeds, wherever they stand in a file.
fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

//! What kind of number an entry is, by the names of its parameters, its metric and its description.

use super::entry::Entry;
use super::{Answer, Task, alarms, clients, disclosure, flow, layers, loopix, mixes, paths, users};

/// A kind of number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// One Poisson mix: entropy.
    MixEntropy,
    /// One Poisson mix: min-entropy.
    MixMinEntropy,
    /// One Poisson mix: the best single guess.
    MixBestGuess,
    /// Latency over several hops.
    Latency,
    /// Layers of mixes, perhaps some corrupt: entropy over messages.
    Layers,
    /// Layers of mixes: entropy over users.
    Users,
    /// Loopix' two senders.
    Likelihood,
    /// A path of corrupt mixes only.
    CorruptPath,
    /// n−1 by blocking, with loops as alarm.
    Blocking,
    /// Loops that are lost anyway.
    LoopAlarm,
    /// The queue before a send clock.
    Queue,
    /// Intersection of who was online.
    Intersection,
    /// Activity under added cover.
    Activity,
    /// Statistical disclosure.
    Disclosure,
    /// Least-squares disclosure.
    LeastSquares,
    /// Flow matching.
    Flow,
    /// Threshold mix, with a pool or without.
    Pool,
    /// Timed mix.
    Timed,
}

impl Family {
    /// Of an entry; what to do about one that is of none.
    pub fn of(entry: &Entry) -> Result<Self, String> {
        let mut names: Vec<&str> = entry.params.keys().map(String::as_str).collect();
        names.sort_unstable();
        let text = format!("{} {}", entry.what, entry.metric).to_lowercase();
        let says = |word: &str| text.contains(word);
        Ok(match names.as_slice() {
            ["rho"] if says("min-entropy") => Self::MixMinEntropy,
            ["rho"] if says("guess") => Self::MixBestGuess,
            ["rho"] if says("entropy") => Self::MixEntropy,
            ["k", "mu"] => Self::Latency,
            ["L", "Lam", "W", "b", "m" | "mean_hop"] => Self::Layers,
            ["L", "N", "x"] => Self::Users,
            ["corrupt", "layers", "mu", "width"] => Self::Likelihood,
            ["B", "L", "N"] => Self::CorruptPath,
            ["eps", "lamM_over_mu", "rho"] => Self::Blocking,
            ["block", "expected_loops", "loss"] => Self::LoopAlarm,
            ["lamP", "real"] => Self::Queue,
            ["N", "p"] => Self::Intersection,
            ["T", "cover", "real"] => Self::Activity,
            ["N", "b", "l", "m"] => Self::Disclosure,
            ["batch", "recipients", "rounds", "users"] => Self::LeastSquares,
            ["T", "a", "k", "mu", "nu", "r"] => Self::Flow,
            ["N", "n"] | ["n"] => Self::Pool,
            ["lam_d"] => Self::Timed,
            _ => {
                return Err(format!(
                    "unknown family: no experiment is known by the parameters {} and the metric {:?}",
                    names.join(", "),
                    entry.metric
                ));
            }
        })
    }

    /// Runs the experiment.
    pub(super) fn measure(self, entry: &Entry, task: &Task) -> Result<Answer, String> {
        let p = Params(entry);
        match self {
            Self::MixEntropy => mixes::entropy(&p, task),
            Self::MixMinEntropy => mixes::min_entropy(&p, task),
            Self::MixBestGuess => mixes::best_guess(&p, task),
            Self::Pool => mixes::pool(&p, task),
            Self::Timed => mixes::timed(&p, task),
            Self::Latency => layers::latency(&p, task),
            Self::Layers => layers::messages(&p, task),
            Self::Users => users::entropy(&p, task),
            Self::Likelihood => loopix::likelihood(&p, task),
            Self::CorruptPath => paths::corrupt(&p, task),
            Self::Blocking => alarms::blocking(&p, task),
            Self::LoopAlarm => alarms::loop_alarm(&p, task),
            Self::Queue => clients::queue(&p, task),
            Self::Intersection => clients::intersection(&p, task),
            Self::Activity => clients::activity(&p, task),
            Self::Disclosure => disclosure::statistical(&p, task),
            Self::LeastSquares => disclosure::least_squares(&p, task),
            Self::Flow => flow::matching(&p, task),
        }
    }
}

/// An entry's parameters, asked for by name and range.
pub(super) struct Params<'a>(pub(super) &'a Entry);

impl Params<'_> {
    /// A number from `least` to `most`.
    pub(super) fn number(&self, name: &str, least: f64, most: f64) -> Result<f64, String> {
        match self.0.params.get(name) {
            Some(&x) if (least..=most).contains(&x) => Ok(x),
            Some(x) => Err(format!(
                "parameter {name} is {x}: from {least} to {most} can be run"
            )),
            None => Err(format!("parameter {name} is missing")),
        }
    }

    /// A whole number from `least` to `most`.
    pub(super) fn whole(&self, name: &str, least: u32, most: u32) -> Result<u32, String> {
        let x = self.number(name, f64::from(least), f64::from(most))?;
        if x.fract() != 0.0 {
            return Err(format!("parameter {name} is {x}: must be a whole number"));
        }
        Ok(x as u32)
    }

    /// The first of two names that is there.
    pub(super) fn either(&self, a: &str, b: &str, least: f64, most: f64) -> Result<f64, String> {
        let name = if self.0.params.contains_key(a) { a } else { b };
        self.number(name, least, most)
    }

    /// A number that only the description says, as in `U=100`; else `otherwise`.
    pub(super) fn said(
        &self,
        name: &str,
        otherwise: f64,
        least: f64,
        most: f64,
    ) -> Result<f64, String> {
        let words = self.0.what.split(|c: char| c.is_whitespace() || c == ',');
        let value = words
            .filter_map(|word| word.strip_prefix(name)?.strip_prefix('='))
            .next();
        let Some(value) = value else {
            return Ok(otherwise);
        };
        match value.parse::<f64>() {
            Ok(x) if (least..=most).contains(&x) => Ok(x),
            _ => Err(format!(
                "the description says {name}={value}: from {least} to {most} can be run"
            )),
        }
    }

    /// The metric.
    pub(super) fn metric(&self) -> &str {
        &self.0.metric
    }
}

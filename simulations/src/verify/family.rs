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

/// Which parameters, by name and ascending, ask for which experiment. Where one set stands for several, a word of the
/// description or of the metric tells them apart.
const SHAPES: [(&[&str], &str, Family); 21] = [
    (&["rho"], "min-entropy", Family::MixMinEntropy),
    (&["rho"], "guess", Family::MixBestGuess),
    (&["rho"], "entropy", Family::MixEntropy),
    (&["k", "mu"], "", Family::Latency),
    (&["L", "Lam", "W", "b", "m"], "", Family::Layers),
    (&["L", "Lam", "W", "b", "mean_hop"], "", Family::Layers),
    (&["L", "N", "x"], "", Family::Users),
    (
        &["corrupt", "layers", "mu", "width"],
        "",
        Family::Likelihood,
    ),
    (
        &["U", "corrupt", "lam", "layers", "mu", "width"],
        "",
        Family::Likelihood,
    ),
    (&["B", "L", "N"], "", Family::CorruptPath),
    (&["eps", "lamM_over_mu", "rho"], "", Family::Blocking),
    (&["block", "expected_loops", "loss"], "", Family::LoopAlarm),
    (&["lamP", "real"], "", Family::Queue),
    (&["N", "p"], "", Family::Intersection),
    (&["T", "cover", "real"], "", Family::Activity),
    (&["N", "b", "l", "m"], "", Family::Disclosure),
    (
        &["batch", "recipients", "rounds", "users"],
        "",
        Family::LeastSquares,
    ),
    (&["T", "a", "k", "mu", "nu", "r"], "", Family::Flow),
    (&["N", "n"], "", Family::Pool),
    (&["n"], "", Family::Pool),
    (&["lam_d"], "", Family::Timed),
];

impl Family {
    /// Of an entry; what to do about one that is of none.
    pub fn of(entry: &Entry) -> Result<Self, String> {
        let names: Vec<&str> = entry.params.keys().map(String::as_str).collect();
        let alike = || SHAPES.iter().filter(|s| s.0 == names.as_slice());
        if let Some((.., family)) = alike().find(|s| says(entry, s.1)) {
            return Ok(*family);
        }
        let words: Vec<&str> = alike().map(|s| s.1).collect();
        if !words.is_empty() {
            return Err(format!(
                "unknown metric {:?} of {}: one of {}",
                entry.metric,
                names.join(", "),
                words.join(", ")
            ));
        }
        Err(format!(
            "unknown family: no experiment is known by the parameters {}{}",
            names.join(", "),
            nearest(&names)
        ))
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

fn says(entry: &Entry, word: &str) -> bool {
    let mut texts = [&entry.what, &entry.metric].into_iter();
    texts.any(|text| text.to_lowercase().contains(word))
}

/// What a set of parameters lacks of the one that is most like it, or has beside it.
fn nearest(names: &[&str]) -> String {
    let shared = |shape: &[&str]| shape.iter().filter(|n| names.contains(n)).count();
    // Fewest names that one has and the other has not; of those, most in common.
    let apart = |shape: &[&str]| shape.len() + names.len() - 2 * shared(shape);
    let best = SHAPES
        .iter()
        .map(|s| s.0)
        .filter(|shape| shared(shape) > 0)
        .min_by_key(|shape| (apart(shape), std::cmp::Reverse(shared(shape))));
    let Some(shape) = best else {
        return String::new();
    };
    let list = |what: &str, of: &[&str], among: &[&str]| {
        let which: Vec<&str> = of.iter().filter(|n| !among.contains(n)).copied().collect();
        match which.is_empty() {
            true => String::new(),
            false => format!(", {what} {}", which.join(", ")),
        }
    };
    format!(
        "; the nearest takes {}{}{}",
        shape.join(", "),
        list("which lacks here", shape, names),
        list("and knows no", names, shape)
    )
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

    /// A number that may also be said by the description alone, as in `U=100`; else `otherwise`.
    pub(super) fn said(
        &self,
        name: &str,
        otherwise: f64,
        least: f64,
        most: f64,
    ) -> Result<f64, String> {
        if self.0.params.contains_key(name) {
            return self.number(name, least, most);
        }
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

    /// Whether the description or the metric has a word, in small letters.
    pub(super) fn says(&self, word: &str) -> bool {
        says(self.0, word)
    }
}

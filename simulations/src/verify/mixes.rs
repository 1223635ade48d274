//! One mix: Poisson by the sweep, batches by the event engine. Posteriors are forward: which of the packets that leave
//! later is the one that came; by reversal it has the law of which of those that came is the one that leaves.

use super::family::Params;
use super::layers::Tracking;
use super::{Answer, Task};
use crate::design::{Design, Mixing};
use anonymity::{Value, batch, mix};

pub(super) fn entropy(p: &Params<'_>, task: &Task) -> Result<Answer, String> {
    let rho = p.number("rho", 1e-3, 1e5)?;
    let value = Tracking::poisson(1, 1, rho, 1.0).measure(task, |t| t.entropy)?;
    Ok(Answer::new(value.0, Some(mix::entropy(rho)), "sweep"))
}

pub(super) fn min_entropy(p: &Params<'_>, task: &Task) -> Result<Answer, String> {
    let rho = p.number("rho", 1e-3, 1e5)?;
    let value = Tracking::poisson(1, 1, rho, 1.0).measure(task, |t| t.min_entropy)?;
    Ok(Answer::new(value.0, Some(mix::min_entropy(rho)), "sweep"))
}

/// The probability that the observer computes for its best guess; how often the guess is right must agree with it, or
/// the posterior is wrong.
pub(super) fn best_guess(p: &Params<'_>, task: &Task) -> Result<Answer, String> {
    let rho = p.number("rho", 1e-3, 1e5)?;
    let (value, all) = Tracking::poisson(1, 1, rho, 1.0).measure(task, |t| t.best)?;
    let mut answer = Answer::new(value, Some(mix::best_guess(rho)), "sweep");
    let n = all.len() as f64;
    let hits = all.iter().filter(|t| t.hit).count() as f64;
    let promised: f64 = all.iter().map(|t| t.best).sum();
    let spread: f64 = all.iter().map(|t| t.best * (1.0 - t.best)).sum();
    if (hits - promised).abs() > 4.5 * spread.sqrt() + 1.0 {
        let (right, said) = (hits / n, promised / n);
        let why =
            format!("the best guess is right {right:.4} of the time, the posterior says {said:.4}");
        answer.objection = Some(why);
    }
    Ok(answer)
}

/// Threshold mix of `n`, of which `N` more stay.
pub(super) fn pool(p: &Params<'_>, task: &Task) -> Result<Answer, String> {
    let new = p.whole("n", 1, 100_000)?;
    let kept = if p.0.params.contains_key("N") {
        p.whole("N", 0, 100_000)?
    } else {
        0
    };
    let mixing = if kept == 0 {
        Mixing::Threshold { size: new }
    } else {
        Mixing::Pool { size: new, kept }
    };
    let (n, left) = (u64::from(new), u64::from(kept));
    let closed = [
        batch::pool_entropy(n, left),
        batch::pool_best_guess(n, left),
    ];
    batches(p, task, mixing, 1.0, closed)
}

/// Timed mix at a given rate times mean delay.
pub(super) fn timed(p: &Params<'_>, task: &Task) -> Result<Answer, String> {
    let load = p.number("lam_d", 1e-3, 1e5)?;
    let closed = [batch::timed_entropy(load), batch::timed_best_guess(load)];
    batches(p, task, Mixing::Timed { period: 2.0 }, load, closed)
}

/// What the metric asks for of one batch mix; the closed forms are of entropy and of the best guess.
fn batches(
    p: &Params<'_>,
    task: &Task,
    mixing: Mixing,
    rate: f64,
    [entropy, guess]: [Value; 2],
) -> Result<Answer, String> {
    let mut tracking = Tracking::poisson(1, 1, rate, 1.0);
    tracking.design = Design {
        mixing,
        ..tracking.design
    };
    tracking.by_events = true;
    let (value, closed) = match p.metric() {
        "bits" if p.says("min-entropy") => (tracking.measure(task, |t| t.min_entropy)?, None),
        "bits" => (tracking.measure(task, |t| t.entropy)?, Some(entropy)),
        "probability" => (tracking.measure(task, |t| t.best)?, Some(guess)),
        other => {
            return Err(format!(
                "unknown metric {other:?}: bits (of entropy or min-entropy), or probability (of the best guess)"
            ));
        }
    };
    Ok(Answer::new(value.0, closed, "event engine"))
}

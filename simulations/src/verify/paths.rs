//! Corrupt paths, by the routes that the engines draw.

use super::family::Params;
use super::{Answer, Task};
use crate::design::{Design, Placement, Plan, Stage};
use crate::message::{Class, Message};
use crate::random::replication_seed;
use crate::stats::Welford;
use anonymity::compromise;

/// Routes drawn over each placement of corrupt mixes.
const ROUTES: u64 = 4_000;
const PLACEMENTS_MAX: u64 = 60_000;
/// Routes of so many hops are counted whole.
const WHOLE: usize = 3;

/// Probability of a path through corrupt mixes only, `B` of `N` mixes being corrupt at random.
pub(super) fn corrupt(p: &Params<'_>, task: &Task) -> Result<Answer, String> {
    let mixes = p.whole("N", 1, 50_000)?;
    let layers = p.whole("L", 1, 30.min(mixes))?;
    let bad = p.whole("B", 0, mixes)?;
    let closed = compromise::path_random(u64::from(mixes), u64::from(bad), layers);
    let mut design = Design::bare(layers, 1, 1.0);
    // As even as they go; which layer has one more does not matter to the mean.
    let (each, more) = (mixes / layers, mixes % layers);
    let widths = (0..layers).map(|l| each + u32::from(l < more)).collect();
    design.topology = crate::design::Topology::Stratified { widths };
    design.corrupt_mixes = Placement::Random(f64::from(bad) / f64::from(mixes));
    let rule = task.rule(200, PLACEMENTS_MAX);
    let mut shares = Welford::default();
    loop {
        let seed = replication_seed(task.seed, shares.count());
        let plan = Plan::new(&design, seed).map_err(|e| e.to_string())?;
        #[cfg(test)]
        let plan = plan.broken(task.fault);
        shares.push(exposed(&plan, layers as usize));
        let mut interval = shares.interval();
        // Nothing was met: what is rarer than about three in so many placements is not known to be impossible.
        if interval.value == 0.0 && bad >= layers {
            interval.high = 3.7 / shares.count() as f64;
        }
        if rule.done(&interval) {
            return Ok(Answer::new(
                interval,
                Some(closed),
                "routes of the engines, long ones by halves; tolerance beyond sampling: closed form and interval",
            ));
        }
    }
}

/// Share of a plan's routes that meet corrupt mixes only. The halves of a long route are counted apart and multiplied:
/// whole ones would be too rare to count. (Hops are drawn independently; were the two halves not, each of them would
/// still be judged as a whole.)
fn exposed(plan: &Plan, layers: usize) -> f64 {
    // A placement that leaves an honest layer needs no draws.
    let shown = |s: &Stage| (s.first..s.first + s.width).any(|n| plan.shows(n));
    if !plan.stages.iter().all(shown) {
        return 0.0;
    }
    let middle = if layers > WHOLE {
        layers.div_ceil(2)
    } else {
        layers
    };
    let (mut first, mut second) = (0u64, 0u64);
    for id in 0..ROUTES {
        let corrupt = hops(plan, id);
        let all = |part: &[bool]| u64::from(part.iter().all(|c| *c));
        first += all(&corrupt[..middle]);
        second += all(&corrupt[middle..]);
    }
    (first as f64 / ROUTES as f64) * (second as f64 / ROUTES as f64)
}

/// Which hops of a route are corrupt.
fn hops(plan: &Plan, id: u64) -> Vec<bool> {
    let message = Message {
        time: 0.0,
        sender: 0,
        receiver: 0,
        class: Class::Payload,
    };
    let mut packet = plan.packet(id, &message);
    let steps = &plan.path_of(&packet).steps;
    let each = steps.iter().enumerate().map(|(hop, step)| {
        packet.hop = hop as u8;
        plan.enter(&mut packet, step);
        plan.shows(plan.stages[usize::from(step.stage)].first + u32::from(packet.node))
    });
    each.collect()
}

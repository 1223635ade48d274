//! Corrupt paths, by the routes that the engines draw.

use super::family::Params;
use super::{Answer, Task};
use crate::design::{Design, Placement, Plan};
use crate::message::{Class, Message};
use crate::random::replication_seed;
use crate::stats::Welford;
use anonymity::compromise;

/// Routes drawn over each placement of corrupt mixes.
const ROUTES: u64 = 4_000;
const PLACEMENTS_MAX: u64 = 60_000;

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
        // A placement that leaves an honest layer needs no draws.
        let open = plan
            .stages
            .iter()
            .all(|s| (s.first..s.first + s.width).any(|n| plan.shows(n)));
        let hits = if open {
            (0..ROUTES).filter(|id| exposed(&plan, *id)).count()
        } else {
            0
        };
        shares.push(hits as f64 / ROUTES as f64);
        let interval = shares.interval();
        if rule.done(&interval) {
            return Ok(Answer::new(
                interval,
                Some(closed),
                "routes of the engines; tolerance beyond sampling: closed form and interval",
            ));
        }
    }
}

fn exposed(plan: &Plan, id: u64) -> bool {
    let message = Message {
        time: 0.0,
        sender: 0,
        receiver: 0,
        class: Class::Payload,
    };
    let mut packet = plan.packet(id, &message);
    plan.path_of(&packet)
        .steps
        .iter()
        .enumerate()
        .all(|(hop, step)| {
            packet.hop = hop as u8;
            plan.enter(&mut packet, step);
            plan.shows(plan.stages[usize::from(step.stage)].first + u32::from(packet.node))
        })
}

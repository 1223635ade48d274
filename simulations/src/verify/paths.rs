//! Corrupt paths, by the routes that the engines draw; n−1 by blocking, and loops as alarm.

use super::family::Params;
use super::{Answer, Task};
use crate::design::{Design, Placement, Plan};
use crate::message::{Class, Message};
use crate::random::{Purpose, Stream, replication_seed};
use crate::stats::{Welford, share_interval};
use anonymity::{active, compromise};

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

/// A mix of mean pool ρ is cut off until `eps` others are left in it on average, as measured over all trials; detected if
/// one of its own loops would have come meanwhile.
pub(super) fn blocking(p: &Params<'_>, task: &Task) -> Result<Answer, String> {
    let rho = p.number("rho", 1e-2, 1e6)?;
    let loops = p.number("lamM_over_mu", 0.0, 1e4)?;
    let left = p.number("eps", 1e-6, rho)?;
    // How long: the moment at which the trials' mixes hold `left` on average. Only packets that stay longer than
    // three quarters of the way need to be drawn one by one.
    let early = 0.75 * (rho / left).ln().max(0.0);
    let pools = (4_000.0 / left).clamp(1_000.0, 4e6);
    let mut draws = Stream::new(task.seed, Purpose::FREE, 0);
    let survivors = draws.poisson(pools * rho * (-early).exp());
    let mut stays: Vec<f64> = (0..survivors.min(20_000_000))
        .map(|_| early + draws.exponential(1.0))
        .collect();
    stays.sort_unstable_by(f64::total_cmp);
    let rank = stays.len().saturating_sub((pools * left) as usize);
    let time = stays.get(rank).copied().unwrap_or(early);
    let rule = task.rule(1_000, 4_000_000);
    let (mut seen, mut trials) = (0, 0u64);
    loop {
        for _ in 0..2_000 {
            let first = if loops > 0.0 {
                draws.exponential(1.0 / loops)
            } else {
                f64::INFINITY
            };
            seen += u64::from(first < time);
            trials += 1;
        }
        let interval = share_interval(seen, trials);
        if rule.done(&interval) {
            let closed = active::detection(loops, active::blocking_time(rho, left, 1.0).value);
            return Ok(Answer::new(
                interval,
                Some(closed),
                "pools emptied, loops drawn",
            ));
        }
    }
}

/// Loops sent by a Poisson clock, some lost anyway, some by an attack: how often too few come back. The threshold is the
/// highest with false alarms at most 10⁻⁴.
pub(super) fn loop_alarm(p: &Params<'_>, task: &Task) -> Result<Answer, String> {
    let expected = p.number("expected_loops", 1e-2, 1e6)?;
    let loss = p.number("loss", 0.0, 1.0)?;
    let block = p.number("block", 0.0, 1.0)?;
    let alarm = active::LoopAlarm::new(expected, loss, 1e-4).ok_or("no threshold for these")?;
    let rule = task.rule(10_000, 4_000_000);
    let mut draws = Stream::new(task.seed, Purpose::NODE_LOOP, 0);
    let (mut raised, mut trials) = (0, 0u64);
    loop {
        for _ in 0..500 {
            let sent = draws.poisson(expected);
            let mut back = 0;
            for _ in 0..sent {
                back += u64::from(!draws.chance(loss) && !draws.chance(block));
            }
            raised += u64::from(back < alarm.threshold);
            trials += 1;
        }
        let interval = share_interval(raised, trials);
        if rule.done(&interval) {
            return Ok(Answer::new(
                interval,
                Some(alarm.detection(block)),
                "loops drawn",
            ));
        }
    }
}

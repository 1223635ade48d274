//! Loopix' likelihood difference (USENIX Security 2017, §4.1.3), on the event engine.
//!
//! All users send by a Poisson clock, real messages and cover alike. Two of them are challengers: each is given one
//! message in every unit of time, which waits for a tick of its clock and is then labelled; their cover is not. An
//! honest mix gives each packet that leaves the mean label of its pool, a corrupt one passes labels on as they came.
//! After a hundred units the pools of the last layer, taken as honest, are looked at: the measure is the mean of
//! |ln(p₀/p₁)|, the ratio of the two labels in a pool, in nats.
//!
//! Everything is stationary by then, so that one run is looked at several times; what counts as one
//! observation is a run.

use super::family::Params;
use super::{Answer, Task};
use crate::design::{Cover, Design, Emission, Packet, Placement, Plan};
use crate::events::{Events, Watch};
use crate::message::Class;
use crate::outcome::Options;
use crate::random::{Purpose, Stream, replication_seed};
use crate::stats::Welford;
use crate::traffic::{Demand, Traffic, Written};

/// Users, where the entry does not say.
const USERS: f64 = 100.0;
/// Ticks of a user's clock in a unit of time, where the entry does not say.
const RATE: f64 = 2.0;
/// For so long the challengers send before anybody looks.
const CHALLENGE: f64 = 100.0;
/// Looks at the last layer in one run.
const LOOKS: u32 = 12;

pub(super) fn likelihood(p: &Params<'_>, task: &Task) -> Result<Answer, String> {
    let layers = p.whole("layers", 1, 20)?;
    let width = p.whole("width", 1, 100)?;
    let corrupt = p.whole("corrupt", 0, layers * width)?;
    let game = Game {
        mu: p.number("mu", 0.02, 100.0)?,
        layers,
        width,
        corrupt: f64::from(corrupt) / f64::from(layers * width),
        users: p.said("U", USERS, 3.0, 10_000.0)?.round() as u32,
        rate: p.said("lam", RATE, 1.001, 1_000.0)?,
    };
    let rule = task.rule(40, 3_000);
    let mut runs = Welford::default();
    for run in 0..2 * rule.most {
        if let Some(mean) = game.play(replication_seed(task.seed, run), task)? {
            runs.push(mean);
        }
        let interval = runs.interval();
        if rule.done(&interval) {
            let note =
                "event engine, clients' traffic of the engines; labels followed through pools";
            return Ok(Answer::new(interval, None, note));
        }
    }
    Err("the two senders are never in one pool".into())
}

struct Game {
    mu: f64,
    layers: u32,
    width: u32,
    /// Share of all mixes.
    corrupt: f64,
    users: u32,
    rate: f64,
}

/// What the challengers were given to send has a label; their cover has none.
struct Labels;

impl Watch<2> for Labels {
    fn lane(&mut self, packet: &Packet, class: Class) -> Option<usize> {
        (class == Class::Payload).then_some(packet.sender as usize)
    }
}

impl Game {
    /// Mean over looks and over the pools of the last layer in which both labels are.
    fn play(&self, seed: u64, task: &Task) -> Result<Option<f64>, String> {
        let way = f64::from(self.layers) / self.mu;
        // Nearly every packet is through in a burn-in.
        let start = 4.0 * way + 8.0 / self.mu;
        let gap = 2.0 * way;
        let end = start + CHALLENGE + f64::from(LOOKS) * gap;
        let mut design = Design::bare(self.layers, self.width, 1.0 / self.mu);
        design.emission = Emission {
            payload_rate: self.rate,
            cover: Cover::Substitute,
            ..Emission::default()
        };
        design.corrupt_mixes = Placement::Random(self.corrupt);
        let mut plan = Plan::new(&design, seed).map_err(|e| e.to_string())?;
        #[cfg(test)]
        {
            plan = plan.broken(task.fault);
        }
        #[cfg(not(test))]
        let super::Fault::None = task.fault;
        let last = (self.layers - 1) * self.width;
        plan.corrupt[last as usize..].fill(false);
        let mut phases = Stream::new(seed, Purpose::CLIENT, u64::MAX);
        let mut given: Vec<Written> = (0..2u32)
            .flat_map(|from| {
                let first = start + phases.uniform();
                let to = 2;
                (0..(end - first) as u32 + 1).map(move |n| Written {
                    time: first + f64::from(n),
                    from,
                    to,
                })
            })
            .collect();
        given.sort_by(|a, b| a.time.total_cmp(&b.time));
        let traffic = Traffic::new(&design, self.users, Demand::Trace(given), seed, f64::MAX);
        let mut options = Options::new(seed, 0);
        options.tracked = Vec::new();
        let mut labels = Labels;
        let mut engine = Events::new(&plan, traffic, &options, &mut labels);
        let mut ratios = Welford::default();
        for look in 0..LOOKS {
            let at = start + CHALLENGE + f64::from(look) * gap;
            engine.run_until(at).map_err(|e| e.to_string())?;
            for node in last..last + self.width {
                let (_, [a, b]) = engine.pool(node);
                if a > 0.0 && b > 0.0 {
                    ratios.push((a / b).ln().abs());
                }
            }
        }
        Ok((ratios.count() > 0).then(|| ratios.mean()))
    }
}

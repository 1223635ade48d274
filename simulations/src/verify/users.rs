//! Entropy over users, by the sweep: an observer of the network's two ends sees when everybody sends and when one message
//! comes out, and weighs every earlier packet by the density of the delay (Danezis, PET 2004). It sees no pool: where pools are
//! nearly empty whoever does knows more (a tenth of a bit at three packets a mean delay).

use super::family::Params;
use super::layers::{Tracking, steady};
use super::{Answer, Task};
use crate::attacks::matching::Kernel;
use crate::design::Packet;
use crate::message::Class;
use crate::outcome::{Options, Probe};
use crate::random::replication_seed;
use crate::stats::Welford;
use anonymity::users as over_users;

/// Mean hop delays between two messages that are judged: their windows have little in common.
const APART: f64 = 8.0;
/// Packets in one run.
const PACKETS: f64 = 2e6;

/// N users who each send x packets in a mean hop delay, one mix in each layer (as in dense traffic).
pub(super) fn entropy(p: &Params<'_>, task: &Task) -> Result<Answer, String> {
    let population = p.whole("N", 2, 1_000_000)?;
    let x = p.number("x", 1e-4, 1e3)?;
    let layers = p.whole("L", 1, 20)?;
    let rate = x * f64::from(population);
    let mut tracking = Tracking::poisson(layers, 1, rate, 1.0);
    tracking.population = population;
    let rule = task.rule(16, 100_000);
    let mut all = Welford::default();
    for round in 0.. {
        let seed = replication_seed(task.seed, round);
        for entropy in judge(&tracking, seed, task)? {
            all.push(entropy);
        }
        let interval = all.interval();
        if rule.done(&interval) {
            let closed = over_users::entropy(f64::from(population), x, layers);
            let note = "sweep; both ends seen, no pools";
            return Ok(Answer::new(interval, Some(closed), note));
        }
    }
    unreachable!("rounds do not end")
}

/// Every so many messages: when it was sent, and when it came out.
struct Ends {
    every: u64,
    after: f64,
    seen: Vec<(f64, f64)>,
}

impl Probe<1> for Ends {
    fn delivered(&mut self, time: f64, packet: &Packet, _class: Class, _mass: &[f64; 1]) {
        if packet.id.is_multiple_of(self.every) && packet.sent >= self.after {
            self.seen.push((packet.sent, time));
        }
    }
}

/// Entropies of the messages that are judged in one run.
fn judge(tracking: &Tracking, seed: u64, task: &Task) -> Result<Vec<f64>, String> {
    let kernel = Kernel::new(tracking.design.topology.hops(), 1.0);
    let judged = (PACKETS / (tracking.rate * APART)).clamp(8.0, 2_000.0);
    let messages = (tracking.rate * (2.0 * kernel.reach + APART * judged)).ceil() as usize;
    let mut options = Options::new(seed, 0);
    options.tracked = Vec::new();
    options.warm_up = Some(0.0);
    options.drain = true;
    let mut ends = Ends {
        every: (tracking.rate * APART).ceil() as u64,
        after: kernel.reach,
        seen: Vec::new(),
    };
    let sent = || steady(seed, tracking.rate, tracking.population).take(messages);
    let plan = tracking.plan(seed, task.fault)?;
    tracking.run(&plan, &options, sent(), &mut ends)?;
    ends.seen.sort_by(|a, b| a.1.total_cmp(&b.1));
    // What was sent, once more, as far back as it can matter.
    let mut upcoming = sent().peekable();
    let mut window = std::collections::VecDeque::new();
    let mut weights = vec![0.0; tracking.population as usize];
    let mut out = Vec::with_capacity(ends.seen.len());
    for (_, time) in ends.seen {
        while let Some(message) = upcoming.next_if(|m| m.time < time) {
            window.push_back((message.time, message.sender));
        }
        while window.front().is_some_and(|w| w.0 < time - kernel.reach) {
            window.pop_front();
        }
        // The last messages have no successors that would hide them.
        if upcoming.peek().is_none() {
            break;
        }
        weights.fill(0.0);
        for (at, sender) in &window {
            weights[*sender as usize] += kernel.density(time - at);
        }
        out.push(bits(&weights));
    }
    Ok(out)
}

/// Shannon entropy of weights.
fn bits(weights: &[f64]) -> f64 {
    let sum: f64 = weights.iter().sum();
    let some = weights.iter().filter(|w| **w > 0.0);
    some.map(|w| -(w / sum) * (w / sum).log2()).sum()
}

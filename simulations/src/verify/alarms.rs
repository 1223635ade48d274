//! Loops as an alarm, on the event engine: an adversary cuts a mix off, or drops a part of what comes, and loops that
//! are missing betray it.

use super::family::Params;
use super::{Answer, Task};
use crate::design::{Design, Packet, Plan};
use crate::events::{self, Events, Fate, Watch};
use crate::message::{Class, Message};
use crate::outcome::Options;
use crate::random::{Purpose, Stream, replication_seed};
use crate::stats::share_interval;
use anonymity::active;

/// A mix that was cut off at time 0.
struct CutOff {
    /// Departures from then on, later than this.
    after: f64,
    stays: Vec<f64>,
    /// The first loop that was dropped.
    missed: f64,
}

impl Watch<0> for CutOff {
    fn on_link(&mut self, now: f64, to: Option<u32>, _packet: &Packet, class: Class) -> Fate {
        if to.is_none() || now == 0.0 {
            return Fate::Pass;
        }
        if class == Class::Loop {
            self.missed = self.missed.min(now);
        }
        Fate::Drop
    }

    fn departed(&mut self, now: f64, _node: u32, _packet: &Packet, _stay: u32) {
        if now >= self.after {
            self.stays.push(now);
        }
    }
}

/// A mix of mean pool ρ in its steady state (ρ packets on average, whose delays have no memory) is cut off until `eps` others
/// are left in it on average, as measured over all trials; detected if one of its own loops was dropped meanwhile.
/// What the adversary drops beside loops is not sent: it would change nothing.
pub(super) fn blocking(p: &Params<'_>, task: &Task) -> Result<Answer, String> {
    let rho = p.number("rho", 1e-2, 1e5)?;
    let loops = p.number("lamM_over_mu", 0.0, 1e4)?;
    let left = p.number("eps", 1e-6, rho)?;
    let time = active::blocking_time(rho, left, 1.0).value;
    // When the mixes hold `left` on average is measured; only packets that stay longer than three quarters of the way matter.
    let after = 0.75 * time;
    let horizon = 2.0 * time + 1.0;
    let plan = Plan::new(&Design::bare(1, 1, 1.0), task.seed).map_err(|e| e.to_string())?;
    let rule = task.rule(1_000, 200_000);
    let (mut stays, mut missed) = (Vec::new(), Vec::new());
    loop {
        for _ in 0..500 {
            let seed = replication_seed(task.seed, missed.len() as u64);
            // Delays follow from a plan's seed: one for each trial.
            let plan = Plan::new(&plan.design, seed).map_err(|e| e.to_string())?;
            #[cfg(test)]
            let plan = plan.broken(task.fault);
            let mut draws = Stream::new(seed, Purpose::ARRIVAL, 0);
            let message = |time, class| Message {
                time,
                sender: 0,
                receiver: 0,
                class,
            };
            let mut sent: Vec<Message> = (0..draws.poisson(rho))
                .map(|_| message(0.0, Class::Payload))
                .collect();
            let mut at = 0.0;
            while loops > 0.0 && at < horizon {
                at += draws.exponential(1.0 / loops);
                sent.push(message(at, Class::Loop));
                if at >= time {
                    break;
                }
            }
            let mut options = Options::new(seed, 0);
            options.drain = true;
            let mut watch = CutOff {
                after,
                stays: Vec::new(),
                missed: f64::INFINITY,
            };
            let mut engine = Events::new(&plan, sent.into_iter(), &options, &mut watch);
            engine.run_until(horizon).map_err(|e| e.to_string())?;
            stays.append(&mut watch.stays);
            missed.push(watch.missed);
        }
        stays.sort_unstable_by(f64::total_cmp);
        let trials = missed.len() as u64;
        // From here on so many are left in all trials together.
        let rank = stays
            .len()
            .saturating_sub((missed.len() as f64 * left) as usize);
        let emptied = stays.get(rank).copied().unwrap_or(after);
        let seen = missed.iter().filter(|m| **m < emptied).count() as u64;
        let interval = share_interval(seen, trials);
        if rule.done(&interval) {
            let closed = active::detection(loops, time);
            return Ok(Answer::new(interval, Some(closed), "event engine"));
        }
    }
}

/// Loops in windows of one unit of time, some of which get lost.
struct Lossy {
    loss: f64,
    block: f64,
    draws: Stream,
    back: Vec<u64>,
}

impl Watch<0> for Lossy {
    fn on_link(&mut self, _now: f64, to: Option<u32>, _packet: &Packet, _class: Class) -> Fate {
        let lost = to.is_some() && (self.draws.chance(self.loss) || self.draws.chance(self.block));
        if lost { Fate::Drop } else { Fate::Pass }
    }

    fn delivered(
        &mut self,
        _now: f64,
        packet: &Packet,
        _class: Class,
        _mass: &[f64; 0],
        _orders: &mut events::Orders,
    ) {
        if let Some(count) = self.back.get_mut(packet.sent as usize) {
            *count += 1;
        }
    }
}

/// Windows in one run.
const WINDOWS: usize = 2_000;

/// Loops sent by a Poisson clock, some lost anyway, some by an attack: how often too few come back. The threshold is the
/// highest with false alarms at most 10⁻⁴.
pub(super) fn loop_alarm(p: &Params<'_>, task: &Task) -> Result<Answer, String> {
    let expected = p.number("expected_loops", 1e-2, 1e4)?;
    let loss = p.number("loss", 0.0, 1.0)?;
    let block = p.number("block", 0.0, 1.0)?;
    let alarm = active::LoopAlarm::new(expected, loss, 1e-4).ok_or("no threshold for these")?;
    let rule = task.rule(10_000, 400_000);
    let (mut raised, mut trials) = (0, 0u64);
    for run in 0.. {
        let seed = replication_seed(task.seed, run);
        let plan = Plan::new(&Design::bare(1, 1, 1.0), seed).map_err(|e| e.to_string())?;
        let mut clock = Stream::new(seed, Purpose::NODE_LOOP, 0);
        let mut time = 0.0;
        let loops = std::iter::from_fn(|| {
            time += clock.exponential(1.0 / expected);
            (time < WINDOWS as f64).then_some(Message {
                time,
                sender: 0,
                receiver: 0,
                class: Class::Loop,
            })
        });
        let mut options = Options::new(seed, 0);
        options.drain = true;
        let mut watch = Lossy {
            loss,
            block,
            draws: Stream::new(seed, Purpose::LINK, 0),
            back: vec![0; WINDOWS],
        };
        let mut engine = Events::new(&plan, loops, &options, &mut watch);
        engine.run_until(f64::INFINITY).map_err(|e| e.to_string())?;
        let few = |back: &&u64| **back < alarm.threshold;
        raised += watch.back.iter().filter(few).count() as u64;
        trials += WINDOWS as u64;
        let interval = share_interval(raised, trials);
        if rule.done(&interval) {
            let closed = Some(alarm.detection(block));
            return Ok(Answer::new(interval, closed, "event engine"));
        }
    }
    unreachable!("runs do not end")
}

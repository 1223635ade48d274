//! A2: the two-challenger game. Two senders are known to have sent; one leaving packet is one of theirs. Which?
//!
//! The bare network of the Loopix study (users, layers of Poisson mixes), with its measure ε, and the advantage of the
//! best guess, which ε only bounds.

use super::{Attack, AttackError, Findings, Progress, Setting};
use crate::metrics::{Interval, Measure, Metric, advantage, mean, proportion};
use crate::plot::{Axis, Figure, Point, Series, Shape};
use crate::random::{Purpose, Stream};

/// As in the catalogue.
pub const ATTACK: Attack = Attack {
    id: "A2",
    title: "two-challenger game",
    sees: "all links; two senders' packets into the network, and one packet that leaves the last layer and is one of the two",
    rule: "exact posterior of both by following their mass from pool to pool; guesses the likelier one (Bayes-optimal)",
    truth: "the simulator knows which of the two it is",
    run,
};

/// A bare stratified network.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Game {
    /// Users, each a Poisson stream.
    pub users: usize,
    /// Packets a second of each.
    pub rate: f64,
    /// Layers.
    pub layers: usize,
    /// Mixes in each layer.
    pub width: usize,
    /// 1/μ.
    pub delay: f64,
    /// The adversary's mixes, of all.
    pub corrupt: usize,
}

/// What one game gave.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Played {
    /// Mass of the two challengers in the packet to judge.
    pub mass: [f64; 2],
    /// Whose it is.
    pub truth: usize,
    /// |ln(p0/p1)| in the last pools when the packet leaves; infinite where one is impossible.
    pub epsilon: f64,
}

struct Packet {
    at: f64,
    mix: usize,
    mass: [f64; 2],
    challenger: Option<usize>,
}

impl Game {
    /// Plays once. The challengers' packets enter within one mean delay of each other.
    pub fn play(&self, seed: u64, game: u64) -> Played {
        let mut draws = Stream::new(seed, Purpose::ADVERSARY, game);
        let warm = self.delay * (self.layers as f64 * 2.0 + 6.0);
        let end = warm + self.delay * (self.layers as f64 * 3.0 + 12.0);
        let total = self.users as f64 * self.rate;
        let corrupt = self.placement(&mut draws);
        let mut packets = Vec::new();
        let mut at = draws.exponential(1.0 / total);
        while at < end {
            packets.push(Packet {
                at,
                mix: 0,
                mass: [0.0; 2],
                challenger: None,
            });
            at += draws.exponential(1.0 / total);
        }
        for (challenger, mass) in [[1.0, 0.0], [0.0, 1.0]].into_iter().enumerate() {
            packets.push(Packet {
                at: warm + draws.uniform() * self.delay,
                mix: 0,
                mass,
                challenger: Some(challenger),
            });
        }
        for layer in 0..self.layers {
            packets = self.pass(
                packets,
                &corrupt[layer * self.width..][..self.width],
                &mut draws,
            );
        }
        let truth = draws.below(2) as usize;
        let judged = packets.iter().find(|p| p.challenger == Some(truth));
        let mass = judged.map_or([0.0; 2], |p| p.mass);
        let epsilon = if mass[0] > 0.0 && mass[1] > 0.0 {
            (mass[0] / mass[1]).ln().abs()
        } else {
            f64::INFINITY
        };
        Played {
            mass,
            truth,
            epsilon,
        }
    }

    fn placement(&self, draws: &mut Stream) -> Vec<bool> {
        let mixes = self.layers * self.width;
        let mut out = vec![false; mixes];
        out[..self.corrupt.min(mixes)].fill(true);
        draws.shuffle(&mut out);
        out
    }

    /// One layer: everything arrives at a mix drawn at random and leaves after an exponential time; what leaves an honest
    /// one carries an equal part of the pool's mass.
    fn pass(&self, mut packets: Vec<Packet>, corrupt: &[bool], draws: &mut Stream) -> Vec<Packet> {
        for packet in &mut packets {
            packet.mix = draws.below(self.width as u64) as usize;
        }
        packets.sort_by(|a, b| a.at.total_cmp(&b.at));
        let leaves: Vec<f64> = packets
            .iter()
            .map(|p| p.at + draws.exponential(self.delay))
            .collect();
        // (time, is a departure, packet)
        let arrivals = packets.iter().enumerate().map(|(i, p)| (p.at, false, i));
        let mut events: Vec<(f64, bool, usize)> = arrivals
            .chain(leaves.iter().enumerate().map(|(i, t)| (*t, true, i)))
            .collect();
        events.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut pools = vec![(0.0f64, [0.0f64; 2]); self.width];
        for (at, departs, i) in events {
            let packet = &mut packets[i];
            if corrupt[packet.mix] {
                packet.at = if departs { at } else { packet.at };
                continue;
            }
            let (count, mass) = &mut pools[packet.mix];
            if departs {
                for (all, own) in mass.iter_mut().zip(&mut packet.mass) {
                    *own = *all / *count;
                    *all -= *own;
                    // What is left of nothing is nothing.
                    *all = if *count > 1.5 { all.max(0.0) } else { 0.0 };
                }
                *count -= 1.0;
                packet.at = at;
            } else {
                *count += 1.0;
                for (all, own) in mass.iter_mut().zip(packet.mass) {
                    *all += own;
                }
            }
        }
        packets
    }
}

/// A game, what is different about it, and where that stands on an axis.
type Variant = (String, f64, Game);

/// Many games.
fn play(game: &Game, games: u64, seed: u64) -> (Interval, Interval, Interval, Interval) {
    let (mut epsilons, mut impossible, mut right, mut blind) = (Vec::new(), 0, 0, 0);
    for n in 0..games {
        let played = game.play(seed, n);
        match played.epsilon.is_finite() {
            true => epsilons.push(played.epsilon),
            false => impossible += 1,
        }
        let guess = usize::from(played.mass[1] > played.mass[0]);
        right += u64::from(guess == played.truth);
        // An adversary without sight judges another game's packet.
        let other = game.play(seed ^ 0x5eed, n | 1 << 50);
        blind += u64::from(usize::from(other.mass[1] > other.mass[0]) == played.truth);
    }
    (
        mean(&epsilons),
        proportion(impossible, games),
        advantage(right, games),
        advantage(blind, games),
    )
}

fn run(setting: &Setting, progress: Progress<'_>) -> Result<Findings, AttackError> {
    let games = setting.effort.pick(60, 300);
    let base = Game {
        users: 100,
        rate: 2.0,
        layers: 3,
        width: 3,
        delay: 1.0,
        corrupt: 0,
    };
    let mut findings = Findings::default();
    // Our measure is of one packet at its leaving; the study's is of a final pool. Only its trend is comparable.
    let delays = [0.2, 0.6, 1.0, 1.4, 2.0].map(|mu| {
        (
            format!("μ = {mu}/s"),
            mu,
            Game {
                delay: 1.0 / mu,
                ..base
            },
        )
    });
    let layers =
        [1usize, 2, 3, 5, 8].map(|l| (format!("{l} layers"), l as f64, Game { layers: l, ..base }));
    let corrupt = [0usize, 2, 4, 6, 8].map(|c| {
        (
            format!("{c} of 9 mixes corrupt"),
            c as f64,
            Game { corrupt: c, ..base },
        )
    });
    let quiet = [0.02, 0.1, 0.5].map(|r| {
        (
            format!("{r} packets/s of each user"),
            r,
            Game { rate: r, ..base },
        )
    });
    let mut series = Vec::new();
    let groups: [(&str, Vec<Variant>); 4] = [
        ("μ (1/s)", delays.to_vec()),
        ("layers", layers.to_vec()),
        ("corrupt mixes of 9", corrupt.to_vec()),
        ("packets/s of each user", quiet.to_vec()),
    ];
    for (step, (name, group)) in groups.into_iter().enumerate() {
        progress(step as u64, 4, name);
        let mut points = Vec::new();
        for (of, x, game) in group {
            let (epsilon, delta, won, blind) = play(&game, games, setting.seed);
            findings
                .measures
                .push(Measure::new(Metric::Epsilon, of.clone(), epsilon));
            findings
                .measures
                .push(Measure::new(Metric::Delta, of.clone(), delta));
            findings
                .measures
                .push(Measure::new(Metric::Advantage, of.clone(), won));
            findings
                .null
                .push(Measure::new(Metric::Advantage, of, blind));
            points.push(Point::with(x, &won));
        }
        series.push(Series::new(name, Shape::Line, points));
    }
    findings.figures.push(Figure {
        id: "challengers".into(),
        title: "A2: advantage of the best guess between two senders".into(),
        caption: format!(
            "2·accuracy − 1 with 95 % intervals (Clopper-Pearson), {games} games a point. Where not varied: 100 users at 2 \
             packets/s, 3 layers of 3 mixes, μ = 1/s."
        ),
        x: Axis::log("what is varied (see legend)"),
        y: Axis::linear("advantage"),
        series,
    });
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAME: Game = Game {
        users: 20,
        rate: 2.0,
        layers: 2,
        width: 2,
        delay: 0.5,
        corrupt: 0,
    };

    #[test]
    fn masses_are_probabilities_and_a_corrupt_network_hides_nothing() {
        for game in 0..20 {
            let played = GAME.play(1, game);
            assert!(
                played.mass.iter().all(|m| (0.0..=1.0).contains(m)),
                "{played:?}"
            );
            assert!(
                played.mass[played.truth] > 0.0,
                "the truth is never impossible"
            );
            let bare = Game { corrupt: 4, ..GAME }.play(1, game);
            assert!((bare.mass[bare.truth] - 1.0).abs() < 1e-12 && bare.epsilon.is_infinite());
        }
    }

    #[test]
    fn short_delays_give_more_away_and_the_blind_stay_blind() {
        // The two enter within one delay of each other in both, so that they mix with each other alike; what differs
        // is how many others they mix with.
        let long = play(&Game { delay: 2.0, ..GAME }, 800, 3);
        let short = play(
            &Game {
                delay: 0.01,
                ..GAME
            },
            800,
            3,
        );
        assert!(short.2.low > long.2.value, "{:?} {:?}", short.2, long.2);
        assert!(long.3.low < 0.0 && long.3.high > 0.0);
    }
}

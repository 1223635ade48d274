//! A5: statistical disclosure: whom does the target write to, from many rounds in each of which only the sets of senders
//! and of receivers are seen?
//!
//! The rules are in `attacks/profiles/rules.rs`. Rounds are batches, as in the literature; a continuous mix gives the same by delay-weighted counts, which is what
//! A4 measures. Cover multiplies a round's size; an inbox that is not known to be somebody's ends the attack at the inbox.

mod rules;

pub use rules::{LeastSquares, Round, Statistical};

use super::{Attack, AttackError, Findings, Progress, Setting};
use crate::metrics::{Measure, Metric, mean, median_between, proportion};
use crate::plot::{Axis, Figure, Point, Series, Shape};
use crate::random::{Purpose, Stream};
use rules::answers;

/// As in the catalogue.
pub const ATTACK: Attack = Attack {
    id: "A5",
    title: "statistical disclosure: SDA, LSDA and reverse SDA",
    sees: "for each round who sent how much and which recipients (or inboxes) got how much",
    rule: "SDA: mean of the rounds with the target less mean of those without; LSDA: least squares over all senders (unbiased, \
           of the least variance among linear rules); reverse SDA adds the rounds in which friends answer. All suboptimal \
           against a full Bayesian matching, which is not built",
    truth: "the simulator knows every friend",
    run,
};

/// Who writes to whom.
#[derive(Clone, Copy, PartialEq, Debug)]
struct World {
    /// Users; each may send and receive.
    users: usize,
    /// Friends of each, written to equally often.
    friends: usize,
    /// Messages in a round.
    batch: usize,
    /// Dummies for each real message, to random recipients.
    cover: f64,
    /// The target's messages in a round in which it is active.
    own: usize,
    /// Probability that a message is answered in the next round.
    answers: f64,
}

impl World {
    /// Friend `k` of a user.
    fn friend(&self, user: usize, k: usize) -> usize {
        // Spread so that two users seldom share one, and that a user's friends are different people.
        (user * 31 + k * 13 + 1) % self.users
    }

    /// User 0 is the target; it is active in every other round.
    fn rounds(&self, count: usize, draws: &mut Stream) -> Vec<Round> {
        let mut owed: Vec<usize> = Vec::new();
        (0..count)
            .map(|n| {
                let mut round = Round::default();
                let mut to_target = std::mem::take(&mut owed);
                let own = if n % 2 == 0 { self.own } else { 0 };
                for i in 0..self.batch {
                    let (from, to) = match () {
                        () if i < own => {
                            let to = self.friend(0, draws.below(self.friends as u64) as usize);
                            if draws.chance(self.answers) {
                                owed.push(to);
                            }
                            (0, to)
                        }
                        () => match to_target.pop() {
                            Some(friend) => (friend, 0),
                            None => {
                                let from = 1 + draws.below(self.users as u64 - 1) as usize;
                                let k = draws.below(self.friends as u64) as usize;
                                (from, self.friend(from, k))
                            }
                        },
                    };
                    round.sent.push(from as u32);
                    round.got.push(to as u32);
                    let mut dummies = self.cover;
                    while dummies >= 1.0 || (dummies > 0.0 && draws.chance(dummies)) {
                        round.got.push(draws.below(self.users as u64) as u32);
                        dummies -= 1.0;
                    }
                }
                round
            })
            .collect()
    }
}

/// The target is user 0, who does not write to itself.
fn others(mut scores: Vec<f64>) -> Vec<f64> {
    scores[0] = f64::NEG_INFINITY;
    scores
}

/// Each recipient's score by SDA; with `back`, friends who send when the target receives count too.
fn sda(world: &World, rounds: &[Round], back: bool) -> Vec<f64> {
    let mut statistical = Statistical::new(world.users);
    for round in rounds {
        statistical.add(round.sent.contains(&0), round.got.iter().copied());
    }
    let mut scores = statistical.scores();
    if back {
        for (score, more) in scores.iter_mut().zip(answers(world.users, rounds, 0)) {
            *score += more;
        }
    }
    others(scores)
}

/// The target's profile by least squares over all senders, and one unknown more for what no sender explains.
fn lsda(world: &World, rounds: &[Round]) -> Vec<f64> {
    let squares = LeastSquares::of(rounds, world.users, true);
    others(squares.map_or_else(
        || vec![0.0; world.users],
        |s| s.profile(rounds, world.users, 0),
    ))
}

/// How many of the target's friends are among the first m.
fn precision(world: &World, scores: &[f64]) -> f64 {
    let mut order: Vec<usize> = (0..world.users).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let friends: Vec<usize> = (0..world.friends).map(|k| world.friend(0, k)).collect();
    let found = order[..world.friends]
        .iter()
        .filter(|u| friends.contains(u))
        .count();
    found as f64 / world.friends as f64
}

/// Scores of all recipients.
type Rule = fn(&World, &[Round]) -> Vec<f64>;

const RULES: [(&str, Rule); 3] = [
    ("SDA", |w, r| sda(w, r, false)),
    ("reverse SDA", |w, r| sda(w, r, true)),
    ("LSDA", lsda),
];

fn run(setting: &Setting, progress: Progress<'_>) -> Result<Findings, AttackError> {
    let mut findings = Findings::default();
    let world = World {
        users: 100,
        friends: 5,
        batch: 20,
        cover: 0.0,
        own: 1,
        answers: 0.5,
    };
    let trials = setting.effort.pick(6, 40);
    let steps = [25usize, 50, 100, 200, 400, 800];
    let mut series = Vec::new();
    for (i, cover) in [0.0, 1.0, 4.0].into_iter().enumerate() {
        let world = World { cover, ..world };
        for (j, (name, rule)) in RULES.iter().enumerate() {
            progress((i * 3 + j) as u64, 9, name);
            let mut by_step = vec![Vec::new(); steps.len()];
            let (mut rounds, mut never) = (Vec::new(), 0);
            for trial in 0..trials {
                let mut draws = Stream::new(
                    setting.seed,
                    Purpose::RECEIVER,
                    (trial as u64) << 8 | i as u64,
                );
                let seen = world.rounds(steps[steps.len() - 1], &mut draws);
                let mut all = None;
                for (samples, n) in by_step.iter_mut().zip(steps) {
                    let p = precision(&world, &rule(&world, &seen[..n]));
                    samples.push(p);
                    all = if p >= 1.0 {
                        all.or(Some(n as f64))
                    } else {
                        None
                    };
                }
                match all {
                    Some(n) => rounds.push(n),
                    None => never += 1,
                }
            }
            let of = format!("{name}, {cover:.0} dummies for each message");
            let last = &by_step[steps.len() - 1];
            findings.measures.push(
                Measure::new(Metric::PrecisionAtM, of.clone(), mean(last))
                    .against(world.friends as f64 / world.users as f64),
            );
            findings.measures.push(Measure::new(
                Metric::RoundsToDisclosure,
                of.clone(),
                median_between(&rounds, never),
            ));
            let points = steps
                .iter()
                .zip(&by_step)
                .map(|(n, s)| Point::with(*n as f64, &mean(s)));
            if cover < 2.0 {
                series.push(Series::new(of, Shape::Line, points.collect()));
            }
        }
    }
    null(&mut findings, &world, setting);
    findings.figures.push(Figure {
        id: "profiles".into(),
        title: "A5: whom does the target write to?".into(),
        caption: format!(
            "Share of the target's {} friends among the {} recipients that rank first; {} users, {} messages a round, mean of {trials} \
             worlds with 95 % intervals.",
            world.friends, world.friends, world.users, world.batch
        ),
        x: Axis::log("rounds seen"),
        y: Axis::linear("friends found (share)"),
        series,
    });
    findings.notes.push(
        "In the echo design a recipient is an inbox with one writer and one reader: nobody but its gateway sees what it gets, and \
         what this attack then finds is which client writes to the inbox (A4 and A14), not to whom."
            .into(),
    );
    Ok(findings)
}

/// A target that never writes: its friends rank as anybody.
fn null(findings: &mut Findings, world: &World, setting: &Setting) {
    let trials = setting.effort.pick(60, 400);
    for (name, rule) in RULES {
        let (mut hits, mut of) = (0u64, 0u64);
        for trial in 0..trials {
            let mut draws = Stream::new(setting.seed, Purpose::RECEIVER, 1 << 40 | trial as u64);
            // The rounds are those of a world in which somebody else's friends are meant.
            let mut seen = world.rounds(60, &mut draws);
            for round in &mut seen {
                // Recipients are renamed at random: what was sent says nothing about who got it.
                let mut names: Vec<u32> = (0..world.users as u32).collect();
                draws.shuffle(&mut names);
                round
                    .got
                    .iter_mut()
                    .for_each(|to| *to = names[*to as usize]);
            }
            let p = precision(world, &rule(world, &seen));
            hits += (p * world.friends as f64).round() as u64;
            of += world.friends as u64;
        }
        let chance = world.friends as f64 / (world.users - 1) as f64;
        let measure = Measure::new(
            Metric::PrecisionAtM,
            format!("{name}, recipients shuffled"),
            proportion(hits, of),
        );
        findings.null.push(measure.against(chance));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORLD: World = World {
        users: 60,
        friends: 4,
        batch: 12,
        cover: 0.0,
        own: 1,
        answers: 0.0,
    };

    #[test]
    fn friends_are_found_and_cover_slows_it() {
        let found = |cover, rounds, rule: Rule| {
            let world = World { cover, ..WORLD };
            let of = |trial| {
                let seen = world.rounds(rounds, &mut Stream::new(5, Purpose::FREE, trial));
                precision(&world, &rule(&world, &seen))
            };
            (0..6).map(of).sum::<f64>() / 6.0
        };
        assert!(found(0.0, 600, RULES[0].1) > 0.9);
        assert!(found(0.0, 600, RULES[2].1) > 0.9);
        assert!(found(8.0, 100, RULES[0].1) < found(0.0, 100, RULES[0].1));
    }

    #[test]
    fn friends_are_different_people() {
        for world in [
            WORLD,
            World {
                users: 100,
                friends: 5,
                ..WORLD
            },
        ] {
            let mut friends: Vec<_> = (0..world.friends).map(|k| world.friend(0, k)).collect();
            friends.sort_unstable();
            friends.dedup();
            assert_eq!(friends.len(), world.friends);
            assert!(!friends.contains(&0));
        }
    }
}

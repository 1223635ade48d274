//! Statistical disclosure in rounds, as in the literature: in each round the target writes to one of its friends, and
//! the others to anybody. The rules are those of attack A5.

use super::family::Params;
use super::{Answer, Task};
use crate::attacks::profiles::{LeastSquares, Round, Statistical};
use crate::random::{Keyed, Purpose, Stream, replication_seed};
use crate::stats::Welford;
use anonymity::Value;
use anonymity::disclosure::{Disclosure, least_squares_error, rounds};

/// Share of the target's friends among the `m` recipients that got most, after as many rounds as Danezis' formula says.
pub(super) fn statistical(p: &Params<'_>, task: &Task) -> Result<Answer, String> {
    let recipients = p.whole("N", 2, 10_000_000)?;
    let batch = p.whole("b", 1, 1_000_000)?;
    let friends = p.whole("m", 1, recipients)?;
    let l = p.number("l", 0.1, 20.0)?;
    let population = Disclosure {
        recipients: f64::from(recipients),
        batch: f64::from(batch),
        friends: f64::from(friends),
    };
    let needed = rounds(&population, l).value.ceil();
    if needed * f64::from(batch) > 2e9 {
        return Err(
            "more than two thousand million messages in one attack: too many to run".into(),
        );
    }
    let rule = task.rule(40, 4_000);
    let mut shares = Welford::default();
    loop {
        let seed = replication_seed(task.seed, shares.count());
        shares.push(found(recipients, batch, friends, needed as u64, seed));
        let interval = shares.interval();
        if rule.done(&interval) {
            let mut answer = Answer::new(interval, None, "rounds drawn, SDA of A5");
            if let super::Expected::Several(all) = &p.0.expected
                && let Some(said) = all.get("t")
                && *said != needed
            {
                answer.objection = Some(format!("the formula needs {needed} rounds, not {said}"));
            }
            return Ok(answer);
        }
    }
}

fn found(recipients: u32, batch: u32, friends: u32, rounds: u64, seed: u64) -> f64 {
    let mut attack = Statistical::new(recipients as usize);
    let mut draws = Stream::new(seed, Purpose::RECEIVER, 0);
    let keyed = Keyed::new(seed, Purpose::SENDER);
    let blocks = u64::from(batch).div_ceil(4);
    for round in 0..rounds {
        // The friends are the first: recipients are alike otherwise.
        let own = draws.below(u64::from(friends)) as u32;
        // Others: two recipients from each word, of 32 bits; the bias is below N/2³².
        let to = |half: u64| ((half * u64::from(recipients)) >> 32) as u32;
        let words = (0..blocks).flat_map(|i| keyed.block(0, round * blocks + i));
        let others = words.flat_map(|word| [to(word >> 32), to(word & 0xffff_ffff)]);
        attack.add(true, others.take(batch as usize - 1).chain([own]));
    }
    // The m with the highest scores; ties by chance.
    let scores = attack.scores();
    let mut order: Vec<(f64, u64, usize)> = scores
        .into_iter()
        .enumerate()
        .map(|(i, score)| (score, keyed.block(1, i as u64)[0], i))
        .collect();
    let place = order.len() - friends as usize;
    if place > 0 {
        order.select_nth_unstable_by(place, |a, b| {
            a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2))
        });
    }
    let hits = order[place..]
        .iter()
        .filter(|o| o.2 < friends as usize)
        .count();
    hits as f64 / f64::from(friends)
}

/// Mean squared error of a least-squares profile over all entries, over what the formula says.
pub(super) fn least_squares(p: &Params<'_>, task: &Task) -> Result<Answer, String> {
    let users = p.whole("users", 2, 400)? as usize;
    let recipients = p.whole("recipients", 2, 2_000)? as usize;
    let batch = p.whole("batch", 1, 10_000)?;
    let rounds = p.whole("rounds", 2, 1_000_000)?;
    if (rounds as usize) < 2 * users {
        return Err(format!(
            "parameter rounds is {rounds}: needs at least two for each user"
        ));
    }
    let rule = task.rule(6, 60);
    let mut ratios = Welford::default();
    loop {
        let seed = replication_seed(task.seed, ratios.count());
        ratios.push(profiles(users, recipients, batch, rounds, seed)?);
        let interval = ratios.interval();
        if rule.done(&interval) {
            let note = "rounds drawn, LSDA of A5";
            return Ok(Answer::new(interval, Some(Value::approximate(1.0)), note));
        }
    }
}

fn profiles(
    users: usize,
    recipients: usize,
    batch: u32,
    rounds: u32,
    seed: u64,
) -> Result<f64, String> {
    let mut draws = Stream::new(seed, Purpose::RECEIVER, 1);
    // Each user's profile: exponential weights, so that some recipients are dearer than others.
    let profile: Vec<Vec<f64>> = (0..users)
        .map(|_| {
            let weights: Vec<f64> = (0..recipients).map(|_| draws.exponential(1.0)).collect();
            let sum: f64 = weights.iter().sum();
            weights.iter().map(|w| w / sum).collect()
        })
        .collect();
    let running: Vec<Vec<f64>> = profile
        .iter()
        .map(|row| {
            let add = |sum: &mut f64, w: &f64| {
                *sum += w;
                Some(*sum)
            };
            row.iter().scan(0.0, add).collect()
        })
        .collect();
    let seen: Vec<Round> = (0..rounds)
        .map(|_| {
            let mut round = Round::default();
            for _ in 0..batch {
                let from = draws.below(users as u64) as usize;
                let u = draws.uniform();
                let to = running[from].partition_point(|w| *w < u);
                round.sent.push(from as u32);
                round.got.push(to.min(recipients - 1) as u32);
            }
            round
        })
        .collect();
    let squares = LeastSquares::of(&seen, users, false);
    let squares = squares.ok_or("the rounds do not tell the senders apart")?;
    let found: Vec<Vec<f64>> = (0..users)
        .map(|user| squares.profile(&seen, recipients, user))
        .collect();
    let (mut error, mut theory) = (0.0, 0.0);
    let share = 1.0 / users as f64;
    for j in 0..recipients {
        let variance: f64 = profile
            .iter()
            .map(|row| share * row[j] * (1.0 - row[j]))
            .sum();
        let one = least_squares_error(f64::from(rounds), f64::from(batch), share, variance);
        theory += one.value * users as f64;
        for (i, row) in profile.iter().enumerate() {
            error += (found[i][j] - row[j]).powi(2);
        }
    }
    Ok(error / theory)
}

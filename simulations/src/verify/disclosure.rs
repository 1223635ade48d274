//! Statistical disclosure in rounds, as in the literature: in each round the target writes to one of its friends, and
//! the others to anybody.

use super::family::Params;
use super::{Answer, Task};
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
            let mut answer = Answer::new(interval, None, "rounds drawn, top m by count");
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
    let mut counts = vec![0u32; recipients as usize];
    let mut draws = Stream::new(seed, Purpose::RECEIVER, 0);
    // The friends are the first: recipients are alike otherwise.
    for _ in 0..rounds {
        counts[draws.below(u64::from(friends)) as usize] += 1;
    }
    // Others: two recipients from each word, of 32 bits; the bias is below N/2³².
    let others = rounds * u64::from(batch - 1);
    let keyed = Keyed::new(seed, Purpose::SENDER);
    let mut drawn = 0;
    let mut block = 0;
    while drawn < others {
        for word in keyed.block(0, block) {
            for half in [word >> 32, word & 0xffff_ffff] {
                if drawn < others {
                    counts[((half * u64::from(recipients)) >> 32) as usize] += 1;
                    drawn += 1;
                }
            }
        }
        block += 1;
    }
    // The m with most; ties by chance.
    let mut order: Vec<(u32, u64, usize)> = counts
        .iter()
        .enumerate()
        .map(|(i, c)| (*c, keyed.block(1, i as u64)[0], i))
        .collect();
    let place = order.len() - friends as usize;
    if place > 0 {
        order.select_nth_unstable(place);
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
            let note = "rounds drawn, normal equations solved";
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
    let mut square = vec![vec![0.0; users]; users];
    let mut mixed = vec![vec![0.0; recipients]; users];
    let (mut sent, mut got) = (vec![0.0; users], vec![0.0; recipients]);
    for _ in 0..rounds {
        sent.fill(0.0);
        got.fill(0.0);
        for _ in 0..batch {
            let from = draws.below(users as u64) as usize;
            let u = draws.uniform();
            let to = running[from]
                .partition_point(|w| *w < u)
                .min(recipients - 1);
            sent[from] += 1.0;
            got[to] += 1.0;
        }
        let active: Vec<usize> = (0..users).filter(|i| sent[*i] > 0.0).collect();
        let reached: Vec<usize> = (0..recipients).filter(|j| got[*j] > 0.0).collect();
        for &i in &active {
            for &k in &active {
                square[i][k] += sent[i] * sent[k];
            }
            for &j in &reached {
                mixed[i][j] += sent[i] * got[j];
            }
        }
    }
    solve(&mut square, &mut mixed).ok_or("the rounds do not tell the senders apart")?;
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
            error += (mixed[i][j] - row[j]).powi(2);
        }
    }
    Ok(error / theory)
}

/// Solves `a x = b` for all columns of `b` in place (Gauss, by the largest pivot).
fn solve(a: &mut [Vec<f64>], b: &mut [Vec<f64>]) -> Option<()> {
    let n = a.len();
    for column in 0..n {
        let pivot =
            (column..n).max_by(|i, k| a[*i][column].abs().total_cmp(&a[*k][column].abs()))?;
        a.swap(column, pivot);
        b.swap(column, pivot);
        let top = a[column].clone();
        let right = b[column].clone();
        if top[column].abs() < 1e-9 {
            return None;
        }
        for row in 0..n {
            if row == column {
                continue;
            }
            let factor = a[row][column] / top[column];
            if factor != 0.0 {
                for k in column..n {
                    a[row][k] -= factor * top[k];
                }
                for (mine, theirs) in b[row].iter_mut().zip(&right) {
                    *mine -= factor * theirs;
                }
            }
        }
    }
    for (row, right) in a
        .iter()
        .enumerate()
        .zip(b.iter_mut())
        .map(|((i, r), b)| (r[i], b))
    {
        for x in right {
            *x /= row;
        }
    }
    Some(())
}

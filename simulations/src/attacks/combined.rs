//! A14: all at once on a real trace: clients come and go with their owners, and the adversary owns the gateway of an
//! inbox and sees who is connected. The headline figure, because it is the worst.

use super::intersection::hours;
use super::{Attack, AttackError, Findings, Progress, Setting};
use crate::metrics::{Interval, Measure, Metric, auc, median_between, proportion};
use crate::plot::{Axis, Figure, Point, Series, Shape};
use crate::random::{Purpose, Stream};
use crate::replay::Conversation;
use std::collections::BTreeMap;

/// As in the catalogue.
pub const ATTACK: Attack = Attack {
    id: "A14",
    title: "churn, disclosure and a corrupt inbox gateway on a real trace",
    sees: "in which hours each client is connected, and, inside the gateway of one inbox, in which hours a cell is laid \
           there (its writer is online) and in which hours it is asked (its reader is online)",
    rule: "writer: log-likelihood of each client's hours given the hours with a cell, with two in a hundred wrong, and whoever scores \
           highest (optimal for independent hours); reader: whoever alone fits the hours in which the inbox is asked (suboptimal)",
    truth: "the trace says who wrote to whom",
    run,
};

/// Clocks differ, connections break: so many hours do not fit though the pair is the true one.
const WRONG: f64 = 0.02;

/// How people run their clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Habit {
    /// Only in hours in which they read or write.
    OnlyInUse,
    /// Also in the hours after, with this probability in a thousand for each further hour.
    Lingering(u64),
    /// Always.
    Always,
}

fn run(setting: &Setting, progress: Progress<'_>) -> Result<Findings, AttackError> {
    let made_up;
    let people = match &setting.people {
        Some(trace) => trace,
        None => {
            made_up =
                Conversation::made_up(setting.seed, setting.effort.pick(60, 200), 24.0 * 3_600.0);
            &made_up
        }
    };
    let mut findings = Findings::default();
    let targets = 60;
    let habits = [
        ("clients run only in hours of use", Habit::OnlyInUse),
        ("clients linger for three hours", Habit::Lingering(667)),
        ("clients linger for a day", Habit::Lingering(960)),
        ("clients always run", Habit::Always),
    ];
    let mut series = Vec::new();
    for (i, (name, habit)) in habits.into_iter().enumerate() {
        progress(i as u64, habits.len() as u64, name);
        let online = linger(&hours(people), habit, setting.seed);
        let result = attack(people, &online, targets, setting.seed);
        let of = format!("people, {name}: who writes to the inbox");
        let first = proportion(result.first, result.inboxes);
        let chance = 1.0 / people.users as f64;
        findings
            .measures
            .push(Measure::new(Metric::BestGuessUsers, of.clone(), first).against(chance));
        let rounds = median_between(&result.rounds, result.never);
        findings
            .measures
            .push(Measure::new(Metric::RoundsToDisclosure, of.clone(), rounds));
        findings
            .measures
            .push(Measure::new(Metric::Auc, of.clone(), result.area));
        let read = format!("people, {name}: hours of watching until the reader is known");
        let rounds = median_between(&result.reader_rounds, result.reader_never);
        findings
            .measures
            .push(Measure::new(Metric::RoundsToDisclosure, read, rounds));
        findings
            .null
            .push(Measure::new(Metric::Auc, of, result.null));
        series.push(Series::new(name, Shape::Line, curve(&result)));
    }
    findings.figures.push(Figure {
        id: "combined".into(),
        title: format!("A14: the writer of an inbox is found, {}", people.name),
        caption: format!(
            "Share of inboxes whose true writer scores highest of all {} clients for good after so many hours with a cell, to an \
             adversary who owns the inbox gateway and sees who is connected.",
            people.users
        ),
        x: Axis::log("hours in which a cell was laid in the inbox"),
        y: Axis::linear("share of inboxes"),
        series,
    });
    findings.notes.push(
        "A client that always runs is not found by this. That is why clientd is a daemon, and why an outage of a gateway, or a \
         laptop that is closed, is a weakness that no rate of cover repairs."
            .into(),
    );
    Ok(findings)
}

/// Hours in which each client is connected.
fn linger(used: &[Vec<bool>], habit: Habit, seed: u64) -> Vec<Vec<bool>> {
    let of = |(user, hours): (usize, &Vec<bool>)| {
        let mut draws = Stream::new(seed, Purpose::CHURN, 5 << 32 | user as u64);
        let mut on = false;
        let next = |used: &bool| {
            on = match habit {
                Habit::OnlyInUse => *used,
                Habit::Lingering(stays) => *used || (on && draws.below(1_000) < stays),
                Habit::Always => true,
            };
            on
        };
        hours.iter().map(next).collect()
    };
    used.iter().enumerate().map(of).collect()
}

/// Hours of watching after which an inbox' reader alone fits the hours in which the inbox is asked, and stays the only
/// one; `None` where others always fit as well.
fn read_by(online: &[Vec<bool>], reader: usize, draws: &mut Stream) -> Option<f64> {
    let total = online[reader].len();
    // Watching begins anywhere.
    let begin = draws.below(total as u64) as usize;
    let mut left: Vec<(usize, u32)> = (0..online.len())
        .filter(|u| *u != reader)
        .map(|u| (u, 0))
        .collect();
    let mut own = 0;
    for (n, hour) in (begin..total).chain(0..begin).enumerate() {
        let asked = online[reader][hour] != draws.chance(WRONG);
        own += u32::from(asked != online[reader][hour]);
        for (user, misses) in &mut left {
            *misses += u32::from(asked != online[*user][hour]);
        }
        // Who misses six more than the best is ruled out: odds of (0.98/0.02)⁶.
        let best = left.iter().map(|l| l.1).min().unwrap_or(u32::MAX).min(own);
        left.retain(|l| l.1 < best + 6);
        if left.is_empty() {
            return Some(n as f64 + 1.0);
        }
    }
    None
}

struct Result14 {
    reader_rounds: Vec<f64>,
    reader_never: usize,
    inboxes: u64,
    first: u64,
    rounds: Vec<f64>,
    never: usize,
    area: Interval,
    null: Interval,
}

fn attack(people: &Conversation, online: &[Vec<bool>], targets: usize, seed: u64) -> Result14 {
    let mut written: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    for message in &people.messages {
        let hours = written.entry((message.from, message.to)).or_default();
        let hour = (message.at / 3_600.0) as usize;
        if hours.last() != Some(&hour) {
            hours.push(hour);
        }
    }
    // Inboxes in which something lies in three hours at least; a part of them, drawn.
    let mut inboxes: Vec<_> = written
        .into_iter()
        .filter(|(_, hours)| hours.len() >= 3)
        .collect();
    let mut draws = Stream::new(seed, Purpose::TARGET, 14);
    draws.shuffle(&mut inboxes);
    inboxes.truncate(targets);
    let total = online.first().map_or(1, Vec::len) as f64;
    let usual: Vec<f64> = online
        .iter()
        .map(|h| (h.iter().filter(|on| **on).count() as f64 / total).clamp(1e-6, 1.0 - 1e-6))
        .collect();
    let step = |user: usize, hour: usize| match online[user][hour] {
        true => ((1.0 - WRONG) / usual[user]).ln(),
        false => (WRONG / (1.0 - usual[user])).ln(),
    };
    let mut out = Result14 {
        reader_rounds: Vec::new(),
        reader_never: 0,
        inboxes: inboxes.len() as u64,
        first: 0,
        rounds: Vec::new(),
        never: 0,
        area: crate::metrics::exact(f64::NAN, 0),
        null: crate::metrics::exact(f64::NAN, 0),
    };
    let (mut positives, mut negatives) = (Vec::new(), Vec::new());
    let (mut null_positives, mut null_negatives) = (Vec::new(), Vec::new());
    for ((writer, reader), hours) in &inboxes {
        let mut scores = vec![0.0; people.users];
        let mut found_since = None;
        for (round, hour) in hours.iter().enumerate() {
            for (user, score) in scores.iter_mut().enumerate() {
                *score += step(user, *hour);
            }
            let best = (0..people.users).filter(|u| u != writer).map(|u| scores[u]);
            let ahead = scores[*writer] > best.fold(f64::NEG_INFINITY, f64::max) + 1e-9;
            found_since = if ahead {
                found_since.or(Some(round + 1))
            } else {
                None
            };
        }
        out.first += u64::from(found_since.is_some());
        match found_since {
            Some(round) => out.rounds.push(round as f64),
            None => out.never += 1,
        }
        match read_by(online, *reader, &mut draws) {
            Some(hours) => out.reader_rounds.push(hours),
            None => out.reader_never += 1,
        }
        let other = draws.below(people.users as u64) as usize;
        positives.push(scores[*writer]);
        negatives.extend((other != *writer).then(|| scores[other]));
        // Without a signal: two strangers.
        let mut stranger = || scores[draws.below(people.users as u64) as usize];
        null_positives.push(stranger());
        null_negatives.push(stranger());
    }
    out.area = auc(&positives, &negatives);
    out.null = auc(&null_positives, &null_negatives);
    out
}

/// Share of inboxes found after each number of hours.
fn curve(result: &Result14) -> Vec<Point> {
    let mut sorted = result.rounds.clone();
    sorted.sort_by(f64::total_cmp);
    let steps = [1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0, 50.0, 100.0];
    let at = |x: f64| {
        let found = sorted.partition_point(|r| *r <= x) as u64;
        Point::with(x, &proportion(found, result.inboxes))
    };
    steps.into_iter().map(at).collect()
}

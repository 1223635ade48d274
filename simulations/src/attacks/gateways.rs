//! The shipped code against whoever owns a client's entry gateway *and* the gateway of an inbox: which inbox is that
//! client's, and to which inbox does it write? Part of A4.

use super::matching::{Flow, Kernel};
use super::shipped::{Rig, Running};
use super::{AttackError, Findings, Setting};
use crate::Transparent;
use crate::metrics::{Measure, Metric, Scored, auc_within, exact, tpr_clustered};
use crate::observer::Sight;
use crate::plot::{Axis, Figure, Point, Series, Shape};
use crate::replay::Conversation;
use std::collections::BTreeMap;
use wire::ids::InboxId;

/// Exponential delays between entry and inbox gateway: the entry and three mixes there, the inbox gateway and
/// three mixes back.
const HOPS: u32 = 4;

/// What one corrupt pair of gateways has of one client and of one inbox.
#[derive(Clone, Debug, Default)]
struct Books {
    /// Requests that a client sent.
    entering: BTreeMap<usize, Vec<f64>>,
    /// Replies that came back for a client.
    returning: BTreeMap<usize, Vec<f64>>,
    /// Deposits and fetches by inbox.
    deposits: BTreeMap<InboxId, Vec<f64>>,
    fetches: BTreeMap<InboxId, Vec<f64>>,
}

/// Scores every client with every inbox, at growing times of observation.
pub(super) fn entry_and_inbox(
    findings: &mut Findings,
    setting: &Setting,
) -> Result<(), AttackError> {
    let (users, length) = setting.effort.pick((12, 1_200.0), (40, 3_600.0));
    // People who never stop talking: the adversary's best case, and one that does not depend on a trace.
    let people = Conversation::made_up(setting.seed, users, length);
    let rig = Rig::wide(setting.seed, people);
    let running = rig.run::<Transparent>();
    let books = books(&running, length);
    let steps: &[f64] = setting.effort.pick(
        &[300.0, 1_200.0],
        &[300.0, 600.0, 1_200.0, 2_400.0, 3_600.0],
    );
    let mut curves = [Vec::new(), Vec::new()];
    for time in steps {
        for (i, (what, fetch)) in [("reads", true), ("writes to", false)]
            .into_iter()
            .enumerate()
        {
            let (positives, negatives) = judge(&rig, &running, &books, *time, fetch, 0.0);
            let of = format!(
                "echo (shipped code), corrupt entry and inbox gateway, {:.0} min: which inbox it {what}",
                time / 60.0
            );
            let area = auc_within(&positives, &negatives);
            findings
                .measures
                .push(Measure::new(Metric::Auc, of.clone(), area));
            let tpr = tpr_clustered(&positives, &negatives, 0.01);
            findings
                .measures
                .push(Measure::new(Metric::TprAtHundredth, of.clone(), tpr));
            curves[i].push(Point::with(time / 60.0, &tpr));
            // The inbox' hour moved by a half, so that nothing of it fits anybody.
            let (a, b) = judge(&rig, &running, &books, *time, fetch, time / 2.0);
            findings
                .null
                .push(Measure::new(Metric::Auc, of, auc_within(&a, &b)));
        }
    }
    let p = &rig.parameters;
    let emitted = p.payload_rate.per_second() + p.loop_rate.per_second();
    let fetches: usize = books.fetches.values().map(Vec::len).sum();
    let each = fetches as f64 / books.fetches.len().max(1) as f64 / length;
    let flow = Flow {
        emitted,
        matched: each,
        noise: 0.0,
        hops: HOPS,
        delay: p.delay_mean.as_secs_f64(),
        time: length,
    };
    // Twice: the requests there, and the replies back.
    findings.measures.push(Measure::new(
        Metric::TimeToLink,
        format!("echo, corrupt entry and inbox gateway: which inbox it reads, {each:.3} fetches/s (closed form)"),
        exact(flow.time_to_link() / 2.0, 0),
    ));
    let [reads, writes] = curves;
    findings.figures.push(Figure {
        id: "entry-and-inbox".into(),
        title: "A4: entry gateway and inbox gateway together, shipped code".into(),
        caption: format!(
            "True-positive rate at a false-positive rate of 1e-2, 95 % intervals (Korn-Graubard, by client), of the likelihood ratio \
             over pairs of client and inbox; {users} clients at the rates of a real network, {} inboxes.",
            books.fetches.len()
        ),
        x: Axis::log("observation (min)"),
        y: Axis::linear("true-positive rate"),
        series: vec![
            Series::new("which inbox a client reads", Shape::Line, reads),
            Series::new("which inbox a client writes to", Shape::Line, writes),
        ],
    });
    Ok(())
}

fn books(running: &Running<Transparent>, length: f64) -> Books {
    let mut books = Books::default();
    for (at, inside) in running
        .insides()
        .filter(|(at, _)| (0.0..length).contains(at))
    {
        match inside.sight {
            Sight::Entering(Some(client)) => books.entering.entry(client).or_default().push(at),
            Sight::Returning(Some(client)) => books.returning.entry(client).or_default().push(at),
            Sight::Deposit(inbox) => books.deposits.entry(inbox).or_default().push(at),
            Sight::Fetch(inbox) => books.fetches.entry(inbox).or_default().push(at),
            Sight::Entering(None) | Sight::Returning(None) | Sight::Other => {}
        }
    }
    books
}

/// Scores of true pairs and of others, from the first `time` seconds; `moved` by so long, what an inbox gateway saw. With the
/// owner of each score's inbox, whose hour is in all of them.
fn judge(
    rig: &Rig,
    running: &Running<Transparent>,
    books: &Books,
    time: f64,
    fetch: bool,
    moved: f64,
) -> (Vec<Scored>, Vec<Scored>) {
    let p = &rig.parameters;
    let emitted = p.payload_rate.per_second() + p.loop_rate.per_second();
    // δ and a link at each hop are constants, and both gateways know them.
    let shift = f64::from(HOPS) * (p.hop_allowance.as_secs_f64() + 0.005);
    let until = |times: &[f64]| times[..times.partition_point(|t| *t < time)].to_vec();
    let none = Vec::new();
    let side = |map: &BTreeMap<usize, Vec<f64>>, client: usize, by: f64| -> Vec<f64> {
        until(map.get(&client).unwrap_or(&none))
            .iter()
            .map(|t| t + by)
            .collect()
    };
    let clients: Vec<(Vec<f64>, Vec<f64>)> = (0..rig.people.users)
        .map(|c| {
            (
                side(&books.entering, c, shift),
                side(&books.returning, c, -shift),
            )
        })
        .collect();
    let (mut positives, mut negatives) = (Vec::new(), Vec::new());
    for (inbox, writer, reader, gateway) in running.inbox_list() {
        let map = if fetch {
            &books.fetches
        } else {
            &books.deposits
        };
        let mut events = until(map.get(&inbox).unwrap_or(&none));
        events.iter_mut().for_each(|t| *t = (*t + moved) % time);
        events.sort_by(f64::total_cmp);
        if events.len() < 3 {
            continue;
        }
        let owner = if fetch { reader } else { writer };
        let flow = Flow {
            emitted,
            matched: (events.len() as f64 / time).min(emitted),
            noise: 0.0,
            hops: HOPS,
            delay: p.delay_mean.as_secs_f64(),
            time,
        };
        for (client, (entering, returning)) in clients.iter().enumerate() {
            // Nobody reads or writes at the own entry gateway, and the adversary knows.
            if rig.entry(client) == gateway {
                continue;
            }
            let score = flow.ratio(entering, &events, 0.0) + back(&flow, &events, returning);
            match client == owner {
                true => positives.push((owner, score)),
                false => negatives.push((owner, score)),
            }
        }
    }
    (positives, negatives)
}

/// The replies' half: of what returns to a client, the part that follows an inbox' answers.
fn back(flow: &Flow, events: &[f64], returning: &[f64]) -> f64 {
    let kernel = Kernel::new(flow.hops, flow.delay);
    let noise = (flow.emitted - flow.matched).max(flow.emitted * 1e-3);
    let mut sum = 0.0;
    for t in returning {
        let first = events.partition_point(|e| *e < t - kernel.reach);
        let follow = events[first..].iter().take_while(|e| *e < t);
        let follow: f64 = follow.map(|e| kernel.density(t - e)).sum();
        sum += ((noise + follow) / flow.emitted).ln();
    }
    let inside = events
        .iter()
        .map(|e| kernel.mass(flow.time - e))
        .sum::<f64>();
    sum - (inside - flow.matched * flow.time)
}

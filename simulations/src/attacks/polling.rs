//! A8: whether asking an inbox, or what comes down the link, depends on what lies in the inbox.
//!
//! Three adversaries, each of whom knows the moments at which something was written to the target (it is the
//! contact, or has the inbox gateway): one watches the target's link, one owns the gateway that holds the inbox, and
//! one owns that gateway and withholds or bunches its replies to mark whoever they are for.

use super::links::{self, Watched};
use super::scores::{self, Case, count};
use super::shipped::{Rig, Running, difference};
use super::{Attack, AttackError, Findings, Progress, Setting, activity};
use crate::Transparent;
use crate::engine::{Actor, Fate, Passing};
use crate::metrics::{Interval, Measure, Metric, exact, mutual_information, proportion};
use crate::observer::{Observer, Sight};
use crate::plot::{Axis, Figure, Point, Series, Shape};
use crate::random::{Purpose, Stream};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wire::ids::InboxId;

/// As in the catalogue.
pub const ATTACK: Attack = Attack {
    id: "A8",
    title: "inbox polling and reply latency",
    sees: "when something was written to the target, and (a) all frames on the target's link, (b) as its inbox gateway, \
           deposits and fetches of each inbox by its id, (c) as a gateway that withholds or bunches its replies, the \
           target's link again",
    rule: "Poisson likelihood ratio of frame counts by lag after each moment, learnt from the other half of the clients \
           (optimal for Poisson cover); mutual information of deposits and fetches in neighbouring intervals; exact \
           comparison of runs with equal seeds",
    truth: "the trace says when somebody wrote to whom; random moments of the same client are the false cases",
    run,
};

/// Lags are told apart by so many intervals.
const LAGS: usize = 10;
/// A gateway that bunches lets replies go at multiples of this.
const BUNCH: f64 = 30.0;

fn run(setting: &Setting, progress: Progress<'_>) -> Result<Findings, AttackError> {
    let (users, length) = setting.effort.pick((16, 600.0), (24, 1_200.0));
    let people = setting.people(users, length);
    let mut findings = Findings::default();
    let mut bars = Vec::new();
    progress(0, 8, "shipped clients");
    let rig = Rig::wide(setting.seed, people.clone());
    let running = rig.run::<Transparent>();
    let honest = running.watched();
    let mut judge = |findings: &mut Findings, name: &str, watched: &[Watched]| {
        let horizon = horizon(watched);
        for (view, inside) in [("link", false), ("own gateway", true)] {
            let cases = after_moments(watched, length, horizon, inside, setting.seed);
            let s = scores::by_lag(&cases);
            let of = format!("{name}, by the {view}");
            let area = s.auc();
            findings
                .measures
                .push(Measure::new(Metric::Auc, of.clone(), area));
            let tpr = s.tpr_at(0.01);
            findings
                .measures
                .push(Measure::new(Metric::TprAtHundredth, of.clone(), tpr));
            let mut draws = Stream::new(setting.seed, Purpose::RESAMPLING, 8);
            let null = scores::by_lag(&scores::permuted(&cases, &mut draws));
            let null = null.auc();
            findings.null.push(Measure::new(Metric::Auc, of, null));
            if !inside {
                bars.push((name.to_string(), area));
            }
        }
    };
    judge(&mut findings, "echo (shipped code)", &honest);
    inbox_gateway(&mut findings, &running, length, setting.seed);
    for (i, design) in activity::others().iter().enumerate() {
        progress(1 + i as u64, 8, &design.name);
        let watched = links::watch(design, &people, users, setting.seed);
        judge(&mut findings, &design.name, &watched);
    }
    progress(6, 8, "a gateway that bunches");
    let mut bunched = rig.start::<Transparent>();
    bunched.tamper(bunching(0));
    bunched.talk();
    marked(
        &mut findings,
        "inbox gateway bunches its replies",
        &honest,
        &bunched,
    );
    progress(7, 8, "a gateway that withholds");
    let mut withheld = rig.start::<Transparent>();
    withheld.tamper(withholding(0, setting.seed));
    withheld.talk();
    marked(
        &mut findings,
        "inbox gateway withholds half its replies",
        &honest,
        &withheld,
    );
    findings.figures.push(figure(&bars, &people.name));
    findings.notes.push(format!(
        "{} messages of {} users in {length:.0} s ({})",
        people.messages.len(),
        people.users,
        people.name
    ));
    Ok(findings)
}

/// So long after a message is written, nineteen of twenty have arrived.
fn horizon(watched: &[Watched]) -> f64 {
    let mut all: Vec<f64> = watched
        .iter()
        .flat_map(|w| w.latencies.iter().copied())
        .collect();
    all.sort_by(f64::total_cmp);
    // A half more, for the last link and for what is late.
    all.get(all.len() * 19 / 20)
        .map_or(10.0, |t| (1.5 * t).max(0.05))
}

/// Frames by lag after each moment at which the client was written to, and after as many random moments for each
/// of them, times four.
pub fn after_moments(
    watched: &[Watched],
    length: f64,
    horizon: f64,
    inside: bool,
    seed: u64,
) -> Vec<Case> {
    let mut out = Vec::new();
    for (client, w) in watched.iter().enumerate() {
        let down = if inside { &w.inside } else { &w.down };
        let case = |at: f64, is_true| {
            let lag = |i: usize| at + i as f64 * horizon / LAGS as f64;
            let of = |times: &[f64], i: usize| count(times, lag(i), lag(i + 1)) as f64;
            let ups = (0..LAGS).map(|i| of(&w.up, i));
            Case {
                features: ups.chain((0..LAGS).map(|i| of(down, i))).collect(),
                is_true,
                client,
            }
        };
        let mut draws = Stream::new(seed, Purpose::ADVERSARY, client as u64);
        for at in w.written_to.iter().filter(|t| **t + horizon < length) {
            out.push(case(*at, true));
            for _ in 0..4 {
                out.push(case(draws.uniform() * (length - horizon), false));
            }
        }
    }
    out
}

/// What the shipped inbox gateway learns of the inboxes it holds: whether they are asked when something came.
fn inbox_gateway(findings: &mut Findings, running: &Running<Transparent>, length: f64, seed: u64) {
    let mut by_inbox: BTreeMap<InboxId, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for (at, inside) in running
        .insides()
        .filter(|(at, _)| (0.0..length).contains(at))
    {
        match inside.sight {
            Sight::Deposit(inbox) => by_inbox.entry(inbox).or_default().0.push(at),
            Sight::Fetch(inbox) => by_inbox.entry(inbox).or_default().1.push(at),
            Sight::Entering(_) | Sight::Returning(_) | Sight::Other => {}
        }
    }
    let mut draws = Stream::new(seed, Purpose::ADVERSARY, 1 << 32);
    let (mut cases, mut pairs) = (Vec::new(), Vec::new());
    let horizon = 120.0;
    for (number, (deposits, fetches)) in by_inbox.values().enumerate() {
        let case = |at: f64, is_true| Case {
            features: (0..LAGS)
                .map(|i| at + i as f64 * horizon / LAGS as f64)
                .map(|from| count(fetches, from, from + horizon / LAGS as f64) as f64)
                .collect(),
            is_true,
            client: number,
        };
        for at in deposits.iter().filter(|t| **t + horizon < length) {
            cases.push(case(*at, true));
            for _ in 0..4 {
                cases.push(case(draws.uniform() * (length - horizon), false));
            }
        }
        for i in 0..(length / horizon) as usize - 1 {
            let from = i as f64 * horizon;
            let came = count(deposits, from, from + horizon).min(1);
            let asked = count(fetches, from + horizon, from + 2.0 * horizon).min(8);
            pairs.push((came, asked));
        }
    }
    let of =
        "echo (shipped code), by the corrupt inbox gateway: deposits against fetches of one inbox";
    let s = scores::by_lag(&cases);
    let area = s.auc();
    findings.measures.push(Measure::new(Metric::Auc, of, area));
    let null = scores::by_lag(&scores::permuted(&cases, &mut draws));
    let null = null.auc();
    findings.null.push(Measure::new(Metric::Auc, of, null));
    let information = mutual_information(&pairs, || draws.uniform());
    findings
        .measures
        .push(Measure::new(Metric::MutualInformation, of, information));
    let shuffled: Vec<_> = {
        let mut asked: Vec<usize> = pairs.iter().map(|p| p.1).collect();
        draws.shuffle(&mut asked);
        pairs.iter().map(|p| p.0).zip(asked).collect()
    };
    let null = mutual_information(&shuffled, || draws.uniform());
    findings
        .null
        .push(Measure::new(Metric::MutualInformation, of, null));
}

/// A gateway that holds every reply to a request of a client until the next multiple of `BUNCH` seconds.
pub fn bunching(gateway: usize) -> impl FnMut(f64, &Passing, &Observer) -> Fate {
    move |at, passing, truth| match answers(gateway, passing, truth) {
        true => Fate::Hold(Duration::from_secs_f64((at / BUNCH).ceil() * BUNCH - at)),
        false => Fate::Pass,
    }
}

/// A gateway that keeps half of its replies to itself.
pub fn withholding(gateway: usize, seed: u64) -> impl FnMut(f64, &Passing, &Observer) -> Fate {
    let mut draws = Stream::new(seed, Purpose::ADVERSARY, 2 << 32);
    move |_, passing, truth| match answers(gateway, passing, truth) && draws.chance(0.5) {
        true => Fate::Drop,
        false => Fate::Pass,
    }
}

/// Whether a packet is a gateway's answer to somebody: it knows its own answers.
pub fn answers(gateway: usize, passing: &Passing, truth: &Observer) -> bool {
    let here = passing.from == Actor::Gateway(gateway);
    here && truth.echo(passing.echo).is_some_and(|echo| {
        let answered = echo.answered.and_then(|i| echo.hops.get(i));
        answered.is_some_and(|hop| hop.at == passing.from)
            && echo.answered == Some(echo.hops.len() - 1)
    })
}

/// What a tampering gateway marks on links, and who notices.
fn marked(findings: &mut Findings, name: &str, honest: &[Watched], running: &Running<Transparent>) {
    let watched = running.watched();
    let (differ, compared) = difference(honest, &watched);
    let of = format!("{name}: links against an honest run");
    let estimate = exact(differ as f64, compared);
    findings
        .measures
        .push(Measure::new(Metric::FramesDiffering, of, estimate));
    let suspect = running.engine.gateways()[0].identity.id();
    let (mut failing, mut noticed) = (BTreeSet::new(), 0);
    let victims = running.engine.clients().iter().enumerate();
    let victims: Vec<_> = victims.filter(|(_, c)| c.entry != 0).collect();
    for (number, client) in &victims {
        let losses = client.sut.losses();
        let of_suspect = losses
            .iter()
            .find(|(id, _)| **id == suspect)
            .map(|(_, l)| l);
        let late = of_suspect.is_some_and(|l| l.late * 4 > l.returned || l.lost * 4 > l.sent);
        noticed += u64::from(late || of_suspect.is_some_and(|l| l.lossy()));
        if client
            .told
            .gateways
            .iter()
            .any(|(_, id, bad)| *id == suspect && *bad)
        {
            failing.insert(*number);
        }
    }
    let n = victims.len() as u64;
    let of = format!("{name}: clients that count a quarter of its replies late or lost");
    findings
        .measures
        .push(Measure::new(Metric::Detected, of, proportion(noticed, n)));
    let of = format!("{name}: clients that call it failing");
    let failing = proportion(failing.len() as u64, n);
    findings
        .measures
        .push(Measure::new(Metric::Detected, of, failing));
}

fn figure(bars: &[(String, Interval)], people: &str) -> Figure {
    let names: Vec<&str> = bars.iter().map(|b| b.0.as_str()).collect();
    let points = bars
        .iter()
        .enumerate()
        .map(|(i, b)| Point::with(i as f64, &b.1));
    Figure {
        id: "polling".into(),
        title: "A8: did this client just get a message?".into(),
        caption: format!(
            "Somebody who wrote to the client watches its link: area under the ROC curve for one message, with 95 % \
             intervals (Hanley-McNeil); 0.5 is chance. Workload: {people}."
        ),
        x: Axis::names("design", &names),
        y: Axis::linear("area under ROC (probability)"),
        series: vec![Series::new(
            "whoever watches the link",
            Shape::Bars,
            points.collect(),
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::design::Design;
    use crate::replay::Conversation;

    #[test]
    fn pushed_messages_show_and_pulled_ones_do_not() {
        let people = Conversation::made_up(5, 16, 1_800.0);
        let of = |design: &Design| {
            let watched = links::watch(design, &people, 16, 9);
            let horizon = horizon(&watched);
            let cases = after_moments(&watched, people.length, horizon, false, 3);
            let s = scores::by_lag(&cases);
            s.auc()
        };
        assert!(of(&Design::onion(3, 5)).low > 0.9);
        let nym = of(&Design::nym(3, 5));
        assert!(nym.low > 0.5, "{nym:?}");
        let loopix = of(&Design::loopix(3, 5));
        assert!(
            (loopix.value - 0.5).abs() < 2.0 * loopix.half_width(),
            "{loopix:?}"
        );
    }
}

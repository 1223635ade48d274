//! A8: whether asking an inbox, or what comes down the link, depends on what lies in the inbox.
//!
//! Three adversaries, each of whom knows the moments at which something was written to the target (it is the
//! contact, or has the inbox gateway): one watches the target's link, one owns the gateway that holds the inbox, and
//! one owns that gateway and withholds or bunches its replies to mark whoever they are for.

use super::links::{View, Watched};
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
    sees: "when something was written to the target, and (a) all frames on the target's link, or on all links into its gateway, (b) as its inbox gateway, \
           deposits and fetches of each inbox by its id, (c) as a gateway that withholds or bunches its replies, the \
           target's link again",
    rule: "likelihood ratio of one more frame down than there would be, at a lag drawn from the design's delays, and of \
           frame counts up by lag, learnt from the other half of the clients (optimal for Poisson cover); mutual \
           information of deposits and fetches in neighbouring intervals; exact comparison of runs with equal seeds",
    truth: "the trace says when somebody wrote to whom; the false cases are the same client's moments, all moved along by \
            one random time",
    run,
};

/// Counts up the link, and fetches, are told apart by so many lags.
const LAGS: usize = 5;
/// Delays are told apart by so many quantiles.
const STEPS: usize = 20;
/// What the adversary's clock is off by, in seconds.
const CLOCK: f64 = 5e-4;
/// For each true moment so many false ones.
const FALSES: usize = 4;
/// A gateway that bunches lets replies go at multiples of this.
const BUNCH: f64 = 30.0;

fn run(setting: &Setting, progress: Progress<'_>) -> Result<Findings, AttackError> {
    let (users, length, runs) = activity::size(setting);
    let people = setting.people(users, length);
    let mut findings = Findings::default();
    let mut bars = Vec::new();
    let steps = 7 + runs;
    progress(0, steps, "shipped clients");
    let rig = Rig::wide(setting.seed, people.clone());
    let first = rig.run::<Transparent>();
    let honest = first.watched();
    inbox_gateway(&mut findings, &first, length, setting.seed);
    drop(first);
    let mut all = honest.clone();
    for i in 1..runs {
        progress(i, steps, "shipped clients");
        let seed = setting.seed + i;
        all.extend(
            Rig {
                seed,
                ..rig.clone()
            }
            .run::<Transparent>()
            .watched(),
        );
    }
    let mut judge = |findings: &mut Findings, name: &str, watched: &[Watched]| {
        let areas = View::ALL.map(|view| {
            let delays = Delays::of(watched, view);
            let score = |truth| {
                let cases = after_moments(watched, length, &delays, view, truth, setting.seed);
                scores::one_more(&cases)
            };
            let of = format!("{name}, by the {}", view.name());
            let s = score(Truth::Trace);
            let area = s.auc();
            findings.measures.extend([
                Measure::new(Metric::Auc, of.clone(), area),
                Measure::new(Metric::TprAtHundredth, of.clone(), s.tpr_at(0.01)),
            ]);
            let null = score(Truth::None).auc();
            findings.null.push(Measure::new(Metric::Auc, of, null));
            area
        });
        bars.push((name.to_string(), areas));
    };
    judge(&mut findings, "echo (shipped code)", &all);
    for (i, design) in activity::others().iter().enumerate() {
        progress(runs + i as u64, steps, &design.name);
        let watched = activity::watch(design, &people, runs, setting.seed);
        judge(&mut findings, &design.name, &watched);
    }
    progress(5 + runs, steps, "a gateway that bunches");
    let mut bunched = rig.start::<Transparent>();
    bunched.tamper(bunching(0));
    bunched.talk();
    marked(
        &mut findings,
        "inbox gateway bunches its replies",
        &honest,
        &bunched,
    );
    drop(bunched);
    progress(6 + runs, steps, "a gateway that withholds");
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
        "{} messages of {} users in {length:.0} s ({}), {runs} traffic seeds",
        people.messages.len(),
        people.users,
        people.name
    ));
    Ok(findings)
}

/// How long messages take to where the adversary looks. It can build the same network and measure.
#[derive(Clone, PartialEq, Debug)]
pub struct Delays {
    /// Ends of lags that are equally likely, from the shortest.
    ends: Vec<f64>,
    /// So long after a message is written, nineteen of twenty have arrived, and a half more: for the last link and for
    /// what is late.
    horizon: f64,
}

impl Delays {
    /// To where somebody looks.
    pub fn of(watched: &[Watched], view: View) -> Self {
        let pick = |w: &Watched| match view {
            View::Gateway | View::Around => w.lags.clone(),
            // A link shows a frame when it leaves.
            View::Link => w.latencies.iter().map(|t| t - w.link).collect(),
        };
        let mut all: Vec<f64> = watched.iter().flat_map(pick).collect();
        all.sort_by(f64::total_cmp);
        let last = all.len().saturating_sub(1);
        let at = |i: usize| all.get(i * last / STEPS).copied();
        let mut ends: Vec<f64> = (0..=STEPS).filter_map(at).collect();
        // No finer than a clock is.
        if let Some(first) = ends.first_mut() {
            *first -= CLOCK;
        }
        for i in 1..ends.len() {
            ends[i] = ends[i].max(ends[i - 1] + CLOCK / 4.0);
        }
        Self {
            ends,
            horizon: activity::horizon(watched),
        }
    }

    /// Likelihood ratio of one more than there would be at a constant rate, of what comes at `times`.
    fn ratio(&self, times: &[f64], rate: f64) -> f64 {
        let share = 1.0 / (self.ends.len().max(2) - 1) as f64;
        let step = |w: &[f64]| {
            let (from, to) = (w[0], w[1]);
            count(times, from, to) as f64 * share / ((to - from) * rate)
        };
        self.ends.windows(2).map(step).sum()
    }

    fn from(&self, at: f64) -> Self {
        Self {
            ends: self.ends.iter().map(|end| at + end).collect(),
            horizon: self.horizon,
        }
    }
}

/// What is taken for the truth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Truth {
    /// The trace.
    Trace,
    /// The moments of the trace, moved along in time like those of the false cases: nothing.
    None,
}

/// What is seen after each moment at which the client was written to, and after as many false moments for each of
/// them, times four. False moments are the true ones of the same client, all moved along by a random number of seconds, and
/// from the end to the beginning: bursts stay bursts, and whole seconds whole, or chance would look like a leak.
pub fn after_moments(
    watched: &[Watched],
    length: f64,
    delays: &Delays,
    view: View,
    truth: Truth,
    seed: u64,
) -> Vec<Case> {
    let horizon = delays.horizon;
    let mut out = Vec::new();
    for (client, w) in watched.iter().enumerate() {
        let down = view.frames(w);
        let rate = (down.len() as f64 / length).max(1.0 / length);
        let case = |at: f64, is_true| {
            let lag = |i: usize| at + i as f64 * horizon / LAGS as f64;
            let up = |i: usize| count(&w.up, lag(i), lag(i + 1)) as f64;
            let more = delays.from(at).ratio(down, rate);
            Case {
                features: std::iter::once(more).chain((0..LAGS).map(up)).collect(),
                is_true,
                client,
            }
        };
        let span = (length - horizon).floor().max(1.0);
        let moments: Vec<f64> = w.written_to.iter().copied().filter(|t| *t < span).collect();
        let mut draws = Stream::new(seed, Purpose::ADVERSARY, client as u64);
        let mut moved = || -> Vec<f64> {
            // By whole seconds, the steps of a trace's clock: beside a link with one frame a second, moments of another
            // phase would be known by that.
            let by = draws.below(span as u64) as f64;
            moments.iter().map(|t| (t + by) % span).collect()
        };
        let trues = match truth {
            Truth::Trace => moments.clone(),
            Truth::None => moved(),
        };
        out.extend(trues.into_iter().map(|at| case(at, true)));
        for _ in 0..FALSES {
            out.extend(moved().into_iter().map(|at| case(at, false)));
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
    let horizon = 120.0;
    let span = length - horizon;
    let (mut cases, mut null, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
    for (number, (deposits, fetches)) in by_inbox.values().enumerate() {
        let case = |at: f64, is_true| Case {
            features: (0..LAGS)
                .map(|i| at + i as f64 * horizon / LAGS as f64)
                .map(|from| count(fetches, from, from + horizon / LAGS as f64) as f64)
                .collect(),
            is_true,
            client: number,
        };
        let moments: Vec<f64> = deposits.iter().copied().filter(|t| *t < span).collect();
        let mut moved = || -> Vec<f64> {
            let by = draws.uniform() * span;
            moments.iter().map(|t| (t + by) % span).collect()
        };
        cases.extend(moments.iter().map(|at| case(*at, true)));
        null.extend(moved().into_iter().map(|at| case(at, true)));
        for _ in 0..FALSES {
            for at in moved() {
                cases.push(case(at, false));
                null.push(case(at, false));
            }
        }
        let of = (0..(length / horizon) as usize - 1).map(|i| {
            let from = i as f64 * horizon;
            let came = count(deposits, from, from + horizon).min(1);
            let asked = count(fetches, from + horizon, from + 2.0 * horizon).min(8);
            (came, asked)
        });
        pairs.push(of.collect::<Vec<_>>());
    }
    let of =
        "echo (shipped code), by the corrupt inbox gateway: deposits against fetches of one inbox";
    let area = scores::by_lag(&cases).auc();
    findings.measures.push(Measure::new(Metric::Auc, of, area));
    let null = scores::by_lag(&null).auc();
    findings.null.push(Measure::new(Metric::Auc, of, null));
    let information = mutual_information(&pairs, || draws.uniform());
    findings
        .measures
        .push(Measure::new(Metric::MutualInformation, of, information));
    for inbox in &mut pairs {
        let mut asked: Vec<usize> = inbox.iter().map(|p| p.1).collect();
        draws.shuffle(&mut asked);
        for (pair, asked) in inbox.iter_mut().zip(asked) {
            pair.1 = asked;
        }
    }
    let null = mutual_information(&pairs, || draws.uniform());
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

fn figure(bars: &[(String, [Interval; 3])], people: &str) -> Figure {
    let names: Vec<&str> = bars.iter().map(|b| b.0.as_str()).collect();
    let points = |view: usize| {
        let each = bars.iter().enumerate();
        each.map(|(i, b)| Point::with(i as f64, &b.1[view]))
            .collect()
    };
    Figure {
        id: "polling".into(),
        title: "A8: did this client just get a message?".into(),
        caption: format!(
            "Somebody who knows when the client was written to: area under the ROC curve for one message, with 95 % \
             intervals (Student's, over clients); 0.5 is chance. Workload: {people}."
        ),
        x: Axis::names("design", &names),
        y: Axis::linear("area under ROC (probability)"),
        series: vec![
            Series::new("whoever watches the link", Shape::Bars, points(0)),
            Series::new("the client's own gateway", Shape::Bars, points(1)),
            Series::new("whoever watches links into it", Shape::Bars, points(2)),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attacks::links;
    use crate::design::{Delivery, Design};
    use crate::replay::Conversation;

    fn area(design: &Design, people: &Conversation, view: View, truth: Truth) -> Interval {
        let watched = links::watch(design, people, people.users, 9);
        let delays = Delays::of(&watched, view);
        let cases = after_moments(&watched, people.length, &delays, view, truth, 3);
        scores::one_more(&cases).auc()
    }

    #[test]
    fn pushed_messages_show_on_the_link_and_pulled_ones_to_the_provider() {
        let people = Conversation::made_up(5, 16, 1_800.0);
        let link = |design| area(&design, &people, View::Link, Truth::Trace);
        assert!(link(Design::onion(3, 5)).low > 0.9);
        let nym = link(Design::nym(3, 5));
        assert!(nym.low > 0.5, "{nym:?}");
        let loopix = link(Design::loopix(3, 5));
        assert!(loopix.contains(0.5), "{loopix:?}");
        let provider = area(&Design::loopix(3, 5), &people, View::Gateway, Truth::Trace);
        assert!(provider.low > 0.5, "{provider:?}");
        let null = area(&Design::onion(3, 5), &people, View::Link, Truth::None);
        assert!(null.contains(0.5), "{null:?}");
    }

    /// A trace whose clock counts seconds, and a link with one frame a second that knows nothing of it.
    #[test]
    fn a_clock_of_whole_seconds_is_no_leak() {
        let mut people = Conversation::made_up(5, 16, 1_800.0);
        people.messages.iter_mut().for_each(|m| m.at = m.at.floor());
        let mut design = Design::loopix(3, 5);
        design.delivery = Delivery::Provider { pull_interval: 1.0 };
        let link = area(&design, &people, View::Link, Truth::Trace);
        assert!(link.contains(0.5), "{link:?}");
    }

    /// Bursts of people on links that know nothing of them: of 60 intervals about three miss one half (fixed seeds);
    /// nine would be too many with a probability of 99.8 %.
    #[test]
    fn intervals_hold_chance_though_moments_come_in_bursts() {
        let mut missed = 0;
        for seed in 0..60 {
            let people = Conversation::made_up(seed, 20, 1_200.0);
            let mut watched = links::watch(&Design::loopix(3, 5), &people, 20, seed);
            // Somebody else's link.
            let ups: Vec<_> = watched.iter().map(|w| w.inside.clone()).collect();
            for (w, inside) in watched.iter_mut().zip(ups.into_iter().rev()) {
                w.inside = inside;
            }
            let delays = Delays::of(&watched, View::Gateway);
            let cases = after_moments(
                &watched,
                1_200.0,
                &delays,
                View::Gateway,
                Truth::Trace,
                seed,
            );
            missed += u32::from(!scores::one_more(&cases).auc().contains(0.5));
        }
        assert!(missed < 9, "{missed}");
    }
}

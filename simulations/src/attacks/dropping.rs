//! A10: packets are dropped on purpose: does retransmission show, who notices, and is the right one blamed?

use super::polling::answers;
use super::shipped::{Rig, Running, difference};
use super::{Attack, AttackError, Findings, Progress, Setting};
use crate::Transparent;
use crate::engine::{Actor, Fate};
use crate::metrics::{Interval, Measure, Metric, exact, median_between, proportion};
use crate::plot::{Axis, Figure, Point, Series, Shape};
use crate::random::{Purpose, Stream};
use wire::ids::NodeId;

/// As in the catalogue.
pub const ATTACK: Attack = Attack {
    id: "A10",
    title: "targeted drops and the watch for retransmissions",
    sees: "one client's link, and drops a share of what that client's entry, a mix or an inbox gateway passes on",
    rule: "exact comparison with an honest run of equal seeds (no rule can find more); the client's own count of losses by \
           gateway is the alarm",
    truth: "the simulator knows who drops",
    run,
};

/// Who drops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Guilty {
    Entry,
    Mix,
    Inbox,
}

fn run(setting: &Setting, progress: Progress<'_>) -> Result<Findings, AttackError> {
    let (users, length) = setting.effort.pick((10, 600.0), (12, 900.0));
    let people = setting.people(users, length);
    let rig = Rig::wide(setting.seed, people);
    let mut findings = Findings::default();
    progress(0, 10, "honest");
    let honest = rig.run::<Transparent>();
    let seen = honest.watched();
    blame(&mut findings, &honest, &rig, None, "nobody drops");
    let shares: &[f64] = setting.effort.pick(&[0.3], &[0.3, 1.0]);
    let mut bars = Vec::new();
    let mut step = 1;
    for guilty in [Guilty::Entry, Guilty::Mix, Guilty::Inbox] {
        for share in shares {
            progress(step, 10, "dropping");
            step += 1;
            let name = format!("{} drops {:.0} %", name(guilty), share * 100.0);
            let mut running = rig.start::<Transparent>();
            running.tamper(dropper(guilty, *share, setting.seed));
            running.talk();
            let (differ, compared) = difference(&seen, &running.watched());
            let of = format!("{name}: clients' links against an honest run");
            findings.measures.push(Measure::new(
                Metric::FramesDiffering,
                of,
                exact(differ as f64, compared),
            ));
            let [alarms, failing] = blame(&mut findings, &running, &rig, Some(guilty), &name);
            bars.push((name, alarms, failing));
        }
    }
    findings.figures.push(figure(&bars, length));
    Ok(findings)
}

fn name(guilty: Guilty) -> &'static str {
    match guilty {
        Guilty::Entry => "the entry gateway",
        Guilty::Mix => "a mix of the second layer",
        Guilty::Inbox => "an inbox gateway",
    }
}

/// Index of the mix, and of the gateway, that is guilty.
const MIX: usize = 4;
const GATEWAY: usize = 0;

fn dropper(
    guilty: Guilty,
    share: f64,
    seed: u64,
) -> impl FnMut(f64, &crate::engine::Passing, &crate::observer::Observer) -> Fate {
    let mut draws = Stream::new(seed, Purpose::ADVERSARY, 3 << 32);
    move |at, passing, truth| {
        let from_client = || {
            let echo = truth.echo(passing.echo);
            echo.is_some_and(|e| matches!(e.maker, Actor::Client(_)) && e.answered.is_none())
        };
        let its = at >= 0.0
            && match guilty {
                Guilty::Entry => passing.from == Actor::Gateway(GATEWAY) && from_client(),
                Guilty::Mix => passing.from == Actor::Mix(MIX),
                Guilty::Inbox => answers(GATEWAY, passing, truth),
            };
        match its && draws.chance(share) {
            true => Fate::Drop,
            false => Fate::Pass,
        }
    }
}

/// Who noticed, when, and whom they blame. Gives the shares of clients with an alarm, and of those that call a gateway
/// failing.
fn blame(
    findings: &mut Findings,
    running: &Running<Transparent>,
    rig: &Rig,
    guilty: Option<Guilty>,
    name: &str,
) -> [Interval; 2] {
    let suspect = running.engine.gateways()[GATEWAY].identity.id();
    let victims = running
        .engine
        .clients()
        .iter()
        .filter(|client| match guilty {
            Some(Guilty::Entry) => client.entry == GATEWAY,
            Some(Guilty::Inbox) => client.entry != GATEWAY,
            Some(Guilty::Mix) | None => true,
        });
    let (mut noticed, mut right, mut times, mut silent, mut n) = (0u64, 0u64, Vec::new(), 0, 0u64);
    for client in victims {
        n += 1;
        let worst = |l: &(&NodeId, &mizzle_core::client::GatewayLosses)| {
            (l.1.lost * 1_000_000)
                .checked_div(l.1.sent.max(1))
                .unwrap_or(0)
        };
        let losses: Vec<_> = client.sut.losses().iter().collect();
        let lost: u64 = losses.iter().map(|l| l.1.lost).sum();
        let sent: u64 = losses.iter().map(|l| l.1.sent).sum();
        let called = client.told.gateways.iter().find(|(_, _, bad)| *bad);
        // An alarm: a gateway is called failing, or more is lost than one packet in fifty on the whole.
        let alarm = called.is_some() || lost * 50 > sent;
        noticed += u64::from(alarm);
        match called {
            Some((at, _, _)) => times.push(running.seconds(*at)),
            None => silent += 1,
        }
        let blamed = losses.iter().max_by_key(|l| worst(l)).map(|l| *l.0);
        right += u64::from(alarm && blamed == Some(suspect) && guilty == Some(Guilty::Inbox));
    }
    let alarms = proportion(noticed, n);
    let failing = proportion(times.len() as u64, n);
    let of = format!("{name}: clients with an alarm");
    let detected = Measure::new(Metric::Detected, of, alarms);
    let Some(guilty) = guilty else {
        findings.null.push(Measure {
            metric: Metric::FalseAlarm,
            ..detected.against(0.0)
        });
        return [alarms, failing];
    };
    findings.measures.push(detected);
    if guilty == Guilty::Inbox {
        let of = format!("{name}: the gateway with the largest share of losses is the guilty one");
        findings
            .measures
            .push(Measure::new(Metric::Blamed, of, proportion(right, noticed)));
    }
    let time = median_between(&times, silent);
    let of = format!("{name}: until a client calls a gateway failing");
    findings
        .measures
        .push(Measure::new(Metric::TimeToDetect, of, time));
    let p = &rig.parameters;
    if guilty != Guilty::Inbox {
        let rate = p.payload_rate.per_second() + p.loop_rate.per_second();
        findings.notes.push(format!(
            "{name}: a client's table of losses is by answering gateway ({rate:.1} requests/s over all); it shows that \
             something drops, and cannot name an entry or a mix"
        ));
    }
    [alarms, failing]
}

fn figure(bars: &[(String, Interval, Interval)], length: f64) -> Figure {
    let names: Vec<&str> = bars.iter().map(|b| b.0.as_str()).collect();
    let points = |pick: fn(&(String, Interval, Interval)) -> Interval| {
        let each = bars.iter().enumerate();
        each.map(|(i, b)| Point::with(i as f64, &pick(b))).collect()
    };
    Figure {
        id: "dropping".into(),
        title: "A10: who notices that packets are dropped (shipped code)".into(),
        caption: format!(
            "Share of the clients concerned, within {length:.0} s, with 95 % intervals (Clopper-Pearson): those with an alarm \
             (a gateway is called failing, or more than one packet in fifty is lost on the whole), and those that call a \
             gateway failing and ask it no more often than cover would."
        ),
        x: Axis::names("who drops, and how much", &names),
        y: Axis::linear("share of clients"),
        series: vec![
            Series::new("with an alarm", Shape::Bars, points(|b| b.1)),
            Series::new("that call a gateway failing", Shape::Bars, points(|b| b.2)),
        ],
    }
}

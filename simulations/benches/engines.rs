//! How fast the engines are, beside a simpy script in the same run: `cargo bench -p simulations`. Ratios are what counts;
//! the machine may be busy, so the time that this thread had a core is printed beside the time that passed.
//!
//! `cargo bench -p simulations -- NAMES` runs some: events, sweep, cores, and million, which is not run without its name
//! (minutes): the hour of a million users.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "a benchmark measures time, starts its peer, and prints"
)]

use simulations::design::Design;
use simulations::events::{self, Calendar, Events};
use simulations::message::{Class, Message};
use simulations::outcome::{Options, Users};
use simulations::random::{Keyed, Purpose, exponential};
use simulations::traffic::{Demand, Traffic};
use simulations::{Engine, Scenario, Transparent, sweep};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// Packets under way in the comparison of event engines.
const PENDING: u64 = 100_000;

/// What something took: time that passed, and time that this thread had a core (Linux).
struct Timing {
    wall: f64,
    core: f64,
}

fn timed<R>(work: impl FnOnce() -> R) -> (R, Timing) {
    let (begun, before) = (Instant::now(), core_seconds());
    let result = work();
    let wall = begun.elapsed().as_secs_f64();
    let core = match (before, core_seconds()) {
        (Some(before), Some(after)) => after - before,
        _ => wall,
    };
    (result, Timing { wall, core })
}

/// Seconds that this thread has run.
fn core_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos: f64 = text.split_whitespace().next()?.parse().ok()?;
    Some(nanos * 1e-9)
}

fn say(what: &str, events: f64, timing: &Timing) -> f64 {
    let (wall, core) = (events / timing.wall / 1e6, events / timing.core / 1e6);
    println!(
        "{what:<58} {core:7.2} M/s   ({wall:.2} M/s by the wall clock; {:.2} s, {:.2} s of a core)",
        timing.wall, timing.core
    );
    core
}

fn main() {
    let named: Vec<_> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let wanted = |name: &str| named.iter().any(|n| n == name);
    // Without names, everything but what takes minutes.
    let all = named.is_empty();
    if all || wanted("events") {
        beside_simpy();
        event_engine_with_targets();
    }
    if all || wanted("sweep") {
        eight_targets(true);
        eight_targets(false);
    }
    if all || wanted("cores") {
        cores();
    }
    if wanted("million") {
        a_million();
    }
}

fn beside_simpy() {
    let queue = bare_queue();
    let engine = bare_engine();
    match simpy() {
        Some(peer) => {
            println!("  the queue is {:.0} x simpy", queue / peer);
            println!("  the engine is {:.0} x simpy (aim: 50)", engine / peer);
        }
        None => {
            println!("  simpy: SKIPPED, no python3 with simpy (python3 -m venv, pip install simpy)")
        }
    }
}

/// The same work as the script's: an exponential wait, again and again.
fn bare_queue() -> f64 {
    let events = 20_000_000;
    let mut queue = Calendar::new(1.0 / PENDING as f64);
    let draws = Keyed::new(1, Purpose::FREE);
    for packet in 0..PENDING {
        queue.push(exponential(draws.block(packet, 0)[0], 1.0), packet);
    }
    let (_, timing) = timed(|| {
        for i in 1..=events {
            if let Some((now, packet)) = queue.pop(f64::INFINITY) {
                queue.push(now + exponential(draws.block(packet, i)[0], 1.0), packet);
            }
        }
    });
    say(
        "calendar queue alone, 100000 pending, as the simpy script",
        events as f64,
        &timing,
    )
}

/// Packets through three layers of mixes, 10⁵ pending, nothing tracked. An event is what came out of the queue, as in the
/// script: a wait that is over. Here that is a packet which is sent, or which leaves a mix; with it goes the draw of its next
/// mix and of its delay there, its entry there (or its end, with its latency), both pools' counts, and the push of what follows. Hop events
/// (entries and departures, each one) are more, and only printed.
fn bare_engine() -> f64 {
    let (rate, mean) = (PENDING as f64 / 3.0, 1.0);
    let design = Design::bare(3, 100, mean);
    let draws = Keyed::new(2, Purpose::ARRIVAL);
    let mut time = 0.0;
    let messages = (0..).map(move |i| {
        let [gap, user] = draws.block(i, 0);
        time += exponential(gap, 1.0 / rate);
        Message {
            time,
            sender: (user >> 40) as u32,
            receiver: (user >> 20) as u32 & 0xff_ffff,
            class: Class::Payload,
        }
    });
    let options = Options::new(1, 0);
    let plan = simulations::design::Plan::new(&design, 1).expect("a bare design can be run");
    let mut nobody = ();
    let mut engine = Events::<0, _, _>::new(&plan, messages, &options, &mut nobody);
    engine.run_until(15.0).expect("messages in order");
    let (before, hops) = (engine.events(), engine.hops());
    let pending = engine.under_way();
    let (_, timing) = timed(|| engine.run_until(55.0).expect("messages in order"));
    let what = format!("event engine without cores or metrics, {pending} pending");
    let events = say(&what, (engine.events() - before) as f64, &timing);
    say("  its hop events", (engine.hops() - hops) as f64, &timing);
    events
}

fn simpy() -> Option<f64> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let venv = here.join("../target/simpy");
    let python = venv.join("bin/python3");
    let works = |python: &PathBuf| {
        let output = Command::new(python).args(["-c", "import simpy"]).output();
        output.is_ok_and(|o| o.status.success())
    };
    if !works(&python) {
        let made = Command::new("python3")
            .args(["-m", "venv"])
            .arg(&venv)
            .output();
        made.ok().filter(|o| o.status.success())?;
        let pip = Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "simpy"])
            .output();
        pip.ok().filter(|o| o.status.success())?;
    }
    let output = Command::new(&python)
        .arg(here.join("benches/peer.py"))
        .args([PENDING.to_string(), "500000".into()])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.split_whitespace().map(str::parse::<f64>);
    let (events, seconds) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    println!(
        "{:<58} {:7.3} M/s   ({seconds:.2} s of a core)",
        "simpy, 100000 pending",
        events / seconds / 1e6
    );
    Some(events / seconds / 1e6)
}

/// The sweep with eight messages tracked all the time.
fn eight_targets(echo: bool) {
    let (design, users, seconds) = if echo {
        let mut design = Design::mizzle(20, 20);
        design.emission.payload_rate = 0.08;
        design.emission.loop_rate = 0.02;
        (design, 100_000, 200.0)
    } else {
        (Design::bare(3, 10, 0.267), 50_000, 60.0)
    };
    let demand = if echo {
        Demand::poisson(0.01)
    } else {
        Demand::poisson(0.5)
    };
    let mut options = Options::new(1, usize::MAX);
    options.users = Users::Senders(users);
    let traffic = Traffic::new(&design, users, demand, 1, seconds);
    let (outcome, timing) =
        timed(|| sweep::run::<8>(&design, traffic, &options, &mut ()).expect("it can be run"));
    let what = format!(
        "sweep, 8 targets, {users} users, {} ({} tracked)",
        if echo { "echo design" } else { "bare network" },
        outcome.tracked.len()
    );
    say(&what, outcome.hop_events as f64, &timing);
}

fn event_engine_with_targets() {
    let design = Design::bare(3, 10, 0.267);
    let options = Options::new(1, usize::MAX);
    let traffic = Traffic::new(&design, 50_000, Demand::poisson(0.5), 1, 30.0);
    let (outcome, timing) =
        timed(|| events::run::<8>(&design, traffic, &options, &mut ()).expect("it can be run"));
    say(
        "event engine, 8 targets, bare network: hop events",
        outcome.hop_events as f64,
        &timing,
    );
}

/// The shipped machines with packets without cryptography: a hop event is a packet that arrives at or leaves a machine.
fn cores() {
    let mut scenario = Scenario::small(1);
    scenario.entries = (0..60).map(|i| i % scenario.gateways).collect();
    let mut engine = Engine::<Transparent>::new(scenario);
    engine.run_for(Duration::from_secs(5));
    let before = engine.hop_events();
    let (_, timing) = timed(|| engine.run_for(Duration::from_secs(20)));
    say(
        "engine with the shipped machines, 60 clients: hop events",
        (engine.hop_events() - before) as f64,
        &timing,
    );
}

fn a_million() {
    let mut design = Design::mizzle(100, 100);
    design.emission.payload_rate = 0.08;
    design.emission.loop_rate = 0.02;
    let users = 1_000_000;
    let mut options = Options::new(1, usize::MAX);
    options.users = Users::Senders(users);
    let traffic = Traffic::new(&design, users, Demand::poisson(1.0 / 300.0), 1, 3_600.0);
    let (outcome, timing) =
        timed(|| sweep::run::<8>(&design, traffic, &options, &mut ()).expect("it can be run"));
    say(
        "a million users, one hour, 8 targets: hop events",
        outcome.hop_events as f64,
        &timing,
    );
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|l| l.starts_with("VmHWM"));
    let (h, error) = outcome.estimate(|t| t.user_entropy);
    println!(
        "  {} tracked, H over users {h:.3} ± {:.3} bit; most memory: {}",
        outcome.tracked.len(),
        1.96 * error,
        peak.unwrap_or("not known here")
    );
}

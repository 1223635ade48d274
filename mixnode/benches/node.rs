//! What a whole mix carries: a real process, real TLS on loopback, `cargo bench -p mixnode --bench node`.
//!
//! Two nodes alike but for the key `unwrap`: ours, and the crate `sphinx-packet` packet by packet. Each on
//! one core (generator and sink on the others) and on all (shared with generator and sink). First what
//! each can carry, in turns; then loads of 25 to 150 % of that. `--quick` takes the second case alone, and
//! two loads. The figures go to `node-bench.json` and `node-bench.svg` in the target folder; the last
//! lines are for scripts.
//!
//! Bare times are worth nothing elsewhere: compare within one run.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and may end by panic"
)]

#[path = "node/svg.rs"]
mod svg;

use mixnode::bench::window::{Kind, Trial, Window};
use mixnode::bench::world::Setup;
use runtime::cores;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What is compared.
const VARIANTS: [(&str, &str); 2] = [
    ("ours", ""),
    ("sphinx-packet", "unwrap = \"sphinx-packet\"\n"),
];
const LIMITS: &str = "log = \"error\"\n[limits]\nreplay_tags = 16777216\n";

/// How long things take.
struct Plan {
    step: Duration,
    window: Duration,
    /// Packets that are sent as fast as they are taken.
    flood: usize,
    rounds: usize,
    /// Windows at half load; the one in the middle counts, so that a moment's disturbance does not.
    halves: usize,
    loads: &'static [u32],
    their_loads: &'static [u32],
}

const FULL: Plan = Plan {
    step: Duration::from_millis(600),
    window: Duration::from_secs(4),
    flood: 600_000,
    rounds: 2,
    halves: 5,
    loads: &[25, 50, 75, 100, 150],
    their_loads: &[50, 150],
};
const QUICK: Plan = Plan {
    step: Duration::from_millis(500),
    window: Duration::from_secs(2),
    flood: 300_000,
    rounds: 1,
    halves: 3,
    loads: &[50, 150],
    their_loads: &[50],
};

/// One variant on some cores.
pub(crate) struct Run {
    pub(crate) name: &'static str,
    pub(crate) capacity: f64,
    /// Taken and let out a second when as many are sent as it takes.
    flood: [f64; 2],
    pub(crate) windows: Vec<(u32, Window)>,
    tags: Value,
}

/// All variants on the same cores.
pub(crate) struct Case {
    pub(crate) title: String,
    pub(crate) runs: Vec<Run>,
}

impl Case {
    fn run(&self, name: &str) -> Option<&Run> {
        self.runs.iter().find(|run| run.name == name)
    }

    /// Packets a second beside those of the other variant.
    fn ratio(&self) -> Option<f64> {
        Some(self.run(VARIANTS[0].0)?.capacity / self.run(VARIANTS[1].0)?.capacity)
    }
}

fn setup(unwrap: &str, node: &[usize], own: &[usize]) -> Setup {
    let folder = env!("CARGO_TARGET_TMPDIR");
    let mut setup = Setup::new(env!("CARGO_BIN_EXE_mixnode"), folder);
    setup.config = format!("{unwrap}{LIMITS}");
    setup.node_cores = node.to_vec();
    setup.own_cores = own.to_vec();
    setup.packets = 10 << 20;
    setup
}

fn case(title: &str, node: &[usize], own: &[usize], plan: &Plan) -> Case {
    println!("\n{title}");
    let mut trials = Vec::new();
    for (name, unwrap) in VARIANTS {
        match Trial::start(setup(unwrap, node, own)) {
            Ok(trial) => trials.push((name, trial, 0.0f64)),
            Err(error) => println!("SKIPPED: {name}: {error}"),
        }
    }
    for _ in 0..plan.rounds {
        for (name, trial, best) in &mut trials {
            let found = trial.capacity(plan.step, plan.window).unwrap();
            println!("  {name:<14} carries {found:>8.0} packets/s");
            *best = best.max(found);
        }
    }
    println!(
        "  {:<14} {:>5} {:>8} {:>8} {:>8} {:>7} {:>7} {:>8} {:>8} {:>8} {:>6} {:>6}",
        "",
        "load",
        "asked/s",
        "taken/s",
        "out/s",
        "us node",
        "us gen",
        "p50 us",
        "p99 us",
        "p99.9",
        "MB",
        "wait %"
    );
    let mut runs = Vec::new();
    for (name, mut trial, capacity) in trials {
        let flood = trial.flood(plan.flood).unwrap();
        println!(
            "  {name:<14} as fast as it takes them: {:.0} packets/s taken, {:.0} out",
            flood[0], flood[1]
        );
        let loads = if name == VARIANTS[0].0 {
            plan.loads
        } else {
            plan.their_loads
        };
        let mut windows = Vec::new();
        for load in loads {
            let rate = capacity * f64::from(*load) / 100.0;
            let times = if *load == 50 { plan.halves } else { 1 };
            let window = median(&mut trial, rate, plan.window, times);
            line(name, &format!("{load}%"), &window);
            windows.push((*load, window));
        }
        runs.push(Run {
            name,
            capacity,
            flood,
            windows,
            tags: tags(&mut trial),
        });
    }
    let title = title.to_owned();
    Case { title, runs }
}

/// Measures so many times, and keeps the window whose lateness is in the middle.
fn median(trial: &mut Trial, rate: f64, time: Duration, times: usize) -> Window {
    let measured = (0..times).map(|_| trial.measure(rate, time).unwrap());
    let mut windows: Vec<Window> = measured.collect();
    for window in &windows {
        assert_eq!(window.early, 0, "packets came before their time");
    }
    windows.sort_by(|a, b| a.late[1].total_cmp(&b.late[1]));
    if times > 1 {
        let shown: Vec<_> = windows.iter().map(|w| w.late[1].round()).collect();
        println!("  {:<20} p99 us of {times} windows: {shown:?}", "");
    }
    windows.swap_remove(times / 2)
}

/// What remembering costs: memory, disk, and the time of a start with all of it.
fn tags(trial: &mut Trial) -> Value {
    let disk = std::fs::metadata(trial.world.log()).unwrap().len();
    let tags = trial.world.ledger().passed().max(1);
    trial.world.kill();
    let began = Instant::now();
    trial.world.start().unwrap();
    let restart = began.elapsed();
    // A node that has just started holds its tags and little else.
    let resident = trial.world.usage().unwrap().resident;
    let million = tags as f64 / 1e6;
    println!(
        "  {:<20} {million:.2} million tags: {:.1} MB of disk a million; ready again with them after \
         {:.0} ms, {:.0} MB resident then",
        "",
        disk as f64 / 1e6 / million,
        restart.as_secs_f64() * 1e3,
        resident as f64 / 1e6
    );
    json!({
        "tags": tags, "disk_bytes": disk, "restart_ms": restart.as_millis() as u64,
        "resident_after_restart_bytes": resident,
    })
}

fn line(name: &str, load: &str, w: &Window) {
    println!(
        "  {name:<14} {load:>5} {:>8.0} {:>8.0} {:>8.0} {:>7.1} {:>7.1} {:>8.0} {:>8.0} {:>8.0} {:>6.0} \
         {:>6.0}",
        w.asked,
        w.sent,
        w.passed,
        w.cpu_total(),
        w.own_cpu,
        w.late[0],
        w.late[1],
        w.late[2],
        w.peak as f64 / 1e6,
        w.waited * 100.0,
    );
    let parts = |parts: &BTreeMap<String, f64>| {
        let parts = parts.iter().filter(|(_, us)| **us >= 0.05);
        let parts: Vec<_> = parts.map(|(name, us)| format!("{name} {us:.1}")).collect();
        parts.join(", ")
    };
    let own = w.own_late.map_or(String::new(), |[p50, p99]| {
        format!("; by the node itself p50 ≤ {p50:.0}, p99 ≤ {p99:.0} us")
    });
    println!("  {:<20} us by stage: {}", "", parts(&w.stages));
    println!(
        "  {:<20} us by thread: {}{own}; discards {:?}",
        "",
        parts(&w.cpu),
        w.discards
    );
}

/// What packets that are no good cost the node, beside good ones.
fn abuse(plan: &Plan) -> Value {
    let mut trial = Trial::start(setup("", &[], &[])).unwrap();
    let rate = trial.capacity(plan.step, plan.window).unwrap() / 4.0;
    let kinds = [Kind::Good, Kind::Junk, Kind::Replay, Kind::OtherEpoch];
    let mut costs = kinds.map(|kind| (kind, f64::INFINITY));
    for _ in 0..plan.rounds {
        for (kind, cost) in &mut costs {
            *cost = cost.min(trial.cost(*kind, rate, plan.window / 2).unwrap());
        }
    }
    println!("\nCPU of the node for each packet, TLS and all");
    let good = costs[0].1;
    for (kind, cost) in costs {
        println!(
            "  {:<12} {cost:>6.1} us  {:>4.0} %",
            format!("{kind:?}"),
            cost / good * 100.0
        );
    }
    costs
        .iter()
        .map(|(kind, cost)| json!({"kind": format!("{kind:?}"), "cpu_us": cost, "of_good": cost / good}))
        .collect()
}

/// What a packet costs with so many neighbours on each side, at one rate: the more links, the fewer
/// packets share a system call.
fn neighbours(plan: &Plan, rate: f64) -> Value {
    println!(
        "\nCPU of the node for each packet at {rate:.0} packets/s, by neighbours on each side"
    );
    let of = |neighbours: usize| {
        let mut setup = setup("", &[], &[]);
        (setup.sources, setup.sinks) = (neighbours, neighbours);
        let mut trial = Trial::start(setup).unwrap();
        let window = trial.measure(rate, plan.window / 2).unwrap();
        println!(
            "  {neighbours:>4} {:>6.1} us, p99 late {:>6.0} us, {:>4.0} MB",
            window.cpu_total(),
            window.late[1],
            window.peak as f64 / 1e6
        );
        json!({"neighbours": neighbours, "window": window.to_json()})
    };
    [4, 32, 128].map(of).into_iter().collect()
}

fn target() -> PathBuf {
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    temporary.parent().unwrap_or(temporary).to_owned()
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let plan = if quick { QUICK } else { FULL };
    let began = Instant::now();
    let cores = cores::cores().unwrap();
    let mut cases = Vec::new();
    if let ([first, rest @ ..], false) = (&cores[..], quick || cores.len() < 2) {
        let title = "node on 1 core, generator and sink on the others";
        cases.push(case(title, &[*first], rest, &plan));
        cores::pin(&cores).unwrap();
    }
    let title = format!("node, generator and sink on {} cores together", cores.len());
    cases.push(case(&title, &[], &[], &plan));
    let abuse = abuse(&plan);
    let quarter = cases.last().unwrap().runs[0].capacity / 4.0;
    let neighbours = if quick {
        Value::Null
    } else {
        neighbours(&plan, quarter)
    };

    let shown = cases.iter().map(|case| {
        let runs = case.runs.iter().map(|run| {
            let windows = run.windows.iter().map(|(load, window)| {
                let mut shown = window.to_json();
                shown["load_percent"] = (*load).into();
                shown
            });
            let windows: Value = windows.collect();
            json!({"unwrap": run.name, "capacity_per_s": run.capacity,
                   "flood": {"taken_per_s": run.flood[0], "passed_per_s": run.flood[1]},
                   "windows": windows,
                   "tags": run.tags})
        });
        let runs: Value = runs.collect();
        json!({"case": case.title, "runs": runs, "ratio": case.ratio()})
    });
    let shown: Value = shown.collect();
    let all = json!({
        "cores": cores.len(), "quick": quick, "seconds": began.elapsed().as_secs(),
        "cases": shown, "abuse": abuse, "neighbours": neighbours,
    });
    let (json, picture) = (
        target().join("node-bench.json"),
        target().join("node-bench.svg"),
    );
    std::fs::write(&json, serde_json::to_string_pretty(&all).unwrap()).unwrap();
    std::fs::write(&picture, svg::draw(&cases)).unwrap();
    println!(
        "\n{} and {}, after {} s",
        json.display(),
        picture.display(),
        began.elapsed().as_secs()
    );

    let last = cases.last().unwrap();
    for case in &cases[..cases.len() - 1] {
        if let Some(ratio) = case.ratio() {
            println!("ratio node-1-core {ratio:.2}");
        }
    }
    match last.ratio() {
        Some(ratio) => println!("ratio node {ratio:.2}"),
        None => println!("SKIPPED: ratio node: this mixnode has no key `unwrap`"),
    }
    let ours = last.run(VARIANTS[0].0).unwrap();
    let half = ours.windows.iter().find(|(load, _)| *load == 50).unwrap();
    println!("lateness-p99-us {:.0}", half.1.late[1]);
}

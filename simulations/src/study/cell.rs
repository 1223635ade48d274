//! One run of one point.

use super::measures::{self, List};
use super::{Measured, StudyError, Tell};
use crate::outcome::{Options, Outcome, Tracked, Users};
use crate::random::replication_seed;
use crate::replay::Conversation;
use crate::scenario_file::{Case, Engine, Study, WorkloadKind};
use crate::traffic::{Demand, Traffic};
use crate::{Scenario, Transparent, events, sweep, workload};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Messages that are tracked at a time.
const LANES: usize = 8;
/// How far a run is, is told once in so many messages.
const TELL_EVERY: u32 = 1 << 14;

/// Which cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cell {
    /// Its number.
    pub number: usize,
    /// Which point of the study.
    pub point: usize,
    /// Which run of that point.
    pub replication: u32,
    /// Everything random in it follows from this.
    pub seed: u64,
}

impl Cell {
    /// The cell of a number.
    pub fn of(study: &Study, number: usize) -> Self {
        let replications = study.file.replications as usize;
        let replication = (number % replications) as u32;
        Self {
            number,
            point: number / replications,
            replication,
            seed: replication_seed(study.file.seed, u64::from(replication)),
        }
    }
}

/// What came of a cell, as it is kept in its file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CellResult {
    /// [`super::SCHEMA`].
    pub schema: u32,
    /// Version of the program.
    pub version: String,
    /// Which cell.
    pub cell: Cell,
    /// Numbers.
    pub measures: Vec<Measured>,
    /// Lines of `tracked.csv`, less the columns of the cell.
    pub tracked: Vec<String>,
}

/// The columns of [`CellResult::tracked`].
pub(super) const TRACKED: &str = "sent_s,sender,receiver,latency_s,entropy_bit,min_entropy_bit,best_guess,\
     right,truth,user_entropy_bit,user_min_entropy_bit,user_best_guess,user_right,outputs,missing,group";

/// All traces of a study, read once.
pub struct Traces(BTreeMap<String, Conversation>);

impl Traces {
    /// Reads them; `beside` is the scenario's folder.
    pub fn read(study: &Study, beside: &Path) -> Result<Self, StudyError> {
        let mut all = BTreeMap::new();
        for point in &study.points {
            if let WorkloadKind::Trace(file, _) = &point.case.workload
                && !all.contains_key(file)
            {
                let path = beside.join(file);
                let text = std::fs::read_to_string(&path)
                    .map_err(|e| StudyError(format!("cannot read {}: {e}", path.display())))?;
                let trace = Conversation::parse(file, &text)
                    .map_err(|e| StudyError(format!("{}: {e}", path.display())))?;
                all.insert(file.clone(), trace);
            }
        }
        Ok(Self(all))
    }
}

/// Runs a cell.
pub fn run_cell(
    study: &Study,
    traces: &Traces,
    number: usize,
    tell: Tell<'_>,
) -> Result<CellResult, StudyError> {
    let cell = Cell::of(study, number);
    let case = &study.points[cell.point].case;
    let (measures, tracked) = match case.engine {
        Engine::Cores => (cores(case, cell, tell), Vec::new()),
        Engine::Sweep | Engine::Events => {
            let (list, outcome) = engines(case, cell, traces, tell)
                .map_err(|why| StudyError(format!("cell {number}: {why}")))?;
            (list, outcome.tracked.iter().map(line).collect())
        }
    };
    Ok(CellResult {
        schema: super::SCHEMA,
        version: env!("CARGO_PKG_VERSION").into(),
        cell,
        measures: measures.done(),
        tracked,
    })
}

fn engines(
    case: &Case,
    cell: Cell,
    traces: &Traces,
    tell: Tell<'_>,
) -> Result<(List, Outcome), String> {
    let (mut users, mut duration) = (case.users, case.duration);
    let demand = match &case.workload {
        WorkloadKind::Nothing => Demand::Nothing,
        WorkloadKind::Saturated => Demand::Saturated,
        WorkloadKind::Poisson(rate, contacts) => Demand::Poisson {
            rate: *rate,
            contacts: *contacts,
        },
        WorkloadKind::Trace(file, faster) => {
            let trace = traces.0.get(file).ok_or("its trace was not read")?;
            users = trace.users as u32;
            duration = duration.min(trace.length / faster + 1e-3);
            trace.demand(*faster)
        }
    };
    let mut options = Options {
        seed: cell.seed,
        ..case.options.clone()
    };
    options.users = match options.users {
        Users::None => Users::None,
        Users::Senders(_) => Users::Senders(users),
        Users::Receivers(_) => Users::Receivers(users),
    };
    if case.whole_duration {
        options.targets = usize::MAX;
    }
    let design = &case.design;
    let mut traffic = Traffic::new(design, users, demand, cell.seed, duration);
    let mut count = 0;
    let messages = traffic.by_ref().inspect(|message| {
        count += 1;
        if count % TELL_EVERY == 0 {
            tell(cell.number, message.time / duration);
        }
    });
    let outcome = match case.engine {
        Engine::Events => events::run::<LANES>(design, messages, &options, &mut ()),
        Engine::Sweep | Engine::Cores => sweep::run::<LANES>(design, messages, &options, &mut ()),
    };
    let outcome = outcome.map_err(|error| error.0)?;
    let list = measures::of(design, options.users, &outcome, &traffic);
    Ok((list, outcome))
}

fn line(t: &Tracked) -> String {
    let number = |x: f64| {
        if x.is_nan() {
            String::new()
        } else {
            x.to_string()
        }
    };
    let cells = [
        number(t.sent),
        t.sender.to_string(),
        t.receiver.to_string(),
        number(t.latency),
        number(t.entropy),
        number(t.min_entropy),
        number(t.best),
        u8::from(t.hit).to_string(),
        number(t.truth),
        number(t.user_entropy),
        number(t.user_min_entropy),
        number(t.user_best),
        u8::from(t.user_hit).to_string(),
        t.outputs.to_string(),
        number(t.missing),
        t.group.to_string(),
    ];
    cells.join(",")
}

/// The shipped machines under the same workload.
fn cores(case: &Case, cell: Cell, tell: Tell<'_>) -> List {
    let mut scenario = Scenario::small(cell.seed);
    let design = &case.design;
    let rate = |r: f64| directory::Rate((r * 1000.0).round().max(1.0) as u32);
    let p = &mut scenario.parameters;
    p.delay_mean = Duration::from_secs_f64(design.mean_delay().unwrap_or(0.05));
    p.hop_allowance = Duration::from_secs_f64(design.allowance);
    p.payload_rate = rate(design.emission.payload_rate);
    p.loop_rate = rate(design.emission.loop_rate);
    p.mix_loop_rate = rate(design.emission.mix_loop_rate);
    if let crate::design::Delivery::Echo { downlink_rate, .. } = design.delivery {
        p.downlink_rate = rate(downlink_rate);
    }
    scenario.mixes_per_layer = design.topology.stages()[0] as usize;
    scenario.gateways = design.gateways as usize;
    scenario.entries = (0..case.users as usize)
        .map(|user| user % scenario.gateways)
        .collect();
    scenario.link.latency = crate::network::Latency::Constant(Duration::from_secs_f64(design.link));
    let gap = match case.workload {
        WorkloadKind::Poisson(rate, _) => 1.0 / rate.max(1e-9),
        WorkloadKind::Nothing | WorkloadKind::Saturated | WorkloadKind::Trace(..) => 1e6,
    };
    let summary = workload::run::<Transparent>(
        scenario,
        workload::Workload {
            duration: Duration::from_secs_f64(case.duration),
            mean_gap: Duration::from_secs_f64(gap),
        },
        &|share| tell(cell.number, share),
    );
    let mut list = List::new();
    let seconds = |share| {
        summary
            .quantile(share)
            .map_or(f64::NAN, |d| d.as_secs_f64())
    };
    let count = summary.latencies.len() as u64;
    let sum: f64 = summary.latencies.iter().map(Duration::as_secs_f64).sum();
    list.add("to_reader", sum / count as f64, f64::NAN, count);
    list.add("to_reader_p95", seconds(0.95), f64::NAN, count);
    let stored = summary.stored as f64 / summary.written as f64;
    list.add("stored", stored, f64::NAN, summary.written as u64);
    let up: usize = summary.frames.iter().map(|f| f.0).sum();
    let ran = summary.ran.as_secs_f64();
    list.exact("up_packets", up as f64 / ran / f64::from(case.users));
    list.exact("packets", summary.echoes.0 as f64);
    list.exact("ran", ran);
    list
}

//! `simulations replay`: a message trace through the shipped code, or a look at what real daemons emitted.

use super::{Failure, attack};
use simulations::Transparent;
use simulations::attacks::shipped::{Rig, difference};
use simulations::metrics::quantile;
use simulations::replay::Capture;
use simulations::report::figures;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Replay a message trace through the shipped machines, or test captures of real daemons.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true)))]
pub(crate) struct Arguments {
    /// A trace: lines of `from to unix-seconds [bytes]`, by time.
    #[arg(long, group = "what")]
    trace: Option<PathBuf>,
    /// A capture of `localnet --capture`, or its folder.
    #[arg(long, group = "what")]
    capture: Option<PathBuf>,
    /// Of a trace: everything random follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Of a trace: its busiest stretch of so many seconds, in real time.
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// Of a trace: its most active users.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u16).range(2..=800))]
    users: u16,
    /// Of a capture: packets a second that the directory asks of a client, λP + λL.
    #[arg(long, default_value_t = 12.0)]
    uplink: f64,
    /// Of a capture: frames a second that the directory asks of a gateway.
    #[arg(long, default_value_t = 20.0)]
    downlink: f64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    match (&arguments.trace, &arguments.capture) {
        (Some(path), _) => {
            trace(arguments, path)?;
            Ok(ExitCode::SUCCESS)
        }
        (None, Some(path)) => captures(arguments, path),
        (None, None) => Err(Failure("say --trace or --capture".into())),
    }
}

fn trace(arguments: &Arguments, path: &Path) -> Result<(), Failure> {
    let people = attack::read_people(path)?;
    let part = people.busiest(f64::from(arguments.seconds), usize::from(arguments.users));
    println!(
        "{}: {} messages of {} users; busiest {} s of the {} most active: {} messages",
        people.name,
        people.messages.len(),
        people.users,
        arguments.seconds,
        part.users,
        part.messages.len()
    );
    let rig = Rig::wide(arguments.seed, part);
    let busy = rig.run::<Transparent>();
    let watched = busy.watched();
    let latencies: Vec<f64> = watched
        .iter()
        .flat_map(|w| w.latencies.iter().copied())
        .collect();
    println!("arrived   {} of {}", latencies.len(), busy.written.len());
    for (name, q) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
        let e = quantile(&latencies, q);
        let (value, low, high) = (figures(e.value), figures(e.low), figures(e.high));
        println!("latency   {name} {value} s [{low}, {high}]");
    }
    let (differ, compared) = difference(&watched, &rig.idle().run::<Transparent>().watched());
    println!("links     {differ} of {compared} frames differ from the same clients' idle run");
    println!("trace     {:016x}", busy.engine.trace().hash());
    Ok(())
}

fn captures(arguments: &Arguments, path: &Path) -> Result<ExitCode, Failure> {
    let mut files = Vec::new();
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            let file = entry?.path();
            let is_link = file.extension().is_some_and(|e| e == "csv")
                && file.file_stem().is_some_and(|s| s != "sends");
            if is_link {
                files.push(file);
            }
        }
        files.sort();
    } else {
        files.push(path.to_path_buf());
    }
    if files.is_empty() {
        return Err(Failure(format!("no capture in {}", path.display())));
    }
    let mut bad = false;
    for file in files {
        let text = fs::read_to_string(&file)?;
        let capture =
            Capture::parse(&text).map_err(|e| Failure(format!("{}: {e}", file.display())))?;
        let c = capture.conformance(arguments.uplink, arguments.downlink);
        let name = file
            .file_stem()
            .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        println!(
            "{name}: {} uplink records, gaps D = {:.4} (p = {:.3}), rate z = {:.2}, memory z = {:.2}, downlink p99 {:.2} ms off",
            c.records,
            c.poisson.distance,
            c.poisson.p,
            c.rate,
            c.memory,
            c.downlink * 1e3
        );
        for fault in c.faults() {
            bad = true;
            println!("  {fault}");
        }
    }
    Ok(ExitCode::from(u8::from(bad)))
}

//! `simulations cores`: people who write to each other, through the shipped machines.

use super::Failure;
use super::progress::Progress;
use clap::ValueEnum;
use simulations::workload::{self, Summary, Workload};
use simulations::{Scenario, Transparent};
use sphinx::Sphinx;
use std::time::Duration;

/// Run the shipped machines under people who write to each other, and say what came of it.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Everything random follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// So long messages are written, in virtual time.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// How many people; the gateways share them out.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    clients: u64,
    /// Each writes one message in so many seconds on average.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    gap: u64,
    /// Packets: the real ones, or some of their size without cryptography.
    #[arg(long, value_enum, default_value_t = Format::Transparent)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Sphinx,
    Transparent,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut scenario = Scenario::small(arguments.seed);
    let clients = 0..usize::try_from(arguments.clients).unwrap_or(usize::MAX);
    scenario.entries = clients.map(|i| i % scenario.gateways).collect();
    let workload = Workload {
        duration: Duration::from_secs(arguments.seconds),
        mean_gap: Duration::from_secs(arguments.gap),
    };
    let progress = Progress::new("runs", 1);
    let tell = |share| progress.tell(0, share);
    let summary = match arguments.format {
        Format::Sphinx => workload::run::<Sphinx>(scenario, workload, &tell),
        Format::Transparent => workload::run::<Transparent>(scenario, workload, &tell),
    };
    progress.end();
    print(arguments, &summary);
    Ok(())
}

fn print(arguments: &Arguments, summary: &Summary) {
    let Summary {
        written,
        stored,
        arrived,
        doubles,
        ..
    } = summary;
    let format = match arguments.format {
        Format::Sphinx => "sphinx",
        Format::Transparent => "transparent",
    };
    let seconds = |share| match summary.quantile(share) {
        Some(latency) => format!("{:.2} s", latency.as_secs_f64()),
        None => "-".into(),
    };
    let ran = summary.ran.as_secs_f64();
    println!(
        "seed      {}, {format}, {ran:.0} s of virtual time",
        arguments.seed
    );
    println!("messages  {written} written, {stored} stored, {arrived} arrived, {doubles} doubled");
    println!("latency   p50 {}, p99 {}", seconds(0.5), seconds(0.99));
    for (i, (up, down)) in summary.frames.iter().enumerate().take(8) {
        println!("client {i:<3} {up} frames up, {down} down");
    }
    if summary.frames.len() > 8 {
        println!("           and {} more clients", summary.frames.len() - 8);
    }
    let (echoes, answered) = summary.echoes;
    println!("requests  {echoes} of all machines, {answered} answered so far");
    println!(
        "packets   {} discarded, {} lost on links",
        summary.discarded, summary.lost
    );
    println!(
        "trace     {:016x} over {} events",
        summary.trace.0, summary.trace.1
    );
}

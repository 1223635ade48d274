//! A whole Mizzle network on loopback: authorities, three layers of mixes, gateways of different
//! operators, clients that know each other. Each node is a process of its own; this program runs
//! *itself* again with the hidden verb `role`, so there is one binary to build.
//!
//! Reading order: [`plan`] (who is where, all files) · `acquaint` (clients know each other before
//! the network stands) · `processes` (start, watch, end) · `capture` (what an observer of a
//! client's link sees) · `check` (messages through the real APIs) · `epochs` (what a change of epochs costs) · `chaos`
//! (messages while everything breaks) · `lines` (short lines beside a file) · `live` (the table and the
//! status line).

/// A line of output. Nobody may be reading any more (`localnet check | head`); that ends nothing.
macro_rules! say {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($arg)*);
    }};
}

pub mod acquaint;
pub mod api;
pub mod args;
pub mod capture;
pub mod chaos;
pub mod check;
pub mod epochs;
pub mod lines;
pub mod live;
pub mod plan;
pub mod processes;
pub mod stats;

use args::{Args, Verb};
use clap::Parser;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the program with its arguments, the program's name first.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args: Vec<OsString> = args.into_iter().collect();
    // A child: hand over to the daemon, which sees its own name and arguments.
    if args.get(1).is_some_and(|verb| verb == "role") {
        args.drain(..2);
        return role(args);
    }
    let args = Args::parse_from(args);
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let done = runtime.block_on(async {
        match &args.verb {
            None => live::run(&args.network).await,
            Some(Verb::Check(check)) => check::run(&args.network, check).await,
            Some(Verb::Chaos(chaos)) => chaos::run(&args.network, chaos).await,
            Some(Verb::Lines(lines)) => lines::run(&args.network, lines).await,
            Some(Verb::Reader(reader)) => chaos::reader::run(reader).await,
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn role(args: Vec<OsString>) -> ExitCode {
    match args.first().and_then(|name| name.to_str()) {
        Some("mixnode") => mixnode::main(args),
        Some("gateway") => gateway::main(args),
        Some("clientd") => clientd::main(args),
        Some("topology") => topology::main(args),
        Some(_) | None => fail(&anyhow::anyhow!(
            "no such role; this verb is for localnet itself"
        )),
    }
}

#[expect(clippy::print_stderr, reason = "the program's last word")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("localnet: {error:#}");
    ExitCode::FAILURE
}

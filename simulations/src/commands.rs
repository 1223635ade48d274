//! The commands, one file each. To add one: a file with `Arguments` and `run`, and a line in each of the two lists here.

mod attack;
mod card;
mod cores;
mod merge;
mod progress;
mod replay;
mod report;
mod run;
mod sweep;
mod verify;

use clap::Subcommand;
use std::fmt;
use std::process::ExitCode;

#[derive(Subcommand)]
pub(crate) enum Command {
    Attack(attack::Arguments),
    Card(card::Arguments),
    Cores(cores::Arguments),
    Merge(merge::Arguments),
    Replay(replay::Arguments),
    Report(report::Arguments),
    Run(run::Arguments),
    Sweep(sweep::Arguments),
    Verify(verify::Arguments),
}

/// Runs one. Exit code 1 says that the answer is bad (a check that did not pass), 2 that there is none.
pub(crate) fn run(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Attack(arguments) => return attack::run(arguments),
        Command::Card(arguments) => card::run(arguments)?,
        Command::Cores(arguments) => cores::run(arguments)?,
        Command::Merge(arguments) => merge::run(arguments)?,
        Command::Replay(arguments) => return replay::run(arguments),
        Command::Report(arguments) => report::run(arguments)?,
        Command::Run(arguments) => run::run(arguments)?,
        Command::Sweep(arguments) => sweep::run(arguments)?,
        Command::Verify(arguments) => return verify::run(arguments),
    }
    Ok(ExitCode::SUCCESS)
}

/// Why there is no answer, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

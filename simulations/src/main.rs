//! The command. What it does is in the library; how it is asked, in `commands`.
#![expect(clippy::print_stdout, reason = "a command prints its result")]

mod commands;

use clap::Parser;
use commands::Command;
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    version,
    about = "Mix networks in virtual time: what an adversary learns, and what it costs"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    match commands::run(&Arguments::parse().command) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("simulations: {failure}");
            ExitCode::from(2)
        }
    }
}

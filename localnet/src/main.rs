//! A whole network on this machine: `cargo run --release -p localnet`.

use std::process::ExitCode;

fn main() -> ExitCode {
    localnet::main(std::env::args_os())
}

//! The process; everything is in the library, so that `localnet` can run it too.

use std::process::ExitCode;

fn main() -> ExitCode {
    clientd::main(std::env::args_os())
}

//! The `gateway` command. Everything is in the library, which `localnet` calls too.

fn main() -> std::process::ExitCode {
    gateway::main(std::env::args_os())
}

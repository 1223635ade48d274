//! The `mixnode` command. Everything is in the library, which `localnet` calls too.

fn main() -> std::process::ExitCode {
    mixnode::main(std::env::args_os())
}

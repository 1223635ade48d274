//! `topology`: see the library.

fn main() -> std::process::ExitCode {
    topology::main(std::env::args_os())
}

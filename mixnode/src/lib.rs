//! Runs a mix: a tokio shell around `mizzle_core::mix::Mix`.
//!
//! What a mix decides is in `crates/core`; what every node shares of the real world, in
//! `runtime::node`. Here are the configuration ([`config`]) and the loop that joins them
//! ([`eventloop`]). `gateway` is built alike. [`mod@bench`] measures a node from outside.

pub mod bench;
pub mod config;
pub mod eventloop;
mod test_loss;

use config::Config;
use directory::Role;
use runtime::config::ConfigError;
use runtime::node::NodeError;
use runtime::node::command::{self, BenchOptions, NodeDaemon};
use runtime::node::foundation::Foundation;
use runtime::node::settings::Settings;
use runtime::shutdown::Shutdown;
use std::ffi::OsString;
use std::process::ExitCode;
use tokio::runtime::Handle;

/// Runs the command in `args`, the program's name first.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    command::main::<Mixnode>(args)
}

/// This daemon, to the command line that all nodes share.
pub struct Mixnode;

impl NodeDaemon for Mixnode {
    type Config = Config;
    const NAME: &'static str = "mixnode";
    const ROLE: Role = Role::Mix;
    const EXAMPLE: &'static str = include_str!("../mixnode.example.toml");
    const HAS_BENCH: bool = true;

    fn settings(config: &Config) -> Settings {
        config.settings()
    }

    fn log(config: &Config) -> &str {
        &config.log
    }

    fn bench(config: &Config, options: &BenchOptions) -> Result<String, NodeError> {
        bench::estimate::run(config, options)
    }

    fn check(config: &Config) -> Result<(), ConfigError> {
        config.check()
    }

    fn run(
        config: Config,
        foundation: Foundation,
        shutdown: Shutdown,
        io: &Handle,
    ) -> Result<(), NodeError> {
        eventloop::run(&config, foundation, shutdown, io)
    }
}

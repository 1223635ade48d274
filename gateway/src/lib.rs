//! Runs a gateway: a tokio shell around `mizzle_core::gateway::Gateway`.
//!
//! What a gateway decides is in `crates/core`, what it keeps in `crates/store`, and what every node
//! shares of the real world in `runtime::node`. Here: [`config`], the listener for clients
//! ([`clients`]), how much each may send ([`allowance`]), the punctual writer of their downlinks ([`downlink`]), the store's keys and thread
//! ([`inboxes`]), its own metrics ([`metrics`]) and the loop that joins them ([`eventloop`]).

pub mod allowance;
pub mod clients;
pub mod config;
pub mod downlink;
pub mod eventloop;
pub mod inboxes;
pub mod metrics;
mod start;

use config::Config;
use directory::Role;
use runtime::config::ConfigError;
use runtime::node::NodeError;
use runtime::node::command::{self, NodeDaemon};
use runtime::node::foundation::Foundation;
use runtime::node::settings::Settings;
use runtime::shutdown::Shutdown;
use std::ffi::OsString;
use std::process::ExitCode;
use tokio::runtime::Handle;

/// Runs the command in `args`, the program's name first.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    command::main::<GatewayDaemon>(args)
}

/// This daemon, to the command line that all nodes share.
pub struct GatewayDaemon;

impl NodeDaemon for GatewayDaemon {
    type Config = Config;
    const NAME: &'static str = "gateway";
    const ROLE: Role = Role::Gateway;
    const EXAMPLE: &'static str = include_str!("../gateway.example.toml");

    fn settings(config: &Config) -> Settings {
        config.settings()
    }

    fn log(config: &Config) -> &str {
        &config.log
    }

    fn check(config: &Config) -> Result<(), ConfigError> {
        config.check()
    }

    fn prepare(_config: &Config, foundation: &mut Foundation) -> Result<(), NodeError> {
        inboxes::StoreKeys::load_or_create(foundation).map(|_| ())
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

//! A network of real processes for one test.

use clap::Parser;
use localnet::args::{Args, NetworkArgs};
use localnet::live::Network;
use std::path::Path;

/// The command line's own parser, so that defaults are the program's.
pub(crate) fn args(dir: &Path, extra: &[&str]) -> NetworkArgs {
    let dir = dir.to_str().unwrap();
    let words = ["localnet", "--dir", dir]
        .into_iter()
        .chain(extra.iter().copied());
    Args::parse_from(words).network
}

pub(crate) async fn start(dir: &Path, extra: &[&str]) -> Network {
    start_with(&args(dir, extra)).await
}

pub(crate) async fn start_with(args: &NetworkArgs) -> Network {
    let program = Path::new(env!("CARGO_BIN_EXE_localnet"));
    Network::start_with(args, program).await.unwrap()
}

pub(crate) fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

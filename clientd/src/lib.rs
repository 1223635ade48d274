//! The client daemon: private messages for people and applications on one machine.
//!
//! A thin shell. Who says what to whom is decided by `messaging::Messenger`, when packets leave and
//! what they carry by `mizzle_core::client::Client`; here are the loop that drives both, the link to
//! the entry gateway, the store, the loopback API and the command line.
//!
//! Reading order: [`config`] · `daemon` (who is connected to whom) · `eventloop` · `uplink` and
//! `link` · `storage`, `history` and `files` · `api` · `cli`.

pub mod api;
mod apps;
mod cli;
mod commands;
pub mod config;
mod daemon;
mod directories;
mod entry;
mod eventloop;
mod files;
mod gateway_clock;
mod history;
mod link;
mod listeners;
mod proofs;
mod storage;
mod token;
mod uplink;
mod vault;

use messaging::Table;
use runtime::data_dir::DataDir;
pub use runtime::node::NodeError;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use zeroize::Zeroizing;

/// Runs the program; the first argument is its name, as in `std::env::args_os`.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    cli::run(args)
}

/// Makes a client's data folder with these rows of its `Messenger` in it, before its first start.
/// For `localnet`, whose clients are contacts from the beginning. Refuses a folder that holds a
/// client already.
pub fn provision(
    data_dir: &Path,
    rows: impl IntoIterator<Item = ((Table, Vec<u8>), Zeroizing<Vec<u8>>)>,
) -> Result<(), NodeError> {
    vault::provision(&DataDir::open(data_dir)?, rows)
}

#[cfg(test)]
mod tests;

//! Tests of both stores through their public interface, on real files.

// Clippy's exception for tests does not reach the helpers between them.
#![allow(clippy::unwrap_used)]

mod blob;
mod client;
mod client_spare;
mod client_upgrade;
mod client_vaults;
mod common;
mod crash;
mod damage;
mod disk_full;
mod model;
mod power;
mod small_disk;
mod thread;

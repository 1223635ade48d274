//! Tests of both stores through their public interface, on real files.

mod client;
mod common;
mod crash;
mod damage;
mod disk_full;
mod model;
mod power;
mod thread;

//! Measures a mixnode from outside: a real process, real TLS on loopback, packets from a generator.
//!
//! ```text
//!   Stock ──▶ Source ══TLS══▶ mixnode (child process) ══TLS══▶ Sink ──▶ Ledger
//!   probes    the layer before                            the layer after   when each left and came
//! ```
//!
//! [`world`] makes a network in which only the middle node is real; [`window`] loads it at a rate and
//! says what came of it. On them stand [`estimate`] (the command `mixnode bench`), the benchmark
//! `benches/node.rs` and the slow tests. Nothing here is part of a running mix.
//!
//! Generator, sink and node share one machine and one clock, so a packet's lateness is taken from
//! outside: arrival at the sink − (handed to TLS at the source + δ + its delay). What the node is charged
//! with therefore includes both ways through loopback, and can only be too much.

pub mod estimate;
pub mod ledger;
pub mod process;
pub mod sink;
pub mod source;
pub mod stock;
pub mod window;
pub mod world;

use runtime::node::NodeError;
use std::fmt::Display;

/// For `map_err`: what could not be done.
pub fn failed<E: Display>(doing: &'static str) -> impl FnOnce(E) -> NodeError {
    move |error| NodeError::Ended(format!("cannot {doing}: {error}"))
}

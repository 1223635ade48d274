//! The machines from outside, with the real packet format: what they do with every kind of bad
//! input, when they answer, what they never do.
//!
//! Whole networks are in `simulations/tests`.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

#[path = "machines/bench.rs"]
mod bench;
#[path = "machines/client.rs"]
mod client;
#[path = "machines/desk.rs"]
mod desk;
#[path = "machines/hop.rs"]
mod hop;
#[path = "machines/inboxes.rs"]
mod inboxes;
#[path = "machines/keep.rs"]
mod keep;
#[path = "machines/omniscient.rs"]
mod omniscient;
#[path = "machines/properties.rs"]
mod properties;
#[path = "machines/sessions.rs"]
mod sessions;
#[path = "machines/views.rs"]
mod views;
#[path = "machines/world.rs"]
mod world;

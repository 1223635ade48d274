//! The whole network in virtual time. The machines are the shipped ones, [`mizzle_core`]'s `Mix`,
//! `Gateway` and `Client` and [`directory`]'s `Authority`, held in fields named `sut`; only what is
//! around them is made up here: clock, links, disks.
//!
//! Nothing of this crate is part of a daemon, least of all [`Transparent`].
//!
//! Reading order: [`scenario`] (what is asked) · [`engine`] (the event loop) · [`node`] (machines in
//! their made-up surroundings) · [`network`] (links) · [`observer`] (what is seen, and what is true)
//! · [`stats`] (how sure a number is) · [`trace`] (a fingerprint of a run) · [`workload`] (people who write) · [`transparent`] (packets
//! without cryptography).
//!
//! Beside them, for studies of anonymity that need millions of packets, two engines without cores: [`design`] (a
//! network as one value) · [`message`] (what goes through it) · [`random`] (numbers by key) · [`outcome`] (what is
//! measured) · [`traffic`] (what users send) · [`sweep`] (window by window, sort and merge: the fast one) · [`events`] (event
//! by event: the one that an adversary can drive).
//!
//! What an adversary makes of it: [`attacks`] · [`metrics`] (numbers with what they mean) · [`replay`] (recordings) ·
//! [`plot`] and [`report`] (figures and pages). Whether all that measures rightly: [`verify`].

pub mod attacks;
mod chunks;
pub mod clock;
pub mod design;
pub mod engine;
pub mod events;
pub mod message;
pub mod metrics;
pub mod network;
pub mod node;
pub mod observer;
pub mod outcome;
pub mod plot;
pub mod random;
pub mod replay;
pub mod report;
mod rows;
pub mod scenario;
pub mod scenario_file;
mod sort;
pub mod stats;
pub mod study;
pub mod sweep;
pub mod trace;
pub mod traffic;
pub mod transparent;
pub mod verify;
pub mod whole_file;
pub mod workload;

pub use engine::{Actor, Engine};
pub use scenario::{Faults, Scenario};
pub use transparent::Transparent;

//! How well a mix network hides, by closed forms: no simulation, no state, no randomness.
//!
//! Every function says its formula, its units, where it is from and where it holds; what it returns
//! is a [`Value`], which carries the last of these with it. Entropies are in bits, times in seconds,
//! rates per second, unless said otherwise. [`Card`] puts everything together for one network;
//! [`live`] does it for what a running mix or client has measured.
//!
//! What is not here: anything that needs a draw. `simulations verify` measures with its engines what
//! this crate computes, and puts the two side by side.
//!
//! | module | question |
//! |---|---|
//! | [`mix`] | one Poisson mix: entropy, min-entropy, best guess |
//! | [`batch`] | threshold, timed and pool mixes |
//! | [`network`] | layers of Poisson mixes, some of them corrupt |
//! | [`users`] | the same over users instead of messages |
//! | [`latency`] | how long a packet takes, and the last of several |
//! | [`compromise`] | paths of corrupt mixes only |
//! | [`active`] | blocking everybody else (n−1), and loops as alarm |
//! | [`cost`] | load, bandwidth, the wait at a send clock |
//! | [`activity`] | telling a user from an idle one when cover is added |
//! | [`flow`] | matching the two ends of a conversation |
//! | [`disclosure`] | statistical disclosure, intersection |
//!
//! Reading order: [`value`], [`mix`], [`network`], [`card`].

pub mod active;
pub mod activity;
pub mod batch;
pub mod card;
pub mod compromise;
pub mod cost;
pub mod disclosure;
pub mod flow;
pub mod latency;
pub mod live;
pub mod mix;
pub mod network;
pub mod special;
pub mod users;
pub mod value;

pub use card::{Card, Network};
pub use value::{Validity, Value};

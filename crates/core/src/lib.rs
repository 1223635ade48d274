//! What a mix, a gateway and a client *decide*. The daemons drive these machines with tokio,
//! `simulations` with an event queue and a virtual clock; the lines are the same.
//!
//! Three machines, [`mix::Mix`], [`gateway::Gateway`] and [`client::Client`], each generic over one
//! [`sphinx::PacketFormat`], each with five kinds of method:
//!
//! | verb | meaning |
//! |---|---|
//! | `handle_<input>(…, now)` | something arrived; never blocks, never fails for a peer's fault |
//! | `handle_timeout(now)` | the deadline you announced has come |
//! | `poll_transmit()` | a frame to send, to whom, and when |
//! | `poll_event()` | something for the owner |
//! | `poll_timeout()` | wake me then, and what for |
//!
//! A driver keeps one order: inputs, then drain `poll_event` (where durability is ordered), then
//! drain `poll_transmit`, then re-arm from `poll_timeout`. `now` never goes back.
//!
//! Reading order: [`view`] (which directory holds now) · [`echo`] (how a request and its reply block
//! are built) · [`stream`] (Poisson ticks) · [`hop`] (what every node does with a packet) · [`mix`] ·
//! [`gateway`] · [`client`] · [`guard`] (which gateway a client enters through) ·
//! [`loops`] (a node's own loops, and their alarm) · [`latency`] (what the rates imply).

pub mod client;
pub mod echo;
pub mod gateway;
pub mod guard;
pub mod hop;
pub mod latency;
pub mod loops;
pub mod mix;
pub mod stored;
pub mod stream;
pub mod transmit;
pub mod view;

pub use transmit::{Peer, Transmit};

//! Building and unwrapping packets, one by one and in batches.
//!
//! [`PacketFormat`] is what the machines of `mizzle-core` are generic over. It has two
//! implementations: `Sphinx` here, and the crypto-free `Transparent` in `simulations`. Equal seeds
//! give equal event traces with both, because no format ever draws from
//! [`wire::rng::TrafficRng`].
//!
//! Unwrapping holds no state: it gives a value or a [`DiscardReason`]. Remembering replay tags is
//! the caller's (`mizzle_core::hop`). Specified in `docs/spec/packet.md`.

#[cfg_attr(not(target_arch = "x86_64"), path = "no_avx512.rs")]
mod avx512;
mod backend;
mod builder;
mod discard;
mod foreign;
mod format;
mod hmac;
mod keys;
mod layout;
mod lioness;
mod probe;
mod sphinx;
mod theirs;
mod unwrap;
mod wipe;

pub use backend::{Backend, Unavailable, UnknownBackend};
pub use discard::{DiscardReason, Discards};
pub use format::{BuildError, Hop, PacketFormat, PayloadBytes, ReplayTag, Unwrapped};
pub use probe::{Probe, ProbeHeader, ProbeMaker};
pub use sphinx::{Sphinx, SphinxRecovery, SphinxSecret};

//! Every byte two Mizzle processes exchange, and the words those bytes are made of.
//!
//! What is here: sizes ([`geometry`]), identifiers ([`ids`]), keys ([`keys`]), link frames
//! ([`frame`]), the requests and replies of the echo protocol ([`request`]), the admission puzzle
//! ([`puzzle`]), sealing for data at rest ([`aead`]), our own points in time ([`time`]) and the two
//! streams of randomness ([`rng`]).
//!
//! What is not: Sphinx (`crates/sphinx`), the directory document (`crates/directory`), sockets and
//! TLS (`crates/runtime`). Nothing here reads a clock or draws a random bit by itself.
//!
//! The bytes are specified in `docs/spec/link.md` (frames), `docs/spec/requests.md` and
//! `docs/spec/packet.md` (geometry, next hops); every encoder stands beside its decoder, and a
//! decoder accepts exactly what the encoder writes, leftovers refused.

pub mod aead;
pub mod codec;
pub mod frame;
pub mod geometry;
pub mod ids;
pub mod keys;
pub mod puzzle;
pub mod request;
pub mod rng;
pub mod time;

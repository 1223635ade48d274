//! The signed map of a network: who is in which layer, with which keys, at which rates.
//!
//! A [`Directory`] is a value; `SignedDirectory` is the document with its signatures; a
//! `SignedDescriptor` is what a node uploads about itself; `Network` is what everybody knows
//! beforehand (`network.toml`). Collecting descriptors and making a directory of them is
//! `Authority`. Nothing here reads a clock or talks to anybody: `topology` and
//! `crates/runtime` do. Bytes are specified in `docs/spec/directory.md`.

mod body;
mod document;
mod parameters;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use body::{BODY_MAX, DOCUMENT_MAX, LIST_MAX};
pub use document::{
    Directory, DirectoryError, Family, LAYERS, NodeDescriptor, Position, Preamble, Role, SphinxKey,
};
pub use parameters::{EpochSchedule, Parameters, Rate};

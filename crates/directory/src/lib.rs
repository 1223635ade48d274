//! The signed map of a network: who is in which layer, with which keys, at which rates.
//!
//! A [`Directory`] is a value; `SignedDirectory` is the document with its signatures; a
//! `SignedDescriptor` is what a node uploads about itself, a [`JoinRequest`] how it asks to be let in; `Network` is what everybody knows
//! beforehand (`network.toml`). Collecting descriptors and making a directory of them is
//! `Authority`. Nothing here reads a clock or talks to anybody: `topology` and
//! `crates/runtime` do. Bytes are specified in `docs/spec/directory.md`.

mod assemble;
mod authority;
mod body;
mod descriptor;
mod document;
pub mod hex;
mod join;
pub mod marks;
mod network;
mod network_toml;
mod parameters;
mod reach;
mod refused;
mod report;
mod signed;
mod split;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod vote;

pub use assemble::{Assembled, DOCUMENTS_MAX, DirectoryAssembler, chunk};
pub use authority::{
    ADMITTED_MAX, Accepted, Admitted, Authority, AuthorityConfig, AuthorityError, AuthorityEvent,
    DescriptorRefused, KEPT_MAX, Record,
};
pub use body::{BODY_MAX, DOCUMENT_MAX, LIST_MAX};
pub use descriptor::{DESCRIPTOR_MAX, SignedDescriptor};
pub use document::{
    Directory, DirectoryError, Family, LAYERS, NodeDescriptor, Position, Preamble, Role, SphinxKey,
};
pub use join::{JOIN_TEXT_MAX, JoinRefused, JoinRequest, OPERATOR_MAX};
pub use network::{
    AUTHORITIES_MAX, BOOTSTRAP_MAX, Bootstrap, EPOCH_MAX, EPOCH_MIN, Network, NetworkAuthority,
    NetworkError, RECOVERY_ROUND, RECOVERY_ROUND_MIN, quorum,
};
pub use network_toml::{NETWORK_TOML_MAX, NetworkTomlError};
pub use parameters::{EpochSchedule, Parameters, RATE_MAX, Rate};
pub use reach::is_public;
pub use refused::DirectoryRefused;
pub use report::{EPSILON, LoopReport, Noise, REPORT_MAX, ReportRefused, SignedReport};
pub use signed::SignedDirectory;
pub use split::{SPLIT_PROOF_MAX, Split, SplitProof, SplitRefused};

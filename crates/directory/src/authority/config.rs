//! How an authority goes about it, and why it cannot.

use super::Admitted;
use crate::body;
use crate::network::Network;
use crate::parameters::Parameters;
use crate::refused::DirectoryRefused;
use std::fmt;
use std::time::Duration;
use wire::ids::NodeId;

/// Directories that an authority keeps to hand out; older ones are forgotten.
pub const KEPT_MAX: usize = 4;
/// Most nodes on an allow-list; what fits into one document with room to spare.
pub const ADMITTED_MAX: usize = 8192;

const _: () = assert!(ADMITTED_MAX * 340 <= body::BODY_MAX);

/// How an authority goes about it.
pub struct AuthorityConfig {
    /// Its network.
    pub network: Network,
    /// What it wants in directories.
    pub parameters: Parameters,
    /// Which nodes it lets take part, as what. At most [`ADMITTED_MAX`].
    pub admitted: Vec<Admitted>,
    /// With so many nodes at hand a vote in a network without a valid directory does not wait.
    pub expected_nodes: usize,
    /// So long, from its own start, it waits for the others then.
    pub grace: Duration,
}

/// Why an authority cannot start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthorityError {
    /// Its key is not among the network's authorities.
    NotListed,
    /// A parameter is out of bounds; the name says which.
    BadParameter(&'static str),
    /// The same node is on the allow-list twice.
    AdmittedTwice(NodeId),
    /// More than [`ADMITTED_MAX`] nodes are on the allow-list.
    TooManyAdmitted,
    /// A kept directory does not hold any more under this network.
    BadKept(DirectoryRefused),
    /// What was kept as signed by this authority is not.
    BadSigned,
}

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListed => write!(
                f,
                "this authority's key is not in network.toml; add it there, or use the right key"
            ),
            Self::BadParameter(name) => write!(f, "parameter {name} is out of bounds"),
            Self::AdmittedTwice(id) => write!(f, "node {id} is on the allow-list twice"),
            Self::TooManyAdmitted => {
                write!(f, "more than {ADMITTED_MAX} nodes are on the allow-list")
            }
            Self::BadKept(why) => write!(
                f,
                "a directory kept in the data folder does not hold ({why}); the folder belongs to \
                 another network, or is damaged"
            ),
            Self::BadSigned => write!(
                f,
                "what the data folder keeps as signed by this authority is not; the folder belongs to \
                 another authority or network, or is damaged"
            ),
        }
    }
}

impl std::error::Error for AuthorityError {}

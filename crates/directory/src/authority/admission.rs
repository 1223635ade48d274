//! Which nodes may take part, and which of their descriptors count.

use super::{ADMITTED_MAX, AuthorityError};
use crate::descriptor::SignedDescriptor;
use crate::document::{Family, Role};
use crate::network::Network;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use wire::ids::{Epoch, NodeId};
use wire::keys::IdentityPublic;
use wire::time::UnixTime;

/// A node's clock may be so far ahead of the authority's.
const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(120);

/// A node on the allow-list. Role and family count as they stand here, whatever the node says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Admitted {
    /// Which node.
    pub identity: IdentityPublic,
    /// As what.
    pub role: Role,
    /// Whose.
    pub family: Family,
}

/// What became of an accepted descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accepted {
    /// It takes the place of an older one, or is the first.
    Stored,
    /// It is the one that is here already.
    Unchanged,
}

/// Why a descriptor does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DescriptorRefused {
    /// The node is not on the allow-list.
    NotAdmitted,
    /// The allow-list has the node in another role.
    WrongRole,
    /// Not signed by this node for this network.
    BadSignature,
    /// A newer one is here, or another one of the same moment: somebody replays an old one.
    Replayed,
    /// Written more than two epochs ago.
    TooOld,
    /// Written in the future.
    FromTheFuture,
    /// No key for this epoch or the next.
    NoUsableKey(Epoch),
    /// This address is loopback, private or reserved, and the network is public.
    NotPublic(SocketAddr),
}

impl fmt::Display for DescriptorRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAdmitted => write!(
                f,
                "this identity is not on the authority's allow-list; ask its operator to add it"
            ),
            Self::WrongRole => write!(f, "the allow-list has this identity in another role"),
            Self::BadSignature => write!(
                f,
                "the signature does not hold; is the node configured for this network?"
            ),
            Self::Replayed => write!(f, "a newer descriptor of this node is here already"),
            Self::TooOld => write!(f, "the descriptor is too old; check the node's clock"),
            Self::FromTheFuture => {
                write!(
                    f,
                    "the descriptor is from the future; check the node's clock"
                )
            }
            Self::NoUsableKey(epoch) => write!(
                f,
                "there is no key for epoch {epoch} or the next; check the node's clock"
            ),
            Self::NotPublic(address) => write!(
                f,
                "{address} is loopback, private or reserved, and this network is public; set `announce` (for \
                 clients `client_announce`) to the address that others connect to"
            ),
        }
    }
}

impl std::error::Error for DescriptorRefused {}

/// The allow-list by node.
pub(super) fn index(list: &[Admitted]) -> Result<BTreeMap<NodeId, Admitted>, AuthorityError> {
    if list.len() > ADMITTED_MAX {
        return Err(AuthorityError::TooManyAdmitted);
    }
    let mut admitted = BTreeMap::new();
    for node in list {
        let id = NodeId::of(&node.identity);
        if admitted.insert(id, *node).is_some() {
            return Err(AuthorityError::AdmittedTwice(id));
        }
    }
    Ok(admitted)
}

/// Cheap checks first: who is not on the list costs no signature check.
pub(super) fn admit(
    signed: &SignedDescriptor,
    held: Option<&SignedDescriptor>,
    admitted: &BTreeMap<NodeId, Admitted>,
    network: &Network,
    (epoch, now): (Epoch, UnixTime),
) -> Result<Accepted, DescriptorRefused> {
    let node = &signed.descriptor;
    let listed = admitted
        .get(&node.id())
        .ok_or(DescriptorRefused::NotAdmitted)?;
    if listed.role != node.role {
        return Err(DescriptorRefused::WrongRole);
    }
    if signed.published > now.saturating_add(CLOCK_AHEAD_MAX) {
        return Err(DescriptorRefused::FromTheFuture);
    }
    if now.saturating_since(signed.published) > network.schedule().length * 2 {
        return Err(DescriptorRefused::TooOld);
    }
    if node.sphinx_key(epoch).is_none() && node.sphinx_key(epoch.next()).is_none() {
        return Err(DescriptorRefused::NoUsableKey(epoch));
    }
    if let Some(address) = signed.unreachable(network) {
        return Err(DescriptorRefused::NotPublic(address));
    }
    signed
        .verify(network.id())
        .map_err(|_| DescriptorRefused::BadSignature)?;
    match held {
        Some(held) if held == signed => Ok(Accepted::Unchanged),
        Some(held) if held.published >= signed.published => Err(DescriptorRefused::Replayed),
        Some(_) | None => Ok(Accepted::Stored),
    }
}

//! What two contacts derive from their common secret, without a message: inboxes for each direction
//! and period, and which gateways to try in which order. `docs/spec/messaging.md` §5.
//!
//! Not here: when inboxes are opened, and how a writer walks the candidates (`crate::messenger`).

use crate::fragment::FragmentKey;
use directory::Directory;
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use wire::codec::Writer;
use wire::ids::{InboxAddress, InboxId, NetworkId, NodeId, WriteToken};
use wire::keys::IdentityPublic;
use wire::time::UnixTime;
use zeroize::Zeroizing;

/// So many gateways of the ranking are used at all: a writer tries no other, a reader opens at no
/// other.
pub const CANDIDATES_MAX: usize = 5;

/// So many inboxes a reader opens for one period.
pub const INBOXES_PER_PERIOD: usize = 2;

/// What a pair shares. Wiped on drop; no `Debug`.
#[derive(Clone)]
pub struct PairSecret(Zeroizing<[u8; 32]>);

impl PairSecret {
    /// From the export of the Hello's context. `adder` sealed the Hello, `owner` made the card.
    pub fn new(
        export: &[u8; 32],
        network: &NetworkId,
        adder: &IdentityPublic,
        owner: &IdentityPublic,
    ) -> Self {
        let mut info = b"mizzle-pair-secret-v1".to_vec();
        info.extend_from_slice(&network.0);
        info.extend_from_slice(&adder.to_bytes());
        info.extend_from_slice(&owner.to_bytes());
        Self(expand(export, &info))
    }

    /// As it was stored.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// To be stored; the caller keeps it secret.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Orders the secrets of one pair: when both ends made one, the smaller wins.
    pub fn rank(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"mizzle-pair-rank-v1");
        hash.update(&self.0[..]);
        hash.finalize().into()
    }

    /// The inbox that `reader` reads at `gateway` in `period`.
    pub fn address(&self, reader: &IdentityPublic, period: u64, gateway: NodeId) -> InboxAddress {
        let inbox = self.derive("mizzle-pair-inbox-v1", reader, period, &gateway);
        let token = self.derive("mizzle-pair-token-v1", reader, period, &gateway);
        InboxAddress {
            gateway,
            inbox: InboxId(*inbox),
            token: WriteToken(*token),
        }
    }

    /// Seals the pieces of long messages that `reader` gets.
    pub fn fragment_key(&self, reader: &IdentityPublic) -> FragmentKey {
        let mut info = b"mizzle-pair-fragment-v1".to_vec();
        info.extend_from_slice(&reader.to_bytes());
        FragmentKey(expand(&self.0, &info))
    }

    /// The first [`CANDIDATES_MAX`] gateways for what `reader` reads in `period`, best first:
    /// rendezvous hashing, so that a gateway which comes or goes moves nothing else.
    pub fn ranking(
        &self,
        reader: &IdentityPublic,
        period: u64,
        directory: &Directory,
    ) -> Vec<NodeId> {
        let mut all: Vec<([u8; 32], NodeId)> = directory
            .gateways()
            .iter()
            .map(|g| g.id())
            .map(|id| {
                let score = self.derive("mizzle-pair-gateway-v1", reader, period, &id);
                (*score, id)
            })
            .collect();
        all.sort_unstable();
        all.truncate(CANDIDATES_MAX);
        all.into_iter().map(|(_, id)| id).collect()
    }

    fn derive(
        &self,
        label: &str,
        reader: &IdentityPublic,
        period: u64,
        gateway: &NodeId,
    ) -> Zeroizing<[u8; 32]> {
        let mut w = Writer::with_capacity(96);
        w.put(label.as_bytes())
            .put(&reader.to_bytes())
            .u64(period)
            .put(&gateway.0);
        expand(&self.0, &w.into_vec())
    }
}

/// Where a reader opens its inboxes: the best candidate that is not its own entry gateway, and the
/// best after it of another family; failing that, of the same family.
pub fn reader_choice(ranking: &[NodeId], entry: &NodeId, directory: &Directory) -> Vec<NodeId> {
    let family = |id: &NodeId| directory.node(id).map(|n| n.family);
    let usable: Vec<NodeId> = ranking.iter().copied().filter(|id| id != entry).collect();
    let Some((first, rest)) = usable.split_first() else {
        return Vec::new();
    };
    let other = rest.iter().find(|id| family(id) != family(first));
    let second = other.or_else(|| rest.first());
    std::iter::once(*first).chain(second.copied()).collect()
}

/// HKDF-Expand under a uniform key: used for everything that follows from one secret.
pub(crate) fn expand(key: &[u8; 32], info: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::from_prk(key)
        .expect("32 bytes are a whole hash")
        .expand(info, &mut out[..])
        .expect("32 bytes are one block");
    out
}

/// How periods follow each other: a period is `inbox_period` epochs.
#[derive(Clone, Copy)]
pub struct Periods<'a>(pub &'a Directory);

impl Periods<'_> {
    /// The period that `time` lies in.
    pub fn at(self, time: UnixTime) -> u64 {
        self.0.schedule.epoch_at(time).0 / self.epochs()
    }

    /// When `period` starts.
    pub fn start(self, period: u64) -> UnixTime {
        let first = wire::ids::Epoch(period.saturating_mul(self.epochs()));
        self.0.schedule.start(first)
    }

    /// When the inboxes of the period after `period` are opened: a quarter before it starts.
    pub fn ahead(self, period: u64) -> UnixTime {
        let (start, end) = (self.start(period), self.start(period.saturating_add(1)));
        UnixTime(end.0 - end.0.saturating_sub(start.0) / 4)
    }

    fn epochs(self) -> u64 {
        u64::from(self.0.parameters.inbox_period).max(1)
    }
}

#[cfg(test)]
mod tests;

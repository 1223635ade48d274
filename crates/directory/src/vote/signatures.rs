//! Which authorities signed which directory of an epoch, as far as we heard. Holds only signatures that
//! hold; of an authority at most two, which prove that it cheats.

use crate::network::Network;
use crate::signed::SignedDirectory;
use crate::split::SplitProof;
use std::collections::{BTreeMap, VecDeque};
use wire::ids::{DirectoryHash, Epoch};

/// Directories of one authority that are kept: two prove everything.
const SIGNED_MAX: usize = 2;

/// One for each epoch. Its memory is bounded by two documents for each authority; whoever has no
/// authority's key takes none of it.
pub(super) struct Signatures {
    epoch: Epoch,
    documents: BTreeMap<DirectoryHash, SignedDirectory>,
    /// By authority.
    signed: Vec<Vec<DirectoryHash>>,
    proofs: VecDeque<SplitProof>,
}

impl Signatures {
    pub(super) fn new(epoch: Epoch, network: &Network) -> Self {
        Self {
            epoch,
            documents: BTreeMap::new(),
            signed: vec![Vec::new(); network.authorities().len()],
            proofs: VecDeque::new(),
        }
    }

    /// Takes what is new in `signed`. True if anything is; false also for everything that does not
    /// hold, or is of another epoch or network.
    pub(super) fn handle(&mut self, mut signed: SignedDirectory, network: &Network) -> bool {
        if signed.epoch() != Some(self.epoch) {
            return false;
        }
        let hash = signed.hash();
        // Only what is news is worth a look at its signature.
        let wanted = |index: u8| {
            let held = self.signed.get(usize::from(index));
            held.is_some_and(|h| h.len() < SIGNED_MAX && !h.contains(&hash))
        };
        signed.keep_signatures(wanted);
        if signed.signatures() == 0 || signed.verify_signers(network).is_err() {
            return false;
        }
        let signers: Vec<u8> = signed.signers().collect();
        match self.documents.get_mut(&hash) {
            Some(held) => {
                held.merge(&signed);
            }
            None => {
                self.documents.insert(hash, signed);
            }
        }
        for index in signers {
            let Some(of_this_one) = self.signed.get_mut(usize::from(index)) else {
                continue;
            };
            of_this_one.push(hash);
            if let [first, second] = of_this_one[..]
                && let (Some(one), Some(other)) =
                    (self.documents.get(&first), self.documents.get(&second))
            {
                let proof = SplitProof::new(one.clone(), other.clone());
                self.proofs.push_back(proof);
            }
        }
        true
    }

    /// The document of this hash with all signatures that came.
    pub(super) fn document(&self, hash: &DirectoryHash) -> Option<&SignedDirectory> {
        self.documents.get(hash)
    }

    /// Documents that so many signed.
    pub(super) fn signed_by(&self, least: usize) -> impl Iterator<Item = &SignedDirectory> {
        let documents = self.documents.values();
        documents.filter(move |d| d.signatures() >= least)
    }

    /// Two directories that one authority signed.
    pub(super) fn poll_proof(&mut self) -> Option<SplitProof> {
        self.proofs.pop_front()
    }
}

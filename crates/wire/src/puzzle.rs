//! Admission to a gateway's inboxes by work instead of identity. `docs/spec/requests.md` §4.
//!
//! Scheme 1: find a nonce so that SHA-256 over (gateway, epoch, inbox id, nonce) begins with as
//! many zero bits as the directory's `puzzle_difficulty` says.

use crate::ids::{Epoch, InboxId, NodeId};
use sha2::{Digest, Sha256};

/// The 64 bytes that `Open` carries: scheme (1), nonce (8), zeros.
pub const ADMISSION_LEN: usize = 64;
/// More zero bits than this no directory may ask: 2²⁴ hashes are some seconds of one core.
pub const DIFFICULTY_MAX: u8 = 24;

const SCHEME_HASH: u8 = 1;

/// Proof of work for one inbox at one gateway in one epoch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Admission(pub [u8; ADMISSION_LEN]);

impl Admission {
    /// Searches until it is found. Takes 2^`difficulty` hashes on average; whoever must not stop so
    /// long takes a [`Solver`].
    pub fn solve(gateway: &NodeId, epoch: Epoch, inbox: &InboxId, difficulty: u8) -> Self {
        let mut solver = Solver::new(gateway, epoch, inbox, difficulty);
        loop {
            if let Some(admission) = solver.step(u32::MAX) {
                return admission;
            }
        }
    }

    /// Whether the work was done for this gateway, epoch and inbox.
    pub fn verify(&self, gateway: &NodeId, epoch: Epoch, inbox: &InboxId, difficulty: u8) -> bool {
        let [scheme, n0, n1, n2, n3, n4, n5, n6, n7, rest @ ..] = &self.0;
        let nonce = u64::from_be_bytes([*n0, *n1, *n2, *n3, *n4, *n5, *n6, *n7]);
        *scheme == SCHEME_HASH
            && rest.iter().all(|b| *b == 0)
            && zero_bits(&prefix(gateway, epoch, inbox), nonce) >= u32::from(difficulty)
    }
}

/// A search in steps, from nonce 0.
#[derive(Clone)]
pub struct Solver {
    epoch: Epoch,
    prefix: Sha256,
    difficulty: u32,
    nonce: u64,
}

impl Solver {
    /// Begins one.
    pub fn new(gateway: &NodeId, epoch: Epoch, inbox: &InboxId, difficulty: u8) -> Self {
        let difficulty = u32::from(difficulty.min(DIFFICULTY_MAX));
        Self {
            epoch,
            prefix: prefix(gateway, epoch, inbox),
            difficulty,
            nonce: 0,
        }
    }

    /// For which epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Tries `hashes` more nonces (about a third of a microsecond each).
    pub fn step(&mut self, hashes: u32) -> Option<Admission> {
        for _ in 0..hashes {
            let nonce = self.nonce;
            if zero_bits(&self.prefix, nonce) >= self.difficulty {
                let mut out = [0; ADMISSION_LEN];
                out[0] = SCHEME_HASH;
                out[1..9].copy_from_slice(&nonce.to_be_bytes());
                return Some(Admission(out));
            }
            self.nonce += 1;
        }
        None
    }
}

fn prefix(gateway: &NodeId, epoch: Epoch, inbox: &InboxId) -> Sha256 {
    let mut hash = Sha256::new();
    hash.update(b"mizzle-admission-v1");
    hash.update(gateway.0);
    hash.update(epoch.0.to_be_bytes());
    hash.update(inbox.0);
    hash
}

fn zero_bits(prefix: &Sha256, nonce: u64) -> u32 {
    let mut hash = prefix.clone();
    hash.update(nonce.to_be_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h]).leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_counts_only_where_it_was_done() {
        let (gateway, inbox) = (NodeId([1; 28]), InboxId([2; 32]));
        let admission = Admission::solve(&gateway, Epoch(7), &inbox, 10);
        assert!(admission.verify(&gateway, Epoch(7), &inbox, 10));
        assert!(!admission.verify(&NodeId([9; 28]), Epoch(7), &inbox, 10));
        assert!(!admission.verify(&gateway, Epoch(8), &inbox, 10));
        assert!(!admission.verify(&gateway, Epoch(7), &InboxId([3; 32]), 10));
        let mut other_scheme = admission;
        other_scheme.0[0] = 2;
        assert!(!other_scheme.verify(&gateway, Epoch(7), &inbox, 10));
    }
}

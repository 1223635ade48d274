//! In place of `avx512` where the target has no such thing: its face, with a token that nobody can have.

use crate::foreign::Secret32;
use crate::keys::{FirstKeys, HopKeys};
use crate::layout::{MAC_LEN, ROUTING_LEN, SEED_LEN};
use crate::lioness::{Payload, PayloadKeys};

/// Proof that this processor can.
#[derive(Clone, Copy)]
pub(crate) enum Avx512 {}

pub(crate) fn is_available() -> bool {
    Avx512::detect().is_some()
}

impl Avx512 {
    /// Fewer multiplications than this are faster one by one.
    pub(crate) const X25519_MIN: usize = 2;
    /// Fewer packets than this are hashed faster one by one.
    pub(crate) const HASH_MIN: usize = 7;

    pub(crate) fn detect() -> Option<Self> {
        None
    }

    pub(crate) fn x25519(self, _: &[(&[u8; 32], &[u8; 32])]) -> Vec<Secret32> {
        match self {}
    }

    pub(crate) fn first_keys(
        self,
        _: &[Secret32],
        _: &[&[u8; ROUTING_LEN]],
    ) -> Vec<(FirstKeys, [u8; MAC_LEN])> {
        match self {}
    }

    pub(crate) fn all_keys(self, _: &[&FirstKeys]) -> Vec<HopKeys> {
        match self {}
    }

    pub(crate) fn payload_keys(self, _: &[[u8; SEED_LEN]]) -> Vec<PayloadKeys> {
        match self {}
    }

    pub(crate) fn decrypt(self, _: &[PayloadKeys], _: &mut [&mut Payload]) {
        match self {}
    }
}

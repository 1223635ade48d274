//! What a hop derives from its shared secret, and the stream that hides routing information.
//! `docs/spec/packet.md` §2.1.

use crate::foreign::aes128_ctr_xor;
use crate::format::ReplayTag;
use crate::hmac::{HmacKey, expand_rest, extract};
use crate::layout::{HOP_LEN, MAC_LEN, ROUTING_LEN, SEED_LEN};
use crate::wipe::Wiped;
use std::sync::LazyLock;

pub(crate) const INFO: &[u8; 97] =
    b"Dwste mou enan moxlo arketa makru kai ena upomoxlio gia na ton \
    topothetisw kai tha kinisw thn gh.";
/// Bytes of K.
pub(crate) const EXPANDED_LEN: usize = 288;
/// Bytes of the stream that are ever used.
pub(crate) const STREAM_LEN: usize = ROUTING_LEN + HOP_LEN;

/// HKDF's empty salt is a key of zeros.
pub(crate) static SALT: LazyLock<HmacKey> = LazyLock::new(|| HmacKey::new(&[]));

/// The first part of K: what tells whether a packet is genuine. Noise is worth no more work.
pub(crate) struct FirstKeys {
    pub(crate) pseudorandom_key: HmacKey,
    /// Stream key ‖ MAC key.
    pub(crate) first: Wiped<32>,
}

impl FirstKeys {
    pub(crate) fn of(shared_secret: &[u8; 32]) -> Self {
        let pseudorandom_key = extract(&SALT, shared_secret);
        let first = pseudorandom_key.expand_first(INFO);
        Self {
            pseudorandom_key,
            first,
        }
    }

    pub(crate) fn mac_key(&self) -> &[u8; 16] {
        self.first.last_chunk().expect("16 of 32 bytes")
    }

    /// The MAC of routing information.
    pub(crate) fn mac(&self, routing: &[u8; ROUTING_LEN]) -> [u8; MAC_LEN] {
        let whole = HmacKey::new(self.mac_key()).mac(routing);
        *whole.first_chunk().expect("16 of 32 bytes")
    }

    /// All of K.
    pub(crate) fn finish(&self) -> HopKeys {
        let mut all = HopKeys(Wiped::new());
        all.0[..32].copy_from_slice(&*self.first);
        expand_rest(&[&self.pseudorandom_key], INFO, &mut [&mut all.0[..]]);
        all
    }

    /// All of K of each.
    pub(crate) fn finish_each(firsts: &[&Self]) -> Vec<HopKeys> {
        let mut all: Vec<_> = firsts.iter().map(|_| HopKeys(Wiped::new())).collect();
        let (mut keys, mut outs) = (Vec::with_capacity(all.len()), Vec::with_capacity(all.len()));
        for (first, all) in firsts.iter().zip(&mut all) {
            all.0[..32].copy_from_slice(&*first.first);
            keys.push(&first.pseudorandom_key);
            outs.push(&mut all.0[..]);
        }
        expand_rest(&keys, INFO, &mut outs);
        all
    }
}

/// K: everything that one hop derives from its shared secret.
pub(crate) struct HopKeys(pub(crate) Wiped<EXPANDED_LEN>);

impl HopKeys {
    fn part<const N: usize>(&self, at: usize) -> &[u8; N] {
        self.0[at..]
            .first_chunk()
            .expect("every part lies within K")
    }

    pub(crate) fn stream_key(&self) -> &[u8; 16] {
        self.part(0)
    }

    pub(crate) fn seed(&self) -> &[u8; SEED_LEN] {
        self.part(32)
    }

    pub(crate) fn blinding(&self) -> &[u8; 32] {
        self.part(224)
    }

    pub(crate) fn tag(&self) -> ReplayTag {
        ReplayTag(*self.part(256))
    }

    /// The first 360 bytes of the stream.
    pub(crate) fn stream(&self) -> Wiped<STREAM_LEN> {
        let mut stream = Wiped::new();
        aes128_ctr_xor(self.stream_key(), &mut *stream);
        stream
    }
}

/// `data ^= mask`, as far as `data` goes.
pub(crate) fn xor(data: &mut [u8], mask: &[u8]) {
    data.iter_mut()
        .zip(mask)
        .for_each(|(byte, mask)| *byte ^= mask);
}

//! What a hop derives from its shared secret, and the stream that hides routing information.
//! `docs/spec/packet.md` §2.1.

use crate::format::ReplayTag;
use crate::hmac::{HmacKey, extract};
use crate::layout::{HOP_LEN, MAC_LEN, ROUTING_LEN, SEED_LEN};
use crate::wipe::Wiped;
use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
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
        let mut keys = HopKeys(Wiped::new());
        keys.0[..32].copy_from_slice(&*self.first);
        self.pseudorandom_key.expand_rest(INFO, &mut *keys.0);
        keys
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
        let (blocks, rest) = stream.as_chunks_mut::<16>();
        for (block, counter) in blocks.iter_mut().zip(0u64..) {
            block[8..].copy_from_slice(&counter.to_be_bytes());
        }
        let mut last = [0; 16];
        last[8..].copy_from_slice(&(blocks.len() as u64).to_be_bytes());
        let cipher = Aes128::new(self.stream_key().into());
        cipher.encrypt_blocks(aes::Block::cast_slice_from_core_mut(blocks));
        cipher.encrypt_block((&mut last).into());
        rest.copy_from_slice(&last[..rest.len()]);
        stream
    }
}

/// `data ^= mask`, as far as `data` goes.
pub(crate) fn xor(data: &mut [u8], mask: &[u8]) {
    data.iter_mut()
        .zip(mask)
        .for_each(|(byte, mask)| *byte ^= mask);
}

//! What a hop derives from its shared secret, and the stream that hides routing information.
//! `docs/spec/packet.md` §2.1.

use crate::hmac::{HmacKey, extract};
use crate::layout::{HOP_LEN, MAC_LEN, ROUTING_LEN, SEED_LEN};
use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use std::sync::LazyLock;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

pub(crate) const INFO: &[u8; 97] =
    b"Dwste mou enan moxlo arketa makru kai ena upomoxlio gia na ton \
    topothetisw kai tha kinisw thn gh.";
/// Bytes of K.
pub(crate) const EXPANDED_LEN: usize = 288;
/// Bytes of the stream that are ever used, and those that fill its last block.
pub(crate) const STREAM_LEN: usize = ROUTING_LEN + HOP_LEN;
const STREAM_BLOCKS: usize = STREAM_LEN.div_ceil(16);

/// HKDF's empty salt is a key of zeros.
pub(crate) static SALT: LazyLock<HmacKey> = LazyLock::new(|| HmacKey::new(&[]));

/// K: everything that one hop derives from its shared secret.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct HopKeys(pub(crate) [u8; EXPANDED_LEN]);

impl HopKeys {
    pub(crate) fn of(shared_secret: &[u8; 32]) -> Self {
        let mut keys = Self([0; EXPANDED_LEN]);
        extract(&SALT, shared_secret).expand(INFO, &mut keys.0);
        keys
    }

    fn part<const N: usize>(&self, at: usize) -> &[u8; N] {
        self.0[at..]
            .first_chunk()
            .expect("every part lies within K")
    }

    pub(crate) fn stream_key(&self) -> &[u8; 16] {
        self.part(0)
    }

    pub(crate) fn mac_key(&self) -> &[u8; 16] {
        self.part(16)
    }

    pub(crate) fn seed(&self) -> &[u8; SEED_LEN] {
        self.part(32)
    }

    pub(crate) fn blinding(&self) -> &[u8; 32] {
        self.part(224)
    }

    /// The MAC of routing information.
    pub(crate) fn mac(&self, routing: &[u8; ROUTING_LEN]) -> [u8; MAC_LEN] {
        let whole = HmacKey::new(self.mac_key()).mac(routing);
        *whole.first_chunk().expect("16 of 32 bytes")
    }

    /// The first 360 bytes of the stream.
    pub(crate) fn stream(&self) -> Zeroizing<[u8; STREAM_LEN]> {
        let mut blocks = Zeroizing::new([[0u8; 16]; STREAM_BLOCKS]);
        for (block, counter) in blocks.iter_mut().zip(0u64..) {
            block[8..].copy_from_slice(&counter.to_be_bytes());
        }
        let cipher = Aes128::new(self.stream_key().into());
        cipher.encrypt_blocks(aes::Block::cast_slice_from_core_mut(&mut *blocks));
        let mut stream = Zeroizing::new([0; STREAM_LEN]);
        stream.copy_from_slice(&blocks.as_flattened()[..STREAM_LEN]);
        stream
    }
}

/// `data ^= mask`, as far as `data` goes.
pub(crate) fn xor(data: &mut [u8], mask: &[u8]) {
    data.iter_mut()
        .zip(mask)
        .for_each(|(byte, mask)| *byte ^= mask);
}

//! HMAC-SHA256 and HKDF-SHA256 (RFC 2104, RFC 5869) with kept states.
//!
//! One unwrapping hashes some seventy blocks, each at the speed of the processor's SHA instructions, so
//! what counts is how many. A key's two padded blocks are hashed once, here, and not once for each
//! block of an HKDF; those of the two fixed salts are hashed once in a process.

use sha2::block_api::compress256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];
pub(crate) const BLOCK_LEN: usize = 64;
pub(crate) const DIGEST_LEN: usize = 32;
/// Most bytes under one MAC: with its padding, six blocks.
const MESSAGE_MAX: usize = 6 * BLOCK_LEN - 9;

/// A key, as the two states that SHA-256 is in once it has read the padded key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct HmacKey {
    pub(crate) inner: [u32; 8],
    pub(crate) outer: [u32; 8],
}

impl HmacKey {
    /// From at most 64 bytes; none of ours has more.
    pub(crate) fn new(key: &[u8]) -> Self {
        let mut block = Zeroizing::new([0; BLOCK_LEN]);
        block[..key.len()].copy_from_slice(key);
        let state = |pad: u8| {
            let mut state = INITIAL;
            let mut block = block.clone();
            block.iter_mut().for_each(|byte| *byte ^= pad);
            compress256(&mut state, std::slice::from_ref(&*block));
            state
        };
        Self {
            inner: state(0x36),
            outer: state(0x5c),
        }
    }

    /// The MAC of `message`, which has at most 375 bytes.
    pub(crate) fn mac(&self, message: &[u8]) -> Zeroizing<[u8; DIGEST_LEN]> {
        let mut blocks = Message::new(message.len());
        blocks.bytes_mut()[..message.len()].copy_from_slice(message);
        self.mac_padded(&blocks)
    }

    /// HKDF-Expand: fills `out` with T(1) ‖ T(2) ‖ …
    pub(crate) fn expand(&self, info: &[u8], out: &mut [u8]) {
        let mut first = Message::new(info.len() + 1);
        first.bytes_mut()[..info.len()].copy_from_slice(info);
        first.bytes_mut()[info.len()] = 1;
        let mut later = Message::new(DIGEST_LEN + info.len() + 1);
        later.bytes_mut()[DIGEST_LEN..][..info.len()].copy_from_slice(info);
        let mut block = self.mac_padded(&first);
        for (chunk, number) in out.chunks_mut(DIGEST_LEN).zip(1u8..) {
            if number > 1 {
                later.bytes_mut()[..DIGEST_LEN].copy_from_slice(&*block);
                later.bytes_mut()[DIGEST_LEN + info.len()] = number;
                block = self.mac_padded(&later);
            }
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }

    fn mac_padded(&self, message: &Message) -> Zeroizing<[u8; DIGEST_LEN]> {
        let mut state = Zeroizing::new(self.inner);
        compress256(&mut state, message.blocks());
        let mut second = Message::new(DIGEST_LEN);
        put(&state, &mut second.bytes_mut()[..DIGEST_LEN]);
        let mut state = Zeroizing::new(self.outer);
        compress256(&mut state, second.blocks());
        let mut out = Zeroizing::new([0; DIGEST_LEN]);
        put(&state, &mut *out);
        out
    }
}

/// HKDF-Extract with a salt whose key is kept.
pub(crate) fn extract(salt: &HmacKey, input: &[u8]) -> HmacKey {
    HmacKey::new(&*salt.mac(input))
}

fn put(state: &[u32; 8], out: &mut [u8]) {
    for (bytes, word) in out.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
}

/// A message that follows one padded key block, with its padding.
struct Message {
    bytes: Zeroizing<[[u8; BLOCK_LEN]; 6]>,
    blocks: usize,
}

impl Message {
    fn new(len: usize) -> Self {
        assert!(len <= MESSAGE_MAX);
        let blocks = (len + 9).div_ceil(BLOCK_LEN);
        let mut message = Self {
            bytes: Zeroizing::new([[0; BLOCK_LEN]; 6]),
            blocks,
        };
        let bits = 8 * (BLOCK_LEN + len) as u64;
        let bytes = message.bytes_mut();
        bytes[len] = 0x80;
        bytes[blocks * BLOCK_LEN - 8..][..8].copy_from_slice(&bits.to_be_bytes());
        message
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.as_flattened_mut()
    }

    fn blocks(&self) -> &[[u8; BLOCK_LEN]] {
        &self.bytes[..self.blocks]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::Sha256;
    use wire::rng::KeyRng;

    #[test]
    fn macs_are_those_of_the_hmac_crate() {
        let mut rng = KeyRng::from_seed([1; 32]);
        for len in 0..=MESSAGE_MAX {
            let (key, message) = (rng.bytes::<64>(), rng.bytes::<MESSAGE_MAX>());
            let (key, message) = (&key[..len % 65], &message[..len]);
            let mut theirs = Hmac::<Sha256>::new_from_slice(key).unwrap();
            theirs.update(message);
            assert_eq!(
                HmacKey::new(key).mac(message)[..],
                theirs.finalize().into_bytes()[..],
                "{len}"
            );
        }
    }

    #[test]
    fn expansions_are_those_of_the_hkdf_crate() {
        let mut rng = KeyRng::from_seed([2; 32]);
        for len in (0..=320).step_by(7) {
            let (salt, input, info) = (rng.bytes::<44>(), rng.bytes::<32>(), rng.bytes::<97>());
            let info = &info[..len % 98];
            let (mut ours, mut theirs) = (vec![0; len], vec![0; len]);
            extract(&HmacKey::new(&salt), &input).expand(info, &mut ours);
            let hkdf = hkdf::Hkdf::<Sha256>::new(Some(&salt), &input);
            hkdf.expand(info, &mut theirs).unwrap();
            assert_eq!(ours, theirs, "{len}");
        }
    }
}

//! HMAC-SHA256 and HKDF-SHA256 (RFC 2104, RFC 5869) with kept states.
//!
//! One unwrapping hashes some seventy blocks, each at the speed of the processor's SHA instructions, so
//! what counts is how many. A key's two padded blocks are hashed once, here, and not once for each
//! block of an HKDF; those of the two fixed salts are hashed once in a process.

use crate::keys::xor;
use crate::wipe::{Wiped, wipe};
use sha2::block_api::compress256;

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

/// A key, as the two states that SHA-256 is in once it has read the padded key.
#[derive(Clone)]
pub(crate) struct HmacKey {
    pub(crate) inner: [u32; 8],
    pub(crate) outer: [u32; 8],
}

impl Drop for HmacKey {
    fn drop(&mut self) {
        wipe(&mut self.inner, 0);
        wipe(&mut self.outer, 0);
    }
}

impl HmacKey {
    /// From at most 64 bytes; none of ours has more.
    pub(crate) fn new(key: &[u8]) -> Self {
        let state = |pad: u8| {
            let mut block = Wiped::<BLOCK_LEN>([pad; BLOCK_LEN]);
            xor(&mut block[..key.len()], key);
            let mut state = INITIAL;
            compress256(&mut state, std::slice::from_ref(&*block));
            state
        };
        Self {
            inner: state(0x36),
            outer: state(0x5c),
        }
    }

    /// The MAC of `message`.
    pub(crate) fn mac(&self, message: &[u8]) -> Wiped<DIGEST_LEN> {
        let (blocks, rest) = message.as_chunks::<BLOCK_LEN>();
        let mut last = Message::<{ 2 * BLOCK_LEN }>::after(blocks.len(), rest.len());
        last.bytes[..rest.len()].copy_from_slice(rest);
        let mut state = self.inner;
        compress256(&mut state, blocks);
        self.finish(state, &last)
    }

    /// HKDF-Expand, its first block alone. `info` has at most 150 bytes.
    pub(crate) fn expand_first(&self, info: &[u8]) -> Wiped<DIGEST_LEN> {
        let mut first = Message::<{ 3 * BLOCK_LEN }>::new(info.len() + 1);
        first.bytes[..info.len()].copy_from_slice(info);
        first.bytes[info.len()] = 1;
        self.finish(self.inner, &first)
    }

    /// A MAC, from the state before the last part of its message.
    fn finish<const N: usize>(&self, mut state: [u32; 8], last: &Message<N>) -> Wiped<DIGEST_LEN> {
        compress256(&mut state, last.blocks());
        let mut second = Message::<BLOCK_LEN>::new(DIGEST_LEN);
        put(&state, &mut second.bytes[..DIGEST_LEN]);
        state = self.outer;
        compress256(&mut state, second.blocks());
        let mut out = Wiped::new();
        put(&state, &mut *out);
        wipe(&mut state, 0);
        out
    }
}

/// HKDF-Expand of each key, all but the first block: each of `outs` begins with that and is filled with what follows. All
/// are of one length.
///
/// Block by block in turns. Hashing is a chain in which each instruction waits for the one before; meanwhile the processor
/// works on the next key's.
pub(crate) fn expand_rest(keys: &[&HmacKey], info: &[u8], outs: &mut [&mut [u8]]) {
    const TURNS: usize = 4;
    for (keys, outs) in keys.chunks(TURNS).zip(outs.chunks_mut(TURNS)) {
        let mut turns: Vec<_> = keys.iter().map(|_| Turn::new(info)).collect();
        let len = outs.first().map_or(0, |out| out.len());
        for (turn, out) in turns.iter_mut().zip(&*outs) {
            turn.message.bytes[..DIGEST_LEN].copy_from_slice(&out[..DIGEST_LEN]);
        }
        for (at, number) in (DIGEST_LEN..len).step_by(DIGEST_LEN).zip(2..) {
            for (turn, key) in turns.iter_mut().zip(keys) {
                turn.message.bytes[DIGEST_LEN + info.len()] = number;
                turn.state = key.inner;
            }
            for block in 0..turns.first().map_or(0, |turn| turn.message.blocks) {
                for Turn { message, state, .. } in &mut turns {
                    compress256(state, std::slice::from_ref(&message.blocks()[block]));
                }
            }
            for (turn, key) in turns.iter_mut().zip(keys) {
                put(&turn.state, &mut turn.second.bytes[..DIGEST_LEN]);
                turn.state = key.outer;
            }
            for Turn { second, state, .. } in &mut turns {
                compress256(state, second.blocks());
            }
            for (turn, out) in turns.iter_mut().zip(&mut *outs) {
                let block = &mut turn.message.bytes[..DIGEST_LEN];
                put(&turn.state, block);
                let out = &mut out[at..];
                let here = DIGEST_LEN.min(out.len());
                out[..here].copy_from_slice(&block[..here]);
            }
        }
    }
}

/// One key's part of [`expand_rest`].
struct Turn {
    /// `T(n − 1) ‖ info ‖ n`
    message: Message<{ 3 * BLOCK_LEN }>,
    second: Message<BLOCK_LEN>,
    state: [u32; 8],
}

impl Turn {
    fn new(info: &[u8]) -> Self {
        let mut message = Message::new(DIGEST_LEN + info.len() + 1);
        message.bytes[DIGEST_LEN..][..info.len()].copy_from_slice(info);
        Self {
            message,
            second: Message::new(DIGEST_LEN),
            state: [0; 8],
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        wipe(&mut self.state, 0);
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

/// What is left of a message behind a key's block and whole blocks, at most N − 9 bytes, with its padding.
struct Message<const N: usize> {
    bytes: Wiped<N>,
    blocks: usize,
}

impl<const N: usize> Message<N> {
    /// All of a message of `len` bytes.
    fn new(len: usize) -> Self {
        Self::after(0, len)
    }

    /// The last `len` bytes, behind so many blocks.
    fn after(before: usize, len: usize) -> Self {
        let blocks = (len + 9).div_ceil(BLOCK_LEN);
        let mut bytes = Wiped::new();
        let bits = 8 * (BLOCK_LEN * (1 + before) + len) as u64;
        bytes[len] = 0x80;
        bytes[blocks * BLOCK_LEN - 8..][..8].copy_from_slice(&bits.to_be_bytes());
        Self { bytes, blocks }
    }

    fn blocks(&self) -> &[[u8; BLOCK_LEN]] {
        &self.bytes.as_chunks().0[..self.blocks]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::Sha256;
    use wire::rng::KeyRng;

    const MESSAGE_MAX: usize = 6 * BLOCK_LEN - 9;

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
        for len in (32..=320).step_by(7) {
            let (salt, input, info) = (rng.bytes::<44>(), rng.bytes::<32>(), rng.bytes::<97>());
            let info = &info[..len % 98];
            let (mut ours, mut theirs) = (vec![0; len], vec![0; len]);
            let key = extract(&HmacKey::new(&salt), &input);
            ours[..DIGEST_LEN].copy_from_slice(&*key.expand_first(info));
            let mut more = [ours.clone(), ours.clone(), ours.clone(), ours.clone()];
            expand_rest(&[&key], info, &mut [&mut ours]);
            let mut borrowed: Vec<_> = more.iter_mut().map(|out| &mut out[..]).collect();
            expand_rest(&[&key; 4], info, &mut borrowed);
            assert!(more.iter().all(|out| *out == ours));
            let hkdf = hkdf::Hkdf::<Sha256>::new(Some(&salt), &input);
            hkdf.expand(info, &mut theirs).unwrap();
            assert_eq!(ours, theirs, "{len}");
        }
    }
}

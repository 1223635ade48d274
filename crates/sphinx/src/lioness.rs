//! The payload's cipher: Lioness over BLAKE2b and ChaCha20. `docs/spec/packet.md` §2.4.

use crate::foreign::chacha20_xor;
use crate::hmac::{HmacKey, expand_rest, extract};
use crate::keys::xor;
use crate::layout::SEED_LEN;
use crate::wipe::Wiped;
use blake2b_simd::Params;
use blake2b_simd::many::HashManyJob;
use std::hint::black_box;
use std::sync::LazyLock;
use wire::geometry::SPHINX_PAYLOAD_LEN;

pub(crate) const INFO: &[u8; 44] = b"sphinx-payload-key-V01-CS01-HKDF:SHA256-INFO";
/// Bytes of the four keys together.
pub(crate) const KEYS_LEN: usize = 192;
/// L, which is hashed into and keys the stream; the rest is R.
pub(crate) const LEFT_LEN: usize = 32;

pub(crate) static SALT: LazyLock<HmacKey> =
    LazyLock::new(|| HmacKey::new(b"sphinx-payload-key-V01-CS01-HKDF:SHA256-SALT"));

/// A payload as it is encrypted and decrypted, in its place.
pub(crate) type Payload = [u8; SPHINX_PAYLOAD_LEN];

/// k1 (32) ‖ k2 (64) ‖ k3 (32) ‖ k4 (64).
pub(crate) struct PayloadKeys(pub(crate) Wiped<KEYS_LEN>);

impl PayloadKeys {
    pub(crate) fn of(seed: &[u8; SEED_LEN]) -> Self {
        let mut keys = Self(Wiped::new());
        let key = extract(&SALT, seed);
        keys.0[..32].copy_from_slice(&*key.expand_first(INFO));
        expand_rest(&[&key], INFO, &mut [&mut keys.0[..]]);
        keys
    }

    pub(crate) fn of_each(seeds: &[[u8; SEED_LEN]]) -> Vec<Self> {
        let mut all: Vec<_> = seeds.iter().map(|_| Self(Wiped::new())).collect();
        let keys: Vec<_> = seeds.iter().map(|seed| extract(&SALT, seed)).collect();
        let mut outs: Vec<&mut [u8]> = all.iter_mut().map(|keys| &mut keys.0[..]).collect();
        for (out, key) in outs.iter_mut().zip(&keys) {
            out[..32].copy_from_slice(&*key.expand_first(INFO));
        }
        expand_rest(&keys.iter().collect::<Vec<_>>(), INFO, &mut outs);
        all
    }

    fn part<const N: usize>(&self, at: usize) -> &[u8; N] {
        self.0[at..]
            .first_chunk()
            .expect("every part lies within the keys")
    }

    pub(crate) fn k1(&self) -> &[u8; 32] {
        self.part(0)
    }

    pub(crate) fn k2(&self) -> &[u8; 64] {
        self.part(32)
    }

    pub(crate) fn k3(&self) -> &[u8; 32] {
        self.part(96)
    }

    pub(crate) fn k4(&self) -> &[u8; 64] {
        self.part(128)
    }

    /// Adds one layer.
    pub(crate) fn encrypt(&self, payload: &mut Payload) {
        stream(self.k1(), payload);
        hash(self.k2(), payload);
        stream(self.k3(), payload);
        hash(self.k4(), payload);
    }

    /// Takes one layer away.
    pub(crate) fn decrypt(&self, payload: &mut Payload) {
        hash(self.k4(), payload);
        stream(self.k3(), payload);
        hash(self.k2(), payload);
        stream(self.k1(), payload);
    }
}

/// Takes one layer away from each payload, with its own keys.
pub(crate) fn decrypt_many(keys: &[PayloadKeys], payloads: &mut [&mut Payload]) {
    hash_many(keys.iter().map(PayloadKeys::k4), payloads);
    for (keys, payload) in keys.iter().zip(payloads.iter_mut()) {
        stream(keys.k3(), payload);
    }
    hash_many(keys.iter().map(PayloadKeys::k2), payloads);
    for (keys, payload) in keys.iter().zip(payloads.iter_mut()) {
        stream(keys.k1(), payload);
    }
}

/// L ^= H(k, R) of each, several at once where the processor can.
pub(crate) fn hash_many<'a>(
    keys: impl Iterator<Item = &'a [u8; 64]>,
    payloads: &mut [&mut Payload],
) {
    let mut params = Params::new();
    let mut jobs: Vec<HashManyJob<'_>> = keys
        .zip(payloads.iter())
        .map(|(key, payload)| {
            HashManyJob::new(params.hash_length(LEFT_LEN).key(key), &payload[LEFT_LEN..])
        })
        .collect();
    blake2b_simd::many::hash_many(&mut jobs);
    let hashes: Vec<_> = jobs.iter().map(HashManyJob::to_hash).collect();
    forget(&mut params);
    // A job holds the state that its key was hashed into. Without a key the new one hashes nothing yet.
    jobs.iter_mut()
        .for_each(|job| *job = HashManyJob::new(&Params::new(), &[]));
    black_box(&jobs);
    drop(jobs);
    for (payload, hash) in payloads.iter_mut().zip(hashes) {
        xor(&mut payload[..LEFT_LEN], hash.as_bytes());
    }
}

/// R ^= S(L ^ k)
pub(crate) fn stream(key: &[u8; 32], payload: &mut Payload) {
    let (left, right) = payload.split_at_mut(LEFT_LEN);
    let mut round_key = Wiped(*key);
    xor(&mut *round_key, left);
    chacha20_xor(&round_key, right);
}

/// L ^= H(k, R)
pub(crate) fn hash(key: &[u8; 64], payload: &mut Payload) {
    let (left, right) = payload.split_at_mut(LEFT_LEN);
    let mut params = keyed(key);
    xor(left, params.hash(right).as_bytes());
    forget(&mut params);
}

fn keyed(key: &[u8; 64]) -> Params {
    let mut params = Params::new();
    params.hash_length(LEFT_LEN).key(key);
    params
}

/// The library has no way to wipe a key but to put another in its place.
fn forget(params: &mut Params) {
    params.key(&[0; 64]);
    black_box(params);
}

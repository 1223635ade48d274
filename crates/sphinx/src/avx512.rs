//! Kernels for processors with AVX-512 and its integer multiply-add (IFMA).

#![allow(
    unsafe_code,
    reason = "calls of functions for processors that have more than every x86-64 has; argued by the token"
)]

mod blake2b;
mod chacha20;
mod field;
mod hkdf;
mod lanes;
mod sha256;
#[cfg(test)]
mod tests;
mod x25519;

use crate::foreign::Secret32;
use crate::hmac::HmacKey;
use crate::keys::{self, FirstKeys, HopKeys, xor};
use crate::layout::{MAC_LEN, ROUTING_LEN, SEED_LEN};
use crate::lioness::{self, LEFT_LEN, Payload, PayloadKeys};
use crate::wipe::Wiped;

/// Proof that this processor can.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

pub(crate) fn is_available() -> bool {
    Avx512::detect().is_some()
}

impl Avx512 {
    /// Fewer multiplications than this are faster one by one.
    pub(crate) const X25519_MIN: usize = 2;
    /// Fewer packets than this are hashed faster one by one.
    pub(crate) const HASH_MIN: usize = 7;

    pub(crate) fn detect() -> Option<Self> {
        let can = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512ifma");
        can.then_some(Self(()))
    }

    /// X25519 of each pair of scalar and point.
    pub(crate) fn x25519(self, pairs: &[(&[u8; 32], &[u8; 32])]) -> Vec<Secret32> {
        let mut out: Vec<Secret32> = pairs.iter().map(|_| Wiped::new()).collect();
        for (pairs, out) in pairs
            .chunks(2 * x25519::LANES)
            .zip(out.chunks_mut(2 * x25519::LANES))
        {
            let (low, high) = pairs.split_at(pairs.len().min(x25519::LANES));
            let (scalars, points) = octets(low);
            if high.is_empty() {
                // SAFETY: `self` is proof of the features that it needs.
                let us = unsafe { x25519::x25519_8(&scalars, &points) };
                put(&us, out);
            } else {
                let (more_scalars, more_points) = octets(high);
                // SAFETY: as above.
                let [us, more] =
                    unsafe { x25519::x25519_16(&[scalars, more_scalars], &[points, more_points]) };
                let (out, more_out) = out.split_at_mut(x25519::LANES);
                put(&us, out);
                put(&more, more_out);
            }
        }
        out
    }

    /// The first keys of each shared secret, and the MAC with them of each routing information.
    pub(crate) fn first_keys(
        self,
        secrets: &[Secret32],
        routing: &[&[u8; ROUTING_LEN]],
    ) -> Vec<(FirstKeys, [u8; MAC_LEN])> {
        let mut out = Vec::with_capacity(secrets.len());
        for (secrets, routing) in secrets
            .chunks(sha256::LANES)
            .zip(routing.chunks(sha256::LANES))
        {
            let rows = rows(secrets.iter().map(|secret| &secret[..]));
            let routing = filled(routing);
            // SAFETY: `self` is proof of the features that it needs.
            let lanes = unsafe { hkdf::first_keys(&keys::SALT, &rows, routing) };
            for lane in 0..secrets.len() {
                let (key, first) = (&lanes.key[lane], &lanes.first[lane]);
                let mut keys = FirstKeys {
                    pseudorandom_key: HmacKey {
                        inner: [0; 8],
                        outer: [0; 8],
                    },
                    first: Wiped::new(),
                };
                words_of(&key[..32], &mut keys.pseudorandom_key.inner);
                words_of(&key[32..], &mut keys.pseudorandom_key.outer);
                keys.first.copy_from_slice(&first[..32]);
                let mut mac = [0; MAC_LEN];
                mac.copy_from_slice(&first[32..][..MAC_LEN]);
                out.push((keys, mac));
            }
        }
        out
    }

    /// All of K of each.
    pub(crate) fn all_keys(self, firsts: &[&FirstKeys]) -> Vec<HopKeys> {
        let mut out: Vec<_> = firsts.iter().map(|_| HopKeys(Wiped::new())).collect();
        for (firsts, out) in firsts
            .chunks(sha256::LANES)
            .zip(out.chunks_mut(sha256::LANES))
        {
            let mut key = [[0; 64]; sha256::LANES];
            for (row, first) in key.iter_mut().zip(firsts) {
                let HmacKey { inner, outer } = &first.pseudorandom_key;
                for (bytes, word) in row
                    .as_chunks_mut()
                    .0
                    .iter_mut()
                    .zip(inner.iter().chain(outer))
                {
                    *bytes = word.to_ne_bytes();
                }
            }
            let first = rows(firsts.iter().map(|first| &first.first[..]));
            // SAFETY: `self` is proof of the features that it needs.
            let rest = unsafe { hkdf::all_keys(&key, &first) };
            for (lane, (keys, first)) in out.iter_mut().zip(firsts).enumerate() {
                let (head, tail) = keys.0.split_at_mut(32);
                head.copy_from_slice(&*first.first);
                for (part, rows) in tail.as_chunks_mut().0.iter_mut().zip(&rest) {
                    *part = rows[lane];
                }
            }
        }
        out
    }

    /// The payload's keys of each seed.
    pub(crate) fn payload_keys(self, seeds: &[[u8; SEED_LEN]]) -> Vec<PayloadKeys> {
        let mut out: Vec<_> = seeds.iter().map(|_| PayloadKeys(Wiped::new())).collect();
        for (seeds, out) in seeds
            .chunks(sha256::LANES)
            .zip(out.chunks_mut(sha256::LANES))
        {
            let rows = rows(seeds.iter().map(|seed| &seed[..]));
            // SAFETY: `self` is proof of the features that it needs.
            let parts = unsafe { hkdf::payload_keys(&lioness::SALT, &rows) };
            for (lane, keys) in out.iter_mut().enumerate() {
                for (part, rows) in keys.0.as_chunks_mut().0.iter_mut().zip(&parts) {
                    *part = rows[lane];
                }
            }
        }
        out
    }

    /// Takes one layer away from each payload, with its own keys.
    pub(crate) fn decrypt(self, keys: &[PayloadKeys], payloads: &mut [&mut Payload]) {
        self.hash(keys, PayloadKeys::k4, payloads);
        self.stream(keys, PayloadKeys::k3, payloads);
        self.hash(keys, PayloadKeys::k2, payloads);
        self.stream(keys, PayloadKeys::k1, payloads);
    }

    /// L ^= H(k, R) of each.
    fn hash(
        self,
        keys: &[PayloadKeys],
        key: impl Fn(&PayloadKeys) -> &[u8; 64],
        payloads: &mut [&mut Payload],
    ) {
        for (keys, payloads) in keys
            .chunks(blake2b::LANES)
            .zip(payloads.chunks_mut(blake2b::LANES))
        {
            if keys.len() < BLAKE2B_MIN {
                lioness::hash_many(keys.iter().map(&key), payloads);
                continue;
            }
            let mut all_keys = [key(&keys[0]); blake2b::LANES];
            let mut all = [&*payloads[0]; blake2b::LANES];
            for (lane, (keys, payload)) in keys.iter().zip(payloads.iter()).enumerate() {
                (all_keys[lane], all[lane]) = (key(keys), &**payload);
            }
            // SAFETY: `self` is proof of the features that it needs.
            let digests = unsafe { blake2b::hash(all_keys, all) };
            for (payload, digest) in payloads.iter_mut().zip(digests) {
                xor(&mut payload[..LEFT_LEN], &digest);
            }
        }
    }

    /// R ^= S(L ^ k) of each.
    fn stream(
        self,
        keys: &[PayloadKeys],
        key: impl Fn(&PayloadKeys) -> &[u8; 32],
        payloads: &mut [&mut Payload],
    ) {
        for (keys, payloads) in keys
            .chunks(chacha20::LANES)
            .zip(payloads.chunks_mut(chacha20::LANES))
        {
            if keys.len() < CHACHA20_MIN {
                for (keys, payload) in keys.iter().zip(payloads) {
                    lioness::stream(key(keys), payload);
                }
                continue;
            }
            let mut rows = rows(keys.iter().map(|keys| &key(keys)[..]));
            for (row, payload) in rows.iter_mut().zip(payloads.iter()) {
                xor(&mut row[..LEFT_LEN], &payload[..LEFT_LEN]);
            }
            // SAFETY: `self` is proof of the features that it needs.
            unsafe { chacha20::xor(&rows, payloads) };
        }
    }
}

/// Fewer payloads than this are hashed faster by the library, four at a time.
const BLAKE2B_MIN: usize = 4;
/// Fewer payloads than this are encrypted faster one by one.
const CHACHA20_MIN: usize = 8;

/// At most sixteen strings of at most 64 bytes, with zeros behind each and for those that lack.
fn rows<'a>(of: impl Iterator<Item = &'a [u8]>) -> hkdf::Rows {
    let mut rows = [[0; 64]; sha256::LANES];
    for (row, bytes) in rows.iter_mut().zip(of) {
        row[..bytes.len()].copy_from_slice(bytes);
    }
    rows
}

/// At most sixteen references; the first stands for those that lack.
fn filled<'a, T>(few: &[&'a T]) -> [&'a T; sha256::LANES] {
    std::array::from_fn(|lane| *few.get(lane).unwrap_or(&few[0]))
}

fn words_of(bytes: &[u8], words: &mut [u32; 8]) {
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_ne_bytes(*bytes);
    }
}

/// At most eight pairs; lanes that are left over hold zeros.
fn octets(pairs: &[(&[u8; 32], &[u8; 32])]) -> (x25519::Octet, x25519::Octet) {
    let (mut scalars, mut points) = ([[0; 8]; 4], [[0; 8]; 4]);
    for (lane, (scalar, point)) in pairs.iter().enumerate().take(x25519::LANES) {
        for (octet, bytes) in [(&mut scalars, scalar), (&mut points, point)] {
            for (word, bytes) in octet.iter_mut().zip(bytes.as_chunks().0) {
                word[lane] = u64::from_le_bytes(*bytes);
            }
        }
    }
    (scalars, points)
}

fn put(us: &x25519::Octet, out: &mut [Secret32]) {
    for (lane, out) in out.iter_mut().enumerate().take(x25519::LANES) {
        for (bytes, word) in out.as_chunks_mut().0.iter_mut().zip(us) {
            *bytes = word[lane].to_le_bytes();
        }
    }
}

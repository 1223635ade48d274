//! `docs/spec/packet.md` §2 once more: the receiving side, and one-hop packets with any routing
//! information, valid MAC included. Shares no code with `src/`, X25519 included. Making packets is in
//! `making.rs`.
//!
//! Reference only: neither constant-time nor fast nor wiped.

use aes_gcm::aes::Aes128;
use aes_gcm::aes::cipher::{BlockCipherEncrypt, KeyInit as _};
use blake2::Blake2bMac;
use blake2::digest::consts::U32;
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use sphinx::DiscardReason;
use wire::frame::PacketBytes;
use wire::geometry::{SPHINX_HEADER_LEN, SPHINX_PAYLOAD_LEN};
use x25519_dalek::x25519;

const EXPAND_INFO: &[u8] = b"Dwste mou enan moxlo arketa makru kai ena upomoxlio gia na ton \
    topothetisw kai tha kinisw thn gh.";
const PAYLOAD_INFO: &[u8] = b"sphinx-payload-key-V01-CS01-HKDF:SHA256-INFO";
const PAYLOAD_SALT: &[u8] = b"sphinx-payload-key-V01-CS01-HKDF:SHA256-SALT";

pub(crate) const ROUTING_LEN: usize = 300;
const HOP_LEN: usize = 60;

/// Everything that one hop derives from its shared secret.
pub(crate) struct Keys {
    pub(crate) stream: [u8; 16],
    mac: [u8; 16],
    pub(crate) seed: [u8; 16],
    pub(crate) blinding: [u8; 32],
    pub(crate) tag: [u8; 32],
}

/// What the reference reads in a packet.
pub(crate) enum Read {
    Forward {
        tag: [u8; 32],
        address: [u8; 32],
        delay: u64,
        packet: PacketBytes,
    },
    Final {
        tag: [u8; 32],
        identifier: [u8; 16],
        payload: Vec<u8>,
    },
}

impl Keys {
    pub(crate) fn of(shared_secret: &[u8; 32]) -> Self {
        let mut out = [0; 288];
        Hkdf::<Sha256>::new(None, shared_secret)
            .expand(EXPAND_INFO, &mut out)
            .unwrap();
        Self {
            stream: out[..16].try_into().unwrap(),
            mac: out[16..32].try_into().unwrap(),
            seed: out[32..48].try_into().unwrap(),
            blinding: out[224..256].try_into().unwrap(),
            tag: out[256..].try_into().unwrap(),
        }
    }

    pub(crate) fn mac(&self, routing: &[u8]) -> [u8; 16] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.mac).unwrap();
        mac.update(routing);
        mac.finalize().into_bytes()[..16].try_into().unwrap()
    }
}

pub(crate) fn unwrap(secret: [u8; 32], packet: &[u8]) -> Result<Read, DiscardReason> {
    let (header, payload) = packet.split_at(SPHINX_HEADER_LEN);
    let (alpha, mac, routing) = (&header[..32], &header[32..48], &header[48..]);
    let alpha: [u8; 32] = alpha.try_into().unwrap();
    let shared_secret = x25519(secret, alpha);
    if shared_secret == [0; 32] {
        return Err(DiscardReason::ZeroSecret);
    }
    let keys = Keys::of(&shared_secret);
    if keys.mac(routing) != mac {
        return Err(DiscardReason::BadMac);
    }
    let mut read = [0; ROUTING_LEN + HOP_LEN];
    read[..ROUTING_LEN].copy_from_slice(routing);
    apply_keystream(&keys.stream, &mut read);
    if !matches!(read[0], 1 | 2) {
        return Err(DiscardReason::BadRouting);
    }
    if read[2..4] != 260u16.to_be_bytes() {
        return Err(DiscardReason::BadVersion);
    }
    let mut payload = payload.to_vec();
    lioness_decrypt(&keys.seed, &mut payload);
    if read[0] == 2 {
        return Ok(Read::Final {
            tag: keys.tag,
            identifier: read[36..52].try_into().unwrap(),
            payload,
        });
    }
    let address: [u8; 32] = read[4..36].try_into().unwrap();
    if address[0] & 0x80 == 0 && address[..2] != [0, 1] {
        return Err(DiscardReason::BadRouting);
    }
    let alpha = x25519(keys.blinding, alpha);
    Ok(Read::Forward {
        tag: keys.tag,
        address,
        delay: u64::from_be_bytes(read[36..44].try_into().unwrap()),
        packet: wire::frame::boxed([&alpha[..], &read[44..], &payload].concat()),
    })
}

/// A packet whose α and shared secret are given and whose routing information reads `routing` at
/// the one hop that computes this secret. Its payload reads `payload` there.
pub(crate) fn forge(
    alpha: [u8; 32],
    shared_secret: &[u8; 32],
    routing: &[u8; ROUTING_LEN],
    payload: &[u8; SPHINX_PAYLOAD_LEN],
) -> PacketBytes {
    let keys = Keys::of(shared_secret);
    let mut routing = *routing;
    apply_keystream(&keys.stream, &mut routing);
    let mut payload = *payload;
    lioness_encrypt(&keys.seed, &mut payload);
    let mac = keys.mac(&routing);
    wire::frame::boxed([&alpha[..], &mac, &routing, &payload].concat())
}

/// AES-128 in counter mode from a zero block; the counter is the block's last 8 bytes.
pub(crate) fn apply_keystream(key: &[u8; 16], data: &mut [u8]) {
    let cipher = Aes128::new(key.into());
    for (i, chunk) in data.chunks_mut(16).enumerate() {
        let mut block = [0; 16];
        block[8..].copy_from_slice(&(i as u64).to_be_bytes());
        let mut block = block.into();
        cipher.encrypt_block(&mut block);
        chunk.iter_mut().zip(block).for_each(|(d, k)| *d ^= k);
    }
}

/// The four keys of Lioness: 32, 64, 32 and 64 bytes.
fn lioness_keys(seed: &[u8; 16]) -> [u8; 192] {
    let mut out = [0; 192];
    Hkdf::<Sha256>::new(Some(PAYLOAD_SALT), seed)
        .expand(PAYLOAD_INFO, &mut out)
        .unwrap();
    out
}

pub(crate) fn lioness_encrypt(seed: &[u8; 16], block: &mut [u8]) {
    let k = lioness_keys(seed);
    let (left, right) = block.split_at_mut(32);
    stream_round(&k[..32], left, right);
    hash_round(&k[32..96], left, right);
    stream_round(&k[96..128], left, right);
    hash_round(&k[128..], left, right);
}

pub(crate) fn lioness_decrypt(seed: &[u8; 16], block: &mut [u8]) {
    let k = lioness_keys(seed);
    let (left, right) = block.split_at_mut(32);
    hash_round(&k[128..], left, right);
    stream_round(&k[96..128], left, right);
    hash_round(&k[32..96], left, right);
    stream_round(&k[..32], left, right);
}

fn stream_round(key: &[u8], left: &[u8], right: &mut [u8]) {
    let mut round_key = [0; 32];
    for (out, (k, l)) in round_key.iter_mut().zip(key.iter().zip(left)) {
        *out = k ^ l;
    }
    ChaCha20::new(&round_key.into(), &[0; 12].into()).apply_keystream(right);
}

fn hash_round(key: &[u8], left: &mut [u8], right: &[u8]) {
    let mut hash = Blake2bMac::<U32>::new_from_slice(key).unwrap();
    hash.update(right);
    let out = hash.finalize().into_bytes();
    left.iter_mut().zip(out).for_each(|(l, h)| *l ^= h);
}

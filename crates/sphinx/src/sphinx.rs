//! [`Sphinx`]: the format that goes over the network.
//!
//! Making packets and reply blocks is in `builder`, one hop's work in `unwrap` and its backends. Not
//! here: the replay set (the caller's, `mizzle_core::hop`), and what a request or a reply says
//! (`wire::request`). Specified in `docs/spec/packet.md`.
//!
//! Every secret and every padding byte comes from the caller's [`KeyRng`]: equal seeds give equal
//! packets.

use crate::DiscardReason;
use crate::backend::Backend;
use crate::builder::{self, Seeds};
use crate::foreign::x25519_base;
use crate::format::{BuildError, Hop, PacketFormat, PayloadBytes, ReplayTag, Unwrapped};
use crate::layout::{REQUEST_ID, read_plaintext};
use crate::lioness::PayloadKeys;
use wire::frame::PacketBytes;
use wire::geometry::MAX_HOPS;
use wire::ids::{NextHop, SurbId};
use wire::keys::SphinxPublic;
use wire::request::{Plaintext, SurbBytes};
use wire::rng::KeyRng;
use zeroize::Zeroizing;

/// The format that goes over the network.
pub struct Sphinx;

/// A node's X25519 key for one epoch. Wiped on drop; no `Debug`, no `Clone`.
pub struct SphinxSecret(pub(crate) Zeroizing<[u8; 32]>);

impl SphinxSecret {
    /// From 32 random bytes, which the caller wipes. They are clamped at use (RFC 7748).
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

/// A reply block's identifier and all its payload key seeds. Wiped on drop; no `Debug`, no `Clone`.
pub struct SphinxRecovery {
    id: SurbId,
    seeds: Seeds,
}

impl SphinxRecovery {
    /// `identifier (16) ‖ seeds (16 for each hop)`; `None` unless it holds 1 to 5 seeds.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (seeds, []) = rest.as_chunks() else {
            return None;
        };
        (1..=MAX_HOPS).contains(&seeds.len()).then(|| Self {
            id: SurbId(*id),
            seeds: Zeroizing::new(seeds.to_vec()),
        })
    }

    /// What [`SphinxRecovery::from_bytes`] reads; the caller keeps it secret.
    pub fn expose_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([&self.id.0[..], self.seeds.as_flattened()].concat())
    }
}

impl PacketFormat for Sphinx {
    type Secret = SphinxSecret;
    type Recovery = SphinxRecovery;

    fn generate(rng: &mut KeyRng) -> SphinxSecret {
        SphinxSecret(Zeroizing::new(rng.bytes()))
    }

    fn public(secret: &SphinxSecret) -> SphinxPublic {
        SphinxPublic(x25519_base(&secret.0))
    }

    fn build(
        route: &[Hop],
        plaintext: &Plaintext,
        rng: &mut KeyRng,
    ) -> Result<PacketBytes, BuildError> {
        builder::request(route, plaintext, rng)
    }

    fn build_surb(
        route: &[Hop],
        id: SurbId,
        rng: &mut KeyRng,
    ) -> Result<(SurbBytes, SphinxRecovery), BuildError> {
        if id.0 == REQUEST_ID {
            return Err(BuildError::ZeroSurbId);
        }
        let (block, seeds) = builder::reply_block(route, id, rng)?;
        Ok((block, SphinxRecovery { id, seeds }))
    }

    fn unwrap(secret: &SphinxSecret, packet: &PacketBytes) -> Result<Unwrapped, DiscardReason> {
        let mut results = Self::unwrap_batch(&[(secret, packet)]);
        results.pop().unwrap_or(Err(DiscardReason::Overloaded))
    }

    fn unwrap_batch_if(
        batch: &[(&SphinxSecret, &PacketBytes)],
        admit: &mut dyn FnMut(usize, ReplayTag) -> Result<(), DiscardReason>,
    ) -> Vec<Result<Unwrapped, DiscardReason>> {
        Backend::current().unwrap_batch_if(batch, admit)
    }

    fn use_surb(
        surb: &SurbBytes,
        plaintext: &Plaintext,
    ) -> Result<(NextHop, PacketBytes), DiscardReason> {
        let bad = DiscardReason::BadSurb;
        let (header, rest) = surb.split_first_chunk().ok_or(bad)?;
        let (first, rest) = rest.split_first_chunk().ok_or(bad)?;
        let first = NextHop::from_bytes(*first).map_err(|_| bad)?;
        let (seed, []) = rest.as_chunks() else {
            return Err(bad);
        };
        Ok((first, builder::sealed(header, plaintext, seed)))
    }

    fn open_reply(
        recovery: &SphinxRecovery,
        mut payload: PayloadBytes,
    ) -> Result<Plaintext, DiscardReason> {
        let mut last = None;
        for seed in recovery.seeds.iter().rev() {
            let keys = PayloadKeys::of(seed);
            keys.encrypt(&mut payload);
            last.get_or_insert(keys);
        }
        last.ok_or(DiscardReason::BadPayload)?.decrypt(&mut payload);
        read_plaintext(&payload[..]).ok_or(DiscardReason::BadPayload)
    }
}

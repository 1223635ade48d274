//! One hop's work on up to sixteen packets at once. `docs/spec/packet.md` §4.
//!
//! In two halves, each over all packets that are still alive: what tells whether a packet is genuine and
//! new (shared secret, keys, MAC, routing information, replay tag), and what it takes to pass it on (α of the
//! next hop, payload). A packet that dies in the first half costs nothing in the second.

use crate::DiscardReason;
use crate::avx512::Avx512;
use crate::foreign::{self, Secret32};
use crate::format::{PayloadBytes, ReplayTag, Unwrapped};
use crate::keys::{FirstKeys, HopKeys, xor};
use crate::layout::*;
use crate::lioness::{self, Payload, PayloadKeys};
use crate::sphinx::SphinxSecret;
use std::time::Duration;
use subtle::ConstantTimeEq;
use wire::frame::PacketBytes;
use wire::geometry::{SPHINX_HEADER_LEN, SPHINX_PAYLOAD_LEN};
use wire::ids::{NextHop, SurbId};
use zeroize::Zeroizing;

/// Most packets of one batch: the lanes of the widest kernel.
pub(crate) const BATCH_MAX: usize = 16;

/// A packet that is alive after the first half.
struct Alive {
    /// Its place in the batch.
    at: usize,
    /// The place of its keys among those of the packets whose MAC is right.
    keys: usize,
    work: Work,
}

/// What a hop read for itself, and what is left to do.
enum Work {
    Forward {
        next: NextHop,
        delay: Duration,
        /// Lacks its α, and its payload is not yet decrypted.
        packet: PacketBytes,
    },
    Final {
        identifier: [u8; SurbId::LEN],
        /// Not yet decrypted.
        payload: PayloadBytes,
    },
}

impl Work {
    fn payload(&mut self) -> &mut Payload {
        match self {
            Self::Forward { packet, .. } => parts_mut(packet).1,
            Self::Final { payload, .. } => payload,
        }
    }
}

/// As [`crate::PacketFormat::unwrap_batch_if`], for at most [`BATCH_MAX`] packets.
pub(crate) fn unwrap_chunk(
    wide: Option<Avx512>,
    batch: &[(&SphinxSecret, &PacketBytes)],
    admit: &mut dyn FnMut(usize, ReplayTag) -> Result<(), DiscardReason>,
) -> Vec<Result<Unwrapped, DiscardReason>> {
    let (mut alive, keys, dead) = open_headers(wide, batch, admit);
    blind(wide, batch, &mut alive, &keys);
    decrypt(wide, &mut alive, &keys);
    let mut results: Vec<_> = dead.into_iter().map(Err).collect();
    for packet in alive {
        results[packet.at] = Ok(finished(packet.work, keys[packet.keys].tag()));
    }
    results
}

/// The first half. Gives those alive in order, the keys of all whose MAC is right, and a reason for each packet (of the others:
/// it says nothing of those alive).
fn open_headers(
    wide: Option<Avx512>,
    batch: &[(&SphinxSecret, &PacketBytes)],
    admit: &mut dyn FnMut(usize, ReplayTag) -> Result<(), DiscardReason>,
) -> (Vec<Alive>, Vec<HopKeys>, Vec<DiscardReason>) {
    let pairs: Vec<_> = batch.iter().map(|(s, p)| (&*s.0, alpha(p))).collect();
    let secrets = x25519(wide, &pairs);
    let routing: Vec<_> = batch.iter().map(|(_, packet)| routing(packet)).collect();
    let derived = first_keys(wide, &secrets, &routing);
    let mut dead = vec![DiscardReason::BadMac; batch.len()];
    let (mut genuine, mut firsts) = (Vec::with_capacity(batch.len()), Vec::new());
    let all = secrets.iter().zip(&derived).zip(batch).enumerate();
    for (at, ((secret, (first, mac)), (_, packet))) in all {
        if is_zero(secret) {
            dead[at] = DiscardReason::ZeroSecret;
        } else if equal(mac, chunk(&packet[..], ALPHA_LEN)) {
            genuine.push(at);
            firsts.push(first);
        }
    }
    let all = all_keys(wide, &firsts);
    let mut alive = Vec::with_capacity(genuine.len());
    for (keys, (at, all)) in genuine.into_iter().zip(&all).enumerate() {
        let work = read(batch[at].1, all);
        match work.and_then(|work| admit(at, all.tag()).map(|()| work)) {
            Ok(work) => alive.push(Alive { at, keys, work }),
            Err(reason) => dead[at] = reason,
        }
    }
    (alive, all, dead)
}

fn alpha(packet: &PacketBytes) -> &[u8; ALPHA_LEN] {
    packet
        .first_chunk()
        .expect("a packet is longer than its first part")
}

fn routing(packet: &PacketBytes) -> &[u8; ROUTING_LEN] {
    packet[ROUTING_AT..]
        .first_chunk()
        .expect("a packet is longer than its header")
}

/// In constant time. As one number: byte by byte `subtle` costs a hop a tenth of a microsecond.
fn equal(a: &[u8; MAC_LEN], b: &[u8; MAC_LEN]) -> bool {
    u128::from_ne_bytes(*a)
        .ct_eq(&u128::from_ne_bytes(*b))
        .into()
}

fn is_zero(secret: &Secret32) -> bool {
    let [low, high] = [0, 16].map(|at| u128::from_ne_bytes(*chunk(&secret[..], at)));
    (low | high).ct_eq(&0).into()
}

/// Reads the routing information.
fn read(packet: &PacketBytes, keys: &HopKeys) -> Result<Work, DiscardReason> {
    let mut read = keys.stream();
    xor(&mut *read, routing(packet));
    let (own, onward) = read.split_at(HOP_LEN);
    let flag = own[0];
    if ![FLAG_FORWARD, FLAG_FINAL].contains(&flag) {
        return Err(DiscardReason::BadRouting);
    }
    // The first byte is ignored, as sphinx-packet ignores it.
    if own[2..ADDRESS_AT] != VERSION[1..] {
        return Err(DiscardReason::BadVersion);
    }
    if flag == FLAG_FINAL {
        let identifier = *chunk(own, IDENTIFIER_AT);
        let payload: PayloadBytes = Box::new(*chunk(&packet[..], SPHINX_HEADER_LEN));
        return Ok(Work::Final {
            identifier,
            payload,
        });
    }
    let next =
        NextHop::from_bytes(*chunk(own, ADDRESS_AT)).map_err(|_| DiscardReason::BadRouting)?;
    let delay = Duration::from_nanos(u64::from_be_bytes(*chunk(own, DELAY_AT)));
    let mut out = packet.clone();
    out[ALPHA_LEN..ROUTING_AT].copy_from_slice(&own[NEXT_MAC_AT..]);
    out[ROUTING_AT..SPHINX_HEADER_LEN].copy_from_slice(onward);
    Ok(Work::Forward {
        next,
        delay,
        packet: out,
    })
}

fn chunk<const N: usize>(bytes: &[u8], at: usize) -> &[u8; N] {
    bytes[at..]
        .first_chunk()
        .expect("every field lies within what it is a part of")
}

/// The α of each packet that goes on.
fn blind(
    wide: Option<Avx512>,
    batch: &[(&SphinxSecret, &PacketBytes)],
    alive: &mut [Alive],
    keys: &[HopKeys],
) {
    let pairs: Vec<_> = alive
        .iter()
        .filter(|packet| matches!(packet.work, Work::Forward { .. }))
        .map(|packet| (keys[packet.keys].blinding(), alpha(batch[packet.at].1)))
        .collect();
    let blinded = x25519(wide, &pairs);
    let onward = alive
        .iter_mut()
        .filter_map(|packet| match &mut packet.work {
            Work::Forward { packet, .. } => Some(packet),
            Work::Final { .. } => None,
        });
    for (packet, alpha) in onward.zip(blinded) {
        packet[..ALPHA_LEN].copy_from_slice(&*alpha);
    }
}

fn finished(work: Work, tag: ReplayTag) -> Unwrapped {
    match work {
        Work::Forward {
            next,
            delay,
            packet,
        } => Unwrapped::Forward {
            tag,
            next,
            delay,
            packet,
        },
        Work::Final {
            identifier: REQUEST_ID,
            payload,
        } => Unwrapped::Request {
            tag,
            plaintext: read_plaintext(&payload[..]),
        },
        Work::Final {
            identifier,
            payload,
        } => Unwrapped::Reply {
            tag,
            surb: SurbId(identifier),
            payload,
        },
    }
}

/// X25519 of each pair of scalar and point.
fn x25519(wide: Option<Avx512>, pairs: &[(&[u8; 32], &[u8; 32])]) -> Vec<Secret32> {
    if let Some(wide) = wide
        && pairs.len() >= Avx512::X25519_MIN
    {
        return wide.x25519(pairs);
    }
    let each = pairs.iter();
    each.map(|(scalar, point)| foreign::x25519(scalar, point))
        .collect()
}

/// The first keys of each shared secret, and the MAC with them of each routing information.
fn first_keys(
    wide: Option<Avx512>,
    secrets: &[Secret32],
    routing: &[&[u8; ROUTING_LEN]],
) -> Vec<(FirstKeys, [u8; MAC_LEN])> {
    if let Some(wide) = wide
        && secrets.len() >= Avx512::HASH_MIN
    {
        return wide.first_keys(secrets, routing);
    }
    let each = secrets.iter().zip(routing);
    each.map(|(secret, routing)| {
        let keys = FirstKeys::of(secret);
        let mac = keys.mac(routing);
        (keys, mac)
    })
    .collect()
}

fn all_keys(wide: Option<Avx512>, firsts: &[&FirstKeys]) -> Vec<HopKeys> {
    if let Some(wide) = wide
        && firsts.len() >= Avx512::HASH_MIN
    {
        return wide.all_keys(firsts);
    }
    FirstKeys::finish_each(firsts)
}

/// Each payload, once.
fn decrypt(wide: Option<Avx512>, alive: &mut [Alive], all: &[HopKeys]) {
    let seeds: Vec<_> = alive
        .iter()
        .map(|packet| *all[packet.keys].seed())
        .collect();
    let seeds = Zeroizing::new(seeds);
    let keys: Vec<PayloadKeys> = match wide {
        Some(wide) if alive.len() >= Avx512::HASH_MIN => wide.payload_keys(&seeds),
        _ => PayloadKeys::of_each(&seeds),
    };
    let mut payloads: Vec<&mut Payload> = alive.iter_mut().map(|p| p.work.payload()).collect();
    match wide {
        Some(wide) => wide.decrypt(&keys, &mut payloads),
        None => lioness::decrypt_many(&keys, &mut payloads),
    }
}

const _: () = assert!(SPHINX_PAYLOAD_LEN > lioness::LEFT_LEN);

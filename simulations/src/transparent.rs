//! [`Transparent`]: packets of the right sizes without cryptography, for simulations only.
//!
//! The outcomes are those of `sphinx::Sphinx`: another key or a changed header gives `BadMac`, a
//! changed payload gives no plaintext. A 64-bit checksum stands for each MAC, so that holds for
//! accidents, not for adversaries. A secret key *is* its public key.
//!
//! ```text
//! packet  header (348) ‖ payload (2482)
//! header  checksum (8) ‖ this hop (1) ‖ hops (1) ‖ nonce (16) ‖ reply block id (16) ‖
//!         5 × key prefix (8) ‖ 4 × delay in ns (8) ‖ 4 × next hop (32) ‖ zeros
//! payload checksum (8) ‖ seed (8) ‖ plaintext (2465) ‖ zero
//! block   header (348) ‖ first hop (32) ‖ seed (8) ‖ zeros (8)
//! ```
//!
//! A hop finds itself by its place and checks its key's prefix there; passing a packet on moves the
//! place by one. The id of a request is all zero, as in Sphinx.

use sphinx::{BuildError, DiscardReason, Hop, PacketFormat, PayloadBytes, ReplayTag, Unwrapped};
use std::time::Duration;
use wire::codec::{DecodeError, Reader, Writer};
use wire::frame::{PacketBytes, boxed};
use wire::geometry::{MAX_HOPS, PACKET_LEN, PLAINTEXT_LEN, SPHINX_HEADER_LEN, SURB_LEN};
use wire::ids::{NextHop, SurbId};
use wire::keys::SphinxPublic;
use wire::request::{Plaintext, SurbBytes};
use wire::rng::KeyRng;

const CHECKSUM_LEN: usize = 8;
/// Sums of a checksum that do not wait for each other.
const LANES: usize = 8;
/// Where a header says whose turn it is.
const HERE: usize = CHECKSUM_LEN;
const PREFIX_LEN: usize = 8;
const SEED_LEN: usize = 8;
/// A request's id, and the seed of its payload.
const REQUEST_ID: [u8; SurbId::LEN] = [0; SurbId::LEN];
const REQUEST_SEED: [u8; SEED_LEN] = [0; SEED_LEN];

/// Packets without cryptography.
pub struct Transparent;

/// A key that hides nothing.
pub struct TransparentSecret([u8; 32]);

/// What tells a reply to one's own reply block from any other payload.
pub struct TransparentRecovery([u8; SEED_LEN]);

impl PacketFormat for Transparent {
    type Secret = TransparentSecret;
    type Recovery = TransparentRecovery;

    fn generate(rng: &mut KeyRng) -> TransparentSecret {
        let mut key = rng.bytes::<32>();
        // A directory takes only what may be the coordinate of a point.
        key[31] &= 0x3f;
        TransparentSecret(key)
    }

    fn public(secret: &TransparentSecret) -> SphinxPublic {
        SphinxPublic(secret.0)
    }

    fn build(
        route: &[Hop],
        plaintext: &Plaintext,
        rng: &mut KeyRng,
    ) -> Result<PacketBytes, BuildError> {
        let header = Header::new(route, REQUEST_ID, rng.bytes())?;
        Ok(join(&header.encode(), REQUEST_SEED, plaintext))
    }

    fn build_surb(
        route: &[Hop],
        id: SurbId,
        rng: &mut KeyRng,
    ) -> Result<(SurbBytes, TransparentRecovery), BuildError> {
        if id.0 == REQUEST_ID {
            return Err(BuildError::ZeroSurbId);
        }
        let header = Header::new(route, id.0, rng.bytes())?;
        let first = route.first().ok_or(BuildError::RouteLength)?;
        let seed = rng.bytes();
        let mut w = Writer::with_capacity(SURB_LEN);
        w.put(&header.encode()).put(&first.address.to_bytes());
        w.put(&seed);
        Ok((boxed(w.into_padded(SURB_LEN)), TransparentRecovery(seed)))
    }

    fn unwrap(
        secret: &TransparentSecret,
        packet: &PacketBytes,
    ) -> Result<Unwrapped, DiscardReason> {
        Self::unwrap_if(secret, packet.clone(), &mut |_| Ok(()))
    }

    fn unwrap_if(
        secret: &TransparentSecret,
        mut packet: PacketBytes,
        admit: &mut dyn FnMut(ReplayTag) -> Result<(), DiscardReason>,
    ) -> Result<Unwrapped, DiscardReason> {
        let (head, payload) = packet.split_at_mut(SPHINX_HEADER_LEN);
        let hop = ThisHop::read(head).map_err(|_| DiscardReason::BadMac)?;
        if hop.prefix != prefix(&secret.0) {
            return Err(DiscardReason::BadMac);
        }
        let tag = hop.tag();
        if let Some((next, delay)) = hop.onward {
            let next = NextHop::from_bytes(next).map_err(|_| DiscardReason::BadRouting)?;
            admit(tag)?;
            head[HERE] = hop.here + 1;
            head[..CHECKSUM_LEN].copy_from_slice(&closed(hop.rest, hop.here + 1));
            return Ok(Unwrapped::Forward {
                tag,
                next,
                delay,
                packet,
            });
        }
        admit(tag)?;
        if hop.id == REQUEST_ID {
            let plaintext = read_payload(REQUEST_SEED, payload);
            return Ok(Unwrapped::Request { tag, plaintext });
        }
        Ok(Unwrapped::Reply {
            tag,
            surb: SurbId(hop.id),
            payload: boxed(payload.to_vec()),
        })
    }

    fn use_surb(
        surb: &SurbBytes,
        plaintext: &Plaintext,
    ) -> Result<(NextHop, PacketBytes), DiscardReason> {
        let mut r = Reader::new(&surb[..]);
        let mut read = || {
            let header = r.slice(SPHINX_HEADER_LEN)?;
            let first = NextHop::from_bytes(r.array()?)?;
            Ok::<_, DecodeError>((header, first, r.array::<SEED_LEN>()?))
        };
        let (header, first, seed) = read().map_err(|_| DiscardReason::BadSurb)?;
        Ok((first, join(header, seed, plaintext)))
    }

    fn open_reply(
        recovery: &TransparentRecovery,
        payload: PayloadBytes,
    ) -> Result<Plaintext, DiscardReason> {
        read_payload(recovery.0, &payload[..]).ok_or(DiscardReason::BadPayload)
    }
}

struct Header {
    here: u8,
    hops: u8,
    nonce: [u8; 16],
    id: [u8; SurbId::LEN],
    prefixes: [[u8; PREFIX_LEN]; MAX_HOPS],
    delays: [u64; MAX_HOPS - 1],
    nexts: [[u8; 32]; MAX_HOPS - 1],
}

impl Header {
    fn new(route: &[Hop], id: [u8; SurbId::LEN], nonce: [u8; 16]) -> Result<Self, BuildError> {
        if !(1..=MAX_HOPS).contains(&route.len()) {
            return Err(BuildError::RouteLength);
        }
        let mut header = Self {
            here: 0,
            hops: route.len() as u8,
            nonce,
            id,
            prefixes: [[0; PREFIX_LEN]; MAX_HOPS],
            delays: [0; MAX_HOPS - 1],
            nexts: [[0; 32]; MAX_HOPS - 1],
        };
        for (i, hop) in route.iter().enumerate() {
            if hop.key.0 == [0; 32] {
                return Err(BuildError::BadKey);
            }
            header.prefixes[i] = prefix(&hop.key.0);
            if let Some(next) = route.get(i + 1) {
                header.nexts[i] = next.address.to_bytes();
                header.delays[i] = u64::try_from(hop.delay.as_nanos()).unwrap_or(u64::MAX);
            }
        }
        Ok(header)
    }

    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(SPHINX_HEADER_LEN);
        w.put(&[0; CHECKSUM_LEN]).u8(self.here).u8(self.hops);
        w.put(&self.nonce).put(&self.id);
        self.prefixes.iter().for_each(|p| {
            w.put(p);
        });
        self.delays.iter().for_each(|d| {
            w.u64(*d);
        });
        self.nexts.iter().for_each(|n| {
            w.put(n);
        });
        let mut out = w.into_padded(SPHINX_HEADER_LEN);
        let checksum = closed(sum(&out[HERE + 1..]), self.here);
        out[..CHECKSUM_LEN].copy_from_slice(&checksum);
        out
    }
}

/// What one hop reads of a header.
struct ThisHop {
    here: u8,
    nonce: [u8; 16],
    id: [u8; SurbId::LEN],
    prefix: [u8; PREFIX_LEN],
    /// The next hop, and how long to wait for it; none at the last hop.
    onward: Option<([u8; 32], Duration)>,
    /// Sum of what no hop changes.
    rest: u64,
}

impl ThisHop {
    fn read(head: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(head);
        let checksum: [u8; CHECKSUM_LEN] = r.array()?;
        let (here, hops) = (r.u8()?, r.u8()?);
        let rest = sum(&head[HERE + 1..]);
        if checksum != closed(rest, here) {
            return Err(DecodeError::Invalid("checksum"));
        }
        let place = usize::from(here);
        if usize::from(hops) > MAX_HOPS || here >= hops {
            return Err(DecodeError::Invalid("hops"));
        }
        let (nonce, id) = (r.array()?, r.array()?);
        r.slice(PREFIX_LEN * place)?;
        let prefix = r.array()?;
        let onward = (here + 1 < hops).then(|| {
            r.slice(PREFIX_LEN * (MAX_HOPS - 1 - place) + 8 * place)?;
            let delay = Duration::from_nanos(r.u64()?);
            r.slice(8 * (MAX_HOPS - 2 - place) + 32 * place)?;
            Ok((r.array()?, delay))
        });
        Ok(Self {
            here,
            nonce,
            id,
            prefix,
            onward: onward.transpose()?,
            rest,
        })
    }

    /// One for each hop, and none twice at one hop.
    fn tag(&self) -> ReplayTag {
        let mut tag = [0; 32];
        tag[..16].copy_from_slice(&self.nonce);
        tag[0] ^= self.here;
        ReplayTag(tag)
    }
}

fn prefix(key: &[u8; 32]) -> [u8; PREFIX_LEN] {
    let [a, b, c, d, e, f, g, h, ..] = *key;
    [a, b, c, d, e, f, g, h]
}

/// A packet of a header and a payload.
fn join(header: &[u8], seed: [u8; SEED_LEN], plaintext: &Plaintext) -> PacketBytes {
    let mut w = Writer::with_capacity(PACKET_LEN);
    w.put(header).put(&[0; CHECKSUM_LEN]);
    w.put(&seed).put(&plaintext[..]);
    let mut packet = w.into_padded(PACKET_LEN);
    let (sum, rest) = packet[SPHINX_HEADER_LEN..].split_at_mut(CHECKSUM_LEN);
    sum.copy_from_slice(&checksum(rest));
    boxed(packet)
}

fn read_payload(seed: [u8; SEED_LEN], payload: &[u8]) -> Option<Plaintext> {
    let (sum, rest) = payload.split_first_chunk::<CHECKSUM_LEN>()?;
    let (theirs, plaintext) = rest.split_first_chunk::<SEED_LEN>()?;
    let plaintext = plaintext.get(..PLAINTEXT_LEN)?;
    (*sum == checksum(rest) && *theirs == seed).then(|| boxed(plaintext.to_vec()))
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    sum(bytes).to_be_bytes()
}

/// A header's checksum: of what no hop changes, and of whose turn it is.
fn closed(rest: u64, here: u8) -> [u8; CHECKSUM_LEN] {
    step(rest, u64::from(here)).to_be_bytes()
}

/// FNV-1a over 64-bit words, the last one zero-padded, in eight lanes that are folded in the end. Each step is a
/// bijection, so a change of one word always shows.
fn sum(bytes: &[u8]) -> u64 {
    let mut lanes = [0xcbf2_9ce4_8422_2325; LANES];
    let (blocks, rest) = bytes.as_chunks::<{ 8 * LANES }>();
    for block in blocks {
        let (words, _) = block.as_chunks();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = step(*lane, u64::from_be_bytes(*word));
        }
    }
    for (lane, chunk) in lanes.iter_mut().zip(rest.chunks(8)) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        *lane = step(*lane, u64::from_be_bytes(word));
    }
    lanes.into_iter().fold(0, step)
}

fn step(sum: u64, word: u64) -> u64 {
    (sum ^ word).wrapping_mul(0x0000_0100_0000_01b3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::ids::{EpochHint, NodeId, SessionAddress};

    fn rng() -> KeyRng {
        KeyRng::from_seed([3; 32])
    }

    fn route(secrets: &[TransparentSecret]) -> Vec<Hop> {
        let hop = |(i, secret): (usize, &TransparentSecret)| Hop {
            address: NextHop::Node {
                id: NodeId([i as u8; 28]),
                epoch: EpochHint(i as u16),
            },
            key: Transparent::public(secret),
            delay: Duration::from_millis(i as u64),
        };
        secrets.iter().enumerate().map(hop).collect()
    }

    fn secrets(n: usize) -> Vec<TransparentSecret> {
        let mut rng = rng();
        (0..n).map(|_| Transparent::generate(&mut rng)).collect()
    }

    #[test]
    fn a_request_of_five_hops_arrives_with_all_its_delays() {
        let (secrets, text) = (secrets(5), Box::new([7; PLAINTEXT_LEN]));
        let mut packet = Transparent::build(&route(&secrets), &text, &mut rng()).unwrap();
        let mut tags = Vec::new();
        for i in 0..4 {
            let other = &secrets[(i + 1) % 5];
            assert!(Transparent::unwrap(other, &packet) == Err(DiscardReason::BadMac));
            let Ok(Unwrapped::Forward {
                tag,
                next,
                delay,
                packet: passed,
            }) = Transparent::unwrap(&secrets[i], &packet)
            else {
                panic!("hop {i}")
            };
            assert!(next == route(&secrets)[i + 1].address);
            assert_eq!(delay, Duration::from_millis(i as u64));
            tags.push(tag);
            packet = passed;
        }
        let Ok(Unwrapped::Request { tag, plaintext }) = Transparent::unwrap(&secrets[4], &packet)
        else {
            panic!("last hop")
        };
        assert!(plaintext == Some(text));
        tags.push(tag);
        tags.sort();
        tags.dedup();
        assert_eq!(tags.len(), 5);
    }

    #[test]
    fn a_reply_comes_back_once_opened_by_its_recovery_alone() {
        let (secrets, text) = (secrets(5), Box::new([9; PLAINTEXT_LEN]));
        let mut route = route(&secrets);
        let me = NextHop::Session(SessionAddress::from_random([1; 32]));
        route[4].address = me.clone();
        let (surb, recovery) =
            Transparent::build_surb(&route, SurbId([5; 16]), &mut rng()).unwrap();
        let (first, mut packet) = Transparent::use_surb(&surb, &text).unwrap();
        assert!(first == route[0].address);
        for secret in &secrets[..4] {
            let Ok(Unwrapped::Forward { packet: passed, .. }) =
                Transparent::unwrap(secret, &packet)
            else {
                panic!()
            };
            packet = passed;
        }
        let Ok(Unwrapped::Reply { surb, payload, .. }) = Transparent::unwrap(&secrets[4], &packet)
        else {
            panic!()
        };
        assert_eq!(surb, SurbId([5; 16]));
        let other = TransparentRecovery([8; 8]);
        let wrong = Transparent::open_reply(&other, payload.clone());
        assert!(wrong == Err(DiscardReason::BadPayload));
        assert!(Transparent::open_reply(&recovery, payload) == Ok(text));
    }

    #[test]
    fn any_flipped_header_byte_is_a_bad_mac_and_any_payload_byte_no_plaintext() {
        let (secrets, text) = (secrets(1), Box::new([7; PLAINTEXT_LEN]));
        let packet = Transparent::build(&route(&secrets), &text, &mut rng()).unwrap();
        for i in 0..PACKET_LEN {
            let mut bad = packet.clone();
            bad[i] ^= 0x10;
            match Transparent::unwrap(&secrets[0], &bad) {
                Err(reason) => {
                    assert!(
                        i < SPHINX_HEADER_LEN && reason == DiscardReason::BadMac,
                        "{i}"
                    );
                }
                Ok(Unwrapped::Request { plaintext, .. }) => {
                    assert!(i >= SPHINX_HEADER_LEN && plaintext.is_none(), "{i}");
                }
                Ok(_) => panic!("{i}"),
            }
        }
    }

    #[test]
    fn routes_and_ids_that_sphinx_refuses_are_refused() {
        let text = Box::new([0; PLAINTEXT_LEN]);
        let built = |n| Transparent::build(&route(&secrets(n)), &text, &mut rng()).err();
        assert_eq!(built(0), Some(BuildError::RouteLength));
        assert_eq!(built(6), Some(BuildError::RouteLength));
        let zero = Transparent::build_surb(&route(&secrets(1)), SurbId([0; 16]), &mut rng());
        assert!(matches!(zero, Err(BuildError::ZeroSurbId)));
    }
}

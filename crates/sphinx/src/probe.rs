//! Probes: packets that are genuine at one hop and random inside, for loading and measuring one node.
//!
//! An honest packet costs a multiplication for each hop; a generator that pays that on the machine it
//! measures measures itself. A probe costs two point additions: the n-th one's scalar is the first one's plus
//! n, so α and shared secret walk along two lines, and one inversion brings a whole batch to its bytes. A
//! node cannot tell it from an honest packet, does the same work for it, and sees another replay tag in each.
//!
//! Nothing here protects anybody: whoever sees two probes can tell that they are neighbours. Never
//! for traffic that carries something.

use crate::foreign::aes128_ctr_xor;
use crate::format::BuildError;
use crate::keys::FirstKeys;
use crate::layout::*;
use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::{EdwardsPoint, MontgomeryPoint, Scalar};
use std::time::Duration;
use wire::frame::PacketBytes;
use wire::geometry::SPHINX_HEADER_LEN;
use wire::ids::NextHop;
use wire::keys::SphinxPublic;
use wire::rng::{KeyRng, Rng};

/// A header of one probe; any payload may stand behind it.
pub type ProbeHeader = [u8; SPHINX_HEADER_LEN];

/// What one probe says.
#[derive(Clone)]
pub struct Probe {
    /// To whom the node passes it on.
    pub next: NextHop,
    /// How long it waits on top of δ.
    pub delay: Duration,
    /// Comes out again: see [`Probe::mark_of`].
    pub mark: [u8; MAC_LEN],
}

impl Probe {
    /// The mark of a probe that has passed the node. It stands where the next hop's MAC would.
    pub fn mark_of(passed: &PacketBytes) -> [u8; MAC_LEN] {
        *passed[ALPHA_LEN..]
            .first_chunk()
            .expect("a packet is longer than its header")
    }
}

/// Makes probes for one key of one node, each with another shared secret.
pub struct ProbeMaker {
    alpha: EdwardsPoint,
    secret: EdwardsPoint,
    /// The node's public key. Its sign is unknown and does not matter: X25519 knows none.
    key: EdwardsPoint,
}

impl ProbeMaker {
    /// Begins anywhere.
    pub fn new(key: &SphinxPublic, rng: &mut KeyRng) -> Result<Self, BuildError> {
        let key = MontgomeryPoint(key.0).to_edwards(0);
        let key = key.filter(|key| !key.is_small_order());
        let key = key.ok_or(BuildError::BadKey)?;
        let first = Scalar::from_bytes_mod_order_wide(&rng.bytes());
        Ok(Self {
            alpha: ED25519_BASEPOINT_POINT * first,
            secret: key * first,
            key,
        })
    }

    /// The headers of `probes`. Some hundred at once make the inversion cheap.
    pub fn headers(&mut self, probes: &[Probe], rng: &mut KeyRng) -> Vec<ProbeHeader> {
        let mut points = Vec::with_capacity(2 * probes.len());
        for _ in probes {
            points.extend([self.alpha, self.secret]);
            self.alpha += ED25519_BASEPOINT_POINT;
            self.secret += self.key;
        }
        let encoded = EdwardsPoint::to_montgomery_batch(&points);
        let (pairs, _) = encoded.as_chunks::<2>();
        let each = pairs.iter().zip(probes);
        each.map(|([alpha, secret], probe)| header(alpha, secret, probe, rng))
            .collect()
    }
}

fn header(
    alpha: &MontgomeryPoint,
    secret: &MontgomeryPoint,
    probe: &Probe,
    rng: &mut KeyRng,
) -> ProbeHeader {
    let keys = FirstKeys::of(secret.as_bytes());
    let mut header = [0; SPHINX_HEADER_LEN];
    let (front, routing) = header.split_at_mut(ROUTING_AT);
    let own = &mut routing[..HOP_LEN];
    own[0] = FLAG_FORWARD;
    own[1..ADDRESS_AT].copy_from_slice(&VERSION);
    own[ADDRESS_AT..DELAY_AT].copy_from_slice(&probe.next.to_bytes());
    own[DELAY_AT..NEXT_MAC_AT].copy_from_slice(&delay_nanos(probe.delay).to_be_bytes());
    own[NEXT_MAC_AT..].copy_from_slice(&probe.mark);
    let stream_key = keys.first.first_chunk().expect("16 of 32 bytes");
    aes128_ctr_xor(stream_key, own);
    rng.fill_bytes(&mut routing[HOP_LEN..]);
    let routing = &*routing;
    let mac = keys.mac(routing.try_into().expect("the rest of a header"));
    front[..ALPHA_LEN].copy_from_slice(alpha.as_bytes());
    front[ALPHA_LEN..].copy_from_slice(&mac);
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backend, PacketFormat, Sphinx, Unwrapped};
    use std::collections::BTreeSet;
    use wire::geometry::PACKET_LEN;
    use wire::ids::{EpochHint, NodeId};

    #[test]
    fn a_node_passes_each_probe_on_as_it_says_and_sees_another_tag_in_each() {
        let mut rng = KeyRng::from_seed([4; 32]);
        let secret = Sphinx::generate(&mut rng);
        let mut maker = ProbeMaker::new(&Sphinx::public(&secret), &mut rng).unwrap();
        let probes: Vec<_> = (0..100u8)
            .map(|n| Probe {
                next: NextHop::Node {
                    id: NodeId([n; 28]),
                    epoch: EpochHint(u16::from(n)),
                },
                delay: Duration::from_nanos(1_000_003 * u64::from(n)),
                mark: [n; MAC_LEN],
            })
            .collect();
        // In two goes: the second one goes on where the first ended.
        let mut headers = maker.headers(&probes[..37], &mut rng);
        headers.extend(maker.headers(&probes[37..], &mut rng));
        let mut tags = BTreeSet::new();
        for (header, probe) in headers.iter().zip(&probes) {
            let mut packet: PacketBytes = Box::new([9; PACKET_LEN]);
            packet[..SPHINX_HEADER_LEN].copy_from_slice(header);
            for backend in Backend::ALL {
                let batch = [(&secret, &packet)];
                let unwrapped = backend.unwrap_batch_if(&batch, &mut |_, _| Ok(()));
                let Ok(Unwrapped::Forward {
                    tag,
                    next,
                    delay,
                    packet,
                }) = &unwrapped[0]
                else {
                    panic!("not passed on by {}", backend.name());
                };
                assert!(*next == probe.next && *delay == probe.delay);
                assert_eq!(Probe::mark_of(packet), probe.mark);
                tags.insert(*tag);
            }
        }
        assert_eq!(tags.len(), probes.len());
    }

    #[test]
    fn a_key_that_gives_no_secret_is_refused() {
        let mut rng = KeyRng::from_seed([4; 32]);
        assert!(ProbeMaker::new(&SphinxPublic([0; 32]), &mut rng).is_err());
    }
}

//! The bytes of a node and of a directory's body, both ways. `docs/spec/directory.md` §1 and §3.
//!
//! Not here: signatures ([`crate::descriptor`], [`crate::signed`]) and whether the values make
//! sense for a given network ([`crate::Network`], [`crate::Parameters::check`]).

use crate::document::{Directory, Family, LAYERS, NodeDescriptor, Preamble, Role, SphinxKey};
use crate::parameters::{EpochSchedule, Parameters, Rate};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use wire::codec::{DecodeError, Reader, Writer};
use wire::frame::{PART_LEN, PARTS_MAX};
use wire::geometry::{FORMAT_SPHINX, GeometryHash};
use wire::ids::{DirectoryHash, Epoch, NetworkId};
use wire::keys::{IdentityPublic, SphinxPublic};
use wire::time::UnixTime;

/// Most bytes of a signed directory: what fits into the frames that carry it.
pub const DOCUMENT_MAX: usize = PARTS_MAX as usize * PART_LEN;
/// Most bytes of a body: a document less the signatures of 255 authorities.
pub const BODY_MAX: usize = DOCUMENT_MAX - 5 - 255 * 65;
/// Most addresses of one kind, and most keys, in one descriptor.
pub const LIST_MAX: usize = 4;

/// Magic and version of a body; the second has marks.
pub(crate) const BEGIN: [[u8; 5]; 2] = [*b"MZDR\x01", *b"MZDR\x02"];

impl Directory {
    /// The body that authorities sign. Same directory, same bytes.
    pub fn encode_body(&self) -> Vec<u8> {
        let mut w = Writer::default();
        let marked = !self.marks().is_empty();
        w.put(&BEGIN[usize::from(marked)]).put(&self.network.0);
        w.u64(self.epoch.0).u64(self.schedule.genesis.0);
        put_duration(&mut w, self.schedule.length);
        w.u64(self.valid_from.0).u64(self.valid_until.0);
        w.put(&self.previous.0).put(&self.geometry.0);
        put_parameters(&mut w, &self.parameters);
        w.put(&self.shared_random).u64(self.withheld);
        for layer in 0..LAYERS {
            put_nodes(&mut w, self.layer(layer));
        }
        put_nodes(&mut w, self.gateways());
        if marked {
            put_marks(&mut w, self);
        }
        w.into_vec()
    }

    /// Reads what [`Directory::encode_body`] wrote and nothing else. Nobody's word for it: only
    /// [`crate::SignedDirectory::verify`] makes a directory to go by.
    pub fn decode_body(body: &[u8]) -> Result<Self, DecodeError> {
        if body.len() > BODY_MAX {
            return Err(DecodeError::TooLong("directory"));
        }
        let mut r = Reader::new(body);
        let begin = r.array()?;
        if !BEGIN.contains(&begin) {
            return Err(DecodeError::Invalid("directory magic or version"));
        }
        let preamble = Preamble {
            network: NetworkId::decode(&mut r)?,
            epoch: Epoch(r.u64()?),
            schedule: EpochSchedule {
                genesis: UnixTime(r.u64()?),
                length: duration(&mut r)?,
            },
            valid_from: UnixTime(r.u64()?),
            valid_until: UnixTime(r.u64()?),
            previous: DirectoryHash::decode(&mut r)?,
            geometry: GeometryHash(r.array()?),
            parameters: parameters(&mut r)?,
            shared_random: r.array()?,
            withheld: r.u64()?,
        };
        let layers = [nodes(&mut r)?, nodes(&mut r)?, nodes(&mut r)?];
        let gateways = nodes(&mut r)?;
        let places = |_| DecodeError::Invalid("places of nodes");
        let directory = if begin == BEGIN[0] {
            Self::new(preamble, layers, gateways).map_err(places)?
        } else {
            let marks = marks(&mut r)?;
            let plain = Self::new(preamble, layers, gateways).map_err(places)?;
            let id = |(layer, index, left): (usize, usize, u8)| {
                let id = plain.layer_ids(layer).get(index).copied();
                id.map(|id| (id, left))
            };
            let marks: Option<BTreeMap<_, _>> = marks.into_iter().map(id).collect();
            let marks = marks.ok_or(DecodeError::Invalid("marks"))?;
            let marked = plain.with_marks(marks);
            marked.map_err(|_| DecodeError::Invalid("marks"))?
        };
        r.finish()?;
        Ok(directory)
    }
}

fn put_marks(w: &mut Writer, directory: &Directory) {
    w.u16(directory.marks().len() as u16);
    for layer in 0..LAYERS {
        for (index, id) in directory.layer_ids(layer).iter().enumerate() {
            if let Some(left) = directory.marks().get(id) {
                w.u8(layer as u8).u16(index as u16).u8(*left);
            }
        }
    }
}

/// Places and what is left, in the one order that [`put_marks`] has, at least one.
fn marks(r: &mut Reader<'_>) -> Result<Vec<(usize, usize, u8)>, DecodeError> {
    let mut out = Vec::new();
    for _ in 0..r.u16()? {
        out.push((usize::from(r.u8()?), usize::from(r.u16()?), r.u8()?));
    }
    let places = out.iter().map(|(layer, index, _)| (layer, index));
    if out.is_empty() || !places.is_sorted_by(|a, b| a < b) {
        return Err(DecodeError::Invalid("marks"));
    }
    Ok(out)
}

/// What names a body.
pub(crate) fn hash_of(body: &[u8]) -> DirectoryHash {
    DirectoryHash(Sha256::digest(body).into())
}

/// A node's fields, as they stand in its descriptor and in a directory.
pub(crate) fn put_node(w: &mut Writer, node: &NodeDescriptor) {
    w.put(&node.identity.to_bytes());
    w.u8(match node.role {
        Role::Mix => 0,
        Role::Gateway => 1,
    });
    w.put(&node.family.0);
    for addresses in [&node.addresses, &node.client_addresses] {
        w.u8(addresses.len() as u8);
        addresses.iter().for_each(|a| put_address(w, a));
    }
    w.u8(node.sphinx_keys.len() as u8);
    for key in &node.sphinx_keys {
        w.u64(key.epoch.0).u8(key.format).put(&key.key.0);
    }
}

/// Reads what [`put_node`] wrote, if the node is a possible one.
pub(crate) fn node(r: &mut Reader<'_>) -> Result<NodeDescriptor, DecodeError> {
    let node = NodeDescriptor {
        identity: IdentityPublic::decode(r)?,
        role: match r.u8()? {
            0 => Role::Mix,
            1 => Role::Gateway,
            _ => return Err(DecodeError::Invalid("role")),
        },
        family: Family(r.array()?),
        addresses: list(r, "addresses", address)?,
        client_addresses: list(r, "client addresses", address)?,
        sphinx_keys: list(r, "sphinx keys", |r| {
            Ok(SphinxKey {
                epoch: Epoch(r.u64()?),
                format: r.u8()?,
                key: SphinxPublic(r.array()?),
            })
        })?,
    };
    node.check()?;
    Ok(node)
}

impl NodeDescriptor {
    /// Whether this is a descriptor that a decoder accepts; names the field that is not right.
    pub fn check(&self) -> Result<(), DecodeError> {
        let clients = match self.role {
            Role::Mix => 0..=0,
            Role::Gateway => 1..=LIST_MAX,
        };
        if !(1..=LIST_MAX).contains(&self.addresses.len()) {
            return Err(DecodeError::Invalid("addresses"));
        }
        if !clients.contains(&self.client_addresses.len()) {
            return Err(DecodeError::Invalid("client addresses"));
        }
        if !(1..=LIST_MAX).contains(&self.sphinx_keys.len()) {
            return Err(DecodeError::Invalid("sphinx keys"));
        }
        let all = self.addresses.iter().chain(&self.client_addresses);
        all.into_iter().try_for_each(check_address)?;
        if !self.sphinx_keys.is_sorted_by(|a, b| a.epoch < b.epoch) {
            return Err(DecodeError::Invalid("order of sphinx keys"));
        }
        for key in &self.sphinx_keys {
            if key.format != FORMAT_SPHINX {
                return Err(DecodeError::Invalid("sphinx key format"));
            }
            if is_low_order(&key.key) {
                return Err(DecodeError::Invalid("sphinx key"));
            }
        }
        Ok(())
    }
}

/// The X25519 public keys, reduced modulo 2²⁵⁵ − 19, whose products with any clamped scalar are
/// zero (RFC 7748 §6.1), and the encodings above the modulus, which nobody's own key ever has.
fn is_low_order(key: &SphinxPublic) -> bool {
    // u of order 8, little-endian: two more points beside 0, 1 and −1.
    const ORDER_8: [[u8; 32]; 2] = [
        [
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f,
            0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16,
            0x5f, 0x49, 0xb8, 0x00,
        ],
        [
            0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83,
            0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd,
            0xd0, 0x9f, 0x11, 0x57,
        ],
    ];
    let [first, middle @ .., last] = key.0;
    let small = first <= 1 && middle.iter().all(|b| *b == 0) && last == 0;
    // −1 = …ec, and everything from the modulus (…ed) up: not canonical. Bit 255 never is set.
    let large = first >= 0xec && middle.iter().all(|b| *b == 0xff) && last == 0x7f;
    small || large || last & 0x80 != 0 || ORDER_8.contains(&key.0)
}

fn check_address(address: &SocketAddr) -> Result<(), DecodeError> {
    let ip = address.ip();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    // Written as IPv6, an IPv4 address would have two encodings.
    let mapped = matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    let bad = address.port() == 0 || ip.is_unspecified() || ip.is_multicast();
    if bad || broadcast || mapped {
        return Err(DecodeError::Invalid("address"));
    }
    Ok(())
}

fn put_address(w: &mut Writer, address: &SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => w.u8(4).put(&ip.octets()),
        IpAddr::V6(ip) => w.u8(6).put(&ip.octets()),
    };
    w.u16(address.port());
}

fn address(r: &mut Reader<'_>) -> Result<SocketAddr, DecodeError> {
    let ip = match r.u8()? {
        4 => IpAddr::V4(Ipv4Addr::from(r.array::<4>()?)),
        6 => IpAddr::V6(Ipv6Addr::from(r.array::<16>()?)),
        _ => return Err(DecodeError::Invalid("address kind")),
    };
    Ok(SocketAddr::new(ip, r.u16()?))
}

fn list<T>(
    r: &mut Reader<'_>,
    field: &'static str,
    mut item: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = usize::from(r.u8()?);
    if count > LIST_MAX {
        return Err(DecodeError::TooLong(field));
    }
    (0..count).map(|_| item(r)).collect()
}

fn put_nodes(w: &mut Writer, nodes: &[NodeDescriptor]) {
    w.u16(nodes.len() as u16);
    nodes.iter().for_each(|n| put_node(w, n));
}

fn nodes(r: &mut Reader<'_>) -> Result<Vec<NodeDescriptor>, DecodeError> {
    // Grows as nodes are really there: a count alone allocates nothing.
    let mut out = Vec::new();
    for _ in 0..r.u16()? {
        out.push(node(r)?);
    }
    Ok(out)
}

fn put_duration(w: &mut Writer, duration: Duration) {
    w.u64(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
}

fn duration(r: &mut Reader<'_>) -> Result<Duration, DecodeError> {
    r.u64().map(Duration::from_nanos)
}

/// Rates and limits, as they stand in a directory and in a ballot.
pub(crate) fn put_parameters(w: &mut Writer, p: &Parameters) {
    put_duration(w, p.delay_mean);
    put_duration(w, p.hop_allowance);
    for rate in [
        p.payload_rate,
        p.loop_rate,
        p.mix_loop_rate,
        p.downlink_rate,
    ] {
        w.u32(rate.0);
    }
    put_duration(w, p.key_overlap);
    w.u32(p.inbox_period);
    put_duration(w, p.inbox_ttl_max);
    put_duration(w, p.cell_ttl);
    w.u16(p.inbox_quota).u8(p.puzzle_difficulty);
}

/// Reads what [`put_parameters`] wrote.
pub(crate) fn parameters(r: &mut Reader<'_>) -> Result<Parameters, DecodeError> {
    Ok(Parameters {
        delay_mean: duration(r)?,
        hop_allowance: duration(r)?,
        payload_rate: Rate(r.u32()?),
        loop_rate: Rate(r.u32()?),
        mix_loop_rate: Rate(r.u32()?),
        downlink_rate: Rate(r.u32()?),
        key_overlap: duration(r)?,
        inbox_period: r.u32()?,
        inbox_ttl_max: duration(r)?,
        cell_ttl: duration(r)?,
        inbox_quota: r.u16()?,
        puzzle_difficulty: r.u8()?,
    })
}

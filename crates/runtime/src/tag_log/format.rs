//! The bytes of a log: a header with the key, then batches of tags, each with a MAC over its place
//! and content under a key of this file's own.

use hmac::{Hmac, KeyInit, Mac};
use mizzle_core::hop::{KeySeed, NodeKey, ShortTag};
use sha2::{Digest, Sha256};
use std::io::{self, ErrorKind, Read as _};
use wire::ids::{Epoch, NodeId};
use wire::keys::SphinxPublic;
use zeroize::Zeroizing;

const MAGIC: [u8; 16] = *b"mizzle-tags-v1\0\0";
const SUM_AT: usize = 128;
/// Bytes before the first batch.
pub const HEADER_LEN: usize = 160;
/// Most tags in one batch.
pub const BATCH_MAX: usize = 4096;
const BATCH_HEADER_LEN: usize = 16;

/// Bytes of a batch of so many tags.
pub(super) fn batch_len(tags: usize) -> u64 {
    (BATCH_HEADER_LEN + tags * ShortTag::LEN) as u64
}

/// `magic · epoch · node · 12 zeros · seed · public key · SHA-256 of all that`.
pub(super) fn header(node: &NodeId, key: &NodeKey) -> Zeroizing<[u8; HEADER_LEN]> {
    let mut out = Zeroizing::new([0; HEADER_LEN]);
    out[..16].copy_from_slice(&MAGIC);
    out[16..24].copy_from_slice(&key.epoch.0.to_be_bytes());
    out[24..52].copy_from_slice(&node.0);
    out[64..96].copy_from_slice(&key.seed.0);
    out[96..SUM_AT].copy_from_slice(&key.public.0);
    let sum: [u8; 32] = Sha256::digest(&out[..SUM_AT]).into();
    out[SUM_AT..].copy_from_slice(&sum);
    out
}

/// `None` for bytes that are no header.
pub(super) fn read_header(from: &mut impl io::Read) -> io::Result<Option<(NodeId, NodeKey)>> {
    let mut bytes = Zeroizing::new([0; HEADER_LEN]);
    match from.read_exact(&mut bytes[..]) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let sum: [u8; 32] = Sha256::digest(&bytes[..SUM_AT]).into();
    if bytes[..16] != MAGIC || bytes[52..64] != [0; 12] || bytes[SUM_AT..] != sum {
        return Ok(None);
    }
    let mut node = NodeId([0; 28]);
    node.0.copy_from_slice(&bytes[24..52]);
    let mut epoch = [0; 8];
    epoch.copy_from_slice(&bytes[16..24]);
    let mut seed = KeySeed([0; 32]);
    seed.0.copy_from_slice(&bytes[64..96]);
    let mut public = SphinxPublic([0; 32]);
    public.0.copy_from_slice(&bytes[96..SUM_AT]);
    let epoch = Epoch(u64::from_be_bytes(epoch));
    let key = NodeKey {
        epoch,
        seed,
        public,
    };
    Ok(Some((node, key)))
}

/// Makes and checks batches of one file: `count · 12 bytes of MAC · tags`.
pub(super) struct BatchMac(Zeroizing<[u8; 32]>);

impl BatchMac {
    /// The key is derived from the seed, so that no batch of another key's log passes.
    pub(super) fn new(seed: &KeySeed) -> Self {
        let tag = Self::raw(&seed.0, &[b"mizzle-tag-log-v1"]);
        Self(Zeroizing::new(tag))
    }

    fn raw(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes any key length");
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }

    /// Over the batch' place in the file, its count and its tags.
    fn of(&self, at: u64, count: [u8; 4], tags: &[u8]) -> [u8; 12] {
        let [
            mac @ ..,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
        ] = Self::raw(&self.0, &[&at.to_be_bytes(), &count, tags]);
        mac
    }

    /// The bytes of a batch for this place; 1 to [`BATCH_MAX`] tags.
    pub(super) fn batch(&self, at: u64, tags: &[ShortTag]) -> Vec<u8> {
        let count = u32::try_from(tags.len()).expect("a batch has at most 4096 tags");
        let mut out = vec![0; BATCH_HEADER_LEN];
        tags.iter().for_each(|tag| out.extend(tag.0));
        let (head, body) = out.split_at_mut(BATCH_HEADER_LEN);
        head[..4].copy_from_slice(&count.to_be_bytes());
        head[4..].copy_from_slice(&self.of(at, count.to_be_bytes(), body));
        out
    }

    /// The tags of the batch that begins at `at`, where `bytes` begins.
    fn check(&self, at: u64, bytes: &[u8]) -> Option<Vec<ShortTag>> {
        let (head, rest) = bytes.split_at_checked(BATCH_HEADER_LEN)?;
        let [a, b, c, d, mac @ ..] = head else {
            return None;
        };
        let count = [*a, *b, *c, *d];
        let tags = count_of(count)?;
        let body = rest.get(..tags * ShortTag::LEN)?;
        // A damaged disk, not an attacker, is what this is about: no constant time.
        (self.of(at, count, body) == *mac).then(|| {
            let (tags, _) = body.as_chunks();
            tags.iter().map(|tag| ShortTag(*tag)).collect()
        })
    }
}

fn count_of(count: [u8; 4]) -> Option<usize> {
    let count = usize::try_from(u32::from_be_bytes(count)).ok()?;
    (1..=BATCH_MAX).contains(&count).then_some(count)
}

/// What stands at a place.
pub(super) enum Read {
    /// A whole batch, as it was written.
    Batch(Vec<ShortTag>),
    /// Something else.
    None,
}

/// Reads the batch at `at`, which is where `from` stands, of a file of `len` bytes.
pub(super) fn read_batch(
    from: &mut impl io::Read,
    mac: &BatchMac,
    at: u64,
    len: u64,
) -> io::Result<Read> {
    let mut bytes = vec![0; BATCH_HEADER_LEN];
    if len - at < BATCH_HEADER_LEN as u64 {
        return Ok(Read::None);
    }
    from.read_exact(&mut bytes)?;
    let [a, b, c, d, ..] = bytes[..] else {
        return Ok(Read::None);
    };
    let Some(tags) = count_of([a, b, c, d]).filter(|n| at + batch_len(*n) <= len) else {
        return Ok(Read::None);
    };
    bytes.resize(BATCH_HEADER_LEN + tags * ShortTag::LEN, 0);
    from.read_exact(&mut bytes[BATCH_HEADER_LEN..])?;
    Ok(mac.check(at, &bytes).map_or(Read::None, Read::Batch))
}

/// Whether what follows from `at` to the end is the remainder of one write that was never synced:
/// no longer than a batch, and with no whole batch in it. Anything else was durable once.
pub(super) fn is_torn_end(
    from: &mut impl io::Read,
    mac: &BatchMac,
    at: u64,
    len: u64,
) -> io::Result<bool> {
    if len - at > batch_len(BATCH_MAX) {
        return Ok(false);
    }
    let mut rest = Vec::new();
    from.take(len - at).read_to_end(&mut rest)?;
    let places = (BATCH_HEADER_LEN..rest.len()).step_by(ShortTag::LEN);
    let mut later = places.map(|place| (at + place as u64, &rest[place..]));
    Ok(!later.any(|(at, bytes)| mac.check(at, bytes).is_some()))
}

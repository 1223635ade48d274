//! HMAC-SHA256 and HKDF-SHA256 in sixteen lanes: a hop's keys and its MAC, and the payload's keys.
//!
//! As in `crate::hmac` each key's two padded blocks are hashed once. Here also what all lanes have in common, the *info*
//! and the padding behind it, is expanded when the program is compiled ([`Expansion`]). From one block of an
//! expansion to the next the previous one stays in its lanes.

use crate::avx512::lanes::{Row, rows32, words32};
use crate::avx512::sha256::*;
use crate::hmac::HmacKey;
use crate::layout::ROUTING_LEN;
use crate::{keys, lioness};
use core::arch::x86_64::*;

/// Rows that hold bytes or words for each lane.
pub(super) type Rows = [Row; LANES];

/// Blocks of an expansion behind the first: T(2), T(3), …
const HOP_MORE: usize = keys::EXPANDED_LEN / 32 - 1;
const PAYLOAD_MORE: usize = lioness::KEYS_LEN / 32 - 1;

static HOP: Expansion<2, 2, HOP_MORE> = Expansion::new(keys::INFO);
static PAYLOAD: Expansion<1, 1, PAYLOAD_MORE> = Expansion::new(lioness::INFO);

/// An expansion's messages, as far as they are known beforehand. T(1) hashes `info ‖ 1`, in FIRST blocks; T(n) hashes
/// `T(n − 1) ‖ info ‖ n`, in 1 + REST blocks.
struct Expansion<const FIRST: usize, const REST: usize, const MORE: usize> {
    first: [Schedule; FIRST],
    /// The info's first 32 bytes, which share a block with the previous T.
    head: [u32; 8],
    rest: [[Schedule; REST]; MORE],
}

impl<const FIRST: usize, const REST: usize, const MORE: usize> Expansion<FIRST, REST, MORE> {
    const fn new(info: &[u8]) -> Self {
        assert!((info.len() + 10).div_ceil(64) == FIRST);
        assert!((32 + info.len() + 10).div_ceil(64) == 1 + REST);
        let mut first = [Schedule::EMPTY; FIRST];
        let mut i = 0;
        while i < FIRST {
            first[i] = Schedule::of(&block(info, 0, 1, i));
            i += 1;
        }
        let mut rest = [[Schedule::EMPTY; REST]; MORE];
        let mut n = 0;
        while n < MORE {
            i = 0;
            while i < REST {
                rest[n][i] = Schedule::of(&block(info, 32, n as u8 + 2, 1 + i));
                i += 1;
            }
            n += 1;
        }
        let begin = block(info, 32, 0, 0);
        let mut head = [0; 8];
        i = 0;
        while i < 8 {
            let at = 32 + 4 * i;
            let bytes = [begin[at], begin[at + 1], begin[at + 2], begin[at + 3]];
            head[i] = u32::from_be_bytes(bytes);
            i += 1;
        }
        Self { first, head, rest }
    }

    /// T(1).
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn first(&self, key: &Key) -> State {
        let mut state = key.inner;
        for block in &self.first {
            state = compress_same(&state, block);
        }
        key.finish(&state)
    }

    /// The T behind T(2 + n)'s previous.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn next(&self, key: &Key, previous: &State, n: usize) -> State {
        let mut block = [_mm512_setzero_si512(); 16];
        block[..8].copy_from_slice(previous);
        block[8..].copy_from_slice(&same_state(&self.head));
        let mut state = compress(&key.inner, &block);
        for block in &self.rest[n] {
            state = compress_same(&state, block);
        }
        key.finish(&state)
    }
}

/// Block `index` of `(before bytes) ‖ info ‖ number`, padded, where a key's block was hashed before.
const fn block(info: &[u8], before: usize, number: u8, index: usize) -> [u8; 64] {
    let len = before + info.len() + 1;
    let mut out = [0; 64];
    let mut i = 0;
    while i < 64 {
        let at = 64 * index + i;
        if at >= before && at < len - 1 {
            out[i] = info[at - before];
        } else if at == len - 1 {
            out[i] = number;
        } else if at == len {
            out[i] = 0x80;
        }
        i += 1;
    }
    if index + 1 == (len + 9).div_ceil(64) {
        let bits = bits(len).to_be_bytes();
        i = 0;
        while i < 4 {
            out[60 + i] = bits[i];
            i += 1;
        }
    }
    out
}

/// Length in bits of `len` bytes behind a key's block.
const fn bits(len: usize) -> u32 {
    8 * (64 + len as u32)
}

/// As `crate::hmac::HmacKey`.
struct Key {
    inner: State,
    outer: State,
}

impl Key {
    /// Of as many words; the rest of the block is zeros.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn new(words: &[__m512i]) -> Self {
        let initial = same_state(&INITIAL);
        let mut inner = [same(0x3636_3636); 16];
        let mut outer = [same(0x5c5c_5c5c); 16];
        for (i, word) in words.iter().enumerate() {
            inner[i] = _mm512_xor_si512(inner[i], *word);
            outer[i] = _mm512_xor_si512(outer[i], *word);
        }
        Self {
            inner: compress(&initial, &inner),
            outer: compress(&initial, &outer),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn same(key: &HmacKey) -> Self {
        Self {
            inner: same_state(&key.inner),
            outer: same_state(&key.outer),
        }
    }

    /// A MAC, from the state after the whole message.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn finish(&self, inner: &State) -> State {
        compress(&self.outer, &padded(inner))
    }

    /// HKDF-Extract: this key is the salt.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn extract(&self, input: &[__m512i]) -> Self {
        Self::new(&self.finish(&compress(&self.inner, &padded(input))))
    }
}

/// A message of so many words behind a key's block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn padded(words: &[__m512i]) -> [__m512i; 16] {
    let mut block = [_mm512_setzero_si512(); 16];
    block[..words.len()].copy_from_slice(words);
    block[words.len()] = same(0x8000_0000);
    block[15] = same(bits(4 * words.len()));
    block
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn words(rows: &Rows) -> [__m512i; 16] {
    words32(rows.each_ref())
}

/// Two states after each other in each row.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn rows(low: &State, high: &State) -> Rows {
    let mut both = [_mm512_setzero_si512(); 16];
    both[..8].copy_from_slice(low);
    both[8..].copy_from_slice(high);
    rows32(both)
}

/// The same as bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn byte_rows(low: &State, high: &State) -> Rows {
    rows(&swapped(*low), &swapped(*high))
}

/// What [`first_keys`] gives for each lane.
pub(super) struct First {
    /// The pseudorandom key's two states, as words.
    pub(super) key: Rows,
    /// Stream key ‖ MAC key ‖ whole MAC.
    pub(super) first: Rows,
}

/// `secrets` has 32 bytes in each row.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn first_keys(
    salt: &HmacKey,
    secrets: &Rows,
    routing: [&[u8; ROUTING_LEN]; LANES],
) -> First {
    let secrets = swapped(words(secrets));
    let key = Key::same(salt).extract(&secrets[..8]);
    let first = HOP.first(&key);
    let mac_key = Key::new(&first[4..8]);
    let mut state = mac_key.inner;
    let mut last = [[0; 64]; LANES];
    let (mut blocks, mut rest): ([&[Row]; LANES], _) = ([&[]; LANES], [[].as_slice(); LANES]);
    for lane in 0..LANES {
        (blocks[lane], rest[lane]) = routing[lane].as_chunks();
        let row = &mut last[lane];
        row[..REST].copy_from_slice(rest[lane]);
        row[REST] = 0x80;
        row[60..].copy_from_slice(&bits(ROUTING_LEN).to_be_bytes());
    }
    for i in 0..ROUTING_LEN / 64 {
        let mut here = last.each_ref();
        for (here, blocks) in here.iter_mut().zip(blocks) {
            *here = &blocks[i];
        }
        state = compress(&state, &swapped(words32(here)));
    }
    state = compress(&state, &swapped(words(&last)));
    let mac = mac_key.finish(&state);
    First {
        key: rows(&key.inner, &key.outer),
        first: byte_rows(&first, &mac),
    }
}

/// Bytes of routing information behind its whole blocks.
const REST: usize = ROUTING_LEN % 64;
const _: () = assert!(REST + 9 <= 64);

/// All of K but its first 32 bytes, 64 bytes at a time. `first` has those in each row, `key` is as [`First`] has it.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn all_keys(key: &Rows, first: &Rows) -> [Rows; HOP_MORE / 2] {
    let (key, first) = (words(key), swapped(words(first)));
    let key = Key {
        inner: half(&key, 0),
        outer: half(&key, 8),
    };
    let mut previous = half(&first, 0);
    let mut out = [[[0; 64]; LANES]; HOP_MORE / 2];
    for (i, out) in out.iter_mut().enumerate() {
        let low = HOP.next(&key, &previous, 2 * i);
        previous = HOP.next(&key, &low, 2 * i + 1);
        *out = byte_rows(&low, &previous);
    }
    out
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn half(words: &[__m512i; 16], at: usize) -> State {
    let mut out = [_mm512_setzero_si512(); 8];
    out.copy_from_slice(&words[at..at + 8]);
    out
}

/// The payload's keys, 64 bytes at a time. `seeds` has 16 bytes in each row.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn payload_keys(salt: &HmacKey, seeds: &Rows) -> [Rows; PAYLOAD_MORE.div_ceil(2)] {
    let seeds = swapped(words(seeds));
    let key = Key::same(salt).extract(&seeds[..4]);
    let mut low = PAYLOAD.first(&key);
    let mut out = [[[0; 64]; LANES]; PAYLOAD_MORE.div_ceil(2)];
    for (i, out) in out.iter_mut().enumerate() {
        let high = PAYLOAD.next(&key, &low, 2 * i);
        *out = byte_rows(&low, &high);
        if 2 * i + 1 < PAYLOAD_MORE {
            low = PAYLOAD.next(&key, &high, 2 * i + 1);
        }
    }
    out
}

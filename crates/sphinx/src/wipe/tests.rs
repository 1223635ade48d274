//! What is left on the stack.

#![allow(
    unsafe_code,
    reason = "the dead part of the stack can be read by no safe means"
)]

use super::*;
use crate::avx512::Avx512;
use crate::keys::FirstKeys;
use crate::lioness::PayloadKeys;
use crate::sphinx::SphinxSecret;
use crate::unwrap::{BATCH_MAX, unwrap_chunk};
use crate::{Hop, PacketFormat, Sphinx};
use std::time::Duration;
use wire::frame::PacketBytes;
use wire::geometry::PLAINTEXT_LEN;
use wire::ids::{EpochHint, NextHop, NodeId};
use wire::rng::KeyRng;

#[test]
fn nothing_is_left() {
    let mut words = [7u32; 9];
    wipe(&mut words, 0);
    assert_eq!(words, [0; 9]);
}

/// More than anything here uses.
const DEEP: usize = 96 << 10;
const MARK: u8 = 0xa5;

/// Marks the stack below the caller, so that what is used afterwards can be told.
#[inline(never)]
fn mark_stack() {
    let area = [MARK; DEEP + 4096];
    optimization_barrier(&area);
}

/// The stack below the caller, the deepest byte first.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
fn dead_stack() -> Vec<u8> {
    let mut out = vec![0u8; DEEP];
    // SAFETY: copies DEEP bytes that end at the stack pointer to `out`, which has as many. They were written by `mark_stack`
    // or by what ran since, so the pages are there, and an address below the stack pointer belongs to no Rust
    // object. The direction flag is clear by the calling convention.
    unsafe {
        std::arch::asm!(
            "lea rsi, [rsp - {deep}]",
            "rep movsb",
            deep = const DEEP,
            out("rsi") _,
            inout("rdi") out.as_mut_ptr() => _,
            inout("rcx") DEEP => _,
            options(nostack),
        );
    }
    out
}

/// A batch of packets for one node, and every secret that the node comes to know with them.
struct Load {
    secret: SphinxSecret,
    packets: Vec<PacketBytes>,
    secrets: Vec<Vec<u8>>,
}

impl Load {
    fn new(size: usize) -> Self {
        let mut rng = KeyRng::from_seed([7; 32]);
        let hop = |rng: &mut KeyRng| {
            let secret = Sphinx::generate(rng);
            let hop = Hop {
                address: NextHop::Node {
                    id: NodeId([1; 28]),
                    epoch: EpochHint(1),
                },
                key: Sphinx::public(&secret),
                delay: Duration::ZERO,
            };
            (secret, hop)
        };
        let ((secret, first), (_, second)) = (hop(&mut rng), hop(&mut rng));
        let plaintext = Box::new([1; PLAINTEXT_LEN]);
        let route = [first, second];
        let packets: Vec<_> = (0..size)
            .map(|_| Sphinx::build(&route, &plaintext, &mut rng).unwrap())
            .collect();
        let mut secrets = vec![secret.0.to_vec()];
        for packet in &packets {
            let shared = x25519_dalek::x25519(*secret.0, *packet.first_chunk().unwrap());
            let keys = FirstKeys::of(&shared).finish();
            secrets.push(shared.to_vec());
            // Not the replay tag at the end, which is given out.
            secrets.push(keys.0[..256].to_vec());
            secrets.push(PayloadKeys::of(keys.seed()).0.to_vec());
        }
        Self {
            secret,
            packets,
            secrets,
        }
    }

    fn run(&self, wide: Option<Avx512>) {
        let batch: Vec<_> = self.packets.iter().map(|p| (&self.secret, p)).collect();
        let results = unwrap_chunk(wide, &batch, &mut |_, _| Ok(()));
        assert!(results.iter().all(Result::is_ok));
    }

    /// How many of the secrets' aligned words of 8 bytes are found anywhere.
    fn found(&self, stack: &[u8]) -> usize {
        let words = self
            .secrets
            .iter()
            .flat_map(|secret| secret.as_chunks::<8>().0);
        let words: std::collections::BTreeSet<_> = words.collect();
        stack
            .windows(8)
            .filter(|w| words.contains(&<[u8; 8]>::try_from(*w).unwrap()))
            .count()
    }
}

fn backends() -> Vec<Option<Avx512>> {
    match Avx512::detect() {
        None => {
            println!("SKIPPED: the stack of the AVX-512 kernels, which this processor cannot run");
            vec![None]
        }
        wide => vec![None, wide],
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn no_secret_is_left_on_the_stack() {
    let mut without = 0;
    for (wide, size) in backends()
        .into_iter()
        .flat_map(|wide| [1, 2, 9, BATCH_MAX].map(|n| (wide, n)))
    {
        let load = Load::new(size);
        let name = if wide.is_some() { "avx512" } else { "aws-lc" };
        mark_stack();
        load.run(wide);
        let left = dead_stack();
        without += load.found(&left);
        let depth = left.len() - left.iter().position(|byte| *byte != MARK).unwrap();
        println!(
            "{name}, {size} packets: {depth} bytes of stack, {} words left",
            load.found(&left)
        );
        assert!(
            depth + 1024 < STACK_LEN,
            "{name}, {size} packets use {depth} bytes of stack"
        );
        mark_stack();
        then_wipe_stack(|| load.run(wide));
        assert_eq!(load.found(&dead_stack()), 0, "{name}, {size} packets");
    }
    // The test's own test: without the wiping there is something to be found.
    assert!(without > 0);
}

//! Prints what a directory costs: its size, the time to verify it, the memory of a client that holds it, and
//! bytes per client and day. `cargo run --release -p directory --example directory-figures`.
//!
//! A share of SHA-256 over the same bytes stands beside each time, so that machines compare.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::expect_used,
    reason = "an example that measures"
)]

use directory::testing::{self, authority_secret, nobodys_key};
use directory::{DOCUMENT_MAX, Network, NetworkAuthority, Parameters, SignedDirectory, quorum};
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};
use wire::frame::PART_LEN;
use wire::geometry::FRAME_LEN;
use wire::ids::Epoch;

const EPOCH: Epoch = Epoch(12);
const AUTHORITIES: usize = 7;
const COPIES: usize = 16;
/// A network's epochs, `docs/spec/directory.md` §5.
const EPOCHS_A_DAY: usize = 24;

fn main() {
    println!(
        "nodes  document B  B/node  frames  verify ms  / SHA-256  held kB  MB per client and day"
    );
    for nodes in [100, 1_000, 8_000, 10_000] {
        figures(nodes);
    }
}

fn network() -> Network {
    let authorities = (0..AUTHORITIES).map(|i| NetworkAuthority {
        identity: authority_secret(7, i).public(),
        address: ([127, 0, 0, 1], 7800 + i as u16).into(),
    });
    let (id, schedule) = (testing::network_id(7), testing::schedule());
    Network::new(
        id,
        schedule,
        authorities.collect(),
        quorum(AUTHORITIES),
        Vec::new(),
    )
    .expect("a possible network")
}

/// Nine mixes to each gateway.
fn figures(nodes: usize) {
    let per_layer = nodes * 3 / 10;
    let gateways = nodes - 3 * per_layer;
    let made = std::panic::catch_unwind(|| {
        testing::directory(
            7,
            per_layer,
            gateways,
            EPOCH,
            Parameters::wide(),
            nobodys_key,
        )
        .0
    });
    let Ok(directory) = made else {
        return println!("{nodes:5}  more than a document's {DOCUMENT_MAX} B: refused (TooLarge)");
    };
    let mut signed = SignedDirectory::sign(&directory, 0, &authority_secret(7, 0));
    for i in 1..quorum(AUTHORITIES) {
        let other = SignedDirectory::sign(&directory, i, &authority_secret(7, usize::from(i)));
        assert!(signed.merge(&other));
    }
    drop(directory);
    let document = signed.encode();
    drop(signed);
    let network = network();
    // As a client does: from bytes to a directory to go by.
    let verify = || {
        let signed = SignedDirectory::decode(&document).expect("just encoded");
        signed.verify(&network).expect("just signed")
    };
    // The growth of the resident set over some copies (Linux).
    let before = resident();
    let held: Vec<_> = (0..COPIES).map(|_| verify()).collect();
    let memory = resident().saturating_sub(before) / COPIES;
    drop(held);
    let time = median(|| drop(verify()));
    let hash = median(|| {
        std::hint::black_box(Sha256::digest(&document));
    });
    let frames = document.len().div_ceil(PART_LEN);
    println!(
        "{nodes:5}  {:10}  {:6}  {frames:6}  {:9.2}  {:9.0}  {:7}  {:.2}",
        document.len(),
        document.len() / nodes,
        time.as_secs_f64() * 1e3,
        time.as_secs_f64() / hash.as_secs_f64(),
        memory / 1000,
        (frames * FRAME_LEN * EPOCHS_A_DAY) as f64 / 1e6,
    );
}

/// Bytes of memory of this process.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}

fn median(mut of: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..21)
        .map(|_| {
            let begin = Instant::now();
            of();
            begin.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[10]
}

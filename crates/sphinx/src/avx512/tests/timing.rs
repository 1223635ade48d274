//! Do the kernels take equal time for all secrets? As dudect asks it (Reparaz, Balasch, Verbauwhede 2017): measure many
//! times, at random with one fixed secret or with a fresh one, and compare the two means by Welch's t.
//!
//! |t| is taken over all measurements and over the fastest 90, 75, 50 and 25 percent, because what else the machine does
//! makes some of them slow. The limit is 4.5: where time depends on nothing, one t exceeds it with probability
//! 7 · 10⁻⁶, so one of the 20 below with at most 1.4 · 10⁻⁴. A kernel fails if it exceeds the limit twice, in independent
//! runs (10⁻⁹); that it must is what `leaks_a_mask` shows.

#![allow(
    unsafe_code,
    reason = "calls of functions for processors that have more than every x86-64 has; the token is asked first"
)]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it measures time"
)]

use super::detect;
use super::leaky::leaks_a_mask;
use crate::avx512::x25519::{Octet, x25519_8, x25519_16};
use crate::keys::FirstKeys;
use crate::layout::ROUTING_LEN;
use crate::lioness::{Payload, PayloadKeys};
use crate::wipe::Wiped;
use std::hint::black_box;
use std::time::Instant;
use wire::rng::{KeyRng, Rng};

const LIMIT: f64 = 4.5;
const MEASUREMENTS: usize = 60_000;
const LANES: usize = 16;

/// Secrets for all lanes.
type Secrets = [[u8; 32]; LANES];
type Kernel<'a> = &'a mut dyn FnMut(&Secrets);

fn welch(a: &[f64], b: &[f64]) -> f64 {
    let moments = |of: &[f64]| {
        let n = of.len() as f64;
        let mean = of.iter().sum::<f64>() / n;
        let variance = of.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (mean, variance / n)
    };
    let ((mean_a, a), (mean_b, b)) = (moments(a), moments(b));
    (mean_a - mean_b) / (a + b).sqrt()
}

/// The greatest |t| of all crops.
fn worst(mut measured: Vec<(f64, bool)>) -> f64 {
    measured.sort_by(|a, b| a.0.total_cmp(&b.0));
    let t = |percent: usize| {
        let kept = &measured[..measured.len() * percent / 100];
        let of = |class| -> Vec<f64> {
            let each = kept.iter().filter(|(_, fixed)| *fixed == class);
            each.map(|(nanos, _)| *nanos).collect()
        };
        welch(&of(true), &of(false)).abs()
    };
    [100, 90, 75, 50, 25].map(t).into_iter().fold(0.0, f64::max)
}

/// Both classes take the same way to the kernel: fresh secrets are drawn each time, and then one of two is copied.
fn measure(rng: &mut KeyRng, mut kernel: impl FnMut(&Secrets)) -> f64 {
    // Bit 3 is set, which is what `leaks_a_mask` looks at.
    let fixed: Secrets = [[0x5a; 32]; LANES];
    let mut measured = Vec::with_capacity(MEASUREMENTS);
    for _ in 0..MEASUREMENTS {
        let fresh: Secrets = std::array::from_fn(|_| rng.bytes());
        let is_fixed = rng.next_u64() & 1 == 1;
        let secrets = black_box([&fresh, &fixed])[usize::from(is_fixed)].to_owned();
        let start = Instant::now();
        kernel(black_box(&secrets));
        measured.push((start.elapsed().as_nanos() as f64, is_fixed));
    }
    // The first ones warm everything up.
    worst(measured.split_off(MEASUREMENTS / 20))
}

fn octet(secrets: &[[u8; 32]]) -> Octet {
    let word = |word: usize, lane: usize| {
        let bytes: &[[u8; 8]] = secrets[lane].as_chunks().0;
        u64::from_le_bytes(bytes[word])
    };
    std::array::from_fn(|w| std::array::from_fn(|lane| word(w, lane)))
}

#[test]
#[ignore = "a minute or two, and wants a machine that does not change its mind"]
fn time_does_not_depend_on_secrets() {
    let Some(token) = detect() else { return };
    let mut rng = KeyRng::from_seed([1; 32]);
    let points = [(); 2].map(|()| octet(&std::array::from_fn::<_, 8, _>(|_| rng.bytes())));
    let routing: [[u8; ROUTING_LEN]; LANES] = std::array::from_fn(|_| rng.bytes());
    let routing: Vec<_> = routing.iter().collect();
    let mut payloads: Vec<Box<Payload>> = (0..LANES).map(|_| Box::new(rng.bytes())).collect();

    let leaks = measure(&mut rng, |secrets| {
        let scalars = octet(&secrets[..8]);
        // SAFETY: the token is there.
        black_box(unsafe { leaks_a_mask(&scalars, &points[0]) });
    });
    println!("a kernel that leaks: |t| = {leaks:.1}");
    assert!(leaks > LIMIT, "a kernel that leaks is not found");

    let mut x25519 = |secrets: &Secrets| {
        let scalars = octet(&secrets[..8]);
        // SAFETY: the token is there.
        black_box(unsafe { x25519_8(&scalars, &points[0]) });
    };
    let mut two = |secrets: &Secrets| {
        let scalars = [octet(&secrets[..8]), octet(&secrets[8..])];
        // SAFETY: the token is there.
        black_box(unsafe { x25519_16(&scalars, &points) });
    };
    let mut keys = |secrets: &Secrets| {
        let firsts = token.first_keys(&secrets.map(Wiped), &routing);
        let firsts: Vec<&FirstKeys> = firsts.iter().map(|(first, _)| first).collect();
        black_box(token.all_keys(&firsts));
    };
    let mut payload = |secrets: &Secrets| {
        let seeds = secrets.map(|secret| *secret.first_chunk().unwrap());
        let keys: Vec<PayloadKeys> = token.payload_keys(&seeds);
        let mut borrowed: Vec<&mut Payload> = payloads.iter_mut().map(|p| &mut **p).collect();
        token.decrypt(&keys, &mut borrowed);
    };
    let kernels: [(&str, Kernel<'_>); 4] = [
        ("x25519, 8 lanes", &mut x25519),
        ("x25519, 16 lanes", &mut two),
        ("keys and MAC", &mut keys),
        ("payload", &mut payload),
    ];
    for (name, kernel) in kernels {
        let mut t = measure(&mut rng, &mut *kernel);
        println!("{name}: |t| = {t:.1}");
        if t > LIMIT {
            t = measure(&mut rng, &mut *kernel);
            println!("{name}, once more: |t| = {t:.1}");
        }
        assert!(t <= LIMIT, "{name}: time depends on secrets, |t| = {t:.1}");
    }
}

//! Keys, MACs and payloads beside those made one by one by libraries, in batches of every size.

use super::detect;
use crate::keys::FirstKeys;
use crate::layout::ROUTING_LEN;
use crate::lioness::{self, Payload, PayloadKeys};
use crate::wipe::Wiped;
use wire::rng::KeyRng;

/// More than two batches of the widest kernel.
const SIZES: std::ops::RangeInclusive<usize> = 0..=35;

#[test]
fn keys_and_macs_in_every_lane() {
    let Some(token) = detect() else { return };
    let mut rng = KeyRng::from_seed([1; 32]);
    for size in SIZES.chain([16; 20]) {
        let secrets: Vec<_> = (0..size).map(|_| Wiped(rng.bytes::<32>())).collect();
        let routing: Vec<_> = (0..size).map(|_| rng.bytes::<ROUTING_LEN>()).collect();
        let borrowed: Vec<_> = routing.iter().collect();
        let (firsts, macs): (Vec<_>, Vec<_>) =
            token.first_keys(&secrets, &borrowed).into_iter().unzip();
        let all = token.all_keys(&firsts.iter().collect::<Vec<_>>());
        assert!(firsts.len() == size && all.len() == size);
        for lane in 0..size {
            let expected = FirstKeys::of(&secrets[lane]);
            assert_eq!(*firsts[lane].first, *expected.first, "{lane} of {size}");
            assert_eq!(
                firsts[lane].pseudorandom_key.inner,
                expected.pseudorandom_key.inner
            );
            assert_eq!(
                firsts[lane].pseudorandom_key.outer,
                expected.pseudorandom_key.outer
            );
            assert_eq!(macs[lane], expected.mac(&routing[lane]), "{lane} of {size}");
            assert_eq!(*all[lane].0, *expected.finish().0, "{lane} of {size}");
        }
    }
}

#[test]
fn payload_keys_in_every_lane() {
    let Some(token) = detect() else { return };
    let mut rng = KeyRng::from_seed([2; 32]);
    for size in SIZES {
        let seeds: Vec<_> = (0..size).map(|_| rng.bytes()).collect();
        for (lane, keys) in token.payload_keys(&seeds).iter().enumerate() {
            assert_eq!(
                *keys.0,
                *PayloadKeys::of(&seeds[lane]).0,
                "{lane} of {size}"
            );
        }
    }
}

#[test]
fn payloads_in_every_lane() {
    let Some(token) = detect() else { return };
    let mut rng = KeyRng::from_seed([3; 32]);
    for size in SIZES {
        let keys: Vec<_> = (0..size).map(|_| PayloadKeys::of(&rng.bytes())).collect();
        let mut ours: Vec<Box<Payload>> = (0..size).map(|_| Box::new(rng.bytes())).collect();
        let mut theirs = ours.clone();
        let mut borrowed: Vec<&mut Payload> = ours.iter_mut().map(|p| &mut **p).collect();
        token.decrypt(&keys, &mut borrowed);
        for (keys, payload) in keys.iter().zip(&mut theirs) {
            keys.decrypt(payload);
        }
        for lane in 0..size {
            assert!(ours[lane] == theirs[lane], "{lane} of {size}");
        }
        let mut many: Vec<&mut Payload> = theirs.iter_mut().map(|p| &mut **p).collect();
        for (keys, payload) in keys.iter().zip(&mut many) {
            keys.encrypt(payload);
        }
        lioness::decrypt_many(&keys, &mut many);
        assert!(ours == theirs);
    }
}

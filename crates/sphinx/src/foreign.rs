//! Calls into aws-lc: X25519, ChaCha20 and AES. The only file that names `aws_lc_sys`.
//!
//! X25519 there is s2n-bignum's assembly, proven correct and free of secret-dependent timing. It is
//! called directly because `aws_lc_rs::agreement` refuses an all-zero secret (ours is refused later, for its
//! own reason) and builds a key object for each scalar.

#![allow(
    unsafe_code,
    reason = "C functions on buffers whose lengths are in their types; argued at each call"
)]

use crate::wipe::{Wiped, wipe};
use aws_lc_sys::AES_KEY;
use std::sync::Once;

/// A 32-byte secret that is wiped on drop.
pub(crate) type Secret32 = Wiped<32>;

/// X25519 of RFC 7748, clamping included. All zero where `point` is of low order.
pub(crate) fn x25519(scalar: &[u8; 32], point: &[u8; 32]) -> Secret32 {
    init();
    let mut out = Wiped::new();
    // SAFETY: X25519 reads 32 bytes at each of its last two arguments and writes 32 at the first; the
    // three are 32-byte arrays, and the one written to is borrowed by nobody else. It keeps no pointer.
    // What it returns says only whether `out` is all zero, which it writes all the same.
    unsafe { aws_lc_sys::X25519(out.as_mut_ptr(), scalar.as_ptr(), point.as_ptr()) };
    out
}

/// X25519 with the base point, which is faster by tables.
pub(crate) fn x25519_base(scalar: &[u8; 32]) -> [u8; 32] {
    init();
    let mut out = [0; 32];
    // SAFETY: reads 32 bytes at its second argument and writes 32 at its first; both are 32-byte
    // arrays, and the one written to is borrowed by nobody else. It keeps no pointer.
    unsafe { aws_lc_sys::X25519_public_from_private(out.as_mut_ptr(), scalar.as_ptr()) };
    out
}

/// XORs `data` with ChaCha20 of RFC 8439, nonce zero, counter from 0.
pub(crate) fn chacha20_xor(key: &[u8; 32], data: &mut [u8]) {
    init();
    let nonce = [0u8; 12];
    let at = data.as_mut_ptr();
    // SAFETY: reads 32 bytes of key and 12 of nonce, and reads and writes `data.len()` bytes at
    // `at`, which `data` borrows alone. Input and output may be the same buffer by its contract. It
    // keeps no pointer.
    unsafe { aws_lc_sys::CRYPTO_chacha_20(at, at, data.len(), key.as_ptr(), nonce.as_ptr(), 0) };
}

/// XORs `data` with AES-128 in counter mode, from counter 0.
pub(crate) fn aes128_ctr_xor(key: &[u8; 16], data: &mut [u8]) {
    init();
    let mut schedule = AES_KEY {
        rd_key: [0; 60],
        rounds: 0,
    };
    let (mut counter, mut block, mut used) = ([0u8; 16], Wiped::<16>::new(), 0);
    let at = data.as_mut_ptr();
    // SAFETY: the first call reads 16 bytes of key and writes `schedule`; 128 is a length that it takes. The second reads
    // that and reads and writes 16 bytes at `counter` and at `block`, a number at `used`, and `data.len()` bytes
    // at `at`, all of which are borrowed by nobody else. Input and output may be the same buffer by its contract. Neither
    // keeps a pointer.
    unsafe {
        aws_lc_sys::AES_set_encrypt_key(key.as_ptr(), 128, &raw mut schedule);
        let (counter, block) = (counter.as_mut_ptr(), block.as_mut_ptr());
        aws_lc_sys::AES_ctr128_encrypt(
            at,
            at,
            data.len(),
            &raw const schedule,
            counter,
            block,
            &raw mut used,
        );
    }
    wipe(&mut schedule.rd_key, 0);
}

/// aws-lc looks at the processor once before anything else.
fn init() {
    static INIT: Once = Once::new();
    // SAFETY: takes no argument and may be called at any time and from any thread.
    INIT.call_once(|| unsafe { aws_lc_sys::CRYPTO_library_init() });
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::rng::KeyRng;

    #[test]
    fn x25519_is_that_of_dalek() {
        let mut rng = KeyRng::from_seed([1; 32]);
        for _ in 0..500 {
            let (scalar, point) = (rng.bytes(), rng.bytes());
            assert_eq!(
                *x25519(&scalar, &point),
                x25519_dalek::x25519(scalar, point)
            );
            let base = x25519_dalek::x25519(scalar, x25519_dalek::X25519_BASEPOINT_BYTES);
            assert_eq!(x25519_base(&scalar), base);
        }
    }

    #[test]
    fn a_point_of_low_order_gives_zero_and_no_error() {
        assert_eq!(*x25519(&[7; 32], &[0; 32]), [0; 32]);
    }

    #[test]
    fn chacha20_is_that_of_rfc_8439_at_any_length() {
        use chacha20::cipher::{KeyIvInit, StreamCipher};
        let mut rng = KeyRng::from_seed([2; 32]);
        let key = rng.bytes();
        for len in [0, 1, 63, 64, 65, 511, 2450] {
            let (mut ours, mut theirs) = (vec![3; len], vec![3; len]);
            chacha20_xor(&key, &mut ours);
            chacha20::ChaCha20::new(&key.into(), &[0; 12].into()).apply_keystream(&mut theirs);
            assert_eq!(ours, theirs, "{len}");
        }
    }

    #[test]
    fn aes_is_that_of_the_aes_crate_at_any_length() {
        use aes_gcm::aes::Aes128;
        use aes_gcm::aes::cipher::{BlockCipherEncrypt, KeyInit};
        let mut rng = KeyRng::from_seed([3; 32]);
        for len in [0, 1, 15, 16, 17, 300, 360] {
            let key = rng.bytes::<16>();
            let mut ours = vec![0; len];
            aes128_ctr_xor(&key, &mut ours);
            let cipher = Aes128::new(&key.into());
            for (counter, ours) in (0u128..).zip(ours.chunks(16)) {
                let mut block = counter.to_be_bytes().into();
                cipher.encrypt_block(&mut block);
                assert_eq!(*ours, block[..ours.len()], "{len}");
            }
        }
    }
}

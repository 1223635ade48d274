//! Keys from a master key, and keyed hashes: HMAC-SHA-256 with a label for each purpose.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use wire::aead::SealKey;
use zeroize::Zeroizing;

/// The key for one purpose.
pub(crate) fn derive(master: &SealKey, label: &str) -> SealKey {
    let bytes = Zeroizing::new(mac(master, &[label.as_bytes()]));
    SealKey::from_bytes(*bytes)
}

/// HMAC-SHA-256 over the parts, one after the other; callers make the split unambiguous.
pub(crate) fn mac(key: &SealKey, parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("HMAC takes any key length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

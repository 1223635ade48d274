//! What each fuzz target does with its bytes. A finding is a panic.
//!
//! Plain functions, so that `tests/replay.rs` runs the committed corpora with any compiler;
//! `fuzz_targets/` hands them to libFuzzer. Texts of fixed length are the input with zeros behind it,
//! so that short inputs reach everything.

mod backends;
mod directories;
mod messages;
mod packets;
mod pieces;
#[path = "../../crates/sphinx/tests/packet/reference.rs"]
#[allow(missing_docs, unreachable_pub)]
mod reference;

pub use backends::backends;
pub use directories::{directory_chain, signed_body, vote, vote_seeds};
pub use messages::{cell, contact_card, sealed};
pub use packets::unwrap;
pub use pieces::pieces;

use directory::{Directory, SignedDescriptor, SignedDirectory, SignedReport, testing};
use wire::frame::Frame;
use wire::geometry::{FRAME_LEN, PLAINTEXT_LEN, SURB_LEN};
use wire::request::{Envelope, Reply};

/// A target's name and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets by name.
pub const TARGETS: [Target; 12] = [
    ("frame", frame),
    ("request", request),
    ("reply", reply),
    ("contact_card", contact_card),
    ("cell", cell),
    ("pieces", pieces),
    ("unwrap", unwrap),
    ("backends", backends),
    ("directory", directory),
    ("descriptor", descriptor),
    ("directory_chain", directory_chain),
    ("vote", vote),
];

/// `data` at the beginning of `N` bytes; what is too long for them is cut.
pub(crate) fn padded<const N: usize>(data: &[u8]) -> Box<[u8; N]> {
    let mut out = vec![0; N];
    let len = data.len().min(N);
    out[..len].copy_from_slice(&data[..len]);
    wire::frame::boxed(out)
}

/// A frame that can be read has one encoding.
pub fn frame(data: &[u8]) {
    let bytes = padded::<FRAME_LEN>(data);
    if let Ok(frame) = Frame::decode(&bytes) {
        assert!(frame.encode() == bytes);
    }
}

/// A request that can be read has one encoding; one that cannot keeps its reply block. The input
/// stands behind the reply block.
pub fn request(data: &[u8]) {
    let mut bytes = padded::<PLAINTEXT_LEN>(&[]);
    let body = padded::<{ PLAINTEXT_LEN - SURB_LEN }>(data);
    bytes[..SURB_LEN].fill(0x51);
    bytes[SURB_LEN..].copy_from_slice(&body[..]);
    match Envelope::decode(&bytes) {
        Ok(envelope) => assert!(envelope.encode() == bytes),
        Err(unreadable) => assert!(unreadable.surb[..] == bytes[..SURB_LEN]),
    }
}

/// A reply that can be read has one encoding.
pub fn reply(data: &[u8]) {
    let bytes = padded::<PLAINTEXT_LEN>(data);
    if let Ok(reply) = Reply::decode(&bytes) {
        assert!(reply.encode() == bytes);
    }
}

/// A document that can be read has one encoding; a body that can be read is one after it was
/// written anew. The first byte chooses.
pub fn directory(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    if choice & 1 == 0 {
        if let Ok(signed) = SignedDirectory::decode(data) {
            assert!(signed.encode() == data);
        }
    } else if let Ok(directory) = Directory::decode_body(data) {
        let body = directory.encode_body();
        let again = Directory::decode_body(&body).expect("what was written can be read");
        assert!(again.encode_body() == body);
    }
}

/// A descriptor, or a report on loops, that can be read has one encoding, and can be judged.
pub fn descriptor(data: &[u8]) {
    if let Ok(signed) = SignedReport::decode(data) {
        assert!(signed.encode() == data);
        directories::report(&signed);
    }
    if let Ok(signed) = SignedDescriptor::decode(data) {
        assert!(signed.encode() == data);
        let _ = signed.verify(&testing::network_id(1));
        let _ = signed.descriptor.check();
    }
}

//! By what packets on their way are known again.

#[expect(
    clippy::disallowed_types,
    reason = "never iterated, so its order shows nowhere; hashed without a seed"
)]
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// So many bytes of a header tell packets apart.
const MARK_LEN: usize = 32;

/// The number of the echo that each packet on its way belongs to.
#[derive(Default)]
pub(super) struct Marks {
    #[expect(clippy::disallowed_types, reason = "see above")]
    numbers: HashMap<[u8; MARK_LEN], u64, BuildHasherDefault<FirstWord>>,
}

impl Marks {
    /// A packet that begins so is on its way.
    pub(super) fn insert(&mut self, packet: &[u8], number: u64) {
        if let Some(mark) = packet.first_chunk() {
            self.numbers.insert(*mark, number);
        }
    }

    /// It has left again.
    pub(super) fn remove(&mut self, packet: &[u8]) -> Option<u64> {
        self.numbers.remove(packet.first_chunk::<MARK_LEN>()?)
    }
}

/// A header begins with bytes that are as good as random, in both packet formats.
#[derive(Default)]
struct FirstWord(u64);

impl Hasher for FirstWord {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(word) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

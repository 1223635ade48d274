//! Buffers of packets that are used again, so that a packet on its way costs no allocation.
//!
//! One store for the process. What it holds is sealed packets, which every node of a route has seen:
//! no secrets. Whoever takes many or gives many back does it in a [`Batch`], with one lock for all.

use std::sync::{Mutex, PoisonError};
use wire::frame::PacketBytes;
use wire::geometry::PACKET_LEN;

/// Most buffers that lie unused, 2.8 KB each; more are freed.
const UNUSED_MAX: usize = 4096;
/// How many change hands at once.
const BATCH: usize = 32;

static UNUSED: Mutex<Vec<PacketBytes>> = Mutex::new(Vec::new());

/// A few buffers in the hand of one thread. Dropped, it gives them back.
#[derive(Default)]
pub struct Batch(Vec<PacketBytes>);

impl Batch {
    /// A buffer with a copy of `packet`.
    pub fn copy(&mut self, packet: &[u8; PACKET_LEN]) -> PacketBytes {
        if self.0.is_empty() {
            let mut unused = UNUSED.lock().unwrap_or_else(PoisonError::into_inner);
            let from = unused.len().saturating_sub(BATCH);
            self.0.extend(unused.drain(from..));
        }
        match self.0.pop() {
            Some(mut buffer) => {
                buffer.copy_from_slice(packet);
                buffer
            }
            None => Box::new(*packet),
        }
    }

    /// A buffer that is not needed any more.
    pub fn give_back(&mut self, buffer: PacketBytes) {
        self.0.push(buffer);
        if self.0.len() >= 2 * BATCH {
            self.put(BATCH);
        }
    }

    /// All but `keep` go to the store.
    fn put(&mut self, keep: usize) {
        let mut unused = UNUSED.lock().unwrap_or_else(PoisonError::into_inner);
        let room = UNUSED_MAX.saturating_sub(unused.len());
        let end = self.0.len().min(keep + room);
        unused.extend(self.0.drain(keep.min(end)..end));
        drop(unused);
        // Beyond the store's limit.
        self.0.truncate(keep);
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            self.put(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_other_bytes_in_it() {
        let mut batch = Batch::default();
        let first = batch.copy(&[1; PACKET_LEN]);
        let at = first.as_ptr();
        batch.give_back(first);
        let second = batch.copy(&[2; PACKET_LEN]);
        assert_eq!(second.as_ptr(), at);
        assert_eq!(*second, [2; PACKET_LEN]);
    }

    #[test]
    fn what_lies_unused_is_limited() {
        let mut batch = Batch::default();
        for _ in 0..2 * UNUSED_MAX {
            batch.give_back(Box::new([0; PACKET_LEN]));
        }
        drop(batch);
        let unused = UNUSED.lock().unwrap();
        assert!(unused.len() <= UNUSED_MAX);
    }
}

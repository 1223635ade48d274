//! Secrets that are gone when they are dropped.
//!
//! `zeroize`'s own types write byte by byte, which costs a hop a few microseconds; this is one fill and the barrier of the
//! same crate, which keeps the compiler from leaving the fill out.

use std::ops::{Deref, DerefMut};
use zeroize::optimization_barrier;

/// Overwrites all of `data`.
pub(crate) fn wipe<T: Copy>(data: &mut [T], with: T) {
    data.fill(with);
    optimization_barrier(data);
}

/// Bytes that are wiped on drop. No `Debug`.
#[derive(Clone)]
pub(crate) struct Wiped<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> Wiped<N> {
    /// Zeros, to be filled.
    pub(crate) fn new() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Deref for Wiped<N> {
    type Target = [u8; N];

    fn deref(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> DerefMut for Wiped<N> {
    fn deref_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }
}

impl<const N: usize> Drop for Wiped<N> {
    fn drop(&mut self) {
        wipe(&mut self.0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left() {
        let mut words = [7u32; 9];
        wipe(&mut words, 0);
        assert_eq!(words, [0; 9]);
    }
}

//! Secrets that are gone when they are dropped.
//!
//! `zeroize`'s own types write byte by byte, which costs a hop a few microseconds; this is one fill and the barrier of the
//! same crate, which keeps the compiler from leaving the fill out.

#[cfg(test)]
mod tests;

use std::ops::{Deref, DerefMut};
use zeroize::optimization_barrier;

/// Overwrites all of `data`.
pub(crate) fn wipe<T: Copy>(data: &mut [T], with: T) {
    data.fill(with);
    optimization_barrier(data);
}

/// Stack that [`then_wipe_stack`] overwrites: more than a batch of any backend uses. `.ci/constant-time` adds up what the
/// kernels take; a test looks at what is left.
pub(crate) const STACK_LEN: usize = 32 << 10;

/// Does `work` and overwrites the stack that it used. Lanes that did not fit into registers, the libraries' round keys,
/// and what is left where a secret was moved from are not reached by any drop.
///
/// Registers keep what they hold until other work takes them.
pub(crate) fn then_wipe_stack<T>(work: impl FnOnce() -> T) -> T {
    // Neither may share the caller's frame: the second call's is to lie where the first one's was.
    #[inline(never)]
    fn run<T>(work: impl FnOnce() -> T) -> T {
        work()
    }
    #[inline(never)]
    fn wipe_stack() {
        let area = [0u8; STACK_LEN];
        optimization_barrier(&area);
    }
    let out = run(work);
    wipe_stack();
    out
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

//! Buckets of the windows to come, used again and again.

/// As many buckets as a power of two; a window's bucket is its number modulo that.
pub(super) struct Ring<B> {
    buckets: Vec<B>,
}

impl<B: Default> Ring<B> {
    pub(super) fn new(length: usize) -> Self {
        debug_assert!(length.is_power_of_two());
        Self {
            buckets: (0..length).map(|_| B::default()).collect(),
        }
    }

    fn index(&self, window: u64) -> usize {
        window as usize & (self.buckets.len() - 1)
    }

    /// The bucket of a window, which lies within the ring.
    #[inline]
    pub(super) fn at(&mut self, window: u64) -> &mut B {
        let index = self.index(window);
        &mut self.buckets[index]
    }

    /// The bucket of a window, if the ring reaches so far beyond `now`.
    #[inline]
    pub(super) fn within(&mut self, window: u64, now: u64) -> Option<&mut B> {
        (window - now < self.buckets.len() as u64).then(|| self.at(window))
    }

    /// Whether the ring's first bucket has its turn.
    pub(super) fn begins(&self, window: u64) -> bool {
        self.index(window) == 0
    }

    /// The bucket itself; it is given back empty, with its memory.
    pub(super) fn take(&mut self, window: u64) -> B {
        std::mem::take(self.at(window))
    }

    pub(super) fn give_back(&mut self, window: u64, bucket: B) {
        *self.at(window) = bucket;
    }

    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut B> {
        self.buckets.iter_mut()
    }
}

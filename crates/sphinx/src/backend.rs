//! Who does the arithmetic of a hop. All backends give the same bytes; they differ in speed.

use crate::DiscardReason;
use crate::format::{ReplayTag, Unwrapped};
use crate::sphinx::SphinxSecret;
use crate::unwrap::{BATCH_MAX, unwrap_chunk};
use crate::wipe::then_wipe_stack;
use crate::{avx512, theirs};
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};
use wire::frame::PacketBytes;

/// Who does the arithmetic of a hop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Backend {
    /// The crate `sphinx-packet`, packet by packet. The slowest, and the measure of the others.
    SphinxPacket = 1,
    /// X25519 and ChaCha20 of aws-lc, all else by Rust libraries. Works everywhere.
    AwsLc = 2,
    /// Our own kernels on eight lanes and sixteen; packets that come alone go to [`Backend::AwsLc`].
    Avx512 = 3,
}

/// This processor lacks what the backend needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unavailable(pub Backend);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "this processor lacks what the backend {} needs; \"aws-lc\" works everywhere",
            self.0.name()
        )
    }
}

impl std::error::Error for Unavailable {}

/// No backend has this name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownBackend;

impl fmt::Display for UnknownBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a backend is one of")?;
        Backend::ALL
            .iter()
            .try_for_each(|backend| write!(f, " \"{}\"", backend.name()))
    }
}

impl std::error::Error for UnknownBackend {}

/// What [`Backend::select`] chose; 0 until then.
static SELECTED: AtomicU8 = AtomicU8::new(0);

impl Backend {
    /// All of them, the slowest first.
    pub const ALL: [Self; 3] = [Self::SphinxPacket, Self::AwsLc, Self::Avx512];

    /// As configuration files name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SphinxPacket => "sphinx-packet",
            Self::AwsLc => "aws-lc",
            Self::Avx512 => "avx512",
        }
    }

    /// Whether this processor can.
    pub fn is_available(self) -> bool {
        match self {
            Self::SphinxPacket | Self::AwsLc => true,
            Self::Avx512 => avx512::is_available(),
        }
    }

    /// The fastest that this processor can.
    pub fn best() -> Self {
        if Self::Avx512.is_available() {
            Self::Avx512
        } else {
            Self::AwsLc
        }
    }

    /// The one that [`crate::Sphinx`] uses in this process.
    pub fn current() -> Self {
        let selected = SELECTED.load(Ordering::Relaxed);
        let found = Self::ALL.into_iter().find(|b| *b as u8 == selected);
        found.unwrap_or_else(Self::best)
    }

    /// Makes [`crate::Sphinx`] use this one from now on, in the whole process. What comes out of packets does
    /// not depend on it, so it may be called at any time.
    pub fn select(self) -> Result<(), Unavailable> {
        if !self.is_available() {
            return Err(Unavailable(self));
        }
        SELECTED.store(self as u8, Ordering::Relaxed);
        Ok(())
    }

    /// [`crate::PacketFormat::unwrap_batch_if`] by this one. Where this processor cannot, by the best that it
    /// can.
    pub fn unwrap_batch_if(
        self,
        batch: &[(&SphinxSecret, &PacketBytes)],
        admit: &mut dyn FnMut(usize, ReplayTag) -> Result<(), DiscardReason>,
    ) -> Vec<Result<Unwrapped, DiscardReason>> {
        if self == Self::SphinxPacket {
            let each = batch.iter().enumerate();
            return each
                .map(|(i, (secret, packet))| theirs::unwrap(secret, packet, |tag| admit(i, tag)))
                .collect();
        }
        let wide = if self == Self::Avx512 {
            avx512::Avx512::detect()
        } else {
            None
        };
        let mut results = Vec::with_capacity(batch.len());
        for (chunk, start) in batch.chunks(BATCH_MAX).zip((0..).step_by(BATCH_MAX)) {
            let admit = &mut |i, tag| admit(start + i, tag);
            results.extend(then_wipe_stack(|| unwrap_chunk(wide, chunk, admit)));
        }
        results
    }
}

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(name: &str) -> Result<Self, UnknownBackend> {
        let found = Self::ALL.into_iter().find(|backend| backend.name() == name);
        found.ok_or(UnknownBackend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for backend in Backend::ALL {
            assert_eq!(backend.name().parse(), Ok(backend));
        }
        assert_eq!("avx".parse::<Backend>(), Err(UnknownBackend));
    }
}

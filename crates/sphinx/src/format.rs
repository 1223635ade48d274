//! What every packet format can do.

use crate::DiscardReason;
use std::fmt;
use std::time::Duration;
use wire::frame::PacketBytes;
use wire::geometry::SPHINX_PAYLOAD_LEN;
use wire::ids::{NextHop, SurbId};
use wire::keys::SphinxPublic;
use wire::request::{Plaintext, SurbBytes};
use wire::rng::KeyRng;

/// A packet's payload as it stands at the last hop.
pub type PayloadBytes = Box<[u8; SPHINX_PAYLOAD_LEN]>;

/// Made of the shared secret, so that every encoding of the same α gives the same tag.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReplayTag(pub [u8; 32]);

/// One hop of a route.
#[derive(Clone)]
pub struct Hop {
    /// How the hop before addresses this one. Unused in the first hop of a request, part of the
    /// reply block in the first hop of a reply.
    pub address: NextHop,
    /// This hop's Sphinx key for the epoch in which the packet is expected there.
    pub key: SphinxPublic,
    /// How long the packet waits here on top of δ. Unused in the last hop: it has no delay field.
    pub delay: Duration,
}

/// What came out of a packet at one hop.
#[derive(Clone, PartialEq, Eq)]
pub enum Unwrapped {
    /// Pass it on after δ and `delay`.
    Forward {
        /// For the replay set.
        tag: ReplayTag,
        /// To whom.
        next: NextHop,
        /// Drawn by the sender; any 64-bit number of nanoseconds may stand here.
        delay: Duration,
        /// What to pass on.
        packet: PacketBytes,
    },
    /// A request for this node.
    Request {
        /// For the replay set.
        tag: ReplayTag,
        /// Its plaintext, or `None` when the payload was changed on its way.
        plaintext: Option<Plaintext>,
    },
    /// The reply that belongs to a reply block of this node's own.
    Reply {
        /// For the replay set.
        tag: ReplayTag,
        /// Which reply block.
        surb: SurbId,
        /// To be read with the reply block's recovery material.
        payload: PayloadBytes,
    },
}

impl Unwrapped {
    /// The tag for the replay set.
    pub fn tag(&self) -> ReplayTag {
        match self {
            Self::Forward { tag, .. } | Self::Request { tag, .. } | Self::Reply { tag, .. } => *tag,
        }
    }
}

/// A packet cannot be built as asked. Always the caller's fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BuildError {
    /// A route has 1 to 5 hops.
    RouteLength,
    /// A hop's key gives no shared secret (it is of low order).
    BadKey,
    /// A reply block's id is all zero, which is the mark of a request.
    ZeroSurbId,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RouteLength => write!(f, "a route has 1 to 5 hops"),
            Self::BadKey => write!(f, "a hop's Sphinx key is of low order"),
            Self::ZeroSurbId => write!(f, "a reply block's id must not be all zero"),
        }
    }
}

impl std::error::Error for BuildError {}

/// Building and unwrapping packets. Implementations hold no state and never draw from
/// [`wire::rng::TrafficRng`].
pub trait PacketFormat: 'static {
    /// A node's key for one epoch; wiped on drop.
    type Secret: Send + Sync + 'static;
    /// What the maker of a reply block keeps to read the reply; wiped on drop.
    type Recovery: Send + 'static;

    /// A fresh key.
    fn generate(rng: &mut KeyRng) -> Self::Secret;

    /// The key's public half.
    fn public(secret: &Self::Secret) -> SphinxPublic;

    /// A request over `route`; the last hop reads `plaintext`.
    fn build(
        route: &[Hop],
        plaintext: &Plaintext,
        rng: &mut KeyRng,
    ) -> Result<PacketBytes, BuildError>;

    /// A single-use reply block over `route`, whose last hop is its maker.
    fn build_surb(
        route: &[Hop],
        id: SurbId,
        rng: &mut KeyRng,
    ) -> Result<(SurbBytes, Self::Recovery), BuildError>;

    /// One hop's work on one packet.
    fn unwrap(secret: &Self::Secret, packet: &PacketBytes) -> Result<Unwrapped, DiscardReason>;

    /// The same for several packets, each with its own key, in order.
    fn unwrap_batch(
        batch: &[(&Self::Secret, &PacketBytes)],
    ) -> Vec<Result<Unwrapped, DiscardReason>> {
        Self::unwrap_batch_if(batch, &mut |_, _| Ok(()))
    }

    /// The same, with a question in between: of each packet whose header is right, `admit` is told
    /// its place in the batch and its replay tag, before the greater part of the work. What it
    /// refuses dies of its reason. It is asked at most once for each packet, in order, and packets
    /// of one batch may have one tag.
    fn unwrap_batch_if(
        batch: &[(&Self::Secret, &PacketBytes)],
        admit: &mut dyn FnMut(usize, ReplayTag) -> Result<(), DiscardReason>,
    ) -> Vec<Result<Unwrapped, DiscardReason>> {
        let each = batch.iter().enumerate().map(|(i, (secret, packet))| {
            let unwrapped = Self::unwrap(secret, packet)?;
            admit(i, unwrapped.tag())?;
            Ok(unwrapped)
        });
        each.collect()
    }

    /// The same for one packet that nobody needs afterwards, so that a format may use its memory again.
    fn unwrap_if(
        secret: &Self::Secret,
        packet: PacketBytes,
        admit: &mut dyn FnMut(ReplayTag) -> Result<(), DiscardReason>,
    ) -> Result<Unwrapped, DiscardReason> {
        let mut results = Self::unwrap_batch_if(&[(secret, &packet)], &mut |_, tag| admit(tag));
        results.pop().unwrap_or(Err(DiscardReason::Overloaded))
    }

    /// The reply packet that a reply block makes, and its first hop.
    fn use_surb(
        surb: &SurbBytes,
        plaintext: &Plaintext,
    ) -> Result<(NextHop, PacketBytes), DiscardReason>;

    /// Reads the reply to one's own reply block.
    fn open_reply(
        recovery: &Self::Recovery,
        payload: PayloadBytes,
    ) -> Result<Plaintext, DiscardReason>;
}

//! A fingerprint of a run: over (time, actor, kind, packet number), never over packet bytes,
//! because `sphinx-packet` pads a header from the process-wide generator.

use crate::engine::Actor;
use wire::time::Instant;

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A frame left.
    Sent,
    /// A frame that left did not arrive.
    Lost,
    /// A frame arrived.
    Arrived,
    /// A packet could not be unwrapped.
    Discarded,
    /// A deadline came.
    Woken,
    /// A disk did what it was asked.
    Stored,
    /// A disk read what it was asked.
    Read,
    /// A directory came.
    Directory,
    /// A client's connection was made.
    Connected,
    /// A client told its owner something.
    Told,
}

/// One thing that happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceEvent {
    /// When.
    pub at: Instant,
    /// To whom.
    pub actor: Actor,
    /// What.
    pub kind: Kind,
    /// Number of the packet or of the thing told; 0 where there is none.
    pub number: u64,
}

/// All that happened, as a hash and, if asked for, one by one.
pub struct Trace {
    hash: u64,
    count: u64,
    events: Option<Vec<TraceEvent>>,
}

impl Trace {
    /// `keep` keeps every event; otherwise only the hash.
    pub fn new(keep: bool) -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            count: 0,
            events: keep.then(Vec::new),
        }
    }

    /// Adds one.
    pub fn record(&mut self, event: TraceEvent) {
        let TraceEvent {
            at,
            actor,
            kind,
            number,
        } = event;
        for word in [at.as_nanos(), actor.number(), kind as u64, number] {
            // FNV-1a over words, and a fold of the high half, which a product alone never moves
            // down.
            self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
            self.hash ^= self.hash >> 32;
        }
        self.count += 1;
        if let Some(events) = &mut self.events {
            events.push(event);
        }
    }

    /// Fingerprint of all so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// One by one, where they were kept.
    pub fn events(&self) -> &[TraceEvent] {
        self.events.as_deref().unwrap_or_default()
    }

    /// The first event in which two traces differ: its place, and what each of them has there.
    pub fn first_difference(
        &self,
        other: &Self,
    ) -> Option<(usize, Option<TraceEvent>, Option<TraceEvent>)> {
        let (a, b) = (self.events(), other.events());
        (0..a.len().max(b.len()))
            .find(|i| a.get(*i) != b.get(*i))
            .map(|i| (i, a.get(i).copied(), b.get(i).copied()))
    }
}

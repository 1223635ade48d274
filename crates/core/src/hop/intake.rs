//! What happens to a packet between its frame and its unwrapping: which key it is for, whose turn it
//! is, and who is turned away. And the unwrapping itself, which no packet passes twice.
//!
//! [`Intake`] decides; the threads and the lock around it are `runtime::unwrap_pool`'s. A simulation
//! asks for a key and unwraps at once.

use super::kept::ShortTag;
use super::replay::ReplaySet;
use sphinx::{DiscardReason, Discards, PacketFormat, Unwrapped};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use wire::frame::PacketBytes;
use wire::ids::{Epoch, EpochHint};
use wire::time::Instant;

/// The key for a packet, to be handed to whoever unwraps it, and the tags seen under it.
pub struct KeyFor<F: PacketFormat> {
    /// Of which epoch.
    pub epoch: Epoch,
    /// The key.
    pub secret: Arc<F::Secret>,
    /// Seen under it.
    pub(super) tags: Arc<ReplaySet>,
}

impl<F: PacketFormat> Clone for KeyFor<F> {
    fn clone(&self) -> Self {
        Self {
            epoch: self.epoch,
            secret: self.secret.clone(),
            tags: self.tags.clone(),
        }
    }
}

/// What came out of a packet that was never here before. Only [`unwrap_batch`] and [`KeyFor::unwrap`]
/// make one, so that nothing gets around the replay set.
pub struct Admitted(pub(super) Unwrapped);

impl Admitted {
    /// What came out.
    pub fn get(&self) -> &Unwrapped {
        &self.0
    }
}

impl<F: PacketFormat> KeyFor<F> {
    /// One packet's work; see [`unwrap_batch`].
    pub fn unwrap(&self, packet: PacketBytes) -> Result<Admitted, DiscardReason> {
        let admit = &mut |tag| self.tags.insert(ShortTag::from(tag));
        F::unwrap_if(&self.secret, packet, admit).map(Admitted)
    }
}

/// Unwraps packets and remembers their tags, in between of the two halves of the work, so that a
/// replay dies before the second.
///
/// `admitted` has a place for each packet, false at first. It is for a caller whose batch panicked:
/// with the same places, the packets that were admitted before are not taken for their own replays.
pub fn unwrap_batch<F: PacketFormat>(
    batch: &[(&KeyFor<F>, &PacketBytes)],
    admitted: &mut [bool],
) -> Vec<Result<Admitted, DiscardReason>> {
    let pairs: Vec<_> = batch.iter().map(|(key, p)| (&*key.secret, *p)).collect();
    let results = F::unwrap_batch_if(&pairs, &mut |at, tag| {
        let Some(((key, _), admitted)) = batch.get(at).zip(admitted.get_mut(at)) else {
            return Err(DiscardReason::Overloaded);
        };
        if !*admitted {
            key.tags.insert(ShortTag::from(tag))?;
            *admitted = true;
        }
        Ok(())
    });
    let results = results.into_iter();
    results.map(|result| result.map(Admitted)).collect()
}

/// Which key a packet is for, by the hint of its frame and the time. A copy for those who unwrap;
/// the machine makes a new one whenever it would say something else.
pub struct KeyTable<F: PacketFormat> {
    /// By epoch: from when until when it is accepted, and its key.
    pub(super) rows: Vec<KeyRow<F>>,
    /// δ, by the directory.
    pub(super) allowance: Duration,
}

pub(super) struct KeyRow<F: PacketFormat> {
    pub(super) hint: EpochHint,
    pub(super) from: Instant,
    pub(super) until: Instant,
    pub(super) key: Result<KeyFor<F>, DiscardReason>,
}

/// Accepts nothing.
impl<F: PacketFormat> Default for KeyTable<F> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            allowance: Duration::ZERO,
        }
    }
}

impl<F: PacketFormat> KeyTable<F> {
    /// The key for a packet whose frame carries `hint`, if it is accepted now.
    pub fn find(&self, hint: EpochHint, now: Instant) -> Result<&KeyFor<F>, DiscardReason> {
        let accepted = |row: &&KeyRow<F>| row.hint == hint && row.from <= now && now < row.until;
        let row = self.rows.iter().find(accepted);
        let row = row.ok_or(DiscardReason::UnknownEpoch)?;
        row.key.as_ref().map_err(|reason| *reason)
    }

    /// The key of an epoch that [`Intake::take`] named.
    pub fn key(&self, epoch: Epoch) -> Option<&KeyFor<F>> {
        let mut keys = self.rows.iter().filter_map(|row| row.key.as_ref().ok());
        keys.find(|key| key.epoch == epoch)
    }
}

/// Where a packet came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// A node of the directory, over the listener for nodes.
    Node,
    /// A client, over the listener for clients.
    Client,
}

/// A packet whose frame was read.
pub struct Received {
    /// The epoch whose key opens it.
    pub hint: EpochHint,
    /// The packet.
    pub packet: PacketBytes,
    /// When its last byte was read; δ and its delay count from here.
    pub received_at: Instant,
    /// Over which listener.
    pub source: Source,
}

/// What an intake counted since it was last asked.
#[derive(Default)]
pub struct IntakeCounts {
    /// Packets whose frame was read.
    pub received: u64,
    /// Those that died before any public-key work.
    pub discards: Discards,
}

/// One link's place in an [`Intake`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LaneId(u32);

const NONE: u32 = u32::MAX;
/// So long without a prompt packet, and a queue counts as standing.
const STANDING: Duration = Duration::from_millis(100);

/// Packets that wait to be unwrapped: a queue for each link, served in turn.
///
/// - At most `capacity` wait. A link may have as many waiting as there are places free: one that
///   floods takes half of them, two of them a third each, and there is always room for another. One
///   more packet of that link dies as `Overloaded`, before any public-key work.
/// - Links are served packet by packet in turn, so that a flood delays its own link alone.
/// - A queue that *stands* is overload, one that comes and goes is a burst, or a machine that was busy for a
///   moment. When for `STANDING` no packet had its turn within half of δ, packets that waited longer
///   than that are dropped when their turn comes, as `Overloaded` too, until the queue was empty once.
///   So under overload it is the *oldest* that die, the packets that are unwrapped are punctual, and
///   nothing old is left to work off when it ends. Otherwise a packet is dropped only when it waited
///   `STANDING` longer than δ.
pub struct Intake {
    capacity: usize,
    len: usize,
    slots: Vec<Slot>,
    free: u32,
    lanes: Vec<Lane>,
    lanes_free: Vec<u32>,
    /// Lanes that have packets, next one first.
    turn: VecDeque<u32>,
    /// When a packet last had its turn within half of δ, or none waited.
    prompt_at: Instant,
    /// Whether the queue stands.
    shedding: bool,
    counts: IntakeCounts,
}

/// A place for one packet, in the list of its lane or in that of free places.
struct Slot {
    packet: Option<Received>,
    next: u32,
}

struct Lane {
    first: u32,
    last: u32,
    len: usize,
    /// Its link is gone; it is given to another one when it is empty.
    closed: bool,
}

impl Intake {
    /// Empty. Places are made as they are needed.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            len: 0,
            slots: Vec::new(),
            free: NONE,
            lanes: Vec::new(),
            lanes_free: Vec::new(),
            turn: VecDeque::new(),
            prompt_at: Instant::ZERO,
            shedding: false,
            counts: IntakeCounts::default(),
        }
    }

    /// A lane for a new link.
    pub fn open(&mut self) -> LaneId {
        let lane = Lane {
            first: NONE,
            last: NONE,
            len: 0,
            closed: false,
        };
        let at = self.lanes_free.pop().unwrap_or_else(|| {
            self.lanes.push(Lane { ..lane });
            index(self.lanes.len() - 1)
        });
        self.lanes[at as usize] = lane;
        LaneId(at)
    }

    /// The link is gone. What it brought is still unwrapped.
    pub fn close(&mut self, lane: LaneId) {
        self.lanes[lane.0 as usize].closed = true;
        self.forget_if_done(lane.0);
    }

    fn forget_if_done(&mut self, at: u32) {
        let lane = &self.lanes[at as usize];
        if lane.closed && lane.len == 0 {
            self.lanes_free.push(at);
        }
    }

    /// Takes packets of one link, or counts why not.
    pub fn push(&mut self, lane: LaneId, packets: impl Iterator<Item = Received>) {
        for packet in packets {
            if self.len == 0 {
                self.prompt_at = packet.received_at;
            }
            self.counts.received += 1;
            if self.lanes[lane.0 as usize].len >= self.capacity - self.len {
                self.counts.discards.count(DiscardReason::Overloaded);
            } else {
                self.append(lane.0, packet);
            }
        }
    }

    fn append(&mut self, at: u32, packet: Received) {
        let slot = Slot {
            packet: Some(packet),
            next: NONE,
        };
        let place = if self.free == NONE {
            self.slots.push(slot);
            index(self.slots.len() - 1)
        } else {
            let place = self.free;
            let old = std::mem::replace(&mut self.slots[place as usize], slot);
            self.free = old.next;
            place
        };
        let lane = &mut self.lanes[at as usize];
        if lane.len == 0 {
            lane.first = place;
            self.turn.push_back(at);
        } else {
            self.slots[lane.last as usize].next = place;
        }
        lane.last = place;
        lane.len += 1;
        self.len += 1;
    }

    /// Moves the next packets into `out`, at most `most`, each with the epoch whose key of `table`
    /// it is for; one of each link in turn. Those without a key, and those that waited too long, die
    /// here.
    pub fn take<F: PacketFormat>(
        &mut self,
        most: usize,
        table: &KeyTable<F>,
        now: Instant,
        out: &mut Vec<(Epoch, Received)>,
    ) {
        let mut taken = 0;
        while taken < most {
            let Some(packet) = self.pop() else {
                self.shedding = false;
                return;
            };
            let found = if self.is_too_old(now - packet.received_at, table.allowance, now) {
                Err(DiscardReason::Overloaded)
            } else {
                table.find(packet.hint, packet.received_at)
            };
            match found {
                Ok(key) => {
                    out.push((key.epoch, packet));
                    taken += 1;
                }
                Err(reason) => self.counts.discards.count(reason),
            }
        }
    }

    fn is_too_old(&mut self, waited: Duration, allowance: Duration, now: Instant) -> bool {
        let prompt = waited <= allowance / 2;
        if prompt {
            self.prompt_at = now;
        } else if now - self.prompt_at > STANDING {
            self.shedding = true;
        }
        if self.shedding {
            !prompt
        } else {
            waited > allowance + STANDING
        }
    }

    fn pop(&mut self) -> Option<Received> {
        let at = self.turn.pop_front()?;
        let lane = &mut self.lanes[at as usize];
        let place = lane.first;
        let slot = &mut self.slots[place as usize];
        let packet = slot.packet.take();
        lane.first = std::mem::replace(&mut slot.next, self.free);
        self.free = place;
        lane.len -= 1;
        self.len -= 1;
        if lane.len > 0 {
            self.turn.push_back(at);
        } else {
            self.forget_if_done(at);
        }
        packet
    }

    /// Drops everything that waits.
    pub fn clear(&mut self) {
        while self.pop().is_some() {}
    }

    /// Packets that wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What was counted since the last call, for the machine.
    pub fn take_counts(&mut self) -> IntakeCounts {
        std::mem::take(&mut self.counts)
    }
}

/// Places and lanes are numbered by 32 bits; `capacity` and the limits on connections are far below.
fn index(at: usize) -> u32 {
    u32::try_from(at).expect("fewer than 2³² packets wait")
}

#[cfg(test)]
mod tests;

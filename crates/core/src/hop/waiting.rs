//! Packets that were taken and wait until their tag is durable: nothing that follows from a packet
//! happens before.

use super::kept::{ShortTag, TagBatch};
use super::{Taken, Transmit};
use std::collections::VecDeque;
use wire::ids::Epoch;

/// What happens with a packet once its tag is durable.
pub(super) enum Then {
    /// It waits out its delay.
    Send(Transmit),
    /// It is for the node itself.
    Take(Taken),
}

/// Packets by ticket, oldest first, and the batch of tags that is being gathered. The hop bounds
/// it: a packet waits here or in the delay queue, and for both together there is one limit.
pub(super) struct WaitingRoom {
    next_ticket: u64,
    open: Option<TagBatch>,
    closed: VecDeque<TagBatch>,
    packets: VecDeque<(u64, Then)>,
}

impl WaitingRoom {
    /// Empty.
    pub(super) fn new() -> Self {
        Self {
            next_ticket: 1,
            open: None,
            closed: VecDeque::new(),
            packets: VecDeque::new(),
        }
    }

    /// A packet waits for its tag.
    pub(super) fn push(&mut self, epoch: Epoch, tag: ShortTag, then: Then) {
        if self.open.as_ref().is_some_and(|b| b.epoch != epoch) {
            self.closed.extend(self.open.take());
        }
        let next_ticket = &mut self.next_ticket;
        let batch = self.open.get_or_insert_with(|| {
            let ticket = *next_ticket;
            *next_ticket += 1;
            let tags = Vec::new();
            TagBatch {
                ticket,
                epoch,
                tags,
            }
        });
        batch.tags.push(tag);
        self.packets.push_back((batch.ticket, then));
    }

    /// Tags to be made durable: all that came since the last call, a batch for each run of one
    /// epoch.
    pub(super) fn poll_batch(&mut self) -> Option<TagBatch> {
        self.closed.pop_front().or_else(|| self.open.take())
    }

    /// The oldest packet whose ticket is not above `ticket`.
    pub(super) fn pop_durable(&mut self, ticket: u64) -> Option<Then> {
        if self.packets.front()?.0 > ticket {
            return None;
        }
        self.packets.pop_front().map(|(_, then)| then)
    }

    /// Drops the packets of one ticket; how many there were.
    pub(super) fn drop_failed(&mut self, ticket: u64) -> usize {
        let before = self.packets.len();
        self.packets.retain(|(t, _)| *t != ticket);
        before - self.packets.len()
    }

    /// How many packets wait.
    pub(super) fn len(&self) -> usize {
        self.packets.len()
    }
}

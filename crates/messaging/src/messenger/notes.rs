//! Short news for a contact: receipts, and what steers a file. Each is one cell in the flow before all
//! texts, sealed when it is ordered and never written down: what it says is said again from what is
//! written down, until it was stored once.
//!
//! Not here: what a receipt says ([`super::receipts`]), and orders ([`super::dispatch`]).

use super::contacts::{Marks, Way};
use crate::event::MessageId;
use std::collections::{BTreeMap, BTreeSet};
use wire::time::Instant;
use zeroize::Zeroizing;

/// Names a note; a newer one of the same name takes the older one's place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NoteName {
    /// A receipt.
    Receipt,
    /// An offer, an accept or a progress of a file.
    File(MessageId),
    /// A file's end.
    Cancel(MessageId),
}

/// One of them.
pub(super) struct Note {
    /// What is sealed.
    pub(super) inner: Zeroizing<Vec<u8>>,
    /// What need not be told again once it is stored.
    pub(super) said: Vec<(MessageId, Marks)>,
    /// Whether it said that there are receipts.
    pub(super) on: bool,
    pub(super) way: Way,
}

/// All of one contact.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) by_name: BTreeMap<NoteName, Note>,
    /// What the next receipt says: marks of messages that came.
    pub(super) owed: BTreeMap<MessageId, Marks>,
    /// Messages that are here in part, of which the sender asks.
    pub(super) asked: BTreeSet<MessageId>,
    /// When the next receipt is due.
    pub(super) due: Option<Instant>,
    /// What the contact was told last about receipts: that there are none.
    pub(super) told_off: bool,
    /// Of the last receipt.
    pub(super) number: u64,
}

impl Notes {
    pub(super) fn ways(&self) -> impl Iterator<Item = &Way> {
        self.by_name.values().map(|n| &n.way)
    }

    pub(super) fn ways_mut(&mut self) -> impl Iterator<Item = &mut Way> {
        self.by_name.values_mut().map(|n| &mut n.way)
    }

    /// The first that waits.
    pub(super) fn next(&self) -> Option<NoteName> {
        let mut waiting = self.by_name.iter().filter(|(_, n)| n.way.is_waiting());
        waiting.next().map(|(name, _)| *name)
    }
}

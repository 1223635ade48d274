//! Whose records go out: of all files that could send one, so many have a turn at once
//! ([`MessengerConfig::files_at_once`](super::MessengerConfig::files_at_once)), so that the bytes in memory do not grow
//! with the number of files. Not here: what a file sends ([`super::sending`]).
//!
//! A turn begins with the first record that is asked for. While others wait it ends after [`TURN`] records, or when
//! nothing can be sent (all that was sent waits to be read, or its gateways refuse); the place is free when the last of
//! them left memory. The next turn is of a contact that has the fewest just now, of these of the one that had none for
//! longest, and of its files of the one that waits longest: many files to one contact keep nobody else waiting, a long
//! file no short one, and a receiver who is away no one at all.
//! The offer of a file waits for no turn.

use super::Messenger;
use super::sending::Sending;
use crate::identity::ContactId;
use crate::transfer::send::SendAction;
use std::collections::BTreeMap;
use wire::time::Instant;

/// Records of one turn, while others wait: a quarter of a megabyte.
const TURN: u32 = 128;

/// Where a file is in the order of turns.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Going {
    /// It has nothing to send now.
    #[default]
    Nothing,
    /// It has. The one with the least number waits longest.
    Waits(u64),
    /// It has its turn, and sent so many records in it.
    Sends(u32),
}

/// Who had a turn when.
#[derive(Default)]
pub(super) struct Turns {
    /// Counts turns given, and beginnings of waiting.
    count: u64,
    /// The newest turn of each contact. Of those who are no contacts any more nothing is kept.
    given: BTreeMap<ContactId, u64>,
}

/// Files that go out.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct FilesOut {
    /// All of them: offered, accepted, or on their way.
    pub all: usize,
    /// Those that have their turn.
    pub sending: usize,
    /// Those that wait for it.
    pub waiting: usize,
}

impl Sending {
    /// What is to be done for it; records only in its turn.
    pub(super) fn poll_action(&mut self, now: Instant) -> Option<SendAction> {
        let action = self.transfer.poll_action(now);
        if let (Some(SendAction::Want(_)), Going::Sends(records)) = (action, &mut self.turn) {
            *records += 1;
            // Where nobody waits it does not come to that: it counts anew each time.
            self.transfer.handle_turn(*records >= TURN);
        }
        action
    }
}

impl Messenger {
    /// How many files go out.
    pub fn files_out(&self) -> FilesOut {
        let count = |which: fn(&Going) -> bool| {
            let turns = self.sending.values().map(|s| s.turn);
            turns.filter(which).count()
        };
        FilesOut {
            all: self.sending.len(),
            sending: count(|turn| matches!(turn, Going::Sends(_))),
            waiting: count(|turn| matches!(turn, Going::Waits(_))),
        }
    }

    /// Ends turns and gives them.
    pub(super) fn give_turns(&mut self, now: Instant) {
        let places = self.config.files_at_once.max(1);
        let (mut sends, mut waits) = (0, 0);
        for sending in self.sending.values_mut() {
            let wants = sending.transfer.wants(now);
            let busy = wants || sending.transfer.under_way() > 0;
            sending.turn = match sending.turn {
                Going::Sends(records) if busy => Going::Sends(records),
                Going::Waits(since) if wants => Going::Waits(since),
                Going::Nothing | Going::Sends(_) | Going::Waits(_) if wants => {
                    self.turns.count += 1;
                    Going::Waits(self.turns.count)
                }
                Going::Nothing | Going::Sends(_) | Going::Waits(_) => Going::Nothing,
            };
            match sending.turn {
                Going::Nothing => {}
                Going::Waits(_) => waits += 1,
                Going::Sends(_) => sends += 1,
            }
        }
        if sends + waits > places {
            sends -= self.end_turns();
            self.share_out(places.saturating_sub(sends));
        }
        let all = sends + waits <= places;
        for sending in self.sending.values_mut() {
            sending.turn = match sending.turn {
                Going::Sends(_) | Going::Waits(_) if all => Going::Sends(0),
                turn @ (Going::Nothing | Going::Waits(_) | Going::Sends(_)) => turn,
            };
            let on = matches!(sending.turn, Going::Sends(records) if records < TURN);
            sending.transfer.handle_turn(!on);
        }
    }

    /// Takes the turn from those that had a whole one and have nothing in memory. How many those are.
    fn end_turns(&mut self) -> usize {
        let mut ended = 0;
        for sending in self.sending.values_mut() {
            let over = matches!(sending.turn, Going::Sends(records) if records >= TURN);
            if over && sending.transfer.under_way() == 0 {
                self.turns.count += 1;
                sending.turn = Going::Waits(self.turns.count);
                ended += 1;
            }
        }
        ended
    }

    /// Gives so many turns to those that wait.
    fn share_out(&mut self, free: usize) {
        let mut held: BTreeMap<ContactId, usize> = BTreeMap::new();
        for ((contact, _), sending) in &self.sending {
            let sends = matches!(sending.turn, Going::Sends(_));
            *held.entry(*contact).or_default() += usize::from(sends);
        }
        let Turns { count, given } = &mut self.turns;
        given.retain(|contact, _| self.contacts.contains_key(contact));
        for _ in 0..free {
            let waiting = self
                .sending
                .iter_mut()
                .filter_map(|((contact, _), sending)| {
                    let Going::Waits(since) = sending.turn else {
                        return None;
                    };
                    let rank = (
                        held.get(contact).copied(),
                        given.get(contact).copied(),
                        since,
                    );
                    Some((rank, *contact, sending))
                });
            let Some((_, contact, next)) = waiting.min_by_key(|(rank, ..)| *rank) else {
                return;
            };
            next.turn = Going::Sends(0);
            *held.entry(contact).or_default() += 1;
            *count += 1;
            given.insert(contact, *count);
        }
    }
}

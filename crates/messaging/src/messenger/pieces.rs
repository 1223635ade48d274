//! Pieces of long messages as they come: kept until enough of a message is here, within bounds.
//!
//! An honest sender has at most [`super::contacts::ACTIVE_MAX`] messages unconfirmed, and fewer cells than
//! we keep of one contact, whatever an inbox holds. What goes beyond our bounds pushes out the message
//! that began last: those before it come to their end, where pushing out the one that is silent longest
//! would push out each in turn before it is whole. A message is lost here and not for good, as its sender
//! asks, and is told that nothing of it is here. Not here: the pieces themselves ([`crate::fragment`]).

use super::{Messenger, rows};
use crate::event::{IgnoreReason, MessageId};
use crate::fragment::{self, Added, Cut, Fragment, Partial};
use crate::identity::ContactId;
use crate::records::Table;
use crate::suite1::{self, Message};
use std::collections::BTreeSet;
use std::time::Duration;
use wire::request::Cell;
use wire::time::Instant;

/// Messages of one contact that may be here in part.
const MESSAGES_MAX: usize = 64;
/// Their pieces, 2 KB each. A sender keeps to three quarters of it.
pub(super) const PIECES_MAX: usize = 4096;
/// Pieces of all contacts: 32 MB.
const ALL_MAX: usize = 16_384;
/// Nobody seems to go on with a message of which nothing came for so long.
const STALE: Duration = Duration::from_secs(3600);

/// A message that is here in part.
pub(super) struct Waiting {
    pub(super) pieces: Partial,
    /// Place in the order in which they began; any after a restart.
    pub(super) began: u64,
    /// When the last piece came; zero after a restart, until somebody says what time it is.
    pub(super) at: Instant,
}

impl Waiting {
    pub(super) fn new(cut: Cut, began: u64, at: Instant) -> Self {
        let pieces = Partial::new(cut);
        Self { pieces, began, at }
    }

    /// Whether nothing came for so long. Of what stood there before a restart nobody knows yet.
    fn is_silent(&self, long: Duration, now: Instant) -> bool {
        self.at != Instant::ZERO && self.at + long <= now
    }
}

/// What a piece led to.
pub(super) enum Piece {
    /// Kept.
    Kept,
    /// A message is whole, and its seal holds.
    Whole(Box<Message>),
}

impl Messenger {
    /// The piece in a cell from a contact's inbox; `None` when it is none.
    pub(super) fn open_piece(
        &self,
        id: &ContactId,
        cell: &Cell,
    ) -> Option<Result<Fragment, fragment::Malformed>> {
        let own = self.identity.public();
        let pairs = self.contacts.get(id)?.pairs.iter();
        let mut keys = pairs.map(|p| p.secret.fragment_key(&own));
        keys.find_map(|key| fragment::open(&key, cell))
    }

    /// Takes a piece.
    pub(super) fn take_piece(
        &mut self,
        id: &ContactId,
        piece: Fragment,
        now: Instant,
    ) -> Result<Piece, IgnoreReason> {
        let (message, index) = (piece.id, piece.index);
        let Some(contact) = self.contacts.get(id) else {
            return Err(IgnoreReason::WrongSender);
        };
        if contact.received.contains(&message) {
            if piece.asks() {
                self.owe_again(id, &message, now);
            }
            return Err(IgnoreReason::Duplicate);
        }
        let key = (*id, message);
        let row = rows::piece(&piece);
        let waiting = self.partials.entry(key).or_insert_with(|| {
            self.begun += 1;
            Waiting::new(piece.cut, self.begun, now)
        });
        let asks = piece.asks() && piece.attempt > waiting.pieces.attempt();
        let added = waiting.pieces.add(piece);
        if matches!(added, Added::More | Added::Enough | Added::Double) {
            waiting.at = now;
        }
        match added {
            Added::Disagrees => return Err(IgnoreReason::Malformed),
            Added::Double | Added::More | Added::Enough => {}
        }
        if asks && added != Added::Enough {
            self.owe_pieces(id, &message, now);
        }
        match added {
            Added::Double => Err(IgnoreReason::Duplicate),
            Added::Enough => self.join(id, &message).map(Box::new).map(Piece::Whole),
            Added::More | Added::Disagrees => {
                self.write(Table::Piece, rows::piece_key(id, &message, index), row);
                self.make_room(id, now);
                Ok(Piece::Kept)
            }
        }
    }

    /// Opens a whole message, and forgets its pieces whatever comes of it.
    fn join(&mut self, id: &ContactId, message: &MessageId) -> Result<Message, IgnoreReason> {
        let pieces = self.drop_partial(id, message);
        let sealed = pieces
            .and_then(Partial::join)
            .ok_or(IgnoreReason::Malformed)?;
        let opened = suite1::open_long(&self.config.network, &self.identity, &sealed);
        opened.map_err(super::incoming::reason)
    }

    /// Forgets a message that is here in part.
    pub(super) fn drop_partial(&mut self, id: &ContactId, message: &MessageId) -> Option<Partial> {
        let waiting = self.partials.remove(&(*id, *message))?;
        for index in waiting.pieces.indices() {
            self.erase(Table::Piece, rows::piece_key(id, message, index));
        }
        Some(waiting.pieces)
    }

    /// All of one contact's.
    pub(super) fn drop_partials(&mut self, id: &ContactId) {
        for message in self.partials_of(id) {
            self.drop_partial(id, &message);
        }
    }

    fn partials_of(&self, id: &ContactId) -> Vec<MessageId> {
        let range = (*id, MessageId([0; 16]))..=(*id, MessageId([0xff; 16]));
        self.partials.range(range).map(|((_, m), _)| *m).collect()
    }

    /// Keeps within the bounds: at the expense of this contact, or of the one of whom most is here.
    fn make_room(&mut self, id: &ContactId, now: Instant) {
        let (messages, pieces) = self.held_of(id);
        if messages > MESSAGES_MAX || pieces > PIECES_MAX {
            self.push_out(Some(*id), now);
        }
        let all: usize = self.partials.values().map(|w| w.pieces.count()).sum();
        if all > ALL_MAX {
            // Where everybody has one message only, the oldest of all are to come to their end.
            let contacts = self.partials.keys().map(|(contact, _)| *contact);
            let contacts = contacts.collect::<BTreeSet<_>>().into_iter();
            let held = contacts.map(|id| (id, self.held_of(&id)));
            let several = held.filter(|(_, (messages, _))| *messages > 1);
            let most = several.max_by_key(|(_, (_, pieces))| *pieces);
            self.push_out(most.map(|(contact, _)| contact), now);
        }
    }

    /// How many messages of a contact are here in part, and how many pieces of them.
    fn held_of(&self, id: &ContactId) -> (usize, usize) {
        let range = (*id, MessageId([0; 16]))..=(*id, MessageId([0xff; 16]));
        let own = self.partials.range(range);
        own.fold((0, 0), |(n, sum), (_, w)| (n + 1, sum + w.pieces.count()))
    }

    /// Drops what is silent for long, or else what began last, of one contact or of all.
    fn push_out(&mut self, of: Option<ContactId>, now: Instant) {
        let may = |(contact, _): &&(ContactId, MessageId)| of.is_none_or(|of| of == *contact);
        let all = self.partials.iter().filter(|(key, _)| may(key));
        let stale = all.clone().filter(|(_, w)| w.is_silent(STALE, now));
        let last = || all.max_by_key(|(_, w)| w.began);
        let chosen = stale.min_by_key(|(_, w)| w.at).or_else(last);
        if let Some((contact, message)) = chosen.map(|(key, _)| *key) {
            self.drop_partial(&contact, &message);
        }
    }

    /// Messages that nobody completes go with the time that any message lives.
    pub(super) fn expire_partials(&mut self, now: Instant) {
        let ttl = self.config.message_ttl;
        for waiting in self.partials.values_mut().filter(|w| w.at == Instant::ZERO) {
            waiting.at = now;
        }
        let all = self.partials.iter();
        let old = all.filter(|(_, w)| w.is_silent(ttl, now));
        for (contact, message) in old.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.drop_partial(&contact, &message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messenger::MessengerConfig;
    use wire::ids::NetworkId;
    use wire::rng::KeyRng;

    const LONGEST: u32 = 262_864;

    fn machine() -> Messenger {
        let config = MessengerConfig::new(NetworkId([1; 32]));
        Messenger::new(config, KeyRng::from_seed([2; 32]))
    }

    /// One more piece of a message; whether that makes it whole, when it is forgotten.
    fn piece(machine: &mut Messenger, of: (ContactId, MessageId), now: Instant) -> bool {
        let cut = Cut::new(LONGEST);
        machine.begun += 1;
        let began = machine.begun;
        let waiting = machine.partials.entry(of);
        let waiting = waiting.or_insert_with(|| Waiting::new(cut, began, now));
        waiting.at = now;
        let (id, index) = (of.1, waiting.pieces.count() as u16);
        let piece = Fragment {
            id,
            attempt: 0,
            cut,
            index,
            payload: Vec::new(),
        };
        let added = waiting.pieces.add(piece);
        if added == Added::Enough {
            machine.drop_partial(&of.0, &id);
        } else {
            machine.make_room(&of.0, now);
        }
        machine.events.clear();
        added == Added::Enough
    }

    fn ids(n: u8, m: u8) -> (ContactId, MessageId) {
        (ContactId([n; 16]), MessageId([m; 16]))
    }

    /// Who sends without regard to any bound, and each piece in turn, gets every message through: each
    /// pass over what is left ends with more that is whole.
    #[test]
    fn more_than_there_is_room_for_comes_to_an_end() {
        for (contacts, messages) in [(1, 60), (6, 40), (200, 1)] {
            let mut machine = machine();
            let mut left: BTreeSet<_> = (0..contacts)
                .flat_map(|n| (0..messages).map(move |m| ids(n, m)))
                .collect();
            let (mut rounds, mut most) = (0, 0);
            while !left.is_empty() {
                let now = Instant::from_nanos(1 + rounds);
                left.retain(|of| !piece(&mut machine, *of, now));
                for n in 0..contacts {
                    let (count, pieces) = machine.held_of(&ids(n, 0).0);
                    assert!(count <= MESSAGES_MAX && pieces <= PIECES_MAX, "{pieces}");
                }
                let held = machine.partials.values().map(|w| w.pieces.count());
                most = most.max(held.sum::<usize>());
                rounds += 1;
                assert!(rounds < 1_000, "{} are left", left.len());
            }
            assert!(most <= ALL_MAX, "{most}");
        }
    }

    /// What its sender gave up long ago makes room first, though it began first.
    #[test]
    fn what_nobody_goes_on_with_makes_room_first() {
        let mut machine = machine();
        let early = Instant::from_nanos(1);
        let now = early + STALE;
        piece(&mut machine, ids(1, 0), early);
        for m in 1..=MESSAGES_MAX as u8 {
            piece(&mut machine, ids(1, m), now);
        }
        assert!(!machine.partials.contains_key(&ids(1, 0)));
        assert_eq!(machine.held_of(&ids(1, 0).0).0, MESSAGES_MAX);
        piece(&mut machine, ids(1, 99), now);
        assert!(!machine.partials.contains_key(&ids(1, 99)), "began last");
    }

    /// A contact of whom much is here takes nothing from one of whom little is.
    #[test]
    fn who_has_little_here_loses_nothing_to_who_has_much() {
        let mut machine = machine();
        let now = Instant::from_nanos(1);
        for _ in 0..100 {
            piece(&mut machine, ids(0, 0), now);
        }
        for _ in 0..110 {
            for of in (1..6).flat_map(|n| (0..40).map(move |m| ids(n, m))) {
                piece(&mut machine, of, now);
            }
        }
        assert_eq!(machine.held_of(&ids(0, 0).0), (1, 100));
    }
}

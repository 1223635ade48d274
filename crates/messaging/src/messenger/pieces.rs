//! Pieces of long messages as they come: kept until enough of a message is here, within bounds.
//!
//! An honest sender has at most [`super::contacts::ACTIVE_MAX`] messages and an inbox' quota of cells
//! unconfirmed. What goes beyond our bounds pushes out the message that is silent longest: that is lost
//! here and not for good, as its sender asks, and is told that nothing of it is here. Not here: the
//! pieces themselves ([`crate::fragment`]).

use super::{Messenger, rows};
use crate::event::{IgnoreReason, MessageId};
use crate::fragment::{self, Added, Fragment, Partial};
use crate::identity::ContactId;
use crate::records::Table;
use crate::suite1::{self, Message};
use wire::request::Cell;
use wire::time::Instant;

/// Messages of one contact that may be here in part.
const MESSAGES_MAX: usize = 64;
/// Their pieces, 2 KB each.
const PIECES_MAX: usize = 512;
/// Pieces of all contacts: 32 MB.
const ALL_MAX: usize = 16_384;

/// A message that is here in part.
pub(super) struct Waiting {
    pub(super) pieces: Partial,
    /// Place in the order of the last piece of each.
    pub(super) touched: u64,
    /// When that came; zero after a restart, until somebody says what time it is.
    pub(super) at: Instant,
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
        self.touched += 1;
        let row = rows::piece(&piece);
        let waiting = self.partials.entry(key).or_insert_with(|| Waiting {
            pieces: Partial::new(piece.cut),
            touched: 0,
            at: now,
        });
        let asks = piece.asks() && piece.attempt > waiting.pieces.attempt();
        let added = waiting.pieces.add(piece);
        if matches!(added, Added::More | Added::Enough | Added::Double) {
            (waiting.touched, waiting.at) = (self.touched, now);
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
                self.make_room(id, &message);
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

    /// Pushes out what is silent longest, of this contact first, but not what came just now.
    fn make_room(&mut self, id: &ContactId, newest: &MessageId) {
        let range = (*id, MessageId([0; 16]))..=(*id, MessageId([0xff; 16]));
        let own = self.partials.range(range).filter(|((_, m), _)| m != newest);
        let oldest = own.clone().min_by_key(|(_, w)| w.touched);
        let pieces: usize = own.clone().map(|(_, w)| w.pieces.count()).sum();
        if (own.count() >= MESSAGES_MAX || pieces > PIECES_MAX)
            && let Some(((_, oldest), _)) = oldest
        {
            let oldest = *oldest;
            self.drop_partial(id, &oldest);
        }
        let all: usize = self.partials.values().map(|w| w.pieces.count()).sum();
        if all > ALL_MAX {
            let others = self.partials.iter().filter(|((_, m), _)| m != newest);
            let oldest = others.min_by_key(|(_, w)| w.touched).map(|(key, _)| *key);
            if let Some((contact, message)) = oldest {
                self.drop_partial(&contact, &message);
            }
        }
    }

    /// Messages that nobody completes go with the time that any message lives.
    pub(super) fn expire_partials(&mut self, now: Instant) {
        let ttl = self.config.message_ttl;
        for waiting in self.partials.values_mut().filter(|w| w.at == Instant::ZERO) {
            waiting.at = now;
        }
        let old = self.partials.iter().filter(|(_, w)| w.at + ttl <= now);
        for (contact, message) in old.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.drop_partial(&contact, &message);
        }
    }
}

//! A contact: keys, the pair's secrets, and what is on its way to and from them. Plain state with
//! its small rules; how it moves is in the sibling files.

use crate::draft::Retention;
use crate::event::{ClientMessageId, MessageId, MessageState};
use crate::identity::KemPublic;
use crate::messenger::path::Path;
use crate::order::DepositHandle;
use crate::pair::PairSecret;
use std::collections::{BTreeMap, BTreeSet};
use wire::ids::{CellId, InboxAddress};
use wire::keys::IdentityPublic;
use wire::request::Cell;
use wire::time::{Instant, UnixTime};

/// Most secrets with one contact: the one each end made, when both added each other's card.
pub(super) const PAIRS_MAX: usize = 2;
/// Ids of received messages that are kept for each contact. A sender has at most
/// `outbox_max` (256) messages under way and their times strictly increase, so four times that
/// covers any disorder an honest sender makes; what is older than all of them is a replay.
pub(super) const RECEIVED_MAX: usize = 1024;
/// Finished outgoing messages that are remembered for each contact; the oldest is forgotten.
pub(super) const SENT_MAX: usize = 1024;

/// A secret with a contact.
pub(super) struct Pair {
    pub(super) secret: PairSecret,
    /// Whether the contact surely has it, too: it came from them, or they wrote through it.
    pub(super) confirmed: bool,
}

/// A cell on its way.
pub(super) struct Parcel {
    pub(super) cell_id: CellId,
    pub(super) cell: Cell,
    pub(super) state: ParcelState,
}

/// How far a cell is.
pub(super) enum ParcelState {
    /// Not with the network.
    Waiting,
    /// Ordered; `sent` once it left for the first time.
    UnderWay {
        handle: DepositHandle,
        address: InboxAddress,
        ordered: Instant,
        sent: Option<Instant>,
    },
    /// Durable at a gateway.
    Stored,
}

impl Parcel {
    pub(super) fn new(cell_id: CellId, cell: Cell) -> Self {
        Self {
            cell_id,
            cell,
            state: ParcelState::Waiting,
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, ParcelState::Waiting)
    }

    pub(super) fn is_stored(&self) -> bool {
        matches!(self.state, ParcelState::Stored)
    }
}

/// Our first words to the owner of a card, until they are stored.
pub(super) struct Hello {
    pub(super) invites: [InboxAddress; 2],
    pub(super) expires: UnixTime,
    pub(super) parcels: Vec<Parcel>,
    pub(super) path: Path,
    /// Texts wait until the Hello was stored or refused once, because before that nobody listens.
    pub(super) holds_texts: bool,
}

/// What is remembered of an outgoing message.
pub(super) struct Sent {
    pub(super) id: ClientMessageId,
    /// Keyed hash of the text, to know the same id with another text.
    pub(super) body: [u8; 32],
    pub(super) composed: UnixTime,
    pub(super) state: MessageState,
}

/// Somebody on the list.
pub(super) struct Contact {
    pub(super) identity: IdentityPublic,
    pub(super) kem: KemPublic,
    pub(super) name: String,
    pub(super) verified: bool,
    pub(super) by_invite: bool,
    /// Whether their inboxes are read more often.
    pub(super) favourite: bool,
    /// Whether they are told what was delivered and read.
    pub(super) receipts: bool,
    /// How long what was said is kept.
    pub(super) retention: Retention,
    /// Digest of the card we added last, zeros if none.
    pub(super) card: [u8; 16],
    /// Ascending by [`PairSecret::rank`]: we write to the first's inboxes first.
    pub(super) pairs: Vec<Pair>,
    pub(super) hello: Option<Hello>,
    /// The Hello expired and nothing else connects us.
    pub(super) lost: bool,
    pub(super) outbox: BTreeMap<u64, Parcel>,
    pub(super) sent: BTreeMap<u64, Sent>,
    pub(super) by_id: BTreeMap<ClientMessageId, u64>,
    pub(super) received: Received,
    pub(super) path: Path,
    /// Where to write, best first; `None` when it has to be derived again.
    pub(super) candidates: Option<Vec<InboxAddress>>,
}

impl Contact {
    pub(super) fn new(identity: IdentityPublic, kem: KemPublic, name: String) -> Self {
        Self {
            identity,
            kem,
            name,
            verified: false,
            by_invite: false,
            favourite: false,
            receipts: true,
            retention: Retention::Forever,
            card: [0; 16],
            pairs: Vec::new(),
            hello: None,
            lost: false,
            outbox: BTreeMap::new(),
            sent: BTreeMap::new(),
            by_id: BTreeMap::new(),
            received: Received::default(),
            path: Path::default(),
            candidates: None,
        }
    }

    pub(super) fn is_confirmed(&self) -> bool {
        self.pairs.iter().any(|p| p.confirmed)
    }

    /// Adds a secret in its place. With [`PAIRS_MAX`] there already, one that the contact may not
    /// have gives way; `false` when none can.
    pub(super) fn add_pair(&mut self, secret: PairSecret, confirmed: bool) -> bool {
        if self.pairs.iter().any(|p| p.secret.rank() == secret.rank()) {
            return true;
        }
        if self.pairs.len() >= PAIRS_MAX {
            let Some(index) = self.pairs.iter().rposition(|p| !p.confirmed) else {
                return false;
            };
            self.pairs.remove(index);
        }
        self.pairs.push(Pair { secret, confirmed });
        self.pairs.sort_by_key(|p| p.secret.rank());
        self.settle();
        true
    }

    /// The contact has the secret of this rank. Returns whether that is news.
    pub(super) fn confirm(&mut self, rank: &[u8; 32]) -> bool {
        let Some(pair) = self.pairs.iter_mut().find(|p| p.secret.rank() == *rank) else {
            return false;
        };
        let news = !pair.confirmed;
        pair.confirmed = true;
        if news {
            self.settle();
        }
        news
    }

    /// Once the contact surely has the winning secret, the others are of no use.
    fn settle(&mut self) {
        if self.pairs.first().is_some_and(|p| p.confirmed) {
            self.pairs.truncate(1);
        }
        if self.is_confirmed() {
            self.lost = false;
        }
        self.candidates = None;
    }

    /// Number and time for the next outgoing message; times strictly increase.
    pub(super) fn next_outgoing(&self, unix: UnixTime) -> (u64, UnixTime) {
        match self.sent.last_key_value() {
            Some((seq, last)) => {
                let composed = unix.0.max(last.composed.0.saturating_add(1));
                (seq.saturating_add(1), UnixTime(composed))
            }
            None => (0, unix),
        }
    }
}

/// Which messages came, newest [`RECEIVED_MAX`].
#[derive(Default)]
pub(super) struct Received {
    by_id: BTreeMap<MessageId, UnixTime>,
    by_time: BTreeSet<(UnixTime, MessageId)>,
}

impl Received {
    /// Whether this message is new. One that is older than all that are kept counts as a replay.
    pub(super) fn is_new(&self, id: &MessageId, composed: UnixTime) -> bool {
        let floor = self.by_time.first();
        let full = self.by_time.len() >= RECEIVED_MAX;
        let replay = full && floor.is_some_and(|(oldest, _)| composed < *oldest);
        !replay && !self.by_id.contains_key(id)
    }

    /// All that are kept, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (UnixTime, MessageId)> + '_ {
        self.by_time.iter().copied()
    }

    /// Remembers it; returns what is forgotten for it.
    pub(super) fn insert(
        &mut self,
        id: MessageId,
        composed: UnixTime,
    ) -> Option<(UnixTime, MessageId)> {
        self.by_id.insert(id, composed);
        self.by_time.insert((composed, id));
        if self.by_time.len() <= RECEIVED_MAX {
            return None;
        }
        let oldest = self.by_time.pop_first()?;
        self.by_id.remove(&oldest.1);
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_new_once_and_never_when_older_than_all_we_know() {
        let mut received = Received::default();
        let id = |n: u64| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&n.to_be_bytes());
            MessageId(id)
        };
        for n in 1..=RECEIVED_MAX as u64 {
            assert!(received.is_new(&id(n), UnixTime(n * 10)));
            assert!(received.insert(id(n), UnixTime(n * 10)).is_none());
            assert!(!received.is_new(&id(n), UnixTime(n * 10)));
        }
        // Late but within what is kept: new. Older than all: a replay.
        assert!(received.is_new(&id(5000), UnixTime(15)));
        assert!(!received.is_new(&id(5000), UnixTime(9)));
        let forgotten = received.insert(id(6000), UnixTime(1_000_000));
        assert_eq!(forgotten, Some((UnixTime(10), id(1))));
        assert!(!received.is_new(&id(1), UnixTime(10)));
    }
}

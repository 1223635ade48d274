//! A contact: keys, the pair's secrets, and what is on its way to and from them. Plain state with
//! its small rules; how it moves is in the sibling files.

use super::notes::Notes;
use super::past::{Change, Past};
use super::path::Path;
use crate::composed::Composed;
use crate::draft::{AppId, Retention};
use crate::event::{ClientMessageId, MessageId, MessageState};
use crate::fragment::{FragmentKey, Pieces};
use crate::identity::KemPublic;
use crate::order::DepositHandle;
use crate::pace::Trips;
use crate::pair::PairSecret;
use std::collections::{BTreeMap, BTreeSet};
use wire::ids::{CellId, InboxAddress, InboxId};
use wire::keys::IdentityPublic;
use wire::request::Cell;
use wire::time::{Instant, UnixTime};
use zeroize::Zeroizing;

/// Most secrets with one contact: the one each end made, when both added each other's card.
pub(super) const PAIRS_MAX: usize = 2;
/// Messages that may be under way or unacknowledged at once.
pub(super) const ACTIVE_MAX: usize = 32;
/// No message begins that is so many places after the oldest unfinished one.
pub(super) const AHEAD_MAX: u64 = 512;
/// Messages of each contact that came whose ids are kept, the newest. An honest sender is never more than
/// [`AHEAD_MAX`] ahead of one that is not acknowledged, so that what it asks about is here. Of older ones
/// [`Past`] knows whether they came.
pub(super) const RECEIVED_MAX: usize = 1024;
/// Finished outgoing messages that are remembered for each contact; the oldest is forgotten.
pub(super) const SENT_MAX: usize = 1024;

/// A secret with a contact.
pub(super) struct Pair {
    pub(super) secret: PairSecret,
    /// Whether the contact surely has it, too: it came from them, or they wrote through it.
    pub(super) confirmed: bool,
}

/// How far a cell is.
pub(super) enum Way {
    /// Not with the network.
    Waiting,
    /// Ordered.
    Under(UnderWay),
    /// Durable at a gateway.
    Stored,
    /// Not needed: enough others are stored.
    Spare,
}

/// A cell that was ordered; `sent` once it left for the first time.
pub(super) struct UnderWay {
    pub(super) handle: DepositHandle,
    pub(super) address: InboxAddress,
    pub(super) ordered: Instant,
    pub(super) sent: Option<Instant>,
}

impl Way {
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting)
    }

    pub(super) fn is_stored(&self) -> bool {
        matches!(self, Self::Stored)
    }

    pub(super) fn under_way(&self) -> Option<&UnderWay> {
        match self {
            Self::Under(under) => Some(under),
            Self::Waiting | Self::Stored | Self::Spare => None,
        }
    }

    /// Ordered, and not left yet.
    pub(super) fn is_unleft(&self) -> bool {
        self.under_way().is_some_and(|u| u.sent.is_none())
    }
}

/// A cell of a Hello.
pub(super) struct Parcel {
    pub(super) cell_id: CellId,
    pub(super) cell: Cell,
    pub(super) way: Way,
}

impl Parcel {
    pub(super) fn new(cell_id: CellId, cell: Cell) -> Self {
        Self {
            cell_id,
            cell,
            way: Way::Waiting,
        }
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

/// A message that is not acknowledged yet (to a contact who sends no receipts: not stored).
pub(super) struct Message {
    /// What is sealed.
    pub(super) inner: Zeroizing<Vec<u8>>,
    /// Sealing follows from it, so that every cell is made again as it was.
    pub(super) seed: Zeroizing<[u8; 32]>,
    /// It left once, or may have.
    pub(super) begun: bool,
    pub(super) active: Option<Active>,
}

/// A message whose cells are on their way, or wait for a receipt.
pub(super) struct Active {
    /// Of a message of several cells.
    pub(super) pieces: Option<Pieces>,
    pub(super) cells: Vec<Way>,
    /// So many of them, whichever, are the message.
    pub(super) needed: usize,
    /// Enough cells are stored; asks for a receipt when it is due.
    pub(super) settled: Option<Settled>,
    /// Questions without an answer.
    pub(super) silences: u32,
    /// A report of what is there was asked for, and did not come.
    pub(super) asked: bool,
}

/// Since when enough of a message is stored.
pub(super) struct Settled {
    pub(super) at: Instant,
    pub(super) ask_at: Instant,
    /// The contact was heard after that.
    pub(super) heard: bool,
}

impl Active {
    /// Whether enough is stored, and nobody took note of it yet.
    pub(super) fn is_enough(&self) -> bool {
        let stored = self.cells.iter().filter(|c| c.is_stored()).count();
        stored >= self.needed && self.settled.is_none()
    }

    /// The next cell to be ordered. Parity goes only when all others have left.
    pub(super) fn next_cell(&self, parity: bool) -> Option<u16> {
        if self.settled.is_some() {
            return None;
        }
        let (data, spare) = self.cells.split_at(self.needed);
        let place = match parity {
            false => data.iter().position(Way::is_waiting),
            true if data.iter().any(|c| c.is_waiting() || c.is_unleft()) => None,
            true => {
                let found = spare.iter().position(Way::is_waiting);
                found.map(|i| i + self.needed)
            }
        };
        place.and_then(|i| u16::try_from(i).ok())
    }
}

/// What is remembered of an outgoing message.
pub(super) struct Sent {
    pub(super) id: ClientMessageId,
    /// Its name between the two.
    pub(super) message_id: MessageId,
    /// Keyed hash of the text, to know the same id with another text.
    pub(super) body: [u8; 32],
    pub(super) composed: UnixTime,
    pub(super) expires: UnixTime,
    pub(super) app: AppId,
    pub(super) state: MessageState,
    /// Counts what was sent again.
    pub(super) attempt: u16,
    /// Which cells are stored, as [`crate::fragment::bitmap`].
    pub(super) stored: Vec<u8>,
    /// It offers a file, and is delivered when that is.
    pub(super) file: bool,
    /// A person read the offer; told when the file is there too.
    pub(super) offer_read: bool,
}

impl Sent {
    /// Nothing will change it any more.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, MessageState::Expired | MessageState::Failed(_))
    }

    /// Takes a later state; whether it is one.
    pub(super) fn raise(&mut self, state: MessageState) -> bool {
        let later = !self.is_over() && rank(state) > rank(self.state);
        if later {
            self.state = state;
        }
        later
    }
}

fn rank(state: MessageState) -> u8 {
    match state {
        MessageState::Queued => 0,
        MessageState::Mixing => 1,
        MessageState::Stored => 2,
        MessageState::Delivered => 3,
        MessageState::Read => 4,
        MessageState::Expired | MessageState::Failed(_) => 5,
    }
}

/// Where a contact may read, best first, and what seals pieces there.
pub(super) struct Candidates {
    pub(super) list: Vec<InboxAddress>,
    pub(super) keys: BTreeMap<InboxId, FragmentKey>,
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
    /// The least number and time of the next outgoing message, where those before are forgotten.
    pub(super) next: (u64, UnixTime),
    pub(super) outbox: BTreeMap<u64, Message>,
    pub(super) sent: BTreeMap<u64, Sent>,
    pub(super) by_id: BTreeMap<ClientMessageId, u64>,
    pub(super) by_message: BTreeMap<MessageId, u64>,
    pub(super) received: Received,
    pub(super) notes: Notes,
    /// They send receipts, as far as we know, and the number of the newest.
    pub(super) their_receipts: (bool, u64),
    pub(super) trips: Trips,
    /// Where texts go, and where the second half of long ones goes.
    pub(super) paths: [Path; 2],
    /// `None` when they have to be derived again.
    pub(super) candidates: Option<Candidates>,
    /// Which application began a message last, and which message had a turn last.
    pub(super) turn: (AppId, u64),
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
            next: (0, UnixTime(0)),
            outbox: BTreeMap::new(),
            sent: BTreeMap::new(),
            by_id: BTreeMap::new(),
            by_message: BTreeMap::new(),
            received: Received::default(),
            notes: Notes::default(),
            their_receipts: (true, 0),
            trips: Trips::default(),
            paths: Default::default(),
            candidates: None,
            turn: (AppId::default(), 0),
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

    /// Number and time for the next outgoing message.
    pub(super) fn next_outgoing(&self, unix: UnixTime) -> (u64, Composed) {
        let (seq, forgotten) = self.next;
        let forgotten = forgotten.0.checked_sub(1).map(UnixTime);
        let newest = self.sent.last_key_value();
        let last = newest.map(|(_, sent)| sent.composed).max(forgotten);
        let seq = newest.map_or(seq, |(newest, _)| seq.max(newest + 1));
        (seq, Composed::next(unix, last))
    }

    /// Forgets what became of a message; its number and time are not used again.
    pub(super) fn forget_sent(&mut self, seq: u64) {
        if let Some(old) = self.sent.remove(&seq) {
            self.by_id.remove(&old.id);
            self.by_message.remove(&old.message_id);
            let next = (seq + 1, UnixTime(old.composed.0.saturating_add(1)));
            self.next = (self.next.0.max(next.0), self.next.1.max(next.1));
        }
    }

    /// All cells that are with the network.
    pub(super) fn under_way(&self) -> impl Iterator<Item = &UnderWay> {
        let active = self.outbox.values().filter_map(|m| m.active.as_ref());
        let cells = active.flat_map(|a| &a.cells);
        cells.chain(self.notes.ways()).filter_map(Way::under_way)
    }

    /// The same, to change them.
    pub(super) fn ways_mut(&mut self) -> impl Iterator<Item = &mut Way> {
        let active = self.outbox.values_mut().filter_map(|m| m.active.as_mut());
        let cells = active.flat_map(|a| &mut a.cells);
        cells.chain(self.notes.ways_mut())
    }
}

/// What is known of a message that came: bits of [`Received`].
pub(super) type Marks = u8;

/// A message that came.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) composed: Composed,
    pub(super) marks: Marks,
}

/// What is forgotten for a message that came.
pub(super) struct Forgotten {
    /// The oldest of those before it.
    pub(super) oldest: (UnixTime, MessageId),
    /// What is known of the past from now on.
    pub(super) past: Change,
}

/// Which messages came: the newest [`RECEIVED_MAX`] by id, and all others by the time they were composed at.
#[derive(Default)]
pub(super) struct Received {
    by_id: BTreeMap<MessageId, Known>,
    by_time: BTreeSet<(UnixTime, MessageId)>,
    past: Past,
}

impl Received {
    /// The sender is still to be told that it came.
    pub(super) const OWED: Marks = 1;
    /// A person read it.
    pub(super) const READ: Marks = 2;
    /// The sender is still to be told that it was read.
    pub(super) const READ_OWED: Marks = 4;

    /// Whether this message is here.
    pub(super) fn contains(&self, id: &MessageId) -> bool {
        self.by_id.contains_key(id)
    }

    /// Whether this message never came.
    pub(super) fn is_new(&self, id: &MessageId, at: UnixTime) -> bool {
        !self.contains(id) && !self.past.covers(at)
    }

    /// All whose ids are kept.
    pub(super) fn iter(&self) -> impl Iterator<Item = (MessageId, Known)> + '_ {
        self.by_id.iter().map(|(id, known)| (*id, *known))
    }

    /// One whose id is kept.
    pub(super) fn get(&self, id: &MessageId) -> Option<Known> {
        self.by_id.get(id).copied()
    }

    /// All others.
    pub(super) fn past(&mut self) -> &mut Past {
        &mut self.past
    }

    /// A message came whose id is known: sent anew by a person, if it says another time. That time must
    /// not be new either once the id is forgotten.
    pub(super) fn again(&mut self, id: &MessageId, composed: Composed) -> Option<Change> {
        let known = self
            .get(id)
            .filter(|known| known.composed.at != composed.at);
        known.map(|_| self.past.add(composed))
    }

    /// Sets and clears marks. What is there then, if that is news.
    pub(super) fn mark(&mut self, id: &MessageId, set: Marks, clear: Marks) -> Option<Known> {
        let known = self.by_id.get_mut(id)?;
        let after = (known.marks & !clear) | set;
        (std::mem::replace(&mut known.marks, after) != after).then_some(*known)
    }

    /// Remembers it; returns what is forgotten for it.
    pub(super) fn insert(&mut self, id: MessageId, known: Known) -> Option<Forgotten> {
        self.by_id.insert(id, known);
        self.by_time.insert((known.composed.at, id));
        if self.by_time.len() <= RECEIVED_MAX {
            return None;
        }
        let oldest = self.by_time.pop_first()?;
        let past = self.past.add(self.by_id.remove(&oldest.1)?.composed);
        Some(Forgotten { oldest, past })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> MessageId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        MessageId(id)
    }

    fn known(n: u64) -> Known {
        Known {
            composed: Composed {
                at: UnixTime(n * 10),
                after: UnixTime(n * 10 - 10),
            },
            marks: 0,
        }
    }

    #[test]
    fn a_message_is_new_once_however_late_it_comes() {
        let mut received = Received::default();
        let last = 3 * RECEIVED_MAX as u64;
        let late = [7, 8, 500, RECEIVED_MAX as u64 + 3];
        for n in (1..=last).filter(|n| !late.contains(n)) {
            assert!(received.is_new(&id(n), UnixTime(n * 10)));
            received.insert(id(n), known(n));
            assert!(!received.is_new(&id(n), UnixTime(n * 10)));
        }
        assert_eq!(received.iter().count(), RECEIVED_MAX);
        for n in late {
            assert!(
                received.is_new(&id(n), UnixTime(n * 10)),
                "{n} would be lost"
            );
            let forgotten = received.insert(id(n), known(n)).unwrap();
            assert_eq!(forgotten.oldest, (UnixTime(n * 10), id(n)));
        }
        for n in 1..=last {
            assert!(
                !received.is_new(&id(n), UnixTime(n * 10)),
                "{n} would come twice"
            );
        }
        assert_eq!(received.past().ends().count(), 1, "no gap is left");
    }

    #[test]
    fn what_a_person_sent_anew_is_no_news_once_its_id_is_forgotten() {
        let mut received = Received::default();
        received.insert(id(1), known(1));
        let same = received.again(&id(1), known(1).composed);
        assert!(same.is_none(), "the same copy says nothing new");
        assert!(received.again(&id(1), known(2).composed).is_some());
        for n in 3..=2 * RECEIVED_MAX as u64 {
            received.insert(id(n), known(n));
        }
        assert!(received.get(&id(1)).is_none());
        for n in [1, 2] {
            assert!(!received.is_new(&id(1), UnixTime(n * 10)), "copy {n}");
        }
    }
}

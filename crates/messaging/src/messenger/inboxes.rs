//! Which inboxes we read: computed from invites, pairs, period and directory, then compared with
//! what is open. Not here: the derivation ([`crate::pair`]).
//!
//! - Wanted: both inboxes of every invite; for every secret of every contact both of this period,
//!   and of the next in the last quarter. The writer settles on one of the two; the reader keeps the
//!   other, because only the writer knows when the first becomes its own entry gateway.
//! - Of past periods: kept until their cells are surely gone, or for one more period and at least
//!   `close_grace` of reading.
//! - Everything else is read for `close_grace` and closed, also when its gateway became our entry or
//!   vanished: what the other end was told is stored should be fetched, and a gateway that blinks
//!   should lose nothing.

use super::receiving::REFUSALS_MAX;
use super::{Earliest, Messenger, UNANSWERED, rows};
use crate::event::MessageId;
use crate::identity::ContactId;
use crate::order::{InboxClass, InboxOutcome, Order, OwnInbox};
use crate::pair::{Periods, expand, reader_choice};
use crate::records::Table;
use std::collections::BTreeMap;
use std::time::Duration;
use wire::codec::Writer;
use wire::ids::{InboxAddress, InboxId, NodeId, WriteTokenHash};
use wire::time::{Instant, UnixTime};

/// What an inbox is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// For whoever has this card.
    Invite([u8; 16]),
    /// For a contact.
    Pair {
        contact: ContactId,
        /// Rank of the secret it is derived from.
        rank: [u8; 32],
        period: u64,
    },
    /// For the records of a file that a contact sends.
    Bulk {
        contact: ContactId,
        transfer: MessageId,
    },
}

impl Purpose {
    /// How often it is read, where nobody chose.
    fn class(&self) -> InboxClass {
        match self {
            Self::Invite(_) | Self::Pair { .. } => InboxClass::Contact,
            Self::Bulk { .. } => InboxClass::Bulk,
        }
    }

    /// Who writes there: the holder of a card, or a contact.
    pub(super) fn peer(&self) -> (bool, [u8; 16]) {
        match self {
            Self::Invite(digest) => (false, *digest),
            Self::Pair { contact, .. } | Self::Bulk { contact, .. } => (true, contact.0),
        }
    }
}

/// An inbox of ours.
pub(super) struct Inbox {
    pub(super) gateway: NodeId,
    pub(super) token_hash: WriteTokenHash,
    pub(super) purpose: Purpose,
    pub(super) class: InboxClass,
    /// Not prolonged beyond, and closed then.
    pub(super) until: UnixTime,
    /// When to open or prolong it; `None` while it stands to its end.
    open_at: Option<Instant>,
    refusals: u32,
    /// When to close it, once it is not wanted any more.
    close_at: Option<Instant>,
}

impl Inbox {
    pub(super) fn new(address: &InboxAddress, purpose: Purpose, until: UnixTime) -> Self {
        Self::stored(address.gateway, address.token.hash(), purpose, until)
    }

    pub(super) fn stored(
        gateway: NodeId,
        token_hash: WriteTokenHash,
        purpose: Purpose,
        until: UnixTime,
    ) -> Self {
        Self {
            gateway,
            token_hash,
            purpose,
            class: purpose.class(),
            until,
            open_at: Some(Instant::ZERO),
            refusals: 0,
            close_at: None,
        }
    }
}

impl Messenger {
    /// An inbox was opened, or not.
    pub fn handle_inbox(
        &mut self,
        inbox: InboxId,
        outcome: InboxOutcome,
        now: Instant,
        unix: UnixTime,
    ) {
        let (shortest, longest) = self.config.waits();
        if let Some(inbox) = self.inboxes.get_mut(&inbox) {
            match outcome {
                InboxOutcome::Opened { ttl } => {
                    inbox.refusals = 0;
                    let lasts = unix.saturating_add(ttl) >= inbox.until;
                    inbox.open_at = (!lasts).then(|| now + (ttl - ttl / 4).max(shortest));
                }
                InboxOutcome::Refused => {
                    let wait = shortest.saturating_mul(1 << inbox.refusals.min(20));
                    inbox.refusals += 1;
                    inbox.open_at = Some(now + wait.min(longest));
                }
            }
        }
        self.tell_transfer(&inbox, now);
        self.advance(now, unix);
    }

    /// A transfer hears what became of its inbox.
    fn tell_transfer(&mut self, inbox: &InboxId, now: Instant) {
        let Some(known) = self.inboxes.get(inbox) else {
            return;
        };
        let (purpose, refusals) = (known.purpose, known.refusals);
        if let Purpose::Bulk { contact, transfer } = purpose
            && (refusals == 0 || refusals >= REFUSALS_MAX)
        {
            self.bulk_inbox((&contact, &transfer), inbox, refusals == 0, now);
        }
    }

    /// Opens, prolongs and closes what is due.
    pub(super) fn tend_inboxes(&mut self, now: Instant, unix: UnixTime) {
        let Some(view) = &self.view else {
            return;
        };
        let periods = Periods(&view.directory);
        let period = periods.at(unix);
        let phase = Some((period, periods.ahead(period) <= unix));
        if self.phase != phase {
            self.phase = phase;
            self.stale = true;
            for contact in self.contacts.values_mut() {
                contact.forget_candidates(&self.failing);
            }
        }
        if std::mem::take(&mut self.stale) {
            self.reconcile(now, unix);
        }
        let over = |i: &Inbox| i.until <= unix || i.close_at.is_some_and(|at| at <= now);
        let closing: Vec<InboxId> = self
            .inboxes
            .iter()
            .filter(|(_, inbox)| over(inbox))
            .map(|(id, _)| *id)
            .collect();
        for id in closing {
            self.close_inbox(&id);
        }
        self.open_due(now, unix);
    }

    fn open_due(&mut self, now: Instant, unix: UnixTime) {
        let Some(view) = &self.view else {
            return;
        };
        let longest = view.directory.parameters.inbox_ttl_max;
        for (id, inbox) in &mut self.inboxes {
            if inbox.open_at.is_some_and(|at| at <= now) {
                // Asked again in the unlikely case that no outcome ever comes.
                inbox.open_at = Some(now + self.config.attempt_timeout * UNANSWERED);
                let ttl = inbox.until.saturating_since(unix).min(longest);
                self.dispatch.orders.push_back(Order::Open(OwnInbox {
                    gateway: inbox.gateway,
                    inbox: *id,
                    reader_seed: reader_seed(&self.own_secret, &inbox.gateway, id),
                    token_hash: inbox.token_hash,
                    ttl: ttl.max(Duration::from_secs(1)),
                    class: inbox.class,
                }));
            }
        }
    }

    /// Compares what is wanted with what is there.
    fn reconcile(&mut self, now: Instant, unix: UnixTime) {
        let wanted = self.wanted_inboxes();
        for (id, inbox) in &mut self.inboxes {
            if wanted.contains_key(id) {
                inbox.close_at = None;
            } else if inbox.close_at.is_none() {
                inbox.close_at = Some(now + self.config.close_grace);
            }
        }
        self.spare_past_periods(now, unix);
        self.reclass();
        for (id, mut inbox) in wanted {
            inbox.class = self.class_of(&inbox.purpose);
            if !self.inboxes.contains_key(&id) {
                self.write(Table::Inbox, id.0.to_vec(), rows::inbox(&inbox));
                self.inboxes.insert(id, inbox);
            }
        }
    }

    fn class_of(&self, purpose: &Purpose) -> InboxClass {
        match purpose {
            Purpose::Pair { contact, .. } => match self.contacts.get(contact) {
                Some(contact) if contact.favourite => InboxClass::Favourite,
                Some(_) | None => InboxClass::Contact,
            },
            Purpose::Invite(_) | Purpose::Bulk { .. } => purpose.class(),
        }
    }

    /// Inboxes of contacts who became favourites, or are none any more, are read as such. The client
    /// waits random hours with it.
    fn reclass(&mut self) {
        let class = |i: &Inbox| self.class_of(&i.purpose);
        let changed = self.inboxes.iter().filter(|(_, i)| i.class != class(i));
        let changed: Vec<_> = changed.map(|(id, i)| (*id, class(i))).collect();
        for (inbox, class) in changed {
            if let Some(known) = self.inboxes.get_mut(&inbox) {
                known.class = class;
                if known.open_at == Some(Instant::ZERO) {
                    // The first order will say so.
                    continue;
                }
                self.dispatch
                    .orders
                    .push_back(Order::Class { inbox, class });
            }
        }
    }

    /// Inboxes of past periods are read for one more period, and for `close_grace` after we came
    /// back: the other end wrote there while we were away.
    fn spare_past_periods(&mut self, now: Instant, unix: UnixTime) {
        let Some(view) = &self.view else {
            return;
        };
        let periods = Periods(&view.directory);
        let present = periods.at(unix);
        let read_for_a_while = view.since.saturating_add(self.config.close_grace);
        for inbox in self.inboxes.values_mut() {
            if let Purpose::Pair { period, .. } = inbox.purpose
                && period < present
                && view.usable(&inbox.gateway)
            {
                let one_more = periods.start(period.saturating_add(2));
                let until = one_more.max(read_for_a_while);
                let close_at = now + until.saturating_since(unix);
                inbox.close_at = inbox.close_at.max(Some(close_at));
            }
        }
    }

    fn wanted_inboxes(&self) -> BTreeMap<InboxId, Inbox> {
        let mut wanted = BTreeMap::new();
        for (digest, invite) in &self.invites {
            let until = invite.expires.saturating_add(self.config.close_grace);
            for address in &invite.addresses {
                let inbox = Inbox::new(address, Purpose::Invite(*digest), until);
                wanted.insert(address.inbox, inbox);
            }
        }
        for (id, inbox) in &self.inboxes {
            // Whoever receives the file closes it.
            if let Purpose::Bulk { .. } = inbox.purpose {
                let (gateway, token) = (inbox.gateway, inbox.token_hash);
                let same = Inbox::stored(gateway, token, inbox.purpose, inbox.until);
                wanted.insert(*id, same);
            }
        }
        let (Some(view), Some((period, ahead))) = (&self.view, self.phase) else {
            return wanted;
        };
        let (directory, own) = (&view.directory, self.identity.public());
        let cell_ttl = directory.parameters.cell_ttl;
        for period in period..=period.saturating_add(u64::from(ahead)) {
            let end = Periods(directory).start(period.saturating_add(1));
            for (contact, state) in &self.contacts {
                for pair in &state.pairs {
                    let ranking = pair.secret.ranking(&own, period, directory);
                    let purpose = Purpose::Pair {
                        contact: *contact,
                        rank: pair.secret.rank(),
                        period,
                    };
                    let until = end.saturating_add(cell_ttl);
                    let mut choice = reader_choice(&ranking, &view.entry, directory);
                    if choice.iter().any(|g| view.failing.contains(g)) {
                        // The writer goes down the same ranking.
                        let works = |g: &NodeId| !view.failing.contains(g);
                        let ranking: Vec<NodeId> = ranking.into_iter().filter(works).collect();
                        choice.extend(reader_choice(&ranking, &view.entry, directory));
                    }
                    for gateway in choice {
                        let address = pair.secret.address(&own, period, gateway);
                        let inbox = Inbox::new(&address, purpose, until);
                        wanted.insert(address.inbox, inbox);
                    }
                }
            }
        }
        wanted
    }

    /// The inboxes that a contact writes to.
    pub(super) fn inboxes_of(&self, contact: &ContactId) -> Vec<InboxId> {
        let peer = (true, contact.0);
        let theirs = self.inboxes.iter();
        let theirs = theirs.filter(|(_, inbox)| inbox.purpose.peer() == peer);
        theirs.map(|(id, _)| *id).collect()
    }

    /// Closes an inbox now and forgets all about it.
    pub(super) fn close_inbox(&mut self, id: &InboxId) {
        let Some(inbox) = self.inboxes.remove(id) else {
            return;
        };
        self.erase(Table::Inbox, id.0.to_vec());
        self.drop_waiting(id);
        self.dispatch.orders.push_back(Order::Close {
            gateway: inbox.gateway,
            inbox: *id,
        });
    }

    pub(super) fn inbox_deadlines(&self, next: &mut Earliest) {
        if let (Some(view), Some((period, ahead))) = (&self.view, self.phase) {
            let periods = Periods(&view.directory);
            let change = match ahead {
                true => periods.start(period.saturating_add(1)),
                false => periods.ahead(period),
            };
            next.offer(self.clock.instant_at(change), "period");
            for inbox in self.inboxes.values() {
                if let Some(at) = inbox.open_at {
                    next.offer(at, "open inbox");
                }
            }
        }
        for inbox in self.inboxes.values() {
            next.offer(self.clock.instant_at(inbox.until), "inbox end");
            if let Some(at) = inbox.close_at {
                next.offer(at, "close inbox");
            }
        }
        for invite in self.invites.values() {
            let end = invite.expires.saturating_add(self.config.close_grace);
            next.offer(self.clock.instant_at(end), "card expiry");
        }
    }
}

/// Seed of the key that reads an inbox: ours alone, another for each inbox.
fn reader_seed(
    own_secret: &[u8; 32],
    gateway: &NodeId,
    inbox: &InboxId,
) -> zeroize::Zeroizing<[u8; 32]> {
    let mut w = Writer::with_capacity(80);
    w.put(b"mizzle-own-reader-v1").put(&gateway.0).put(&inbox.0);
    expand(own_secret, &w.into_vec())
}

//! From accepted to delivered: which messages are under way, and what becomes of their cells. A
//! machine for each contact; `docs/spec/messaging.md` §9.
//!
//! ```text
//!   queued ──▶ its cells leave in turn with others' ──▶ enough stored ──▶ receipt ──▶ over
//!                 ▲                                       │  none in time
//!                 └── what the answer says is missing ◀── one cell again, which asks
//! ```
//!
//! Not here: acceptance, expiry and the end ([`super::outgoing`]), orders ([`super::dispatch`]), what
//! a receipt holds ([`super::receipts`]).

use super::contacts::{ACTIVE_MAX, AHEAD_MAX, Active, Contact, Message, Settled, Way};
use super::dispatch::Sealer;
use super::pieces::PIECES_MAX;
use super::{Earliest, Messenger, rows};
use crate::draft::AppId;
use crate::event::MessageState;
use crate::fragment::{self, Cut, Pieces};
use crate::identity::ContactId;
use crate::order::DepositOutcome;
use crate::pair::expand;
use crate::records::Table;
use crate::suite1::{self, INNER_ONE_CELL, LONG_OVERHEAD};
use std::collections::BTreeMap;
use wire::rng::KeyRng;
use wire::time::Instant;

/// How many cells a message needs to be whole.
fn needed(inner: usize) -> usize {
    match inner {
        0..=INNER_ONE_CELL => 1,
        longer => Cut::new((longer + LONG_OVERHEAD) as u32).data(),
    }
}

impl Contact {
    /// Makes queued messages active as far as the window allows. Never more than three quarters of an
    /// inbox' quota of cells, or of what the other end keeps of us, are unconfirmed, but for one message
    /// that is longer.
    pub(super) fn begin_messages(&mut self, sealer: &Sealer<'_>, quota: usize) {
        let room = quota.min(PIECES_MAX);
        let (most, low) = (room * 3 / 4, room / 4);
        loop {
            let active = self.outbox.values().filter_map(|m| m.active.as_ref());
            let (count, cells) = active.fold((0, 0), |(n, sum), a| (n + 1, sum + a.needed));
            if count >= ACTIVE_MAX {
                return;
            }
            let fits = |m: &Message| {
                let one = needed(m.inner.len());
                m.begun || cells + one <= most || cells < low
            };
            let Some(next) = self.next_to_begin() else {
                return;
            };
            let next = match self.outbox.get(&next) {
                Some(message) if fits(message) => next,
                // A short one may pass; all of those that may together hold up nobody.
                _ => match self.next_short().filter(|_| cells < most) {
                    Some(short) => short,
                    None => return,
                },
            };
            if self.begin(sealer, next).is_none() {
                return;
            }
        }
    }

    /// Of those that had begun before a restart the first; else the applications in turn.
    fn next_to_begin(&self) -> Option<u64> {
        let inactive = || self.outbox.iter().filter(|(_, m)| m.active.is_none());
        if let Some((seq, _)) = inactive().find(|(_, m)| m.begun) {
            return Some(*seq);
        }
        let mut heads: BTreeMap<AppId, u64> = BTreeMap::new();
        for (seq, _) in inactive().filter(|(seq, _)| self.may_begin(**seq)) {
            let app = self.sent.get(seq).map(|s| s.app).unwrap_or_default();
            heads.entry(app).or_insert(*seq);
        }
        let after = |app: &AppId| *app > self.turn.0;
        let next = heads.iter().find(|(app, _)| after(app));
        next.or_else(|| heads.first_key_value())
            .map(|(_, seq)| *seq)
    }

    fn next_short(&self) -> Option<u64> {
        let mut inactive = self.outbox.iter().filter(|(_, m)| m.active.is_none());
        let short = |m: &Message| needed(m.inner.len()) == 1;
        let found = inactive.find(|(seq, m)| short(m) && self.may_begin(**seq));
        found.map(|(seq, _)| *seq)
    }

    /// Not so far ahead of the oldest that the other end may have forgotten its id when it is asked about it.
    fn may_begin(&self, seq: u64) -> bool {
        let oldest = self.outbox.first_key_value();
        oldest.is_some_and(|(oldest, _)| seq < oldest.saturating_add(AHEAD_MAX))
    }

    fn begin(&mut self, sealer: &Sealer<'_>, seq: u64) -> Option<()> {
        let message = self.outbox.get(&seq)?;
        let sent = self.sent.get(&seq)?;
        let pieces = match message.inner.len() {
            0..=INNER_ONE_CELL => None,
            _ => {
                let mut rng = KeyRng::from_seed(*expand(&message.seed, b"mizzle-own-long-v1"));
                let (to, kem) = (&self.identity, &self.kem);
                let (network, own) = (sealer.network, sealer.own);
                let sealed =
                    suite1::seal_long(network, own, to, kem, &message.inner, &mut rng).ok()?;
                Some(Pieces::cut(&sealed))
            }
        };
        let shape = pieces.as_ref().map(Pieces::shape);
        let (needed, total) = shape.map_or((1, 1), |cut| (cut.data(), cut.total()));
        let way = |index| match fragment::has(&sent.stored, index) {
            true => Way::Stored,
            false => Way::Waiting,
        };
        let active = Active {
            pieces,
            cells: (0..total as u16).map(way).collect(),
            needed,
            settled: None,
            silences: 0,
            asked: false,
        };
        let app = sent.app;
        let message = self.outbox.get_mut(&seq)?;
        if !message.begun {
            self.turn.0 = app;
        }
        message.begun = true;
        message.active = Some(active);
        Some(())
    }

    /// The next cell of a message: they take turns. Parity when nothing else waits.
    pub(super) fn next_cell(&self) -> Option<(u64, u16)> {
        let of = |parity: bool| {
            let after = self.outbox.range(self.turn.1.saturating_add(1)..);
            let before = self.outbox.range(..=self.turn.1);
            let mut all = after.chain(before);
            all.find_map(|(seq, m)| Some((*seq, m.active.as_ref()?.next_cell(parity)?)))
        };
        of(false).or_else(|| of(true))
    }

    /// Cells that wait in the contact's inboxes for all we know.
    fn unconfirmed(&self) -> usize {
        let active = self.outbox.values().filter_map(|m| m.active.as_ref());
        active
            .filter(|a| a.settled.is_some())
            .map(|a| a.needed)
            .sum()
    }
}

impl Messenger {
    /// Makes queued messages of a contact active.
    pub(super) fn begin_messages(&mut self, id: &ContactId, now: Instant) {
        let (Some(view), Some(contact)) = (&self.view, self.contacts.get_mut(id)) else {
            return;
        };
        if contact.outbox.is_empty() {
            return;
        }
        let sealer = Sealer {
            network: &self.config.network,
            own: &self.identity,
        };
        contact.begin_messages(&sealer, view.quota());
        // Before a restart, enough of them may have been stored already.
        let active = |m: &Message| m.active.as_ref().is_some_and(Active::is_enough);
        let enough = contact.outbox.iter().filter(|(_, m)| active(m));
        for seq in enough.map(|(seq, _)| *seq).collect::<Vec<_>>() {
            self.settle_message(id, seq, now);
        }
    }

    /// A cell of a message came further.
    pub(super) fn cell_deposit(
        &mut self,
        id: &ContactId,
        (seq, index): (u64, u16),
        outcome: DepositOutcome,
        now: Instant,
    ) {
        let waits = self.config.waits();
        let Some(contact) = self.contacts.get_mut(id) else {
            return;
        };
        let Some(way) = contact.way_mut(seq, index) else {
            return;
        };
        let Way::Under(under) = way else {
            return;
        };
        let inbox = under.address.inbox;
        match outcome {
            DepositOutcome::Mixing => {
                under.sent.get_or_insert(now);
                self.raise(id, seq, MessageState::Mixing);
            }
            DepositOutcome::Stored => {
                *way = Way::Stored;
                contact.path_stored(&inbox);
                self.settle_message(id, seq, now);
            }
            DepositOutcome::Refused => {
                *way = Way::Waiting;
                contact.path_refused(&inbox, now, waits);
            }
        }
    }

    /// Tells of a later state, and writes it down.
    pub(super) fn raise(&mut self, id: &ContactId, seq: u64, state: MessageState) {
        let sent = self.contacts.get_mut(id).and_then(|c| c.sent.get_mut(&seq));
        if let Some(sent) = sent
            && sent.raise(state)
        {
            let (client_id, row) = (sent.id.clone(), rows::sent(sent));
            self.write(Table::Sent, rows::message_key(id, seq), row);
            self.tell_state(id, client_id, state);
        }
    }

    /// Writes down which cells are stored; with enough of them the message is.
    pub(super) fn settle_message(&mut self, id: &ContactId, seq: u64, now: Instant) {
        let Some(pace) = self.view.as_ref().map(|v| v.pace) else {
            return;
        };
        let Some(contact) = self.contacts.get_mut(id) else {
            return;
        };
        let ahead = contact.unconfirmed();
        let (trips, receipts) = (contact.trips, contact.their_receipts.0);
        let Some(message) = contact.outbox.get_mut(&seq) else {
            return;
        };
        let (Some(active), Some(sent)) = (&mut message.active, contact.sent.get_mut(&seq)) else {
            return;
        };
        let stored = active.cells.iter().enumerate();
        let stored = stored.filter(|(_, c)| c.is_stored()).map(|(i, _)| i as u16);
        sent.stored = fragment::bitmap(stored);
        let enough = active.is_enough();
        if enough {
            for way in &mut active.cells {
                self.dispatch.withdraw(way);
                if way.is_waiting() {
                    *way = Way::Spare;
                }
            }
            active.settled = Some(Settled {
                at: now,
                ask_at: now + trips.timeout(&pace, ahead + active.needed, active.silences),
                heard: false,
            });
        }
        if enough && !receipts {
            return self.finish_stored(id, seq);
        }
        if enough && sent.raise(MessageState::Stored) {
            let client_id = sent.id.clone();
            self.tell_state(id, client_id, MessageState::Stored);
        }
        self.write_sent(id, seq);
    }

    /// Messages that got no receipt in time ask for one: a cell goes again.
    pub(super) fn ask_for_receipts(&mut self, id: &ContactId, now: Instant) {
        let due = match self.contacts.get(id) {
            Some(contact) => contact.questions(),
            None => return,
        };
        for (seq, at) in due {
            if at > now {
                continue;
            }
            let contact = self.contacts.get_mut(id);
            let contact =
                contact.and_then(|c| Some((c.outbox.get_mut(&seq)?, c.sent.get_mut(&seq)?)));
            let Some((message, sent)) = contact else {
                continue;
            };
            let Some(active) = &mut message.active else {
                continue;
            };
            active.settled = None;
            active.silences = active.silences.saturating_add(1);
            active.asked = true;
            if let Some(cell) = active.cells.iter_mut().find(|c| c.is_stored()) {
                *cell = Way::Waiting;
            }
            // The next odd one: those ask.
            sent.attempt = sent.attempt.saturating_add(1) | 1;
            self.write_sent(id, seq);
        }
    }

    /// The contact has these pieces of a message and not the others, which go again.
    pub(super) fn repair(&mut self, id: &ContactId, seq: u64, here: &[u8], now: Instant) {
        let contact = self.contacts.get_mut(id);
        let contact = contact.and_then(|c| Some((c.outbox.get_mut(&seq)?, c.sent.get_mut(&seq)?)));
        let Some((message, sent)) = contact else {
            return;
        };
        let Some(active) = message.active.as_mut().filter(|a| a.asked) else {
            return;
        };
        // One answer for each question: who asks for more gets it at the next.
        active.asked = false;
        active.settled = None;
        for (index, way) in active.cells.iter_mut().enumerate() {
            if fragment::has(here, index as u16) {
                self.dispatch.withdraw(way);
                *way = Way::Stored;
            } else if way.under_way().is_none() {
                *way = Way::Waiting;
            }
        }
        // The next even one: those do not ask.
        sent.attempt = sent.attempt.saturating_add(2) & !1;
        self.settle_message(id, seq, now);
    }

    /// The contact lives. What it does not confirm in the time of a round trip from now is missing.
    pub(super) fn heard_of(&mut self, id: &ContactId, now: Instant) {
        let Some(pace) = self.view.as_ref().map(|v| v.pace) else {
            return;
        };
        let Some(contact) = self.contacts.get_mut(id) else {
            return;
        };
        let wait = contact.trips.timeout(&pace, contact.unconfirmed(), 0);
        let active = contact
            .outbox
            .values_mut()
            .filter_map(|m| m.active.as_mut());
        for settled in active.filter_map(|a| a.settled.as_mut()) {
            if !std::mem::replace(&mut settled.heard, true) {
                settled.ask_at = settled.ask_at.max(now + wait);
            }
        }
    }

    pub(super) fn write_sent(&mut self, id: &ContactId, seq: u64) {
        let sent = self.contacts.get(id).and_then(|c| c.sent.get(&seq));
        if let Some(row) = sent.map(rows::sent) {
            self.write(Table::Sent, rows::message_key(id, seq), row);
        }
    }
}

impl Contact {
    /// Messages that may ask for their receipt, and when. To a contact who is silent only the oldest
    /// does: somebody who is away for days finds few questions.
    fn questions(&self) -> Vec<(u64, Instant)> {
        let was_stored = |(seq, m): (&u64, &Message)| {
            let active = m.active.as_ref()?;
            let settled = active.settled.as_ref().map(|s| (*seq, s.ask_at, s.heard));
            (settled.is_some() || active.silences > 0).then_some(settled)
        };
        let all = self.outbox.iter();
        let all = all.filter_map(|(seq, m)| was_stored((seq, m))).enumerate();
        let may = all.filter_map(|(place, settled)| {
            let (seq, at, heard) = settled?;
            (place == 0 || heard).then_some((seq, at))
        });
        may.collect()
    }

    pub(super) fn question_deadlines(&self, next: &mut Earliest) {
        for (_, at) in self.questions() {
            next.offer(at, "receipt question");
        }
    }
}

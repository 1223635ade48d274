//! The sender's half of a transfer: which record goes to which inbox, and when it goes again.
//!
//! A record is *in flight* from the moment its bytes are asked for until a report confirms it. It goes
//! again when its inbox refused it or is not the receiver's any more, when records that were stored
//! long after it in the same inbox are confirmed and it is not, when many of other inboxes are and none of
//! its own, or when the receiver says that nothing comes any more. Bounded: [`super::UNDER_WAY_MAX`] records of each
//! inbox with their bytes, so that one whose gateway is silent holds up no other, a window of
//! numbers for the rest, [`SPAN`] numbers beyond the first missing one.
//!
//! Of a record that went more than once a report does not say which copy was read, so it proves nothing about what was
//! stored before the newest copy (as Karn's rule for round trips has it). Otherwise an old copy, read elsewhere, would
//! condemn all that still waits in the inbox of the newest; that goes again, its old copies condemn others, and for
//! the rest of the file each record goes twice.
//!
//! Not here: what is known of the inboxes (`inboxes`), how a choice becomes a deposit ([`crate::Messenger`]), and
//! the cell ([`super::bulk`]).

mod inboxes;

pub use inboxes::Reach;

use super::formats::{FileAccept, Report};
use super::{FileKey, INBOX_WINDOW_MAX, INBOXES_MAX, Pace, SPAN, Shape, bulk};
use inboxes::Inboxes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use wire::ids::{CellId, InboxAddress, InboxId, NodeId};
use wire::request::Cell;
use wire::time::Instant;

/// Fetching is not in the order of storing, by about the fetches on their way. A record is lost when
/// one that was stored so many records after it is confirmed.
const REORDER: u64 = 32;

/// What a [`SendTransfer`] wants done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendAction {
    /// Fetch the bytes of this record for [`SendTransfer::handle_record`].
    Want(u32),
    /// The deposit of this record is of no use any more.
    Withdraw(u32),
    /// The receiver is silent: send the offer once more.
    Offer,
}

/// A report, or a record, that contradicts the file. A report is ignored; without its record a file
/// cannot be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nonsense;

/// A cell for an inbox.
pub struct RecordCell {
    /// Where to.
    pub address: InboxAddress,
    /// The same for the same record at the same inbox.
    pub cell_id: CellId,
    /// What to bring.
    pub cell: Cell,
}

#[derive(Clone, Copy)]
struct Flight {
    inbox: InboxId,
    attempts: u8,
    step: Step,
}

#[derive(Clone, Copy)]
enum Step {
    Wanted,
    UnderWay { left: Option<Instant> },
    Stored { order: u64, at: Instant },
}

/// See the module.
pub struct SendTransfer {
    key: FileKey,
    shape: Shape,
    pace: Pace,
    inboxes: Inboxes,
    /// Of the newest report.
    number: u32,
    /// All before it are confirmed.
    base: u32,
    /// Confirmed ones after it.
    beyond: BTreeSet<u32>,
    /// The first that was never in flight.
    next: u32,
    /// Those before it may have been in flight before a restart.
    doubtful: u32,
    /// Those that go again, with their attempts so far.
    again: BTreeMap<u32, u8>,
    flight: BTreeMap<u32, Flight>,
    heard: Instant,
    silences: u32,
    complete: bool,
    /// Others have their turn: no record is asked for.
    waits: bool,
    actions: VecDeque<SendAction>,
}

impl SendTransfer {
    /// Nothing was confirmed yet; the offer goes out now.
    pub fn new(key: FileKey, shape: Shape, pace: Pace, now: Instant) -> Self {
        Self {
            key,
            shape,
            pace,
            inboxes: Inboxes::default(),
            number: 0,
            base: 0,
            beyond: BTreeSet::new(),
            next: 0,
            doubtful: 0,
            again: BTreeMap::new(),
            flight: BTreeMap::new(),
            heard: now,
            silences: 0,
            complete: false,
            waits: false,
            actions: VecDeque::new(),
        }
    }

    /// The receiver has all of it, and it is right.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether the receiver ever accepted.
    pub fn is_accepted(&self) -> bool {
        !self.inboxes.is_empty()
    }

    /// Bytes that are confirmed.
    pub fn done(&self) -> u64 {
        self.shape.bytes(self.base + self.beyond.len() as u32)
    }

    /// What it is about.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    pub(super) fn key(&self) -> &FileKey {
        &self.key
    }

    /// Rates or limits changed.
    pub fn handle_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// Whether it has to wait with further records. What is under way goes on, and so does the talk about it.
    pub fn handle_turn(&mut self, waits: bool) {
        self.waits = waits;
    }

    /// Whether there is a record to send and an inbox to put it in, whoever's turn it is.
    pub fn wants(&self, now: Instant) -> bool {
        let candidate = self.candidate().filter(|_| !self.complete);
        candidate.is_some_and(|next| self.place(next, now).is_some())
    }

    /// Records whose bytes are asked for or under way.
    pub fn under_way(&self) -> usize {
        let flights = self.flight.values();
        flights
            .filter(|f| !matches!(f.step, Step::Stored { .. }))
            .count()
    }

    /// Inboxes to use, and what is there already. The newest accept holds.
    pub fn handle_accept(
        &mut self,
        accept: &FileAccept,
        reach: &dyn Fn(&NodeId) -> Reach,
        now: Instant,
    ) -> Result<(), Nonsense> {
        if self.take_report(&accept.report, now)? {
            self.take_inboxes(&accept.inboxes);
            self.handle_reach(reach);
        }
        Ok(())
    }

    /// What is there.
    pub fn handle_progress(&mut self, report: &Report, now: Instant) -> Result<(), Nonsense> {
        self.take_report(report, now).map(|_| ())
    }

    /// The entry gateway or the state of gateways changed: what is on its way to one that is of no
    /// use goes elsewhere. What is stored there can still be read.
    pub fn handle_reach(&mut self, reach: &dyn Fn(&NodeId) -> Reach) {
        let gone = self.inboxes.see(reach);
        self.requeue(|f| gone.contains(&f.inbox) && !matches!(f.step, Step::Stored { .. }));
    }

    /// The bytes of a record; `None` when they are not needed any more.
    pub fn handle_record(
        &mut self,
        index: u32,
        bytes: &[u8],
    ) -> Result<Option<RecordCell>, Nonsense> {
        let Some(flight) = self.flight.get_mut(&index) else {
            return Ok(None);
        };
        let (Step::Wanted, Some(stripe)) = (flight.step, self.inboxes.get(&flight.inbox)) else {
            return Ok(None);
        };
        let sealed = bulk::seal(&self.key, self.shape, index, bytes, &flight.inbox);
        let (cell_id, cell) = sealed.ok_or(Nonsense)?;
        flight.step = Step::UnderWay { left: None };
        Ok(Some(RecordCell {
            address: stripe.address.clone(),
            cell_id,
            cell,
        }))
    }

    /// Its cell left in a packet.
    pub fn handle_mixing(&mut self, index: u32, now: Instant) {
        if let Some(flight) = self.flight.get_mut(&index)
            && let Step::UnderWay { left: left @ None } = &mut flight.step
        {
            *left = Some(now);
        }
    }

    /// The gateway keeps it durably.
    pub fn handle_stored(&mut self, index: u32, now: Instant) {
        let Some(flight) = self.flight.get_mut(&index) else {
            return;
        };
        let stripe = self.inboxes.get_mut(&flight.inbox);
        if let (Step::UnderWay { .. }, Some(stripe)) = (flight.step, stripe) {
            let order = stripe.store();
            flight.step = Step::Stored { order, at: now };
        }
    }

    /// The gateway will not take it, or never answers.
    pub fn handle_refused(&mut self, index: u32, now: Instant) {
        let Some(flight) = self.flight.get(&index).copied() else {
            return;
        };
        if !matches!(flight.step, Step::UnderWay { .. }) {
            return;
        }
        if let Some(stripe) = self.inboxes.get_mut(&flight.inbox) {
            stripe.refuse(now);
        }
        self.requeue_one(index);
    }

    /// Something may be due. `attempt` is how long a deposit that left may take.
    pub fn handle_timeout(&mut self, attempt: Duration, now: Instant) {
        let left = |f: &Flight| match f.step {
            Step::UnderWay { left } => left,
            Step::Wanted | Step::Stored { .. } => None,
        };
        let late = |f: &Flight| left(f).is_some_and(|left| left + attempt <= now);
        let late: Vec<u32> = self.indices(late);
        for index in late {
            self.actions.push_back(SendAction::Withdraw(index));
            self.handle_refused(index, now);
        }
        if !self.complete && self.silent_at() <= now {
            self.silences += 1;
            self.heard = now;
            self.actions.push_back(SendAction::Offer);
        }
    }

    /// When to call [`SendTransfer::handle_timeout`].
    pub fn poll_timeout(&self, attempt: Duration, now: Instant) -> Option<Instant> {
        if self.complete {
            return None;
        }
        let left = self.flight.values().filter_map(|f| match f.step {
            Step::UnderWay { left } => left.map(|left| left + attempt),
            Step::Wanted | Step::Stored { .. } => None,
        });
        let paused = self.inboxes.paused(now);
        left.chain(paused).chain([self.silent_at()]).min()
    }

    /// The next thing to do.
    pub fn poll_action(&mut self, now: Instant) -> Option<SendAction> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        if self.complete || self.waits {
            return None;
        }
        let (index, attempts) = self.candidate()?;
        let place = self.place((index, attempts), now)?;
        let inbox = self.inboxes.take(place);
        self.again.remove(&index);
        self.next = self.next.max(index + 1);
        self.flight.insert(
            index,
            Flight {
                inbox,
                attempts,
                step: Step::Wanted,
            },
        );
        Some(SendAction::Want(index))
    }

    /// The next record: one that goes again, or the first that never went.
    fn candidate(&self) -> Option<(u32, u8)> {
        if let Some((index, attempts)) = self.again.first_key_value() {
            return Some((*index, *attempts));
        }
        let end = self.shape.records().min(self.base.saturating_add(SPAN));
        let fresh = (self.next.max(self.base)..end).find(|i| !self.beyond.contains(i))?;
        Some((fresh, 0))
    }

    /// Which of the inboxes a record goes to now.
    fn place(&self, record: (u32, u8), now: Instant) -> Option<usize> {
        let under_way = |inbox: &InboxId| {
            let busy = |f: &&Flight| f.inbox == *inbox && !matches!(f.step, Step::Stored { .. });
            self.flight.values().filter(busy).count()
        };
        let window = self.pace.inbox_window;
        self.inboxes.place(record, window, under_way, now)
    }

    /// When the receiver has been silent for too long.
    fn silent_at(&self) -> Instant {
        self.heard + self.pace.patience_after(self.silences)
    }

    /// Whether the report was the newest so far.
    fn take_report(&mut self, report: &Report, now: Instant) -> Result<bool, Nonsense> {
        let records = self.shape.records();
        let beyond_end = report.beyond().any(|i| i >= records);
        let incomplete = report.complete && report.first_missing != records;
        if report.first_missing > records || beyond_end || incomplete {
            return Err(Nonsense);
        }
        self.heard = now;
        self.silences = 0;
        self.base = self.base.max(report.first_missing);
        let base = self.base;
        let within = |i: &u32| *i >= base && i - base <= SPAN;
        self.beyond.extend(report.beyond().filter(within));
        while self.beyond.remove(&self.base) {
            self.base += 1;
        }
        self.beyond = self.beyond.split_off(&self.base);
        self.next = self.next.max(self.base);
        self.confirm();
        let newest = report.number > self.number;
        self.number = self.number.max(report.number);
        if newest && report.idle {
            let patience = self.pace.patience;
            self.requeue(|f| matches!(f.step, Step::Stored { at, .. } if at + patience <= now));
        }
        if report.complete {
            self.complete = true;
            self.requeue(|_| true);
        }
        Ok(newest)
    }

    /// What is confirmed is in flight no more; what was overtaken by far goes again.
    fn confirm(&mut self) {
        let (base, beyond) = (self.base, &self.beyond);
        let here = |i: u32| i < base || beyond.contains(&i);
        self.again.retain(|i, _| !here(*i));
        let done: Vec<u32> = self.flight.keys().copied().filter(|i| here(*i)).collect();
        let mut of_each: BTreeMap<InboxId, u64> = BTreeMap::new();
        for index in done {
            let Some(flight) = self.flight.remove(&index) else {
                continue;
            };
            *of_each.entry(flight.inbox).or_default() += 1;
            let once = flight.attempts == 0 && index >= self.doubtful;
            let order = match flight.step {
                Step::Stored { order, .. } if once => order,
                // Perhaps an earlier copy was read, elsewhere: no word of what lies here.
                Step::Stored { .. } | Step::Wanted => 0,
                Step::UnderWay { .. } => {
                    self.actions.push_back(SendAction::Withdraw(index));
                    0
                }
            };
            if let Some(stripe) = self.inboxes.get_mut(&flight.inbox) {
                stripe.confirm(order);
            }
        }
        let newest = self.inboxes.confirmed();
        self.requeue(|f| match f.step {
            Step::Stored { order, .. } => newest.get(&f.inbox) > Some(&(order + REORDER)),
            Step::Wanted | Step::UnderWay { .. } => false,
        });
        let lies = |inbox: &InboxId| {
            let there = |f: &Flight| f.inbox == *inbox && matches!(f.step, Step::Stored { .. });
            self.flight.values().any(there)
        };
        let silent = self.inboxes.notice_silent(&of_each, lies);
        self.requeue(|f| silent.contains(&f.inbox) && matches!(f.step, Step::Stored { .. }));
    }

    /// Those that stay keep their state; what lies in one that goes, goes again.
    fn take_inboxes(&mut self, inboxes: &[InboxAddress]) {
        let gone = self.inboxes.replace(inboxes);
        self.requeue(|f| gone.contains(&f.inbox));
    }

    fn indices(&self, which: impl Fn(&Flight) -> bool) -> Vec<u32> {
        let wanted = self.flight.iter().filter(|(_, f)| which(f));
        wanted.map(|(index, _)| *index).collect()
    }

    fn requeue(&mut self, which: impl Fn(&Flight) -> bool) {
        for index in self.indices(which) {
            if let Some(Step::UnderWay { .. }) = self.flight.get(&index).map(|f| f.step) {
                self.actions.push_back(SendAction::Withdraw(index));
            }
            self.requeue_one(index);
        }
    }

    fn requeue_one(&mut self, index: u32) {
        let Some(flight) = self.flight.remove(&index) else {
            return;
        };
        if let Some(stripe) = self.inboxes.get_mut(&flight.inbox) {
            stripe.give_back();
        }
        if !self.complete {
            // Never 0 again: that says that there is one copy.
            let attempts = flight.attempts.checked_add(1).unwrap_or(1);
            self.again.insert(index, attempts);
        }
    }

    /// What must survive a restart: the newest report, and the inboxes.
    pub(super) fn memory(&self) -> (u32, u32, &BTreeSet<u32>, Vec<&InboxAddress>) {
        let inboxes = self.inboxes.addresses().collect();
        (self.number, self.base, &self.beyond, inboxes)
    }

    /// Takes back what [`SendTransfer::memory`] gave. Everything unconfirmed goes again, as the
    /// identical cells where they went before.
    pub(super) fn remember(&mut self, report: &Report, inboxes: &[InboxAddress]) {
        (self.number, self.base) = (report.number, report.first_missing);
        self.beyond = report.beyond().collect();
        self.next = self.base;
        // They go in order, and all windows together are the most that were in flight.
        let missing = (self.base..self.shape.records()).filter(|i| !self.beyond.contains(i));
        let most = INBOXES_MAX * INBOX_WINDOW_MAX as usize;
        self.doubtful = missing.take(most).last().map_or(self.base, |i| i + 1);
        self.complete = report.complete;
        self.take_inboxes(inboxes);
    }

    /// Numbers held, for tests of the bounds.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        let numbers = self.flight.len() + self.again.len() + self.beyond.len();
        (numbers, self.actions.len())
    }
}

//! The receiver's half of a transfer: which inboxes, which records are here, and what the sender is
//! told about it. Not here: who opens the inboxes and carries the reports ([`crate::Messenger`]),
//! where the bytes go and who hashes them (`clientd`).
//!
//! - An **accept** says where to and what is here: when the first inboxes stand, when one is lost or another
//!   stands, after every quarter of the sender's window, when something came and then nothing more for a
//!   while, when nothing came for long (it then says *idle*, with ever longer waits), and when asked.
//! - A **progress** says only what is here: while others of the inboxes are still being opened, and when the
//!   file is complete.
//!
//! At most one of them waits at a time, and any may be lost, or overtaken by the next: the newest accept
//! says it all.
//!
//! An inbox at a gateway that fails is not named while two others are (one of them may be at the sender's
//! own entry, which only the sender knows); what lies there is still read.

use super::bitmap::Bitmap;
use super::bulk::{self, BulkError};
use super::formats::{FileAccept, FileProgress, Report};
use super::{FileKey, INBOXES_MAX, Pace, Shape};
use crate::event::MessageId;
use wire::ids::{InboxAddress, InboxId, NodeId};
use wire::request::Cell;
use wire::time::Instant;
use zeroize::Zeroizing;

/// How far it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Records are missing.
    Receiving,
    /// All records are here; the owner hashes them.
    Checking,
    /// It is right.
    Complete,
}

/// A report on its way to the sender.
pub enum Control {
    /// Where to, and what is here.
    Accept(FileAccept),
    /// What is here.
    Progress(FileProgress),
}

/// What a cell held: a new record, or `None` for one that is here already.
pub type Taken = Option<(u32, Zeroizing<Vec<u8>>)>;

struct BulkInbox {
    address: InboxAddress,
    open: bool,
    /// Its gateway answers far less than others.
    poor: bool,
}

/// With so many inboxes at gateways that work no other is named.
const GOOD_ENOUGH: usize = 2;

/// See the module.
pub struct ReceiveTransfer {
    id: MessageId,
    key: FileKey,
    shape: Shape,
    pace: Pace,
    stage: Stage,
    records: Bitmap,
    inboxes: Vec<BulkInbox>,
    /// Of the newest report.
    number: u32,
    /// Records that came since then, doubles too: they show that a report was lost.
    unreported: u32,
    /// The newest record, or the start.
    heard: Instant,
    silences: u32,
    accept_at: Option<Instant>,
    progress_at: Option<Instant>,
}

impl ReceiveTransfer {
    /// The offer was accepted. The caller goes on with [`ReceiveTransfer::inboxes_wanted`].
    pub fn new(id: MessageId, key: FileKey, shape: Shape, pace: Pace, now: Instant) -> Self {
        let records = Bitmap::new(shape.records());
        let stage = match records.is_full() {
            true => Stage::Checking,
            false => Stage::Receiving,
        };
        Self {
            id,
            key,
            shape,
            pace,
            stage,
            records,
            inboxes: Vec::new(),
            number: 0,
            unreported: 0,
            heard: now,
            silences: 0,
            accept_at: None,
            progress_at: None,
        }
    }

    /// How far it has come.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// What it is about.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Bytes that are here.
    pub fn done(&self) -> u64 {
        self.shape.bytes(self.records.count())
    }

    /// Rates or limits changed.
    pub fn handle_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// How many more inboxes should be opened, at other gateways than [`ReceiveTransfer::inboxes`].
    pub fn inboxes_wanted(&self) -> usize {
        match self.stage {
            Stage::Receiving => INBOXES_MAX - self.inboxes.len(),
            Stage::Checking | Stage::Complete => 0,
        }
    }

    /// The inboxes that are, or shall be, open.
    pub fn inboxes(&self) -> impl Iterator<Item = &InboxAddress> {
        self.inboxes.iter().map(|i| &i.address)
    }

    /// Another inbox is being opened.
    pub fn add_inbox(&mut self, address: InboxAddress) {
        if self.inboxes_wanted() > 0 {
            self.inboxes.push(BulkInbox {
                address,
                open: false,
                poor: false,
            });
        }
    }

    /// Gateways fail, or are back.
    pub fn handle_poor(&mut self, poor: &dyn Fn(&NodeId) -> bool, now: Instant) {
        let before = self.named();
        for inbox in &mut self.inboxes {
            inbox.poor = poor(&inbox.address.gateway);
        }
        if self.named() != before {
            self.accept_soon(now);
        }
    }

    /// The inboxes that the sender is to use.
    fn named(&self) -> Vec<InboxAddress> {
        let open = || self.inboxes.iter().filter(|i| i.open);
        let few = open().filter(|i| !i.poor).count() < GOOD_ENOUGH;
        let named = open().filter(|i| few || !i.poor);
        named.map(|i| i.address.clone()).collect()
    }

    /// An inbox stands. Said again when it is prolonged.
    pub fn handle_opened(&mut self, inbox: &InboxId, now: Instant) {
        let opened = self.inboxes.iter_mut().find(|i| i.address.inbox == *inbox);
        if let Some(opened) = opened
            && !std::mem::replace(&mut opened.open, true)
        {
            self.accept_soon(now);
        }
    }

    /// An inbox is of no use any more; whether it was one of ours.
    pub fn lose_inbox(&mut self, inbox: &InboxId, now: Instant) -> bool {
        let before = self.inboxes.len();
        self.inboxes.retain(|i| i.address.inbox != *inbox);
        let lost = self.inboxes.len() < before;
        if lost {
            self.accept_soon(now);
        }
        lost
    }

    /// At once when all stand that will; else the others get a while.
    fn accept_soon(&mut self, now: Instant) {
        let at = match self.inboxes.iter().all(|i| i.open || i.poor) {
            true => now,
            false => now + self.pace.patience / 4,
        };
        if self.stage == Stage::Receiving && self.inboxes.iter().any(|i| i.open) {
            self.accept_at = Some(self.accept_at.map_or(at, |other| other.min(at)));
        }
    }

    /// The offer came again, or the sender asks in another way: tell it everything.
    pub fn handle_asked(&mut self, now: Instant) {
        match self.stage {
            Stage::Receiving => self.accept_at = Some(now),
            Stage::Checking | Stage::Complete => self.progress_at = Some(now),
        }
    }

    /// A cell from one of the inboxes. When the last record comes the stage is
    /// [`Stage::Checking`].
    pub fn handle_cell(&mut self, cell: &Cell, now: Instant) -> Result<Taken, BulkError> {
        let (index, bytes) = bulk::open(&self.key, self.shape, cell)?;
        self.heard = now;
        self.silences = 0;
        self.unreported += 1;
        let quiet = now + self.pace.patience / 8;
        let quarter = self.unreported >= self.quarter_window();
        self.progress_at = Some(if quarter { now } else { quiet });
        if !self.records.insert(index) {
            return Ok(None);
        }
        if self.records.is_full() {
            self.stage = Stage::Checking;
            (self.accept_at, self.progress_at) = (None, None);
        }
        Ok(Some((index, bytes)))
    }

    /// The owner hashed the file and it is right. (A wrong one is cancelled.)
    pub fn handle_checked(&mut self, now: Instant) {
        if self.stage == Stage::Checking {
            self.stage = Stage::Complete;
            self.inboxes.clear();
            self.progress_at = Some(now);
        }
    }

    /// Something may be due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.idle_at().is_some_and(|at| at <= now) {
            self.silences += 1;
            self.accept_at = Some(now);
        }
    }

    /// When to call [`ReceiveTransfer::handle_timeout`] and [`ReceiveTransfer::poll_control`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = [self.accept_at, self.progress_at, self.idle_at()];
        due.into_iter().flatten().min()
    }

    /// When the next long silence ends. Each ends later: T0, 3·T0, 7·T0 … after the last record.
    fn idle_at(&self) -> Option<Instant> {
        let open = self.inboxes.iter().any(|i| i.open);
        if self.stage != Stage::Receiving || !open {
            return None;
        }
        let sum = (1u32 << (self.silences.min(10) + 1)) - 1;
        let steady = self.silences.saturating_sub(10).saturating_mul(1 << 10);
        let times = sum.saturating_add(steady);
        Some(self.heard + self.pace.patience.saturating_mul(times))
    }

    fn quarter_window(&self) -> u32 {
        let named = self.named().len() as u32;
        (named * self.pace.inbox_window / 4).max(1)
    }

    /// What the sender should be told now. Changes what is remembered: write it down first.
    pub fn poll_control(&mut self, now: Instant) -> Option<Control> {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let inboxes = match self.stage {
            Stage::Receiving => self.named(),
            Stage::Checking | Stage::Complete => Vec::new(),
        };
        let accept = due(self.accept_at) && !inboxes.is_empty();
        if due(self.accept_at) {
            self.accept_at = None;
        }
        if !accept && !due(self.progress_at) {
            return None;
        }
        self.progress_at = None;
        self.unreported = 0;
        self.number = self.number.saturating_add(1);
        let report = self.report(now);
        let transfer = self.id;
        // Others are being opened: what the sender knows holds until they are, or do not come.
        let waits = self.accept_at.is_some();
        Some(match inboxes.is_empty() || waits {
            false => Control::Accept(FileAccept {
                transfer,
                report,
                inboxes,
            }),
            true => Control::Progress(FileProgress { transfer, report }),
        })
    }

    fn report(&self, now: Instant) -> Report {
        let first_missing = self.records.first_missing();
        let bitmap = Report::bitmap_of(first_missing, |i| self.records.contains(i));
        let idle = self.stage == Stage::Receiving && self.heard + self.pace.patience <= now;
        Report {
            number: self.number,
            idle,
            complete: self.stage == Stage::Complete,
            first_missing,
            bitmap,
        }
    }

    /// Pages of records that changed, to be written down.
    pub fn take_dirty(&mut self) -> Vec<(u32, Vec<u8>)> {
        self.records.take_dirty()
    }

    /// How many pages there are.
    pub fn pages(&self) -> u32 {
        self.records.pages()
    }

    /// Takes back a page that was written down; `false` when it is not of this file.
    pub fn restore_page(&mut self, page: u32, bytes: &[u8]) -> bool {
        let fits = self.records.restore(page, bytes);
        if self.records.is_full() && self.stage == Stage::Receiving {
            self.stage = Stage::Checking;
        }
        fits
    }

    /// What must survive a restart besides the pages.
    pub(super) fn memory(&self) -> (&FileKey, u32, bool) {
        (&self.key, self.number, self.stage == Stage::Complete)
    }

    /// Takes back what [`ReceiveTransfer::memory`] and [`ReceiveTransfer::inboxes`] gave. The
    /// inboxes are opened again.
    pub(super) fn remember(&mut self, number: u32, complete: bool, inboxes: Vec<InboxAddress>) {
        self.number = number;
        if complete {
            self.stage = Stage::Complete;
        }
        let closed = |address| BulkInbox {
            address,
            open: false,
            poor: false,
        };
        self.inboxes = inboxes.into_iter().map(closed).collect();
    }
}

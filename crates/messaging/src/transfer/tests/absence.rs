//! Inboxes that come and go, and whose gateways are silent: what the receiver says of them, and what the
//! sender makes of one of which it hears nothing.

use super::super::receive::{Control, ReceiveTransfer};
use super::super::send::{Reach, SendAction};
use super::super::*;
use super::network::gateway;
use crate::event::MessageId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use wire::codec::{Reader, Writer};
use wire::ids::{InboxAddress, InboxId, NodeId, WriteToken};
use wire::rng::{KeyRng, pick};
use wire::time::Instant;

const ID: MessageId = MessageId([1; 16]);
const RECORDS: u32 = 3000;
const SHAPE: Shape = Shape::new(RECORDS as u64 * FILE_RECORD_LEN as u64);

fn pace() -> Pace {
    Pace::new(Duration::from_secs(40), 256)
}

fn key() -> FileKey {
    FileKey::from_bytes([3; 32])
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

fn address(n: u8) -> InboxAddress {
    InboxAddress {
        gateway: gateway(n),
        inbox: InboxId([n; 32]),
        token: WriteToken([n; 32]),
    }
}

/// A receiver with inboxes that stand, and how it is fed.
struct Receiver(ReceiveTransfer, u32);

impl Receiver {
    fn with(inboxes: &[u8]) -> Self {
        let mut transfer = ReceiveTransfer::new(ID, key(), SHAPE, pace(), at(0));
        for n in inboxes {
            transfer.add_inbox(address(*n));
        }
        for n in inboxes {
            transfer.handle_opened(&InboxId([*n; 32]), at(0));
        }
        Self(transfer, 0)
    }

    /// So many records that there is something to report.
    fn feed(&mut self, now: Instant) {
        for index in self.1..self.1 + 128 {
            let (inbox, bytes) = (InboxId([9; 32]), [0; FILE_RECORD_LEN]);
            let (_, cell) = bulk::seal(&key(), SHAPE, index, &bytes, &inbox).unwrap();
            self.0.handle_cell(&cell, now).unwrap();
        }
        self.1 += 128;
    }

    /// The inboxes that it names now; none where it only says what is here.
    fn named(&mut self, now: Instant) -> Vec<u8> {
        match self.0.poll_control(now) {
            Some(Control::Accept(accept)) => accept.inboxes.iter().map(|a| a.inbox.0[0]).collect(),
            Some(Control::Progress(_)) => Vec::new(),
            None => panic!("it has something to say"),
        }
    }
}

#[test]
fn every_report_says_where_to() {
    let mut receiver = Receiver::with(&[1, 2]);
    // Whatever became of the first, of the one that told that an inbox is lost, and of the one that told of
    // another: the next one says it too.
    assert_eq!(receiver.named(at(0)), [1, 2]);
    receiver.feed(at(1));
    assert_eq!(receiver.named(at(1)), [1, 2]);
    receiver.0.lose_inbox(&InboxId([1; 32]), at(2));
    receiver.0.add_inbox(address(3));
    assert_eq!(receiver.named(at(2)), [2]);
    receiver.feed(at(3));
    assert_eq!(receiver.named(at(3)), [2]);
    receiver.0.handle_opened(&InboxId([3; 32]), at(4));
    assert_eq!(receiver.named(at(4)), [2, 3]);
    receiver.feed(at(5));
    assert_eq!(receiver.named(at(5)), [2, 3]);
}

#[test]
fn while_some_are_being_opened_the_others_are_not_named_alone() {
    let mut receiver = Receiver::with(&[]);
    (1..=3).for_each(|n| receiver.0.add_inbox(address(n)));
    receiver.0.handle_opened(&InboxId([1; 32]), at(0));
    // As after a restart: the sender may know all three.
    receiver.feed(at(1));
    assert!(receiver.named(at(1)).is_empty());
    // A quarter of the patience later they were given enough time.
    assert_eq!(receiver.named(at(10)), [1]);
}

#[test]
fn what_fails_is_named_only_where_fewer_than_two_work() {
    let mut receiver = Receiver::with(&[1, 2, 3]);
    assert_eq!(receiver.named(at(0)), [1, 2, 3]);
    let poor = |of: &'static [u8]| move |g: &NodeId| of.iter().any(|n| gateway(*n) == *g);
    receiver.0.handle_poor(&poor(&[2]), at(1));
    assert_eq!(receiver.named(at(1)), [1, 3]);
    // One that works may be at the sender's own entry.
    receiver.0.handle_poor(&poor(&[2, 3]), at(2));
    assert_eq!(receiver.named(at(2)), [1, 2, 3]);
    receiver.0.handle_poor(&poor(&[2, 3]), at(3));
    assert!(receiver.0.poll_control(at(3)).is_none(), "no news");
    receiver.0.handle_poor(&poor(&[]), at(4));
    receiver.feed(at(4));
    assert_eq!(receiver.named(at(4)), [1, 2, 3]);
}

/// A sender, and what lies where.
struct Sender {
    transfer: SendTransfer,
    /// In the order of storing.
    lies: BTreeMap<u8, VecDeque<u32>>,
    here: BTreeSet<u32>,
    number: u32,
    /// Inboxes whose gateway answers nothing.
    mute: BTreeSet<u8>,
    rng: KeyRng,
    now: u64,
}

impl Sender {
    fn to(inboxes: &[u8], reach: &dyn Fn(&NodeId) -> Reach) -> Self {
        let mut sender = Self {
            transfer: SendTransfer::new(key(), SHAPE, pace(), at(0)),
            lies: BTreeMap::new(),
            here: BTreeSet::new(),
            number: 0,
            mute: BTreeSet::new(),
            rng: KeyRng::from_seed([4; 32]),
            now: 1,
        };
        sender.accept(inboxes, false, reach);
        sender
    }

    /// The receiver names its inboxes.
    fn accept(&mut self, inboxes: &[u8], idle: bool, reach: &dyn Fn(&NodeId) -> Reach) {
        let accept = FileAccept {
            transfer: ID,
            report: self.next_report(idle),
            inboxes: inboxes.iter().map(|n| address(*n)).collect(),
        };
        let taken = self.transfer.handle_accept(&accept, reach, at(self.now));
        taken.unwrap();
    }

    /// Deposits all that may be deposited; how many records went to each inbox.
    fn fill(&mut self) -> BTreeMap<u8, usize> {
        let mut went: BTreeMap<u8, usize> = BTreeMap::new();
        self.now += 1;
        while let Some(action) = self.transfer.poll_action(at(self.now)) {
            let SendAction::Want(index) = action else {
                continue;
            };
            let made = self.transfer.handle_record(index, &[0; FILE_RECORD_LEN]);
            let inbox = made.unwrap().unwrap().address.inbox.0[0];
            self.transfer.handle_mixing(index, at(self.now));
            *went.entry(inbox).or_default() += 1;
            if !self.mute.contains(&inbox) {
                self.transfer.handle_stored(index, at(self.now));
                let lies = self.lies.entry(inbox).or_default();
                // The identical cell is kept once.
                if !lies.contains(&index) {
                    lies.push_back(index);
                }
            }
        }
        went
    }

    /// Until all is there; how often records were deposited.
    fn finish(&mut self) -> usize {
        let mut deposits = 0;
        for _ in 0..RECORDS {
            deposits += self.fill().values().sum::<usize>();
            self.read_some();
            if self.transfer.is_complete() {
                return deposits;
            }
        }
        panic!(
            "no end: {} bytes, {deposits} deposits",
            self.transfer.done()
        );
    }

    /// The receiver reads all of these inboxes, and says so.
    fn read(&mut self, inboxes: &[u8]) {
        for inbox in inboxes {
            self.here
                .extend(self.lies.remove(inbox).unwrap_or_default());
        }
        self.report(false);
    }

    /// Fetches as they are drawn, each of the oldest in one inbox.
    fn read_some(&mut self) {
        let inboxes: Vec<u8> = self.lies.keys().copied().collect();
        for _ in 0..32 {
            let draw = u64::from_be_bytes(self.rng.bytes());
            let inbox = pick(draw, inboxes.len()).map(|i| inboxes[i]);
            let lies = inbox.and_then(|i| self.lies.get_mut(&i));
            self.here.extend(lies.and_then(VecDeque::pop_front));
        }
        self.report(false);
    }

    fn report(&mut self, idle: bool) {
        let report = self.next_report(idle);
        let taken = self.transfer.handle_progress(&report, at(self.now));
        taken.unwrap();
    }

    fn next_report(&mut self, idle: bool) -> Report {
        self.number += 1;
        let first_missing = (0..RECORDS).find(|i| !self.here.contains(i));
        let first_missing = first_missing.unwrap_or(RECORDS);
        Report {
            number: self.number,
            idle,
            complete: first_missing == RECORDS,
            first_missing,
            bitmap: Report::bitmap_of(first_missing, |i| self.here.contains(&i)),
        }
    }
}

/// The receiver closed an inbox, and its word of that is lost; or it goes by a directory without that gateway.
#[test]
fn an_inbox_that_nobody_reads_holds_up_no_file() {
    let mut sender = Sender::to(&[1, 2], &|_| Reach::Good);
    let (mut reports, mut stuck) = (0, 0);
    while !sender.transfer.is_complete() {
        sender.fill();
        stuck = stuck.max(sender.lies.get(&2).map_or(0, VecDeque::len));
        sender.read(&[1]);
        reports += 1;
        assert!(reports < 60, "{} bytes", sender.transfer.done());
    }
    // The window of one inbox at a time, and little more in all: 24 of 128 would be all.
    assert!((24..=30).contains(&reports), "{reports}");
    assert!(stuck < 128 + 30, "{stuck}");
}

#[test]
fn an_inbox_that_is_read_again_is_used_again() {
    let mut sender = Sender::to(&[1, 2], &|_| Reach::Good);
    for _ in 0..4 {
        sender.fill();
        sender.read(&[1]);
    }
    assert_eq!(sender.fill()[&1], 128);
    sender.read(&[1, 2]);
    sender.fill();
    assert_eq!(sender.lies[&2].len(), 128);
}

#[test]
fn a_gateway_that_answers_nothing_holds_up_no_other() {
    let mut sender = Sender::to(&[1, 2], &|_| Reach::Good);
    sender.mute.insert(2);
    assert_eq!(sender.fill()[&2], UNDER_WAY_MAX);
    for _ in 0..10 {
        sender.read(&[1]);
        // Nothing is given up yet, and all that there is room for goes to the other.
        assert_eq!(sender.fill(), [(1, 128)].into());
    }
}

#[test]
fn what_fails_is_used_where_nothing_else_is_left() {
    let entry = gateway(1);
    let reach = |poor: &'static [u8]| {
        move |g: &NodeId| match *g == entry {
            true => Reach::None,
            false if poor.iter().any(|n| gateway(*n) == *g) => Reach::Poor,
            false => Reach::Good,
        }
    };
    let mut sender = Sender::to(&[1, 2, 3], &reach(&[2]));
    assert_eq!(sender.fill(), [(3, 128)].into());
    sender.read(&[3]);
    sender.transfer.handle_reach(&reach(&[2, 3]));
    let went = sender.fill();
    assert_eq!(went.keys().copied().collect::<Vec<_>>(), [2, 3]);
}

/// The receiver was away, and one of its gateways is gone: all goes again, to the inboxes that are left, where most of
/// it lies already.
#[test]
fn what_went_again_does_not_make_the_rest_go_again() {
    let mut sender = Sender::to(&[1, 2, 3], &|_| Reach::Good);
    let windows = 3 * pace().inbox_window as usize;
    assert_eq!(sender.fill().values().sum::<usize>(), windows);
    sender.now += 100;
    sender.lies.remove(&3);
    sender.accept(&[1, 2], true, &|_| Reach::Good);
    let deposits = windows + sender.finish();
    assert_eq!(deposits, RECORDS as usize + windows);
}

/// Which is noticed by the first of those behind it that went once.
#[test]
fn a_copy_that_is_lost_too_goes_again() {
    let mut sender = Sender::to(&[1, 2, 3], &|_| Reach::Good);
    sender.fill();
    sender.now += 100;
    sender.report(true);
    sender.fill();
    let windows = 3 * pace().inbox_window as usize;
    sender.lies.values_mut().for_each(|l| l.retain(|i| *i != 5));
    assert_eq!(sender.finish(), RECORDS as usize - windows + 1);
}

/// The same where the sender started again, and knows nothing of what lies there.
#[test]
fn what_went_before_a_restart_does_not_make_the_rest_go_again() {
    let mut sender = Sender::to(&[1, 2, 3], &|_| Reach::Good);
    let mut deposits = 0;
    for _ in 0..8 {
        deposits += sender.fill().values().sum::<usize>();
        sender.read_some();
    }
    let windows = sender.lies.values().map(VecDeque::len).sum::<usize>();
    let mut w = Writer::default();
    sender.transfer.encode(&mut w);
    let row = w.into_vec();
    let now = at(sender.now);
    sender.transfer = SendTransfer::decode(&mut Reader::new(&row), pace(), now).unwrap();
    sender.lies.remove(&3);
    sender.accept(&[1, 2], false, &|_| Reach::Good);
    deposits += sender.finish();
    assert_eq!(deposits, RECORDS as usize + windows);
}

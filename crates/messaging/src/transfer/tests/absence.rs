//! Inboxes that come and go, and whose gateways are silent: what the receiver says of them, and what the
//! sender makes of one of which it hears nothing.

use super::super::receive::{Control, ReceiveTransfer};
use super::super::send::{Reach, SendAction};
use super::super::*;
use super::network::gateway;
use crate::event::MessageId;
use std::collections::{BTreeMap, BTreeSet};
use wire::ids::{InboxAddress, InboxId, NodeId, WriteToken};
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
    lies: BTreeMap<u8, BTreeSet<u32>>,
    here: BTreeSet<u32>,
    number: u32,
    /// Inboxes whose gateway answers nothing.
    mute: BTreeSet<u8>,
    now: u64,
}

impl Sender {
    fn to(inboxes: &[u8], reach: &dyn Fn(&NodeId) -> Reach) -> Self {
        let mut transfer = SendTransfer::new(key(), SHAPE, pace(), at(0));
        let accept = FileAccept {
            transfer: ID,
            report: Report {
                number: 1,
                idle: false,
                complete: false,
                first_missing: 0,
                bitmap: Vec::new(),
            },
            inboxes: inboxes.iter().map(|n| address(*n)).collect(),
        };
        transfer.handle_accept(&accept, reach, at(0)).unwrap();
        Self {
            transfer,
            lies: BTreeMap::new(),
            here: BTreeSet::new(),
            number: 1,
            mute: BTreeSet::new(),
            now: 1,
        }
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
                self.lies.entry(inbox).or_default().insert(index);
            }
        }
        went
    }

    /// The receiver reads all of these inboxes, and says so.
    fn read(&mut self, inboxes: &[u8]) {
        for inbox in inboxes {
            self.here
                .extend(self.lies.remove(inbox).unwrap_or_default());
        }
        self.number += 1;
        let first_missing = (0..RECORDS).find(|i| !self.here.contains(i));
        let first_missing = first_missing.unwrap_or(RECORDS);
        let report = Report {
            number: self.number,
            idle: false,
            complete: first_missing == RECORDS,
            first_missing,
            bitmap: Report::bitmap_of(first_missing, |i| self.here.contains(&i)),
        };
        self.transfer
            .handle_progress(&report, at(self.now))
            .unwrap();
    }
}

/// The receiver closed an inbox, and its word of that is lost; or it goes by a directory without that gateway.
#[test]
fn an_inbox_that_nobody_reads_holds_up_no_file() {
    let mut sender = Sender::to(&[1, 2], &|_| Reach::Good);
    let (mut reports, mut stuck) = (0, 0);
    while !sender.transfer.is_complete() {
        sender.fill();
        stuck = stuck.max(sender.lies.get(&2).map_or(0, BTreeSet::len));
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

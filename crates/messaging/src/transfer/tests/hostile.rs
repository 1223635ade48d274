//! An other end that does what it likes: nothing panics, nothing grows, and what is impossible is
//! ignored as a whole.

use super::super::receive::{Control, ReceiveTransfer, Stage};
use super::super::send::{Nonsense, Reach, SendAction};
use super::super::*;
use super::network::gateway;
use crate::composed::Composed;
use crate::event::MessageId;
use proptest::prelude::*;
use std::collections::BTreeSet;
use wire::codec::{Reader, Writer};
use wire::geometry::CELL_LEN;
use wire::ids::{InboxAddress, InboxId, NodeId, WriteToken};
use wire::time::{Instant, UnixTime};

const RECORDS: u32 = 5000;
const SHAPE: Shape = Shape::new(RECORDS as u64 * FILE_RECORD_LEN as u64);

fn pace() -> Pace {
    Pace::new(Duration::from_secs(10), 256)
}

fn key() -> FileKey {
    FileKey::from_bytes([3; 32])
}

fn address(n: u8) -> InboxAddress {
    InboxAddress {
        gateway: gateway(n % 5),
        inbox: InboxId([n; 32]),
        token: WriteToken([n; 32]),
    }
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

fn report(number: u32, first_missing: u32, bitmap: &[u8]) -> Report {
    Report {
        number,
        idle: false,
        complete: false,
        first_missing,
        bitmap: bitmap.to_vec(),
    }
}

fn any_report() -> impl Strategy<Value = Report> {
    let bitmap = prop::collection::vec(any::<u8>(), 0..256);
    let first = prop_oneof![0u32..RECORDS + 2, 0u32..40, any::<u32>()];
    (0u32..30, any::<bool>(), any::<bool>(), first, bitmap).prop_map(
        |(number, idle, complete, first_missing, mut bitmap)| {
            if let Some(last) = bitmap.last_mut() {
                *last |= 1;
            }
            Report {
                number,
                idle,
                complete: complete && number % 7 == 0,
                first_missing,
                bitmap,
            }
        },
    )
}

#[derive(Clone, Debug)]
enum Act {
    Accept(Report, Vec<u8>),
    Progress(Report),
    Usable(u8),
    Poll(u8),
    Record(u32),
    Mixing(u32),
    Stored(u32),
    Refused(u32),
    Wait(u64),
    Restart,
}

fn any_act() -> impl Strategy<Value = Act> {
    let inboxes = prop::collection::vec(0u8..9, 1..=INBOXES_MAX);
    prop_oneof![
        1 => (any_report(), inboxes).prop_map(|(r, i)| Act::Accept(r, i)),
        1 => any_report().prop_map(Act::Progress),
        1 => any::<u8>().prop_map(Act::Usable),
        8 => (0u8..80).prop_map(Act::Poll),
        8 => (0u32..99).prop_map(Act::Record),
        4 => (0u32..99).prop_map(Act::Mixing),
        8 => (0u32..99).prop_map(Act::Stored),
        2 => (0u32..99).prop_map(Act::Refused),
        2 => (0u64..40).prop_map(Act::Wait),
        1 => Just(Act::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever the receiver says and the network does, in any order.
    #[test]
    fn a_sender_stays_within_its_bounds(acts in prop::collection::vec(any_act(), 0..300)) {
        let mut sender = SendTransfer::new(key(), SHAPE, pace(), Instant::ZERO);
        let (mut now, mut done) = (Instant::ZERO, 0);
        let mut wanted: Vec<u32> = Vec::new();
        let pick = |from: &Vec<u32>, n: u32| from.get(n as usize % from.len().max(1)).copied();
        for act in acts {
            match act {
                Act::Accept(report, inboxes) => {
                    let inboxes = inboxes.into_iter().map(address).collect();
                    let accept = FileAccept { transfer: MessageId([1; 16]), report, inboxes };
                    let _ = sender.handle_accept(&accept, &|_| Reach::Good, now);
                }
                Act::Progress(report) => { let _ = sender.handle_progress(&report, now); }
                Act::Usable(bits) => sender.handle_reach(&|id: &NodeId| match bits & id.0[0] {
                    0 => Reach::None,
                    1 => Reach::Poor,
                    _ => Reach::Good,
                }),
                Act::Poll(times) => for _ in 0..times {
                    match sender.poll_action(now) {
                        Some(SendAction::Want(index)) => {
                            prop_assert!(index < RECORDS);
                            wanted.push(index);
                        }
                        Some(SendAction::Withdraw(index)) => prop_assert!(index < RECORDS),
                        Some(SendAction::Offer) | None => {}
                    }
                },
                Act::Record(n) => if let Some(index) = pick(&wanted, n) {
                    let made = sender.handle_record(index, &[1; FILE_RECORD_LEN]);
                    prop_assert!(made.is_ok());
                },
                Act::Mixing(n) => if let Some(i) = pick(&wanted, n) { sender.handle_mixing(i, now) },
                Act::Stored(n) => if let Some(i) = pick(&wanted, n) { sender.handle_stored(i, now) },
                Act::Refused(n) => if let Some(i) = pick(&wanted, n) { sender.handle_refused(i, now) },
                Act::Wait(seconds) => {
                    now += Duration::from_secs(seconds);
                    sender.handle_timeout(Duration::from_secs(30), now);
                }
                Act::Restart => {
                    let mut w = Writer::default();
                    sender.encode(&mut w);
                    let bytes = w.into_vec();
                    let mut r = Reader::new(&bytes);
                    sender = SendTransfer::decode(&mut r, pace(), now).unwrap();
                    prop_assert!(r.finish().is_ok());
                    sender.handle_reach(&|_| Reach::Good);
                }
            }
            // What was confirmed stays confirmed.
            prop_assert!(sender.done() >= done);
            done = sender.done();
            let (numbers, actions) = sender.held();
            prop_assert!(numbers <= (SPAN + 4 * INBOX_WINDOW_MAX) as usize, "{numbers}");
            prop_assert!(actions <= 2000, "{actions}");
            if sender.is_complete() {
                prop_assert_eq!(sender.done(), SHAPE.size());
                prop_assert!(sender.poll_timeout(Duration::ZERO, now).is_none());
            }
        }
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..900)) {
        let mut w = Writer::default();
        if let Ok(accept) = FileAccept::decode(Reader::new(&bytes)) {
            accept.encode(&mut w);
            prop_assert_eq!(&w.into_vec(), &bytes);
        } else if let Ok(progress) = FileProgress::decode(Reader::new(&bytes)) {
            progress.encode(&mut w);
            prop_assert_eq!(&w.into_vec(), &bytes);
        } else if let Ok(cancel) = FileCancel::decode(Reader::new(&bytes)) {
            cancel.encode(&mut w);
            prop_assert_eq!(&w.into_vec(), &bytes);
        } else if let Ok(offer) = FileOffer::decode(&mut Reader::new(&bytes)) {
            offer.encode(&mut w);
            prop_assert_eq!(&w.into_vec(), &bytes);
        }
        let mut r = Reader::new(&bytes);
        let _ = SendTransfer::decode(&mut r, pace(), Instant::ZERO);
        let id = MessageId([1; 16]);
        let _ = ReceiveTransfer::decode(&mut Reader::new(&bytes), id, pace(), Instant::ZERO);
    }

    #[test]
    fn reports_come_back(report in any_report()) {
        let mut w = Writer::default();
        FileProgress { transfer: MessageId([9; 16]), report: report.clone() }.encode(&mut w);
        let back = FileProgress::decode(Reader::new(&w.into_vec()));
        prop_assert_eq!(back.map(|p| p.report), Ok(report));
    }
}

#[test]
fn impossible_reports_change_nothing() {
    let mut sender = SendTransfer::new(key(), SHAPE, pace(), Instant::ZERO);
    let complete = Report {
        complete: true,
        ..report(9, RECORDS - 1, &[])
    };
    let bad = [
        report(9, RECORDS + 1, &[]),
        report(9, u32::MAX, &[]),
        report(9, RECORDS - 2, &[0b10]),
        complete,
    ];
    for report in bad {
        assert_eq!(sender.handle_progress(&report, at(1)), Err(Nonsense));
        assert_eq!(sender.done(), 0);
        assert!(!sender.is_complete());
    }
    assert_eq!(
        sender.handle_progress(&report(1, RECORDS - 2, &[1]), at(1)),
        Ok(())
    );
    assert_eq!(sender.done(), SHAPE.size() - FILE_RECORD_LEN as u64);
}

#[test]
fn an_older_accept_brings_confirmations_and_no_inboxes() {
    let mut sender = SendTransfer::new(key(), SHAPE, pace(), Instant::ZERO);
    let accept = |number, first, inbox| FileAccept {
        transfer: MessageId([1; 16]),
        report: report(number, first, &[]),
        inboxes: vec![address(inbox)],
    };
    sender
        .handle_accept(&accept(2, 0, 1), &|_| Reach::Good, at(1))
        .unwrap();
    sender
        .handle_accept(&accept(1, 7, 2), &|_| Reach::Good, at(1))
        .unwrap();
    assert_eq!(sender.done(), 7 * FILE_RECORD_LEN as u64);
    assert_eq!(sender.poll_action(at(1)), Some(SendAction::Want(7)));
    let made = sender
        .handle_record(7, &[0; FILE_RECORD_LEN])
        .unwrap()
        .unwrap();
    assert!(made.address == address(1));
}

#[test]
fn bytes_of_another_length_are_an_error_and_late_ones_nothing() {
    let mut sender = SendTransfer::new(key(), SHAPE, pace(), Instant::ZERO);
    let accept = FileAccept {
        transfer: MessageId([1; 16]),
        report: report(1, 0, &[]),
        inboxes: vec![address(1)],
    };
    sender
        .handle_accept(&accept, &|_| Reach::Good, at(1))
        .unwrap();
    assert_eq!(sender.poll_action(at(1)), Some(SendAction::Want(0)));
    assert_eq!(sender.handle_record(0, &[0; 5]).err(), Some(Nonsense));
    assert!(matches!(
        sender.handle_record(1, &[0; FILE_RECORD_LEN]),
        Ok(None)
    ));
    sender.handle_progress(&report(2, 1, &[]), at(2)).unwrap();
    assert!(matches!(
        sender.handle_record(0, &[0; FILE_RECORD_LEN]),
        Ok(None)
    ));
}

#[test]
fn a_silent_receiver_is_asked_ever_more_rarely() {
    let mut sender = SendTransfer::new(key(), SHAPE, pace(), Instant::ZERO);
    let mut asked = Vec::new();
    while asked.len() < 6 {
        let due = sender.poll_timeout(Duration::from_secs(30), at(0)).unwrap();
        sender.handle_timeout(Duration::from_secs(30), due);
        while sender.poll_action(due) == Some(SendAction::Offer) {
            asked.push((due - Instant::ZERO).as_secs());
        }
    }
    assert_eq!(asked, [10, 30, 70, 150, 310, 630]);
}

#[test]
fn a_sender_of_junk_gets_nowhere() {
    let mut receiver = ReceiveTransfer::new(MessageId([1; 16]), key(), SHAPE, pace(), at(0));
    (0..4).for_each(|n| receiver.add_inbox(address(n)));
    assert_eq!(receiver.inboxes_wanted(), 0);
    receiver.add_inbox(address(5));
    assert_eq!(receiver.inboxes().count(), INBOXES_MAX);
    (0..4).for_each(|n| receiver.handle_opened(&InboxId([n; 32]), at(0)));
    assert!(matches!(
        receiver.poll_control(at(0)),
        Some(Control::Accept(_))
    ));
    let junk = Box::new([1; CELL_LEN]);
    let shorter = Shape::new(FILE_RECORD_LEN as u64 - 1);
    let (_, other) = bulk::seal(
        &key(),
        shorter,
        0,
        &[9; FILE_RECORD_LEN - 1],
        &InboxId([0; 32]),
    )
    .unwrap();
    assert_eq!(
        receiver.handle_cell(&junk, at(1)).err(),
        Some(bulk::BulkError::Unreadable)
    );
    // A record of the right key that another file's length allowed: short, so padded with a zero.
    assert!(receiver.handle_cell(&other, at(1)).unwrap().is_some());
    assert_eq!(receiver.stage(), Stage::Receiving);
    // The same record again is no news, and is reported: the sender seems not to know.
    assert!(receiver.handle_cell(&other, at(2)).unwrap().is_none());
    assert_eq!(receiver.done(), FILE_RECORD_LEN as u64);
    assert!(receiver.poll_control(at(2)).is_none());
    assert!(matches!(
        receiver.poll_control(at(4)),
        Some(Control::Accept(_))
    ));
    assert!(receiver.poll_control(at(9)).is_none());
}

#[test]
fn an_idle_receiver_says_so_ever_more_rarely() {
    let mut receiver = ReceiveTransfer::new(MessageId([1; 16]), key(), SHAPE, pace(), at(0));
    assert_eq!(receiver.poll_timeout(), None);
    (0..3).for_each(|n| receiver.add_inbox(address(n)));
    receiver.handle_opened(&InboxId([0; 32]), at(0));
    // The other two get a while.
    assert_eq!(receiver.poll_timeout(), Some(at(0) + pace().patience / 4));
    receiver.handle_opened(&InboxId([1; 32]), at(1));
    receiver.handle_opened(&InboxId([2; 32]), at(1));
    let mut told = Vec::new();
    while told.len() < 5 {
        let due = receiver.poll_timeout().unwrap();
        receiver.handle_timeout(due);
        if let Some(Control::Accept(accept)) = receiver.poll_control(due) {
            told.push(((due - at(0)).as_secs(), accept.report.idle));
            assert_eq!(accept.inboxes.len(), 3);
        }
    }
    assert_eq!(
        told,
        [(1, false), (10, true), (30, true), (70, true), (150, true)]
    );
}

#[test]
fn names_that_are_paths_or_hide_something_are_refused() {
    let offer = |name: &str, media_type: &str| {
        let offer = FileOffer {
            id: MessageId([1; 16]),
            composed: Composed {
                at: UnixTime(5),
                after: UnixTime(4),
            },
            size: 9,
            hash: [2; 32],
            key: key(),
            name: name.to_owned(),
            media_type: media_type.to_owned(),
            body: "look".to_owned(),
        };
        let mut w = Writer::default();
        offer.encode(&mut w);
        let bytes = w.into_vec();
        assert_eq!(
            bytes.len(),
            FileOffer::FIXED_LEN + name.len() + media_type.len() + 4
        );
        FileOffer::decode(&mut Reader::new(&bytes)).map(|back| back == offer)
    };
    let long = "x".repeat(128);
    for good in ["a", "Bericht März.pdf", "..x", " ", &long] {
        assert_eq!(offer(good, "text/plain; charset=utf-8"), Ok(true), "{good}");
    }
    let longer = "x".repeat(129);
    let bad = [
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "a\nb",
        "a\0",
        "fdp\u{202e}.exe",
        &longer,
    ];
    for bad in bad {
        assert!(offer(bad, "").is_err(), "{bad:?}");
    }
    let types: BTreeSet<&str> = ["é", "a\u{7f}", "a\tb"].into();
    assert!(types.iter().all(|t| offer("a", t).is_err()));
    assert!(offer("a", &"x".repeat(65)).is_err());
}

//! A gateway's inboxes through its packets: who is refused, what waits for the disk, when a reply
//! leaves.

use crate::bench::{Bench, DUE, REPLY_DELAY};
use crate::world::{EPOCH, GATEWAY, SEED, id, ms, secs};
use directory::testing::network_id;
use mizzle_core::gateway::GatewayEvent;
use mizzle_core::hop::Source;
use sphinx::DiscardReason;
use std::time::Duration;
use wire::geometry::{CELL_LEN, PACKET_LEN};
use wire::ids::{CellId, InboxId, WriteToken};
use wire::keys::IdentitySecret;
use wire::puzzle::Admission;
use wire::request::{Answer, Cell, Close, Deposit, Fetch, Open, Place, Request};

const INBOX: InboxId = InboxId([7; 32]);
const OTHER: InboxId = InboxId([8; 32]);

/// A gateway with [`INBOX`] open for 100 s.
fn with_inbox() -> Bench {
    let mut bench = Bench::new();
    let answer = bench.does(open(&reader(), 100));
    assert!(answer == Answer::Opened { ttl_secs: 100 });
    bench
}

fn reader() -> IdentitySecret {
    IdentitySecret::from_seed(&[1; 32])
}

fn stranger() -> IdentitySecret {
    IdentitySecret::from_seed(&[2; 32])
}

fn token() -> WriteToken {
    WriteToken([3; 32])
}

fn admission() -> Admission {
    Admission::solve(&id(GATEWAY), EPOCH, &INBOX, 4)
}

fn open(by: &IdentitySecret, ttl: u32) -> Request {
    open_with(by, ttl, admission())
}

fn open_with(by: &IdentitySecret, ttl: u32, admission: Admission) -> Request {
    at_home(|place| {
        let open = Open::signed(place, by, INBOX, token().hash(), ttl, admission);
        Request::Open(Box::new(open))
    })
}

fn at_home<T>(f: impl FnOnce(Place<'_>) -> T) -> T {
    f(Place {
        network: &network_id(SEED),
        gateway: &id(GATEWAY),
    })
}

fn cell(n: u8) -> Cell {
    Box::new([n; CELL_LEN])
}

fn cell_id(n: u8) -> CellId {
    CellId([n; 16])
}

fn deposit(n: u8) -> Request {
    deposit_to(INBOX, token(), n)
}

fn deposit_to(inbox: InboxId, token: WriteToken, n: u8) -> Request {
    Request::Deposit(Deposit {
        inbox,
        token,
        cell_id: cell_id(n),
        cell: cell(n),
    })
}

fn fetch(acks: &[u8]) -> Request {
    let acks: Vec<_> = acks.iter().map(|n| cell_id(*n)).collect();
    at_home(|place| Request::Fetch(Fetch::signed(place, &reader(), INBOX, &acks)))
}

fn close(by: &IdentitySecret) -> Request {
    at_home(|place| Request::Close(Close::signed(place, by, INBOX)))
}

fn given(n: u8, remaining: u16) -> Answer {
    Answer::Cell {
        remaining,
        cell_id: cell_id(n),
        cell: cell(n),
    }
}

#[test]
fn every_reason_to_refuse_a_deposit_looks_alike() {
    let mut bench = with_inbox();
    // `does` asserts the moment.
    assert!(bench.does(deposit_to(OTHER, token(), 9)) == Answer::Refused);
    assert!(bench.does(deposit_to(INBOX, WriteToken([4; 32]), 9)) == Answer::Refused);
    for n in 0..3 {
        assert!(bench.does(deposit(n)) == Answer::Stored);
    }
    assert!(bench.does(deposit(9)) == Answer::Refused, "the quota");
    assert!(
        bench.does(deposit(2)) == Answer::Stored,
        "one it has is no new one"
    );
    assert_eq!(bench.kept(), (1, 3));
    // Expired, and the sweep has not come by yet.
    let mut bench = Bench::new();
    bench.does(open(&reader(), 5));
    bench.pass(secs(5));
    assert_eq!(bench.kept(), (1, 0));
    assert!(bench.does(deposit(1)) == Answer::Refused);
    assert!(bench.does(fetch(&[])) == Answer::Refused);
    assert!(bench.disk.is_empty());
}

#[test]
fn no_more_cells_and_inboxes_than_the_disk_is_for() {
    let mut bench = Bench::with(|gate| {
        gate.inboxes.inboxes_max = 1;
        gate.inboxes.cells_max = 1;
    });
    bench.does(open(&reader(), 100));
    assert!(bench.does(deposit(1)) == Answer::Stored);
    assert!(bench.does(deposit(2)) == Answer::Refused);
    let admission = Admission::solve(&id(GATEWAY), EPOCH, &OTHER, 4);
    let other =
        at_home(|place| Open::signed(place, &reader(), OTHER, token().hash(), 100, admission));
    assert!(bench.does(Request::Open(Box::new(other))) == Answer::Refused);
    assert!(bench.does(open(&reader(), 100)) == Answer::Opened { ttl_secs: 100 });
}

#[test]
fn a_wrong_readers_signature_changes_nothing() {
    let mut bench = with_inbox();
    bench.does(deposit(1));
    let elsewhere = Place {
        network: &network_id(SEED),
        gateway: &id(GATEWAY + 1),
    };
    let acks = [cell_id(1)];
    let mut padded = Fetch::signed(elsewhere, &reader(), INBOX, &[]);
    padded.acks = acks.to_vec();
    let bad = [
        at_home(|p| Request::Fetch(Fetch::signed(p, &stranger(), INBOX, &acks))),
        Request::Fetch(Fetch::signed(elsewhere, &reader(), INBOX, &acks)),
        Request::Fetch(padded),
        close(&stranger()),
        Request::Close(Close::signed(elsewhere, &reader(), INBOX)),
        at_home(|p| Request::Close(Close::signed(p, &reader(), OTHER))),
    ];
    for request in bad {
        assert!(bench.does(request) == Answer::Refused);
        assert_eq!(bench.kept(), (1, 1));
    }
    assert!(bench.does(fetch(&[])) == given(1, 0));
    assert!(bench.does(close(&reader())) == Answer::Done);
    assert_eq!(bench.kept(), (0, 0));
    assert!(bench.disk.is_empty());
    assert!(bench.does(fetch(&[])) == Answer::Refused);
}

#[test]
fn an_inbox_is_opened_by_work_and_prolonged_by_its_key() {
    let mut bench = Bench::new();
    let elsewhere = Admission::solve(&id(GATEWAY + 1), EPOCH, &INBOX, 4);
    // Four zero bits come by themselves once in 16; take one that did not.
    assert!(!elsewhere.verify(&id(GATEWAY), EPOCH, &INBOX, 4));
    assert!(bench.does(open_with(&reader(), 100, elsewhere)) == Answer::Refused);
    let none = Admission([0; 64]);
    assert!(bench.does(open_with(&reader(), 100, none)) == Answer::Refused);
    let Request::Open(mut forged) = open(&reader(), 100) else {
        panic!()
    };
    forged.ttl_secs = 200;
    assert!(bench.does(Request::Open(forged)) == Answer::Refused);
    assert_eq!(bench.kept(), (0, 0));
    // The directory's maximum is 200 s.
    assert!(bench.does(open(&reader(), u32::MAX)) == Answer::Opened { ttl_secs: 200 });
    assert!(bench.does(open(&stranger(), 100)) == Answer::Refused);
    bench.does(deposit(1));
    assert!(bench.does(open(&reader(), 30)) == Answer::Opened { ttl_secs: 30 });
    assert!(bench.does(fetch(&[])) == given(1, 0), "its cells stay");
}

#[test]
fn a_deposit_is_answered_once_it_is_durable() {
    let mut bench = with_inbox();
    let (first, again) = (bench.ask(deposit(1)), bench.ask(deposit(1)));
    assert_eq!(bench.waiting.len(), 1, "stored once");
    assert!(bench.pass(secs(3)).is_empty());
    assert!(bench.does_without_disk(fetch(&[])) == Answer::Empty);
    bench.work(true);
    // The disk was slower than the drawn delay: at once.
    let now = bench.now;
    let left = bench.pass(Duration::ZERO);
    assert_eq!(left.len(), 2);
    for (asked, transmit) in [first, again].iter().zip(&left) {
        assert!(bench.world.open(asked, transmit).unwrap().answer == Answer::Stored);
        assert!(transmit.at <= now);
    }
    assert!(bench.does(deposit(1)) == Answer::Stored);
    assert_eq!((bench.disk.len(), bench.kept()), (1, (1, 1)));
    assert!(bench.does(fetch(&[])) == given(1, 0));
}

#[test]
fn what_the_disk_did_not_take_was_never_here() {
    let mut bench = with_inbox();
    let (first, again) = (bench.ask(deposit(1)), bench.ask(deposit(1)));
    bench.work(false);
    let left = bench.pass(DUE);
    for (asked, transmit) in [first, again].iter().zip(&left) {
        assert!(bench.world.open(asked, transmit).unwrap().answer == Answer::Refused);
    }
    assert_eq!((left.len(), bench.kept()), (2, (1, 0)));
    assert!(bench.does(fetch(&[])) == Answer::Empty);
    assert!(bench.does(deposit(1)) == Answer::Stored);
    assert!(bench.does(fetch(&[])) == given(1, 0));
}

#[test]
fn an_inbox_opened_again_does_not_take_the_old_ones_receipts() {
    let mut bench = with_inbox();
    for request in [
        deposit(1),
        close(&reader()),
        open(&reader(), 100),
        deposit(1),
    ] {
        bench.ask(request);
    }
    let last = bench.waiting.pop().unwrap();
    bench.work(true);
    assert!(bench.does_without_disk(fetch(&[])) == Answer::Empty);
    bench.waiting.push(last);
    bench.work(false);
    assert_eq!(bench.kept(), (1, 0));
}

#[test]
fn every_fetch_gets_another_cell_and_what_is_acknowledged_is_forgotten() {
    let mut bench = with_inbox();
    for n in 1..=3 {
        bench.does(deposit(n));
    }
    // Each fetch gets another cell, whatever became of the replies before it.
    assert!(bench.does(fetch(&[])) == given(1, 2));
    assert!(bench.does(fetch(&[])) == given(2, 2));
    assert!(bench.does(fetch(&[])) == given(3, 2));
    assert!(
        bench.does(fetch(&[])) == given(1, 2),
        "none is left: the one given longest ago, until it is acknowledged"
    );
    assert!(bench.does(fetch(&[1, 3, 9])) == given(2, 0));
    assert_eq!((bench.kept(), bench.disk.len()), ((1, 1), 1));
    assert!(
        bench.does(deposit(4)) == Answer::Stored,
        "there is room again"
    );
    assert!(bench.does(fetch(&[])) == given(4, 1), "never given: first");
    assert!(bench.does(deposit(5)) == Answer::Stored);
    // Whoever had it would have said so by now: before what is younger.
    bench.pass(secs(4));
    assert!(bench.does(fetch(&[])) == given(2, 2));
    assert!(bench.does(fetch(&[2])) == given(4, 1));
    assert!(bench.does(fetch(&[4])) == given(5, 0));
    assert!(bench.does(fetch(&[5])) == Answer::Empty);
}

#[test]
fn cells_and_inboxes_end_at_their_time() {
    let mut bench = with_inbox();
    bench.does(deposit(1));
    bench.pass(secs(30));
    bench.does(deposit(2));
    // A cell lives 60 s; the sweep comes by every 10 s.
    bench.pass(secs(41));
    assert!(
        bench
            .waiting
            .iter()
            .any(|e| matches!(e, GatewayEvent::Expire(_)))
    );
    bench.work(true);
    assert_eq!((bench.kept(), bench.disk.len()), ((1, 1), 1));
    assert!(bench.does(fetch(&[])) == given(2, 0));
    bench.pass(secs(40));
    bench.work(true);
    assert_eq!((bench.kept(), bench.disk.len()), ((0, 0), 0));
    assert!(bench.does(deposit(3)) == Answer::Refused);
}

#[test]
fn what_cannot_be_read_is_answered_if_it_can_be() {
    let mut bench = with_inbox();
    let mut asked = bench.world.request(Request::Cover, REPLY_DELAY);
    asked.plaintext[396 + 8] = 0xff;
    bench.give(&asked);
    assert!(bench.answer(&asked) == Answer::Unreadable);
    // The payload was changed on its way.
    let asked = bench.world.request(Request::Cover, REPLY_DELAY);
    let mut packet = bench.world.for_node(GATEWAY, &asked.plaintext);
    packet[PACKET_LEN - 1] ^= 1;
    let now = bench.now;
    bench.world.give_gateway(&packet, Source::Node, now);
    assert_eq!(bench.world.gateway_discards(DiscardReason::BadPayload), 1);
    // A reply block that is none.
    let mut asked = bench.world.request(Request::Cover, REPLY_DELAY);
    asked.plaintext[..396].fill(0x5a);
    bench.give(&asked);
    assert_eq!(bench.world.gateway_discards(DiscardReason::BadSurb), 1);
    assert!(bench.pass(secs(1)).is_empty());
}

#[test]
fn a_reply_leaves_at_its_moment_and_answers_whoever_asked() {
    let mut bench = with_inbox();
    let slow = bench.world.request(Request::Cover, ms(400));
    let quick = bench.world.request(Request::Cover, Duration::ZERO);
    let now = bench.now;
    bench.give(&slow);
    bench.give(&quick);
    let left = bench.pass(secs(1));
    let moments: Vec<_> = left.iter().map(|t| t.at).collect();
    assert_eq!(moments, [now + ms(10), now + ms(410)]);
    assert!(bench.world.open(&quick, &left[1]).is_none());
    assert!(bench.world.open(&quick, &left[0]).unwrap().answer == Answer::Done);
}

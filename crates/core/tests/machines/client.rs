//! A client: what it carries changes nothing about when it sends; what is lost is said again.

use crate::desk::{
    Desk, FAR, INBOX, cell, cell_id, deposit_at, is_close, is_deposit, is_fetch, is_open, open_at,
    reader,
};
use crate::world::{EPOCH, GATEWAY, NOW, id, ms, secs, start};
use directory::Rate;
use mizzle_core::client::ClientEvent;
use sphinx::DiscardReason;
use std::time::Duration;
use wire::geometry::PACKET_LEN;
use wire::ids::Epoch;
use wire::request::{Answer, Fetch, Place, Request};
use wire::time::Instant;

#[test]
fn without_a_directory_nothing_is_sent() {
    let mut desk = Desk::alone(|_| {}, |_| {});
    desk.client.handle_connected(NOW);
    assert!(desk.client.handle_deposit(deposit_at(FAR, 1), NOW));
    assert!(desk.pass(secs(60)).is_empty());
    desk.learn();
    let from = desk.now;
    let left = desk.pass(secs(2));
    assert!(!left.is_empty() && left.iter().all(|(_, t)| t.at > from));
}

#[test]
fn a_lost_connection_is_not_caught_up() {
    let mut desk = Desk::alone(|_| {}, |_| {});
    desk.learn();
    desk.client.handle_deposit(deposit_at(FAR, 1), NOW);
    assert!(desk.pass(secs(60)).is_empty());
    assert!(desk.client.counters().idle_ticks > 1_000);
    assert_eq!(desk.client.outbox_len(), (1, 0));
    desk.client.handle_connected(desk.now);
    let from = desk.now;
    let left = desk.pass(secs(1));
    // 21 a second.
    assert!((5..45).contains(&left.len()), "{}", left.len());
    assert!(left.iter().all(|(_, t)| t.at > from));
    desk.client.handle_disconnected(desk.now);
    assert!(desk.pass(secs(5)).is_empty());
}

#[test]
fn a_directory_that_expired_is_none() {
    let mut desk = Desk::new();
    let ends = start(Epoch(EPOCH.0 + 2));
    desk.client.handle_disconnected(NOW);
    desk.pass((ends - NOW).saturating_sub(secs(1)));
    desk.client.handle_connected(desk.now);
    let left = desk.pass(secs(3));
    assert!(!left.is_empty() && left.iter().all(|(handed, _)| *handed < ends));
}

#[test]
fn a_process_that_slept_sends_no_burst() {
    let mut desk = Desk::new();
    desk.pass(secs(1));
    desk.now += secs(100);
    let left = desk.pass(Duration::ZERO);
    // What is less than a second late still goes: about 21.
    assert!(left.len() < 50, "{}", left.len());
    assert!(left.iter().all(|(_, t)| t.at + secs(1) >= desk.now));
}

/// When everything that this client sends was handed out and leaves.
fn moments(mut desk: Desk) -> Vec<(Instant, Instant)> {
    let left = desk.pass(secs(5));
    left.into_iter().map(|(handed, t)| (handed, t.at)).collect()
}

#[test]
fn content_changes_no_moment() {
    let idle = moments(Desk::new());
    let mut busy = Desk::new();
    for n in 0..40 {
        assert!(busy.client.handle_deposit(deposit_at(FAR, n), NOW));
    }
    assert!(busy.client.handle_open(open_at(FAR), NOW));
    assert_eq!(moments(busy), idle);
    assert!(idle.len() > 50);
    for (handed, at) in idle {
        assert_eq!(handed + ms(20), at, "a constant lead");
    }
}

#[test]
fn what_comes_after_the_lead_began_waits_for_another_tick() {
    let mut desk = Desk::new();
    desk.client.handle_deposit(deposit_at(FAR, 1), NOW);
    let first = desk.wait(is_deposit).left;
    // The same client again: the order comes when the frame of that tick has been built.
    let mut desk = Desk::new();
    desk.pass(first.saturating_sub(ms(20)) - NOW);
    desk.client.handle_deposit(deposit_at(FAR, 1), desk.now);
    assert!(desk.wait(is_deposit).left > first);
}

#[test]
fn a_reply_block_brings_one_reply() {
    let mut desk = Desk::new();
    desk.client.handle_deposit(deposit_at(FAR, 1), NOW);
    let question = desk.wait(is_deposit);
    desk.answer(&question, Answer::Stored);
    // Whoever holds the block can make another packet of it, which says something else.
    desk.answer(&question, Answer::Refused);
    desk.answer(&question, Answer::Stored);
    assert!(desk.events() == [ClientEvent::Mixing(1), ClientEvent::Stored(1)]);
    let discards = &desk.client.counters().discards;
    assert_eq!(discards.of(DiscardReason::UnknownReply), 2);
}

#[test]
fn a_garbled_reply_is_none_and_its_content_is_sent_again() {
    let mut desk = Desk::new();
    desk.client.handle_deposit(deposit_at(FAR, 1), NOW);
    let question = desk.wait(is_deposit);
    let mut garbled = desk.net.answer(&question, Answer::Stored);
    garbled[PACKET_LEN - 1] ^= 1;
    desk.client.handle_packet(&garbled, desk.now);
    assert!(desk.events() == [ClientEvent::Mixing(1)]);
    let discards = &desk.client.counters().discards;
    assert_eq!(discards.of(DiscardReason::BadPayload), 1);
    let again = desk.wait(is_deposit);
    assert!(again.envelope.request == question.envelope.request);
    desk.answer(&again, Answer::Stored);
    assert!(desk.events() == [ClientEvent::Stored(1)]);
}

#[test]
fn a_deposit_without_a_reply_is_sent_again_the_same() {
    let mut desk = Desk::new();
    desk.client.handle_deposit(deposit_at(FAR, 1), NOW);
    let first = desk.wait(is_deposit);
    assert_eq!(desk.client.outbox_len(), (0, 1));
    let again = desk.wait(is_deposit);
    assert!(again.left > first.left + secs(2));
    assert!(first.at == FAR && again.at == FAR);
    assert!(
        first.envelope.request == again.envelope.request,
        "cell id, cell and all"
    );
    assert!(first.envelope.surb != again.envelope.surb);
    assert!(desk.events() == [ClientEvent::Mixing(1)]);
    let unknown = |desk: &Desk| {
        let discards = &desk.client.counters().discards;
        discards.of(DiscardReason::UnknownReply)
    };
    // The first reply comes after all, and is as good.
    let lost = |desk: &Desk| desk.client.losses().total().lost;
    let before = lost(&desk);
    desk.answer(&first, Answer::Stored);
    assert!(desk.events() == [ClientEvent::Stored(1)]);
    assert_eq!(desk.client.outbox_len(), (0, 0));
    assert_eq!((unknown(&desk), lost(&desk)), (0, before - 1));
    // What answers it again is no news; a reply block is good once.
    desk.answer(&again, Answer::Stored);
    desk.answer(&again, Answer::Refused);
    assert!(desk.events().is_empty() && unknown(&desk) == 1);
}

#[test]
fn a_refusal_is_final_and_an_odd_answer_is_not() {
    let mut desk = Desk::new();
    desk.client.handle_deposit(deposit_at(FAR, 1), NOW);
    let question = desk.wait(is_deposit);
    desk.answer(&question, Answer::Empty);
    assert_eq!(desk.client.outbox_len(), (1, 0));
    let question = desk.wait(is_deposit);
    desk.answer(&question, Answer::Refused);
    assert!(desk.events() == [ClientEvent::Mixing(1), ClientEvent::Refused(1)]);
    assert_eq!(desk.client.outbox_len(), (0, 0));
}

#[test]
fn no_content_goes_to_the_own_entry() {
    let mut desk = Desk::new();
    desk.client.handle_deposit(deposit_at(GATEWAY, 1), NOW);
    desk.client.handle_open(open_at(GATEWAY), NOW);
    desk.client.handle_deposit(deposit_at(FAR, 2), NOW);
    let asked = desk.questions(secs(10));
    assert!(asked.iter().all(|q| q.at != GATEWAY));
    assert!(asked.iter().any(|q| is_deposit(&q.envelope.request)));
    assert_eq!(desk.client.outbox_len().0, 2);
}

#[test]
fn a_fetch_acknowledges_what_was_kept() {
    let mut desk = Desk::new();
    desk.open();
    let given = |n| Answer::Cell {
        remaining: 0,
        cell_id: cell_id(n),
        cell: cell(n),
    };
    let question = desk.wait(is_fetch);
    assert!(fetch(&question.envelope.request, &desk).is_empty());
    desk.answer(&question, given(1));
    assert!(desk.events() == [ClientEvent::Cell(INBOX, cell_id(1), cell(1))]);
    // It lies there still; given again, it is no news.
    let question = desk.wait(is_fetch);
    assert!(fetch(&question.envelope.request, &desk).is_empty());
    desk.answer(&question, given(1));
    assert!(desk.events().is_empty());
    desk.client.handle_acknowledge(INBOX, cell_id(1));
    // This one is lost, and said again, in fetches that have room and when it is known to be lost.
    let question = desk.wait(is_fetch);
    assert!(fetch(&question.envelope.request, &desk) == [cell_id(1)]);
    let mut last = question;
    for _ in 0..2 {
        last = desk.wait(is_fetch);
        assert!(fetch(&last.envelope.request, &desk) == [cell_id(1)]);
    }
    let mut asked = Vec::new();
    for _ in 0..60 {
        let question = desk.wait(is_fetch);
        asked.push(fetch(&question.envelope.request, &desk));
        desk.answer(&question, Answer::Empty);
        if !asked[asked.len() - 1].is_empty() {
            break;
        }
    }
    assert!(asked[0].is_empty(), "often enough for now");
    assert!(asked.last() == Some(&vec![cell_id(1)]), "lost");
    let question = desk.wait(is_fetch);
    assert!(fetch(&question.envelope.request, &desk).is_empty(), "heard");
    // The same cell once more, from a gateway that did not hear: still no news, but said again.
    desk.answer(&last, given(1));
    let question = desk.wait(is_fetch);
    desk.answer(&question, given(1));
    assert!(desk.events().is_empty());
    let question = desk.wait(is_fetch);
    assert!(fetch(&question.envelope.request, &desk) == [cell_id(1)]);
}

/// Acknowledgements of a fetch, whose signature is right.
fn fetch(request: &Request, desk: &Desk) -> Vec<wire::ids::CellId> {
    let Request::Fetch(fetch) = request else {
        panic!("a fetch")
    };
    let place = Place {
        network: &desk.net.directory.network,
        gateway: &id(FAR),
    };
    let again = Fetch::signed(place, &reader(), INBOX, &fetch.acks);
    assert!(again.signature == fetch.signature);
    fetch.acks.clone()
}

#[test]
fn a_refused_inbox_is_asked_no_more() {
    let mut desk = Desk::new();
    desk.open();
    let question = desk.wait(is_fetch);
    desk.answer(&question, Answer::Refused);
    assert!(desk.events() == [ClientEvent::InboxRefused(INBOX)]);
    let asked = desk.questions(secs(3));
    assert!(!asked.iter().any(|q| is_fetch(&q.envelope.request)));
    assert_eq!(desk.client.inboxes_len(), (1, 0));
}

#[test]
fn an_open_leaves_with_its_puzzle_solved() {
    let difficulty = 16;
    let mut desk = Desk::with(|_| {}, |p| p.puzzle_difficulty = difficulty);
    desk.client.handle_open(open_at(FAR), NOW);
    // A driver with little time: one step of 2048 hashes for each of these, of 32 in the mean.
    for _ in 0..3 {
        desk.now += ms(200);
        desk.client.handle_timeout(desk.now);
        while let Some(transmit) = desk.client.poll_transmit() {
            assert!(!is_open(&desk.net.read(&transmit).envelope.request));
        }
    }
    assert_eq!(desk.client.outbox_len(), (1, 0));
    let question = desk.wait(is_open);
    let Request::Open(open) = &question.envelope.request else {
        panic!("an open")
    };
    assert!(open.admission.verify(&id(FAR), EPOCH, &INBOX, difficulty));
    let place = Place {
        network: &desk.net.directory.network,
        gateway: &id(FAR),
    };
    assert!(open.verify(place).is_ok());
}

#[test]
fn when_too_many_are_on_their_way_the_soonest_is_lost() {
    let mut desk = Desk::with(|limits| limits.pending_max = 3, |_| {});
    let left = desk.pass(secs(2));
    let total = desk.client.losses().total();
    assert_eq!(total.sent, left.len() as u64);
    assert_eq!(total.lost, total.sent - 3);
}

#[test]
fn a_gateway_that_drops_raises_an_alarm_once() {
    let quick = |p: &mut directory::Parameters| p.payload_rate = Rate(15_000);
    let mut desk = Desk::with(|_| {}, quick);
    let mut events = Vec::new();
    for _ in 0..100 {
        for question in desk.questions(ms(400)) {
            if question.at == FAR {
                desk.answer(&question, Answer::Done);
            }
        }
        events.extend(desk.events());
    }
    assert!(events == [ClientEvent::GatewayFailing(id(FAR + 1))]);
    let losses: Vec<_> = desk.client.losses().iter().collect();
    let lossy = |gateway: usize| {
        let of = losses.iter().find(|(g, _)| **g == id(gateway));
        of.is_some_and(|(_, l)| l.lossy())
    };
    assert!(lossy(FAR + 1) && !lossy(FAR));
}

#[test]
fn a_cancelled_deposit_leaves_no_more() {
    let mut desk = Desk::new();
    desk.client.handle_deposit(deposit_at(FAR, 1), NOW);
    desk.client.handle_cancel(1);
    assert_eq!(desk.client.outbox_len(), (0, 0));
    desk.client.handle_deposit(deposit_at(FAR, 2), NOW);
    let question = desk.wait(is_deposit);
    desk.client.handle_cancel(2);
    let asked = desk.questions(secs(6));
    assert!(!asked.iter().any(|q| is_deposit(&q.envelope.request)));
    desk.answer(&question, Answer::Stored);
    assert!(desk.events() == [ClientEvent::Mixing(2)]);
}

#[test]
fn a_closed_inbox_is_told_so_and_read_no_more() {
    let mut desk = Desk::new();
    desk.open();
    desk.client.handle_close(INBOX, desk.now);
    assert_eq!(desk.client.inboxes_len(), (0, 0));
    let question = desk.wait(is_close);
    let Request::Close(close) = &question.envelope.request else {
        panic!("a close")
    };
    let place = Place {
        network: &desk.net.directory.network,
        gateway: &id(FAR),
    };
    assert!(question.at == FAR && close.verify(place, &reader().public()).is_ok());
    desk.answer(&question, Answer::Done);
    let asked = desk.questions(secs(3));
    let content = |r: &Request| is_fetch(r) || is_close(r);
    assert!(!asked.iter().any(|q| content(&q.envelope.request)));
    assert!(desk.events().is_empty());
}

#[test]
fn an_outbox_has_an_end() {
    let mut desk = Desk::with(|limits| limits.outbox_max = 2, |_| {});
    assert!(desk.client.handle_deposit(deposit_at(FAR, 1), NOW));
    assert!(desk.client.handle_deposit(deposit_at(FAR, 2), NOW));
    assert!(
        desk.client.handle_deposit(deposit_at(FAR, 2), NOW),
        "the same is one"
    );
    assert!(!desk.client.handle_deposit(deposit_at(FAR, 3), NOW));
    let asked = desk.questions(secs(2));
    let deposits = asked.iter().filter(|q| is_deposit(&q.envelope.request));
    assert_eq!(deposits.count(), 2);
}

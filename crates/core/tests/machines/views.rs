//! A gateway goes by another directory of our epoch: its document is fetched on ticks that come anyway. And a
//! gateway shows the documents that it goes by.

use crate::bench::Bench;
use crate::desk::{Desk, FAR, deposit_at};
use crate::omniscient::Question;
use crate::world::{EPOCH, NOW, SEED, anchor, document, id, ms, parameters, schedule, secs};
use directory::testing::{authority_secret, directory_on, nobodys_key};
use directory::{Rate, SignedDirectory, chunk};
use mizzle_core::client::ClientEvent;
use mizzle_core::gateway::DirectoryDocument;
use std::time::Duration;
use wire::ids::{DirectoryHash, Epoch};
use wire::request::{Answer, DIRECTORY_CHUNK_LEN, DirectoryRequest, Reply, Request};
use wire::time::Instant;

/// Of our epoch, in several parts.
fn other() -> SignedDirectory {
    let (made, _) = directory_on(schedule(), SEED, (30, 3), EPOCH, parameters(), nobodys_key);
    SignedDirectory::sign(&made, 0, &authority_secret(SEED, 0))
}

/// What the gateway at [`FAR`] says; the other one goes by our directory.
type Says<'a> = &'a mut dyn FnMut(&Request) -> Option<Answer>;

/// A network whose gateway at [`FAR`] names `hash` in its replies, for so long, or until so many events came.
/// Returns when frames left, and the events.
fn pass(
    desk: &mut Desk,
    (time, enough): (Duration, usize),
    hash: DirectoryHash,
    says: Says<'_>,
) -> (Vec<Instant>, Vec<ClientEvent>) {
    let (mut left, mut events) = (Vec::new(), Vec::new());
    let until = desk.now + time;
    while desk.now < until && events.len() < enough {
        for question in desk.questions(ms(50)) {
            left.push(question.left);
            let Question { envelope, at, .. } = &question;
            let packet = if *at == FAR {
                let Some(answer) = says(&envelope.request) else {
                    continue;
                };
                let reply = Reply {
                    epoch: EPOCH,
                    directory: hash,
                    answer,
                };
                desk.net.reply(&question, &reply)
            } else {
                desk.net.answer(&question, Answer::Done)
            };
            desk.client.handle_packet(&packet, desk.now);
        }
        events.extend(desk.events());
    }
    (left, events)
}

/// The part that is asked for, if one is.
fn wanted(request: &Request) -> Option<DirectoryRequest> {
    let Request::Directory(wanted) = request else {
        return None;
    };
    Some(*wanted)
}

/// An honest answer of whoever goes by [`other`].
fn honest(bytes: &[u8], request: &Request) -> Answer {
    let Some(wanted) = wanted(request) else {
        return Answer::Done;
    };
    match chunk(bytes, wanted.part) {
        Some((parts, piece)) => Answer::Directory {
            part: wanted.part,
            parts,
            bytes: piece.to_vec(),
        },
        None => Answer::Refused,
    }
}

fn seen(hash: DirectoryHash) -> ClientEvent {
    ClientEvent::SplitView {
        gateway: id(FAR),
        epoch: EPOCH,
        theirs: hash,
    }
}

fn unproven() -> ClientEvent {
    ClientEvent::SplitUnproven {
        gateway: id(FAR),
        epoch: EPOCH,
    }
}

#[test]
fn its_document_is_fetched_whole_and_once() {
    let (mut desk, other) = (Desk::new(), other());
    let bytes = other.encode();
    let mut asked = 0;
    let mut says = |request: &Request| {
        let part = matches!(request, Request::Directory(_));
        asked += u32::from(part);
        // Every third part is lost.
        (!part || asked % 3 != 1).then(|| honest(&bytes, request))
    };
    let (_, events) = pass(&mut desk, (secs(60), 2), other.hash(), &mut says);
    let whole = ClientEvent::OtherDirectory {
        gateway: id(FAR),
        epoch: EPOCH,
        document: other.clone(),
    };
    assert!(events == [seen(other.hash()), whole]);
    assert!(asked >= 5, "of several parts: {asked}");
    assert_eq!(desk.client.outbox_len(), (0, 0));
    // The same gateway is not asked for it again, and with the proof in hand no other one is.
    desk.client.handle_proven(EPOCH, other.hash());
    let before = asked;
    let mut says = |request: &Request| {
        asked += u32::from(matches!(request, Request::Directory(_)));
        Some(honest(&bytes, request))
    };
    let (_, events) = pass(&mut desk, (secs(5), 1), other.hash(), &mut says);
    assert_eq!(asked, before);
    assert!(events.is_empty());
}

#[test]
fn fetching_it_moves_no_frame() {
    let other = other();
    let bytes = other.encode();
    let mut both = Vec::new();
    for split in [false, true] {
        let mut desk = Desk::new();
        let hash = match split {
            true => other.hash(),
            false => desk.net.directory.hash(),
        };
        let mut says = |request: &Request| Some(honest(&bytes, request));
        let (left, events) = pass(&mut desk, (secs(10), 9), hash, &mut says);
        assert_eq!(events.len(), if split { 2 } else { 0 });
        both.push(left);
    }
    assert!(both[0].len() > 100);
    assert_eq!(both[0], both[1]);
}

#[test]
fn people_come_before_it() {
    let (mut desk, other) = (Desk::new(), other());
    let bytes = other.encode();
    for n in 0..60 {
        assert!(desk.client.handle_deposit(deposit_at(FAR, n), NOW));
    }
    let (mut cells, mut parts) = (0, 0);
    let mut says = |request: &Request| {
        let done = cells >= 60;
        cells += u32::from(matches!(request, Request::Deposit(_)));
        parts += u32::from(matches!(request, Request::Directory(_)) && !done);
        let deposit = matches!(request, Request::Deposit(_));
        Some(if deposit {
            Answer::Stored
        } else {
            honest(&bytes, request)
        })
    };
    pass(&mut desk, (secs(10), 999), other.hash(), &mut says);
    // One send tick in eight is for what waits behind people.
    assert!(cells == 60 && (1..=9).contains(&parts), "{cells} {parts}");
}

#[test]
fn a_gateway_that_does_not_show_it_is_asked_twice_an_epoch() {
    let mut desk = Desk::new();
    let (mut asked, mut events) = (0, Vec::new());
    // Another hash each time; it has none of those documents.
    for n in 0..5 {
        let hash = DirectoryHash([n; 32]);
        let mut says = |request: &Request| {
            let part = matches!(request, Request::Directory(_));
            asked += u32::from(part);
            Some(if part { Answer::Refused } else { Answer::Done })
        };
        events.extend(pass(&mut desk, (secs(3), 2), hash, &mut says).1);
    }
    let hashes = [0, 1].map(|n| DirectoryHash([n; 32]));
    let [first, second] = hashes.map(seen);
    assert!(events == [first, unproven(), second, unproven()]);
    assert_eq!(asked, 2);
    assert_eq!(desk.client.outbox_len(), (0, 0));
}

#[test]
fn one_that_is_silent_or_talks_nonsense_is_given_up() {
    type Nonsense = fn(&Request) -> Option<Answer>;
    let whole = |part: u16| Answer::Directory {
        part,
        parts: 2,
        bytes: vec![7; DIRECTORY_CHUNK_LEN],
    };
    let cases: [Nonsense; 4] = [
        |_| None,
        |_| Some(Answer::Empty),
        |request| {
            let part = wanted(request)?.part + 1;
            Some(Answer::Directory {
                part,
                parts: part + 1,
                bytes: vec![7],
            })
        },
        |_| Some(Answer::Unreadable),
    ];
    for nonsense in cases {
        // Fewer packets: some minutes go by.
        let mut desk = Desk::with(|_| {}, |p| p.payload_rate = Rate(5_000));
        let mut says = |request: &Request| match wanted(request) {
            Some(_) => nonsense(request),
            None => Some(Answer::Done),
        };
        let (_, events) = pass(&mut desk, (secs(600), 2), other().hash(), &mut says);
        assert!(events == [seen(other().hash()), unproven()]);
        assert_eq!(desk.client.outbox_len(), (0, 0));
    }
    // All parts come, and they are something else.
    let mut desk = Desk::new();
    let mut says =
        |request: &Request| Some(wanted(request).map_or(Answer::Done, |d| whole(d.part)));
    let (_, events) = pass(&mut desk, (secs(30), 2), other().hash(), &mut says);
    assert!(events == [seen(other().hash()), unproven()]);
}

#[test]
fn only_equal_epochs_are_compared() {
    let mut desk = Desk::new();
    for epoch in [EPOCH.previous(), EPOCH.next(), Epoch(0), Epoch(u64::MAX)] {
        let question = desk.wait(|_| true);
        let reply = Reply {
            epoch,
            directory: other().hash(),
            answer: Answer::Done,
        };
        let packet = desk.net.reply(&question, &reply);
        desk.client.handle_packet(&packet, desk.now);
    }
    assert!(desk.events().is_empty());
}

#[test]
fn a_gateway_shows_its_documents_in_parts_and_nothing_else() {
    let mut bench = Bench::new();
    let next = bench.world.next_directory();
    let bytes: Vec<u8> = (0..DIRECTORY_CHUNK_LEN * 2 + 5)
        .map(|n| (n % 251) as u8)
        .collect();
    let long = DirectoryDocument {
        directory: next.clone(),
        bytes: bytes.clone().into(),
    };
    bench.world.gateway().handle_directory(long, anchor(), NOW);
    let ours = bench.world.directory.clone();
    let mut ask = |hash: DirectoryHash, part: u16| {
        bench.does(Request::Directory(DirectoryRequest { hash, part }))
    };
    let mut whole = Vec::new();
    for n in 0..3 {
        let Answer::Directory { part, parts, bytes } = ask(next.hash(), n) else {
            panic!("a part")
        };
        assert_eq!((part, parts), (n, 3));
        whole.extend(bytes);
    }
    assert!(whole == bytes);
    let one = Answer::Directory {
        part: 0,
        parts: 1,
        bytes: document(&ours).bytes.to_vec(),
    };
    assert!(ask(ours.hash(), 0) == one);
    for (hash, part) in [
        (next.hash(), 3),
        (next.hash(), u16::MAX),
        (ours.hash(), 1),
        (other().hash(), 0),
        (DirectoryHash([0; 32]), 0),
    ] {
        assert!(ask(hash, part) == Answer::Refused);
    }
}

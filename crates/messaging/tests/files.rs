//! Files between two messengers: offered, accepted, striped, in every weather and with every end.
#![allow(clippy::unwrap_used)] // Helpers of a test fail by panicking, like the test itself.

#[path = "flow/world.rs"]
#[allow(dead_code)] // Shared with `flow`, which uses all of it.
mod world;

use messaging::{BlobRef, ContactId, Draft, FailReason, FileDraft, FileError, FileRef};
use messaging::{FILE_RECORD_LEN, MessageId, MessageState, SendError, Table};
use sha2::{Digest, Sha256};
use world::{Weather, World, message};

const ALICE: usize = 0;
const BOB: usize = 1;
const BLOB: BlobRef = BlobRef([7; 16]);

fn introduced(seed: u8) -> (World, ContactId, ContactId) {
    let mut world = World::new(seed, 6, &[0, 1]);
    let card = world.card(ALICE, "Alice");
    let alice = world.add(BOB, &card, "Bob");
    world.until(60, |w| w.clients[ALICE].added.len() == 1);
    let bob = world.id(BOB);
    world.rounds(50);
    (world, alice, bob)
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 / 7) as u8).collect()
}

fn draft(bytes: &[u8]) -> Draft {
    Draft {
        file: Some(FileDraft {
            blob: BLOB,
            name: "plan.pdf".to_owned(),
            media_type: "application/pdf".to_owned(),
            size: bytes.len() as u64,
            hash: Sha256::digest(bytes).into(),
        }),
        ..Draft::text("the plan")
    }
}

/// Alice offers a file to Bob.
fn offer(world: &mut World, bob: &ContactId, len: usize) -> Vec<u8> {
    let bytes = content(len);
    world.clients[ALICE].blobs.insert(BLOB, bytes.clone());
    while world.send_draft(ALICE, bob, "f", draft(&bytes)) != Ok(messaging::SendOutcome::Duplicate)
    {
    }
    bytes
}

fn offered(world: &World) -> Option<MessageId> {
    world.clients[BOB].offers.keys().next().copied()
}

fn accept(world: &mut World, alice: &ContactId) -> MessageId {
    world.until(120, |w| offered(w).is_some());
    let id = offered(world).unwrap();
    let (now, unix) = (world.instant(), world.unix());
    let accepted = world.machine(BOB).handle_accept_file(alice, &id, now, unix);
    assert_eq!(accepted, Ok(()));
    world.settle(BOB);
    id
}

fn delivered(world: &World) -> bool {
    world.clients[ALICE].states.get("f") == Some(&MessageState::Delivered)
}

fn came(world: &World, id: &MessageId) -> Vec<u8> {
    let records = &world.clients[BOB].files[id];
    records.values().flatten().copied().collect()
}

/// Of all files, on both sides.
fn rows(world: &World, who: usize, table: Table) -> usize {
    let keys = world.clients[who].store.keys();
    keys.filter(|(t, _)| *t == table).count()
}

#[test]
fn files_of_every_length_arrive() {
    for (seed, len) in [0, 1, FILE_RECORD_LEN, 400 * FILE_RECORD_LEN + 5]
        .into_iter()
        .enumerate()
    {
        let (mut world, alice, bob) = introduced(seed as u8);
        world.stored_at.clear();
        let bytes = offer(&mut world, &bob, len);
        world.until(60, |w| w.clients[ALICE].states["f"] == MessageState::Stored);
        world.rounds(100);
        assert!(world.clients[BOB].files.is_empty(), "nobody accepted");
        let id = accept(&mut world, &alice);
        let view = &world.clients[BOB].offers[&id];
        assert_eq!((&view.name[..], view.size), ("plan.pdf", len as u64));
        world.until(2_000, delivered_by);
        assert!(came(&world, &id) == bytes);
        assert!(world.clients[BOB].complete.contains(&id));
        assert_eq!(world.bodies(BOB), ["the plan"]);
        assert_eq!(world.refused_full, 0);
        if len > 100_000 {
            assert!(world.stored_at.len() >= 3, "{}", world.stored_at.len());
        }
        world.rounds(300);
        // The pair's two are left.
        assert_eq!(world.clients[BOB].reading.len(), 2);
        assert_eq!(rows(&world, ALICE, Table::Sending), 0);
        assert_eq!(rows(&world, BOB, Table::Page), 0);
        assert!(world.cells().is_empty());
    }
}

fn delivered_by(world: &mut World) -> bool {
    delivered(world)
}

#[test]
fn every_weather_delivers_a_file_once() {
    weather(0..1);
}

#[test]
#[ignore = "takes minutes"]
fn every_weather_for_long() {
    weather(1..9);
}

fn weather(seeds: std::ops::Range<u8>) {
    for seed in seeds {
        let (mut world, alice, bob) = introduced(20 + seed);
        world.weather = Weather {
            loss: 30,
            double: 20,
            reorder: true,
            crash: 1,
        };
        let bytes = offer(&mut world, &bob, 150 * FILE_RECORD_LEN + 9);
        world.until(2_000, |w| offered(w).is_some());
        let id = offered(&world).unwrap();
        for n in 0..20 {
            // The application repeats itself until it sees the file begin.
            let (now, unix) = (world.instant(), world.unix());
            let accepted = world
                .machine(BOB)
                .handle_accept_file(&alice, &id, now, unix);
            assert!(accepted != Err(FileError::UnknownFile));
            world.settle(BOB);
            world.insist(ALICE, &bob, &format!("m{n}"), &format!("chat {n}"));
            world.insist(BOB, &alice, &format!("n{n}"), &format!("chat {n}"));
            world.rounds(20);
        }
        world.until(40_000, delivered_by);
        world.until(4_000, |w| {
            w.delivered(ALICE) == 21 && w.delivered(BOB) == 20
        });
        assert!(came(&world, &id) == bytes, "seed {seed}");
        assert_eq!(world.bodies(BOB).len(), 21, "seed {seed}");
        assert_eq!(world.bodies(ALICE).len(), 20, "seed {seed}");
    }
}

#[test]
fn what_was_read_before_the_file_is_there_is_told_when_it_is() {
    let (mut world, alice, bob) = introduced(40);
    offer(&mut world, &bob, 20 * FILE_RECORD_LEN);
    world.until(60, |w| offered(w).is_some());
    let id = offered(&world).unwrap();
    let (now, unix) = (world.instant(), world.unix());
    assert!(world.machine(BOB).handle_read(&alice, &id, now, unix));
    world.settle(BOB);
    world.rounds(100);
    let stored = MessageState::Stored;
    assert_eq!(world.clients[ALICE].states["f"], stored, "no file yet");
    // Alice remembers it over a restart.
    world.crash(ALICE);
    accept(&mut world, &alice);
    let read = |w: &mut World| w.clients[ALICE].states["f"] == MessageState::Read;
    world.until(2_000, read);
}

#[test]
fn a_transfer_outlives_its_gateways() {
    let (mut world, alice, bob) = introduced(30);
    let bytes = offer(&mut world, &bob, 300 * FILE_RECORD_LEN);
    let id = accept(&mut world, &alice);
    world.until(200, |w| w.clients[BOB].files.values().any(|f| f.len() > 50));
    let used: Vec<_> = world.stored_at.iter().copied().take(2).collect();
    for gateway in used {
        world.dead.insert(gateway);
        for who in [ALICE, BOB] {
            let (now, unix) = (world.instant(), world.unix());
            world.machine(who).handle_gateway(gateway, true, now, unix);
            world.settle(who);
        }
    }
    world.crash(ALICE);
    world.crash(BOB);
    world.until(8_000, delivered_by);
    assert!(came(&world, &id) == bytes);
}

#[test]
fn either_end_may_cancel() {
    for by in [ALICE, BOB] {
        for late in [false, true] {
            let (mut world, alice, bob) = introduced(40 + by as u8 * 2 + u8::from(late));
            offer(&mut world, &bob, 300 * FILE_RECORD_LEN);
            world.until(60, |w| offered(w).is_some());
            let id = offered(&world).unwrap();
            if late {
                accept(&mut world, &alice);
                world.until(200, |w| w.clients[BOB].files.values().any(|f| f.len() > 20));
            }
            let (now, unix) = (world.instant(), world.unix());
            let contact = [bob, alice][by];
            let cancelled = world
                .machine(by)
                .handle_cancel_file(&contact, &id, now, unix);
            assert_eq!(cancelled, Ok(()));
            world.settle(by);
            let again = world
                .machine(by)
                .handle_cancel_file(&contact, &id, now, unix);
            assert_eq!(again, Err(FileError::Over));
            let reason = FailReason::Cancelled;
            let failed = MessageState::Failed(reason);
            world.until(300, |w| w.clients[ALICE].states["f"] == failed);
            let told = (FileRef::Incoming(id), reason);
            world.until(300, |w| w.clients[BOB].failed.contains(&told));
            let told = (FileRef::Outgoing(message("f")), reason);
            assert_eq!(world.clients[ALICE].failed, [told]);
            let accepted = world
                .machine(BOB)
                .handle_accept_file(&alice, &id, now, unix);
            assert_eq!(accepted, Err(FileError::Over));
            world.rounds(300);
            assert_eq!(world.clients[BOB].reading.len(), 2);
            assert_eq!(world.clients[BOB].failed.len(), 1);
        }
    }
}

#[test]
fn bytes_that_are_gone_or_wrong_end_the_file() {
    for gone in [true, false] {
        let (mut world, alice, bob) = introduced(50 + u8::from(gone));
        offer(&mut world, &bob, 100 * FILE_RECORD_LEN);
        let id = accept(&mut world, &alice);
        let blobs = &mut world.clients[ALICE].blobs;
        let reason = match gone {
            true => {
                blobs.remove(&BLOB);
                FailReason::FileGone
            }
            false => {
                blobs.get_mut(&BLOB).unwrap()[70_000] ^= 1;
                FailReason::Damaged
            }
        };
        let failed = MessageState::Failed(reason);
        world.until(1_000, |w| w.clients[ALICE].states["f"] == failed);
        let told = (FileRef::Incoming(id), reason);
        world.until(300, |w| w.clients[BOB].failed.contains(&told));
    }
}

#[test]
fn what_may_not_be_sent_is_refused() {
    let (mut world, alice, bob) = introduced(60);
    let bytes = content(10);
    let change = |with: &dyn Fn(&mut FileDraft)| {
        let mut draft = draft(&bytes);
        with(draft.file.as_mut().unwrap());
        draft
    };
    let bad = [
        change(&|f| f.name = "../x".to_owned()),
        change(&|f| f.name = String::new()),
        change(&|f| f.media_type = "ü".to_owned()),
        change(&|f| f.size = messaging::FILE_MAX + 1),
    ];
    for draft in bad {
        let sent = world.send_draft(ALICE, &bob, "x", draft);
        assert!(matches!(sent, Err(SendError::BadFile(_))), "{sent:?}");
    }
    for n in 0..16 {
        world
            .send_draft(ALICE, &bob, &format!("f{n}"), draft(&bytes))
            .unwrap();
    }
    let full = world.send_draft(ALICE, &bob, "f16", draft(&bytes));
    assert_eq!(full, Err(SendError::OutboxFull));
    let other = world.send_draft(ALICE, &bob, "f0", change(&|f| f.size = 11));
    assert_eq!(other, Err(SendError::Conflict));
    let (now, unix) = (world.instant(), world.unix());
    let none = MessageId([9; 16]);
    let machine = world.machine(BOB);
    let unknown = machine.handle_accept_file(&alice, &none, now, unix);
    assert_eq!(unknown, Err(FileError::UnknownFile));
    let stranger = machine.handle_accept_file(&bob, &none, now, unix);
    assert_eq!(stranger, Err(FileError::UnknownContact));
}

#[test]
fn a_wipe_ends_files_of_both_directions() {
    let (mut world, alice, bob) = introduced(70);
    offer(&mut world, &bob, 300 * FILE_RECORD_LEN);
    accept(&mut world, &alice);
    world.until(200, |w| w.clients[BOB].files.values().any(|f| f.len() > 20));
    let (now, unix) = (world.instant(), world.unix());
    assert!(world.machine(BOB).handle_forget(&alice, now, unix));
    world.settle(BOB);
    for table in [Table::Receiving, Table::Page, Table::Piece] {
        assert_eq!(rows(&world, BOB, table), 0, "{table:?}");
    }
    assert_eq!(world.clients[BOB].failed[0].1, FailReason::Wiped);
    let failed = MessageState::Failed(FailReason::Cancelled);
    world.until(300, |w| w.clients[ALICE].states["f"] == failed);
    world.rounds(100);
    world.crash(BOB);
    world.crash(ALICE);
}

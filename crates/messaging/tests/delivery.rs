//! From a message's acceptance to its receipt, over gateways that lose and a network in every weather.
#![allow(clippy::unwrap_used)] // Helpers of a test fail by panicking, like the test itself.

#[path = "flow/world.rs"]
#[allow(dead_code)] // Shared with `flow`, which uses all of it.
mod world;

use messaging::inner::SHORT_BODY_MAX;
use messaging::{AppId, BODY_MAX, ContactId, ContactSettings, Draft, MessageState, Retention};
use messaging::{SendError, Table};
use std::collections::BTreeSet;
use std::time::Duration;
use world::{Weather, World, gateway, message};

const ALICE: usize = 0;
const BOB: usize = 1;

fn introduced(seed: u8) -> (World, ContactId, ContactId) {
    let mut world = World::new(seed, 6, &[0, 1]);
    let card = world.card(ALICE, "Alice");
    let alice = world.add(BOB, &card, "Bob");
    world.until(60, |w| w.clients[ALICE].added.len() == 1);
    let bob = world.id(BOB);
    world.rounds(50);
    (world, alice, bob)
}

/// A text that no other length has.
fn body(len: usize) -> String {
    let letters = (b'a'..=b'z').map(char::from).cycle();
    letters.skip(len % 26).take(len).collect()
}

fn settings(world: &mut World, who: usize, of: &ContactId, settings: ContactSettings) {
    let (now, unix) = (world.instant(), world.unix());
    let done = world.machine(who).handle_settings(of, settings, now, unix);
    done.unwrap();
    world.settle(who);
}

fn state(world: &mut World, who: usize, to: &ContactId, id: &str) -> Option<MessageState> {
    world.machine(who).message_state(to, &message(id))
}

#[test]
fn texts_of_every_length_arrive() {
    let (mut world, _, bob) = introduced(1);
    let lengths = [
        0,
        1,
        SHORT_BODY_MAX,
        SHORT_BODY_MAX + 1,
        1_900,
        5_600,
        5_700,
        40_000,
        BODY_MAX,
    ];
    for len in lengths {
        let sent = world.send(ALICE, &bob, &format!("m{len}"), &body(len));
        assert!(sent.is_ok(), "{len}");
    }
    world.until(120, |w| w.delivered(ALICE) == lengths.len());
    let mut all: Vec<String> = lengths.iter().map(|len| body(*len)).collect();
    all.sort();
    assert!(world.bodies(BOB) == all);
    world.rounds(100);
    // Nothing is left of what was under way, on either side.
    for (who, table) in [(ALICE, Table::Outgoing), (BOB, Table::Piece)] {
        let left = world.clients[who].store.keys();
        assert_eq!(left.filter(|(t, _)| *t == table).count(), 0, "{table:?}");
    }
    assert!(world.cells().is_empty());
}

#[test]
fn a_short_text_passes_long_ones() {
    let (mut world, _, bob) = introduced(2);
    for n in 0..3 {
        world
            .send(ALICE, &bob, &format!("long{n}"), &body(100_000))
            .unwrap();
    }
    world.rounds(10);
    let before = world.now;
    world.send(ALICE, &bob, "short", "hello").unwrap();
    world.until(60, |w| w.bodies(BOB).contains(&"hello".to_owned()));
    // Three of 70 cells each lie before it; it waited for a few.
    assert!(
        world.now - before < Duration::from_secs(3),
        "{:?}",
        world.now - before
    );
    assert_eq!(world.bodies(BOB).len(), 1);
    world.until(120, |w| w.delivered(ALICE) == 4);
}

/// Restarts of both, loss, doubles and disorder: once each, states true and never backwards (the world
/// checks that at every event).
#[test]
fn every_weather_delivers_long_texts_once() {
    for seed in 0..2 {
        weather(seed, 16, 30_000.0);
    }
}

/// The same, longer and more of it.
#[test]
#[ignore = "takes minutes"]
fn every_weather_for_long() {
    for seed in 0..10 {
        weather(100 + seed, 200, 200_000.0);
    }
}

fn weather(seed: u8, count: usize, most: f64) {
    let (mut world, alice, bob) = introduced(10 + seed);
    world.weather = Weather {
        loss: 30,
        double: 20,
        reorder: true,
        crash: 1,
    };
    let mut sent = [Vec::new(), Vec::new()];
    for n in 0..count {
        for (who, to) in [(ALICE, &bob), (BOB, &alice)] {
            let draw = f64::from(u32::from_be_bytes(world.rng.bytes())) / f64::from(u32::MAX);
            let text = format!("{n}-{}", body(most.powf(draw) as usize));
            loop {
                match world.send(who, to, &format!("{who}-{n}"), &text) {
                    Ok(messaging::SendOutcome::Duplicate) => break,
                    Ok(messaging::SendOutcome::Accepted) => {}
                    Err(SendError::OutboxFull) => world.rounds(10),
                    Err(error) => panic!("{error}"),
                }
            }
            sent[who].push(text);
            world.rounds(2);
        }
        if n % 8 == 5 {
            world.forget(ALICE, 20);
            world.forget(BOB, 20);
        }
    }
    world.until(40_000, |w| {
        w.delivered(ALICE) == count && w.delivered(BOB) == count
    });
    world.rounds(100);
    sent.iter_mut().for_each(|s| s.sort());
    assert!(world.bodies(BOB) == sent[ALICE], "seed {seed}");
    assert!(world.bodies(ALICE) == sent[BOB], "seed {seed}");
}

/// Where an inbox holds more than a reader keeps of one contact, a sender keeps to the reader's bound: no
/// piece is sent for nothing, however many long texts lie there in turns.
#[test]
fn large_inboxes_are_not_filled_beyond_what_their_reader_keeps() {
    let (mut world, _, bob) = introduced(31);
    world.set_quota(u16::MAX);
    world.clients[BOB].online = false;
    for n in 0..32 {
        let text = body(BODY_MAX - n);
        world.send(ALICE, &bob, &format!("m{n}"), &text).unwrap();
    }
    world.until(2_000, |w| w.clients[ALICE].orders.is_empty());
    world.rounds(100);
    let waiting: usize = world.cells().len();
    assert!((2_000..=3_200).contains(&waiting), "{waiting}");
    let ideal = 32 * (BODY_MAX / 1922 + 1);
    world.clients[BOB].online = true;
    world.until(4_000, |w| w.delivered(ALICE) == 32);
    let deposits = world.clients[ALICE].deposits;
    assert!(deposits < ideal * 5 / 4, "{deposits} for {ideal}");
}

/// A gateway loses cells that it had acknowledged: what is missing goes again, and only that.
#[test]
fn what_a_gateway_lost_is_sent_again() {
    let (mut world, _, bob) = introduced(30);
    world.clients[BOB].online = false;
    world.send(ALICE, &bob, "long", &body(100_000)).unwrap();
    world.send(ALICE, &bob, "short", "hello").unwrap();
    world.until(120, |w| w.stored(ALICE) == 2);
    let first = world.clients[ALICE].deposits;
    world.forget(BOB, 50);
    world.clients[BOB].online = true;
    world.until(2_000, |w| w.delivered(ALICE) == 2);
    assert_eq!(world.bodies(BOB).len(), 2);
    // Questions, and about half of the cells once more.
    let again = world.clients[ALICE].deposits - first;
    assert!(again < first * 3 / 4, "{again} after {first}");
}

#[test]
fn somebody_who_is_away_for_long_finds_few_questions() {
    let (mut world, _, bob) = introduced(31);
    world.clients[BOB].online = false;
    for n in 0..20 {
        world.send(ALICE, &bob, &format!("m{n}"), "hello").unwrap();
    }
    world.until(60, |w| w.stored(ALICE) == 20);
    let first = world.clients[ALICE].deposits;
    // Seven times the patience, and his inboxes still stand.
    world.rounds(3_500);
    let asked = world.clients[ALICE].deposits - first;
    assert!((1..4).contains(&asked), "{asked} questions");
    world.clients[BOB].online = true;
    world.until(600, |w| w.delivered(ALICE) == 20);
    assert_eq!(world.bodies(BOB).len(), 20);
}

#[test]
fn a_lost_receipt_is_asked_for() {
    let (mut world, _, bob) = introduced(32);
    for (n, len) in [10, 9_000].into_iter().enumerate() {
        world
            .send(ALICE, &bob, &format!("m{n}"), &body(len))
            .unwrap();
        // Every receipt that Bob deposits is lost until he has the message and some time has passed.
        world.until(60, |w| w.bodies(BOB).len() == n + 1);
        for _ in 0..30 {
            world.clients[ALICE].online = false;
            world.rounds(1);
            world.forget(ALICE, 100);
        }
        world.clients[ALICE].online = true;
        world.until(300, |w| w.delivered(ALICE) == n + 1);
        assert_eq!(world.bodies(BOB).len(), n + 1);
    }
}

#[test]
fn read_is_told_and_survives_restarts() {
    let (mut world, alice, bob) = introduced(33);
    world.send(ALICE, &bob, "m", "hello").unwrap();
    world.until(60, |w| w.delivered(ALICE) == 1);
    let id = world.clients[BOB].received_ids[0];
    let (now, unix) = (world.instant(), world.unix());
    assert!(world.machine(BOB).handle_read(&alice, &id, now, unix));
    assert!(!world.machine(BOB).handle_read(&alice, &id, now, unix));
    world.settle(BOB);
    world.crash(BOB);
    let unknown = messaging::MessageId([1; 16]);
    assert!(!world.machine(BOB).handle_read(&alice, &unknown, now, unix));
    assert!(!world.machine(BOB).handle_read(&alice, &id, now, unix));
    world.until(60, |w| w.clients[ALICE].states["m"] == MessageState::Read);
    world.crash(ALICE);
    let read = Some(MessageState::Read);
    assert_eq!(state(&mut world, ALICE, &bob, "m"), read);
}

#[test]
fn without_receipts_stored_is_the_last_word() {
    let (mut world, alice, bob) = introduced(34);
    world.send(ALICE, &bob, "before", "one").unwrap();
    world.until(60, |w| w.delivered(ALICE) == 1);
    let off = ContactSettings {
        receipts: Some(false),
        ..ContactSettings::default()
    };
    settings(&mut world, BOB, &alice, off);
    world.crash(BOB);
    let deposits = |w: &World| w.clients[BOB].deposits;
    let before = deposits(&world);
    world.rounds(100);
    assert_eq!(deposits(&world), before + 1, "told once");
    for n in 0..40 {
        world
            .send(ALICE, &bob, &format!("m{n}"), &body(n * 100))
            .unwrap();
    }
    world.until(120, |w| w.bodies(BOB).len() == 41 && w.stored(ALICE) == 41);
    world.rounds(3_000);
    assert_eq!(world.delivered(ALICE), 1);
    assert_eq!(deposits(&world), before + 1);
    // Nothing waits for a receipt that does not come, and nothing expires.
    let (now, unix) = (world.instant(), world.unix());
    let view = world.machine(ALICE).contacts().next().unwrap();
    assert_eq!(view.waiting, 0);
    world.machine(ALICE).handle_timeout(now, unix);
    // On again: he says so, and later messages are confirmed.
    let on = ContactSettings {
        receipts: Some(true),
        ..ContactSettings::default()
    };
    settings(&mut world, BOB, &alice, on);
    world.rounds(100);
    world.send(ALICE, &bob, "after", "two").unwrap();
    world.until(60, |w| w.delivered(ALICE) == 2);
}

/// Texts lie at a gateway that nobody reaches while more others come than ids are kept, from a sender who is told of no
/// receipts and so cannot wait for them. They are shown when it is back, and only once, whatever it says again.
#[test]
fn what_lay_unread_for_long_is_no_replay() {
    let (mut world, alice, bob) = introduced(36);
    let off = ContactSettings {
        receipts: Some(false),
        ..ContactSettings::default()
    };
    settings(&mut world, BOB, &alice, off);
    world.rounds(100);
    world.stored_at.clear();
    world.clients[BOB].online = false;
    for n in 0..5 {
        let name = format!("early{n}");
        world.send(ALICE, &bob, &name, &name).unwrap();
    }
    world.until(60, |w| w.stored(ALICE) == 5);
    let early = world.cells();
    let away = world.stored_at.clone();
    let silence = |world: &mut World, failing: bool| {
        for gateway in &away {
            match failing {
                true => world.dead.insert(*gateway),
                false => world.dead.remove(gateway),
            };
            for who in [ALICE, BOB] {
                let (now, unix) = (world.instant(), world.unix());
                let machine = world.machine(who);
                machine.handle_gateway(*gateway, failing, now, unix);
                world.settle(who);
            }
        }
    };
    silence(&mut world, true);
    world.clients[BOB].online = true;
    for n in 0..1_500 {
        let name = format!("late{n}");
        while world.send(ALICE, &bob, &name, &name) == Err(SendError::OutboxFull) {
            world.rounds(10);
        }
    }
    world.until(2_000, |w| w.bodies(BOB).len() == 1_500);
    world.crash(BOB);
    silence(&mut world, false);
    world.until(600, |w| w.bodies(BOB).len() == 1_505);
    world.crash(BOB);
    for cell in &early {
        world.plant(BOB, cell);
    }
    world.until(600, |w| w.unread(BOB) == 0);
    world.rounds(100);
    let mut bodies = world.bodies(BOB);
    bodies.sort();
    bodies.dedup();
    assert_eq!((bodies.len(), world.bodies(BOB).len()), (1_505, 1_505));
}

#[test]
fn applications_take_turns() {
    let (mut world, _, bob) = introduced(35);
    let draft = |app| Draft {
        app: AppId(app),
        ..Draft::text(body(20_000))
    };
    for n in 0..30 {
        world
            .send_draft(ALICE, &bob, &format!("busy{n}"), draft(1))
            .unwrap();
    }
    for app in 2..4 {
        world
            .send_draft(ALICE, &bob, &format!("calm{app}"), draft(app))
            .unwrap();
    }
    let calm = |w: &mut World| {
        let states = &w.clients[ALICE].states;
        let arrived = |id: &str| states[id] == MessageState::Delivered;
        arrived("calm2") && arrived("calm3")
    };
    world.until(200, calm);
    let busy = world.delivered(ALICE) - 2;
    assert!(busy < 20, "{busy} before");
    world.until(300, |w| w.delivered(ALICE) == 32);
}

#[test]
fn messages_expire_when_they_are_told_to() {
    let (mut world, _, bob) = introduced(36);
    world.clients[BOB].online = false;
    let soon = Draft {
        expires_in: Some(Duration::from_secs(60)),
        ..Draft::text("soon")
    };
    world.send_draft(ALICE, &bob, "soon", soon).unwrap();
    world.send(ALICE, &bob, "later", "later").unwrap();
    world.until(30, |w| w.stored(ALICE) == 2);
    world.rounds(600);
    assert_eq!(world.clients[ALICE].states["soon"], MessageState::Expired);
    assert_eq!(world.clients[ALICE].states["later"], MessageState::Stored);
    // It was there all the same; a receipt changes nothing any more.
    world.clients[BOB].online = true;
    world.until(100, |w| w.bodies(BOB).len() == 2);
    world.until(100, |w| w.delivered(ALICE) == 1);
    world.rounds(100);
    assert_eq!(world.clients[ALICE].states["soon"], MessageState::Expired);
}

#[test]
fn a_wipe_ends_what_is_under_way_and_leaves_no_row() {
    let (mut world, alice, bob) = introduced(37);
    world.send(ALICE, &bob, "done", "one").unwrap();
    world.until(60, |w| w.delivered(ALICE) == 1);
    world.send(BOB, &alice, "half", &body(200_000)).unwrap();
    world.send(ALICE, &bob, "long", &body(200_000)).unwrap();
    world.rounds(15);
    let theirs = |w: &World| {
        let keys = w.clients[ALICE].store.keys();
        let of = |t: &Table| matches!(t, Table::Outgoing | Table::Sent | Table::Piece);
        keys.filter(|(t, _)| of(t)).count()
    };
    assert!(theirs(&world) > 5);
    let (now, unix) = (world.instant(), world.unix());
    assert!(world.machine(ALICE).handle_forget(&bob, now, unix));
    world.settle(ALICE);
    assert_eq!(theirs(&world), 0);
    let wiped = MessageState::Failed(messaging::FailReason::Wiped);
    assert_eq!(world.clients[ALICE].states["long"], wiped);
    // The conversation goes on, and what was half here comes again.
    world.crash(ALICE);
    world.send(ALICE, &bob, "next", "two").unwrap();
    world.until(4_000, |w| w.bodies(BOB).contains(&"two".to_owned()));
    world.until(4_000, |w| {
        w.bodies(ALICE).len() == 1 && w.delivered(BOB) == 1
    });
}

#[test]
fn what_became_of_messages_is_kept_as_long_as_a_person_wants() {
    let (mut world, _, bob) = introduced(38);
    let hour = ContactSettings {
        retention: Some(Retention::For(Duration::from_secs(3_600))),
        favourite: Some(true),
        ..ContactSettings::default()
    };
    settings(&mut world, ALICE, &bob, hour);
    world.send(ALICE, &bob, "m", "one").unwrap();
    world.until(60, |w| w.delivered(ALICE) == 1);
    world.crash(ALICE);
    let view = world.machine(ALICE).contacts().next().unwrap();
    assert!(view.favourite && view.receipts);
    assert_eq!(view.retention, Retention::For(Duration::from_secs(3_600)));
    assert!(state(&mut world, ALICE, &bob, "m").is_some());
    world.now += Duration::from_secs(3_600);
    world.rounds(2);
    assert_eq!(state(&mut world, ALICE, &bob, "m"), None);
    // Its id is free again, and its number is not.
    world.clients[ALICE].states.clear();
    world.insist(ALICE, &bob, "m", "two");
    world.until(100, |w| w.bodies(BOB).len() == 2);
}

/// A gateway dies for good with what it had stored; both ends hear that it fails.
#[test]
fn an_inbox_at_a_dead_gateway_moves() {
    for both in [false, true] {
        let (mut world, _, bob) = introduced(40);
        let at: Vec<_> = world.clients[BOB].reading.values().copied().collect();
        world.clients[BOB].online = false;
        world.send(ALICE, &bob, "1", &body(30_000)).unwrap();
        world.send(ALICE, &bob, "2", "short").unwrap();
        world.until(60, |w| w.stored(ALICE) == 2);
        world.clients[BOB].online = true;
        let dead: BTreeSet<_> = at.iter().copied().take(1 + usize::from(both)).collect();
        world.dead.extend(dead.iter().copied());
        for gateway in &dead {
            for who in [ALICE, BOB] {
                let (now, unix) = (world.instant(), world.unix());
                world.machine(who).handle_gateway(*gateway, true, now, unix);
                world.settle(who);
            }
        }
        world.send(ALICE, &bob, "3", "third").unwrap();
        world.until(60, |w| w.bodies(BOB).contains(&"third".to_owned()));
        let reads =
            |w: &World| -> BTreeSet<_> { w.clients[BOB].reading.values().copied().collect() };
        assert!(reads(&world).len() >= 2 + usize::from(both) - 1);
        assert!(
            reads(&world).iter().any(|g| !at.contains(g)),
            "no other inbox"
        );
        assert!(!reads(&world).contains(&gateway(1)), "reads at its entry");
        world.until(4_000, |w| w.delivered(ALICE) == 3);
        assert_eq!(world.bodies(BOB).len(), 3);
        // It is back: what stood in for it is closed after a while.
        for gateway in &dead {
            world.dead.remove(gateway);
            for who in [ALICE, BOB] {
                let (now, unix) = (world.instant(), world.unix());
                let machine = world.machine(who);
                machine.handle_gateway(*gateway, false, now, unix);
                world.settle(who);
            }
        }
        world.rounds(500);
        assert!(reads(&world).len() <= 4);
        world.send(ALICE, &bob, "4", "fourth").unwrap();
        world.until(400, |w| w.bodies(BOB).len() == 4);
    }
}

/// A gateway dies after a new directory came, and before anything is said again: what is said then goes elsewhere.
#[test]
fn a_gateway_that_fails_while_nothing_is_said_is_left() {
    let (mut world, _, bob) = introduced(41);
    world.stored_at.clear();
    world.send(ALICE, &bob, "1", "first").unwrap();
    world.until(60, |w| w.delivered(ALICE) == 1);
    let reads: BTreeSet<_> = world.clients[BOB].reading.values().copied().collect();
    let dead: BTreeSet<_> = world.stored_at.intersection(&reads).copied().collect();
    assert!(!dead.is_empty() && dead.len() < reads.len());
    world.tell_directory(ALICE);
    world.dead.extend(dead.iter().copied());
    for gateway in dead {
        for who in [ALICE, BOB] {
            let (now, unix) = (world.instant(), world.unix());
            world.machine(who).handle_gateway(gateway, true, now, unix);
            world.settle(who);
        }
    }
    world.send(ALICE, &bob, "2", "second").unwrap();
    // Half the time after which a deposit without an answer is given up.
    world.until(10, |w| w.bodies(BOB).len() == 2);
}

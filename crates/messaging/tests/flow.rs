//! Messengers in a toy world: invite, Hello, texts both ways, in every weather.
#![allow(clippy::unwrap_used)] // Helpers of a test fail by panicking, like the test itself.

#[path = "flow/world.rs"]
#[allow(dead_code)] // Shared with `delivery`, which uses the rest.
mod world;

use messaging::suite1::seal;
use messaging::{
    AddError, BODY_MAX, CardError, FailReason, Identity, IgnoreReason, MessageState, SendError,
    SendOutcome, Table,
};
use std::time::Duration;
use wire::ids::NodeId;
use wire::rng::KeyRng;
use world::{EPOCH, PERIOD, Weather, World, directory, gateway};

const ALICE: usize = 0;
const BOB: usize = 1;

/// Alice made a card, Bob added it; both know each other.
fn introduced(seed: u8) -> World {
    let mut world = World::new(seed, 5, &[0, 1]);
    let card = world.card(ALICE, "Alice");
    world.add(BOB, &card, "Bob");
    world.until(60, |w| w.clients[ALICE].added.len() == 1);
    world
}

fn ids(world: &mut World) -> (messaging::ContactId, messaging::ContactId) {
    (world.id(ALICE), world.id(BOB))
}

#[test]
fn a_card_makes_two_contacts_who_can_write() {
    let mut world = introduced(1);
    let (alice, bob) = ids(&mut world);
    assert_eq!(world.clients[ALICE].added, [(bob, "Bob".to_owned(), true)]);
    assert_eq!(
        world.clients[BOB].added,
        [(alice, "Alice".to_owned(), false)]
    );
    assert_eq!(world.clients[ALICE].invites_used, 1);
    world.send(ALICE, &bob, "a-1", "hello Bob").unwrap();
    world.send(BOB, &alice, "b-1", "hello Alice").unwrap();
    world.until(30, |w| w.stored(ALICE) + w.stored(BOB) == 2);
    world.until(30, |w| w.bodies(ALICE).len() + w.bodies(BOB).len() == 2);
    assert_eq!(world.bodies(BOB), ["hello Bob"]);
    assert_eq!(world.bodies(ALICE), ["hello Alice"]);
    // The two invites are closed; two inboxes for the pair are left on each side.
    world.rounds(20);
    assert_eq!(world.clients[ALICE].reading.len(), 2);
    assert_eq!(world.clients[BOB].reading.len(), 2);
    // What is left is receipts.
    world.until(30, |w| w.delivered(ALICE) + w.delivered(BOB) == 2);
    world.rounds(20);
    assert_eq!(world.cells().len(), 0);
}

#[test]
fn a_text_sent_right_after_adding_arrives() {
    let mut world = World::new(2, 5, &[0, 1]);
    let card = world.card(ALICE, "Alice");
    let alice = world.add(BOB, &card, "Bob");
    world.send(BOB, &alice, "early", "I am here").unwrap();
    world.until(60, |w| w.bodies(ALICE) == ["I am here"]);
    world.until(10, |w| w.stored(BOB) == 1);
}

#[test]
fn refusals_do_not_spin() {
    let mut world = World::new(3, 5, &[0, 1]);
    let card = world.card(ALICE, "Alice");
    let alice = world.add(BOB, &card, "Bob");
    for n in 0..50 {
        world
            .send(BOB, &alice, &format!("m{n}"), "waiting")
            .unwrap();
    }
    world.rounds(50);
    world.clients[ALICE].online = false;
    // Alice's Hello inboxes took the Hello; she is away and opens no pair inbox.
    world.rounds(2000);
    assert!(
        world.clients[BOB].deposits < 60,
        "{}",
        world.clients[BOB].deposits
    );
    world.clients[ALICE].online = true;
    world.until(120, |w| w.bodies(ALICE).len() == 50);
    assert_eq!(world.stored(BOB), 50);
}

#[test]
fn both_add_each_other_at_once() {
    for seed in 0..8 {
        let mut world = World::new(40 + seed, 5, &[0, 1]);
        let card_a = world.card(ALICE, "Alice");
        let card_b = world.card(BOB, "Bob");
        let bob = world.add(ALICE, &card_b, "Alice");
        let alice = world.add(BOB, &card_a, "Bob");
        for n in 0..10 {
            world
                .send(ALICE, &bob, &format!("a{n}"), &format!("a{n}"))
                .unwrap();
            world
                .send(BOB, &alice, &format!("b{n}"), &format!("b{n}"))
                .unwrap();
            world.rounds(20);
        }
        world.until(120, |w| {
            w.bodies(ALICE).len() == 10 && w.bodies(BOB).len() == 10
        });
        world.until(60, |w| w.stored(ALICE) == 10 && w.stored(BOB) == 10);
        // One secret is left, so two inboxes each, once cards and graces are over.
        world.send(ALICE, &bob, "last-a", "x").unwrap();
        world.send(BOB, &alice, "last-b", "x").unwrap();
        world.until(400, |w| w.now > Duration::from_secs(400));
        assert_eq!(world.stored(ALICE) + world.stored(BOB), 22);
        for who in [ALICE, BOB] {
            assert_eq!(world.clients[who].added.len(), 1);
            assert_eq!(world.clients[who].reading.len(), 2, "seed {seed} {who}");
        }
    }
}

#[test]
fn every_weather_delivers_each_text_once() {
    for seed in 0..6 {
        let mut world = World::new(60 + seed, 6, &[0, 1]);
        world.weather = Weather {
            loss: 30,
            double: 30,
            reorder: true,
            crash: 0,
        };
        let card = world.card(ALICE, "Alice");
        let alice = world.add(BOB, &card, "Bob");
        let bob = world.id(BOB);
        world.until(200, |w| w.clients[ALICE].added.len() == 1);
        for n in 0..40 {
            world
                .send(ALICE, &bob, &format!("a{n:02}"), &format!("a{n:02}"))
                .unwrap();
            world
                .send(BOB, &alice, &format!("b{n:02}"), &format!("b{n:02}"))
                .unwrap();
        }
        world.until(400, |w| w.stored(ALICE) == 40 && w.stored(BOB) == 40);
        world.until(60, |w| {
            w.bodies(ALICE).len() == 40 && w.bodies(BOB).len() == 40
        });
        let sent = |c: char| (0..40).map(|n| format!("{c}{n:02}")).collect::<Vec<_>>();
        assert_eq!(world.bodies(BOB), sent('a'));
        assert_eq!(world.bodies(ALICE), sent('b'));
    }
}

#[test]
fn a_crash_at_any_step_loses_and_doubles_nothing() {
    for seed in 0..10 {
        let mut world = World::new(80 + seed, 6, &[0, 1]);
        let card = world.card(ALICE, "Alice");
        world.weather = Weather {
            loss: 10,
            double: 10,
            reorder: seed % 2 == 0,
            crash: 4,
        };
        let bob = world.id(BOB);
        let alice = card.contact();
        // A crash may swallow what the application asked: it asks again, as an application would.
        let again = |w: &mut World| {
            let (now, unix) = (w.instant(), w.unix());
            let added = w.machine(BOB).handle_add_card(&card, "Bob", now, unix);
            w.settle(BOB);
            matches!(added, Err(AddError::AlreadyAdded))
        };
        while !again(&mut world) {}
        world.until(250, |w| w.clients[ALICE].added.len() == 1);
        for n in 0..15 {
            for (who, to) in [(ALICE, &bob), (BOB, &alice)] {
                let id = format!("{who}-{n:02}");
                while world.send(who, to, &id, &id) != Ok(SendOutcome::Duplicate) {}
                world.rounds(3);
            }
        }
        world.until(900, |w| w.stored(ALICE) >= 15 && w.stored(BOB) >= 15);
        world.until(200, |w| {
            w.bodies(ALICE).len() >= 15 && w.bodies(BOB).len() >= 15
        });
        world.rounds(100);
        let sent = |who: usize| (0..15).map(|n| format!("{who}-{n:02}")).collect::<Vec<_>>();
        assert_eq!(world.bodies(BOB), sent(ALICE), "seed {seed}");
        assert_eq!(world.bodies(ALICE), sent(BOB), "seed {seed}");
    }
}

/// One crash at each single step of a first contact and a text both ways, before and after the
/// step's batch is durable; the two cells of the Hello come in either order.
#[test]
fn one_crash_at_every_step() {
    let mut steps = 0;
    for at in 1.. {
        let mut reached = false;
        for (durable, reorder) in [(false, false), (true, false), (false, true), (true, true)] {
            let mut world = World::new(180, 5, &[0, 1]);
            let card = world.card(ALICE, "Alice");
            let (alice, bob) = ids(&mut world);
            world.weather.reorder = reorder;
            world.crash_at = Some((world.settles + at, durable));
            let added = |w: &mut World| {
                let (now, unix) = (w.instant(), w.unix());
                let added = w.machine(BOB).handle_add_card(&card, "Bob", now, unix);
                w.settle(BOB);
                added == Err(AddError::AlreadyAdded)
            };
            while !added(&mut world) {}
            while world.send(BOB, &alice, "b", "to Alice") != Ok(SendOutcome::Duplicate) {}
            world.until(60, |w| w.clients[ALICE].added.len() == 1);
            while world.send(ALICE, &bob, "a", "to Bob") != Ok(SendOutcome::Duplicate) {}
            world.until(60, |w| w.stored(ALICE) == 1 && w.stored(BOB) == 1);
            world.until(60, |w| {
                !w.bodies(ALICE).is_empty() && !w.bodies(BOB).is_empty()
            });
            world.rounds(50);
            assert_eq!(
                world.bodies(ALICE),
                ["to Alice"],
                "{at} {durable} {reorder}"
            );
            assert_eq!(world.bodies(BOB), ["to Bob"], "{at} {durable} {reorder}");
            assert_eq!(
                world.clients[ALICE].added.len(),
                1,
                "{at} {durable} {reorder}"
            );
            // A Close lost in the crash leaves its inbox to the gateway's clock, nothing else stays.
            assert_eq!(
                world.unread(ALICE) + world.unread(BOB),
                0,
                "{at} {durable} {reorder}"
            );
            reached |= world.crash_at.is_none();
        }
        if !reached {
            break;
        }
        steps = at;
    }
    assert!(steps > 20, "{steps}");
}

#[test]
fn successors_meet_after_both_were_away() {
    let mut world = introduced(4);
    let (alice, bob) = ids(&mut world);
    world.send(ALICE, &bob, "1", "before").unwrap();
    world.until(30, |w| w.bodies(BOB).len() == 1);
    let before: Vec<_> = world.clients[BOB].reading.keys().copied().collect();
    for who in [ALICE, BOB] {
        world.clients[who].online = false;
    }
    world.now += EPOCH * PERIOD * 7 / 2;
    for who in [ALICE, BOB] {
        world.clients[who].online = true;
        world.crash(who);
    }
    world.send(ALICE, &bob, "2", "after").unwrap();
    world.send(BOB, &alice, "3", "after, too").unwrap();
    world.until(60, |w| {
        w.bodies(BOB).len() == 2 && w.bodies(ALICE).len() == 1
    });
    assert_eq!(world.stored(ALICE), 2);
    assert!(
        world.clients[BOB]
            .reading
            .keys()
            .any(|i| !before.contains(i))
    );
}

#[test]
fn what_was_stored_in_a_past_period_is_still_read() {
    let mut world = introduced(5);
    let bob = world.id(BOB);
    world.rounds(100);
    world.clients[BOB].online = false;
    world.send(ALICE, &bob, "1", "while you were away").unwrap();
    world.until(30, |w| w.stored(ALICE) == 1);
    // Longer than a period; the gateway still has the cell.
    world.now += EPOCH * PERIOD + Duration::from_secs(30);
    world.directory = directory(5, &[]);
    world.clients[BOB].online = true;
    world.crash(BOB);
    world.until(60, |w| w.bodies(BOB).len() == 1);
}

#[test]
fn periods_pass_under_steady_use() {
    let mut world = introduced(6);
    let (alice, bob) = ids(&mut world);
    for n in 0..100 {
        world.send(ALICE, &bob, &format!("a{n}"), "tick").unwrap();
        world.send(BOB, &alice, &format!("b{n}"), "tock").unwrap();
        world.rounds(250);
    }
    // Four periods have passed.
    assert!(world.now > EPOCH * PERIOD * 4);
    assert_eq!(world.stored(ALICE) + world.stored(BOB), 200);
    assert_eq!(world.bodies(ALICE).len() + world.bodies(BOB).len(), 200);
    assert!(world.clients[ALICE].reading.len() <= 5);
    let prolonged = world.clients[ALICE].opens.values().any(|n| *n > 1);
    assert!(prolonged, "no inbox was prolonged");
}

/// Both gateways that Bob reads at vanish from the directory; or one dies without vanishing.
#[test]
fn a_gateway_may_vanish_or_fall_silent() {
    for (round, vanish) in [(0u8, true), (0, false), (1, false)] {
        // A pair whose two inboxes are both of use to Alice: were one at her own entry, the death of
        // the other would leave her none until the next period.
        let reads = |world: &World| -> Vec<NodeId> {
            world.clients[BOB].reading.values().copied().collect()
        };
        let mut worlds = (20..).map(introduced);
        let both_of_use = |w: &World| !reads(w).contains(&gateway(0));
        let mut world = worlds.find(both_of_use).unwrap();
        let bob = world.id(BOB);
        world.send(ALICE, &bob, "1", "one").unwrap();
        world.until(30, |w| w.bodies(BOB).len() == 1);
        world.rounds(400);
        let at = reads(&world);
        assert_eq!(at.len(), 2);
        let index = |id: NodeId| (0..5).find(|n| gateway(*n) == id).unwrap();
        if vanish {
            world.dead.extend([at[0], at[1]]);
            world.directory = directory(5, &[index(at[0]), index(at[1])]);
            world.tell_directory(ALICE);
            world.tell_directory(BOB);
        } else {
            // Nobody tells Alice that a gateway is dead; she finds the other.
            world.dead.insert(gateway(index(at[usize::from(round)])));
        }
        world.send(ALICE, &bob, "2", "two").unwrap();
        world.until(400, |w| w.bodies(BOB).len() == 2);
    }
}

#[test]
fn a_new_entry_gateway_is_never_used_for_inboxes() {
    let mut world = introduced(8);
    let (alice, bob) = ids(&mut world);
    for n in 0..5u8 {
        world.clients[ALICE].entry = gateway(n);
        world.clients[BOB].entry = gateway((n + 2) % 5);
        world.tell_directory(ALICE);
        world.tell_directory(BOB);
        world.clients[ALICE].opens.clear();
        // The world itself checks that no deposit goes to the own entry.
        world.send(ALICE, &bob, &format!("a{n}"), "x").unwrap();
        world.send(BOB, &alice, &format!("b{n}"), "x").unwrap();
        world.until(120, |w| w.bodies(BOB).len() == usize::from(n) + 1);
        world.until(120, |w| w.bodies(ALICE).len() == usize::from(n) + 1);
        world.rounds(400);
        let reading: Vec<_> = world.clients[ALICE].reading.values().copied().collect();
        assert!(!reading.contains(&gateway(n)), "still reads at the entry");
    }
}

#[test]
fn an_invite_takes_one_contact_only() {
    let mut world = World::new(9, 5, &[0, 1, 2]);
    let card = world.card(ALICE, "Alice");
    world.add(BOB, &card, "Bob");
    world.until(60, |w| w.clients[ALICE].added.len() == 1);
    let alice = world.add(2, &card, "Carol");
    world.send(2, &alice, "1", "me too").unwrap();
    world.rounds(4000);
    assert_eq!(world.clients[ALICE].added.len(), 1);
    // Carol's Hello was refused until the card expired, and she is told so.
    let failed = MessageState::Failed(FailReason::InviteExpired);
    assert_eq!(world.clients[2].states["1"], failed);
    // With a card of her own she gets in.
    let card = world.card(ALICE, "Alice");
    world.add(2, &card, "Carol");
    world.send(2, &alice, "2", "now").unwrap();
    world.until(60, |w| w.bodies(ALICE) == ["now"]);
}

#[test]
fn sending_is_idempotent_and_bounded() {
    let mut world = introduced(10);
    let (alice, bob) = ids(&mut world);
    assert_eq!(
        world.send(ALICE, &bob, "x", "one"),
        Ok(SendOutcome::Accepted)
    );
    assert_eq!(
        world.send(ALICE, &bob, "x", "one"),
        Ok(SendOutcome::Duplicate)
    );
    assert_eq!(
        world.send(ALICE, &bob, "x", "two"),
        Err(SendError::Conflict)
    );
    assert_eq!(
        world.send(ALICE, &alice, "y", "me"),
        Err(SendError::UnknownContact)
    );
    let long = "x".repeat(BODY_MAX + 1);
    assert_eq!(
        world.send(ALICE, &bob, "z", &long),
        Err(SendError::TooLong { max: BODY_MAX })
    );
    assert_eq!(
        world.send(ALICE, &bob, "z", &long[..BODY_MAX]),
        Ok(SendOutcome::Accepted)
    );
    world.until(60, |w| w.delivered(ALICE) == 2);
    assert_eq!(world.bodies(BOB).len(), 2);
    world.crash(ALICE);
    assert_eq!(
        world.send(ALICE, &bob, "x", "one"),
        Ok(SendOutcome::Duplicate)
    );
    assert_eq!(
        world.send(ALICE, &bob, "x", "two"),
        Err(SendError::Conflict)
    );
    world.clients[ALICE].online = false;
    for n in 0..256 {
        world.send(ALICE, &bob, &format!("m{n}"), "x").unwrap();
    }
    assert_eq!(
        world.send(ALICE, &bob, "full", "x"),
        Err(SendError::OutboxFull)
    );
    world.clients[ALICE].online = true;
    world.until(300, |w| w.bodies(BOB).len() == 258);
}

#[test]
fn messages_expire() {
    let mut world = introduced(11);
    let bob = world.id(BOB);
    let all: Vec<_> = (0..5).map(gateway).collect();
    world.dead.extend(all);
    world.send(ALICE, &bob, "1", "never").unwrap();
    world.rounds(100);
    assert_eq!(world.clients[ALICE].states["1"], MessageState::Mixing);
    world.now += world.config.message_ttl;
    world.rounds(2);
    assert_eq!(world.clients[ALICE].states["1"], MessageState::Expired);
    world.crash(ALICE);
    let state = world
        .machine(ALICE)
        .message_state(&bob, &world::message("1"));
    assert_eq!(state, Some(MessageState::Expired));
}

#[test]
fn cards_are_checked_before_use() {
    let mut world = World::new(12, 5, &[0, 1]);
    let (now, unix) = (world.instant(), world.unix());
    let card = world.card(ALICE, "Alice");
    let own = world
        .machine(ALICE)
        .handle_add_card(&card, "Alice", now, unix);
    assert_eq!(own, Err(AddError::OwnCard));
    let late = unix.saturating_add(Duration::from_secs(300));
    let bob = world.machine(BOB);
    assert_eq!(
        bob.handle_add_card(&card, "Bob", now, late),
        Err(AddError::Expired)
    );
    assert_eq!(
        bob.handle_add_card(&card, "", now, unix),
        Err(AddError::BadName)
    );
    assert!(bob.handle_add_card(&card, "Bob", now, unix).is_ok());
    assert_eq!(
        bob.handle_add_card(&card, "Bob", now, unix),
        Err(AddError::AlreadyAdded)
    );
    world.settle(BOB);
    let alice = world.machine(ALICE);
    let day = Duration::from_secs(86_400);
    let err = |r: Result<messaging::Card, CardError>| r.err();
    assert_eq!(
        err(alice.handle_create_card("", day, now, unix)),
        Some(CardError::BadName)
    );
    let zero = Duration::ZERO;
    assert_eq!(
        err(alice.handle_create_card("A", zero, now, unix)),
        Some(CardError::BadExpiry)
    );
    for _ in 0..15 {
        assert!(alice.handle_create_card("A", day, now, unix).is_ok());
    }
    let full = err(alice.handle_create_card("A", day, now, unix));
    assert_eq!(full, Some(CardError::TooManyInvites));
    let mut small = World::new(13, 2, &[0, 1]);
    let (now, unix) = (small.instant(), small.unix());
    let few = small.machine(ALICE).handle_create_card("A", day, now, unix);
    assert_eq!(err(few), Some(CardError::TooFewGateways));
}

#[test]
fn replayed_and_foreign_cells_have_no_effect() {
    let mut world = introduced(14);
    let (alice, bob) = ids(&mut world);
    world.clients[BOB].online = false;
    world.send(ALICE, &bob, "1", "once").unwrap();
    world.until(30, |w| w.stored(ALICE) == 1);
    let cells = world.cells();
    assert_eq!(cells.len(), 1);
    world.clients[BOB].online = true;
    world.until(30, |w| w.bodies(BOB).len() == 1);
    // The gateway brings the same cell under new ids, junk, and a cell for somebody else.
    for _ in 0..3 {
        world.plant(BOB, &cells[0]);
    }
    let mut junk = cells[0].clone();
    junk[0] = 9;
    world.plant(BOB, &junk);
    world.plant(ALICE, &cells[0]);
    for n in 0..20 {
        junk[0] = 1;
        junk[1] = n;
        world.plant(BOB, &junk);
    }
    world.rounds(100);
    world.crash(BOB);
    world.plant(BOB, &cells[0]);
    world.rounds(50);
    assert_eq!(world.bodies(BOB), ["once"]);
    assert_eq!(world.bodies(ALICE), Vec::<String>::new());
    let ignored = &world.clients[BOB].ignored;
    for reason in [
        IgnoreReason::Duplicate,
        IgnoreReason::UnknownSuite,
        IgnoreReason::Unreadable,
    ] {
        assert!(ignored.contains(&reason), "{reason:?}");
    }
    // The junk did not stop anything.
    world.send(ALICE, &bob, "2", "twice").unwrap();
    world.send(BOB, &alice, "3", "thrice").unwrap();
    world.until(30, |w| {
        w.bodies(BOB).len() == 2 && w.bodies(ALICE).len() == 1
    });
    world.rounds(20);
    assert!(world.cells().is_empty());
}

/// Cells copied into the inboxes of another card neither use that card up nor catch the Hello.
#[test]
fn a_hello_belongs_to_one_card() {
    for seed in 0..6 {
        let mut world = World::new(200 + seed, 5, &[0, 1]);
        world.weather.reorder = true;
        let cards = [world.card(ALICE, "Alice"), world.card(ALICE, "Alice")];
        world.rounds(10);
        world.clients[ALICE].online = false;
        world.add(BOB, &cards[usize::from(seed % 2)], "Bob");
        world.until(60, |w| w.cells().len() == 2);
        for cell in world.cells() {
            world.plant(ALICE, &cell);
        }
        world.clients[ALICE].online = true;
        world.rounds(100);
        assert_eq!(world.clients[ALICE].added.len(), 1, "seed {seed}");
        assert_eq!(world.clients[ALICE].invites_used, 1, "seed {seed}");
        let ignored = &world.clients[ALICE].ignored;
        assert!(ignored.contains(&IgnoreReason::WrongSender), "seed {seed}");
    }
}

#[test]
fn text_in_an_invite_and_hello_in_a_pair_inbox_are_ignored() {
    let mut world = World::new(15, 5, &[0, 1]);
    let card = world.card(ALICE, "Alice");
    world.rounds(10);
    world.clients[ALICE].online = false;
    world.add(BOB, &card, "Bob");
    world.until(60, |w| w.cells().len() == 2);
    let hello = world.cells();
    world.clients[ALICE].online = true;
    world.until(60, |w| w.clients[ALICE].added.len() == 1);
    world.rounds(20);
    // Now Alice reads pair inboxes only.
    for cell in &hello {
        world.plant(ALICE, cell);
    }
    world.rounds(20);
    let bob = world.id(BOB);
    let alice = world.id(ALICE);
    world.clients[BOB].online = false;
    world.send(ALICE, &bob, "1", "for Bob").unwrap();
    world.until(30, |w| w.stored(ALICE) == 1);
    let mut cells = world.cells();
    assert_eq!(cells.len(), 1);
    let text = cells.pop().unwrap();
    world.clients[BOB].online = true;
    world.card(BOB, "Bob");
    world.rounds(10);
    world.plant(BOB, &text);
    world.rounds(50);
    for who in [ALICE, BOB] {
        let ignored = &world.clients[who].ignored;
        assert!(
            ignored.contains(&IgnoreReason::WrongSender),
            "{who} {ignored:?}"
        );
    }
    assert_eq!(world.bodies(BOB), ["for Bob"]);
    assert_eq!(world.clients[ALICE].added.len(), 1);
    world.send(BOB, &alice, "2", "for Alice").unwrap();
    world.until(30, |w| w.bodies(ALICE).len() == 1);
}

/// A contact who gets cells into another contact's inbox speaks for nobody there.
#[test]
fn a_contact_is_heard_in_its_own_inboxes_only() {
    let mut world = World::new(16, 5, &[0, 1, 2]);
    for (who, name) in [(BOB, "Bob"), (2, "Carol")] {
        let card = world.card(ALICE, "Alice");
        world.add(who, &card, name);
        world.until(60, |w| w.clients[ALICE].added.len() == who);
    }
    world.rounds(20);
    let alice = world.id(ALICE);
    world.clients[ALICE].online = false;
    world.send(2, &alice, "1", "by Carol").unwrap();
    world.until(30, |w| w.stored(2) == 1);
    let text = world.cells().pop().unwrap();
    world.plant(ALICE, &text);
    world.clients[ALICE].online = true;
    world.rounds(50);
    let carol = world.id(2);
    assert_eq!(
        world.clients[ALICE].received,
        [(carol, "by Carol".to_owned())]
    );
    let wrong = world.clients[ALICE].ignored.iter();
    let wrong = wrong.filter(|r| **r == IgnoreReason::WrongSender).count();
    assert_eq!(wrong, 2, "one for each inbox that is Bob's");
}

/// What only a newer or a broken program of a true contact sends.
#[test]
fn unknown_and_broken_messages_are_named_and_acknowledged() {
    let mut world = introduced(17);
    let seeds = |w: &World, who: usize| {
        let row = &w.clients[who].store[&(Table::Own, Vec::new())];
        Identity::from_bytes(row[1..65].try_into().unwrap())
    };
    let (alice, bob) = (seeds(&world, ALICE), seeds(&world, BOB));
    world.rounds(20);
    let before = world.clients[ALICE].store.clone();
    // A text that says it was composed at 4, after 2; and one that says the other way round.
    let text = |at, after| [&[8; 17][..], &[at; 8], &[after; 8], b"hi"].concat();
    let (good, before_itself) = (text(4, 2), text(2, 4));
    let cases: [(&[u8], IgnoreReason); 6] = [
        (&[77, 1, 2, 3], IgnoreReason::UnknownType),
        (&[], IgnoreReason::Malformed),
        (&[8, 0, 0], IgnoreReason::Malformed),
        // A text of a version that did not say which message it follows.
        (&[2; 40], IgnoreReason::UnknownType),
        (&before_itself, IgnoreReason::Malformed),
        (&good, IgnoreReason::Duplicate),
    ];
    for (inner, reason) in cases {
        let mut keys = KeyRng::from_seed([3; 32]);
        let (to, kem) = (alice.public(), alice.kem_public());
        let sealed = seal(&world::NETWORK, &bob, &to, kem, inner, &mut keys);
        // Into both of her inboxes, so a good text comes once and once again.
        world.plant(ALICE, &sealed.unwrap().cells[0]);
        world.rounds(20);
        assert_eq!(world.clients[ALICE].ignored.pop(), Some(reason));
        assert_eq!(world.unread(ALICE), 0);
        if reason != IgnoreReason::Duplicate {
            // All it left is that Bob has the secret.
            assert_eq!(world.clients[ALICE].store.len(), before.len());
        }
    }
    assert_eq!(world.bodies(ALICE), ["hi"]);
}

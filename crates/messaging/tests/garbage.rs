//! Arbitrary bytes in every place where a peer or a person can put them: a value or an error, and
//! never a panic; and whatever happens, a restart reads its own rows.
#![allow(clippy::unwrap_used)] // Helpers of a test fail by panicking, like the test itself.

#[path = "flow/world.rs"]
#[allow(dead_code)] // Shared with `flow`, which uses all of it.
mod world;

use messaging::inner::Inner;
use messaging::{Card, DepositHandle, DepositOutcome, InboxOutcome, Messenger};
use messaging::{MessengerConfig, Record, Table};
use proptest::prelude::*;
use std::time::Duration;
use wire::geometry::CELL_LEN;
use wire::ids::{CellId, InboxId};
use wire::rng::KeyRng;
use world::World;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_is_a_card_or_an_error(text in ".{0,200}", digits in "[a-z2-7]{0,3000}") {
        let _ = Card::from_text(&text);
        let text = format!("mizzle1{digits}");
        prop_assert!(Card::from_text(&text).is_err());
    }

    #[test]
    fn any_body_is_a_card_or_an_error(body in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut body = body;
        prop_assert!(Card::from_bytes(&body).is_err());
        body.insert(0, 1);
        prop_assert!(Card::from_bytes(&body).is_err());
    }

    #[test]
    fn any_inner_bytes_are_a_message_or_an_error(
        kind in 0u8..9,
        bytes in prop::collection::vec(any::<u8>(), 0..1400),
    ) {
        let mut bytes = bytes;
        bytes.insert(0, kind);
        let inner = Inner::decode(&bytes);
        if let Ok(inner) = inner && !matches!(inner, Inner::Unknown) {
            prop_assert_eq!(&inner.encode()[..], &bytes[..]);
        }
    }

    #[test]
    fn any_row_is_read_or_refused(
        table in 0usize..12,
        key in prop::collection::vec(any::<u8>(), 0..64),
        value in prop::collection::vec(any::<u8>(), 0..2200),
    ) {
        let own = first_start();
        let table = Table::ALL[table];
        let vault = table.vault_of(&key);
        let damage = Record { table, key, value: Some(value.into()), vault };
        let config = MessengerConfig::new(world::NETWORK);
        let keys = KeyRng::from_seed([1; 32]);
        let _ = Messenger::restore(config, keys, own.into_iter().chain([damage]));
    }
}

fn first_start() -> Vec<Record> {
    let config = MessengerConfig::new(world::NETWORK);
    let mut messenger = Messenger::new(config, KeyRng::from_seed([2; 32]));
    let mut rows = Vec::new();
    while let Some(event) = messenger.poll_event() {
        if let messaging::Event::Write(record) = event {
            rows.push(record);
        }
    }
    assert_eq!(rows.len(), 1);
    rows
}

/// Random inputs of every kind, most of them nonsense, against one messenger with a contact.
#[test]
fn nonsense_in_any_order_does_no_harm() {
    let mut world = World::new(30, 5, &[0, 1]);
    let card = world.card(0, "Alice");
    let alice = world.add(1, &card, "Bob");
    world.until(60, |w| w.clients[0].added.len() == 1);
    let mut rng = KeyRng::from_seed([31; 32]);
    let bob = world.id(1);
    world.clients[1].online = false;
    world.send(0, &bob, "known", "cell").unwrap();
    world.until(30, |w| w.stored(0) == 1);
    let known = world.cells().pop().unwrap();
    for n in 0..1500u64 {
        let [kind, small] = rng.bytes();
        let inboxes: Vec<InboxId> = world.clients[0].reading.keys().copied().collect();
        let inbox = match kind & 1 {
            0 => InboxId(rng.bytes()),
            _ => inboxes[usize::from(small) % inboxes.len()],
        };
        world.now += Duration::from_millis(u64::from(small));
        let (now, unix) = (world.instant(), world.unix());
        let messenger = world.machine(0);
        match kind % 7 {
            0 | 1 => {
                let mut cell = Box::new([0; CELL_LEN]);
                cell.iter_mut().for_each(|b| *b = rng.bytes::<1>()[0]);
                cell[0] = kind & 1;
                messenger.handle_cell(inbox, CellId(rng.bytes()), &cell, now, unix);
            }
            2 => messenger.handle_cell(inbox, CellId(rng.bytes()), &known, now, unix),
            3 => {
                let handle = DepositHandle(u64::from(small) % 40);
                let outcome = [
                    DepositOutcome::Mixing,
                    DepositOutcome::Stored,
                    DepositOutcome::Refused,
                ][usize::from(small) % 3];
                messenger.handle_deposit(handle, outcome, now);
            }
            4 => {
                let ttl = Duration::from_secs(u64::from(small));
                messenger.handle_inbox(inbox, InboxOutcome::Opened { ttl }, now, unix);
            }
            5 => messenger.handle_inbox(inbox, InboxOutcome::Refused, now, unix),
            _ => messenger.handle_timeout(now, unix),
        }
        world.settle(0);
        if n % 200 == 0 {
            world.crash(0);
            world.rounds(1);
        }
    }
    // At most eight cells wait in each inbox, and what is said now still arrives.
    let partial = |(table, _): &&(Table, Vec<u8>)| *table == Table::Partial;
    let waiting = world.clients[0].store.keys().filter(partial).count();
    assert!(waiting <= 8 * world.machine(0).inbox_count(), "{waiting}");
    world.clients[1].online = true;
    world.send(1, &alice, "after", "all is well").unwrap();
    world.until(120, |w| w.bodies(0).contains(&"all is well".to_owned()));
}
